//! Cuts off a sealed segment what was captured after the owner had forbidden it.

use super::engine::Spool;
use super::setup::MAX_FILE;
use super::store::Store;
use super::{decrypt, end, scan};
use crate::domain::fragment::SpanEnd;
use crate::domain::input::Input;
use crate::domain::recovery::Footage;
use crate::domain::segment::{Content, Record, Segment, Serial, SpoolKind, SpoolName};
use crate::fmp4::{self, ChunkInfo, Layout, TrackRun};
use std::io;
use std::time::Duration;

impl Spool {
    /// Keeps the whole fragments that end within `keep` of the first frame, with their audio.
    ///
    /// 1. The file is read. If it cannot be understood, it is unknown what of it is forbidden: nothing is
    ///    kept.
    /// 2. It is renamed to `.open`, and the directory synced; then it is truncated after the last fragment
    ///    that is kept, given its new `mfra`, and synced.
    /// 3. It is renamed to `.mp4`, and the directory synced.
    ///
    /// What a start finds after a power cut: the file as it was, sealed or not, which is judged again; or
    /// what is kept of it.
    pub(super) fn cut_back(&mut self, serial: Serial, keep: Duration) {
        let Some(store) = self.store.as_mut() else { return };
        match store.cut_back(serial, keep) {
            Ok(left) => self.reports.push(Input::Cut { serial, left }),
            Err(error) => self.give_up(SpanEnd::Storage, &error),
        }
        self.report_usage();
    }

    /// Writes the end of a span again, under its own name.
    pub(super) fn move_end(&mut self, serial: Serial, record: &Record, reason: SpanEnd) {
        let Some(store) = self.store.as_mut() else { return };
        match store.move_end(serial, record, reason) {
            Ok(Some(end)) => self.reports.push(Input::Cut { serial, left: Some(end) }),
            // It was removed meanwhile, which is reported.
            Ok(None) => {}
            Err(error) => self.give_up(SpanEnd::Storage, &error),
        }
    }
}

impl Store {
    /// What is left; `None` if nothing is. The file itself then still exists.
    fn cut_back(&mut self, serial: Serial, keep: Duration) -> io::Result<Option<Segment>> {
        let name = SpoolName { serial, kind: SpoolKind::Sealed };
        if !self.holdings.holds(name) {
            return Ok(None);
        }
        let opened = match scan::read_file(
            &*self.fs,
            &self.setup.dir().join(name.to_string()),
            MAX_FILE,
            &self.setup.encryption,
        ) {
            Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::NotFound) => {
                return Ok(None);
            }
            other => other?,
        };
        let is_whole = match opened.end {
            decrypt::FileEnd::Plain | decrypt::FileEnd::Whole => true,
            decrypt::FileEnd::Cut | decrypt::FileEnd::Aside(_) | decrypt::FileEnd::Damaged(_) => false,
        };
        let Some(layout) =
            fmp4::read_segment(&opened.bytes).ok().filter(|layout| is_whole && layout.complete)
        else {
            return Ok(None);
        };
        let kept = fragments_within(&layout, &opened.bytes, keep);
        let Some(whole) = layout.chunks.get(..kept).and_then(|chunks| scan::measure(&layout, chunks)) else {
            return Ok(None);
        };
        let footage = Footage {
            record: layout.record.clone(),
            codecs: layout.init.codecs.clone(),
            complete: kept == layout.chunks.len(),
            whole: Some(whole),
        };
        if footage.complete {
            let content = Content::Footage { duration: whole.duration, codecs: footage.codecs };
            let bytes = self.fs.stat(&self.setup.dir().join(name.to_string()))?.len;
            return Ok(Some(Segment { serial, content, record: footage.record, bytes }));
        }
        self.holdings.remove(serial);
        let segment = self.seal(name, footage, whole)?;
        self.learn(&segment);
        Ok(Some(segment))
    }

    fn move_end(&mut self, serial: Serial, record: &Record, reason: SpanEnd) -> io::Result<Option<Segment>> {
        let name = SpoolName { serial, kind: SpoolKind::End };
        if !self.holdings.holds(name) {
            return Ok(None);
        }
        let path = self.setup.dir().join(name.to_string());
        // What a later release put into it is kept, if it can be read.
        let before = scan::read_file(&*self.fs, &path, end::LIMIT, &self.setup.encryption);
        let before = before.map(|opened| opened.bytes).unwrap_or_default();
        let bytes = end::encode_over(&before, record, reason).map_err(io::Error::other)?;
        let segment = self.publish_end(serial, record, reason, bytes)?;
        self.holdings.remove(serial);
        self.learn(&segment);
        Ok(Some(segment))
    }
}

/// The number of chunks, from the front, that belong to whole fragments that end within `keep` of the first
/// frame.
fn fragments_within(layout: &Layout, bytes: &[u8], keep: Duration) -> usize {
    let chunks = &layout.chunks;
    let video = layout.init.video;
    let Some(first) = chunks.first().and_then(|chunk| chunk.runs.iter().find(|run| run.track == video.id))
    else {
        return 0;
    };
    let presented = u64::try_from(first.earliest_presentation).unwrap_or(0);
    let origin = nanos(presented.min(first.decode_time), video.timescale);
    let ends = |run: &TrackRun| {
        let scale = match layout.init.audio {
            Some(audio) if audio.id == run.track => audio.timescale,
            Some(_) | None => video.timescale,
        };
        let presented = u64::try_from(run.earliest_presentation).unwrap_or(0).max(run.decode_time);
        nanos(presented.saturating_add(run.duration), scale) - origin
    };
    let keep = i128::try_from(keep.as_nanos()).unwrap_or(i128::MAX);
    let within = |chunk: &ChunkInfo| chunk.runs.iter().all(|run| ends(run) <= keep);
    let fits = chunks.iter().position(|chunk| !within(chunk)).unwrap_or(chunks.len());
    (1..=fits).rev().find(|count| scan::ends_fragment(chunks, bytes, count - 1)).unwrap_or(0)
}

fn nanos(ticks: u64, scale: u32) -> i128 {
    i128::from(ticks) * 1_000_000_000 / i128::from(scale.max(1))
}
