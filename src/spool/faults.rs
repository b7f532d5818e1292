//! What happens when the disk fails, and afterwards; and forgetting.

use super::engine::Health;
use super::store::Live;
use super::{Spool, tell};
use crate::disk::is_full;
use crate::domain::fragment::SpanEnd;
use crate::domain::input::Input;
use crate::domain::segment::Serial;
use std::collections::BTreeSet;
use std::io;

impl Spool {
    /// Gives up the file and the span under way, and says why. What the failed call touched is not
    /// believed, and not tried again by this hand: see invariant 7.
    pub(super) fn give_up(&mut self, reason: SpanEnd, error: &io::Error) {
        let mut held = false;
        if let Some(writer) = self.writer.take() {
            let epoch = self.span.as_ref().map_or(self.revoked, |span| span.epoch);
            self.dropped(epoch, writer.frames_at_risk());
            let serial = writer.serial;
            let durable = writer.abandon();
            held = durable > 0;
            if let Some(store) = self.store.as_mut() {
                store.abandon(serial, durable);
            }
        }
        if let (Some(span), Some(store)) = (self.span.take(), self.store.as_mut()) {
            if held || span.last.is_some() {
                store.owe_end(&span.name, reason);
            }
        }
        self.segmenter.reset();
        let full = is_full(error);
        self.health = Health::Failed { full };
        tracing::error!(full, %error, "the spool cannot be written");
        self.reports.push(Input::StorageFailed { full, why: error.to_string() });
        self.report_usage();
    }

    /// Looks whether the spool can be written, and takes up what a failure left behind.
    pub(super) fn probe(&mut self) {
        let result = match self.store.as_ref() {
            Some(store) => store.probe().and_then(|()| match self.health {
                Health::Well => Ok(()),
                Health::Failed { .. } => self.settle(),
            }),
            None => {
                self.open_store().map(|segments| self.reports.extend(segments.into_iter().map(Input::Sealed)))
            }
        };
        if let Err(error) = &result {
            tracing::warn!(%error, "the spool still cannot be written");
        }
        let ok = result.is_ok() && self.health == Health::Well;
        // What was told when the disk failed may be long past: nothing is evicted by that.
        self.report_usage();
        let full = result.is_err_and(|error| is_full(&error));
        self.reports.push(Input::StorageProbed { ok, full });
    }

    /// Restores order among what failures left behind; all is well again if that succeeds.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        let Some(store) = self.store.as_mut() else { return Ok(()) };
        let live = match (&self.span, &self.writer) {
            (Some(span), Some(writer)) => Some(Live { span: &span.name, serial: writer.serial }),
            (Some(span), None) => Some(Live { span: &span.name, serial: Serial(0) }),
            (None, _) => None,
        };
        let (segments, result) = store.settle(live, &mut self.reports);
        self.reports.extend(segments.into_iter().map(Input::Sealed));
        result?;
        self.forget_deferred()?;
        self.health = Health::Well;
        self.report_usage();
        Ok(())
    }

    /// A sealed segment was found damaged: what can be saved of it comes back as another.
    pub(super) fn damaged(&mut self, serial: Serial) {
        if !self.store.as_mut().is_some_and(|store| store.doubt(serial)) {
            return;
        }
        self.reports.push(Input::Forgotten { serial });
        if let Err(error) = self.settle() {
            self.give_up(SpanEnd::Storage, &error);
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

    pub(super) fn report_usage(&mut self) {
        if let Some(store) = self.store.as_ref() {
            let growing = self.writer.as_ref().map_or(0, super::writer::Writer::bytes);
            self.reports.push(Input::Usage(store.usage(growing)));
        }
    }
}
