//! What the machine does as plans, leases and clocks change.

use crate::support::rig::{Asked, HOUR, Rig, allowed, choice, lease, noon, segment, settings};
use kasacam::domain::effect::{Rule, StopManner};
use kasacam::domain::entitlement::{Next, Status};
use kasacam::domain::fragment::SpanEnd;
use kasacam::domain::input::Input;
use kasacam::domain::machine::Start;
use kasacam::domain::privacy::Recalled;
use kasacam::domain::segment::RecordClock;
use kasacam::domain::time::{Mono, Now, Utc};
use std::time::Duration;

#[test]
fn suspension_holds_what_is_pending_and_purges_it_after_the_hold() {
    let mut rig = Rig::new(Start { privacy: Recalled::Is(choice(1, true)), ..allowed() });
    let serial = {
        let mut suspended = lease(2);
        suspended.terms.status = Status::Suspended;
        rig.lease(suspended);
        rig.seal()
    };
    rig.pass(71 * HOUR);
    assert!(!rig.asked.iter().any(|asked| matches!(asked, Asked::Forget(..) | Asked::Upload(_))));
    rig.pass(2 * HOUR);
    assert!(rig.asked.contains(&Asked::Forget(serial, Rule::HoldExpired)));
}

#[test]
fn termination_purges_at_once_and_breaks_off_the_upload() {
    let mut rig = Rig::new(allowed());
    let serial = rig.seal();
    rig.take();
    let mut terminated = lease(2);
    terminated.terms.status = Status::Terminated;
    rig.lease(terminated);
    assert!(rig.asked.contains(&Asked::Cancel(serial)));
    assert!(rig.asked.contains(&Asked::Forget(serial, Rule::Terminated)));
    assert!(rig.asked.contains(&Asked::Close(StopManner::Drain, SpanEnd::Entitlement)));
}

#[test]
fn a_shorter_history_purges_what_is_older_than_it() {
    let mut rig = Rig::new(allowed());
    rig.privacy(2, true);
    let mut held = settings();
    held.concurrency = 0;
    rig.give(Input::Reload(Box::new(held)));
    let old = rig.seal();
    rig.pass(10 * HOUR);
    let recent = rig.seal();
    rig.take();
    let mut shorter = lease(2);
    shorter.terms.features.history_hours = 5;
    rig.lease(shorter);
    assert!(rig.asked.contains(&Asked::Forget(old, Rule::HistoryExceeded)));
    assert!(!rig.asked.contains(&Asked::Forget(recent, Rule::HistoryExceeded)));
}

#[test]
fn a_due_downgrade_takes_effect_offline_at_its_time() {
    let mut rig = Rig::new(allowed());
    let mut downgrade = lease(2);
    let mut terms = downgrade.terms.clone();
    terms.features.audio = false;
    downgrade.next = Some(Next { from: noon() + 5 * HOUR, not_after: None, terms });
    rig.lease(downgrade);
    rig.pass(4 * HOUR);
    assert!(rig.open.expect("recording").1.audio);
    rig.pass(HOUR);
    assert!(!rig.open.expect("recording").1.audio);
}

#[test]
fn a_lease_lapses_after_its_grace_and_not_before() {
    let mut rig = Rig::new(allowed());
    rig.pass(30 * 24 * HOUR + 71 * HOUR);
    assert!(rig.open.is_some());
    rig.pass(HOUR + Duration::from_secs(1));
    assert!(rig.open.is_none());
}

#[test]
fn a_renewal_leaves_no_gap() {
    let mut rig = Rig::new(allowed());
    rig.take();
    for month in 1..12 {
        let mut renewed = lease(month + 1);
        renewed.issued_at = rig.now.system;
        renewed.not_after = rig.now.system + 30 * 24 * HOUR;
        rig.lease(renewed);
        rig.pass(29 * 24 * HOUR);
    }
    assert!(!rig.asked.iter().any(|asked| matches!(asked, Asked::Open(..) | Asked::Close(..))));
}

#[test]
fn a_clock_that_is_set_back_does_not_stretch_a_lease() {
    let start = Start { floor: noon() + 40 * 24 * HOUR, ..allowed() };
    let now = Now { mono: Mono(0), system: noon(), synchronised: false };
    let rig = Rig::at(start, now);
    assert!(rig.open.is_none(), "by the floor the lease has lapsed");
}

#[test]
fn a_clock_of_1970_records_and_names_nothing_until_time_is_known() {
    let now = Now { mono: Mono(60_000_000_000), system: Utc(0), synchronised: false };
    let mut rig = Rig::at(allowed(), now);
    assert!(rig.open.is_some());
    let mut nameless = segment(7, rig.now);
    nameless.record.clock = RecordClock::Unset;
    let serial = nameless.serial;
    rig.give(Input::Sealed(nameless));
    rig.pass(HOUR);
    assert_eq!(rig.uploads(), 0);
    rig.now.system = noon();
    rig.now.synchronised = true;
    rig.give(Input::Tick);
    assert!(rig.asked.contains(&Asked::Upload(serial)));
    assert!(!rig.asked.iter().any(|asked| matches!(asked, Asked::Forget(..))), "no mass deletion");
}
