//! What the machine keeps, and how it treats what is missing.

use crate::support::rig::{Asked, HOUR, Rig, allowed, blank, choice, lease, noon};
use kasacam::domain::effect::{Event, Fact, Rule};
use kasacam::domain::entitlement::{Entitlement, Lease, Next, Status};
use kasacam::domain::input::Input;
use kasacam::domain::machine::{Seen, Start, Tombstones};
use kasacam::domain::privacy::{Privacy, PrivacyChoice, Recalled};
use kasacam::domain::segment::Serial;
use kasacam::domain::time::{Clock, Mono, Now, Utc};
use std::time::Duration;

fn disbelieve(rig: &mut Rig, privacy: bool, entitlement: bool) {
    rig.give(Input::Disbelieved { privacy, entitlement });
}

#[test]
fn a_choice_whose_key_is_withdrawn_is_unknown_until_it_is_heard_under_another() {
    let mut rig = Rig::new(allowed());
    assert!(rig.open.is_some());
    rig.take();

    disbelieve(&mut rig, true, false);

    assert_eq!((rig.open, rig.machine.privacy()), (None, Privacy::Unknown));
    assert!(rig.asked.contains(&Asked::AskAgain));
    assert!(
        matches!(rig.machine.entitlement(rig.now), Entitlement::Granted(_)),
        "the plan is another matter"
    );
    // Footage captured while no choice is heard waits; there is nothing to capture. The retained choice comes
    // again.
    let ack = rig.ack();
    let choice = choice(1, false);
    rig.give(Input::Privacy { choice, jws: String::from("privacy-1 by another key"), retained: true, ack });
    assert!(rig.open.is_some());
    assert!(rig.asked.contains(&Asked::Ack(ack)));
    let kept = Fact::Privacy { version: 1, jws: String::from("privacy-1 by another key") };
    assert!(rig.asked.contains(&Asked::Keep(kept)), "and is kept as it is signed now");
}

#[test]
fn an_older_permission_is_no_way_out_of_a_withdrawn_key() {
    let mut rig = Rig::new(allowed());
    rig.privacy(5, true);
    disbelieve(&mut rig, true, false);
    rig.privacy(4, false);
    assert_eq!(rig.open, None);
    rig.privacy(6, false);
    assert!(rig.open.is_some());
}

#[test]
fn a_permission_that_is_being_written_under_a_withdrawn_key_never_comes_into_force() {
    let mut rig = Rig::new(allowed());
    rig.privacy(2, true);
    rig.disk_is_away = true;
    let ack = rig.privacy(3, false);
    disbelieve(&mut rig, true, false);
    for ticket in std::mem::take(&mut rig.tickets) {
        rig.give(Input::Persisted { ticket, result: Ok(()) });
    }
    assert_eq!(rig.open, None);
    assert!(rig.asked.contains(&Asked::Ack(ack)), "the broker is not to hold it for ever");
}

#[test]
fn a_prohibition_that_is_not_durable_goes_on_lying_there_when_its_key_is_withdrawn() {
    let mut rig = Rig::new(allowed());
    rig.disk_is_away = true;
    rig.privacy(2, true);
    disbelieve(&mut rig, true, false);
    assert!(!rig.asked.contains(&lifted()), "the disk permits");
    rig.disk_is_away = false;
    rig.tickets.clear();
    rig.privacy(3, false);
    assert!(rig.asked.contains(&lifted()));
}

#[test]
fn a_lease_whose_key_is_withdrawn_stops_the_camera_and_lets_nothing_go() {
    let mut rig = Rig::new(allowed());
    let serial = rig.seal();
    rig.take();
    disbelieve(&mut rig, false, true);
    assert_eq!((rig.open, rig.machine.entitlement(rig.now)), (None, Entitlement::Unknown));
    rig.pass(100 * HOUR);
    assert!(!rig.asked.iter().any(|asked| matches!(asked, Asked::Forget(it, _) if *it == serial)));
    assert_eq!(rig.machine.privacy(), Privacy::Record);
    rig.lease(lease(2));
    assert!(rig.open.is_some());
}

fn forbidden(version: u64) -> Fact {
    Fact::Privacy { version, jws: format!("privacy-{version}") }
}

fn lifted() -> Asked {
    Asked::Lift(Fact::Privacy { version: 2, jws: String::new() })
}

fn fail_all(rig: &mut Rig) {
    for ticket in std::mem::take(&mut rig.tickets) {
        rig.give(Input::Persisted { ticket, result: Err(String::from("ENOSPC")) });
    }
}

