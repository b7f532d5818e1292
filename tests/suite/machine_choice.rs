//! A choice counts from when it was made; footage captured while no choice could be heard waits; the stricter
//! choice is in force; closed means closed.

use crate::support::rig::{Asked, HOUR, Rig, SEGMENT, allowed, blank, choice, noon, segment};
use kasacam::domain::effect::{ClosingStep, Event, Fact, Report, Rule, StopManner, Word};
use kasacam::domain::fragment::SpanEnd;
use kasacam::domain::input::Input;
use kasacam::domain::machine::Start;
use kasacam::domain::outcome::Outcome;
use kasacam::domain::privacy::{PrivacyChoice, Recalled};
use kasacam::domain::segment::{Content, RecordClock, Segment, Serial};
use kasacam::domain::time::{Mono, Now, Utc};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

fn now() -> Now {
    Now { mono: Mono(1_000_000_000_000), system: noon(), synchronised: true }
}

fn made(version: u64, do_not_record: bool, issued_at: Utc) -> PrivacyChoice {
    PrivacyChoice { issued_at, ..choice(version, do_not_record) }
}

/// As the broker's retained message, on a live session.
fn hear(rig: &mut Rig, choice: PrivacyChoice) {
    let ack = rig.ack();
    rig.give(Input::Privacy { jws: format!("privacy-{}", choice.version), choice, retained: true, ack });
}

/// A choice that was made at a time that `issued` computes from the current time.
fn hear_made(rig: &mut Rig, version: u64, do_not_record: bool, issued: impl Fn(Utc) -> Utc) {
    let issued_at = issued(rig.now.system);
    hear(rig, made(version, do_not_record, issued_at));
}

fn uploads(rig: &mut Rig) -> Vec<Serial> {
    rig.take()
        .into_iter()
        .filter_map(|asked| if let Asked::Upload(it) = asked { Some(it) } else { None })
        .collect()
}

fn purged(rig: &Rig) -> Vec<Serial> {
    let after = |asked: &Asked| match asked {
        Asked::Forget(serial, Rule::AfterChoice) => Some(*serial),
        _ => None,
    };
    rig.asked.iter().filter_map(after).collect()
}

/// An hour without the broker, with a segment every ten minutes.
fn away(rig: &mut Rig) -> Vec<Serial> {
    rig.disconnect();
    (0..6)
        .map(|_| {
            rig.pass(10 * MINUTE);
            rig.seal()
        })
        .collect()
}

// ---- a choice counts from when it was made ----------------------------------------------------

#[test]
fn what_was_captured_after_a_choice_that_was_heard_late_is_purged_and_what_was_before_is_kept() {
    let mut rig = Rig::at(allowed(), now());
    let serials = away(&mut rig);
    rig.take();
    let chosen = rig.now.system - 25 * MINUTE;
    rig.give(Input::Connected);

    hear(&mut rig, made(2, true, chosen));

    assert_eq!(purged(&rig), serials[3..], "the one before them ended five minutes before the choice");
    assert!(
        rig.events.iter().any(|event| matches!(event, Event::SegmentPurged { rule: Rule::AfterChoice, .. }))
    );
    assert_eq!(uploads(&mut rig), [serials[2]], "the rest is the owner's own");
}

