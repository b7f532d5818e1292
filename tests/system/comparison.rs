//! The verdict of the demo: agreeing data passes, and each kind of disagreement fails the check for it.

use crate::chronicle::Chronicle;
use crate::summary::{Counters, End, Private, Seen, Segment, Summary, compare};
use kasacam::domain::time::Utc;
use serde_json::{Value, json};
use std::time::Duration;

fn at(millis: u64) -> Utc {
    Utc::parse("2026-11-23T12:00:00Z").unwrap() + Duration::from_millis(millis)
}

/// `frames` frames at ten per second from `start`, in milliseconds.
fn segment(span: &str, n: u64, start: u64, frames: u64) -> Segment {
    Segment {
        key: format!("{span}.{n}"),
        key_is_valid: true,
        span: span.into(),
        n,
        plan: "plus-monthly".into(),
        frames: (0..frames).map(|i| at(start + i * 100)).collect(),
        end: at(start + frames * 100),
        has_audio: true,
        is_whole: true,
        stored_at: at(start + frames * 100 + 250),
    }
}

fn end(span: &str, n: u64, millis: u64, reason: &str) -> End {
    End {
        key: format!("{span}.end"),
        key_is_valid: true,
        span: span.into(),
        n,
        at: at(millis),
        reason: reason.into(),
    }
}

/// Two spans with a private time between them; everything is right.
fn agreed() -> Seen {
    Seen {
        segments: vec![segment("a", 0, 0, 40), segment("a", 1, 4_000, 20), segment("b", 0, 10_000, 30)],
        ends: vec![end("a", 2, 6_000, "privacy"), end("b", 1, 13_000, "shutdown")],
        private: vec![Private { from: at(6_450), closed: Some(at(6_460)), until: Some(at(9_500)) }],
        private_orders: 1,
        counters: Some(Counters { captured: 94, dropped: 4 }),
        gop: 10,
        board_has_audio: true,
        free_plan_was_in_force: false,
        camera_exit: Some(0),
        left_in_spool: 0,
        peak_rss_kib: 20_480,
    }
}

/// The checks that fail.
fn failed(summary: &Summary) -> Vec<&'static str> {
    summary.checks.iter().filter(|check| !check.ok).map(|check| check.check).collect()
}

fn failed_after(change: impl FnOnce(&mut Seen)) -> Vec<&'static str> {
    let mut seen = agreed();
    change(&mut seen);
    let summary = compare(&seen);
    assert_eq!(summary.ok, failed(&summary).is_empty());
    failed(&summary)
}

#[test]
fn what_agrees_passes_and_is_counted() {
    let summary = compare(&agreed());

    assert!(summary.ok, "{:?}", summary.checks);
    assert_eq!(summary.frames_captured_while_allowed, 94);
    assert_eq!(summary.frames_stored, 90);
    assert_eq!(summary.frames_dropped_at_privacy, 4);
    assert_eq!(summary.frames_stored_while_private, 0);
    assert_eq!(summary.objects, 5);
    assert_eq!(summary.privacy_close_ms, [Some(10.0)]);
    assert_eq!(
        (summary.capture_to_stored_ms.p50, summary.capture_to_stored_ms.p99),
        (Some(250.0), Some(250.0))
    );
    assert!((summary.peak_rss_mib - 20.0).abs() < f64::EPSILON);
}

#[test]
fn a_gap_has_its_cause_and_ends_where_footage_begins_again() {
    let gaps = compare(&agreed()).gaps;

    let told: Vec<_> = gaps.iter().map(|gap| (gap.reason.as_str(), gap.start, gap.end)).collect();
    assert_eq!(told, [("privacy", at(6_000), Some(at(10_000))), ("shutdown", at(13_000), None)]);
}

#[test]
fn a_single_frame_too_many_or_too_few_is_found() {
    let name = ["captured = stored + dropped"];

    assert_eq!(failed_after(|seen| seen.counters = Some(Counters { captured: 95, dropped: 4 })), name);
    assert_eq!(failed_after(|seen| seen.counters = Some(Counters { captured: 93, dropped: 4 })), name);
    assert_eq!(failed_after(|seen| seen.counters = None), name);
}

#[test]
fn more_than_a_gop_dropped_at_one_switch_is_found() {
    let failed = failed_after(|seen| seen.counters = Some(Counters { captured: 101, dropped: 11 }));

    assert_eq!(failed, ["at most one GOP is dropped a switch"]);
}

#[test]
fn a_single_frame_stored_while_private_is_found() {
    let failed = failed_after(|seen| seen.private[0].from = at(5_850));

    assert!(failed.contains(&"nothing was stored while private"), "{failed:?}");
}

#[test]
fn a_frame_stored_in_a_private_time_that_still_lasts_is_found() {
    let failed = failed_after(|seen| seen.private[0].until = None);

    assert_eq!(failed, ["nothing was stored while private"]);
}

#[test]
fn a_device_closed_late_or_never_is_found() {
    let name = ["the device closes within 100 ms of each switch"];

    assert_eq!(failed_after(|seen| seen.private[0].closed = Some(at(6_551))), name);
    assert_eq!(failed_after(|seen| seen.private[0].closed = None), name);
}

