//! From access units and audio frames to chunks. Pure: no clock, no thread, no GStreamer.
//!
//! A fragment is one GOP: from an IDR frame to the next. It is cut into chunks no longer than asked for, counted in
//! whole frames. A chunk holds the audio that begins before its frames end, and waits for it, for a while. So in
//! every file audio and picture end within one audio frame of each other, whatever the frame rate is.

use super::h264::{ParameterSets, Picture, Unit, nal};
use super::timing::{DecodeTimes, Pace};
use crate::domain::fragment::{Chunk, Epoch, Init};
use crate::domain::time::Mono;
use crate::fmp4::{self, PICTURE_TIMESCALE, PictureFormat, Run, Sample, SoundFormat};
use bytes::Bytes;
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
/// Less than this between two frames is no hole.
const MIN_HOLE: i64 = SECOND;
/// Nor is less than so many of the longest distances before it,
const HOLE_FRAMES: i64 = 4;
/// or than this where frames are reordered.
const HOLE_FRAMES_REORDERED: i64 = 20;
/// Times are rounded on their way here, in nanoseconds.
const ROUNDING: i64 = 500_000;
/// Frames in a row with one and the same time: the source tells none.
const MAX_SAME_TIME: u32 = 10;
/// In the first frames, whose pace is not known yet.
const MIN_HOLE_AT_FIRST: i64 = 10 * SECOND;
/// Audio frames that wait for their frames.
const MAX_SOUND: usize = 8192;
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

/// A frame whose decode time is not known yet.
#[derive(Debug)]
struct Raw {
    shown: i64,
    nals: Vec<Bytes>,
    idr: bool,
    /// It does not go on from the frame before.
    apart: bool,
    picture: Arc<PictureFormat>,
}

#[derive(Debug)]
struct Frame {
    raw: Raw,
    decoded: i64,
    /// When presentation has come to this frame, and to none before it.
    start: i64,
    /// What is added to its times to become those of the media.
    shift: i64,
    bytes: usize,
}

#[derive(Clone, Debug)]
enum Ear {
    /// Nothing was heard yet.
    Listening,
    Hears(Arc<SoundFormat>),
    /// There is none, or no more.
    Deaf(Option<Arc<SoundFormat>>),
}

impl Ear {
    fn format(&self) -> Option<&Arc<SoundFormat>> {
        match self {
            Ear::Listening => None,
            Ear::Hears(format) => Some(format),
            Ear::Deaf(format) => format.as_ref(),
        }
    }
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames before the first IDR frame with parameter sets.
    pub before_first: u64,
    /// Holes in the times of the frames.
    pub holes: u64,
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
    counts: Counts,
    /// The sets from which `picture` was made.
    sets: Arc<ParameterSets>,
    picture: Option<Arc<PictureFormat>>,
    /// When there were new sets.
    new_sets: VecDeque<i64>,
    depth: Option<u32>,
    observed: Vec<Raw>,
    times: Option<DecodeTimes>,
    pace: Pace,
    newest: Option<i64>,
    same_time: u32,
    /// When the last IDR frame was shown, and the bytes since.
    gop: (i64, u64),
    frames: VecDeque<Frame>,
    /// Decode time, start and shift of the last frame.
    last: Option<(i64, i64, i64)>,
    ended: bool,
    ear: Ear,
    /// Audio was waited for in vain, and none came since.
    quiet: bool,
    sound: VecDeque<(Sound, Arc<SoundFormat>)>,
    /// Until when there is audio.
    heard: i64,
    /// Where the last audio frame was placed, and where the next one belongs, in ticks.
    sound_at: Option<(u64, u64)>,
    header: Option<Header>,
    sequence: u32,
}