#[test]
fn the_segment_that_straddles_the_choice_is_cut_back_to_it_and_its_end_moves_with_it() {
    let mut rig = Rig::at(allowed(), now());
    rig.disconnect();
    rig.pass(HOUR);
    let serial = rig.seal();
    let mut end = rig.segment();
    end.content = Content::End { reason: SpanEnd::Source };
    (end.record.start_mono, end.record.start_utc) = (rig.now.mono.0, rig.now.system);
    let end_serial = end.serial;
    rig.give(Input::Sealed(end));
    rig.take();
    rig.give(Input::Connected);

    hear_made(&mut rig, 2, true, |now| now - Duration::from_secs(10));

    let asked: Vec<Asked> = rig
        .take()
        .into_iter()
        .filter(|it| matches!(it, Asked::Cut(..) | Asked::Upload(_) | Asked::MoveEnd(..)))
        .collect();
    assert_eq!(asked, [Asked::Cut(serial, SEGMENT - Duration::from_secs(10))]);

    // Cut back to whole fragments.
    let mut left = segment(serial.0, rig.now);
    left.bytes = 600;
    left.content = Content::Footage { duration: 18_000_000_000, codecs: String::from("avc1.64001f") };
    let record = left.record.clone();
    rig.give(Input::Cut { serial, left: Some(left) });
    assert!(rig.events.iter().any(|event| matches!(event, Event::SegmentCut { kept_ms: 18_000, .. })));
    let asked = rig.take();
    assert!(asked.contains(&Asked::Upload(serial)), "{asked:?}");
    let moved = asked
        .iter()
        .find_map(|it| if let Asked::MoveEnd(it, record) = it { Some((it, record)) } else { None });
    let (moved, to) = moved.expect("the end of the span is moved");
    assert_eq!(*moved, end_serial);
    assert_eq!(to.start_utc, record.start_utc + Duration::from_secs(18));
    assert_eq!(to.n, record.n + 1);
    assert!(!asked.contains(&Asked::Upload(end_serial)));
}

#[test]
fn a_segment_of_which_no_fragment_is_from_before_the_choice_goes_whole() {
    let mut rig = Rig::at(allowed(), now());
    rig.disconnect();
    rig.pass(HOUR);
    let serial = rig.seal();
    rig.give(Input::Connected);
    hear_made(&mut rig, 2, true, |now| now - Duration::from_secs(29));
    rig.give(Input::Cut { serial, left: None });
    assert_eq!(purged(&rig), [serial]);
}

#[test]
fn what_is_sealed_after_the_choice_was_heard_is_judged_as_well() {
    let mut rig = Rig::at(allowed(), now());
    rig.disconnect();
    rig.pass(HOUR);
    rig.give(Input::Connected);
    hear_made(&mut rig, 2, true, |now| now - 5 * MINUTE);
    let late = rig.seal();
    assert_eq!(purged(&rig), [late]);
    // Also if the owner has permitted recording again, and a failure delayed the file until then.
    let later = {
        let late = rig.segment();
        rig.pass(MINUTE);
        hear_made(&mut rig, 3, false, |now| now);
        assert!(rig.open.is_some());
        rig.pass(MINUTE);
        let serial = late.serial;
        rig.give(Input::Sealed(late));
        serial
    };
    assert_eq!(purged(&rig), [late, later]);
    rig.pass(MINUTE);
    rig.seal();
    assert_eq!(purged(&rig), [late, later], "what is permitted is kept");
}

#[test]
fn a_start_under_a_prohibition_purges_what_the_power_cut_kept_of_it() {
    let chosen = noon() - 20 * MINUTE;
    let at = |serial, minutes: u32| -> Segment {
        let mut segment = segment(serial, now());
        segment.record.boot = String::from("boot-0");
        segment.record.start_utc = noon() - minutes * MINUTE;
        segment
    };
    let spool = Ok((
        vec![at(1, 40), at(2, 10)],
        kasacam::domain::storage::Usage { free: Some(1_000_000), ..Default::default() },
    ));
    let start = Start { privacy: Recalled::Is(made(5, true, chosen)), spool, ..allowed() };
    let rig = Rig::at(start, now());
    assert_eq!(purged(&rig), [Serial(2)]);
    assert!(rig.asked.contains(&Asked::Upload(Serial(1))));
}

#[test]
fn a_permission_is_not_durable_before_the_purge_for_the_prohibition_before_it_is_done() {
    let mut rig = Rig::at(allowed(), now());
    let serials = away(&mut rig);
    rig.give(Input::Connected);
    rig.spool_is_slow = true;
    hear_made(&mut rig, 2, true, |now| now - 25 * MINUTE);
    rig.take();
    hear_made(&mut rig, 3, false, |now| now);
    assert!(
        !rig.asked.contains(&Asked::Keep(Fact::Privacy { version: 3, jws: String::from("privacy-3") })),
        "{:?}",
        rig.asked
    );
    assert!(rig.open.is_none());
    rig.pass(MINUTE);
    assert!(rig.open.is_none());
    for serial in &serials[3..] {
        rig.give(Input::Forgotten { serial: *serial });
    }
    assert!(rig.asked.contains(&Asked::Keep(Fact::Privacy { version: 3, jws: String::from("privacy-3") })));
    assert!(rig.open.is_some());
}

