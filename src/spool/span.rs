//! Performs the steps of the segmenter: the current span and its file.

use super::engine::{OpenSpan, Spool};
use super::store::Store;
use super::writer::{Sealed, Writer};
use crate::domain::fragment::{Chunk, Epoch, SpanEnd, Timing};
use crate::domain::input::Input;
use crate::domain::recovery;
use crate::domain::segment::{Content, Record, RecordClock};
use crate::domain::segmenter::{Durability, SpanTime};
use crate::domain::time::{Clock, Mono, Utc};
use crate::fmp4::ChunkInfo;
use serde_json::Map;
use std::io;
use std::sync::Arc;

impl Spool {
    /// Begins a segment and, if it is the first, the span. Writes nothing yet.
    pub(super) fn begin(&mut self, chunk: &Chunk, n: u64, start: Mono, time: SpanTime) -> io::Result<()> {
        let (epoch, init) = (chunk.epoch, &chunk.init);
        let store = self.store.as_mut().ok_or_else(not_open)?;
        store.is_there()?;
        let serial = store.serials.next()?;
        if n == 0 || self.span.is_none() {
            // A serial never repeats; if its fact is lost nevertheless, the boot distinguishes the spans.
            let boot: String = self.setup.boot.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
            self.span = Some(OpenSpan { epoch, name: format!("{boot}-{serial}"), last: None, frame: 0 });
        }
        let span = self.span.as_ref().map(|span| span.name.clone()).unwrap_or_default();
        let record = Record {
            device: self.setup.device.clone(),
            span,
            n,
            boot: self.setup.boot.clone(),
            start_mono: start.0,
            start_utc: Utc(i64::try_from(start.0).unwrap_or(i64::MAX).saturating_add(time.offset))
                .floor_micros(),
            clock: RecordClock::from(time.clock),
            plan: self.terms.0.clone(),
            history_hours: self.terms.1,
            late_sync: self.setup.durability == Durability::Segment,
            timing: match (chunk.timing, time.clock) {
                // The camera's clock needs a known time to be compared with.
                (Timing::Camera { .. }, Clock::Plausible | Clock::Unset) => Timing::Arrival,
                (timing, _) => timing,
            },
        };
        self.writer = Some(Writer::new(
            Arc::clone(&self.fs),
            &self.setup,
            serial,
            record,
            Arc::clone(init),
            time.offset,
            start,
        ));
        Ok(())
    }

    /// Takes a chunk into the open fragment. With durability `chunk` this writes it, so the permit is checked
    /// once more.
    pub(super) fn append(&mut self, chunk: &Chunk, info: &ChunkInfo) -> io::Result<()> {
        if self.setup.durability == Durability::Chunk && !self.may_write(chunk.epoch) {
            self.dropped(chunk.epoch, chunk.frames);
            return self.refuse_epoch(chunk.epoch);
        }
        if let Some(span) = self.span.as_mut() {
            span.frame = chunk.duration / u64::from(chunk.frames.max(1));
        }
        match self.writer.as_mut() {
            Some(writer) => writer.append(chunk, info),
            None => {
                self.dropped(chunk.epoch, chunk.frames);
                Ok(())
            }
        }
    }

    /// The commit point, unless permission was withdrawn since the fragment began.
    pub(super) fn complete(&mut self) -> io::Result<()> {
        let Some(epoch) = self.span.as_ref().map(|span| span.epoch) else { return Ok(()) };
        if !self.may_write(epoch) {
            return self.refuse_epoch(epoch);
        }
        let Some(writer) = self.writer.as_mut() else { return Ok(()) };
        if let Some(durable) = writer.complete()? {
            self.reports.push(Input::Committed { frames: durable.frames, bytes: durable.bytes });
            self.forget_deferred()?;
            self.report_usage();
        }
        Ok(())
    }

    /// Drops the open fragment.
    pub(super) fn discard(&mut self) -> io::Result<()> {
        let epoch = self.span.as_ref().map_or(self.revoked, |span| span.epoch);
        let Some(writer) = self.writer.as_mut() else { return Ok(()) };
        let frames = writer.open_frames();
        let result = writer.discard();
        self.dropped(epoch, frames);
        result
    }

    /// Closes the file; removes it if it has no whole fragment.
    pub(super) fn seal(&mut self) -> io::Result<()> {
        let Some(writer) = self.writer.as_mut() else { return Ok(()) };
        let sealed = writer.seal()?;
        self.writer = None;
        if let Sealed::Segment(segment, durable) = sealed {
            if durable.frames > 0 {
                self.reports.push(Input::Committed { frames: durable.frames, bytes: durable.bytes });
            }
            let duration = match segment.content {
                Content::Footage { duration, .. } => duration,
                Content::End { .. } => 0,
            };
            if let Some(span) = self.span.as_mut() {
                span.last = Some((segment.record.clone(), duration));
            }
            if let Some(store) = self.store.as_mut() {
                store.learn(&segment);
            }
            self.reports.push(Input::Sealed(segment));
        }
        if self.store.as_ref().is_some_and(Store::has_skipped) {
            // Files that could not be repaired before may be repairable now; the others stay as they are.
            self.settle()?;
        }
        self.forget_deferred()?;
        self.report_usage();
        Ok(())
    }

    /// Ends the span. A span without a segment leaves no file.
    pub(super) fn end_span(&mut self, reason: SpanEnd) -> io::Result<()> {
        let Some(span) = self.span.take() else { return Ok(()) };
        let Some((last, duration)) = span.last else { return Ok(()) };
        let duration = self.closed.map_or(duration, |closed| {
            recovery::until_closed(Mono(last.start_mono), duration, span.frame, closed)
        });
        let store: &mut Store = self.store.as_mut().ok_or_else(not_open)?;
        let end = store.write_end(&recovery::end_of(&last, duration), reason, Map::new())?;
        self.reports.push(Input::Sealed(end));
        self.forget_deferred()?;
        self.report_usage();
        Ok(())
    }

    /// Whether chunks of this epoch may be written at this moment.
    pub(super) fn may_write(&self, epoch: Epoch) -> bool {
        epoch > self.revoked && self.live.is(epoch)
    }

    pub(super) fn dropped(&mut self, epoch: Epoch, frames: u32) {
        if frames > 0 {
            self.reports.push(Input::Dropped { epoch, frames });
        }
    }

    /// If later chunks of this epoch were taken, the span would have a gap.
    fn refuse_epoch(&mut self, epoch: Epoch) -> io::Result<()> {
        self.revoked = self.revoked.max(epoch);
        self.discard()
    }
}

fn not_open() -> io::Error {
    io::Error::other("the spool is not open")
}
