//! From access units and audio frames to chunks. Pure: no clock, no thread, no GStreamer.
//!
//! A fragment is one GOP: from a frame at which decoding can begin to the next. It is cut into chunks of whole frames,
//! none longer than configured. A chunk holds the audio that begins before its frames end, and waits for it, up to a
//! limit. So in every file audio and video end within one audio frame of each other, at every frame rate.

mod audio;
mod formats;
mod holes;
mod samples;

use super::timing::DecodeTimes;
use super::units::{Start, Unit};
use crate::domain::fragment::{Chunk, Epoch, Timing};
use crate::domain::time::Mono;
use crate::fmp4::{self, AudioDescription, SampleRun};
use audio::{AudioQueue, MAX_WAITING_AUDIO};
use bytes::Bytes;
use formats::{Formats, TooManyLines};
use holes::{NoTimes, Watch};
pub use samples::AudioFrame;
use samples::{Frame, Raw, frame_run, nals_of};
use std::collections::VecDeque;
use std::sync::Arc;

/// A second, in nanoseconds.
const SECOND: i64 = 1_000_000_000;
/// A chunk ends when it has more bytes, even if it is short.
const MAX_CHUNK: usize = 8 << 20;
/// Frames whose order is observed, if the stream does not state how it reorders them.
const OBSERVED_FRAMES: usize = 32;
/// The longest observation, in nanoseconds.
const OBSERVED_TIME: i64 = SECOND;
/// Tolerance for rounded times, in nanoseconds.
const ROUNDING: i64 = 500_000;
/// Audio that is further ahead of its frames should wait at its source, in nanoseconds.
const MAX_AUDIO_LEAD: i64 = 2 * SECOND;
/// Settings of one run.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Stamped on every chunk.
    pub epoch: Epoch,
    /// Maximum length of a chunk, unless one frame is longer; in nanoseconds.
    pub chunk: i64,
    /// The distance of two frames until it is measured; in nanoseconds.
    pub frame: i64,
    /// Audio is expected.
    pub audio: bool,
    /// How far frames may run ahead of the audio that they wait for, in nanoseconds. `None`: no limit.
    pub patience: Option<i64>,
    /// Maximum number of lines of a frame.
    pub max_height: u32,
    /// Rotation for display: clockwise quarter turns, 0 to 3.
    pub turns: u8,
    /// `recording.segment`, in nanoseconds: after this time without a better frame, a fragment begins at a
    /// [`Start::Open`], and the frames that lead it are lost.
    pub segment: i64,
    /// The same, in bytes.
    pub segment_bytes: u64,
}

/// Why a stream cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// A frame has more lines than the plan allows.
    Lines(u32),
    /// Its frames have no times, or all have the same.
    NoTimes,
    /// A chunk is larger than a file may be.
    TooLarge,
}

/// Counters of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that cannot be decoded: before the first one at which decoding can begin, or lost behind an open start.
    pub before_first: u64,
    /// Holes in the times of the frames, including those that end no span.
    pub holes: u64,
    /// Frames missing in those holes, estimated from the frame rate before them.
    pub missing: u64,
    /// Audio frames that were dropped.
    pub audio_lost: u64,
}

/// Makes chunks, for one run.
#[derive(Debug)]
pub struct Muxer {
    settings: Settings,
    before_first: u64,
    /// The next frames cannot be decoded until one comes at which decoding can begin.
    needs_start: bool,
    /// Presentation time of the open start at which decoding began: the frames that lead it are lost.
    open_since: Option<i64>,
    /// Start of the segment and its bytes, as an estimate of what the spool does.
    piece: (i64, u64),
    formats: Formats,
    depth: Option<u32>,
    observed: Vec<Raw>,
    times: Option<DecodeTimes>,
    watch: Watch,
    /// Presentation time of the first frame of the fragment, and its bytes so far.
    gop: (i64, u64),
    frames: VecDeque<Frame>,
    /// Decode time, start and shift of the last frame.
    last: Option<(i64, i64, i64)>,
    ended: bool,
    audio: AudioQueue,
    sequence: u32,
}