#[test]
fn where_the_time_of_capture_is_doubtful_it_counts_against_keeping() {
    let doubtful = Now { synchronised: false, ..now() };
    let mut rig = Rig::at(allowed(), doubtful);
    // Captured before the camera last knew that there was no newer choice.
    let mut before = rig.segment();
    before.record.clock = RecordClock::Plausible;
    rig.give(Input::Sealed(before));
    rig.pass(10 * MINUTE);
    rig.disconnect();
    rig.pass(10 * MINUTE);
    let mut away = rig.segment();
    away.record.clock = RecordClock::Plausible;
    let away_serial = away.serial;
    rig.give(Input::Sealed(away));
    rig.give(Input::Connected);
    // By the camera's clock, the choice was made only now.
    hear_made(&mut rig, 2, true, |now| now);
    assert_eq!(purged(&rig), [away_serial]);
}

#[test]
fn a_choice_from_the_future_forbids_from_now_on_and_purges_nothing() {
    let mut rig = Rig::at(allowed(), now());
    rig.seal();
    hear_made(&mut rig, 2, true, |now| now + HOUR);
    assert!(rig.open.is_none());
    assert_eq!(purged(&rig), []);
}

// ---- unheard footage waits --------------------------------------------------------------------

#[test]
fn what_is_captured_while_no_session_is_up_waits_until_the_choice_has_been_heard() {
    let mut rig = Rig::at(allowed(), now());
    let live = rig.seal();
    assert_eq!(uploads(&mut rig), [live], "under a session nothing is delayed");
    rig.disconnect();
    rig.give(Input::UploadFinished { serial: live, outcome: Outcome::Stored, took: Duration::ZERO });
    rig.pass(MINUTE);
    let unheard = rig.seal();
    rig.pass(HOUR);
    assert_eq!(uploads(&mut rig), []);
    assert_eq!(rig.machine.telemetry(rig.now).upload.unheard, 1);
    assert!(rig.events.contains(&Event::Unheard));
    rig.give(Input::Connected);
    assert_eq!(uploads(&mut rig), [], "a session alone tells nothing");
    hear(&mut rig, choice(1, false));
    assert_eq!(uploads(&mut rig), [unheard]);
    assert!(rig.events.contains(&Event::UnheardOver { by: "choice" }));
    assert_eq!(rig.machine.telemetry(rig.now).upload.unheard, 0);
}

#[test]
fn after_a_start_all_waits_for_the_first_session() {
    let mut old = segment(1, now());
    old.record.boot = String::from("boot-0");
    let spool =
        Ok((vec![old], kasacam::domain::storage::Usage { free: Some(1_000_000), ..Default::default() }));
    let mut rig = Rig::offline(Start { spool, ..allowed() }, now());
    let fresh = rig.seal();
    rig.pass(HOUR);
    assert_eq!(uploads(&mut rig), []);
    rig.connect(Some(choice(1, false)));
    assert_eq!(uploads(&mut rig), [fresh, Serial(1)]);
}

#[test]
fn what_was_captured_under_a_session_goes_on_when_it_is_lost() {
    let mut rig = Rig::at(allowed(), now());
    let serials: Vec<Serial> = (0..4).map(|_| rig.seal()).collect();
    rig.take();
    rig.disconnect();
    for serial in &serials[..2] {
        rig.give(Input::UploadFinished { serial: *serial, outcome: Outcome::Stored, took: Duration::ZERO });
    }
    assert_eq!(uploads(&mut rig), [serials[3], serials[2]]);
    // The segment that grew meanwhile waits.
    rig.pass(Duration::from_secs(1));
    let straddles = rig.seal();
    rig.pass(MINUTE);
    assert!(!rig.asked.contains(&Asked::Upload(straddles)));
}

