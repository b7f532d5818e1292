//! What the machine does, input by input.

use crate::support::rig::{
    Answers, Asked, HOUR, Rig, SEGMENT, allowed, blank, choice, lease, noon, segment, settings,
};
use kasacam::domain::effect::{Event, Fact, Report, Rule, Share, StopManner};
use kasacam::domain::entitlement::{Lease, Next, Status, Terms};
use kasacam::domain::fragment::{Epoch, SpanEnd};
use kasacam::domain::input::{AckToken, FaultKind, Input};
use kasacam::domain::outcome::{Outcome, Scope};
use kasacam::domain::policy::WhenFull;
use kasacam::domain::privacy::{Known, Privacy, PrivacyChoice, Shutter};
use kasacam::domain::segment::{Content, RecordClock, Serial};
use kasacam::domain::settings::UploadOrder;
use kasacam::domain::storage::Usage;
use kasacam::domain::time::{Mono, Now, Utc};
use std::collections::BTreeMap;
use std::time::Duration;

fn opened(rig: &Rig) -> bool {
    rig.asked.iter().any(|asked| matches!(asked, Asked::Open(..)))
}

#[test]
fn a_camera_that_knows_nothing_opens_nothing() {
    let mut rig = Rig::new(blank());
    rig.pass(2 * HOUR);
    assert!(!opened(&rig));
}

#[test]
fn an_unreadable_choice_or_latch_opens_nothing() {
    let mut choice_lost =
        Rig::new(kasacam::domain::machine::Start { privacy: Known::Unreadable, ..allowed() });
    let mut latch_lost = Rig::new(kasacam::domain::machine::Start { latch: Known::Unreadable, ..allowed() });
    choice_lost.pass(HOUR);
    latch_lost.pass(HOUR);
    assert!(!opened(&choice_lost) && !opened(&latch_lost));
}

#[test]
fn a_camera_that_may_record_opens_once_and_stays_open() {
    let mut rig = Rig::new(allowed());
    rig.pass(48 * HOUR);
    let opens = rig.asked.iter().filter(|asked| matches!(asked, Asked::Open(..))).count();
    assert_eq!(opens, 1);
    assert!(rig.open.is_some());
}

#[test]
fn do_not_record_closes_first_then_keeps_then_acknowledges() {
    let mut rig = Rig::new(allowed());
    rig.take();
    let ack = rig.privacy(2, true);
    assert_eq!(
        rig.take(),
        [
            Asked::Close(StopManner::Drop, SpanEnd::Privacy),
            Asked::Raise(Fact::Privacy { version: 2, jws: String::from("privacy-2") }),
            Asked::Keep(Fact::Privacy { version: 2, jws: String::from("privacy-2") }),
            Asked::Flush,
            Asked::Ack(ack),
            Asked::Lift(Fact::Privacy { version: 2, jws: String::new() }),
        ]
    );
}

#[test]
fn do_not_record_holds_though_the_disk_is_away_and_is_not_acknowledged() {
    let mut rig = Rig::new(allowed());
    rig.disk_is_away = true;
    rig.take();
    rig.privacy(2, true);
    let ticket = rig.tickets.pop().expect("a write was asked for");
    rig.give(Input::Persisted { ticket, result: Err(String::from("EIO")) });
    assert!(rig.open.is_none());
    assert!(!rig.asked.iter().any(|asked| matches!(asked, Asked::Ack(_))));
    rig.disk_is_away = false;
    rig.pass(Duration::from_secs(60));
    assert!(rig.asked.iter().any(|asked| matches!(asked, Asked::Ack(_))), "it is tried until it is durable");
}

#[test]
fn permission_is_durable_before_the_device_is_opened() {
    let mut rig =
        Rig::new(kasacam::domain::machine::Start { privacy: Known::Is(choice(1, true)), ..allowed() });
    rig.disk_is_away = true;
    rig.privacy(2, false);
    assert!(!opened(&rig));
    let ticket = rig.tickets.pop().expect("a write was asked for");
    rig.give(Input::Persisted { ticket, result: Ok(()) });
    assert!(opened(&rig));
}