impl Muxer {
    /// An empty muxer.
    #[must_use]
    pub fn new(settings: Settings) -> Muxer {
        Muxer {
            before_first: 0,
            needs_start: true,
            open_since: None,
            piece: (0, 0),
            formats: Formats::new(settings.max_height, settings.turns),
            depth: None,
            observed: Vec::new(),
            times: None,
            watch: Watch::new(settings.frame),
            gop: (0, 0),
            frames: VecDeque::new(),
            last: None,
            ended: false,
            audio: AudioQueue::new(settings.audio),
            sequence: 0,
            settings,
        }
    }

    /// The counters so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            before_first: self.before_first,
            holes: self.watch.holes,
            missing: self.watch.missing,
            audio_lost: self.audio.lost,
        }
    }

    /// Sets the rotation for display, in clockwise quarter turns. Call it before the first frame.
    pub fn turn(&mut self, turns: u8) {
        self.formats.turns = turns;
    }

    /// Whether a frame has come that can be decoded.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.formats.current.is_some()
    }

    /// The next frame in decoding order.
    ///
    /// # Errors
    /// Why the stream cannot be stored.
    pub fn push_frame(&mut self, unit: Unit) -> Result<(), Unfit> {
        let shown = self.watch.time(unit.shown).map_err(|NoTimes| Unfit::NoTimes)?;
        let apart = self.watch.breaks(shown, self.depth);
        self.needs_start |= apart;
        let start = unit.start();
        let begins = self.begins_at(start, shown);
        if begins {
            self.open_since = if start == Start::Clean { None } else { Some(shown) };
        } else if start == Start::No && self.open_since.is_some_and(|since| unit.is_lost_behind(since, shown))
        {
            self.before_first = self.before_first.saturating_add(1);
            return Ok(());
        } else if start != Start::No {
            self.open_since = None;
        }
        self.needs_start &= !begins;
        let before = self.formats.current.clone();
        if begins {
            if let Some(found) = unit.sets.format(&unit.slice) {
                self.depth = found.reordering;
                self.formats
                    .change(found, &unit.sets, shown)
                    .map_err(|TooManyLines(lines)| Unfit::Lines(lines))?;
            }
        }
        let Some(frame_format) = self.formats.current.clone() else {
            self.before_first = self.before_first.saturating_add(1);
            return Ok(());
        };
        if apart || before.is_none_or(|before| !Arc::ptr_eq(&before, &frame_format)) {
            self.settle_order();
            self.times = None;
        }
        self.watch.came(shown);
        if begins {
            self.gop = (shown, 0);
        }
        let bytes = unit.nals.iter().map(Bytes::len).sum::<usize>();
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.gop.1 = self.gop.1.saturating_add(bytes);
        self.piece.1 = self.piece.1.saturating_add(bytes);
        let known = self.formats.has(&unit.sets);
        // Frames that lead a clean start are kept, and are presented first.
        let is_shown_first = !(begins && unit.is_led && start == Start::Clean);
        let nals = nals_of(unit, &frame_format, known, begins);
        let raw = Raw { shown, begins, is_shown_first, apart, nals, frame_format };
        if self.times.is_some() {
            self.place(raw);
            return Ok(());
        }
        let gop_is_known = raw.begins && !self.observed.is_empty();
        self.observed.push(raw);
        let enough = match self.depth {
            Some(0) => true,
            Some(depth) => self.observed.len() >= usize::try_from(depth).unwrap_or(0) + 2,
            None => {
                let first = self.observed.first().map_or(shown, |first| first.shown);
                gop_is_known || self.observed.len() >= OBSERVED_FRAMES || shown - first >= OBSERVED_TIME
            }
        };
        if enough {
            self.settle_order();
        }
        Ok(())
    }

    /// Whether a fragment begins at such a frame. At an open start the frames that lead it are lost, so it is used only
    /// at the first frame, after a hole, and when a segment is due.
    fn begins_at(&mut self, start: Start, shown: i64) -> bool {
        let (since, bytes) = self.piece;
        // Half a frame of tolerance, as in the spool.
        let age = shown.saturating_sub(since).saturating_add(self.watch.pace.frame() / 2);
        let is_due = age >= self.settings.segment || bytes >= self.settings.segment_bytes;
        let begins = match start {
            Start::No => false,
            Start::Clean | Start::Broken => true,
            Start::Open => self.needs_start || is_due,
        };
        if begins && (is_due || self.needs_start) {
            self.piece = (shown, 0);
        }
        begins
    }

    /// Ends the observation of the frame order.
    fn settle_order(&mut self) {
        if self.observed.is_empty() {
            return;
        }
        let observed = std::mem::take(&mut self.observed);
        let shown: Vec<i64> = observed.iter().map(|raw| raw.shown).collect();
        self.times = Some(DecodeTimes::new(&shown, self.depth, self.watch.pace.frame()));
        observed.into_iter().for_each(|raw| self.place(raw));
    }

    /// Gives the frame its decode time.
    fn place(&mut self, raw: Raw) {
        let Some(times) = self.times.as_mut() else { return };
        let goes_on = self.last.filter(|_| !raw.apart);
        let decoded = times.next(raw.shown, goes_on.map(|(decoded, _, _)| decoded));
        let in_order = decoded.saturating_add(times.delay());
        let start = match (raw.begins, raw.is_shown_first) {
            (true, true) => raw.shown,
            (true, false) => in_order.min(raw.shown),
            (false, _) => in_order,
        };
        let (start, shift) = match (goes_on, self.last) {
            (Some((before, started, shift)), _) => {
                self.watch.note(decoded - before);
                (start.max(started), shift)
            }
            // Time went back; the time of the media continues.
            (None, Some((before, _, shift))) if decoded <= before => (
                start,
                shift.saturating_add(before.saturating_sub(decoded)).saturating_add(self.watch.pace.frame()),
            ),
            (None, Some((_, _, shift))) => (start, shift),
            (None, None) => (start, decoded.saturating_neg()),
        };
        self.last = Some((decoded, start, shift));
        let bytes = raw.nals.iter().map(|nal| nal.len() + 4).sum();
        self.frames.push_back(Frame { raw, decoded, start, shift, bytes });
    }

    /// Marks the end of the frames.
    pub fn end_frames(&mut self) {
        self.settle_order();
        self.ended = true;
    }

    /// The next audio frame.
    pub fn push_audio(&mut self, audio: AudioFrame, format: &Arc<AudioDescription>) {
        self.audio.push(audio, format);
    }

    /// Marks the end of the audio: frames no longer wait for it.
    pub fn end_audio(&mut self) {
        self.audio.end();
    }

    /// Whether audio is stored; `None` while that is not known.
    #[must_use]
    pub fn has_audio(&self) -> Option<bool> {
        let header = self.formats.header.as_ref()?;
        Some(header.audio_format.is_some() && !self.audio.quiet)
    }

    /// Length of the current GOP so far, in nanoseconds and bytes.
    #[must_use]
    pub fn gop(&self) -> (i64, u64) {
        let (since, bytes) = self.gop;
        (self.watch.newest.unwrap_or(since).saturating_sub(since).max(0), bytes)
    }

    /// Stops waiting for audio until some comes.
    pub fn give_up_audio(&mut self) {
        self.audio.quiet = true;
    }

    /// A chunk of frames is complete and waits only for its audio.
    #[must_use]
    pub fn waits_for_audio(&self) -> bool {
        self.cut().is_some_and(|count| !self.audio_is_here(self.end_of(count)))
    }

    /// Audio is far ahead of the frames.
    #[must_use]
    pub fn audio_is_ahead(&self) -> bool {
        match self.watch.newest {
            Some(newest) => !self.ended && self.audio.until.saturating_sub(newest) > MAX_AUDIO_LEAD,
            None => self.audio.waiting() > MAX_WAITING_AUDIO / 128,
        }
    }

    /// Whether a chunk must begin at this frame.
    fn begins(&self, frame: &Frame) -> bool {
        frame.raw.begins || frame.raw.apart
    }

    /// The number of frames of the next chunk, once that is known.
    fn cut(&self) -> Option<usize> {
        let first = self.frames.front()?;
        let (mut before, mut bytes) = (first.decoded, first.bytes);
        // The last place so far at which all frames before are presented before all frames behind.
        let (mut newest, mut in_order) = (first.raw.shown, None);
        for (at, frame) in self.frames.iter().enumerate().skip(1) {
            let end = frame.decoded.saturating_add(frame.decoded - before);
            bytes = bytes.saturating_add(frame.bytes);
            let long = end - first.decoded > self.settings.chunk.saturating_add(ROUNDING);
            if newest < frame.start {
                in_order = Some(at);
            }
            if self.begins(frame) {
                return Some(at);
            }
            if long || bytes > MAX_CHUNK {
                return Some(in_order.unwrap_or(at));
            }
            newest = newest.max(frame.raw.shown);
            before = frame.decoded;
        }
        self.ended.then_some(self.frames.len())
    }

    /// The end of presentation of the first `count` frames.
    fn end_of(&self, count: usize) -> i64 {
        match self.frames.get(count).filter(|next| !next.raw.apart) {
            Some(next) => next.start,
            None => {
                let last = count.checked_sub(1).and_then(|last| self.frames.get(last));
                last.map_or(0, |last| last.start.saturating_add(self.watch.pace.frame()))
            }
        }
    }

    /// Whether the audio that begins before this time has come, or is no longer waited for.
    fn audio_is_here(&self, end: i64) -> bool {
        !self.audio.is_behind(end, self.formats.header.is_some()) || self.audio.quiet || self.has_waited(end)
    }

    fn has_waited(&self, end: i64) -> bool {
        let ahead = self.watch.newest.unwrap_or(end).saturating_sub(end);
        self.settings.patience.is_some_and(|patience| ahead > patience)
    }

    /// The next complete chunk. Its start is in nanoseconds, on the scale of the times that were pushed.
    ///
    /// # Errors
    /// [`Unfit::TooLarge`].
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, Unfit> {
        let Some(count) = self.cut() else { return Ok(None) };
        let end = self.end_of(count);
        if !self.audio_is_here(end) {
            return Ok(None);
        }
        if self.audio.until < end && self.has_waited(end) {
            self.audio.quiet = true;
        }
        let next = self.frames.get(count);
        let ends_fragment = next.map_or(self.ended, |next| next.raw.begins);
        let until = next.filter(|next| !next.raw.apart).map(|next| next.decoded);
        let frames: Vec<Frame> = self.frames.drain(..count).collect();
        let Some(first) = frames.first() else { return Ok(None) };
        let (starts_fragment, apart) = (first.raw.begins, first.raw.apart || self.sequence == 0);
        let (start, shift) = (first.start, first.shift);
        let Some(init) = self.formats.init(first, self.audio.format()) else { return Ok(None) };
        let format = self.formats.header.as_ref().and_then(|header| header.audio_format.as_ref());
        let audio = self.audio.take(apart.then_some(start), end, shift, format);
        let frames_run = frame_run(frames, until, self.watch.pace.frame());
        self.sequence = self.sequence.wrapping_add(1);
        let runs: Vec<SampleRun> = std::iter::once(frames_run).chain(audio).collect();
        let bytes = fmp4::write_chunk(self.sequence, &runs).ok_or(Unfit::TooLarge)?;
        Ok(Some(Chunk {
            epoch: self.settings.epoch,
            init,
            bytes,
            starts_fragment,
            ends_fragment,
            start: Mono(u64::try_from(start).unwrap_or(0)),
            duration: u64::try_from(end.saturating_sub(start)).unwrap_or(0),
            frames: u32::try_from(count).unwrap_or(u32::MAX),
            timing: Timing::Device,
        }))
    }
}