#[test]
fn a_prohibition_lies_where_the_next_start_looks_until_it_is_durable() {
    let mut rig = Rig::new(allowed());
    rig.disk_is_away = true;
    rig.take();
    rig.privacy(2, true);
    let at = |rig: &Rig, wanted: &Asked| rig.asked.iter().position(|asked| asked == wanted);
    let raised = at(&rig, &Asked::Raise(forbidden(2))).expect("it is laid down");
    assert!(raised < at(&rig, &Asked::Keep(forbidden(2))).expect("and written"));
    assert!(rig.machine.forbids_without_trace());
    for _ in 0..20 {
        fail_all(&mut rig);
        rig.pass(Duration::from_secs(30));
    }
    assert_eq!(at(&rig, &lifted()), None, "it is not durable");
    assert_eq!(rig.asked.iter().filter(|it| matches!(it, Asked::Raise(_))).count(), 1);
    rig.disk_is_away = false;
    fail_all(&mut rig);
    rig.pass(Duration::from_secs(60));
    assert!(at(&rig, &lifted()).is_some());
    assert!(!rig.machine.forbids_without_trace());
}

#[test]
fn a_permission_lifts_the_prohibition_before_it_only_once_it_is_durable() {
    let mut rig = Rig::new(allowed());
    rig.disk_is_away = true;
    rig.privacy(2, true);
    rig.privacy(3, false);
    assert!(!rig.asked.contains(&lifted()), "the one that lies there is in force");
    rig.disk_is_away = false;
    fail_all(&mut rig);
    rig.pass(Duration::from_secs(60));
    assert!(rig.asked.contains(&lifted()));
    assert!(rig.open.is_some());
}

#[test]
fn a_latch_that_cannot_be_written_is_laid_down_as_well() {
    let mut rig = Rig::new(allowed());
    rig.disk_is_away = true;
    rig.give(Input::Latch { closed: true });
    assert!(rig.asked.contains(&Asked::Raise(Fact::Latch(true))));
    assert!(rig.machine.forbids_without_trace());
    for ticket in std::mem::take(&mut rig.tickets) {
        rig.give(Input::Persisted { ticket, result: Ok(()) });
    }
    assert!(rig.asked.contains(&Asked::Lift(Fact::Latch(true))));
    assert!(!rig.machine.forbids_without_trace());
}

#[test]
fn what_an_earlier_process_could_not_write_is_in_force_from_the_start_and_is_written() {
    let choice = Some((choice(2, true), String::from("privacy-2")));
    let mut rig = Rig::new(Start { tombstones: Tombstones { choice, ..Tombstones::default() }, ..allowed() });
    assert!(!rig.asked.iter().any(|asked| matches!(asked, Asked::Open(..))), "it never opens");
    assert!(rig.asked.contains(&Asked::Keep(forbidden(2))));
    assert!(rig.asked.contains(&lifted()), "it is durable now");
    assert_eq!(rig.machine.privacy(), Privacy::DoNotRecord);
    rig.privacy(3, false);
    assert!(rig.open.is_some());

    let latch = Tombstones { latch: true, ..Tombstones::default() };
    let rig = Rig::new(Start { tombstones: latch, ..allowed() });
    assert!(!rig.asked.iter().any(|asked| matches!(asked, Asked::Open(..))));
    assert!(rig.asked.contains(&Asked::Keep(Fact::Latch(true))));
    assert!(rig.asked.contains(&Asked::Lift(Fact::Latch(true))));
}

#[test]
fn a_tombstone_older_than_what_is_durable_changes_nothing() {
    let start = Start { privacy: Recalled::Is(choice(5, false)), ..allowed() };
    let choice = Some((choice(2, true), String::from("privacy-2")));
    let rig = Rig::new(Start { tombstones: Tombstones { choice, ..Tombstones::default() }, ..start });
    assert!(rig.open.is_some());
}

#[test]
fn a_camera_out_of_the_box_writes_its_latch_as_open_before_anything_else() {
    let mut rig = Rig::new(Start { latch: Recalled::Missing, ..blank() });
    assert_eq!(rig.take().first(), Some(&Asked::Keep(Fact::Latch(false))));
    rig.lease(lease(1));
    rig.privacy(1, false);
    assert!(rig.open.is_some());
}

#[test]
fn no_version_below_the_highest_one_seen_is_good_again_though_its_message_is_lost() {
    let seen = Seen { privacy: 9, entitlement: 7 };
    let mut rig = Rig::new(Start {
        privacy: Recalled::Unreadable,
        entitlement: Recalled::Unreadable,
        seen,
        ..allowed()
    });
    rig.lease(lease(6));
    rig.privacy(8, false);
    assert!(rig.open.is_none());
    let stale = |event: &&Event| matches!(event, Event::Rejected { reason: "stale_version", .. });
    assert_eq!(rig.events.iter().filter(stale).count(), 2);
    // The newest choice itself is what the broker retains.
    rig.lease(lease(7));
    rig.privacy(9, false);
    assert!(rig.open.is_some());
    rig.privacy(8, false);
    assert_eq!(rig.events.iter().filter(stale).count(), 3);
    assert_eq!(rig.now.system, noon());
}

