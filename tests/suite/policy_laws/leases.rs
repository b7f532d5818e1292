//! When a lease stands, lapses, ends, and gives way to the next one.

use super::{cases, utc};
use kasacam::domain::entitlement::{Entitlement, Features, Lease, Next, Plan, Status, Terms};
use proptest::prelude::*;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn terms(status: Status, record: bool) -> Terms {
    Terms {
        plan: Plan { id: "plus-monthly".into(), tier: "plus".into() },
        status,
        features: Features { record, audio: true, max_height: 1080, history_hours: 720, h265: true },
    }
}

fn lease(status: Status) -> Lease {
    Lease {
        version: 1,
        issued_at: utc("2026-11-01T00:00:00Z"),
        not_after: utc("2026-12-01T00:00:00Z"),
        terms: terms(status, true),
        next: None,
    }
}

#[test]
fn past_due_stands_exactly_as_active_does() {
    let (active, past_due) = (lease(Status::Active), lease(Status::PastDue));
    for day in 0..90 {
        let at = active.issued_at + HOUR * 24 * day;
        let (a, b) = (active.standing(at, 72 * HOUR), past_due.standing(at, 72 * HOUR));
        assert_eq!((a.entitlement, a.until), (b.entitlement, b.until));
    }
}

#[test]
fn a_lease_lapses_when_its_grace_is_over_and_not_before() {
    let lease = lease(Status::Active);
    let ends = utc("2026-12-04T00:00:00Z");
    let nanosecond = Duration::from_nanos(1);
    let last = lease.standing(ends - nanosecond, 72 * HOUR);
    assert!(matches!(last.entitlement, Entitlement::Granted(_)));
    assert_eq!(last.until, Some(ends));
    let over = lease.standing(ends, 72 * HOUR);
    assert_eq!(over.entitlement, Entitlement::Lapsed);
    assert_eq!(over.until, None);
}

#[test]
fn suspension_and_termination_do_not_lapse() {
    for (status, entitlement) in
        [(Status::Suspended, Entitlement::Suspended), (Status::Terminated, Entitlement::Terminated)]
    {
        let lease = lease(status);
        for at in [lease.issued_at, lease.not_after, lease.not_after + 1000 * HOUR] {
            let standing = lease.standing(at, Duration::ZERO);
            assert_eq!(standing.entitlement, entitlement);
        }
    }
}

#[test]
fn what_comes_next_replaces_the_plan_at_its_time() {
    let from = utc("2026-11-20T00:00:00Z");
    let next = Next { from, not_after: None, terms: terms(Status::Suspended, false) };
    let lease = Lease { next: Some(next), ..lease(Status::Active) };
    let before = lease.standing(from - Duration::from_nanos(1), HOUR);
    assert!(matches!(before.entitlement, Entitlement::Granted(features) if features.record));
    assert_eq!(before.until, Some(from));
    let after = lease.standing(from, HOUR);
    assert_eq!((after.entitlement, after.until), (Entitlement::Suspended, None));
}

#[test]
fn what_comes_next_ends_at_its_own_time_where_it_has_one() {
    let base = lease(Status::Active);
    let from = base.not_after - HOUR;
    let not_after = Some(base.not_after + 300 * HOUR);
    let with = |not_after| {
        let next = Some(Next { from, not_after, terms: terms(Status::Active, false) });
        Lease { next, ..base.clone() }
    };
    let later = base.not_after + 299 * HOUR;
    assert_eq!(with(None).standing(later, 72 * HOUR).entitlement, Entitlement::Lapsed);
    let standing = with(not_after);
    let standing = standing.standing(later, 72 * HOUR);
    assert!(matches!(standing.entitlement, Entitlement::Granted(_)));
    assert_eq!(standing.until, not_after.map(|end| end + 72 * HOUR));
}

#[test]
fn a_plan_that_comes_after_the_end_ends_a_lapse() {
    let from = utc("2027-01-01T00:00:00Z");
    let lease = Lease {
        next: Some(Next { from, not_after: None, terms: terms(Status::Terminated, false) }),
        ..lease(Status::Active)
    };
    let between = lease.standing(utc("2026-12-15T00:00:00Z"), HOUR);
    assert_eq!((between.entitlement, between.until), (Entitlement::Lapsed, Some(from)));
    assert_eq!(lease.standing(from, HOUR).entitlement, Entitlement::Terminated);
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn a_lease_changes_only_when_it_says(next in proptest::option::of(0u64..2000), ends in proptest::option::of(0u64..2000), at in 0u64..3000, step in 1u64..1000) {
        let base = lease(Status::Active);
        let next = next.map(|hours| {
            let from = base.issued_at + Duration::from_secs(hours * 3600);
            let not_after = ends.map(|hours| from + Duration::from_secs(hours * 3600));
            Next { from, not_after, terms: terms(Status::PastDue, false) }
        });
        let lease = Lease { next, ..base };
        let at = lease.issued_at + Duration::from_secs(at * 3600);
        let standing = lease.standing(at, 72 * HOUR);
        let later = at + Duration::from_secs(step * 3600);
        if standing.until.is_none_or(|until| later < until) {
            prop_assert_eq!(lease.standing(later, 72 * HOUR).entitlement, standing.entitlement);
        }
        prop_assert!(standing.until.is_none_or(|until| until > at));
    }
}