impl Muxer {
    /// Begins with nothing.
    #[must_use]
    pub fn new(settings: Settings) -> Muxer {
        Muxer {
            counts: Counts::default(),
            sets: Arc::default(),
            picture: None,
            new_sets: VecDeque::new(),
            depth: None,
            observed: Vec::new(),
            times: None,
            pace: Pace::new(settings.frame.max(1)),
            newest: None,
            same_time: 0,
            gop: (0, 0),
            frames: VecDeque::new(),
            last: None,
            ended: false,
            ear: if settings.sound { Ear::Listening } else { Ear::Deaf(None) },
            quiet: false,
            sound: VecDeque::new(),
            heard: i64::MIN,
            sound_at: None,
            header: None,
            sequence: 0,
            settings,
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
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
        self.judge_time(unit.shown)?;
        let shown = match (unit.shown, self.newest) {
            (Some(shown), _) => shown,
            (None, newest) => newest.map_or(0, |newest| newest.saturating_add(self.pace.frame())),
        };
        let before = self.picture.clone();
        if unit.idr {
            if let Some(found) = unit.sets.picture(unit.slice.pps) {
                self.depth = found.facts.reordering;
                self.format(found, shown)?;
                self.sets = Arc::clone(&unit.sets);
            }
        }
        let Some(picture) = self.picture.clone() else {
            self.counts.before_first = self.counts.before_first.saturating_add(1);
            return Ok(());
        };
        let apart = self.is_hole(shown);
        if apart {
            self.counts.holes = self.counts.holes.saturating_add(1);
            self.newest = None;
        }
        if apart || before.is_none_or(|before| !Arc::ptr_eq(&before, &picture)) {
            self.settle_order();
            self.times = None;
        }
        self.newest = Some(self.newest.map_or(shown, |newest| newest.max(shown)));
        if unit.idr {
            self.gop = (shown, 0);
        }
        let bytes = unit.nals.iter().map(Bytes::len).sum::<usize>();
        self.gop.1 = self.gop.1.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        let known = Arc::ptr_eq(&self.sets, &unit.sets);
        let raw = Raw { shown, idr: unit.idr, apart, nals: nals_of(unit, &picture, known), picture };
        if self.times.is_some() {
            self.place(raw);
            return Ok(());
        }
        let gop_is_known = raw.idr && !self.observed.is_empty();
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

    fn judge_time(&mut self, shown: Option<i64>) -> Result<(), Unfit> {
        let same = shown.is_none_or(|shown| self.newest == Some(shown));
        self.same_time = if same { self.same_time.saturating_add(1) } else { 0 };
        if self.same_time > MAX_SAME_TIME { Err(Unfit::NoTimes) } else { Ok(()) }
    }

    /// What the `moov` must say from this IDR frame on.
    fn format(&mut self, found: Picture, shown: i64) -> Result<(), Unfit> {
        let before = self.picture.as_deref();
        if before.is_some_and(|before| before.sps == found.sps && before.pps == found.pps) {
            return Ok(());
        }
        let facts = found.facts;
        // Profile and level are told by the `moov` in either case.
        let alike = before.is_some_and(|before| {
            before.size == facts.size
                && before.aspect == facts.aspect
                && before.chroma == facts.chroma
                && before.depths == facts.depths
                && before.sps.get(1..4) == found.sps.get(1..4)
        });
        if alike && before.is_some_and(|before| before.sets_in_band) {
            return Ok(());
        }
        if facts.size.1 > self.settings.max_height {
            return Err(Unfit::Lines(facts.size.1));
        }
        self.new_sets.retain(|at| shown.saturating_sub(*at) < RESTLESS);
        if alike {
            self.new_sets.push_back(shown);
        }
        self.picture = Some(Arc::new(PictureFormat {
            sps: found.sps,
            pps: found.pps,
            size: facts.size,
            aspect: facts.aspect,
            chroma: facts.chroma,
            depths: facts.depths,
            sets_in_band: self.new_sets.len() >= MAX_NEW_SETS,
            turns: self.settings.turns,
        }));
        Ok(())
    }

    /// Whether frames are missing before this one, or time has gone back.
    fn is_hole(&self, shown: i64) -> bool {
        let Some(newest) = self.newest else { return false };
        let longest = self.pace.longest();
        let least = if self.pace.is_known() { MIN_HOLE } else { MIN_HOLE_AT_FIRST };
        let reordered = least.max(longest.saturating_mul(HOLE_FRAMES_REORDERED));
        let forward =
            if self.depth == Some(0) { least.max(longest.saturating_mul(HOLE_FRAMES)) } else { reordered };
        shown.saturating_sub(newest) > forward || newest.saturating_sub(shown) > reordered
    }

    /// Enough was observed of the order of the frames.
    fn settle_order(&mut self) {
        if self.observed.is_empty() {
            return;
        }
        let observed = std::mem::take(&mut self.observed);
        let shown: Vec<i64> = observed.iter().map(|raw| raw.shown).collect();
        self.times = Some(DecodeTimes::new(&shown, self.depth, self.pace.frame()));
        observed.into_iter().for_each(|raw| self.place(raw));
    }

    /// Gives the frame its decode time.
    fn place(&mut self, raw: Raw) {
        let Some(times) = self.times.as_mut() else { return };
        let goes_on = self.last.filter(|_| !raw.apart);
        let decoded = times.next(raw.shown, goes_on.map(|(decoded, _, _)| decoded));
        let start = if raw.idr { raw.shown } else { decoded.saturating_add(times.delay()) };
        let (start, shift) = match (goes_on, self.last) {
            (Some((before, started, shift)), _) => {
                self.pace.note(decoded - before);
                (start.max(started), shift)
            }
            // Time went back: that of the media goes on.
            (None, Some((before, _, shift))) if decoded <= before => (
                start,
                shift.saturating_add(before.saturating_sub(decoded)).saturating_add(self.pace.frame()),
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
        if self.ear.format().is_none_or(|known| known != format) {
            self.ear = Ear::Hears(Arc::clone(format));
        } else if let Ear::Deaf(_) = self.ear {
            self.ear = Ear::Hears(Arc::clone(format));
        }
        self.quiet = false;
        self.heard = self.heard.max(sound.shown.saturating_add(sound.duration));
        if self.sound.len() >= MAX_SOUND {
            self.sound.pop_front();
            self.counts.sound_lost = self.counts.sound_lost.saturating_add(1);
        }
        self.sound.push_back((sound, Arc::clone(format)));
    }

    /// No audio follows, or it is no longer waited for.
    pub fn end_sound(&mut self) {
        self.ear = Ear::Deaf(self.ear.format().cloned());
    }

    /// Whether audio is being stored; `None` while that is not known yet.
    #[must_use]
    pub fn hears(&self) -> Option<bool> {
        let header = self.header.as_ref()?;
        Some(header.sound.is_some() && !self.quiet)
    }

    /// How long the GOP under way is by now, in nanoseconds and bytes.
    #[must_use]
    pub fn gop(&self) -> (i64, u64) {
        let (since, bytes) = self.gop;
        (self.newest.unwrap_or(since).saturating_sub(since).max(0), bytes)
    }

    /// Audio was waited for long enough.
    pub fn give_up_sound(&mut self) {
        self.quiet = true;
    }

    /// Frames are there that only wait for their audio.
    #[must_use]
    pub fn waits_for_sound(&self) -> bool {
        self.cut().is_some_and(|count| !self.sound_is_here(self.end_of(count)))
    }

    /// Audio is well ahead of the frames.
    #[must_use]
    pub fn sound_is_ahead(&self) -> bool {
        match self.newest {
            Some(newest) => !self.ended && self.heard.saturating_sub(newest) > SOUND_AHEAD,
            None => self.sound.len() > MAX_SOUND / 128,
        }
    }

    /// Whether the frame there begins what is not of one piece with the one before.
    fn begins(&self, frame: &Frame) -> bool {
        frame.raw.idr || frame.raw.apart
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
                last.map_or(0, |last| last.start.saturating_add(self.pace.frame()))
            }
        }
    }

    /// Whether the audio that begins before this time is here, as far as it is waited for.
    fn sound_is_here(&self, end: i64) -> bool {
        let waits = match &self.ear {
            Ear::Listening => self.header.is_none(),
            Ear::Hears(_) => self.heard < end,
            Ear::Deaf(_) => false,
        };
        !waits || self.quiet || self.has_waited(end)
    }

    fn has_waited(&self, end: i64) -> bool {
        let ahead = self.newest.unwrap_or(end).saturating_sub(end);
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
        if self.heard < end && self.has_waited(end) {
            self.quiet = true;
        }
        let next = self.frames.get(count);
        let ends_fragment = next.map_or(self.ended, |next| next.raw.idr);
        let until = next.filter(|next| !next.raw.apart).map(|next| next.decoded);
        let frames: Vec<Frame> = self.frames.drain(..count).collect();
        let Some(first) = frames.first() else { return Ok(None) };
        let (starts_fragment, apart) = (first.raw.idr, first.raw.apart || self.sequence == 0);
        let (start, shift) = (first.start, first.shift);
        let Some(init) = self.header(first) else { return Ok(None) };
        let sound = self.take_sound(apart.then_some(start), end, shift);
        let pictures = picture_run(frames, until, self.pace.frame());
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
        }))
    }

    /// The `moov` for a chunk that begins with this frame; another one only from an IDR frame on.
    fn header(&mut self, first: &Frame) -> Option<Arc<Init>> {
        let sound = self.ear.format().cloned();
        if let Some(header) = &self.header {
            let same = Arc::ptr_eq(&header.picture, &first.raw.picture) && header.sound == sound;
            if same || !first.raw.idr {
                return Some(Arc::clone(&header.init));
            }
        }
        let bytes = fmp4::write_init(&first.raw.picture, sound.as_deref());
        let init = Arc::new(fmp4::read_init(bytes).ok()?);
        let picture = Arc::clone(&first.raw.picture);
        self.header = Some(Header { init: Arc::clone(&init), picture, sound });
        Some(init)
    }

    /// The audio that begins before `end`, and, where that is told, not before `from`.
    fn take_sound(&mut self, from: Option<i64>, end: i64, shift: i64) -> Option<Run> {
        let format = self.header.as_ref().and_then(|header| header.sound.clone());
        let mut taken = Vec::new();
        while self.sound.front().is_some_and(|(sound, _)| sound.shown < end) {
            let Some((sound, of)) = self.sound.pop_front() else { break };
            if format.as_ref() == Some(&of) && from.is_none_or(|from| sound.shown >= from) {
                taken.push(sound);
            } else {
                self.counts.sound_lost = self.counts.sound_lost.saturating_add(1);
            }
        }
        let rate = format?.rate;
        sound_run(taken, rate, shift, &mut self.sound_at)
    }
}

