//! What the machine does with choices, devices and stops, input by input.

use crate::support::rig::{Asked, HOUR, Rig, allowed, blank, choice, lease, noon, segment};
use kasacam::domain::effect::{Event, Fact, Report, Rule, StopManner};
use kasacam::domain::fragment::{Epoch, SpanEnd};
use kasacam::domain::input::{AckToken, FaultKind, Input};
use kasacam::domain::machine::Start;
use kasacam::domain::outcome::{Outcome, Scope};
use kasacam::domain::privacy::{Privacy, PrivacyChoice, Recalled, Shutter};
use kasacam::domain::segment::{Content, RecordClock, Serial};
use kasacam::domain::storage::Usage;
use kasacam::domain::time::{Mono, Now};
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
        Rig::new(kasacam::domain::machine::Start { privacy: Recalled::Unreadable, ..allowed() });
    let mut latch_lost =
        Rig::new(kasacam::domain::machine::Start { latch: Recalled::Unreadable, ..allowed() });
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
        Rig::new(kasacam::domain::machine::Start { privacy: Recalled::Is(choice(1, true)), ..allowed() });
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
        Rig::new(kasacam::domain::machine::Start { privacy: Recalled::Is(choice(1, true)), ..allowed() });
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
    let mut rig = Rig::new(Start { entitlement: Recalled::Is(large), ..allowed() });
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
    let mut rig = Rig::new(Start { entitlement: Recalled::Is(small), ..allowed() });
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
