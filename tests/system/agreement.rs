//! What the service agreement requires of the camera (docs/contract.md, section 1), with the real camera,
//! broker and store.

use crate::support::bucket::{Stored, assert_spans_are_whole};
use crate::support::camera::Camera;
use crate::support::cloud::{Cloud, wait};
use serde_json::Value;
use std::collections::HashSet;
use std::time::{Duration, Instant};

fn recording_under(plan: &[&str], arguments: &[&str]) -> (Cloud, Camera) {
    let cloud = Cloud::start(&[&["--segment", "2s"], arguments].concat());
    cloud.tell(&[&["plan"], plan].concat());
    cloud.tell(&["privacy", "off"]);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(15);
    (cloud, camera)
}

fn wait_for_segments(cloud: &Cloud, count: usize) -> Vec<Stored> {
    wait("segments in the store", || Some(cloud.footage()).filter(|footage| footage.len() >= count))
}

/// The newest report on a topic, which ends in `topic`.
fn reported(cloud: &Cloud, topic: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    wait(topic, || {
        let messages = cloud.events().into_iter().rev();
        let ours = messages.filter(|it| it["topic"].as_str().is_some_and(|it| it.ends_with(topic)));
        ours.map(|it| it["payload"].clone()).find(|payload| wanted(payload))
    })
}

fn committed(camera: &Camera) -> u64 {
    camera.status()["capture"]["frames_committed"].as_u64().unwrap()
}

/// Rules that depend on age are checked when the lease changes, and once a minute.
fn wait_for_the_round(is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(100), "waited in vain for the round");
        std::thread::sleep(Duration::from_millis(200));
    }
}

fn has_audio(segment: &Stored) -> bool {
    segment.layout().init.audio.is_some()
}

fn spans(stored: &[Stored]) -> HashSet<&str> {
    stored.iter().map(|object| object.metadata("span")).collect()
}

#[test]
fn k1_what_is_captured_is_sent_with_nobody_asking() {
    let (cloud, camera) = recording_under(&["plus"], &[]);
    wait_for_segments(&cloud, 2);
    camera.stop();
    assert_spans_are_whole(&cloud.stored(), true);
}

#[test]
fn k2_every_object_bears_the_history_of_its_plan() {
    let (cloud, camera) = recording_under(&["plus", "--history-hours", "48"], &[]);
    wait_for_segments(&cloud, 1);
    camera.stop();
    for object in cloud.stored() {
        assert_eq!(object.metadata("history-hours"), "48", "{}", object.key);
        assert_eq!(object.facts.tags.get("history-hours").map(String::as_str), Some("48"), "{}", object.key);
    }
}

#[test]
fn k3_the_free_package_takes_effect_as_it_arrives_without_a_restart() {
    let (cloud, camera) = recording_under(&["plus"], &[]);
    wait_for_segments(&cloud, 1);
    cloud.tell(&["plan", "free"]);
    let free = wait("footage under the Free Package", || {
        cloud.footage().into_iter().find(|it| it.metadata("plan") == "free")
    });
    assert!(!has_audio(&free), "the Free Package has no audio");
    assert!(cloud.footage().iter().filter(|it| it.metadata("plan") != "free").all(has_audio));
    camera.stop();
}

#[test]
fn k4_a_plan_is_its_features_and_not_its_name() {
    // The Free Package's name, with the features of a paid tier.
    let (cloud, camera) = recording_under(&["free", "--audio", "true", "--history-hours", "720"], &[]);
    let segment = wait_for_segments(&cloud, 1).remove(0);
    assert!(has_audio(&segment));
    assert_eq!((segment.metadata("plan"), segment.metadata("history-hours")), ("free", "720"));
    camera.stop();
}

#[test]
fn k5_past_due_records_and_uploads_and_is_reported() {
    let (cloud, camera) = recording_under(&["plus", "--status", "past_due"], &[]);
    wait_for_segments(&cloud, 1);
    let report = reported(&cloud, "/entitlement/reported", |it| it["status"] == "past_due");
    assert_eq!(report["state"], "granted", "{report}");
    camera.stop();
}

#[test]
fn k6_a_renewal_leaves_no_gap() {
    let (cloud, camera) = recording_under(&["plus"], &[]);
    wait_for_segments(&cloud, 1);
    cloud.tell(&["plan", "plus", "--not-after", "+60d"]);
    reported(&cloud, "/entitlement/reported", |it| it["version"] == 2);
    let count = cloud.footage().len();
    wait_for_segments(&cloud, count + 2);
    camera.stop();
    let stored = cloud.stored();
    assert_eq!(spans(&stored).len(), 1, "one span goes on through the renewal");
    assert_spans_are_whole(&stored, true);
}

#[test]
fn k7_the_change_to_free_applies_at_its_time_though_the_camera_is_offline() {
    let (cloud, camera) = recording_under(&["plus"], &["--set", "privacy.unheard_hold=\"0s\""]);
    cloud.tell(&["plan", "plus", "--next-from", "+4s", "--next-plan", "free"]);
    reported(&cloud, "/entitlement/reported", |it| it["version"] == 2);
    cloud.tell(&["broker", "down"]);
    let free = wait("footage under the Free Package", || {
        cloud.footage().into_iter().find(|it| it.metadata("plan") == "free")
    });
    assert!(!has_audio(&free));
    assert_eq!(camera.status()["mqtt"]["connected"], false);
    camera.stop();
}