#[test]
fn a_store_that_answers_all_the_while_gets_it_after_the_hold_and_one_that_does_not_begins_it_anew() {
    let mut rig = Rig::at(allowed(), now());
    rig.disconnect();
    rig.pass(MINUTE);
    let serial = rig.seal();
    let answer = |rig: &mut Rig, minutes: u32, answers: bool| {
        for _ in 0..minutes {
            rig.pass(MINUTE);
            if rig.asked.contains(&Asked::AskStore) {
                rig.asked.retain(|it| *it != Asked::AskStore);
                rig.give(Input::StoreAnswered(answers));
            }
        }
    };
    answer(&mut rig, 8 * 60, false);
    answer(&mut rig, 14, true);
    assert!(
        !rig.asked.contains(&Asked::Upload(serial)),
        "a night, and fourteen minutes in which the store answers"
    );
    answer(&mut rig, 1, false);
    answer(&mut rig, 14, true);
    assert!(!rig.asked.contains(&Asked::Upload(serial)));
    answer(&mut rig, 4, true);
    assert!(rig.asked.contains(&Asked::Upload(serial)));
    assert!(rig.events.contains(&Event::UnheardOver { by: "hold" }));
}

#[test]
fn attempts_to_connect_that_fail_do_not_begin_the_hold_anew() {
    let mut rig = Rig::at(allowed(), now());
    rig.disconnect();
    rig.pass(MINUTE);
    let serial = rig.seal();
    for _ in 0..20 {
        rig.pass(MINUTE);
        rig.give(Input::StoreAnswered(true));
        rig.disconnect();
    }
    assert!(rig.asked.contains(&Asked::Upload(serial)));
}

#[test]
fn the_hold_may_be_nothing_or_for_ever() {
    for (hold, goes) in [(Some(Duration::ZERO), true), (None, false)] {
        let mut start = allowed();
        start.settings.unheard_hold = hold;
        let mut rig = Rig::at(start, now());
        rig.disconnect();
        rig.pass(MINUTE);
        let serial = rig.seal();
        for _ in 0..2_000 {
            rig.pass(MINUTE);
            rig.give(Input::StoreAnswered(true));
        }
        assert_eq!(rig.asked.contains(&Asked::Upload(serial)), goes, "{hold:?}");
        assert!(!rig.asked.contains(&Asked::AskStore), "nobody has to know");
    }
}

#[test]
fn choices_that_the_broker_had_queued_are_all_heard_before_anything_goes() {
    let mut rig = Rig::at(allowed(), now());
    let serials = away(&mut rig);
    rig.take();
    rig.give(Input::Connected);
    let ack = rig.ack();
    let queued = made(2, false, rig.now.system - 55 * MINUTE);
    rig.give(Input::Privacy { choice: queued, jws: String::from("privacy-2"), retained: false, ack });
    assert_eq!(uploads(&mut rig), [], "another may be on its way");
    hear_made(&mut rig, 3, true, |now| now - 25 * MINUTE);
    assert_eq!(purged(&rig), serials[3..]);
    assert_eq!(uploads(&mut rig), [serials[2]]);
}

#[test]
fn the_first_choice_of_all_is_heard_as_it_comes() {
    let mut rig = Rig::new(blank());
    rig.lease(crate::support::rig::lease(1));
    rig.privacy(1, false);
    rig.pass(SEGMENT);
    let serial = rig.seal();
    assert_eq!(uploads(&mut rig), [serial]);
}

// ---- the stricter wins a tie, and older ones are no alarm -------------------------------------

#[test]
fn of_two_choices_with_one_version_the_stricter_comes_into_force_and_stays() {
    let mut rig = Rig::at(allowed(), now());
    hear_made(&mut rig, 1, true, |now| now);
    assert!(rig.open.is_none(), "do not record comes into force");
    let told = |rig: &Rig| {
        let conflicts =
            |event: &&Event| matches!(event, Event::Rejected { reason: "conflicting_version", .. });
        rig.events.iter().filter(conflicts).count()
    };
    assert_eq!(told(&rig), 1);
    assert!(
        rig.asked.contains(&Asked::Keep(Fact::Privacy { version: 1, jws: String::from("privacy-1") })),
        "and is kept"
    );
    hear(&mut rig, choice(1, false));
    assert!(rig.open.is_none(), "and stays");
    assert_eq!(told(&rig), 2);
    // Of two prohibitions, the one that counts from an earlier time.
    let serial = rig.seal();
    hear_made(&mut rig, 1, true, |now| now - HOUR);
    assert_eq!(purged(&rig), [serial]);
}

