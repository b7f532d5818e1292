//! Where a fragment, a segment and a span begin and end.
//!
//! Pure: it receives each chunk, and says what to do in which order. A span is a continuous run of one `moov`
//! (ONVIF Recording Control 25.12, Annex B), so whatever interrupts the run ends the span, and the next IDR
//! begins another.
//!
//! A fragment is one GOP. A GOP that is too long is committed in parts, so that a power cut loses no more
//! than with a short one; a segment still ends only at an IDR.

use super::fragment::{Epoch, SpanEnd};
use super::time::{Clock, Mono, Now};
use std::time::Duration;

/// `recording.durability`: how often data is synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Each chunk: a power cut loses at most one.
    Chunk,
    /// Each fragment: the default.
    Fragment,
    /// Only the sealed segment.
    Segment,
}

/// If two offsets between the clocks differ by more than this, a clock was stepped; in nanoseconds. Both
/// clocks are slewed alike, so only a step changes the offset.
const MIN_STEP: u64 = 100_000_000;
/// Minimum length of a gap, in nanoseconds: timestamps are rounded to ticks.
const MIN_GAP: u64 = 20_000_000;

/// A chunk that is received this long after its end has waited for the disk: everything else between it and
/// the camera is faster.
const MIN_HELD_UP: Duration = Duration::from_secs(5);

/// What the segmenter needs to know of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkFacts {
    /// The permit under which it was captured; a different one ends the span.
    pub epoch: Epoch,
    /// The same `moov` as that of the chunk before.
    pub same_format: bool,
    /// Its `mfhd` and `tfdt` continue those of the chunk before, as a reader of the file requires.
    pub follows: bool,
    /// Its first frame is an IDR.
    pub starts_fragment: bool,
    /// The next frame is an IDR, or none follows.
    pub ends_fragment: bool,
    /// `CLOCK_MONOTONIC` at the presentation of its first frame.
    pub start: Mono,
    /// Duration in nanoseconds.
    pub duration: u64,
    /// Frames in it.
    pub frames: u32,
    /// Size of `moof` and `mdat`, in bytes.
    pub bytes: u64,
}

/// One thing to do. Steps are done in order; if one fails, the rest are void and [`Segmenter::reset`] is
/// called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Begin segment `n` of the span; `n == 0` begins the span as well.
    Open {
        /// The counter in the span, from 0.
        n: u64,
        /// The first sample's time.
        start: Mono,
        /// Converts `start` to UTC.
        time: SpanTime,
    },
    /// Add the chunk to the open fragment.
    Append,
    /// The chunk is not kept.
    Refuse,
    /// The open fragment, or a part of it, is complete: write it and make it durable. The commit point.
    Complete,
    /// The open fragment is dropped.
    Discard,
    /// Close the segment.
    Seal,
    /// Close the span.
    End {
        /// Goes into the `mp4_end` object.
        reason: SpanEnd,
    },
}

/// The clock offset when the span began, and how far the clock is believed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanTime {
    /// [`Now::offset`] at the start of the span; `Utc = Mono + offset` for all of it.
    pub offset: i64,
    /// How far the system clock is believed; may improve during the span.
    pub clock: Clock,
}

/// The limits of segments and fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `recording.segment`: a segment is closed at the first fragment boundary at or after this duration.
    pub segment: Duration,
    /// A segment with more bytes is closed at the next fragment boundary, however short it is.
    pub segment_bytes: u64,
    /// A fragment that is longer is committed up to here.
    pub part: Duration,
    /// So is a fragment with more bytes.
    pub part_bytes: u64,
    /// A segment never has more bytes: if no IDR comes before that, the span ends.
    pub max_bytes: u64,
}

/// Decides where fragments, segments and spans begin and end.
#[derive(Debug)]
pub struct Segmenter {
    limits: Limits,
    span: Option<SpanProgress>,
    /// The disk held chunks up until this time, and what was captured since has not come yet.
    held_until: Option<Mono>,
}

