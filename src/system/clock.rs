//! The only place that asks what time it is.

use crate::domain::time::{Mono, Now, Utc};
use nix::time::{ClockId, clock_gettime};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `systemd-timesyncd` touches it each time that it has set the clock (systemd-timesyncd.service(8)).
const STAMP: &str = "/run/systemd/timesync/synchronized";
/// The kernel takes a clock for unsynchronised once it may be 16 s off, and counts with a drift of
/// 500 ppm (`NTP_PHASE_LIMIT`, `MAXFREQ`): so long after it was last set.
const STAMP_HOLDS: Duration = Duration::from_secs(32_000);

/// Where trust in the system clock comes from (`clock.trust`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The kernel's word: synchronised unless `adjtimex` reports `STA_UNSYNC` (clock state `TIME_ERROR`).
    Kernel,
    /// Taken as it is.
    System,
}

/// `CLOCK_MONOTONIC`, the clock of GStreamer too. It exists on every Linux, so a failure means that
/// there is no time at all.
#[must_use]
pub fn mono() -> Mono {
    let since_boot = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    Mono(u64::try_from(since_boot.as_nanos()).unwrap_or(u64::MAX))
}

/// `CLOCK_REALTIME`, through the standard library, which asks for 64 bits of seconds on 32-bit ARM
/// too, where the C library's own type ends in 2038. A time before 1970 reads as 1970: it lies before
/// every floor and so is never believed.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the place that others ask")]
pub fn utc() -> Utc {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Utc(i64::try_from(since_1970.as_nanos()).unwrap_or(i64::MAX))
}

/// All three readings of one moment.
#[must_use]
pub fn now(trust: Trust) -> Now {
    let synchronised = match trust {
        Trust::Kernel => kernel_synchronised(),
        Trust::System => true,
    };
    Now { mono: mono(), system: utc(), synchronised }
}

/// A time that had passed when the process started, and when that was.
static PASSED: OnceLock<(Utc, Mono)> = OnceLock::new();

/// Says what time has passed for sure: the last one that was persisted, or that of the build. Once a process.
pub fn has_passed(time: Utc) {
    let _said_before = PASSED.set((time, mono()));
}

/// The time that certificates are held against (RFC 5280, 4.1.2.5): the system clock, but never one before a
/// time that has passed for sure. A camera without a battery wakes in 1970, where no certificate is valid yet;
/// it needs one that is to learn that its owner has forbidden it to record.
#[derive(Clone, Copy, Debug, Default)]
pub struct CertificateTime;

impl TimeProvider for CertificateTime {
    fn current_time(&self) -> Option<UnixTime> {
        let passed = PASSED.get().map(|(time, at)| *time + mono().since(*at)).unwrap_or_default();
        let seconds = utc().max(passed).0.div_euclid(1_000_000_000);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))))
    }
}

/// Whether the clock was set at the time that this file was last touched, and that is still good.
/// A stamp of a time to come is from before the clock was moved by somebody else.
#[must_use]
pub fn stamped(stamp: &Path, now: Utc) -> bool {
    let Ok(found) = std::fs::metadata(stamp) else { return false };
    let touched = found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec());
    let age = now.0.saturating_sub(touched);
    u64::try_from(age).is_ok_and(|age| Duration::from_nanos(age) <= STAMP_HOLDS)
}

/// What `adjtimex` says. Under `ProtectClock=` nobody may ask it, not even to read (`EPERM`): then
/// what the machine's time service wrote down.
fn kernel_synchronised() -> bool {
    // SAFETY: `timex` is plain data for which all zeros is a valid value, and `modes == 0` makes
    // the call a pure query that writes only into the struct it is given.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&mut timex), timex)
    };
    if state < 0 && nix::errno::Errno::last() == nix::errno::Errno::EPERM {
        return stamped(Path::new(STAMP), utc());
    }
    state >= 0 && state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0
}
