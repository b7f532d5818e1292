//! Decode times, derived only from the presentation times of a frame and its neighbours.
//!
//! The decode times of a source may be missing, may be times of arrival, or come from a wrong VUI. But the sorted
//! presentation times are good decode times, if each frame gets one that is not later than its own presentation: the one
//! that is as many places earlier as frames may be decoded before it and presented after it.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Minimum distance of two decode times, in nanoseconds: a tick of 90 kHz, rounded up.
const MIN_STEP: i64 = 11_112;
/// `max_num_reorder_frames` is at most 16 (E.2.1).
const MAX_DEPTH: usize = 16;
/// Number of distances that are remembered.
const REMEMBERED_STEPS: usize = 16;

/// Decode times of frames without a hole.
#[derive(Debug)]
pub struct DecodeTimes {
    depth: usize,
    /// Nanoseconds a place, by which the first frames are decoded before their presentation.
    step: i64,
    waiting: BinaryHeap<Reverse<i64>>,
    /// Number of frames whose decode time was not taken from `waiting`.
    lead: usize,
    first: i64,
    taken: Option<i64>,
}

impl DecodeTimes {
    /// `shown`: presentation times of the first frames in decoding order, in nanoseconds. `step`: the length of a
    /// frame, used if they do not show it.
    #[must_use]
    pub fn new(shown: &[i64], depth: Option<u32>, step: i64) -> DecodeTimes {
        let depth = depth.and_then(|depth| usize::try_from(depth).ok()).unwrap_or_else(|| observed(shown));
        let mut sorted = shown.to_vec();
        sorted.sort_unstable();
        let least = sorted.windows(2).filter_map(|pair| match pair {
            [before, after] if after > before => Some(after - before),
            _ => None,
        });
        DecodeTimes {
            depth: depth.min(MAX_DEPTH),
            step: least.min().unwrap_or(step).max(MIN_STEP),
            waiting: BinaryHeap::new(),
            lead: 0,
            first: sorted.first().copied().unwrap_or(0),
            taken: None,
        }
    }

    /// Time from decoding to presentation of a frame that is not reordered, in nanoseconds.
    #[must_use]
    pub fn delay(&self) -> i64 {
        self.step * i64::try_from(self.depth).unwrap_or(0)
    }

    /// The decode time of the next frame, in nanoseconds. `last` is that of the frame before.
    pub fn next(&mut self, shown: i64, last: Option<i64>) -> i64 {
        self.waiting.push(Reverse(shown));
        if self.taken.is_some_and(|taken| shown < taken) && self.depth < MAX_DEPTH {
            // More frames are reordered than expected: wait for one more from here on.
            self.depth += 1;
        }
        let found = if self.waiting.len() > self.depth {
            let Reverse(time) = self.waiting.pop().unwrap_or(Reverse(shown));
            self.taken = Some(time);
            time
        } else {
            let places = i64::try_from(self.depth.saturating_sub(self.lead)).unwrap_or(0);
            self.lead += 1;
            self.first - places * self.step
        };
        last.map_or(found, |last| found.max(last + MIN_STEP))
    }
}

/// The largest number of frames that are decoded before a frame and presented after it.
fn observed(shown: &[i64]) -> usize {
    let later = |(at, time): (usize, &i64)| shown.iter().take(at).filter(|other| *other > time).count();
    shown.iter().enumerate().map(later).max().unwrap_or(0)
}

/// The distances of the last frames, used to find holes.
#[derive(Debug)]
pub struct Pace {
    steps: [i64; REMEMBERED_STEPS],
    count: usize,
    nominal: i64,
}

impl Pace {
    /// `nominal` is the distance of two frames until it is measured, in nanoseconds.
    #[must_use]
    pub fn new(nominal: i64) -> Pace {
        Pace { steps: [0; REMEMBERED_STEPS], count: 0, nominal }
    }

    /// Notes the distance of two frames, in nanoseconds.
    pub fn note(&mut self, step: i64) {
        if let Some(place) = self.steps.get_mut(self.count % REMEMBERED_STEPS) {
            *place = step;
            self.count += 1;
        }
    }

    /// Enough distances are known.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.count >= 4
    }

    /// Most distances are close to the median: the frame rate is steady, so missing frames can be found.
    #[must_use]
    pub fn is_steady(&self) -> bool {
        let frame = self.frame();
        let usual = self.known().filter(|step| step.abs_diff(frame) <= frame.unsigned_abs() / 4).count();
        let known = self.count.min(REMEMBERED_STEPS);
        known >= REMEMBERED_STEPS / 2 && usual * 4 >= known * 3
    }

    fn known(&self) -> impl Iterator<Item = i64> + '_ {
        self.steps.iter().take(self.count).copied()
    }

    /// The length of a frame: the median of the last distances, or the nominal one.
    #[must_use]
    pub fn frame(&self) -> i64 {
        // A copy on the stack: this is asked several times a frame.
        let mut steps = self.steps;
        let known = steps.get_mut(..self.count.min(REMEMBERED_STEPS)).unwrap_or_default();
        known.sort_unstable();
        known.get(known.len() / 2).copied().unwrap_or(self.nominal)
    }

    /// The longest of the last distances, or the nominal one.
    #[must_use]
    pub fn longest(&self) -> i64 {
        self.known().max().unwrap_or(self.nominal)
    }
}
