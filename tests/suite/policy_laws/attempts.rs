//! What the answer to an upload means, and how long the next attempt waits.

use super::cases;
use kasacam::domain::backoff::{Backoff, Jitter};
use kasacam::domain::outcome::{Attempt, Held, Outcome, Scope, classify};
use proptest::prelude::*;
use std::time::Duration;

#[test]
fn only_proof_forgets_a_segment() {
    let mut stored = 0;
    for status in 100..=599 {
        for held in [Held::Same, Held::Different, Held::Nothing, Held::Untold] {
            for code in [None, Some("RequestTimeTooSkewed".to_owned()), Some("SlowDown".to_owned())] {
                let outcome = classify(Attempt::Answered { status, held, retry_after: None, code });
                if outcome == Outcome::Stored {
                    stored += 1;
                    assert_eq!(held, Held::Same, "{status}");
                    assert!(matches!(status, 200..=299 | 409 | 412), "{status}");
                }
                if outcome == Outcome::KeyTaken {
                    assert!(matches!(status, 409 | 412) && held == Held::Different, "{status}");
                }
            }
        }
    }
    assert_eq!(stored, 102 * 3);
    let outcome = classify(Attempt::Unanswered { why: "reset".into() });
    assert_eq!(outcome, Outcome::Retry { scope: Scope::Store, after: None, why: "reset".into() });
}

#[test]
fn a_refusal_waits_for_the_store_or_for_the_segment() {
    let scope = |status, code: Option<&str>| {
        let attempt = Attempt::Answered {
            status,
            held: Held::Untold,
            retry_after: Some(Duration::from_secs(7)),
            code: code.map(str::to_owned),
        };
        match classify(attempt) {
            Outcome::Retry { scope, after, .. } => {
                assert_eq!(after, Some(Duration::from_secs(7)));
                scope
            }
            other => panic!("{status}: {other:?}"),
        }
    };
    for status in [301, 307, 401, 403, 404, 408, 429, 500, 502, 503, 504] {
        assert_eq!(scope(status, None), Scope::Store, "{status}");
    }
    for status in [200, 204, 400, 409, 411, 412, 413, 422] {
        assert_eq!(scope(status, None), Scope::Segment, "{status}");
    }
    assert_eq!(scope(400, Some("RequestTimeTooSkewed")), Scope::Store);
    assert_eq!(scope(400, Some("ExpiredToken")), Scope::Store);
    assert_eq!(scope(400, Some("BadDigest")), Scope::Segment);
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn waits_stay_within_their_bounds(seed in any::<u64>(), least in 0u64..1000, first in 1u64..5000, most in 1u64..600_000, tries in 1usize..64) {
        let (least, first, most) =
            (Duration::from_millis(least), Duration::from_millis(first), Duration::from_millis(most));
        let mut backoff = Backoff::new(least, first, most);
        let mut jitter = Jitter::new(seed);
        for _ in 0..tries {
            let ceiling = first.saturating_mul(1 << backoff.failures().min(20)).min(most);
            let wait = backoff.next(&mut jitter);
            prop_assert!(wait <= ceiling && wait >= least.min(ceiling), "{wait:?}");
        }
        backoff.reset();
        prop_assert_eq!(backoff.failures(), 0);
    }
}

#[test]
fn waits_spread_over_their_whole_width() {
    let mut jitter = Jitter::new(1);
    let width = Duration::from_secs(1);
    let draws: Vec<Duration> = (0..1000).map(|_| jitter.between(Duration::ZERO, width)).collect();
    let low = draws.iter().filter(|d| **d < width / 4).count();
    let high = draws.iter().filter(|d| **d > width * 3 / 4).count();
    assert!((150..350).contains(&low) && (150..350).contains(&high), "{low} {high}");
}
