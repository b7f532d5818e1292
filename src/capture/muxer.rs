//! From access units and audio frames to chunks. Pure: no clock, no thread, no GStreamer.
//!
//! A fragment is one GOP: from a frame at which decoding can begin to the next. It is cut into chunks no longer than asked for, counted in
//! whole frames. A chunk holds the audio that begins before its frames end, and waits for it, for a while. So in
//! every file audio and picture end within one audio frame of each other, whatever the frame rate is.

mod hearing;
mod holes;
mod samples;

use super::codec::{Picture, Sets};
use super::timing::DecodeTimes;
use super::units::{Start, Unit};
use crate::domain::fragment::{Chunk, Epoch, Init, Timing};
use crate::domain::time::Mono;
use crate::fmp4::{self, PictureFormat, Run, SoundFormat};
use bytes::Bytes;
use hearing::{Hearing, MAX_SOUND};
use holes::Watch;
use samples::{Frame, Raw, nals_of, picture_run};
use std::collections::VecDeque;
use std::sync::Arc;

/// A second, in nanoseconds.
const SECOND: i64 = 1_000_000_000;
/// A chunk of more bytes ends, however short it is.
const MAX_CHUNK: usize = 8 << 20;
/// For so many frames it is observed how they are reordered, where the stream does not tell.
const OBSERVED_FRAMES: usize = 32;
/// And for so long, in nanoseconds.
const OBSERVED_TIME: i64 = SECOND;
/// Times are rounded on their way here, in nanoseconds.
const ROUNDING: i64 = 500_000;
/// Audio is ahead of its pictures by more than this: whoever can shall wait, in nanoseconds.
const SOUND_AHEAD: i64 = 2 * SECOND;
/// The sets of a span changed so often, within [`RESTLESS`]: they go in band from then on.
const MAX_NEW_SETS: usize = 3;
/// In nanoseconds.
const RESTLESS: i64 = 120 * SECOND;

/// What a run is to be.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Stamped on every chunk.
    pub epoch: Epoch,
    /// A chunk is no longer, unless one frame is; in nanoseconds.
    pub chunk: i64,
    /// The distance of two frames, until it is known; in nanoseconds.
    pub frame: i64,
    /// Audio is to come. It is waited for until the frames are so far ahead, in nanoseconds; for ever where there is no number.
    pub sound: bool,
    /// See `sound`.
    pub patience: Option<i64>,
    /// Lines of picture at most.
    pub max_height: u32,
    /// Clockwise turns by a quarter, by which the picture is to be shown.
    pub turns: u8,
    /// `recording.segment`: where nothing better came for so long, in nanoseconds, a fragment begins at a frame behind
    /// which some frames are lost then ([`Start::Open`]).
    pub segment: i64,
    /// The same, in bytes.
    pub segment_bytes: u64,
}

/// Why a stream cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// The picture has more lines than the plan allows.
    Lines(u32),
    /// Its frames have no times, or one and the same.
    NoTimes,
    /// A chunk is larger than a file may be.
    TooLarge,
}

/// One AAC frame.
#[derive(Clone, Debug)]
pub struct Sound {
    /// Time of presentation, in nanoseconds.
    pub shown: i64,
    /// In nanoseconds.
    pub duration: i64,
    /// Without ADTS header.
    pub data: Bytes,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames before the first one at which decoding can begin, and those that depend on them.
    pub before_first: u64,
    /// Holes in the times of the frames, whether a span ends there or not.
    pub holes: u64,
    /// Frames that are missing in them, by the pace before.
    pub missing: u64,
    /// Audio frames that found no place.
    pub sound_lost: u64,
}

/// The `moov` in force.
#[derive(Debug)]
struct Header {
    init: Arc<Init>,
    picture: Arc<PictureFormat>,
    sound: Option<Arc<SoundFormat>>,
}

/// Makes chunks, for one run.
#[derive(Debug)]
pub struct Muxer {
    settings: Settings,
    before_first: u64,
    /// Nothing that comes can be decoded before a frame at which decoding can begin.
    needs_start: bool,
    /// Decoding begins at an open start, which is shown then: what it leads is lost.
    open_since: Option<i64>,
    /// Where a segment is taken to have begun, and the bytes since: a guess at what the spool does.
    piece: (i64, u64),
    /// The sets from which `picture` was made.
    sets: Option<Arc<Sets>>,
    picture: Option<Arc<PictureFormat>>,
    /// When there were new sets.
    new_sets: VecDeque<i64>,
    depth: Option<u32>,
    observed: Vec<Raw>,
    times: Option<DecodeTimes>,
    watch: Watch,
    /// When the frame that began the fragment was shown, and the bytes since.
    gop: (i64, u64),
    frames: VecDeque<Frame>,
    /// Decode time, start and shift of the last frame.
    last: Option<(i64, i64, i64)>,
    ended: bool,
    sound: Hearing,
    header: Option<Header>,
    sequence: u32,
}

