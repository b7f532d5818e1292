//! Messages to the cloud: their topics and payloads, and how they wait to be sent.

use crate::mqtt_payloads::DEVICE;
use kasacam::domain::backoff::Jitter;
use kasacam::domain::effect::{EntitlementReport, Event, PrivacyReport, Report, Telemetry};
use kasacam::domain::time::Utc;
use kasacam::mqtt::outbox::{MAX_ASIDE, MAX_EVENTS, MIN_ASIDE, Outbox};
use kasacam::mqtt::packet::Code;
use kasacam::mqtt::topics::{Message, Topics};
use serde_json::{Value, json};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::time::Instant;

fn event(n: usize) -> Message {
    let event = Event::PersistFailed { why: n.to_string() };
    Topics::new(DEVICE).message(&Report::Event(event)).unwrap()
}

fn privacy_report(version: u64) -> Message {
    let report = PrivacyReport {
        version: Some(version),
        do_not_record: true,
        latch: false,
        capture: "closed".into(),
        applied_at: Utc::parse("2026-11-23T12:00:00Z").unwrap(),
    };
    Topics::new(DEVICE).message(&Report::Privacy(report)).unwrap()
}

fn telemetry(rejected: u64) -> Message {
    let telemetry = Telemetry { rejected, ..Telemetry::default() };
    Topics::new(DEVICE).message(&Report::Telemetry(Box::new(telemetry))).unwrap()
}

fn sent(outbox: &mut Outbox) -> Option<Message> {
    let message = outbox.send(Instant::now()).cloned();
    outbox.taken();
    message
}

fn at(seconds: u64) -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now) + Duration::from_secs(seconds)
}

