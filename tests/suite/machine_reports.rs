//! What the machine reports of itself: stable times, the figures that a cloud needs, and telemetry of a fleet
//! that is spread over time.

use crate::support::rig::{HOUR, Rig, SEGMENT, allowed, choice, noon};
use kasacam::domain::effect::{PrivacyReport, Report, Telemetry};
use kasacam::domain::fragment::Epoch;
use kasacam::domain::input::Input;
use kasacam::domain::machine::Start;
use kasacam::domain::outcome::{Outcome, Scope};
use kasacam::domain::privacy::PrivacyChoice;
use kasacam::domain::segment::Content;
use std::time::Duration;

fn last_privacy(rig: &Rig) -> PrivacyReport {
    let privacy = |report: &Report| match report {
        Report::Privacy(report) => Some(report.clone()),
        _ => None,
    };
    rig.reports.iter().rev().find_map(privacy).unwrap()
}

fn telemetry(rig: &Rig) -> Telemetry {
    rig.machine.telemetry(rig.now)
}

#[test]
fn a_choice_is_applied_no_earlier_than_it_was_made() {
    let mut rig = Rig::new(allowed());
    rig.give(Input::Latch { closed: true });
    rig.pass(HOUR);
    // The device is closed already.
    rig.privacy(2, true);
    let told = last_privacy(&rig);
    assert_eq!((told.version, told.applied_at), (Some(2), rig.now.system));

    // Reported again on the next session, unchanged.
    rig.pass(HOUR);
    rig.disconnect();
    rig.reports.clear();
    rig.connect(None);
    assert_eq!(last_privacy(&rig), told);
}

#[test]
fn a_clock_that_is_behind_applies_nothing_before_it_was_chosen() {
    let mut rig = Rig::new(allowed());
    let issued_at = rig.now.system + Duration::from_secs(3);
    let (ack, jws) = (rig.ack(), String::from("privacy-2"));
    let choice = PrivacyChoice { issued_at, ..choice(2, true) };
    rig.give(Input::Privacy { choice, jws, retained: false, ack });
    assert_eq!(last_privacy(&rig).applied_at, issued_at);
    assert_eq!(rig.machine.privacy_standing(rig.now).applied_at, issued_at);
}

/// When the first two telemetry messages come, after the start.
fn first_two(seed: u64) -> [Duration; 2] {
    let mut rig = Rig::new(Start { seed, ..allowed() });
    let began = rig.now.mono;
    let mut at = Vec::new();
    while at.len() < 2 {
        rig.reports.clear();
        let (due, _) = rig.machine.poll_timeout(rig.now);
        rig.pass(due.since(rig.now.mono).max(Duration::from_nanos(1)));
        if rig.reports.iter().any(|report| matches!(report, Report::Telemetry(_))) {
            at.push(rig.now.mono.since(began));
        }
    }
    [at[0], at[1]]
}

#[test]
fn cameras_that_start_together_do_not_report_together() {
    let every = Duration::from_secs(60);
    let mut sixths = [0_u32; 6];
    for seed in 0..300 {
        let [first, second] = first_two(seed);
        assert!(first <= every, "{first:?}");
        assert_eq!(second - first, every);
        sixths[usize::try_from(first.as_millis() / 10_000).unwrap().min(5)] += 1;
    }
    assert!(sixths.iter().all(|count| (25..=80).contains(count)), "{sixths:?}");
}

#[test]
fn the_figures_tell_how_far_the_clock_is_believed_and_how_old_what_waits_is() {
    let mut rig = Rig::new(allowed());
    assert_eq!((telemetry(&rig).clock, telemetry(&rig).upload.oldest_pending_s), ("trusted".into(), None));
    rig.seal();
    rig.pass(HOUR);
    rig.seal();
    assert_eq!(telemetry(&rig).upload.oldest_pending_s, Some((HOUR + SEGMENT).as_secs()));
    rig.now.synchronised = false;
    assert_eq!(telemetry(&rig).clock, "plausible");
    rig.now.system = noon() - 300 * 24 * HOUR;
    assert_eq!(telemetry(&rig).clock, "unset");
}

#[test]
fn the_figures_tell_why_uploads_wait_until_they_no_longer_do() {
    let mut rig = Rig::new(allowed());
    let serial = rig.seal();
    let failed = |why: &str| Outcome::Retry { scope: Scope::Store, after: None, why: String::from(why) };
    let finished = |outcome| Input::UploadFinished { serial, outcome, took: Duration::ZERO };
    rig.give(finished(failed("no connection")));
    assert_eq!(telemetry(&rig).upload.stalled, None, "one failure passes");
    rig.pass(HOUR);
    rig.give(finished(failed("it refuses us")));
    assert_eq!(telemetry(&rig).upload.stalled.as_deref(), Some("it refuses us"));
    rig.pass(HOUR);
    rig.give(finished(Outcome::Stored));
    assert_eq!(telemetry(&rig).upload.stalled, None);
}

#[test]
fn the_figures_tell_the_audio_that_is_wanted_and_the_audio_that_comes() {
    let mut rig = Rig::new(allowed());
    let audio = |rig: &Rig| (telemetry(rig).capture.audio_wanted, telemetry(rig).capture.audio);
    assert_eq!(audio(&rig), (true, None));
    rig.seal();
    assert_eq!(audio(&rig), (true, Some(false)));
    let mut segment = rig.segment();
    let duration = SEGMENT.as_nanos() as u64;
    segment.content = Content::Footage { duration, codecs: String::from("avc1.64001f, mp4a.40.2") };
    rig.give(Input::Sealed(segment));
    assert_eq!(audio(&rig), (true, Some(true)));
    rig.privacy(2, true);
    assert_eq!(audio(&rig), (false, Some(true)));
}

#[test]
fn the_figures_tell_what_was_missing_in_the_stream() {
    let mut rig = Rig::new(allowed());
    let missing = |rig: &Rig| (telemetry(rig).capture.holes, telemetry(rig).capture.frames_missing);
    assert_eq!(missing(&rig), (0, 0));
    rig.give(Input::CaptureHoles { holes: 1, frames: 5 });
    rig.give(Input::CaptureHoles { holes: 2, frames: 3 });
    assert_eq!(missing(&rig), (3, 8));
}

#[test]
fn what_the_camera_does_other_than_it_was_told_is_in_the_figures_while_it_is_open() {
    let mut rig = Rig::new(allowed());
    let told = |rig: &Rig| telemetry(rig).capture.differs;
    let (epoch, _) = rig.open.expect("capture is open");
    let what = String::from("video_bitrate is 4000000, and 2000000 was asked for");
    assert_eq!(told(&rig), None);
    rig.give(Input::CaptureDiffers { epoch: Epoch(epoch.0 + 1), what: what.clone() });
    assert_eq!(told(&rig), None, "of another run");
    rig.give(Input::CaptureDiffers { epoch, what: what.clone() });
    assert_eq!(told(&rig), Some(what));
    rig.privacy(2, true);
    assert_eq!(told(&rig), None, "closed, it does nothing");
}
