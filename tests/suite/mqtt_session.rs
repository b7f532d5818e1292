//! The session against a real mosquitto with mutual TLS and an access list.

use crate::support::broker::{Broker, Cloud, eventually, wait};
use crate::support::patience::patient;
use crate::support::signer::Signer;
use kasacam::config::Mqtt;
use kasacam::domain::effect::{Event, PrivacyReport, Report, Telemetry};
use kasacam::domain::input::{AckToken, Input, Rejection};
use kasacam::domain::time::Utc;
use kasacam::mqtt::{self, Keys, Session};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

pub const DEVICE: &str = "cam-0001";
const PRIVACY: &str = "kasacam/v1/cam-0001/privacy/desired";
const REPORTED: &str = "kasacam/v1/cam-0001/privacy/reported";
const EVENTS: &str = "kasacam/v1/cam-0001/event";
const STATUS: &str = "kasacam/v1/cam-0001/status";
const OFFLINE: &str = "{\"online\":false}";

/// An agent that has only a session.
pub struct Camera {
    session: Session,
    inputs: mpsc::Receiver<Input>,
}

impl Camera {
    pub fn start(device: &str, mqtt: &Mqtt, room: usize) -> Camera {
        let (sender, inputs) = mpsc::channel(room);
        let session = mqtt::open(device, mqtt, &Keys::for_all(&[Signer::ours().key()]), sender, 7).unwrap();
        Camera { session, inputs }
    }

    async fn connected(broker: &Broker) -> Camera {
        let mut camera = Camera::start(DEVICE, &broker.client(DEVICE), 64);
        camera.hears("Connected", |input| matches!(input, Input::Connected).then_some(())).await;
        camera
    }

    /// Waits for an input that `pick` accepts; ignores the others.
    async fn hears<T>(&mut self, what: &str, mut pick: impl FnMut(&Input) -> Option<T>) -> T {
        let deadline = tokio::time::Instant::now() + wait();
        loop {
            let input = tokio::time::timeout_at(deadline, self.inputs.recv()).await;
            let input = input.unwrap_or_else(|_| panic!("waited in vain for: {what}"));
            if let Some(found) = pick(&input.expect("the session goes on")) {
                return found;
            }
        }
    }

    pub async fn hears_connected(&mut self) {
        self.hears("Connected", |input| matches!(input, Input::Connected).then_some(())).await;
    }

    pub async fn hears_disconnected(&mut self) -> String {
        self.hears("Disconnected", |input| match input {
            Input::Disconnected { why } => Some(why.clone()),
            _ => None,
        })
        .await
    }

    async fn hears_choice(&mut self, version: u64) -> AckToken {
        self.hears(&format!("choice {version}"), |input| match input {
            Input::Privacy { choice, ack, .. } if choice.version == version => Some(*ack),
            _ => None,
        })
        .await
    }

    fn event(&self, n: usize) {
        self.session.publish(Report::Event(Event::PersistFailed { why: format!("event {n}.") }));
    }
}

fn report(version: u64) -> Report {
    Report::Privacy(PrivacyReport {
        version: Some(version),
        do_not_record: true,
        latch: false,
        capture: "closed".into(),
        applied_at: Utc::parse("2026-11-23T12:00:00Z").unwrap(),
    })
}

#[tokio::test]
async fn a_camera_connects_with_its_certificate_and_says_that_it_is_online() {
    let broker = Broker::start();
    let cloud = broker.cloud().await;
    let camera = Camera::connected(&broker).await;
    assert!(camera.session.connected());
    cloud.sees(STATUS, "\"online\":true").await;
    let later = Cloud::connect(&broker, "cloud", Some(STATUS)).await;
    let status = later.sees(STATUS, "\"online\":true").await;
    assert!(status.retained);
    assert!(!status.payload.contains("since"), "no clock has told: {}", status.payload);

    camera.session.set_since(Utc::parse("2026-11-23T12:00:00Z").unwrap());
    later.sees(STATUS, "\"since\":\"2026-11-23T12:00:00.000000Z\"").await;
}