#[test]
fn k8_a_change_of_plan_applies_at_once_or_at_the_end_of_the_cycle() {
    let (cloud, camera) = recording_under(&["free"], &[]);
    assert!(!has_audio(&wait_for_segments(&cloud, 1)[0]));
    cloud.tell(&["plan", "plus"]);
    wait("audio", || cloud.footage().into_iter().find(has_audio));
    cloud.tell(&["plan", "plus", "--next-from", "+3s", "--next-plan", "premium"]);
    let premium = wait("the plan of the next cycle", || {
        cloud.footage().into_iter().find(|it| it.metadata("plan") == "premium-monthly")
    });
    assert!(has_audio(&premium));
    camera.stop();
}

#[test]
fn k9_suspension_stops_and_holds_then_purges() {
    let (cloud, camera) = recording_under(&["plus"], &["--set", "spool.hold=\"6s\""]);
    cloud.tell(&["store", "down"]);
    camera.wait_for("footage that waits", |it| it["spool"]["pending"].as_u64() >= Some(2));
    cloud.tell(&["plan", "plus", "--status", "suspended"]);
    let status = camera
        .wait_for("closed", |it| it["capture"]["open"] == false && it["capture"]["reason"] == "suspended");
    assert!(status["spool"]["pending"].as_u64() >= Some(2), "held: {status}");
    assert_eq!(status["upload"]["on"], false, "{status}");
    cloud.tell(&["store", "up"]);
    let before = cloud.stored().len();
    wait_for_the_round(|| cloud.events().iter().any(|it| it["payload"]["rule"] == "hold_expired"));
    wait_for_the_round(|| camera.status()["spool"]["pending"] == 0);
    assert_eq!(cloud.stored().len(), before, "nothing is sent while suspended");
    camera.stop();
}

#[test]
fn k9_termination_stops_and_purges_at_once() {
    let (cloud, camera) = recording_under(&["plus"], &[]);
    cloud.tell(&["store", "down"]);
    camera.wait_for("footage that waits", |it| it["spool"]["pending"].as_u64() >= Some(2));
    cloud.tell(&["plan", "plus", "--status", "terminated"]);
    camera.wait_for("closed and empty", |it| {
        it["capture"]["open"] == false
            && it["spool"]["pending"] == 0
            && it["capture"]["reason"] == "terminated"
    });
    cloud.wait_for_event("a purge", |it| it["payload"]["rule"] == "terminated");
    camera.stop();
}

#[test]
fn k10_footage_older_than_the_history_of_a_new_plan_is_purged() {
    let (cloud, camera) = recording_under(&["plus"], &[]);
    cloud.tell(&["store", "down"]);
    camera.wait_for("footage that waits", |it| it["spool"]["pending"].as_u64() >= Some(2));
    cloud.tell(&["plan", "free", "--history-hours", "0", "--record", "false"]);
    cloud.wait_for_event("a purge", |it| {
        it["payload"]["event"] == "segment_purged" && it["payload"]["rule"] == "history_exceeded"
    });
    // What was sealed after the change is removed in the next round.
    wait_for_the_round(|| camera.status()["spool"]["pending"] == 0);
    camera.stop();
}

#[test]
fn k11_do_not_record_closes_the_device_and_nothing_after_it_is_sent() {
    let (cloud, camera) = recording_under(&["plus"], &[]);
    cloud.tell(&["privacy", "on"]);
    let report = reported(&cloud, "/privacy/reported", |it| it["version"] == 2);
    assert_eq!((&report["capture"], &report["do_not_record"]), (&"closed".into(), &true.into()), "{report}");
    camera.wait_until_all_is_stored();
    let (stored, kept) = (cloud.stored(), committed(&camera));
    let last = stored.last().unwrap();
    assert!(last.is_end() && last.metadata("reason") == "privacy", "{last:?}");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!((cloud.stored().len(), committed(&camera)), (stored.len(), kept), "nothing comes after it");
    camera.stop();
}

#[test]
fn k12_privacy_and_plan_never_alter_each_other() {
    let (cloud, camera) = recording_under(&["plus"], &[]);
    let plan = reported(&cloud, "/entitlement/reported", |it| it["version"] == 1);
    cloud.tell(&["privacy", "on"]);
    reported(&cloud, "/privacy/reported", |it| it["version"] == 2);
    let after = reported(&cloud, "/entitlement/reported", |_| true);
    assert_eq!(after, plan, "the owner's choice does not change the plan");
    cloud.tell(&["plan", "free"]);
    reported(&cloud, "/entitlement/reported", |it| it["version"] == 2);
    let privacy = reported(&cloud, "/privacy/reported", |_| true);
    assert_eq!((&privacy["version"], &privacy["do_not_record"]), (&2.into(), &true.into()), "{privacy}");
    assert_eq!(camera.status()["capture"]["open"], false);
    camera.stop();
}

#[test]
fn k13_the_demonstration_says_that_this_is_no_emergency_service() {
    let demo = include_str!("../../src/bin/devcloud/demo.rs");
    assert!(demo.contains("not an emergency service") && demo.contains("say(began, NO_EMERGENCY)"));
}