#[test]
fn a_withdrawn_permission_never_takes_effect_though_its_write_succeeds_late() {
    let mut rig =
        Rig::new(kasacam::domain::machine::Start { privacy: Known::Is(choice(1, true)), ..allowed() });
    rig.disk_is_away = true;
    rig.privacy(2, false);
    let permission = rig.tickets.pop().expect("a write was asked for");
    rig.privacy(3, true);
    rig.give(Input::Persisted { ticket: permission, result: Ok(()) });
    assert!(!opened(&rig));
}

#[test]
fn an_older_version_never_wins_and_an_equal_one_changes_nothing() {
    let mut rig = Rig::new(allowed());
    rig.privacy(9, true);
    rig.take();
    let old = rig.privacy(8, false);
    assert_eq!(rig.take(), [Asked::Ack(old)]);
    assert!(rig.events.iter().any(|e| matches!(e, Event::Rejected { reason: "stale_version", .. })));
    let equal = rig.privacy(9, true);
    assert_eq!(rig.take(), [Asked::Ack(equal)]);
    let contradiction = rig.privacy(9, false);
    assert_eq!(rig.take(), [Asked::Ack(contradiction)]);
    assert!(rig.events.iter().any(|e| matches!(e, Event::Rejected { reason: "conflicting_version", .. })));
    assert!(rig.open.is_none());
}

#[test]
fn a_permission_from_the_future_is_refused_where_the_time_is_known() {
    let mut rig = Rig::new(blank());
    let tomorrow = rig.now.system + 25 * HOUR;
    let ack = |delivery| AckToken { connection: 9, delivery };
    let permission = |version| PrivacyChoice { issued_at: tomorrow, ..choice(version, false) };
    let give_permission = |rig: &mut Rig, version: u64| {
        rig.give(Input::Privacy {
            choice: permission(version),
            jws: String::from("p"),
            retained: false,
            ack: ack(version),
        });
    };
    let mut early = lease(1);
    early.issued_at = tomorrow;

    rig.give(Input::Entitlement {
        lease: early.clone(),
        jws: String::from("l"),
        retained: false,
        ack: ack(50),
    });
    give_permission(&mut rig, 1);
    let refused = rig.events.iter().filter(|e| matches!(e, Event::Rejected { reason: "issued_ahead", .. }));
    assert_eq!(refused.count(), 2);
    assert_eq!(rig.machine.privacy(), Privacy::Unknown);

    let forbidden = PrivacyChoice { issued_at: tomorrow, ..choice(2, true) };
    rig.give(Input::Privacy { choice: forbidden, jws: String::from("f"), retained: false, ack: ack(2) });
    assert_eq!(rig.machine.privacy(), Privacy::DoNotRecord, "a stop is believed whatever its time");

    rig.now.synchronised = false;
    rig.give(Input::Entitlement { lease: early, jws: String::from("l"), retained: false, ack: ack(51) });
    give_permission(&mut rig, 3);
    assert!(rig.open.is_some(), "without a clock to be trusted nobody can tell");
}

#[test]
fn the_latch_closes_and_only_the_latch_is_lifted() {
    let mut rig = Rig::new(allowed());
    rig.give(Input::Latch { closed: true });
    assert!(rig.open.is_none());
    rig.privacy(2, true);
    rig.give(Input::Latch { closed: false });
    assert!(rig.open.is_none(), "the app's choice stands");
    rig.privacy(3, false);
    assert!(rig.open.is_some());
}

