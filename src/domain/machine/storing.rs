//! A spool that cannot be written: capture stops, and the write is retried.

use super::Machine;
use crate::domain::backoff::Backoff;
use crate::domain::effect::{Effect, Event};
use crate::domain::policy::WhenFull;
use crate::domain::time::{Mono, Now};
use std::time::Duration;

/// How often the spool checks for a card that was removed: recording goes on within five seconds of its
/// return.
const CARD_INTERVAL: Duration = Duration::from_secs(2);

/// The fault of a card that was removed, whatever error the first failed call returned.
const AWAY: &str = "its file system is away, and the mount point is empty";

#[derive(Debug)]
pub(super) struct Broken {
    backoff: Backoff,
    probe_at: Mono,
    /// The error of the operating system.
    why: String,
}

impl Machine {
    /// When the spool is probed again, while it cannot be written.
    pub(super) fn probe_at(&self) -> Option<Mono> {
        self.broken.as_ref().map(|broken| broken.probe_at)
    }

    /// Why the spool cannot be written, as long as it cannot.
    pub(super) fn storage_fault(&self) -> Option<&str> {
        self.broken.as_ref().map(|broken| broken.why.as_str())
    }

    pub(super) fn storage_failed(&mut self, full: bool, why: String, now: Now) {
        if self.broken.is_none() {
            let mut backoff =
                Backoff::new(Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(60));
            let probe_at = now.mono + backoff.next(&mut self.jitter);
            self.broken = Some(Broken { backoff, probe_at, why: why.clone() });
            self.tell(Event::StorageFailed { full, why });
        }
        self.evict_for_want_of_room(full);
    }

    /// Evicts one file each time that the disk was found to be full: another process may have used the room
    /// that was freed.
    pub(super) fn evict_for_want_of_room(&mut self, full: bool) {
        let evicts = self.settings.rules.when_full == WhenFull::Evict && !self.usage.is_scanning;
        if full && evicts && !self.evict_aside() {
            self.evict_one();
        }
    }

    pub(super) fn storage_probed(&mut self, ok: bool, full: bool, away: bool, now: Now) {
        let Some(broken) = &mut self.broken else { return };
        if ok {
            self.broken = None;
            self.tell(Event::StorageRecovered);
            self.forget_again();
        } else {
            let pause = broken.backoff.next(&mut self.jitter);
            if away {
                broken.why = String::from(AWAY);
            }
            broken.probe_at = now.mono + if away { pause.min(CARD_INTERVAL) } else { pause };
            self.evict_for_want_of_room(full);
        }
    }

    pub(super) fn probe_if_due(&mut self, now: Now) {
        let Some(broken) = &mut self.broken else { return };
        if broken.probe_at <= now.mono {
            // Until the answer comes; it sets the time of the next probe.
            broken.probe_at = now.mono + Duration::from_secs(60);
            self.effects.push_back(Effect::ProbeStorage);
        }
    }
}
