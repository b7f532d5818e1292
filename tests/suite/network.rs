//! The broker behind typical networks, each in its own network namespace: unreachable addresses, only one
//! address family, names that are slow, fail or change.

use crate::support::broker::{Broker, wait};
use crate::support::figures::figure;
use crate::support::name_server::{Answer, NameServer};
use crate::support::namespace::{DEAD_V4, DEAD_V6, V4, V4_LAST, V6, is_inside};
use crate::support::patience::patient;
use crate::support::signer::Signer;
use kasacam::config::Mqtt;
use kasacam::domain::input::Input;
use kasacam::mqtt::{self, Session};
use rcgen::SanType;
use std::net::{IpAddr, ToSocketAddrs};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const NAME: &str = "broker.test";

fn broker(ip: IpAddr) -> Broker {
    Broker::start_at(ip, vec![SanType::DnsName(NAME.try_into().unwrap()), SanType::IpAddress(ip)])
}

struct Camera {
    _session: Session,
    inputs: mpsc::Receiver<Input>,
    began: Instant,
}

impl Camera {
    fn of(broker: &Broker) -> Camera {
        Camera::with(&Mqtt { host: NAME.to_owned(), ..broker.client("cam-0001") })
    }

    fn with(mqtt: &Mqtt) -> Camera {
        let (sender, inputs) = mpsc::channel(64);
        let began = Instant::now();
        let session =
            mqtt::open("cam-0001", mqtt, &mqtt::Keys::for_all(&[Signer::ours().key()]), sender, 7).unwrap();
        Camera { _session: session, inputs, began }
    }

    async fn hears(&mut self) -> Input {
        tokio::time::timeout(wait(), self.inputs.recv()).await.expect("an input").unwrap()
    }

    /// How long the first connection took; no attempt may have failed before it.
    async fn connects_at_once(&mut self) -> Duration {
        match self.hears().await {
            Input::Connected => self.began.elapsed(),
            other => panic!("{other:?}"),
        }
    }

    /// Connected in the end; returns why it was not before.
    async fn connects(&mut self) -> Vec<String> {
        let mut whys = Vec::new();
        loop {
            match self.hears().await {
                Input::Connected => return whys,
                Input::Disconnected { why } => whys.push(why),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// In the order of the system's resolver.
fn resolved() -> Vec<IpAddr> {
    (NAME, 1).to_socket_addrs().unwrap().map(|address| address.ip()).collect()
}

#[tokio::test]
async fn an_ipv6_that_leads_nowhere_costs_a_quarter_of_a_second() {
    if !is_inside("network::an_ipv6_that_leads_nowhere_costs_a_quarter_of_a_second") {
        return;
    }
    let _names = NameServer::start(Answer::now(&[DEAD_V6, V4]));
    assert_eq!(resolved(), [DEAD_V6, V4]);
    let broker = broker(V4);
    let took = Camera::of(&broker).connects_at_once().await;
    figure(&format!("MQTT over IPv4 behind an IPv6 that leads nowhere: connected after {took:?}"));
    assert!(took >= Duration::from_millis(250), "{took:?}: was the dead address tried?");
    assert!(took < patient(Duration::from_secs(5)), "{took:?}");
}

#[tokio::test]
async fn five_dead_addresses_come_before_the_one_that_lives() {
    if !is_inside("network::five_dead_addresses_come_before_the_one_that_lives") {
        return;
    }
    let _names = NameServer::start(Answer::now(&[&DEAD_V4[..], &[V4_LAST]].concat()));
    assert_eq!(resolved().last(), Some(&V4_LAST), "{:?}", resolved());
    assert_eq!(resolved().len(), 6);
    let broker = broker(V4_LAST);
    let took = Camera::of(&broker).connects_at_once().await;
    figure(&format!("MQTT behind five dead addresses: connected after {took:?}"));
    assert!(took >= Duration::from_millis(1250), "{took:?}: were the dead addresses tried?");
    assert!(took < patient(Duration::from_secs(8)), "{took:?}");
}

#[tokio::test]
async fn a_network_with_ipv6_alone_is_enough() {
    if !is_inside("network::a_network_with_ipv6_alone_is_enough") {
        return;
    }
    let _names = NameServer::start(Answer::now(&[V6]));
    let broker = broker(V6);
    Camera::of(&broker).connects_at_once().await;
    // The address itself, as in `mqtts://[2001:db8::1]`.
    Camera::with(&broker.client("cam-0001")).connects_at_once().await;
}

#[tokio::test]
async fn a_name_server_that_is_slow_or_fails_or_is_silent_delays_and_ends_nothing() {
    if !is_inside("network::a_name_server_that_is_slow_or_fails_or_is_silent_delays_and_ends_nothing") {
        return;
    }
    let names = NameServer::start(Answer::Addresses(Duration::from_secs(3), vec![V4]));
    let broker = broker(V4);
    let took = Camera::of(&broker).connects_at_once().await;
    assert!(took >= Duration::from_secs(3), "{took:?}");

    for (answer, told) in
        [(Answer::Fails, "the name cannot be resolved"), (Answer::Silent, "the name cannot be resolved")]
    {
        names.answers(answer);
        let mut camera = Camera::of(&broker);
        let Input::Disconnected { why } = camera.hears().await else { panic!("connected without a name") };
        assert!(why.contains(&format!("{NAME}:{}: {told}", broker.port)), "{why}");
        names.answers(Answer::now(&[V4]));
        camera.connects().await;
    }
}

#[tokio::test]
async fn a_name_that_changes_is_followed() {
    if !is_inside("network::a_name_that_changes_is_followed") {
        return;
    }
    let names = NameServer::start(Answer::now(&[DEAD_V4[0]]));
    let mut broker = broker(V4);
    let mut camera = Camera::of(&broker);
    let Input::Disconnected { why } = camera.hears().await else { panic!("nobody is there") };
    assert!(why.contains("192.0.2.66: no connection within"), "{why}");
    names.answers(Answer::now(&[V4]));
    camera.connects().await;

    // Also after a connection existed.
    let asked = names.asked();
    broker.stop();
    camera.hears().await;
    broker.resume();
    camera.connects().await;
    assert!(names.asked() > asked, "the name was not asked for again");
}
