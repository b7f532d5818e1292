//! The clauses of the Kasa Care Service Agreement that can be checked with decisions alone. Those that need a
//! real broker and a real store are in `tests/system/agreement.rs`.

use crate::support::rig::{Asked, HOUR, Rig, allowed, choice, lease, noon, settings};
use kasacam::domain::effect::{Report, Rule};
use kasacam::domain::entitlement::{Features, Lease, Next, Plan, Status};
use kasacam::domain::input::Input;
use kasacam::domain::machine::Start;
use kasacam::domain::privacy::Recalled;
use std::time::Duration;

fn free(version: u64) -> Lease {
    let mut lease = lease(version);
    lease.terms.plan = Plan { id: String::from("free"), tier: String::from("free") };
    lease.terms.features =
        Features { record: true, audio: false, max_height: 720, history_hours: 24, h265: true };
    lease
}

fn with_status(version: u64, status: Status) -> Lease {
    let mut lease = lease(version);
    lease.terms.status = status;
    lease
}

#[test]
fn k1_every_segment_is_uploaded_with_nobody_asking() {
    let mut rig = Rig::new(allowed());
    let serial = rig.seal();
    assert!(rig.asked.contains(&Asked::Upload(serial)));
}

#[test]
fn k2_history_bounds_how_long_the_camera_holds_a_segment() {
    let mut rig = Rig::new(allowed());
    let mut no_upload = settings();
    no_upload.concurrency = 0;
    rig.give(Input::Reload(Box::new(no_upload)));
    rig.lease(free(2));
    let serial = rig.seal();
    rig.pass(23 * HOUR);
    assert!(!rig.asked.contains(&Asked::Forget(serial, Rule::HistoryExceeded)));
    rig.pass(2 * HOUR);
    assert!(rig.asked.contains(&Asked::Forget(serial, Rule::HistoryExceeded)));
}

#[test]
fn k3_the_free_package_is_an_entitlement_like_any_other_and_takes_effect_as_it_arrives() {
    let mut rig = Rig::new(Start { entitlement: Recalled::Missing, ..allowed() });
    assert!(rig.open.is_none());
    rig.lease(free(1));
    assert!(rig.open.is_some());
    let mut ended = free(2);
    ended.terms.features.record = false;
    rig.lease(ended);
    assert!(rig.open.is_none());
}

#[test]
fn k4_the_name_of_a_plan_changes_nothing() {
    let behaviour = |id: &str, tier: &str| {
        let mut rig = Rig::new(allowed());
        let mut named = lease(2);
        named.terms.plan = Plan { id: id.to_owned(), tier: tier.to_owned() };
        rig.lease(named);
        rig.seal();
        rig.pass(HOUR);
        rig.privacy(2, true);
        rig.take()
    };
    assert_eq!(behaviour("free", "free"), behaviour("premium-yearly", "premium"));
    assert_eq!(behaviour("free", "free"), behaviour("a plan of the next decade", "gold"));
}

#[test]
fn k5_past_due_records_and_uploads_as_active_does_and_is_reported() {
    let mut rig = Rig::new(allowed());
    rig.take();
    rig.lease(with_status(2, Status::PastDue));
    let serial = rig.seal();
    assert!(rig.open.is_some());
    assert!(rig.asked.contains(&Asked::Upload(serial)));
    assert!(
        rig.reports.iter().any(
            |report| matches!(report, Report::Entitlement(e) if e.status.as_deref() == Some("past_due"))
        )
    );
}

#[test]
fn k6_a_renewed_lease_replaces_the_old_one_with_no_gap() {
    let mut rig = Rig::new(allowed());
    rig.take();
    let mut renewed = lease(2);
    renewed.not_after = noon() + 60 * 24 * HOUR;
    rig.pass(29 * 24 * HOUR);
    rig.lease(renewed);
    rig.pass(29 * 24 * HOUR);
    assert!(!rig.asked.iter().any(|asked| matches!(asked, Asked::Open(..) | Asked::Close(..))));
}

