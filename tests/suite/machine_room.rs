//! What the machine does when the spool is full or broken.

use crate::support::rig::{Answers, Asked, Rig, allowed, lease};
use kasacam::domain::effect::{Event, Rule};
use kasacam::domain::entitlement::{Lease, Status, Terms};
use kasacam::domain::fragment::SpanEnd;
use kasacam::domain::input::Input;
use kasacam::domain::policy::WhenFull;
use kasacam::domain::segment::{Content, Serial};
use kasacam::domain::settings::UploadOrder;
use kasacam::domain::storage::Usage;
use std::time::Duration;

#[test]
fn a_full_spool_evicts_the_oldest_and_no_more_than_needed() {
    let mut rig = Rig::new(allowed());
    rig.privacy(2, true);
    let serials: Vec<_> = (0..5).map(|_| rig.seal()).collect();
    rig.take();
    rig.give(Input::Usage(Usage { bytes: 100_500, files: 5, free: Some(1_000_000), ..Usage::default() }));
    let forgotten: Vec<_> = rig.asked.iter().filter(|a| matches!(a, Asked::Forget(..))).cloned().collect();
    // The first two are being sent.
    assert_eq!(forgotten, [Asked::Forget(serials[2], Rule::Evicted)]);
}

/// What was removed to make room.
fn evicted(rig: &Rig) -> Vec<Serial> {
    let evicted = |asked: &Asked| match asked {
        Asked::Forget(serial, Rule::Evicted) => Some(*serial),
        _ => None,
    };
    rig.asked.iter().filter_map(evicted).collect()
}

#[test]
fn eviction_frees_what_is_needed_and_no_more_in_whichever_order_the_spool_answers() {
    for answers in [Answers::ForgottenFirst, Answers::UsageFirst] {
        for (which, full) in [
            ("bytes", Usage { bytes: 102_500, files: 20, free: Some(1_000_000), ..Usage::default() }),
            ("files", Usage { bytes: 20_000, files: 1_002, free: Some(1_000_000), ..Usage::default() }),
            ("free", Usage { bytes: 20_000, files: 20, free: Some(0), ..Usage::default() }),
        ] {
            let mut rig = Rig::new(allowed());
            rig.privacy(2, true);
            let serials: Vec<_> = (0..20).map(|_| rig.seal()).collect();
            rig.usage = Some((full, answers));
            rig.give(Input::Usage(full));
            let needed = match which {
                "free" => 2,
                _ => 3,
            };
            // The first two are being sent.
            assert_eq!(evicted(&rig), serials[2..2 + needed], "{which}, {answers:?}");
        }
    }
}

#[test]
fn where_nobody_knows_how_much_is_free_nothing_is_evicted() {
    let mut rig = Rig::new(allowed());
    rig.privacy(2, true);
    for _ in 0..5 {
        rig.seal();
    }
    rig.give(Input::Usage(Usage { bytes: 5_000, files: 5, free: None, ..Usage::default() }));
    assert_eq!(evicted(&rig), []);
    let told = serde_json::to_value(rig.machine.telemetry(rig.now)).unwrap();
    assert_eq!(told["spool"].get("free"), None, "a figure that nobody knows is not told");
}

#[test]
fn each_probe_that_finds_no_room_evicts_one_more() {
    let mut rig = Rig::new(allowed());
    rig.privacy(2, true);
    // The first two are being sent.
    let serials = (0..5).map(|_| rig.seal()).collect::<Vec<_>>().split_off(2);
    rig.give(Input::StorageFailed { full: true, why: String::from("ENOSPC") });
    assert_eq!(evicted(&rig), serials[..1]);
    rig.give(Input::StorageProbed { ok: false, full: false, away: false });
    assert_eq!(evicted(&rig), serials[..1], "a disk that fails otherwise is not helped by room");
    rig.give(Input::StorageProbed { ok: false, full: true, away: false });
    assert_eq!(evicted(&rig), serials[..2]);
}