#[test]
fn the_network_never_alters_capture() {
    let mut rig = Rig::new(allowed());
    rig.take();
    rig.give(Input::Connected);
    rig.give(Input::Disconnected { why: String::from("gone") });
    rig.pass(HOUR);
    let serial = rig.seal();
    let outcome = Outcome::Retry { scope: Scope::Store, after: None, why: String::from("refused") };
    rig.give(Input::UploadFinished { serial, outcome, took: Duration::ZERO });
    rig.pass(HOUR);
    assert!(!rig.asked.iter().any(|asked| matches!(asked, Asked::Open(..) | Asked::Close(..))));
}

#[test]
fn reports_are_told_once_and_again_after_a_connection() {
    let mut rig = Rig::new(allowed());
    rig.reports.clear();
    rig.pass(Duration::from_secs(30));
    rig.reports.retain(|report| !matches!(report, Report::Telemetry(_)));
    assert!(rig.reports.is_empty(), "nothing changed, nothing is told");
    rig.give(Input::Connected);
    let privacy = rig.reports.iter().filter(|r| matches!(r, Report::Privacy(_))).count();
    let entitlement = rig.reports.iter().filter(|r| matches!(r, Report::Entitlement(_))).count();
    assert_eq!((privacy, entitlement), (1, 1));
}

#[test]
fn a_device_that_fails_is_tried_again_within_five_seconds_for_ever() {
    let mut rig = Rig::new(allowed());
    for _ in 0..50 {
        rig.fault(FaultKind::DeviceMissing);
        rig.take();
        rig.pass(Duration::from_secs(5));
        assert!(opened(&rig));
    }
    let told = rig.events.iter().filter(|e| matches!(e, Event::CaptureFailed { .. })).count();
    assert_eq!(told, 1, "the cloud hears of it once");
    let openings = |rig: &Rig| rig.events.iter().filter(|e| matches!(e, Event::CaptureOpened { .. })).count();
    let closings = |rig: &Rig| rig.events.iter().filter(|e| matches!(e, Event::CaptureClosed { .. })).count();
    assert_eq!((openings(&rig), closings(&rig)), (1, 1), "an attempt is no opening");
    assert_eq!(rig.machine.privacy_report(rig.now), None, "nothing is certain");
    assert!(rig.machine.capture_fault().is_some());

    let (epoch, _) = rig.open.expect("capture is open");
    rig.give(Input::CaptureStarted { epoch });
    assert_eq!((openings(&rig), closings(&rig)), (2, 1), "one that plays is");
    assert_eq!(rig.machine.capture_fault(), None);
    assert_eq!(rig.machine.privacy_report(rig.now).map(|report| report.capture), Some("open".into()));
    rig.fault(FaultKind::DeviceMissing);
    assert_eq!((openings(&rig), closings(&rig)), (2, 2));
}

#[test]
fn a_file_that_has_ended_is_not_recorded_again() {
    let mut rig = Rig::new(allowed());
    rig.fault(FaultKind::EndOfStream);
    rig.take();
    rig.pass(24 * HOUR);
    assert!(!opened(&rig));
}

#[test]
fn the_plans_lines_are_told_not_the_boards() {
    let mut large = lease(2);
    large.terms.features.max_height = 2160;
    let mut rig = Rig::new(Start { entitlement: Known::Is(large), ..allowed() });
    let (epoch, settings) = rig.open.unwrap();
    assert_eq!((settings.max_height, crate::support::rig::settings().board_height), (2160, 1080));
    assert_eq!(rig.machine.telemetry(rig.now).capture.max_height, Some(2160));
    let mut larger = lease(3);
    larger.terms.features.max_height = 4320;
    rig.lease(larger);
    assert_eq!(rig.open.unwrap().0, epoch, "the board has no more lines: nothing is closed for it");
    rig.lease(lease(4));
    assert_eq!(rig.open.unwrap().0, epoch);
}