#[test]
fn a_switch_that_was_not_seen_is_found() {
    // Without it nothing is stored while private, and nothing closed late: there is nothing to judge.
    let failed = failed_after(|seen| {
        seen.private.clear();
        seen.counters = Some(Counters { captured: 90, dropped: 0 });
    });

    assert_eq!(failed, ["each private time that was ordered was seen"]);
}

#[test]
fn a_hole_in_a_span_or_a_missing_end_is_found() {
    let name = ["spans count from 0 without a hole and have one end"];

    assert_eq!(failed_after(|seen| seen.segments[1].n = 2), name);
    assert_eq!(failed_after(|seen| drop(seen.ends.pop())), name);
    assert_eq!(failed_after(|seen| seen.ends[0].n = 3), name);
    assert_eq!(failed_after(|seen| seen.ends[0].at = at(6_100)), name);
    assert_eq!(failed_after(|seen| seen.segments[0].end = at(3_900)), name);
    assert_eq!(failed_after(|seen| seen.ends.push(end("c", 0, 14_000, "power"))), name);
}

#[test]
fn audio_where_the_plan_has_none_is_found_and_none_where_it_has_it() {
    let name = ["audio is there only where the plan has it"];

    assert_eq!(failed_after(|seen| seen.segments[2].plan = "free".into()), name);
    assert_eq!(failed_after(|seen| seen.segments[2].has_audio = false), name);
    assert_eq!(failed_after(|seen| seen.free_plan_was_in_force = true), name);
    assert!(
        failed_after(|seen| {
            seen.free_plan_was_in_force = true;
            seen.segments[2].plan = "free".into();
            seen.segments[2].has_audio = false;
        })
        .is_empty()
    );
}

#[test]
fn a_broken_segment_a_bad_key_a_bad_exit_and_a_remainder_are_found() {
    assert_eq!(
        failed_after(|seen| seen.segments[0].is_whole = false),
        ["segments have their moov first and their mfra last"]
    );
    assert_eq!(failed_after(|seen| seen.ends[0].key_is_valid = false), ["keys are of the contract's form"]);
    assert_eq!(failed_after(|seen| seen.camera_exit = Some(70)), ["the camera stopped cleanly"]);
    assert_eq!(failed_after(|seen| seen.left_in_spool = 1), ["nothing is left in the spool"]);
    assert!(failed_after(|seen| *seen = Seen::default()).contains(&"something was stored"));
}

fn message(millis: u64, topic: &str, part: &str, payload: Value, retained: bool) -> Value {
    let topic = format!("kasacam/v1/cam-0001/{topic}");
    let mut line = json!({"at": at(millis), "event": "message", "topic": topic, "retained": retained});
    line[part] = payload;
    line
}

#[test]
fn a_switch_is_timed_from_leaving_the_broker_to_the_closed_device() {
    let mut chronicle = Chronicle::default();
    let reported = json!({"version": 2, "do_not_record": true, "latch": false, "capture": "closed", "applied_at": at(1_012)});

    chronicle.hear(&message(1_000, "privacy/desired", "claims", json!({"do_not_record": true}), false));
    let words = chronicle.hear(&message(1_020, "privacy/reported", "payload", reported, false));
    chronicle.hear(&message(5_000, "privacy/desired", "claims", json!({"do_not_record": false}), false));

    assert_eq!(
        chronicle.private,
        [Private { from: at(1_000), closed: Some(at(1_012)), until: Some(at(5_000)) }]
    );
    assert_eq!(words.unwrap(), "privacy: the device is closed, 12 ms after the choice left the broker");
}

#[test]
fn a_choice_that_the_broker_replays_is_no_switch() {
    let mut chronicle = Chronicle::default();

    chronicle.hear(&message(1_000, "privacy/desired", "claims", json!({"do_not_record": true}), true));

    assert!(chronicle.private.is_empty());
}

#[test]
fn the_last_counters_are_kept() {
    let mut chronicle = Chronicle::default();
    let figures = |captured: u64| json!({"capture": {"frames_captured": captured, "frames_dropped": 3}, "spool": {"pending": 1}});

    chronicle.hear(&message(1_000, "telemetry", "payload", figures(10), false));
    chronicle.hear(&message(2_000, "telemetry", "payload", figures(25), false));

    assert_eq!(chronicle.counters, Some(Counters { captured: 25, dropped: 3 }));
    assert_eq!(chronicle.pending, Some(1));
}

#[test]
fn a_stored_segment_is_told_with_its_key_size_and_latency() {
    let mut chronicle = Chronicle::default();
    let key = "v1/cam-0001/2026-11-23/12/00-00.000000Z.0.mp4";
    let line = json!({"at": at(4_300), "event": "object_stored", "key": key, "bytes": 307_200,
                      "metadata": {"duration-ms": "4000"}});

    let words = chronicle.hear(&line).unwrap();

    assert_eq!(words, format!("segment stored: {key}, 300 KiB, 300 ms after its last frame"));
}
