//! Missing frames, found by the times of the frames that came.

use crate::capture::timing::Pace;

/// A second, in nanoseconds.
const SECOND: i64 = 1_000_000_000;
/// A shorter distance of two frames is no hole.
const MIN_HOLE: i64 = SECOND;
/// A hole is at least this many times the longest distance before it;
const HOLE_FRAMES: i64 = 4;
/// this many if frames are reordered.
const HOLE_FRAMES_REORDERED: i64 = 20;
/// A shorter distance is no hole while the frame rate is not known.
const MIN_HOLE_AT_FIRST: i64 = 10 * SECOND;
/// After more frames in a row with the same time, the source has no times.
const MAX_SAME_TIME: u32 = 10;

/// The frames have no times, or all have the same.
#[derive(Debug)]
pub(super) struct NoTimes;

/// Watches the times of the frames.
#[derive(Debug)]
pub(super) struct Watch {
    pub(super) pace: Pace,
    /// The latest time of presentation since the last hole that ended a span.
    pub(super) newest: Option<i64>,
    same_time: u32,
    /// Holes so far, and the frames missing in them, estimated from the frame rate.
    pub(super) holes: u64,
    pub(super) missing: u64,
}

impl Watch {
    /// `frame` is the distance of two frames until it is measured, in nanoseconds.
    pub(super) fn new(frame: i64) -> Watch {
        Watch { pace: Pace::new(frame.max(1)), newest: None, same_time: 0, holes: 0, missing: 0 }
    }

    /// The presentation time of the next frame: its own, or one frame behind the last.
    ///
    /// # Errors
    /// If too many frames in a row have no time, or the same.
    pub(super) fn time(&mut self, own: Option<i64>) -> Result<i64, NoTimes> {
        let same = own.is_none_or(|shown| self.newest == Some(shown));
        self.same_time = if same { self.same_time.saturating_add(1) } else { 0 };
        if self.same_time > MAX_SAME_TIME {
            return Err(NoTimes);
        }
        let guess = || self.newest.map_or(0, |newest| newest.saturating_add(self.pace.frame()));
        Ok(own.unwrap_or_else(guess))
    }

    /// Whether so many frames are missing before this one, or time has gone back so far, that the span ends. `depth` is
    /// the number of frames that are reordered, if it is known.
    pub(super) fn breaks(&mut self, shown: i64, depth: Option<u32>) -> bool {
        let Some(newest) = self.newest else { return false };
        let longest = self.pace.longest();
        let least = if self.pace.is_known() { MIN_HOLE } else { MIN_HOLE_AT_FIRST };
        let reordered = least.max(longest.saturating_mul(HOLE_FRAMES_REORDERED));
        let forward =
            if depth == Some(0) { least.max(longest.saturating_mul(HOLE_FRAMES)) } else { reordered };
        let gap = shown.saturating_sub(newest);
        let breaks = gap > forward || gap < reordered.saturating_neg();
        if breaks {
            self.count(gap);
            self.newest = None;
        }
        breaks
    }

    /// Notes the presentation time of a frame.
    pub(super) fn came(&mut self, shown: i64) {
        self.newest = Some(self.newest.map_or(shown, |newest| newest.max(shown)));
    }

    /// Notes the distance of two decode times, in nanoseconds. At a steady frame rate, a distance of nearly two frames
    /// counts as a hole too, but does not end the span.
    pub(super) fn note(&mut self, step: i64) {
        if self.pace.is_steady() && step.saturating_mul(4) >= self.pace.frame().saturating_mul(7) {
            self.count(step);
        }
        self.pace.note(step);
    }

    fn count(&mut self, gap: i64) {
        self.holes = self.holes.saturating_add(1);
        let frame = self.pace.frame().max(1);
        let missing = gap.saturating_add(frame / 2) / frame - 1;
        self.missing = self.missing.saturating_add(u64::try_from(missing).unwrap_or(0));
    }
}
