//! How files leave the spool: each for an order of the machine, with one sync for all of them.

use super::engine::Health;
use super::{Spool, tell};
use crate::domain::fragment::SpanEnd;
use crate::domain::input::Input;
use crate::domain::segment::Serial;
use std::collections::BTreeSet;
use std::io;

impl Spool {
    /// Removes files, with one sync for all of them.
    pub(super) fn forget(&mut self, serials: &[Serial]) {
        self.deferred.extend(serials);
        if let Err(error) = self.forget_deferred() {
            self.give_up(SpanEnd::Storage, &error);
        }
        self.report_usage();
        // Where the spool was full there may be room now for what a failure left behind.
        if self.health == (Health::Failed { full: true }) {
            let _ = self.settle();
        }
    }

    /// Removes what waits to be removed and may be by now. An end may go once its segments have, so
    /// this goes over them until nothing more can.
    pub(super) fn forget_deferred(&mut self) -> io::Result<()> {
        let Some(store) = self.store.as_mut() else { return Ok(()) };
        if self.deferred.is_empty() && self.removed.is_empty() {
            return Ok(());
        }
        let growing = match (&self.span, &self.writer) {
            (Some(span), Some(writer)) if writer.has_durable() => Some(span.name.as_str()),
            (Some(_) | None, _) => None,
        };
        let mut failed = BTreeSet::new();
        loop {
            let may_go = |serial: &Serial| !failed.contains(serial) && store.may_forget(*serial, growing);
            let ready: Vec<Serial> = self.deferred.iter().copied().filter(may_go).collect();
            if ready.is_empty() {
                break;
            }
            // On a card that was pulled nothing is found, and all of it is still there.
            store.is_there()?;
            for serial in ready {
                match store.remove(serial) {
                    Ok(()) => {
                        self.deferred.remove(&serial);
                        self.unremovable.remove(&serial);
                        self.removed.push(serial);
                    }
                    // It is that file's trouble alone, and tried again the next time.
                    Err(error) => {
                        failed.insert(serial);
                        if self.unremovable.insert(serial) {
                            let why = format!("left in place, it cannot be removed: {error}");
                            tell(&mut self.reports, serial.to_string(), why);
                        }
                    }
                }
            }
        }
        if !self.removed.is_empty() {
            store.sync()?;
            self.reports.extend(self.removed.drain(..).map(|serial| Input::Forgotten { serial }));
        }
        Ok(())
    }

    /// Removes the oldest file that cannot be sent.
    pub(super) fn evict_aside(&mut self) {
        let evicted = self.store.as_mut().and_then(|store| store.evict_aside().transpose());
        match evicted {
            Some(Err(error)) => {
                self.reports.push(Input::AsideEvicted(None));
                self.give_up(SpanEnd::Storage, &error);
            }
            Some(Ok(file)) => self.reports.push(Input::AsideEvicted(Some(file))),
            None => self.reports.push(Input::AsideEvicted(None)),
        }
        self.report_usage();
        if self.health == (Health::Failed { full: true }) {
            let _ = self.settle();
        }
    }
}