#[test]
fn a_picture_that_exceeds_the_plan_is_told_once_and_recorded_as_soon_as_a_plan_allows_it() {
    let mut small = lease(2);
    small.terms.features.max_height = 480;
    let mut rig = Rig::new(Start { entitlement: Known::Is(small), ..allowed() });
    let mut opened = 1;
    rig.fault(FaultKind::ExceedsPlan);
    // A day, minute by minute: the device is left alone, but for a look each hour.
    for _ in 0..24 * 60 {
        rig.pass(Duration::from_secs(60));
        if rig.open.is_some() {
            opened += 1;
            rig.fault(FaultKind::ExceedsPlan);
        }
    }
    assert!((20..=25).contains(&opened), "{opened} times opened");
    let told = rig.events.iter().filter(|e| matches!(e, Event::CaptureFailed { .. })).count();
    assert_eq!(told, 1);
    rig.lease(lease(3));
    assert!(rig.open.is_some(), "the new plan takes effect at once");
}

#[test]
fn a_source_of_another_codec_is_tried_once_a_minute_and_told_of_once() {
    let mut rig = Rig::new(allowed());
    for _ in 0..3 {
        rig.fault(FaultKind::WrongCodec);
        rig.pass(Duration::from_secs(55));
        assert!(rig.open.is_none(), "not yet");
        rig.pass(Duration::from_secs(10));
        assert!(rig.open.is_some(), "somebody may have set it right");
    }
    let told = rig.events.iter().filter(|e| matches!(e, Event::CaptureFailed { .. })).count();
    assert_eq!(told, 1);
}

#[test]
fn every_run_has_a_greater_epoch() {
    let mut rig = Rig::new(allowed());
    let mut epochs = Vec::new();
    for version in 2..40 {
        if let Some((epoch, _)) = rig.open {
            epochs.push(epoch);
        }
        rig.privacy(version, version % 2 == 0);
    }
    assert!(epochs.windows(2).all(|pair| pair[0] < pair[1]), "{epochs:?}");
    assert_eq!(epochs.first(), Some(&Epoch(1)));
}

#[test]
fn a_segment_is_forgotten_only_when_it_is_stored() {
    let mut rig = Rig::new(allowed());
    rig.take();
    let serial = rig.seal();
    assert_eq!(rig.take(), [Asked::Upload(serial)]);
    let unproved = Outcome::Retry { scope: Scope::Segment, after: None, why: String::from("no checksum") };
    rig.give(Input::UploadFinished { serial, outcome: unproved, took: Duration::ZERO });
    assert_eq!(rig.take(), []);
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.take(), [Asked::Upload(serial)]);
    rig.give(Input::UploadFinished { serial, outcome: Outcome::Stored, took: Duration::ZERO });
    assert_eq!(rig.take(), [Asked::Forget(serial, Rule::Stored)]);
}

#[test]
fn an_hour_without_a_store_costs_at_most_sixty_requests_and_then_all_is_sent() {
    let mut rig = Rig::new(allowed());
    for _ in 0..20 {
        rig.seal();
    }
    let mut requests = 0;
    let end = rig.now.mono + HOUR;
    while rig.now.mono < end {
        rig.pass(Duration::from_millis(200));
        for asked in rig.take() {
            if let Asked::Upload(serial) = asked {
                requests += 1;
                let outcome =
                    Outcome::Retry { scope: Scope::Store, after: None, why: String::from("refused") };
                rig.give(Input::UploadFinished { serial, outcome, took: Duration::ZERO });
            }
        }
    }
    assert!((5..=60).contains(&requests), "{requests} requests");
    let mut stored = 0;
    for _ in 0..4000 {
        rig.pass(Duration::from_millis(200));
        for asked in rig.take() {
            if let Asked::Upload(serial) = asked {
                stored += 1;
                rig.give(Input::UploadFinished { serial, outcome: Outcome::Stored, took: Duration::ZERO });
            }
        }
    }
    assert_eq!(stored, 20);
}

