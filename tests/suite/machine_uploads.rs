//! How the machine treats a store that fails, refuses or is away.

use crate::support::rig::{Asked, HOUR, Rig, allowed, choice, settings};
use kasacam::domain::effect::{Event, Rule};
use kasacam::domain::input::Input;
use kasacam::domain::machine::Start;
use kasacam::domain::outcome::{Outcome, Scope};
use kasacam::domain::segment::Serial;
use std::time::Duration;

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
