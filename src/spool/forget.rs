//! Removing files: each by an order of the machine, with one sync for all of them.

use super::engine::{Health, Spool};
use super::quarantine::tell;
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
        // If the spool was full, there may now be room to repair what a failure left behind.
        if self.health == (Health::Failed { full: true }) {
            let _ = self.settle();
        }
    }

    /// Removes the deferred files that may be removed by now. An end may be removed once its segments are, so
    /// this is repeated until nothing more can be removed.
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
            // On a removed card nothing is found, and all files are still there.
            store.is_there()?;
            for serial in ready {
                match store.remove(serial) {
                    Ok(()) => {
                        self.deferred.remove(&serial);
                        self.unremovable.remove(&serial);
                        self.removed.push(serial);
                    }
                    // This concerns only that file, which is retried the next time.
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