#[test]
fn after_a_short_outage_of_the_store_uploads_go_on_within_seconds() {
    let outage = Duration::from_secs(8);
    let mut latest = Duration::ZERO;
    for seed in 0..200 {
        let mut rig = Rig::new(Start { seed, ..allowed() });
        rig.seal();
        rig.seal();
        let away = |_| Outcome::Retry { scope: Scope::Store, after: None, why: String::from("refused") };
        let (sent, _) = answered(&mut rig, outage, away);
        assert!(sent.len() >= 3, "seed {seed}: {sent:?}");
        let back = rig.now.mono;
        while rig.uploads() == 0 {
            rig.pass(Duration::from_millis(200));
            assert!(rig.now.mono.since(back) < HOUR, "seed {seed}: never");
        }
        latest = latest.max(rig.now.mono.since(back));
    }
    assert!(latest <= Duration::from_secs(6), "{latest:?} after an outage of {outage:?}");
}

/// Lets a store answer for this long; returns the serials of the uploads, and the events.
fn answered(rig: &mut Rig, time: Duration, answer: impl Fn(Serial) -> Outcome) -> (Vec<Serial>, Vec<Event>) {
    rig.events.clear();
    let (mut sent, mut events) = (Vec::new(), Vec::new());
    let end = rig.now.mono + time;
    while rig.now.mono < end {
        rig.pass(Duration::from_millis(200));
        for asked in rig.take() {
            if let Asked::Upload(serial) = asked {
                sent.push(serial);
                let outcome = answer(serial);
                rig.give(Input::UploadFinished { serial, outcome, took: Duration::ZERO });
            }
        }
        events.append(&mut rig.events);
    }
    (sent, events)
}

fn refused(_: Serial) -> Outcome {
    let why = String::from("HTTP 400 InvalidArgument");
    Outcome::Retry { scope: Scope::Segment, after: None, why }
}

fn stalls(events: &[Event]) -> Vec<&str> {
    events
        .iter()
        .filter_map(|event| if let Event::UploadStalled { why } = event { Some(why.as_str()) } else { None })
        .collect()
}

#[test]
fn a_store_that_refuses_one_segment_after_the_other_is_left_alone_and_told_with_its_reason() {
    let mut rig = Rig::new(allowed());
    for _ in 0..20 {
        rig.seal();
    }
    let (sent, events) = answered(&mut rig, HOUR, refused);
    assert!((5..=60).contains(&sent.len()), "{} bodies were sent for nothing", sent.len());
    let stalls = stalls(&events);
    assert_eq!(stalls.len(), 1, "{events:?}");
    assert!(stalls[0].contains("HTTP 400 InvalidArgument"), "{stalls:?}");
    // Once one is stored, all are sent at once: none waits because it was refused before.
    let end = rig.now.mono + Duration::from_secs(420);
    let (mut sent, mut events) = (Vec::new(), Vec::new());
    while sent.is_empty() && rig.now.mono < end {
        (sent, events) = answered(&mut rig, Duration::from_millis(200), |_| Outcome::Stored);
    }
    let (rest, later) = answered(&mut rig, Duration::from_secs(5), |_| Outcome::Stored);
    assert_eq!(sent.len() + rest.len(), 20);
    events.extend(later);
    assert_eq!(events.iter().filter(|event| **event == Event::UploadResumed).count(), 1, "{events:?}");
}

