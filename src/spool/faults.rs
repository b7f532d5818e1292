//! Faults of the disk, and the work that begins again after them.

use super::engine::{Health, OpenSpan, Spool};
use super::holdings::Live;
use super::quarantine::tell;
use super::writer::Writer;
use crate::disk::{is_full, place};
use crate::domain::fragment::SpanEnd;
use crate::domain::input::Input;
use crate::domain::segment::Serial;
use std::io;

impl Spool {
    /// Abandons the file and the current span, and reports why. What the failed call touched is not trusted,
    /// and this writer does not retry it: see invariant 7.
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
        // Each call on a removed card fails with an error of its own, and none of them says that the card is
        // gone.
        let is_away =
            self.store.as_ref().is_some_and(|store| matches!(store.place(), Ok(place::Found::Away)));
        let full = is_full(error) && !is_away;
        self.health = Health::Failed { full };
        let why = if is_away { place::IsAway.to_string() } else { error.to_string() };
        tracing::error!(full, %error, "the spool cannot be written");
        self.reports.push(Input::StorageFailed { full, why });
        self.report_usage();
    }

    /// Checks whether the spool can be written, and repairs what a failure left behind.
    pub(super) fn probe(&mut self) {
        // A card that came back with another device number is scanned again: it may be another card.
        if self.store.as_ref().is_some_and(|store| matches!(store.place(), Ok(place::Found::Other))) {
            self.store = None;
            self.deferred.clear();
        }
        let mut result = match self.store.as_ref() {
            Some(store) => store.probe().and_then(|()| match self.health {
                Health::Well => Ok(()),
                Health::Failed { .. } => self.settle(),
            }),
            None => self.open_store(),
        };
        // Also on a full disk: what can be removed must be known first.
        self.scan_fails = false;
        while self.at_once && self.is_scanning() {
            result = result.and(self.scan(usize::MAX));
        }
        if let Err(error) = &result {
            tracing::warn!(%error, "the spool still cannot be written");
        }
        let ok = result.is_ok() && self.health == Health::Well;
        // What was reported when the disk failed may be old: nothing is evicted because of that.
        self.report_usage();
        let full = result.as_ref().is_err_and(is_full);
        let away = result.as_ref().is_err_and(place::is_away);
        self.reports.push(Input::StorageProbed { ok, full, away });
    }

    /// Repairs what failures left behind; if that succeeds, the spool works again.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        let Some(store) = self.store.as_mut() else { return Ok(()) };
        let live = live(self.span.as_ref(), self.writer.as_ref());
        let (segments, result) = store.settle(live, &mut self.reports);
        self.reports.extend(segments.into_iter().map(Input::Sealed));
        result?;
        self.forget_deferred()?;
        self.health = Health::Well;
        self.report_usage();
        Ok(())
    }

    /// Whether some files have not been read yet, and nothing prevents that.
    #[must_use]
    pub fn is_scanning(&self) -> bool {
        !self.scan_fails && self.store.as_ref().is_some_and(|store| !store.is_scanned())
    }

    /// Reads about `most` more files. Reports the first ones soon, and then more and more at a time, because
    /// the machine goes over all files each time.
    ///
    /// # Errors
    /// Those of the disk, which are also reported: [`Command::Probe`](super::command::Command::Probe)
    /// continues.
    pub fn scan(&mut self, most: usize) -> io::Result<()> {
        let Some(store) = self.store.as_mut() else { return Ok(()) };
        let live = live(self.span.as_ref(), self.writer.as_ref());
        let (segments, result) = store.scan(most, live, &mut self.reports);
        self.found.extend(segments);
        let is_over = store.is_scanned() || result.is_err();
        let told = store.holdings.len().saturating_sub(self.found.len());
        if self.found.len() > told / 4 || is_over {
            self.reports.push(Input::Found(std::mem::take(&mut self.found)));
            if !is_over {
                self.report_usage();
            }
        }
        let result = result.and_then(|()| if is_over { self.forget_deferred() } else { Ok(()) });
        if let Err(error) = &result {
            self.scan_fails = true;
            self.give_up(SpanEnd::Power, error);
        } else if is_over {
            self.report_usage();
        }
        result
    }

    /// A sealed segment was found damaged: what can be recovered of it comes back as another segment.
    pub(super) fn damaged(&mut self, serial: Serial) {
        let Some(store) = self.store.as_mut() else { return };
        // All files of a removed card are missing, and none of them is lost.
        if let Err(error) = store.is_there() {
            return self.give_up(SpanEnd::Storage, &error);
        }
        if !store.doubt(serial) {
            if store.is_scanned() && store.holdings.kind_of(serial).is_none() {
                // Only the caller still believes that it is here.
                self.reports.push(Input::Forgotten { serial });
            }
            return;
        }
        if store.is_gone(serial) {
            tell(&mut self.reports, serial.to_string(), "gone: nothing here has removed it".to_owned());
        }
        self.reports.push(Input::Forgotten { serial });
        if let Err(error) = self.settle() {
            self.give_up(SpanEnd::Storage, &error);
        }
    }

    pub(super) fn report_usage(&mut self) {
        if let Some(store) = self.store.as_ref() {
            let growing = self.writer.as_ref().map_or(0, Writer::bytes);
            self.reports.push(Input::Usage(store.usage(growing)));
        }
    }
}

/// The current span and its file, which a repair leaves alone.
fn live<'a>(span: Option<&'a OpenSpan>, writer: Option<&Writer>) -> Option<Live<'a>> {
    span.map(|span| Live { span: &span.name, serial: writer.map_or(Serial(0), |writer| writer.serial) })
}
