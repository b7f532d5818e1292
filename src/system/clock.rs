//! The only place that asks what time it is.

use crate::domain::time::{Mono, Now, Utc};
use nix::time::{ClockId, clock_gettime};

/// Where trust in the system clock comes from (`clock.trust`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The kernel's word: synchronised unless `adjtimex` reports `STA_UNSYNC` (clock state `TIME_ERROR`).
    Kernel,
    /// Taken as it is.
    System,
}

/// `CLOCK_MONOTONIC`, the clock of GStreamer too.
#[must_use]
pub fn mono() -> Mono {
    Mono(u64::try_from(nanos(ClockId::CLOCK_MONOTONIC)).unwrap_or(0))
}

/// `CLOCK_REALTIME`.
#[must_use]
pub fn utc() -> Utc {
    Utc(nanos(ClockId::CLOCK_REALTIME))
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

/// Both clocks exist on every Linux, so a failure means that there is no time at all: zero, which
/// lies before every floor and so is never believed.
fn nanos(clock: ClockId) -> i64 {
    clock_gettime(clock).map_or(0, |t| t.tv_sec().saturating_mul(1_000_000_000).saturating_add(t.tv_nsec()))
}

fn kernel_synchronised() -> bool {
    // SAFETY: `timex` is plain data for which all zeros is a valid value, and `modes == 0` makes
    // the call a pure query that writes only into the struct it is given.
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&mut timex), timex)
    };
    state >= 0 && state != libc::TIME_ERROR && timex.status & libc::STA_UNSYNC == 0
}