/// The cloud that signs uploads is away for an hour: reported once, nothing is lost, and uploads continue
/// with the session.
#[test]
fn an_hour_without_the_issuer_of_grants_ends_with_the_session_that_comes_up() {
    for granted in [true, false] {
        let mut rig = Rig::new(Start {
            settings: kasacam::domain::settings::Settings { granted, ..settings() },
            ..allowed()
        });
        for _ in 0..20 {
            rig.seal();
        }
        let why = "the cloud gave no grant within 60 s";
        let none = |_| Outcome::Retry { scope: Scope::Store, after: None, why: why.into() };
        let (sent, events) = answered(&mut rig, HOUR, none);
        assert!((5..=60).contains(&sent.len()), "{}", sent.len());
        assert_eq!(stalls(&events), [why], "told once");
        assert!(!events.iter().any(|event| matches!(event, Event::SegmentPurged { .. })), "{events:?}");
        // The last attempt has just failed: the wait of the store is minutes long.
        let serial = loop {
            let sent = |asked: &Asked| if let Asked::Upload(serial) = asked { Some(*serial) } else { None };
            if let Some(serial) = rig.take().iter().find_map(sent) {
                break serial;
            }
            rig.pass(Duration::from_millis(200));
        };
        let outcome = Outcome::Retry { scope: Scope::Store, after: None, why: why.into() };
        rig.give(Input::UploadFinished { serial, outcome, took: Duration::ZERO });
        rig.disconnect();
        rig.take();
        rig.connect(Some(choice(1, false)));
        assert_eq!(rig.uploads() > 0, granted, "only what the session was in the way of");
        let (stored, _) = answered(&mut rig, HOUR, |_| Outcome::Stored);
        assert!(stored.len() >= 19, "{}", stored.len());
    }
}

#[test]
fn segments_that_are_refused_do_not_hold_back_those_that_are_not() {
    let mut rig = Rig::new(allowed());
    let serials: Vec<_> = (0..20).map(|_| rig.seal()).collect();
    // The newest go first.
    let bad = serials[15..].to_vec();
    let stored = |serial: Serial| if bad.contains(&serial) { refused(serial) } else { Outcome::Stored };
    let (sent, events) = answered(&mut rig, Duration::from_secs(300), stored);
    let good = sent.iter().filter(|serial| !bad.contains(serial)).count();
    assert_eq!(good, 15, "{sent:?}");
    let told = events.iter().filter(|event| matches!(event, Event::UploadRefused { .. })).count();
    assert!(told >= 5, "{events:?}");
}

#[test]
fn one_failure_of_the_store_is_not_told() {
    let mut rig = Rig::new(allowed());
    rig.seal();
    let fails = std::cell::Cell::new(1);
    let once = |_: Serial| {
        if fails.replace(0) == 1 {
            Outcome::Retry { scope: Scope::Store, after: None, why: String::from("HTTP 503 SlowDown") }
        } else {
            Outcome::Stored
        }
    };
    let (sent, events) = answered(&mut rig, Duration::from_secs(10), once);
    assert_eq!(sent.len(), 2);
    assert!(stalls(&events).is_empty() && !events.contains(&Event::UploadResumed), "{events:?}");
}

#[test]
fn a_store_that_asks_for_patience_now_and_then_is_not_told_as_stalled() {
    let mut rig = Rig::new(allowed());
    for _ in 0..40 {
        rig.seal();
    }
    let asked = std::cell::Cell::new(0);
    let every_other = |_: Serial| {
        asked.set(asked.get() + 1);
        if asked.get() % 2 == 1 {
            let after = Some(Duration::from_secs(1));
            Outcome::Retry { scope: Scope::Store, after, why: String::from("HTTP 503 SlowDown") }
        } else {
            Outcome::Stored
        }
    };
    let (sent, events) = answered(&mut rig, Duration::from_secs(300), every_other);
    assert!(sent.len() >= 80, "{} attempts", sent.len());
    assert!(stalls(&events).is_empty() && !events.contains(&Event::UploadResumed), "{events:?}");
}

