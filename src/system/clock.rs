//! The only place that reads the clocks.

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
/// The kernel treats a clock as unsynchronised once it may be 16 s wrong, and assumes a drift of 500 ppm
/// (`NTP_PHASE_LIMIT`, `MAXFREQ`): this long after it was last set.
const STAMP_VALIDITY: Duration = Duration::from_secs(32_000);

/// The source of trust in the system clock (`clock.trust`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The kernel: synchronised unless `adjtimex` reports `STA_UNSYNC` (clock state `TIME_ERROR`).
    Kernel,
    /// The system clock is trusted as it is.
    System,
}

/// `CLOCK_MONOTONIC`, which is also GStreamer's clock. It exists on every Linux, so a failure means that
/// there is no time at all.
#[must_use]
pub fn mono() -> Mono {
    let since_boot = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
    Mono(u64::try_from(since_boot.as_nanos()).unwrap_or(u64::MAX))
}

/// `CLOCK_REALTIME`, through the standard library, which uses 64-bit seconds on 32-bit ARM too, where the C
/// library's own type ends in 2038. A time before 1970 reads as 1970: it is before every floor and so is
/// never believed.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the place that others ask")]
pub fn utc() -> Utc {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Utc(i64::try_from(since_1970.as_nanos()).unwrap_or(i64::MAX))
}

/// All three readings at one moment.
#[must_use]
pub fn now(trust: Trust) -> Now {
    let synchronised = match trust {
        Trust::Kernel => kernel_synchronised(),
        Trust::System => true,
    };
    Now { mono: mono(), system: utc(), synchronised }
}

/// A time that had passed when the process started, and the monotonic time of that start.
static PASSED: OnceLock<(Utc, Mono)> = OnceLock::new();

/// Sets a time that has certainly passed: the last one that was persisted, or the build time. Once per
/// process.
pub fn has_passed(time: Utc) {
    let _said_before = PASSED.set((time, mono()));
}

/// The time with which certificates are checked (RFC 5280, 4.1.2.5): the system clock, but never a time
/// before one that has certainly passed. A camera without a battery starts in 1970, when no certificate is
/// valid yet; it needs a valid one to learn that its owner has forbidden it to record.
#[derive(Clone, Copy, Debug, Default)]
pub struct CertificateTime;

impl TimeProvider for CertificateTime {
    fn current_time(&self) -> Option<UnixTime> {
        let passed = PASSED.get().map(|(time, at)| *time + mono().since(*at)).unwrap_or_default();
        let seconds = utc().max(passed).0.div_euclid(1_000_000_000);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(seconds).unwrap_or(0))))
    }
}

/// Whether the clock was set when this file was last touched, and that is still recent enough. A stamp in the
/// future is from before something else moved the clock.
#[must_use]
pub fn stamped(stamp: &Path, now: Utc) -> bool {
    let Ok(found) = std::fs::metadata(stamp) else { return false };
    let touched = found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec());
    let age = now.0.saturating_sub(touched);
    u64::try_from(age).is_ok_and(|age| Duration::from_nanos(age) <= STAMP_VALIDITY)
}

/// The result of `adjtimex`. Under `ProtectClock=` it may not be called, even to read (`EPERM`): then the
/// stamp file of the machine's time service is used.
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
