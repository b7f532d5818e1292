//! Which segment the machine uploads next, and how many at once.

use crate::support::rig::{Asked, HOUR, Rig, SEGMENT, allowed, lease, noon, segment};
use kasacam::domain::effect::{Rule, Share};
use kasacam::domain::fragment::SpanEnd;
use kasacam::domain::input::Input;
use kasacam::domain::machine::Start;
use kasacam::domain::outcome::Outcome;
use kasacam::domain::privacy::Recalled;
use kasacam::domain::segment::{Content, Serial};
use kasacam::domain::settings::UploadOrder;
use kasacam::domain::storage::Usage;
use kasacam::domain::time::{Mono, Now};
use std::collections::BTreeMap;
use std::time::Duration;

#[test]
fn at_most_two_uploads_run_at_once_and_the_newest_goes_first() {
    let mut rig = Rig::new(Start { entitlement: Recalled::Missing, ..allowed() });
    let serials: Vec<_> = (0..5).map(|_| rig.seal()).collect();
    assert_eq!(rig.uploads(), 0, "no lease, no upload");
    rig.take();
    rig.lease(lease(5));
    let uploads: Vec<_> =
        rig.asked.iter().filter(|asked| matches!(asked, Asked::Upload(_))).cloned().collect();
    assert_eq!(uploads, [Asked::Upload(serials[4]), Asked::Upload(serials[3])]);
}

/// A camera with this many segments left from the boot before, the last of which ended an hour ago.
fn with_backlog(segments: u64, order: UploadOrder) -> Rig {
    let now = Now { mono: Mono(1_000_000_000_000), system: noon(), synchronised: true };
    let left_over = (0..segments).map(|n| {
        let mut old = segment(n + 1, now);
        old.record.boot = String::from("boot-0");
        old.record.start_utc = noon() - HOUR - SEGMENT * u32::try_from(segments - n).unwrap();
        old
    });
    let usage = Usage { free: Some(1_000_000), ..Usage::default() };
    let mut start = Start { spool: Ok((left_over.collect(), usage)), ..allowed() };
    start.settings.order = order;
    let mut rig = Rig::at(start, now);
    rig.serial = segments;
    rig
}

fn stored(rig: &mut Rig, serial: Serial) {
    rig.give(Input::UploadFinished { serial, outcome: Outcome::Stored, took: Duration::ZERO });
}

fn uploads_in(asked: Vec<Asked>) -> Vec<u64> {
    asked
        .into_iter()
        .filter_map(|a| if let Asked::Upload(serial) = a { Some(serial.0) } else { None })
        .collect()
}

#[test]
fn a_backlog_leaves_an_upload_free_for_the_segment_that_is_sealed_next() {
    let mut rig = with_backlog(10, UploadOrder::Newest);
    assert_eq!(uploads_in(rig.take()), [10]);
    assert_eq!(rig.shares[&Serial(10)], Share::Rest);

    let live = rig.seal();

    assert_eq!(uploads_in(rig.take()), [live.0]);
    assert_eq!(rig.shares[&live], Share::Full);
    stored(&mut rig, live);
    assert_eq!(uploads_in(rig.take()), [0; 0], "the backlog takes no second one");
    stored(&mut rig, Serial(10));
    assert_eq!(uploads_in(rig.take()), [9]);
}

#[test]
fn only_an_upload_beside_which_nothing_waits_is_alone() {
    let mut rig = with_backlog(2, UploadOrder::Newest);
    for serial in [2, 1] {
        assert_eq!(uploads_in(rig.take()), [serial]);
        // Live footage may come while it is sent.
        assert_eq!(rig.shares[&Serial(serial)], Share::Rest);
        stored(&mut rig, Serial(serial));
    }
    let live = rig.seal();
    assert_eq!(rig.shares[&live], Share::Alone);
    let next = rig.seal();
    assert_eq!(rig.shares[&next], Share::Full);

    let mut rig = with_backlog(1, UploadOrder::Oldest);
    assert_eq!(uploads_in(rig.take()), [1]);
    assert_eq!(rig.shares[&Serial(1)], Share::Alone);
}