#[test]
fn a_clock_that_is_synchronised_to_a_time_that_has_passed_is_not_trusted() {
    // The service that set the clock is wrong: the stored floor says that forty more days have passed.
    let floor = noon() + 40 * 24 * HOUR;
    let rig = Rig::new(Start { floor, ..allowed() });
    assert_eq!(rig.machine.clock(rig.now), Clock::Unset);
    assert!(rig.open.is_none(), "by what has passed the lease has lapsed");
}

#[test]
fn what_was_refused_as_from_the_future_is_asked_for_again_when_the_clock_steps() {
    let mut rig = Rig::new(blank());
    rig.lease(lease(1));
    let later = rig.now.system + 48 * HOUR;
    let choice = PrivacyChoice { issued_at: later, ..choice(1, false) };
    let hear = |rig: &mut Rig| {
        let (choice, ack) = (choice.clone(), rig.ack());
        rig.give(Input::Privacy { choice, jws: String::from("privacy-1"), retained: true, ack });
    };
    hear(&mut rig);
    assert!(rig.open.is_none(), "from the future, by a clock that is two days behind");
    rig.pass(Duration::from_secs(60));
    assert!(!rig.asked.contains(&Asked::AskAgain), "the clock has not stepped");
    rig.now.system = later + Duration::from_secs(90);
    rig.pass(Duration::from_secs(5));
    assert!(rig.asked.contains(&Asked::AskAgain), "within seconds");
    hear(&mut rig);
    assert!(rig.open.is_some());
    rig.take();
    rig.pass(HOUR);
    assert!(!rig.asked.contains(&Asked::AskAgain), "once");
}

#[test]
fn a_lease_that_lapsed_while_the_camera_was_away_purges_nothing_before_the_retained_one_can_have_been_heard()
{
    for renewed in [true, false] {
        let mut rig = Rig::new(allowed());
        rig.disconnect();
        rig.pass(25 * 24 * HOUR);
        let serial = rig.seal();
        // The rest of its thirty days, the grace period, and the hold after that.
        rig.pass((5 * 24 + 72 + 73) * HOUR);
        rig.connect(Some(choice(1, false)));
        rig.pass(Duration::from_secs(30));
        let purged = Asked::Forget(serial, Rule::HoldExpired);
        assert!(!rig.asked.contains(&purged), "the broker may still tell of a renewal");
        if renewed {
            let mut lease = lease(2);
            (lease.issued_at, lease.not_after) = (rig.now.system, rig.now.system + 720 * HOUR);
            rig.lease(lease);
        }
        rig.pass(Duration::from_secs(120));
        assert_eq!(rig.asked.contains(&purged), !renewed);
    }
}

// ---- the hold of a service that stands still ----------------------------------------------------

fn suspended(version: u64, issued_at: Utc) -> Lease {
    let mut lease = Lease { issued_at, not_after: issued_at + 720 * HOUR, ..lease(version) };
    lease.terms.status = Status::Suspended;
    lease
}

fn purged(rig: &Rig) -> Vec<Serial> {
    let held = |asked: &Asked| match asked {
        Asked::Forget(serial, Rule::HoldExpired) => Some(*serial),
        _ => None,
    };
    rig.asked.iter().filter_map(held).collect()
}

#[test]
fn a_suspension_that_is_issued_again_every_day_does_not_begin_the_hold_anew() {
    let mut rig = Rig::new(allowed());
    rig.privacy(2, true);
    let serial = rig.seal();
    for day in 0..3 {
        let issued_at = rig.now.system;
        rig.lease(suspended(2 + day, issued_at));
        rig.pass(23 * HOUR + HOUR / 2);
        assert_eq!(purged(&rig), [], "day {day}");
    }
    rig.pass(3 * HOUR);
    assert_eq!(purged(&rig), [serial], "three days of hold are over");
}

#[test]
fn a_camera_that_hears_late_of_a_suspension_holds_what_it_has_just_captured() {
    let mut rig = Rig::new(allowed());
    rig.disconnect();
    rig.pass(10 * 24 * HOUR);
    let serial = rig.seal();
    rig.connect(Some(choice(1, false)));
    rig.lease(suspended(2, noon() + HOUR));
    rig.pass(71 * HOUR);
    assert_eq!(purged(&rig), [], "it was suspended nine days ago, and heard of it just now");
    rig.pass(2 * HOUR);
    assert_eq!(purged(&rig), [serial]);
}