/// What of an access unit goes into the file. The parameter sets stand in the `moov`, unless they may
/// stand here, or the `moov` does not have them yet (`known`).
fn nals_of(unit: Unit, picture: &PictureFormat, known: bool) -> Vec<Bytes> {
    let idr_in_band = picture.sets_in_band && unit.idr;
    if (picture.sets_in_band || !known) && !idr_in_band {
        return unit.nals;
    }
    let mut nals = Vec::with_capacity(unit.nals.len() + 2);
    if let (true, Some(sets)) = (idr_in_band, unit.sets.picture(unit.slice.pps)) {
        nals.push(sets.sps);
        nals.extend(sets.pps);
    }
    nals.extend(unit.nals.into_iter().filter(|nal| !matches!(nal::kind(nal), nal::SPS | nal::PPS)));
    // A delimiter stands before all else (ITU-T H.264, 7.4.1.2.3).
    if let Some(at) = nals.iter().position(|nal| nal::kind(nal) == nal::DELIMITER) {
        if let Some(before) = nals.get_mut(..=at) {
            before.rotate_right(1);
        }
    }
    nals
}

fn ticks(nanos: i64, timescale: u32) -> i64 {
    let scaled = i128::from(nanos) * i128::from(timescale);
    i64::try_from((scaled + 500_000_000).div_euclid(1_000_000_000)).unwrap_or(i64::MAX)
}

