//! Where a fragment, a segment and a span begin and end.
//!
//! Pure: it is told of each chunk, and says what is to be done in which order. A span is an
//! unbroken run of one `moov` (ONVIF Recording Control 25.12, Annex B), so whatever breaks the
//! run ends the span, and the next IDR begins another.
//!
//! A fragment is one GOP. Where a GOP is longer than it should be, it is committed in parts, so that a power
//! cut costs no more for it; a segment still ends at an IDR alone.

use super::fragment::{Epoch, SpanEnd};
use super::time::{Clock, Mono, Now};
use std::time::Duration;

/// `recording.durability`: what is synced as it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Each chunk: a power cut loses at most one.
    Chunk,
    /// Each fragment: the default.
    Fragment,
    /// Only the sealed segment.
    Segment,
}

/// Offsets between the clocks that differ by more are a step, in nanoseconds. Both clocks are
/// slewed alike, so that anything else than a step leaves the offset as it is.
const STEP: u64 = 100_000_000;
/// A gap is never seen in less than this, in nanoseconds: timestamps are rounded to ticks.
const MIN_GAP: u64 = 20_000_000;

/// A chunk that is taken so much after its end has waited for the disk: whatever else stands between it and the camera is
/// quicker.
const HELD_UP: Duration = Duration::from_secs(5);

/// What the segmenter must know of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkFacts {
    /// The permit under which it was captured; another one ends the span.
    pub epoch: Epoch,
    /// The same `moov` as that of the chunk before.
    pub same_format: bool,
    /// Its `mfhd` and `tfdt` go on from the chunk before, as a reader of the file demands.
    pub follows: bool,
    /// Its first picture is an IDR.
    pub starts_fragment: bool,
    /// The next picture is an IDR, or none follows.
    pub ends_fragment: bool,
    /// `CLOCK_MONOTONIC` at the presentation of its first picture.
    pub start: Mono,
    /// Nanoseconds.
    pub duration: u64,
    /// Coded pictures in it.
    pub frames: u32,
    /// Size of `moof` and `mdat`.
    pub bytes: u64,
}

/// One thing to do. Steps are done in order; when one fails, the rest are void and
/// [`Segmenter::reset`] is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Begin segment `n` of the span; `n == 0` begins the span as well.
    /// `start` is the first sample's time; `time` converts it to UTC.
    #[allow(missing_docs, reason = "its fields are told of above")]
    Open { n: u64, start: Mono, time: SpanTime },
    /// Take the chunk into the open fragment.
    Append,
    /// The chunk is not kept.
    Refuse,
    /// The open fragment, or a part of it, is complete: write it, and make it durable. The commit point.
    Complete,
    /// The open fragment is dropped.
    Discard,
    /// Close the segment.
    Seal,
    /// Close the span.
    /// `reason` is the text of the `mp4_end` object.
    #[allow(missing_docs, reason = "its fields are told of above")]
    End { reason: SpanEnd },
}

/// How time stood when the span began, and how far it is believed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanTime {
    /// [`Now::offset`] at the start of the span; `Utc = Mono + offset` for all of it.
    pub offset: i64,
    /// How far the system clock is believed; may improve within the span.
    pub clock: Clock,
}

/// Bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `recording.segment`: a segment is closed at the first fragment boundary at or behind it.
    pub segment: Duration,
    /// A segment of more bytes is closed at the next fragment boundary, however short it is.
    pub segment_bytes: u64,
    /// A fragment that goes on for longer is committed up to there.
    pub part: Duration,
    /// So is one of more bytes.
    pub part_bytes: u64,
    /// A segment never has more bytes: where no IDR has come until then, the span ends.
    pub max_bytes: u64,
}

/// Decides.
#[derive(Debug)]
pub struct Segmenter {
    limits: Limits,
    span: Option<Span>,
    /// The disk held chunks up until then, and what was captured since has not come yet.
    held_until: Option<Mono>,
}

#[derive(Debug)]
struct Span {
    epoch: Epoch,
    time: SpanTime,
    /// Of the segment that is open, or of the next one.
    n: u64,
    segment: Option<Open>,
    /// What of the open fragment is not committed.
    part: Option<Part>,
    /// The pictures that the next ones depend on are here: the fragment goes on.
    goes_on: bool,
    /// Where the last chunk ended.
    end: Mono,
    /// Mean duration of a picture in the last chunk, in nanoseconds.
    picture: u64,
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