#[test]
fn a_hold_goes_on_over_a_restart_from_when_the_suspension_was_first_seen() {
    let seen = noon() - 70 * HOUR;
    let entitlement = Recalled::Is(suspended(2, noon() - HOUR));
    let mut rig = Rig::new(Start { entitlement, stopped: Some(seen), ..allowed() });
    let serial = rig.seal();
    rig.lease(suspended(3, noon()));
    rig.pass(HOUR + HOUR / 2);
    assert_eq!(purged(&rig), []);
    rig.pass(HOUR);
    assert_eq!(purged(&rig), [serial]);
}

#[test]
fn since_when_the_service_stands_still_is_kept_and_taken_back_when_it_goes_on() {
    let mut rig = Rig::new(allowed());
    rig.take();
    let at = rig.now.system;
    rig.lease(suspended(2, noon() - 100 * HOUR));
    assert!(rig.asked.contains(&Asked::Keep(Fact::Stopped(Some(at)))));
    rig.pass(50 * HOUR);
    rig.take();
    rig.lease(lease(3));
    assert!(rig.asked.contains(&Asked::Keep(Fact::Stopped(None))));
    let again = rig.now.system;
    rig.lease(suspended(4, again));
    assert!(rig.asked.contains(&Asked::Keep(Fact::Stopped(Some(again)))), "a suspension of its own");
}

#[test]
fn a_suspension_seen_while_no_clock_was_trusted_counts_from_when_it_was_seen() {
    let doubtful = Now { mono: Mono(1_000_000_000_000), system: noon() - 24 * HOUR, synchronised: false };
    let mut rig = Rig::at(Start { floor: noon() - 500 * HOUR, ..allowed() }, doubtful);
    let serial = rig.seal();
    rig.lease(suspended(2, noon()));
    rig.pass(HOUR);
    assert!(
        !rig.asked.iter().any(|asked| matches!(asked, Asked::Keep(Fact::Stopped(_)))),
        "nobody knows when"
    );
    (rig.now.system, rig.now.synchronised) = (noon() + HOUR, true);
    rig.pass(Duration::from_secs(60));
    let kept = |asked: &Asked| matches!(asked, Asked::Keep(Fact::Stopped(Some(at))) if *at == noon());
    assert!(rig.asked.iter().any(kept), "an hour ago");
    rig.pass(70 * HOUR);
    assert_eq!(purged(&rig), []);
    rig.pass(2 * HOUR);
    assert_eq!(purged(&rig), [serial]);
}

#[test]
fn a_hold_that_ended_while_the_camera_was_off_waits_for_the_retained_lease() {
    for renewed in [true, false] {
        let entitlement = Recalled::Is(suspended(2, noon() - 400 * HOUR));
        let start = Start { entitlement, stopped: Some(noon() - 400 * HOUR), ..allowed() };
        let now = Now { mono: Mono(1_000_000_000_000), system: noon(), synchronised: true };
        let mut rig = Rig::offline(start, now);
        let serial = rig.seal();
        rig.pass(HOUR / 2);
        rig.connect(Some(choice(1, false)));
        rig.pass(Duration::from_secs(30));
        assert_eq!(purged(&rig), [], "the broker may tell that the service goes on");
        if renewed {
            rig.lease(lease(3));
        }
        rig.pass(Duration::from_secs(120));
        assert_eq!(purged(&rig) == [serial], !renewed);
    }
}

#[test]
fn a_suspended_camera_that_never_hears_of_the_broker_again_does_not_hold_for_ever() {
    let entitlement = Recalled::Is(suspended(2, noon() - 400 * HOUR));
    let start = Start { entitlement, stopped: Some(noon() - 400 * HOUR), ..allowed() };
    let now = Now { mono: Mono(1_000_000_000_000), system: noon(), synchronised: true };
    let mut rig = Rig::offline(start, now);
    let serial = rig.seal();
    rig.pass(HOUR - Duration::from_secs(1));
    assert_eq!(purged(&rig), []);
    rig.pass(Duration::from_secs(120));
    assert_eq!(purged(&rig), [serial]);
}

#[test]
fn a_downgrade_heard_long_ago_goes_on_by_its_own_end_without_a_broker() {
    let mut downgrade = lease(2);
    let from = downgrade.not_after;
    let next = Next { from, not_after: Some(from + 720 * HOUR), terms: downgrade.terms.clone() };
    downgrade.next = Some(next);
    let mut rig = Rig::new(allowed());
    rig.lease(downgrade);
    rig.disconnect();
    rig.pass((30 * 24 + 73) * HOUR);
    assert!(rig.open.is_some(), "the old end and its grace are over, the new one's are not");
    rig.pass(30 * 24 * HOUR);
    assert_eq!(rig.open, None);
}