/// The frames of a chunk. `until` is the decode time of the next one, where it goes on; else the last one lasts `frame`.
fn picture_run(frames: Vec<Frame>, until: Option<i64>, frame: i64) -> Run {
    let media = |frame: &Frame, time: i64| ticks(time.saturating_add(frame.shift), PICTURE_TIMESCALE);
    let mut decoded: Vec<i64> = frames.iter().map(|frame| media(frame, frame.decoded)).collect();
    if let Some(last) = frames.last() {
        decoded.push(media(last, until.unwrap_or(last.decoded.saturating_add(frame))));
    }
    let first_is_sync = frames.first().is_some_and(|first| first.raw.idr);
    let decode_time = decoded.first().map_or(0, |first| u64::try_from(*first).unwrap_or(0));
    let samples = frames.into_iter().zip(decoded.windows(2)).map(|(frame, pair)| {
        let (at, next) = match pair {
            [at, next] => (*at, *next),
            _ => (0, 0),
        };
        let offset = media(&frame, frame.raw.shown) - at;
        Sample {
            duration: u32::try_from(next - at).unwrap_or(0),
            offset: i32::try_from(offset).unwrap_or(0),
            data: frame.raw.nals,
            nals: true,
        }
    });
    let samples = samples.collect();
    Run { track: fmp4::PICTURES, decode_time, first_is_sync, all_are_sync: false, samples }
}

/// The audio of a chunk. A frame begins where the one before ends, unless its own time says that it cannot.
fn sound_run(sound: Vec<Sound>, rate: u32, shift: i64, at: &mut Option<(u64, u64)>) -> Option<Run> {
    let tolerance = u64::from(rate / 50);
    let mut placed = Vec::new();
    for piece in sound {
        let told = u64::try_from(ticks(piece.shown.saturating_add(shift), rate)).unwrap_or(0);
        let place = match *at {
            Some((_, next)) if told.abs_diff(next) <= tolerance => next,
            Some((last, _)) => told.max(last + 1),
            None => told,
        };
        let nominal = u64::try_from(ticks(piece.duration, rate)).ok().filter(|nominal| *nominal > 0);
        let next = place.saturating_add(nominal.unwrap_or(1024));
        *at = Some((place, next));
        placed.push((place, next, piece.data));
    }
    let decode_time = placed.first()?.0;
    let begins: Vec<u64> = placed.iter().skip(1).map(|(place, _, _)| *place).collect();
    let samples = placed.into_iter().enumerate().map(|(index, (place, nominal_end, data))| {
        let end = begins.get(index).copied().unwrap_or(nominal_end);
        Sample {
            duration: u32::try_from(end.saturating_sub(place)).unwrap_or(u32::MAX),
            offset: 0,
            data: vec![data],
            nals: false,
        }
    });
    let samples = samples.collect();
    Some(Run { track: fmp4::SOUND, decode_time, first_is_sync: true, all_are_sync: true, samples })
}