#[test]
fn uploads_that_fail_together_are_one_failure_of_the_store() {
    let away = || Outcome::Retry { scope: Scope::Store, after: None, why: String::from("reset") };
    // The second had begun before the first failed, however long it then took to fail.
    for later in [Duration::ZERO, Duration::from_millis(400), Duration::from_secs(20)] {
        let mut rig = Rig::new(allowed());
        let (first, second) = (rig.seal(), rig.seal());
        rig.pass(Duration::from_secs(5));
        assert_eq!(rig.uploads(), 2);
        rig.give(Input::UploadFinished { serial: first, outcome: away(), took: Duration::from_secs(5) });
        if !later.is_zero() {
            rig.pass(later);
        }
        rig.take();
        let took = Duration::from_secs(5) + later;
        rig.give(Input::UploadFinished { serial: second, outcome: away(), took });
        assert!(stalls(&rig.events).is_empty(), "one outage of a moment is told after {later:?}");
        // The ceiling after one failure is 2 s, after two it is 4 s.
        rig.pass(Duration::from_secs(2));
        let next = rig.take();
        assert!(next.iter().any(|asked| matches!(asked, Asked::Upload(_))), "{later:?}: {next:?}");
        // The next one that fails began after it, and counts.
        let Some(Asked::Upload(serial)) = next.first() else { panic!("{next:?}") };
        rig.give(Input::UploadFinished { serial: *serial, outcome: away(), took: Duration::from_millis(1) });
        assert_eq!(stalls(&rig.events), ["reset"], "after {later:?}");
    }
}

#[test]
fn what_the_store_asks_for_counts_whichever_upload_hears_it() {
    let mut rig = Rig::new(allowed());
    let (first, second) = (rig.seal(), rig.seal());
    rig.pass(Duration::from_secs(1));
    for (serial, seconds) in [(first, 1), (second, 60)] {
        let after = Some(Duration::from_secs(seconds));
        let outcome = Outcome::Retry { scope: Scope::Store, after, why: String::from("HTTP 503 SlowDown") };
        rig.give(Input::UploadFinished { serial, outcome, took: Duration::from_secs(1) });
    }
    rig.take();
    rig.pass(Duration::from_secs(59));
    assert_eq!(rig.uploads(), 0);
    rig.pass(Duration::from_secs(2));
    assert!(rig.uploads() > 0);
}

