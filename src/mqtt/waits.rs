//! How long to wait before the next connection.
//!
//! Cameras that lost their broker together must not reconnect in the same second, and a camera that had a
//! stable session must not be unreachable for its owner for minutes because of one restart. So if the broker
//! ended a stable session, the first wait is drawn uniformly from zero to `spread`. If that session ended
//! recently, further waits stay short. A broker that has not been reached for long, or never, is retried less
//! and less often.

use crate::domain::backoff::{Backoff, Jitter};
use std::time::Duration;
use tokio::time::Instant;

/// Minimum time between two attempts.
const MIN_WAIT: Duration = Duration::from_millis(250);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(300);
/// The maximum wait while a stable session ended recently, unless a third of the spread is more.
const MAX_SHORT_WAIT: Duration = Duration::from_secs(10);
/// How long after a stable session waits stay short.
const SHORT_FOR: Duration = Duration::from_secs(60 * 60);

pub(super) struct Waits {
    spread: Duration,
    short: Backoff,
    long: Backoff,
    short_until: Option<Instant>,
}

impl Waits {
    pub(super) fn new(spread: Duration) -> Waits {
        let most = MAX_SHORT_WAIT.max(spread / 3);
        Waits {
            spread,
            short: Backoff::new(MIN_WAIT, FIRST_WAIT, most),
            long: Backoff::new(MIN_WAIT, FIRST_WAIT, MAX_WAIT),
            short_until: None,
        }
    }

    /// The wait after a connection that ended at `now`. `was_stable`: it was stable; `by_broker`: whatever
    /// ended it may have ended other cameras' connections too.
    pub(super) fn next(
        &mut self,
        was_stable: bool,
        by_broker: bool,
        now: Instant,
        jitter: &mut Jitter,
    ) -> Duration {
        if was_stable {
            self.short.reset();
            self.long.reset();
            self.short_until = Some(now + SHORT_FOR);
            if by_broker {
                return jitter.between(Duration::ZERO, self.spread).max(MIN_WAIT);
            }
        }
        match self.short_until {
            Some(until) if now < until => self.short.next(jitter),
            Some(_) | None => self.long.next(jitter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPREAD: Duration = Duration::from_secs(30);

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_fleet_comes_back_over_the_whole_spread() {
        let now = Instant::now();
        let mut tenths = [0_u32; 10];
        for camera in 0..1000 {
            let wait = Waits::new(SPREAD).next(true, true, now, &mut Jitter::new(camera));
            assert!(wait <= SPREAD, "{wait:?}");
            tenths[usize::try_from(wait.as_millis() / 3000).unwrap().min(9)] += 1;
        }
        assert!(tenths.iter().all(|count| (50..=150).contains(count)), "{tenths:?}");
    }

    #[test]
    fn after_a_good_session_waits_stay_short_for_an_hour_and_no_longer() {
        let (mut waits, mut jitter, mut now) = (Waits::new(SPREAD), Jitter::new(1), Instant::now());
        let began = now;
        waits.next(true, true, now, &mut jitter);
        while now < began + seconds(3590) {
            let wait = waits.next(false, false, now, &mut jitter);
            assert!((MIN_WAIT..=seconds(10)).contains(&wait), "{wait:?}");
            now += wait;
        }
        now = began + seconds(3601);
        let longest = (0..40).map(|_| waits.next(false, false, now, &mut jitter)).max().unwrap();
        assert!(longest > seconds(100) && longest <= seconds(300), "{longest:?}");
    }

    #[test]
    fn a_larger_fleet_has_a_larger_spread_and_longer_waits() {
        let (mut waits, mut jitter, now) = (Waits::new(seconds(300)), Jitter::new(1), Instant::now());
        let firsts = (0..40).map(|_| waits.next(true, true, now, &mut jitter)).max().unwrap();
        assert!(firsts > seconds(150), "{firsts:?}");
        let later = (0..40).map(|_| waits.next(false, false, now, &mut jitter)).max().unwrap();
        assert!(later > seconds(50) && later <= seconds(100), "{later:?}");
    }

    #[test]
    fn a_session_that_was_not_good_changes_nothing() {
        let (mut waits, mut jitter, now) = (Waits::new(SPREAD), Jitter::new(1), Instant::now());
        let mut longest = Duration::ZERO;
        for n in 0..20 {
            let wait = waits.next(false, true, now, &mut jitter);
            assert!(n > 0 || wait <= FIRST_WAIT, "{wait:?}");
            longest = longest.max(wait);
        }
        assert!(longest > seconds(60), "{longest:?}");
    }
}
