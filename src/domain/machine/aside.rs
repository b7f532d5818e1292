//! Files that are in quarantine or set aside are removed before footage that can be sent, one after the
//! other.

use super::Machine;
use crate::domain::aside::Aside;
use crate::domain::effect::{Effect, Event, Rule};
use crate::domain::input::AsideFile;
use crate::domain::storage::Usage;
use crate::domain::time::Now;

/// The progress of the eviction of such files.
#[derive(Debug, Default)]
pub(super) struct Eviction {
    /// The spool was asked to remove one and has not answered.
    asked: bool,
    /// It could remove none, although it held this many.
    stuck: Option<u64>,
}

impl Machine {
    /// Asks the spool to remove the oldest of them. False if none can be removed: then footage that can be
    /// sent is next.
    pub(super) fn evict_aside(&mut self) -> bool {
        if self.aside.asked {
            return true;
        }
        let files = aside(&self.usage);
        if files == 0 || self.aside.stuck.is_some_and(|stuck| files <= stuck) {
            return false;
        }
        self.aside.asked = true;
        self.effects.push_back(Effect::EvictAside);
        true
    }

    pub(super) fn aside_evicted(&mut self, file: Option<AsideFile>) {
        self.aside.asked = false;
        let Some(AsideFile { name, why, bytes }) = file else {
            self.aside.stuck = Some(aside(&self.usage));
            return;
        };
        self.usage.bytes = self.usage.bytes.saturating_sub(bytes);
        self.usage.free = self.usage.free.map(|free| free.saturating_add(bytes));
        match why {
            Some(why) => {
                self.usage.files = self.usage.files.saturating_sub(1);
                self.usage.set_aside.remove(why, bytes);
            }
            None => self.usage.quarantined = self.usage.quarantined.saturating_sub(1),
        }
        let why = why.map_or("damaged", Aside::text);
        self.tell(Event::AsidePurged { name, why, bytes, rule: Rule::Evicted });
    }

    /// The spool cannot be opened: its content is unknown.
    pub(super) fn spool_is_closed(&mut self, why: String, now: Now) {
        self.usage.is_scanning = true;
        self.storage_failed(false, why, now);
    }

    pub(super) fn set_aside(&mut self, why: Aside, files: u64, name: String) {
        self.tell(Event::SetAside { why: why.text(), files, name });
    }

    pub(super) fn measured(&mut self, usage: Usage) {
        self.usage = usage;
    }
}

/// Files that are in quarantine or set aside.
fn aside(usage: &Usage) -> u64 {
    usage.quarantined.saturating_add(usage.set_aside.files)
}