#[derive(Debug)]
struct SpanProgress {
    epoch: Epoch,
    time: SpanTime,
    /// Number of the segment that is open, or of the next one.
    n: u64,
    segment: Option<Open>,
    /// The part of the open fragment that is not committed.
    part: Option<Part>,
    /// The frames that the next ones depend on are here: the fragment continues.
    goes_on: bool,
    /// Where the last chunk ended.
    end: Mono,
    /// Mean duration of a frame in the last chunk, in nanoseconds.
    frame: u64,
}

#[derive(Debug)]
struct Open {
    start: Mono,
    bytes: u64,
}

#[derive(Debug)]
struct Part {
    start: Mono,
    bytes: u64,
}

impl Segmenter {
    /// No span is open: the next IDR begins one.
    #[must_use]
    pub fn new(limits: Limits) -> Segmenter {
        Segmenter { limits, span: None, held_until: None }
    }

    /// The epoch of the open span.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.span.as_ref().map(|span| span.epoch)
    }

    /// Takes the next chunk.
    pub fn chunk(&mut self, chunk: &ChunkFacts, now: Now, clock: Clock) -> Vec<Step> {
        let mut steps = Vec::new();
        let time = SpanTime { offset: now.offset(), clock };
        if now.mono.since(chunk.end()) >= MIN_HELD_UP {
            self.held_until = Some(now.mono);
        }
        if let Some(reason) = self.span.as_ref().and_then(|span| span.broken_by(chunk, time, &self.limits)) {
            // What is missing was dropped because there was no room while waiting for the disk.
            let is_dropped = reason == SpanEnd::Source && self.held_until.is_some();
            let same_run = self.epoch() == Some(chunk.epoch);
            let reason = if is_dropped && same_run { SpanEnd::Storage } else { reason };
            self.finish(Partial::Keep, reason, &mut steps);
        }
        self.held_until = self.held_until.filter(|until| chunk.start <= *until);
        if chunk.starts_fragment {
            // The source marks the last chunk of a fragment; if it did not, the next IDR ends the fragment.
            self.end_fragment(&mut steps);
        }
        if self.span.is_none() && chunk.starts_fragment {
            self.span = Some(SpanProgress {
                epoch: chunk.epoch,
                time,
                n: 0,
                segment: None,
                part: None,
                goes_on: false,
                end: chunk.start,
                frame: 0,
            });
        }
        let Some(span) = self.span.as_mut() else {
            // Nothing can be decoded before the next IDR.
            steps.push(Step::Refuse);
            return steps;
        };
        // Trust may grow during a span as long as the clock does not step.
        span.time.clock = clock;
        if span.segment.is_none() {
            span.segment = Some(Open { start: chunk.start, bytes: 0 });
            steps.push(Step::Open { n: span.n, start: chunk.start, time: span.time });
        }
        steps.push(Step::Append);
        if let Some(segment) = span.segment.as_mut() {
            segment.bytes = segment.bytes.saturating_add(chunk.bytes);
        }
        let part = span.part.get_or_insert(Part { start: chunk.start, bytes: 0 });
        part.bytes = part.bytes.saturating_add(chunk.bytes);
        span.goes_on = true;
        span.end = chunk.end();
        span.frame = chunk.frame();
        let long = span.end.since(part.start) >= self.limits.part || part.bytes >= self.limits.part_bytes;
        if chunk.ends_fragment {
            self.end_fragment(&mut steps);
        } else if long {
            span.part = None;
            steps.push(Step::Complete);
        }
        steps
    }

    /// No more chunks of this epoch will come. The open fragment is kept as far as it goes, unless the
    /// owner's choice is the reason.
    pub fn end(&mut self, epoch: Epoch, reason: SpanEnd) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.epoch() == Some(epoch) {
            let partial = if reason == SpanEnd::Privacy { Partial::Drop } else { Partial::Keep };
            self.finish(partial, reason, &mut steps);
        }
        steps
    }

    /// Permission was withdrawn from this epoch and all before it: the open fragment is dropped.
    pub fn revoke(&mut self, epoch: Epoch, reason: SpanEnd) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.epoch().is_some_and(|own| own <= epoch) {
            self.finish(Partial::Drop, reason, &mut steps);
        }
        steps
    }

    /// The agent stops: what has come is kept.
    pub fn shut_down(&mut self) -> Vec<Step> {
        let mut steps = Vec::new();
        self.finish(Partial::Keep, SpanEnd::Shutdown, &mut steps);
        steps
    }

    /// A step failed: the span is over for the segmenter.
    pub fn reset(&mut self) {
        self.span = None;
    }

    fn end_fragment(&mut self, steps: &mut Vec<Step>) {
        let limits = self.limits;
        let Some(span) = self.span.as_mut() else { return };
        if !std::mem::replace(&mut span.goes_on, false) {
            return;
        }
        if span.part.take().is_some() {
            steps.push(Step::Complete);
        }
        let due = span.segment.as_ref().is_some_and(|segment| {
            // Half a frame of tolerance: otherwise rounding would make every other segment one fragment
            // longer.
            let long = span.end.since(segment.start) + Duration::from_nanos(span.frame / 2) >= limits.segment;
            long || segment.bytes >= limits.segment_bytes
        });
        if due {
            span.segment = None;
            span.n = span.n.saturating_add(1);
            steps.push(Step::Seal);
        }
    }

    fn finish(&mut self, partial: Partial, reason: SpanEnd, steps: &mut Vec<Step>) {
        let Some(mut span) = self.span.take() else { return };
        if span.part.take().is_some() {
            steps.push(match partial {
                Partial::Keep => Step::Complete,
                Partial::Drop => Step::Discard,
            });
        }
        if span.segment.take().is_some() {
            steps.push(Step::Seal);
        }
        steps.push(Step::End { reason });
    }
}