#[test]
fn what_was_live_is_backlog_once_two_newer_segments_are_sealed() {
    let mut rig = with_backlog(0, UploadOrder::Newest);
    let first: Vec<_> = (0..2).map(|_| rig.seal()).collect();
    assert_eq!(uploads_in(rig.take()), [first[0].0, first[1].0]);
    let later: Vec<_> = (0..3).map(|_| rig.seal()).collect();
    stored(&mut rig, first[0]);
    stored(&mut rig, first[1]);
    let asked = uploads_in(rig.take());
    assert_eq!(asked, [later[2].0, later[1].0], "the newest first");
    assert!(later[1..].iter().all(|serial| rig.shares[serial] == Share::Full));
    stored(&mut rig, later[2]);
    assert_eq!(rig.shares[&later[0]], Share::Rest);
}

#[test]
fn with_the_oldest_first_a_backlog_takes_every_upload_and_goes_in_the_order_of_age() {
    let mut rig = with_backlog(5, UploadOrder::Oldest);
    let live = rig.seal();
    let mut order = uploads_in(rig.take());
    assert_eq!(order, [1, 2]);
    assert!(rig.shares.values().all(|share| *share == Share::Full));
    for at in 0..6 {
        stored(&mut rig, Serial(order[at]));
        order.extend(uploads_in(rig.take()));
    }
    assert_eq!(order, [1, 2, 3, 4, 5, live.0]);
}

#[test]
fn live_footage_is_stored_within_two_segments_while_a_day_of_backlog_drains() {
    const BACKLOG: u64 = 2_880;
    const STEP: Duration = Duration::from_millis(500);
    // `upload.max_rate` at one and a half times the rate of the video: 1,000 bytes in 30 s.
    let bytes_in_step = 1_000.0 * 1.5 * STEP.as_secs_f64() / SEGMENT.as_secs_f64();
    let mut rig = with_backlog(BACKLOG, UploadOrder::Newest);
    let mut left: BTreeMap<Serial, f64> = BTreeMap::new();
    let mut captured: BTreeMap<Serial, Mono> = BTreeMap::new();
    let mut drained = Vec::new();
    let (mut worst, mut live_stored) = (Duration::ZERO, 0);

    // The rest of the rate is half of the video's rate, so that a day of backlog takes two days; the loss
    // here is the rest of the step in which an upload ends.
    for step in 1..=(48 + 4) * 3600 * 2_u32 {
        rig.now.mono = rig.now.mono + STEP;
        rig.now.system = rig.now.system + STEP;
        if step % 60 == 0 {
            let start = rig.now.mono.0 - SEGMENT.as_nanos() as u64;
            captured.insert(rig.seal(), Mono(start));
        }
        for serial in uploads_in(rig.take()) {
            left.insert(Serial(serial), 1_000.0);
        }
        assert!(left.len() <= 2, "{} uploads at once", left.len());
        let weight = |serial: &Serial| if rig.shares[serial] == Share::Rest { 1.0 } else { 8.0 };
        let all: f64 = left.keys().map(weight).sum();
        for (serial, bytes) in &mut left {
            *bytes -= bytes_in_step * weight(serial) / all;
        }
        let done: Vec<Serial> = left.iter().filter(|(_, b)| **b <= 0.0).map(|(serial, _)| *serial).collect();
        for serial in done {
            left.remove(&serial);
            match captured.get(&serial) {
                Some(start) => {
                    worst = worst.max(rig.now.mono.since(*start));
                    live_stored += 1;
                }
                None => drained.push(serial.0),
            }
            stored(&mut rig, serial);
        }
    }

    assert!(worst <= SEGMENT * 2, "from the first frame to its proof of storage: {worst:?}");
    assert!(live_stored >= 5_990, "{live_stored}");
    assert!(
        drained.iter().copied().eq((1..=BACKLOG).rev()),
        "all of it, the newest first: {}",
        drained.len()
    );
}

#[test]
fn the_end_of_a_span_goes_after_its_footage() {
    let mut rig = Rig::new(allowed());
    rig.take();
    let footage = rig.seal();
    let mut end = rig.segment();
    end.content = Content::End { reason: SpanEnd::Privacy };
    let end_serial = end.serial;
    rig.give(Input::Sealed(end));
    assert_eq!(rig.take(), [Asked::Upload(footage)]);
    rig.give(Input::UploadFinished { serial: footage, outcome: Outcome::Stored, took: Duration::ZERO });
    assert_eq!(rig.take(), [Asked::Forget(footage, Rule::Stored), Asked::Upload(end_serial)]);
}