impl Muxer {
    /// Begins with nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Muxer {
        Muxer {
            before_first: 0,
            needs_start: true,
            open_since: None,
            piece: (0, 0),
            sets: None,
            picture: None,
            new_sets: VecDeque::new(),
            depth: None,
            observed: Vec::new(),
            times: None,
            watch: Watch::new(settings.frame),
            gop: (0, 0),
            frames: VecDeque::new(),
            last: None,
            ended: false,
            sound: Hearing::new(settings.sound),
            header: None,
            sequence: 0,
            settings,
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            before_first: self.before_first,
            holes: self.watch.holes,
            missing: self.watch.missing,
            sound_lost: self.sound.lost,
        }
    }

    /// Clockwise turns by a quarter, by which the picture is to be shown: told before the first frame.
    pub fn turn(&mut self, turns: u8) {
        self.settings.turns = turns;
    }

    /// When the first frame that could be decoded came, or later.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.picture.is_some()
    }

    /// The next frame in decoding order.
    ///
    /// # Errors
    /// Where the stream cannot be stored.
    pub fn push_picture(&mut self, unit: Unit) -> Result<(), Unfit> {
        let shown = self.watch.time(unit.shown)?;
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
        let before = self.picture.clone();
        if begins {
            if let Some(found) = unit.sets.picture(&unit.slice) {
                self.depth = found.reordering;
                self.format(found, shown)?;
                self.sets = Some(Arc::clone(&unit.sets));
            }
        }
        let Some(picture) = self.picture.clone() else {
            self.before_first = self.before_first.saturating_add(1);
            return Ok(());
        };
        if apart || before.is_none_or(|before| !Arc::ptr_eq(&before, &picture)) {
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
        let known = self.sets.as_ref().is_some_and(|known| Arc::ptr_eq(known, &unit.sets));
        // What leads a clean start is kept, and is shown first.
        let is_shown_first = !(begins && unit.is_led && start == Start::Clean);
        let nals = nals_of(unit, &picture, known, begins);
        let raw = Raw { shown, begins, is_shown_first, apart, nals, picture };
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

    /// Whether a fragment begins at such a frame. An open start costs the frames that it leads, so it is taken only where
    /// nothing else will do: at the first frame, behind a hole, and where a segment is due.
    fn begins_at(&mut self, start: Start, shown: i64) -> bool {
        let (since, bytes) = self.piece;
        // Half a frame of grace, as the spool gives.
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

    /// What the `moov` must say from this frame on, at which decoding begins.
    fn format(&mut self, found: Picture, shown: i64) -> Result<(), Unfit> {
        let before = self.picture.as_deref();
        if before.is_some_and(|before| before.sets == found.sets) {
            return Ok(());
        }
        // Profile and level are told by the `moov` in either case.
        let alike = before.is_some_and(|before| {
            before.size == found.size
                && before.aspect == found.aspect
                && before.chroma == found.chroma
                && before.depths == found.depths
                && before.sets.has_profile_of(&found.sets)
        });
        if alike && before.is_some_and(|before| before.sets_in_band) {
            return Ok(());
        }
        if found.size.1 > self.settings.max_height {
            return Err(Unfit::Lines(found.size.1));
        }
        self.new_sets.retain(|at| shown.saturating_sub(*at) < RESTLESS);
        if alike {
            self.new_sets.push_back(shown);
        }
        self.picture = Some(Arc::new(PictureFormat {
            sets: found.sets,
            size: found.size,
            aspect: found.aspect,
            chroma: found.chroma,
            depths: found.depths,
            sets_in_band: self.new_sets.len() >= MAX_NEW_SETS,
            turns: self.settings.turns,
        }));
        Ok(())
    }

    /// Enough was observed of the order of the frames.
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
            // Time went back: that of the media goes on.
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

    /// No frame follows.
    pub fn end_pictures(&mut self) {
        self.settle_order();
        self.ended = true;
    }

    /// The next audio frame.
    pub fn push_sound(&mut self, sound: Sound, format: &Arc<SoundFormat>) {
        self.sound.push(sound, format);
    }

    /// No audio follows, or it is no longer waited for.
    pub fn end_sound(&mut self) {
        self.sound.end();
    }

    /// Whether audio is being stored; `None` while that is not known yet.
    #[must_use]
    pub fn hears(&self) -> Option<bool> {
        let header = self.header.as_ref()?;
        Some(header.sound.is_some() && !self.sound.quiet)
    }

    /// How long the GOP under way is by now, in nanoseconds and bytes.
    #[must_use]
    pub fn gop(&self) -> (i64, u64) {
        let (since, bytes) = self.gop;
        (self.watch.newest.unwrap_or(since).saturating_sub(since).max(0), bytes)
    }

    /// Audio was waited for long enough.
    pub fn give_up_sound(&mut self) {
        self.sound.quiet = true;
    }

    /// Frames are there that only wait for their audio.
    #[must_use]
    pub fn waits_for_sound(&self) -> bool {
        self.cut().is_some_and(|count| !self.sound_is_here(self.end_of(count)))
    }

    /// Audio is well ahead of the frames.
    #[must_use]
    pub fn sound_is_ahead(&self) -> bool {
        match self.watch.newest {
            Some(newest) => !self.ended && self.sound.until.saturating_sub(newest) > SOUND_AHEAD,
            None => self.sound.waiting() > MAX_SOUND / 128,
        }
    }

    /// Whether the frame there begins what is not of one piece with the one before.
    fn begins(&self, frame: &Frame) -> bool {
        frame.raw.begins || frame.raw.apart
    }

    /// How many frames are the next chunk, once that is known.
    fn cut(&self) -> Option<usize> {
        let first = self.frames.front()?;
        let (mut before, mut bytes) = (first.decoded, first.bytes);
        // Where all frames before are shown before all that follow: a chunk that ends there ends when its last frame does.
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

    /// Where the presentation of the first `count` frames ends.
    fn end_of(&self, count: usize) -> i64 {
        match self.frames.get(count).filter(|next| !next.raw.apart) {
            Some(next) => next.start,
            None => {
                let last = count.checked_sub(1).and_then(|last| self.frames.get(last));
                last.map_or(0, |last| last.start.saturating_add(self.watch.pace.frame()))
            }
        }
    }

    /// Whether the audio that begins before this time is here, as far as it is waited for.
    fn sound_is_here(&self, end: i64) -> bool {
        !self.sound.is_behind(end, self.header.is_some()) || self.sound.quiet || self.has_waited(end)
    }

    fn has_waited(&self, end: i64) -> bool {
        let ahead = self.watch.newest.unwrap_or(end).saturating_sub(end);
        self.settings.patience.is_some_and(|patience| ahead > patience)
    }

    /// The next chunk that is whole. Its start is in nanoseconds of the times that were pushed.
    ///
    /// # Errors
    /// Where it is larger than a file may be.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, Unfit> {
        let Some(count) = self.cut() else { return Ok(None) };
        let end = self.end_of(count);
        if !self.sound_is_here(end) {
            return Ok(None);
        }
        if self.sound.until < end && self.has_waited(end) {
            self.sound.quiet = true;
        }
        let next = self.frames.get(count);
        let ends_fragment = next.map_or(self.ended, |next| next.raw.begins);
        let until = next.filter(|next| !next.raw.apart).map(|next| next.decoded);
        let frames: Vec<Frame> = self.frames.drain(..count).collect();
        let Some(first) = frames.first() else { return Ok(None) };
        let (starts_fragment, apart) = (first.raw.begins, first.raw.apart || self.sequence == 0);
        let (start, shift) = (first.start, first.shift);
        let Some(init) = self.header(first) else { return Ok(None) };
        let format = self.header.as_ref().and_then(|header| header.sound.as_ref());
        let sound = self.sound.take(apart.then_some(start), end, shift, format);
        let pictures = picture_run(frames, until, self.watch.pace.frame());
        self.sequence = self.sequence.wrapping_add(1);
        let runs: Vec<Run> = std::iter::once(pictures).chain(sound).collect();
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

    /// The `moov` for a chunk that begins with this frame; another one only where a fragment begins.
    fn header(&mut self, first: &Frame) -> Option<Arc<Init>> {
        let sound = self.sound.format().cloned();
        if let Some(header) = &self.header {
            let same = Arc::ptr_eq(&header.picture, &first.raw.picture) && header.sound == sound;
            if same || !first.raw.begins {
                return Some(Arc::clone(&header.init));
            }
        }
        let bytes = fmp4::write_init(&first.raw.picture, sound.as_deref());
        let init = Arc::new(fmp4::read_init(bytes).ok()?);
        let picture = Arc::clone(&first.raw.picture);
        self.header = Some(Header { init: Arc::clone(&init), picture, sound });
        Some(init)
    }
}
