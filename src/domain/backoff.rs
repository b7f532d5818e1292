//! Exponential back-off with full jitter: each wait is drawn evenly from zero to a ceiling that
//! doubles, so that a fleet that lost its cloud together does not come back together.

use std::time::Duration;

/// A small generator for jitter (SplitMix64). Not for secrets.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// A generator (for spreading waits, not for secrets) that gives the same numbers for the same `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Jitter {
        Jitter(seed)
    }

    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Evenly from `low` to `high`.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let low = u64::try_from(low.as_nanos()).unwrap_or(u64::MAX);
        let high = u64::try_from(high.as_nanos()).unwrap_or(u64::MAX);
        let width = high.saturating_sub(low).saturating_add(1);
        Duration::from_nanos(low.saturating_add(self.draw() % width.max(1)))
    }
}

/// The waits of one thing that is tried again and again, without end.
#[derive(Clone, Debug)]
pub struct Backoff {
    least: Duration,
    first: Duration,
    most: Duration,
    failures: u32,
}

impl Backoff {
    /// Waits from `least`, with a ceiling of `first` that doubles to `most`.
    #[must_use]
    pub fn new(least: Duration, first: Duration, most: Duration) -> Backoff {
        Backoff { least, first, most, failures: 0 }
    }

    /// The wait after one more failure.
    pub fn next(&mut self, jitter: &mut Jitter) -> Duration {
        let ceiling = self.first.saturating_mul(1 << self.failures.min(20)).min(self.most);
        self.failures = self.failures.saturating_add(1);
        jitter.between(self.least.min(ceiling), ceiling)
    }

    /// To be called after a success: the next wait starts from `first` again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row since the start or the last [`Backoff::reset`].
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}
