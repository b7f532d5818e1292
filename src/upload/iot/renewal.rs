//! When temporary keys are requested. It uses the monotonic clock, which is an argument.

use crate::domain::backoff::{Backoff, Jitter};
use crate::domain::time::Mono;
use std::time::Duration;

/// Keys that end sooner than this are no longer used for signing: a request takes time.
pub const MIN_LEFT: Duration = Duration::from_secs(30);
/// If the store says that keys have expired, new ones are requested at once, unless they are younger than
/// this.
pub const MIN_AGE: Duration = Duration::from_secs(60);
/// However long keys are said to be valid, new ones are requested after this.
pub const MAX_LIFE: Duration = Duration::from_secs(12 * 3600);

/// What to do when a request must be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The keys are valid.
    Use,
    /// The keys are valid, and it is time for new ones.
    Renew,
    /// There are none.
    Ask,
    /// There are none, and the provider has just failed.
    Wait,
}

/// The times of the keys of one provider.
#[derive(Debug)]
pub struct Renewal {
    /// Of the current keys: when they were requested, when new ones are due, and when they end.
    life: Option<(Mono, Mono, Mono)>,
    not_before: Mono,
    backoff: Backoff,
    jitter: Jitter,
}

impl Renewal {
    /// There are no keys. `seed` spreads cameras over time.
    #[must_use]
    pub fn new(seed: u64) -> Renewal {
        let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(300));
        Renewal { life: None, not_before: Mono(0), backoff, jitter: Jitter::new(seed) }
    }

    /// What to do now.
    #[must_use]
    pub fn step(&self, now: Mono) -> Step {
        let may_ask = now >= self.not_before;
        match self.life {
            Some((_, renew, end)) if now + MIN_LEFT < end => {
                if now >= renew && may_ask {
                    Step::Renew
                } else {
                    Step::Use
                }
            }
            _ if may_ask => Step::Ask,
            _ => Step::Wait,
        }
    }

    /// There are keys that were requested at `asked`, and are valid for `life` from some moment after it. New
    /// ones are due at a time drawn from the third quarter of their life, so that cameras that started
    /// together do not request together.
    pub fn got(&mut self, life: Duration, asked: Mono) {
        let life = life.min(MAX_LIFE);
        let renew = asked + self.jitter.between(life / 2, life / 4 * 3);
        self.life = Some((asked, renew, asked + life));
        self.backoff.reset();
        self.not_before = Mono(0);
    }

    /// The provider gave none. The current keys stay in use. True for the first failure in a row.
    pub fn failed(&mut self, now: Mono) -> bool {
        self.not_before = now + self.backoff.next(&mut self.jitter);
        self.backoff.failures() == 1
    }

    /// The store says that the keys have expired: then there are none, unless they were just received. True
    /// if there are none.
    pub fn refused(&mut self, now: Mono) -> bool {
        let is_old = self.life.is_some_and(|(asked, _, _)| now.since(asked) >= MIN_AGE);
        if is_old {
            self.life = None;
        }
        is_old
    }
}
