//! A spool that cannot be written: capture stops, and it is tried again.

use super::Machine;
use crate::domain::backoff::Backoff;
use crate::domain::effect::{Effect, Event};
use crate::domain::policy::WhenFull;
use crate::domain::time::{Mono, Now};
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Broken {
    backoff: Backoff,
    probe_at: Mono,
}

impl Machine {
    /// When the spool is tried again, while it cannot be written.
    pub(super) fn probe_at(&self) -> Option<Mono> {
        self.broken.as_ref().map(|broken| broken.probe_at)
    }

    pub(super) fn storage_failed(&mut self, full: bool, why: String, now: Now) {
        if self.broken.is_none() {
            let mut backoff =
                Backoff::new(Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(60));
            let probe_at = now.mono + backoff.next(&mut self.jitter);
            self.broken = Some(Broken { backoff, probe_at });
            self.tell(Event::StorageFailed { full, why });
        }
        self.evict_for_want_of_room(full);
    }

    /// One, for each time that the disk was found to be full: another may have taken what was let go before.
    pub(super) fn evict_for_want_of_room(&mut self, full: bool) {
        let evicts = self.settings.rules.when_full == WhenFull::Evict && !self.usage.is_scanning;
        if full && evicts && !self.evict_aside() {
            self.evict_one();
        }
    }

    pub(super) fn storage_probed(&mut self, ok: bool, full: bool, now: Now) {
        let Some(broken) = &mut self.broken else { return };
        if ok {
            self.broken = None;
            self.tell(Event::StorageRecovered);
            self.forget_again();
        } else {
            broken.probe_at = now.mono + broken.backoff.next(&mut self.jitter);
            self.evict_for_want_of_room(full);
        }
    }

    pub(super) fn probe_if_due(&mut self, now: Now) {
        let Some(broken) = &mut self.broken else { return };
        if broken.probe_at <= now.mono {
            // Until the answer comes; it sets the time of the next one.
            broken.probe_at = now.mono + Duration::from_secs(60);
            self.effects.push_back(Effect::ProbeStorage);
        }
    }
}