#[test]
fn an_older_choice_that_was_queued_is_no_alarm_and_one_that_comes_live_is() {
    let mut rig = Rig::at(Start { privacy: Recalled::Is(choice(7, false)), ..allowed() }, now());
    rig.disconnect();
    rig.take();
    let stale = |rig: &Rig| {
        rig.events.iter().any(|event| matches!(event, Event::Rejected { reason: "stale_version", .. }))
    };
    let ack = rig.privacy(5, true);
    assert!(rig.asked.contains(&Asked::Ack(ack)) && !stale(&rig));
    assert!(rig.open.is_some(), "it changes nothing");
    rig.connect(Some(choice(7, false)));
    rig.privacy(5, true);
    assert!(stale(&rig));
}

// ---- closed means closed ----------------------------------------------------------------------

#[test]
fn a_device_that_does_not_close_is_never_said_to_be_closed_and_ends_the_process_once_all_is_durable() {
    let mut rig = Rig::at(allowed(), now());
    (rig.device_is_stuck, rig.disk_is_away) = (true, true);
    rig.reports.clear();
    rig.privacy(2, true);
    assert_eq!(rig.machine.privacy_standing(rig.now).capture, "closing");
    assert!(!rig.asked.contains(&Asked::Abort), "the prohibition is not durable yet");
    let ticket = rig.tickets.pop().expect("a write was asked for");
    rig.give(Input::Persisted { ticket, result: Ok(()) });
    assert!(rig.asked.contains(&Asked::Abort));
    let told = |report: &Report| match report {
        Report::Privacy(report) => Some(report.capture.clone()),
        _ => None,
    };
    let captures: Vec<Word> = rig.reports.iter().filter_map(told).collect();
    assert_eq!(captures, ["closing"]);
    assert!(!rig.events.iter().any(|event| matches!(event, Event::CaptureClosed { .. })));
    assert_eq!(rig.asked.iter().filter(|it| **it == Asked::Abort).count(), 1);
}

#[test]
fn a_device_that_does_not_close_ends_the_process_within_two_seconds_whatever_the_disk_does() {
    let mut rig = Rig::at(allowed(), now());
    (rig.device_is_stuck, rig.disk_is_away) = (true, true);
    rig.privacy(2, true);
    rig.pass(Duration::from_millis(1_900));
    assert!(!rig.asked.contains(&Asked::Abort));
    rig.pass(Duration::from_millis(200));
    assert!(rig.asked.contains(&Asked::Abort));
}

#[test]
fn a_device_that_closes_late_after_all_ends_nothing() {
    let mut rig = Rig::at(allowed(), now());
    (rig.device_is_stuck, rig.disk_is_away) = (true, true);
    rig.privacy(2, true);
    let (epoch, _) = rig.open.take().expect("it was open");
    rig.give(Input::CaptureClosed { epoch, at: rig.now.mono, fault: None });
    rig.pass(MINUTE);
    assert!(!rig.asked.contains(&Asked::Abort));
    assert_eq!(rig.machine.privacy_standing(rig.now).capture, "closed");
    assert!(rig.asked.contains(&Asked::Close(StopManner::Drop, SpanEnd::Privacy)));
}

#[test]
fn a_run_that_is_dropped_is_invalid_before_its_device_is_closed() {
    let steps = StopManner::Drop.steps();
    let at = |step: ClosingStep| steps.iter().position(|it| *it == step).expect("it is a step of it");
    // Frames arrive while a device is being closed, which may take seconds; what the spool holds goes once no more come.
    assert!(at(ClosingStep::Invalidate) < at(ClosingStep::Close));
    assert!(at(ClosingStep::Close) < at(ClosingStep::DropRest));
    // What is drained was allowed: all of it is kept.
    assert_eq!(StopManner::Drain.steps(), [ClosingStep::Close]);
}