#[test]
fn k7_going_down_to_free_applies_at_once_or_at_its_time_also_offline() {
    let mut at_once = Rig::new(allowed());
    at_once.lease(free(2));
    assert!(!at_once.open.expect("recording").1.audio);

    let mut later = Rig::new(allowed());
    let mut downgrade = lease(2);
    downgrade.next = Some(Next { from: noon() + 48 * HOUR, not_after: None, terms: free(0).terms });
    later.lease(downgrade);
    later.give(Input::Disconnected { why: String::from("offline") });
    later.pass(47 * HOUR);
    assert!(later.open.expect("recording").1.audio);
    later.pass(HOUR);
    assert_eq!(later.open.expect("recording").1.max_height, 720);
}

#[test]
fn k8_an_upgrade_applies_at_once_or_at_the_end_of_the_cycle() {
    let mut rig = Rig::new(Start { entitlement: Recalled::Is(free(1)), ..allowed() });
    assert!(!rig.open.expect("recording").1.audio);
    let mut upgrade = free(2);
    upgrade.next = Some(Next { from: noon() + 24 * HOUR, not_after: None, terms: lease(0).terms });
    rig.lease(upgrade);
    assert!(!rig.open.expect("recording").1.audio);
    rig.pass(24 * HOUR);
    assert!(rig.open.expect("recording").1.audio);
}

#[test]
fn k9_suspension_stops_and_holds_and_termination_purges() {
    let mut rig = Rig::new(allowed());
    rig.lease(with_status(2, Status::Suspended));
    let held = rig.seal();
    assert!(rig.open.is_none());
    rig.pass(71 * HOUR);
    assert!(!rig.asked.iter().any(|asked| matches!(asked, Asked::Upload(_) | Asked::Forget(..))));
    rig.lease(with_status(3, Status::Terminated));
    assert!(rig.asked.contains(&Asked::Forget(held, Rule::Terminated)));
}

#[test]
fn k9_a_service_that_returns_within_the_hold_sends_what_was_held() {
    let mut rig = Rig::new(allowed());
    rig.lease(with_status(2, Status::Suspended));
    let held = rig.seal();
    rig.pass(71 * HOUR);
    rig.lease(with_status(3, Status::Active));
    assert!(rig.asked.contains(&Asked::Upload(held)));
    assert!(rig.open.is_some());
}

#[test]
fn k10_segments_beyond_a_new_shorter_history_are_purged() {
    let mut rig = Rig::new(allowed());
    let mut no_upload = settings();
    no_upload.concurrency = 0;
    rig.give(Input::Reload(Box::new(no_upload)));
    let old = rig.seal();
    rig.pass(30 * HOUR);
    let recent = rig.seal();
    rig.lease(free(2));
    assert!(rig.asked.contains(&Asked::Forget(old, Rule::HistoryExceeded)));
    assert!(!rig.asked.contains(&Asked::Forget(recent, Rule::HistoryExceeded)));
}

#[test]
fn k11_do_not_record_closes_the_device() {
    let mut rig = Rig::new(allowed());
    rig.privacy(2, true);
    rig.pass(24 * HOUR);
    assert!(rig.open.is_none());
    assert!(
        rig.reports
            .iter()
            .any(|r| matches!(r, Report::Privacy(p) if p.do_not_record && p.capture == "closed"))
    );
}

#[test]
fn k12_stopping_recording_does_not_change_the_plan_nor_the_plan_the_choice() {
    let mut rig = Rig::new(allowed());
    let plan_before = rig.machine.entitlement(rig.now);
    rig.reports.clear();
    rig.privacy(2, true);
    assert_eq!(rig.machine.entitlement(rig.now), plan_before);
    assert!(!rig.reports.iter().any(|report| matches!(report, Report::Entitlement(_))));
    let choice_before = rig.machine.privacy();
    rig.reports.clear();
    rig.lease(with_status(2, Status::Suspended));
    rig.lease(with_status(3, Status::Active));
    assert_eq!(rig.machine.privacy(), choice_before);
    assert!(!rig.reports.iter().any(|report| matches!(report, Report::Privacy(_))));
}

#[test]
fn k13_the_readme_says_that_this_is_no_emergency_service() {
    let readme =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap_or_default();
    assert!(readme.to_lowercase().contains("not an emergency service"));
}

#[test]
fn what_was_recorded_before_the_choice_is_still_sent() {
    let mut rig = Rig::new(Start { privacy: Recalled::Is(choice(1, true)), ..allowed() });
    let serial = rig.seal();
    rig.pass(Duration::from_secs(1));
    assert!(rig.asked.contains(&Asked::Upload(serial)));
}