/// What happens to a fragment that is not complete.
#[derive(Clone, Copy)]
enum Partial {
    Keep,
    Drop,
}

impl SpanProgress {
    /// Why the span cannot go on with this chunk.
    fn broken_by(&self, chunk: &ChunkFacts, time: SpanTime, limits: &Limits) -> Option<SpanEnd> {
        if chunk.epoch != self.epoch {
            return Some(SpanEnd::Source);
        }
        if !chunk.same_format {
            return Some(SpanEnd::Format);
        }
        if !chunk.follows {
            return Some(SpanEnd::Source);
        }
        // One and a half frames: less is jitter, more means that a frame is missing. An overlap is a break
        // too: time ran backwards.
        let frame = self.frame.max(chunk.frame());
        let tolerance = Duration::from_nanos((frame + frame / 2).max(MIN_GAP));
        if chunk.start.since(self.end) > tolerance || self.end.since(chunk.start) > tolerance {
            return Some(SpanEnd::Source);
        }
        if !self.goes_on && !chunk.starts_fragment {
            // The frame that it depends on is missing.
            return Some(SpanEnd::Source);
        }
        let bytes = self.segment.as_ref().map_or(0, |segment| segment.bytes);
        if !chunk.starts_fragment && bytes.saturating_add(chunk.bytes) > limits.max_bytes {
            return Some(SpanEnd::Source);
        }
        // Only at an IDR: anywhere else, the frames up to the next IDR would be lost.
        let stepped = time.offset.abs_diff(self.time.offset) > MIN_STEP;
        let known = self.time.clock == Clock::Unset && time.clock != Clock::Unset;
        (chunk.starts_fragment && (stepped || known)).then_some(SpanEnd::Clock)
    }
}

impl ChunkFacts {
    fn end(&self) -> Mono {
        self.start + Duration::from_nanos(self.duration)
    }

    fn frame(&self) -> u64 {
        self.duration / u64::from(self.frames.max(1))
    }
}
