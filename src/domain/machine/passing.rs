//! The time that must have passed, whatever the system clock says.

use super::Machine;
use crate::domain::effect::Fact;
use crate::domain::time::{Clock, Now, Utc};
use std::time::Duration;

/// How often the current time is made durable: losing ten minutes of it costs little, wearing out flash costs
/// more.
pub(super) const KEEP_TIME_INTERVAL: Duration = Duration::from_secs(10 * 60);

impl Machine {
    /// The latest time that must have passed by now, whatever the system clock says.
    #[must_use]
    pub fn floor(&self, now: Now) -> Utc {
        self.floor + now.mono.since(self.floor_at)
    }

    /// How far the system clock may be believed at `now`.
    #[must_use]
    pub fn clock(&self, now: Now) -> Clock {
        Clock::judge(now, self.floor(now))
    }

    /// The time with which leases are compared.
    pub(super) fn lease_time(&self, now: Now) -> Utc {
        match self.clock(now) {
            Clock::Trusted => now.system,
            Clock::Plausible | Clock::Unset => now.system.max(self.floor(now)),
        }
    }

    /// A time that a trusted clock has shown has passed, whatever any clock says later.
    pub(super) fn note_time(&mut self, now: Now) {
        if self.clock(now) == Clock::Trusted && now.system > self.floor(now) {
            (self.floor, self.floor_at) = (now.system, now.mono);
        }
    }

    pub(super) fn keep_time(&mut self, now: Now) {
        if self.time_unkept(now) >= KEEP_TIME_INTERVAL {
            self.write_floor(now);
        }
    }

    /// How much time has passed that would be lost in a power cut.
    pub(super) fn time_unkept(&self, now: Now) -> Duration {
        self.floor(now).since(self.kept_floor)
    }

    /// Makes the current time durable. A failed write is not retried: the next one follows anyway.
    pub(super) fn write_floor(&mut self, now: Now) {
        let passed = self.floor(now);
        if passed > self.kept_floor {
            self.kept_floor = passed;
            self.persist(Fact::Floor(passed), false);
        }
    }
}