#[test]
fn room_is_made_around_the_uploads_under_way() {
    let mut start = allowed();
    start.settings.order = UploadOrder::Oldest;
    start.settings.concurrency = 1;
    let mut rig = Rig::new(start);
    let serials: Vec<_> = (0..4).map(|_| rig.seal()).collect();
    rig.usage = Some((
        Usage { bytes: 101_500, files: 4, free: Some(1_000_000), ..Usage::default() },
        Answers::ForgottenFirst,
    ));
    rig.give(Input::Usage(rig.usage.unwrap().0));
    assert_eq!(evicted(&rig), serials[1..3]);
    assert!(!rig.asked.iter().any(|asked| matches!(asked, Asked::Cancel(_))), "{:?}", rig.asked);
}

#[test]
fn an_upload_that_is_past_half_is_not_given_up_for_room() {
    for past_half in [false, true] {
        let mut start = allowed();
        start.settings.concurrency = 1;
        let mut rig = Rig::new(start);
        let serial = rig.seal();
        if past_half {
            rig.give(Input::UploadPastHalf { serial });
        }
        rig.take();
        rig.give(Input::Usage(Usage { bytes: 100_500, files: 1, free: Some(1_000_000), ..Usage::default() }));
        let cancelled = rig.asked.contains(&Asked::Cancel(serial));
        assert_eq!(cancelled, !past_half);
        assert_eq!(evicted(&rig).len(), usize::from(!past_half));
        assert_eq!(rig.open.is_some(), !past_half, "with nothing to evict, capture waits for room");
    }
}

#[test]
fn the_end_of_a_span_that_is_let_go_is_told() {
    let mut start = allowed();
    start.settings.concurrency = 1;
    let mut rig = Rig::new(start);
    rig.seal();
    let mut end = rig.segment();
    end.content = Content::End { reason: SpanEnd::Privacy };
    let serial = end.serial.0;
    rig.give(Input::Sealed(end));
    rig.lease(Lease { terms: Terms { status: Status::Terminated, ..lease(2).terms }, ..lease(2) });
    let told = |event: &Event| matches!(event, Event::SegmentPurged { serial: told, is_end: true, .. } if *told == serial);
    assert!(rig.events.iter().any(told), "{:?}", rig.events);
}

#[test]
fn a_full_spool_stops_capture_where_the_owner_prefers_that() {
    let mut start = allowed();
    start.settings.rules.when_full = WhenFull::Stop;
    let mut rig = Rig::new(start);
    rig.seal();
    rig.give(Input::Usage(Usage { bytes: 100_500, files: 5, free: Some(1_000_000), ..Usage::default() }));
    assert!(rig.open.is_none());
    assert!(!rig.asked.iter().any(|asked| matches!(asked, Asked::Forget(..))));
}

#[test]
fn where_others_took_the_room_and_nothing_is_left_to_evict_capture_stops() {
    let mut rig = Rig::new(allowed());
    rig.give(Input::Usage(Usage { bytes: 0, files: 0, free: Some(10), ..Usage::default() }));
    assert!(rig.open.is_none());
    rig.give(Input::Usage(Usage { bytes: 0, files: 0, free: Some(1_000_000), ..Usage::default() }));
    assert!(rig.open.is_some());
}

#[test]
fn a_broken_disk_stops_capture_until_a_probe_succeeds() {
    let mut rig = Rig::new(allowed());
    rig.give(Input::StorageFailed { full: false, why: String::from("EIO") });
    assert!(rig.open.is_none());
    rig.pass(Duration::from_secs(5));
    assert!(rig.asked.contains(&Asked::Probe));
    rig.give(Input::StorageProbed { ok: false, full: false, away: false });
    assert!(rig.open.is_none());
    rig.give(Input::StorageProbed { ok: true, full: false, away: false });
    assert!(rig.open.is_some());
}