#[tokio::test]
async fn only_the_exact_topics_of_the_camera_are_subscribed_to() {
    let broker = Broker::start();
    let _camera = Camera::connected(&broker).await;
    let log = broker.log();
    // mosquitto writes "<time>: <client> <qos> <topic>" for each subscription.
    let mut subscriptions: Vec<&str> = log
        .lines()
        .filter_map(|line| line.split_once(": ")?.1.strip_prefix("cam-0001 "))
        .filter(|subscription| subscription.starts_with(['0', '1', '2']))
        .collect();
    subscriptions.sort_unstable();
    assert_eq!(
        subscriptions,
        ["1 kasacam/v1/cam-0001/entitlement/desired", "1 kasacam/v1/cam-0001/privacy/desired"],
        "{log}"
    );
}

#[tokio::test]
async fn a_choice_and_a_lease_arrive_verified() {
    let broker = Broker::start();
    let mut cloud = broker.cloud().await;
    let mut camera = Camera::connected(&broker).await;
    let (choice, lease) = (Signer::ours().privacy(DEVICE, 3, true), Signer::ours().entitlement(DEVICE, 4));

    cloud.publish(PRIVACY, true, choice.clone()).await;
    cloud.publish("kasacam/v1/cam-0001/entitlement/desired", true, lease.clone()).await;

    let kept = camera
        .hears("the choice", |input| match input {
            Input::Privacy { choice, jws, .. } if choice.do_not_record => Some(jws.clone()),
            _ => None,
        })
        .await;
    assert_eq!(kept, choice);
    let kept = camera
        .hears("the lease", |input| match input {
            Input::Entitlement { lease, jws, .. } if lease.version == 4 => Some(jws.clone()),
            _ => None,
        })
        .await;
    assert_eq!(kept, lease);
}

#[tokio::test]
async fn what_was_retained_before_arrives_after_connecting() {
    let broker = Broker::start();
    broker.cloud().await.publish(PRIVACY, true, Signer::ours().privacy(DEVICE, 9, true)).await;
    let mut camera = Camera::start(DEVICE, &broker.client(DEVICE), 64);
    camera.hears_choice(9).await;
}

#[tokio::test]
async fn the_last_will_fires_when_the_camera_vanishes() {
    let broker = Broker::start();
    let cloud = broker.cloud().await;
    let camera = Camera::connected(&broker).await;
    cloud.sees(STATUS, "\"online\":true").await;

    drop(camera);

    // Not before its delay is over: the camera may come back.
    tokio::time::sleep(Duration::from_secs(28)).await;
    assert!(cloud.seen(STATUS).iter().all(|seen| seen.payload != OFFLINE));
    cloud.sees(STATUS, OFFLINE).await;
    assert!(!broker.log().contains("Received DISCONNECT from cam-0001"));
}

#[tokio::test]
async fn a_planned_stop_says_all_that_waits_then_offline_and_fires_no_will() {
    let broker = Broker::start();
    let cloud = broker.cloud().await;
    let camera = Camera::connected(&broker).await;
    cloud.sees(STATUS, "\"online\":true").await;
    for n in 0..20 {
        camera.event(n);
    }
    camera.session.publish(report(5));

    let began = Instant::now();
    camera.session.shutdown(Duration::from_secs(5)).await;

    assert!(began.elapsed() < patient(Duration::from_secs(5)), "{:?}", began.elapsed());
    eventually("DISCONNECT", || broker.log().contains("Received DISCONNECT from cam-0001").then_some(()))
        .await;
    cloud.sees(STATUS, OFFLINE).await;
    cloud.sees(EVENTS, "event 19.").await;
    cloud.sees(REPORTED, "\"version\":5").await;
    // The cloud reads its messages in order: a marker after them shows that no will follows.
    let mut cloud = cloud;
    cloud.publish("kasacam/marker", false, "here").await;
    cloud.sees("kasacam/marker", "here").await;
    assert_eq!(cloud.seen(STATUS).iter().filter(|seen| seen.payload == OFFLINE).count(), 1);
}