#[test]
fn at_most_two_uploads_run_at_once_and_the_newest_goes_first() {
    let mut rig = Rig::new(Start { entitlement: Known::Missing, ..allowed() });
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
        let weight = |serial: &Serial| if rig.shares[serial] == Share::Full { 8.0 } else { 1.0 };
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

    assert!(worst <= SEGMENT * 2, "from the first picture to its proof of storage: {worst:?}");
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

#[test]
fn suspension_holds_what_is_pending_and_purges_it_after_the_hold() {
    let mut rig = Rig::new(Start { privacy: Known::Is(choice(1, true)), ..allowed() });
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

#[test]
fn a_stop_drains_flushes_tells_and_leaves() {
    let mut rig = Rig::new(allowed());
    rig.take();
    rig.reports.clear();
    rig.give(Input::Shutdown);
    rig.pass(Duration::from_secs(1));
    let asked: Vec<_> =
        rig.take().into_iter().filter(|a| !matches!(a, Asked::Keep(Fact::Floor(_)))).collect();
    assert_eq!(asked, [Asked::Close(StopManner::Drain, SpanEnd::Shutdown), Asked::Flush, Asked::Exit]);
    assert!(rig.reports.iter().any(|report| matches!(report, Report::Telemetry(_))));
}

#[test]
fn a_stop_sends_the_end_of_the_span_once_its_footage_is_gone() {
    let mut rig = Rig::new(allowed());
    let footage = rig.seal();
    let mut end = rig.segment();
    end.content = Content::End { reason: SpanEnd::Shutdown };
    let serial = end.serial;
    rig.give(Input::Shutdown);
    rig.give(Input::Sealed(end));
    rig.spool_is_slow = true;
    rig.give(Input::UploadFinished { serial: footage, outcome: Outcome::Stored, took: Duration::ZERO });
    assert!(!rig.asked.contains(&Asked::Exit), "the end of the span has not gone");
    rig.give(Input::Forgotten { serial: footage });
    assert!(rig.asked.contains(&Asked::Upload(serial)));
    assert!(!rig.asked.contains(&Asked::Exit));
    rig.spool_is_slow = false;
    rig.give(Input::UploadFinished { serial, outcome: Outcome::Stored, took: Duration::ZERO });
    assert!(rig.asked.contains(&Asked::Exit));
}

#[test]
fn a_stop_does_not_wait_for_a_store_that_is_away() {
    let mut rig = Rig::new(allowed());
    rig.seal();
    rig.give(Input::Shutdown);
    assert!(!rig.asked.contains(&Asked::Exit), "an upload is under way");
    rig.pass(Duration::from_secs(5));
    assert!(rig.asked.contains(&Asked::Exit));
}

#[test]
fn privacy_outranks_a_stop_that_drains() {
    let mut rig = Rig::new(allowed());
    let (epoch, _) = rig.open.take().expect("recording");
    rig.take();
    rig.give(Input::Shutdown);
    rig.privacy(2, true);
    let closes: Vec<_> =
        rig.asked.iter().filter(|asked| matches!(asked, Asked::Close(..))).cloned().collect();
    assert_eq!(
        closes,
        [
            Asked::Close(StopManner::Drain, SpanEnd::Shutdown),
            Asked::Close(StopManner::Drop, SpanEnd::Privacy)
        ]
    );
    rig.give(Input::CaptureClosed { epoch, at: rig.now.mono, fault: None });
    assert!(rig.open.is_none());
}

use kasacam::domain::machine::Start;

#[test]
fn a_shutter_closes_what_the_owner_allows_and_opens_nothing_that_he_does_not() {
    let mut rig = Rig::new(kasacam::domain::machine::Start { shutter: Shutter::Unknown, ..allowed() });
    assert!(rig.open.is_none(), "a shutter that was not read yet may be closed");
    rig.give(Input::Shutter(Shutter::Open));
    assert!(rig.open.is_some());
    rig.give(Input::Shutter(Shutter::Closed));
    assert!(rig.open.is_none());
    assert!(rig.machine.privacy_standing(rig.now).latch);
    rig.give(Input::Latch { closed: true });
    rig.give(Input::Shutter(Shutter::Open));
    assert!(rig.open.is_none(), "the latch stands");
    rig.give(Input::Latch { closed: false });
    rig.privacy(2, true);
    rig.give(Input::Shutter(Shutter::Closed));
    rig.give(Input::Shutter(Shutter::Open));
    assert!(rig.open.is_none(), "the app's choice stands");
    rig.privacy(3, false);
    assert!(rig.open.is_some());
    rig.give(Input::Shutter(Shutter::Unknown));
    assert!(rig.open.is_none(), "one that can be read no more");
}

#[test]
fn a_press_of_the_button_sets_the_latch_and_the_next_one_lifts_it() {
    let mut rig = Rig::new(allowed());
    rig.give(Input::LatchPressed);
    assert!(rig.open.is_none());
    assert_eq!(rig.machine.privacy(), Privacy::DoNotRecord);
    rig.give(Input::LatchPressed);
    assert!(rig.open.is_some());
    rig.privacy(2, true);
    rig.give(Input::LatchPressed);
    rig.give(Input::LatchPressed);
    assert!(rig.open.is_none(), "the app's choice stands");
}

#[test]
fn footage_of_another_boot_ages_only_by_a_clock_that_was_trusted() {
    for (clock, goes) in
        [(RecordClock::Trusted, true), (RecordClock::Plausible, false), (RecordClock::Unset, false)]
    {
        let now = Now { mono: Mono(1_000_000_000_000), system: noon(), synchronised: true };
        let mut old = segment(7, now);
        old.record.boot = String::from("boot-0");
        old.record.clock = clock;
        // With a clock restored from before forty days without power: the footage may be minutes old.
        old.record.start_utc = noon() - 40 * 24 * HOUR;
        let usage = Usage { free: Some(1_000_000), ..Usage::default() };
        let rig =
            Rig::at(kasacam::domain::machine::Start { spool: Ok((vec![old], usage)), ..allowed() }, now);
        let purged = rig.asked.contains(&Asked::Forget(Serial(7), Rule::HistoryExceeded));
        assert_eq!(purged, goes, "{clock:?}");
    }
}