#[test]
fn reports_have_the_topics_and_payloads_of_the_contract() {
    let topics = Topics::new(DEVICE);
    let privacy = privacy_report(17);
    assert_eq!(&*privacy.topic, "kasacam/v1/cam-0001/privacy/reported");
    assert!(privacy.is_retained());
    let expected = json!({
        "version": 17, "do_not_record": true, "latch": false, "capture": "closed",
        "applied_at": "2026-11-23T12:00:00.000000Z",
    });
    assert_eq!(serde_json::from_slice::<Value>(&privacy.payload).unwrap(), expected);

    let report = EntitlementReport {
        version: Some(42),
        state: "granted".into(),
        plan: Some(String::from("plus")),
        status: Some("active".into()),
        not_after: None,
        reason: "granted".into(),
    };
    let entitlement = topics.message(&Report::Entitlement(report)).unwrap();
    assert_eq!(&*entitlement.topic, "kasacam/v1/cam-0001/entitlement/reported");
    assert!(entitlement.is_retained());

    assert_eq!(&*telemetry(1).topic, "kasacam/v1/cam-0001/telemetry");
    assert!(!telemetry(1).is_retained());

    let rejected = Event::Rejected { topic: String::from("t"), reason: "stale_version" };
    let rejected = topics.message(&Report::Event(rejected)).unwrap();
    assert_eq!(&*rejected.topic, "kasacam/v1/cam-0001/event");
    assert!(!rejected.is_retained());
    let expected = json!({ "event": "rejected", "topic": "t", "reason": "stale_version" });
    assert_eq!(serde_json::from_slice::<Value>(&rejected.payload).unwrap(), expected);

    let online = topics.online(Utc::parse("2026-11-23T12:00:00Z"));
    assert_eq!(&*online.topic, "kasacam/v1/cam-0001/status");
    assert!(online.is_retained());
    let expected = json!({
        "online": true, "version": env!("CARGO_PKG_VERSION"), "since": "2026-11-23T12:00:00.000000Z",
    });
    assert_eq!(serde_json::from_slice::<Value>(&online.payload).unwrap(), expected);
    assert_eq!(&topics.offline().payload[..], br#"{"online":false}"#);
}

#[test]
fn a_report_that_is_too_long_is_not_sent() {
    let event = Event::PersistFailed { why: "x".repeat(17 * 1024) };
    assert_eq!(Topics::new(DEVICE).message(&Report::Event(event)), None);
}

#[test]
fn of_what_is_retained_only_the_latest_waits() {
    let mut outbox = Outbox::default();
    outbox.push(privacy_report(1));
    outbox.push(privacy_report(2));
    outbox.push(telemetry(1));
    outbox.push(telemetry(2));
    assert_eq!(sent(&mut outbox), Some(privacy_report(2)));
    assert_eq!(sent(&mut outbox), Some(telemetry(2)));
    assert_eq!(sent(&mut outbox), None);
    assert!(outbox.is_empty(Instant::now()));
}

#[test]
fn one_message_is_in_flight_at_a_time() {
    let mut outbox = Outbox::default();
    outbox.push(event(1));
    outbox.push(event(2));
    assert_eq!(outbox.send(at(0)), Some(&event(1)));
    assert_eq!(outbox.send(at(0)), None);
    assert_eq!(outbox.in_flight(), Some(&event(1)));
    outbox.taken();
    assert_eq!(outbox.send(at(0)), Some(&event(2)));
}

#[test]
fn what_was_in_flight_when_the_connection_was_lost_goes_first_again() {
    let mut outbox = Outbox::default();
    for n in 1..=3 {
        outbox.push(event(n));
    }
    assert_eq!(outbox.send(at(0)), Some(&event(1)));
    assert_eq!(outbox.connection_lost(false, at(0)), None);
    for n in 1..=3 {
        assert_eq!(sent(&mut outbox), Some(event(n)));
    }
}

#[test]
fn an_older_report_in_flight_never_replaces_a_newer_one() {
    let mut outbox = Outbox::default();
    outbox.push(privacy_report(1));
    assert_eq!(outbox.send(at(0)), Some(&privacy_report(1)));
    outbox.push(privacy_report(2));
    outbox.connection_lost(false, at(0));
    assert_eq!(sent(&mut outbox), Some(privacy_report(2)));
    assert_eq!(sent(&mut outbox), None);
}

#[test]
fn the_oldest_events_make_room_and_are_counted() {
    let mut outbox = Outbox::default();
    for n in 0..MAX_EVENTS + 10 {
        outbox.push(event(n));
    }
    assert_eq!(outbox.dropped_events(), 10);
    assert_eq!(outbox.send(at(0)), Some(&event(10)));
    outbox.push(event(1000));
    outbox.connection_lost(false, at(0));
    let mut left = 0;
    while sent(&mut outbox).is_some() {
        left += 1;
    }
    assert_eq!(left, MAX_EVENTS);
}

#[test]
fn a_refusal_for_now_is_waited_out_for_ever_and_one_for_good_three_times() {
    let mut jitter = Jitter::new(3);
    let mut outbox = Outbox::default();
    outbox.push(telemetry(1));
    let mut now = at(0);
    for _ in 0..50 {
        assert_eq!(outbox.send(now), Some(&telemetry(1)));
        assert_eq!(outbox.refused(Code::QUOTA, now, &mut jitter), None);
        assert_eq!(outbox.send(now), None);
        let next = outbox.next_at().unwrap();
        assert!(next > now && next <= now + Duration::from_secs(60), "{:?}", next - now);
        now = next;
    }
    for n in 1..=3 {
        now = outbox.next_at().unwrap();
        assert!(outbox.send(now).is_some());
        let aside = outbox.refused(Code::NOT_AUTHORIZED, now, &mut jitter);
        assert_eq!(aside.is_some(), n == 3);
    }
    assert_eq!(outbox.next_at(), Some(now + MIN_ASIDE));
    // It is then retried: once, because the lane is in doubt. If accepted, it counts as any other.
    for wait in [2, 4, 8, 16, 32, 60, 60].map(|times| MIN_ASIDE * times) {
        now = outbox.next_at().unwrap();
        assert!(outbox.send(now).is_some());
        assert!(outbox.refused(Code::NOT_AUTHORIZED, now, &mut jitter).is_some());
        assert_eq!(outbox.next_at(), Some(now + wait));
    }
    now += MAX_ASIDE;
    assert!(outbox.send(now).is_some());
    outbox.taken();
    outbox.push(telemetry(2));
    assert!(outbox.send(now).is_some());
    assert_eq!(outbox.refused(Code::NOT_AUTHORIZED, now, &mut jitter), None);
}

#[test]
fn only_a_connection_that_ends_at_once_and_by_the_broker_is_laid_to_a_message() {
    let mut outbox = Outbox::default();
    outbox.push(telemetry(1));
    for (is_blamed, after) in [(false, 0), (true, 6), (false, 6), (true, 60)].repeat(5) {
        assert!(outbox.send(at(0)).is_some());
        assert_eq!(outbox.connection_lost(is_blamed, at(after)), None);
    }
    assert!(outbox.send(at(0)).is_some());
    assert_eq!(outbox.connection_lost(true, at(1)), None);
    // Messages that are not under suspicion are now sent first.
    outbox.push(event(1));
    assert_eq!(outbox.send(at(1)), Some(&event(1)));
    outbox.taken();
    assert!(outbox.send(at(1)).is_some());
    assert_eq!(outbox.connection_lost(true, at(1)), Some(telemetry(1)));
}

#[test]
fn events_that_a_broker_never_takes_cost_two_messages_and_then_ever_fewer() {
    let mut outbox = Outbox::default();
    for n in 1..=9 {
        outbox.push(event(n));
    }
    let mut ended = 0;
    while outbox.send(at(0)).is_some() {
        outbox.connection_lost(true, at(0));
        ended += 1;
    }
    assert_eq!((ended, outbox.dropped_events()), (3, 2));
    for (n, minutes) in [(3, 2), (4, 4), (5, 8)] {
        let later = outbox.next_at().unwrap();
        assert_eq!(outbox.send(later), Some(&event(n)));
        assert!(outbox.connection_lost(true, later).is_some());
        assert_eq!(outbox.send(later), None);
        assert_eq!(outbox.next_at(), Some(later + 2 * minutes * MIN_ASIDE));
    }
}

#[test]
fn no_payload_shows_in_a_debug_text() {
    let message = privacy_report(1);
    let mut outbox = Outbox::default();
    outbox.push(message.clone());
    for text in [format!("{message:?}"), format!("{outbox:?}")] {
        assert!(!text.contains("do_not_record"), "{text}");
    }
}