    /// The epoch of the span that goes on.
    #[must_use]
    pub fn epoch(&self) -> Option<Epoch> {
        self.span.as_ref().map(|span| span.epoch)
    }

    /// A chunk has come.
    pub fn chunk(&mut self, chunk: &ChunkFacts, now: Now, clock: Clock) -> Vec<Step> {
        let mut steps = Vec::new();
        let time = SpanTime { offset: now.offset(), clock };
        if now.mono.since(chunk.end()) >= HELD_UP {
            self.held_until = Some(now.mono);
        }
        if let Some(reason) = self.span.as_ref().and_then(|span| span.broken_by(chunk, time, &self.limits)) {
            // What is missing then found no room in front of the disk.
            let is_dropped = reason == SpanEnd::Source && self.held_until.is_some();
            let same_run = self.epoch() == Some(chunk.epoch);
            let reason = if is_dropped && same_run { SpanEnd::Storage } else { reason };
            self.finish(Partial::Keep, reason, &mut steps);
        }
        self.held_until = self.held_until.filter(|until| chunk.start <= *until);
        if chunk.starts_fragment {
            // The source tells the end of a fragment with its last chunk; where it did not, the
            // next IDR does.
            self.end_fragment(&mut steps);
        }
        if self.span.is_none() && chunk.starts_fragment {
            self.span = Some(Span {
                epoch: chunk.epoch,
                time,
                n: 0,
                segment: None,
                part: None,
                goes_on: false,
                end: chunk.start,
                picture: 0,
            });
        }
        let Some(span) = self.span.as_mut() else {
            // Nothing can be decoded before the next IDR.
            steps.push(Step::Refuse);
            return steps;
        };
        // Trust may grow within a span as long as the clock does not step.
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
        span.picture = chunk.picture();
        let long = span.end.since(part.start) >= self.limits.part || part.bytes >= self.limits.part_bytes;
        if chunk.ends_fragment {
            self.end_fragment(&mut steps);
        } else if long {
            span.part = None;
            steps.push(Step::Complete);
        }
        steps
    }

    /// No more chunks of this epoch will come. The open fragment is kept, as far as it goes,
    /// unless the owner's choice is the reason.
    pub fn end(&mut self, epoch: Epoch, reason: SpanEnd) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.epoch() == Some(epoch) {
            let partial = if reason == SpanEnd::Privacy { Partial::Drop } else { Partial::Keep };
            self.finish(partial, reason, &mut steps);
        }
        steps
    }

    /// Leave was withdrawn from this epoch, and from all before it: the open fragment is dropped.
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

    /// A step could not be done: the span is over, as far as this goes.
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
            // Half a picture of grace, or rounding would make every other segment a fragment longer.
            let long =
                span.end.since(segment.start) + Duration::from_nanos(span.picture / 2) >= limits.segment;
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

/// What becomes of a fragment that is not complete.
#[derive(Clone, Copy)]
enum Partial {
    Keep,
    Drop,
}

impl Span {
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
        // A picture and a half: less is jitter, more means that a picture is missing. An overlap
        // is a break as well: time ran backwards.
        let picture = self.picture.max(chunk.picture());
        let tolerance = Duration::from_nanos((picture + picture / 2).max(MIN_GAP));
        if chunk.start.since(self.end) > tolerance || self.end.since(chunk.start) > tolerance {
            return Some(SpanEnd::Source);
        }
        if !self.goes_on && !chunk.starts_fragment {
            // The picture that it depends on is missing.
            return Some(SpanEnd::Source);
        }
        let bytes = self.segment.as_ref().map_or(0, |segment| segment.bytes);
        if !chunk.starts_fragment && bytes.saturating_add(chunk.bytes) > limits.max_bytes {
            return Some(SpanEnd::Source);
        }
        // Only at an IDR, for elsewhere the pictures up to the next one would be lost by it.
        let stepped = time.offset.abs_diff(self.time.offset) > STEP;
        let known = self.time.clock == Clock::Unset && time.clock != Clock::Unset;
        (chunk.starts_fragment && (stepped || known)).then_some(SpanEnd::Clock)
    }
}

impl ChunkFacts {
    fn end(&self) -> Mono {
        self.start + Duration::from_nanos(self.duration)
    }

    fn picture(&self) -> u64 {
        self.duration / u64::from(self.frames.max(1))
    }
}
