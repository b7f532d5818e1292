//! How often a test that counts repeats itself: a fixed count in `make test`, as many as fit a time in `make
//! test-long`.
//!
//! The count's own variable, such as `KASACAM_KILLS`, sets the exact number, 0 included. Without it
//! `KASACAM_BUDGET` (seconds) sets a time; the default count is then done first, however long it takes.
//! Without both the default count is used.

use std::time::{Duration, Instant};

/// Rounds that are still to be done. `while budget.again() { one round }`; afterwards `budget.done` is N.
#[derive(Debug)]
pub struct Budget {
    exact: Option<u64>,
    usual: u64,
    until: Option<Instant>,
    /// Rounds that were started.
    pub done: u64,
}

impl Budget {
    /// The budget of the count that the environment calls `name`. `usual` rounds are done by default.
    #[must_use]
    pub fn new(name: &str, usual: u64) -> Budget {
        let until = number("KASACAM_BUDGET").map(|seconds| Instant::now() + Duration::from_secs(seconds));
        Budget { exact: number(name), usual, until, done: 0 }
    }

    /// Like [`Budget::new`], but the number of rounds is that count times `numerator / denominator`, rounded
    /// up: a test's share of a count, or rounds that do many of what is counted.
    #[must_use]
    pub fn scaled(name: &str, usual: u64, (numerator, denominator): (u64, u64)) -> Budget {
        let scale = |count: u64| (count * numerator).div_ceil(denominator);
        let whole = Budget::new(name, usual);
        Budget { exact: whole.exact.map(scale), usual: scale(usual), ..whole }
    }

    /// Whether another round is to be done; counts it.
    pub fn again(&mut self) -> bool {
        let more = match (self.exact, self.until) {
            (Some(exact), _) => self.done < exact,
            (None, Some(until)) => self.done < self.usual || Instant::now() < until,
            (None, None) => self.done < self.usual,
        };
        self.done += u64::from(more);
        more
    }
}

/// A number from the environment. One that cannot be read is a mistake of whoever started the test.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name}={text:?} is no whole number")))
}