#[tokio::test]
async fn a_stop_without_a_broker_does_not_wait() {
    let mut broker = Broker::start();
    let mqtt = broker.client(DEVICE);
    broker.stop();
    let mut camera = Camera::start(DEVICE, &mqtt, 64);
    camera.hears_disconnected().await;
    let began = Instant::now();
    camera.session.shutdown(Duration::from_secs(2)).await;
    assert!(began.elapsed() < patient(Duration::from_millis(500)), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_broker_that_no_longer_answers_is_left() {
    let broker = Broker::start();
    let mqtt = Mqtt { keep_alive: Duration::from_secs(5), ..broker.client(DEVICE) };
    let mut camera = Camera::start(DEVICE, &mqtt, 64);
    camera.hears_connected().await;
    broker.freeze();
    let why = camera.hears_disconnected().await;
    assert!(why.contains("it no longer answers pings"), "{why}");
    assert!(!camera.session.connected());
}

#[tokio::test]
async fn a_stop_waits_no_longer_than_it_may_for_a_broker_that_no_longer_answers() {
    let broker = Broker::start();
    let camera = Camera::connected(&broker).await;
    broker.freeze();
    camera.event(1);
    let began = Instant::now();
    camera.session.shutdown(Duration::from_secs(2)).await;
    let took = began.elapsed();
    assert!((Duration::from_millis(1900)..patient(Duration::from_millis(2500))).contains(&took), "{took:?}");
}

#[tokio::test]
async fn reports_are_retained_and_events_are_not() {
    let broker = Broker::start();
    let cloud = broker.cloud().await;
    let camera = Camera::connected(&broker).await;
    camera.session.publish(report(5));
    camera.event(1);
    camera.session.publish(Report::Telemetry(Box::new(Telemetry { rejected: 77, ..Telemetry::default() })));
    cloud.sees(REPORTED, "\"version\":5").await;
    cloud.sees(EVENTS, "event 1.").await;
    cloud.sees("kasacam/v1/cam-0001/telemetry", "\"rejected\":77").await;
    drop(cloud);

    // A later subscriber is told the current state, not the history.
    let cloud = Cloud::connect_as(&broker, "late", "cloud", Some("kasacam/#")).await;
    assert!(cloud.sees(REPORTED, "\"version\":5").await.retained);
    cloud.sees(STATUS, "online").await;
    assert_eq!(cloud.seen(EVENTS), []);
}

#[tokio::test]
async fn a_broker_that_restarts_again_and_again_costs_no_report_and_no_event() {
    let mut broker = Broker::start();
    let cloud = broker.cloud().await;
    let mut camera = Camera::connected(&broker).await;
    let mut n = 0;
    for round in 0..3 {
        for _ in 0..20 {
            camera.event(n);
            n += 1;
        }
        // Some are acknowledged by now, one may be in flight, others wait.
        tokio::time::sleep(Duration::from_millis(3 * (round + 1))).await;
        broker.stop();
        for _ in 0..20 {
            camera.event(n);
            n += 1;
        }
        camera.session.publish(report(100 + round));
        camera.hears_disconnected().await;
        assert!(!camera.session.connected());
        broker.resume();
        camera.hears_connected().await;
    }
    cloud.sees(EVENTS, &format!("event {}.", n - 1)).await;
    let seen = cloud.seen(EVENTS);
    let mut first_seen: Vec<usize> = Vec::new();
    for seen in &seen {
        let number = seen.payload.split("event ").nth(1).unwrap().split('.').next().unwrap().parse().unwrap();
        if !first_seen.contains(&number) {
            first_seen.push(number);
        }
    }
    assert_eq!(first_seen, (0..n).collect::<Vec<_>>(), "every event, in its order");
    cloud.sees(REPORTED, "\"version\":102").await;
    // The last one is retained.
    let retained = cloud.seen(REPORTED).last().cloned().unwrap();
    assert!(retained.payload.contains("\"version\":102"), "{retained:?}");
}

#[tokio::test]
async fn a_command_that_was_not_acknowledged_comes_again_and_one_that_was_does_not() {
    let mut broker = Broker::start();
    let mut cloud = broker.cloud().await;
    let mut camera = Camera::connected(&broker).await;
    // Not retained: only the session can deliver it again.
    cloud.publish(PRIVACY, false, Signer::ours().privacy(DEVICE, 3, true)).await;
    let stale = camera.hears_choice(3).await;

    broker.stop();
    camera.hears_disconnected().await;
    broker.resume();
    let fresh = camera.hears_choice(3).await;
    assert_ne!(stale, fresh);

    // A token of the earlier connection acknowledges nothing.
    camera.session.ack(stale);
    broker.stop();
    camera.hears_disconnected().await;
    broker.resume();
    let fresh = camera.hears_choice(3).await;

    camera.session.ack(fresh);
    eventually("PUBACK", || broker.log().contains("Received PUBACK from cam-0001").then_some(())).await;
    broker.stop();
    camera.hears_disconnected().await;
    broker.resume();
    camera.hears_connected().await;
    cloud.publish(PRIVACY, false, Signer::ours().privacy(DEVICE, 4, true)).await;
    let next = camera
        .hears("the next choice", |input| match input {
            Input::Privacy { choice, .. } => Some(choice.version),
            _ => None,
        })
        .await;
    assert_eq!(next, 4);
}

#[tokio::test]
async fn an_oversized_message_is_rejected_and_the_connection_stands() {
    let broker = Broker::start();
    let mut cloud = broker.cloud().await;
    let mut camera = Camera::connected(&broker).await;
    for size in [17 * 1024, 200 * 1024] {
        cloud.publish(PRIVACY, true, vec![b'x'; size]).await;
        let ack = camera
            .hears("a rejection", |input| match input {
                Input::Rejected { topic, reason: Rejection::TooLarge, ack } if topic == PRIVACY => *ack,
                Input::Disconnected { why } => panic!("disconnected: {why}"),
                _ => None,
            })
            .await;
        camera.session.ack(ack);
    }
    // Larger than the maximum packet size that the broker was told: it is not sent at all.
    cloud.publish(PRIVACY, true, vec![b'x'; 400 * 1024]).await;
    cloud.publish(PRIVACY, true, Signer::ours().privacy(DEVICE, 5, true)).await;
    let version = camera
        .hears("the next choice", |input| match input {
            Input::Privacy { choice, .. } => Some(choice.version),
            other => panic!("{other:?}"),
        })
        .await;
    assert_eq!(version, 5);
    assert!(camera.session.connected());
}

#[tokio::test]
async fn a_forged_message_is_rejected_and_does_not_come_again_once_acknowledged() {
    let mut broker = Broker::start();
    let mut cloud = broker.cloud().await;
    let mut camera = Camera::connected(&broker).await;
    let forged = Signer::new("entitlement-2026-1", 99).privacy(DEVICE, 3, false);
    cloud.publish(PRIVACY, false, forged).await;
    let rejected = |input: &Input| match input {
        Input::Rejected { reason, ack, .. } => Some((*reason, ack.unwrap())),
        _ => None,
    };
    let (reason, ack) = camera.hears("a rejection", rejected).await;
    assert_eq!(reason, Rejection::BadSignature);
    camera.session.ack(ack);
    eventually("PUBACK", || broker.log().contains("Received PUBACK from cam-0001").then_some(())).await;

    broker.stop();
    camera.hears_disconnected().await;
    broker.resume();
    camera.hears_connected().await;
    cloud.publish(PRIVACY, false, Signer::ours().privacy(DEVICE, 4, true)).await;
    camera
        .hears("the next choice", |input| match input {
            Input::Privacy { .. } => Some(()),
            Input::Rejected { .. } => panic!("it came again"),
            _ => None,
        })
        .await;
}

#[tokio::test]
async fn an_agent_that_takes_no_inputs_holds_up_no_ping_and_loses_no_command() {
    let broker = Broker::start();
    let mut cloud = broker.cloud().await;
    let mqtt = Mqtt { keep_alive: Duration::from_secs(5), ..broker.client(DEVICE) };
    let mut camera = Camera::start(DEVICE, &mqtt, 1);
    eventually("connected", || camera.session.connected().then_some(())).await;
    for version in 1..=40 {
        cloud.publish(PRIVACY, false, Signer::ours().privacy(DEVICE, version, true)).await;
    }
    // After one and a half keep-alives without a ping the broker would end the connection.
    let pings = || broker.log().matches("Received PINGREQ from cam-0001").count();
    eventually("two pings", || (pings() >= 2).then_some(())).await;
    assert!(camera.session.connected());

    for version in 1..=40 {
        let ack = camera.hears_choice(version).await;
        camera.session.ack(ack);
    }
    assert!(!broker.log().contains("cam-0001 has exceeded timeout"));
}

#[tokio::test]
async fn acknowledgements_go_out_in_the_order_of_the_messages() {
    let broker = Broker::start();
    let mut cloud = broker.cloud().await;
    let mut camera = Camera::connected(&broker).await;
    let mut acks = Vec::new();
    for version in 1..=3 {
        cloud.publish(PRIVACY, false, Signer::ours().privacy(DEVICE, version, true)).await;
        acks.push(camera.hears_choice(version).await);
    }
    for ack in acks.iter().rev() {
        camera.session.ack(*ack);
    }
    let acknowledged = eventually("three PUBACKs", || {
        let log = broker.log();
        let mids: Vec<String> = log
            .lines()
            .filter_map(|line| line.split_once("Received PUBACK from cam-0001 (Mid: "))
            .map(|(_, rest)| rest.split(',').next().unwrap().to_owned())
            .collect();
        (mids.len() >= 3).then_some(mids)
    })
    .await;
    assert_eq!(acknowledged, ["1", "2", "3"]);
}

#[tokio::test]
async fn attempts_at_a_broker_that_is_away_come_ever_more_seldom() {
    let mut broker = Broker::start();
    let mqtt = broker.client(DEVICE);
    broker.stop();
    let mut camera = Camera::start(DEVICE, &mqtt, 64);
    let mut waits = Vec::new();
    for _ in 0..4 {
        let why = camera.hears_disconnected().await;
        assert!(why.contains("refused"), "{why}");
        let wait: u64 = why.rsplit_once("next try in ").unwrap().1.trim_end_matches(" ms").parse().unwrap();
        waits.push(wait);
    }
    for (wait, ceiling) in waits.iter().zip([1000, 2000, 4000, 8000]) {
        assert!((250..=ceiling).contains(wait), "{waits:?}");
    }
}

#[tokio::test]
async fn a_connection_that_is_closed_early_hints_at_a_second_client_of_the_same_identity() {
    let broker = Broker::start();
    let mut camera = Camera::connected(&broker).await;
    let _twin = Cloud::connect(&broker, DEVICE, None).await;
    let why = camera.hears_disconnected().await;
    assert!(why.contains("look for another client with this device's id"), "{why}");
}

#[tokio::test]
async fn a_camera_reaches_no_topic_but_its_own() {
    let broker = Broker::start();
    let mut cloud = broker.cloud().await;
    // The certificate of one camera, the name of another.
    let mqtt = broker.client(DEVICE);
    let mut intruder = Camera::start("cam-0002", &mqtt, 64);
    intruder.hears_connected().await;
    intruder.event(1);
    cloud
        .publish("kasacam/v1/cam-0002/privacy/desired", true, Signer::ours().privacy("cam-0002", 1, true))
        .await;
    eventually("refusals", || {
        let log = broker.log();
        log.contains("Denied PUBLISH from cam-0002").then_some(())
    })
    .await;
    // Both have happened by the time the broker has answered what comes after them.
    cloud.publish("kasacam/marker", false, "here").await;
    cloud.sees("kasacam/marker", "here").await;
    assert_eq!(cloud.seen("kasacam/v1/cam-0002/event"), []);
    assert_eq!(cloud.seen("kasacam/v1/cam-0002/status"), []);
    assert!(!broker.log().contains("Sending PUBLISH to cam-0002"), "{}", broker.log());
    assert!(intruder.session.connected(), "a refused report ends no connection");
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_named() {
    let broker = Broker::start();
    let good = broker.client(DEVICE);
    let other = broker.client("cam-0002");
    let garbage = broker.path("garbage.pem");
    std::fs::write(&garbage, "-----BEGIN NOTHING-----\nAAAA\n-----END NOTHING-----\n").unwrap();
    let missing = broker.path("missing.pem");
    for (mqtt, key) in [
        (Mqtt { ca: missing.clone(), ..good.clone() }, "mqtt.ca: "),
        (Mqtt { ca: garbage.clone(), ..good.clone() }, "mqtt.ca: "),
        (Mqtt { cert: missing.clone(), ..good.clone() }, "mqtt.cert: "),
        (Mqtt { cert: garbage.clone(), ..good.clone() }, "mqtt.cert: "),
        (Mqtt { key: missing.clone(), ..good.clone() }, "mqtt.key: "),
        (Mqtt { key: garbage.clone(), ..good.clone() }, "mqtt.key: "),
        (Mqtt { key: other.key.clone(), ..good.clone() }, "mqtt.key: "),
    ] {
        let (sender, _inputs) = mpsc::channel(1);
        let error = mqtt::open(DEVICE, &mqtt, &Keys::for_all(&[]), sender, 7).unwrap_err();
        assert!(error.contains(key), "{error}");
        assert!(!error.contains("AAAA"), "{error}");
    }
}
