//! The machine requests the light and the journal: no device is opened before the light is lit, and every
//! opening is noted.

use crate::support::rig::{Asked, Rig, allowed};
use kasacam::domain::effect::{Event, StopManner};
use kasacam::domain::fragment::SpanEnd;
use kasacam::domain::input::{FaultKind, Input};
use kasacam::domain::journal::What;
use kasacam::domain::machine::Start;
use std::time::Duration;

fn lit() -> Rig {
    Rig::new(Start { light: true, ..allowed() })
}

/// Openings, closings and lights, in order.
fn seen(rig: &mut Rig) -> Vec<Asked> {
    let wanted = |asked: &Asked| matches!(asked, Asked::Open(..) | Asked::Close(..) | Asked::Light(_));
    rig.take().into_iter().filter(wanted).collect()
}

#[test]
fn the_light_is_lit_before_a_device_is_opened_and_goes_out_once_it_is_closed() {
    let mut rig = lit();
    let asked = seen(&mut rig);
    assert!(matches!(asked[..], [Asked::Light(true), Asked::Open(..)]), "{asked:?}");

    rig.privacy(2, true);

    let drop = Asked::Close(StopManner::Drop, SpanEnd::Privacy);
    assert_eq!(seen(&mut rig), [drop, Asked::Light(false)]);
    assert_eq!(rig.light, Some(false));
}

#[test]
fn no_device_is_opened_before_the_light_has_answered() {
    let mut rig = Rig::new(Start { light: true, ..allowed() });
    rig.privacy(2, true);
    rig.light_is_away = true;
    rig.take();

    rig.privacy(3, false);

    assert_eq!(seen(&mut rig), [Asked::Light(true)]);
    rig.answer_lights();
    rig.give(Input::Tick);
    assert!(rig.open.is_some());
}

#[test]
fn a_light_that_cannot_be_lit_keeps_the_camera_closed_and_says_so() {
    let mut rig = lit();
    rig.privacy(2, true);
    rig.light_fails = true;
    rig.take();
    rig.privacy(3, false);
    rig.pass(Duration::from_secs(120));

    assert_eq!(rig.open, None);
    assert!(rig.machine.capture_fault().is_some_and(|why| why.contains("privacy.indicator")));
    let told = |event: &&Event| matches!(event, Event::CaptureFailed { kind: FaultKind::LightFailed, .. });
    assert_eq!(rig.events.iter().filter(told).count(), 1, "once");
    let tries = seen(&mut rig).iter().filter(|asked| **asked == Asked::Light(true)).count();
    assert!((4..=60).contains(&tries), "{tries} in two minutes");

    rig.light_fails = false;
    rig.pass(Duration::from_secs(40));
    assert!(rig.open.is_some(), "it is tried again");
    assert_eq!(rig.machine.capture_fault(), None);
}

#[test]
fn a_light_that_never_answers_keeps_the_camera_closed_and_says_so() {
    let mut rig = lit();
    rig.privacy(2, true);
    rig.light_is_away = true;
    rig.privacy(3, false);
    rig.pass(Duration::from_secs(10));
    assert_eq!(rig.open, None);
    assert!(rig.machine.capture_fault().is_some_and(|why| why.contains("does not answer")));
    // The answer to a request that was given up opens nothing: another request may have put the light out by
    // now.
    let asked = std::mem::take(&mut rig.lights);
    rig.give(Input::LightSet { ticket: asked[0].0, result: Ok(()) });
    assert_eq!(rig.open, None);
}

#[test]
fn a_permission_taken_back_before_the_light_has_answered_puts_it_out_again() {
    let mut rig = lit();
    rig.privacy(2, true);
    rig.light_is_away = true;
    rig.take();
    rig.privacy(3, false);
    rig.privacy(4, true);
    rig.answer_lights();
    rig.give(Input::Tick);
    rig.answer_lights();
    assert_eq!(seen(&mut rig), [Asked::Light(true), Asked::Light(false)]);
    assert_eq!((rig.open, rig.light), (None, Some(false)));
}

#[test]
fn a_light_that_does_not_go_out_is_tried_again() {
    let mut rig = lit();
    rig.light_fails = true;
    rig.privacy(2, true);
    rig.pass(Duration::from_secs(12));
    assert_eq!(rig.light, Some(true));
    rig.light_fails = false;
    rig.pass(Duration::from_secs(6));
    assert_eq!(rig.light, Some(false));
}

#[test]
fn a_device_that_does_not_close_stays_in_the_light_and_open_in_the_journal() {
    let mut rig = lit();
    rig.device_is_stuck = true;
    rig.privacy(2, true);
    assert_eq!(rig.light, Some(true));
    assert!(!rig.notes.iter().any(|what| matches!(what, What::Closed { .. })));
}

#[test]
fn the_journal_tells_of_the_start_the_choice_and_each_opening_and_closing() {
    let mut rig = Rig::new(Start { cut_off: true, ..allowed() });
    rig.privacy(2, true);
    rig.privacy(3, false);
    rig.fault(FaultKind::Stalled);
    let mut told: Vec<&str> = Vec::new();
    for what in &rig.notes {
        told.push(match what {
            What::CutOff => "cut off",
            What::Started { .. } => "started",
            What::Opened { .. } => "opened",
            What::Closed { .. } => "closed",
            What::Choice { do_not_record: true, .. } => "forbidden",
            What::Choice { .. } => "permitted",
            What::Began | What::Continued { .. } | What::Lost { .. } => "of the disk",
        });
    }
    let day =
        ["cut off", "started", "permitted", "opened", "forbidden", "closed", "permitted", "opened", "closed"];
    assert_eq!(told, day);
    // A retry counts as an opening once it plays.
    rig.pass(Duration::from_secs(30));
    assert!(matches!(rig.notes.last(), Some(What::Closed { .. })));
    let (epoch, _) = rig.open.expect("it tries again");
    rig.give(Input::CaptureStarted { epoch });
    assert!(matches!(rig.notes.last(), Some(What::Opened { .. })));
}

#[test]
fn a_latch_that_cannot_be_read_is_told_once_and_shown_until_it_can_be() {
    let mut rig = Rig::new(allowed());
    for _ in 0..3 {
        rig.give(Input::LatchDevice { fault: Some(String::from("no such device")) });
    }
    let told = |rig: &Rig| rig.events.iter().filter(|it| matches!(it, Event::LatchFailed { .. })).count();
    assert_eq!(told(&rig), 1);
    assert_eq!(rig.machine.telemetry(rig.now).household.latch_fault.as_deref(), Some("no such device"));
    assert!(rig.open.is_some(), "a button closes nothing until it is pressed");
    rig.give(Input::LatchDevice { fault: None });
    assert_eq!(rig.machine.telemetry(rig.now).household.latch_fault, None);
    rig.give(Input::LatchDevice { fault: Some(String::from("unplugged")) });
    assert_eq!(told(&rig), 2);
}
