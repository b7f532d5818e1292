//! Exponential back-off with full jitter: each wait is drawn uniformly from zero to a ceiling that doubles,
//! so that cameras that lost the cloud together do not come back together.

use std::time::Duration;

/// A small generator for jitter (SplitMix64). Not for secrets.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// A generator that gives the same numbers for the same `seed`.
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

    /// Uniformly from `low` to `high`.
    pub fn between(&mut self, low: Duration, high: Duration) -> Duration {
        let low = u64::try_from(low.as_nanos()).unwrap_or(u64::MAX);
        let high = u64::try_from(high.as_nanos()).unwrap_or(u64::MAX);
        let width = high.saturating_sub(low).saturating_add(1);
        Duration::from_nanos(low.saturating_add(self.draw() % width.max(1)))
    }
}

/// The waits between the retries of one thing, which never end.
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
        self.next_in(self.most, jitter)
    }

    /// The wait after one more failure of something that has been failing for `lasted`: at most `first`, or
    /// two thirds of `lasted` if that is longer. So failures that come quickly do not make the waits longer
    /// than the outage.
    pub fn next_of(&mut self, lasted: Duration, jitter: &mut Jitter) -> Duration {
        self.next_in(lasted.saturating_mul(2) / 3, jitter)
    }

    fn next_in(&mut self, limit: Duration, jitter: &mut Jitter) -> Duration {
        let most = limit.max(self.first).min(self.most);
        let ceiling = self.first.saturating_mul(1 << self.failures.min(20)).min(most);
        self.failures = self.failures.saturating_add(1);
        jitter.between(self.least.min(ceiling), ceiling)
    }

    /// Call it after a success: the next wait starts from `first` again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Failures in a row since the start or the last [`Backoff::reset`].
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// Retries, each of which fails at once, until an outage that lasts for `outage` is over: how many
    /// failed, and how long after its end the next one comes.
    fn tried(outage: Duration, seed: u64) -> (u32, Duration) {
        let mut backoff = Backoff::new(Duration::from_millis(500), seconds(2), seconds(300));
        let (mut jitter, mut at) = (Jitter::new(seed), Duration::ZERO);
        while at < outage {
            at += backoff.next_of(at, &mut jitter);
        }
        (backoff.failures(), at - outage)
    }

    #[test]
    fn what_is_over_is_found_out_within_two_thirds_of_its_length() {
        for (outage, most) in
            [(1, 2), (3, 2), (8, 6), (30, 20), (120, 80), (3600, 300)].map(|(a, b)| (seconds(a), seconds(b)))
        {
            let late = (0..1000).map(|seed| tried(outage, seed).1).max().unwrap();
            assert!(late <= most, "{late:?} after an outage of {outage:?}");
            assert!(late > most / 2, "{late:?}: the waits grow with the outage of {outage:?}");
        }
    }

    #[test]
    fn an_hour_costs_at_most_sixty_attempts() {
        let most = (0..1000).map(|seed| tried(seconds(3600), seed).0).max().unwrap();
        assert!((30..=60).contains(&most), "{most}");
    }
}
