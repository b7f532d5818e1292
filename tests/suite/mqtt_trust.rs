//! Which certificates of a broker are trusted, and for which name: TLS between the session and a real mosquitto.

use crate::mqtt_session::{Camera, DEVICE};
use crate::support::broker::{Broker, Validity};
use crate::support::figures::skip;
use kasacam::config::Mqtt;
use rcgen::SanType;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Two attempts that fail: returns the first reason, and checks that the second did not come at once.
async fn refused(camera: &mut Camera) -> String {
    let why = camera.hears_disconnected().await;
    let began = Instant::now();
    camera.hears_disconnected().await;
    let wait: u64 = why.rsplit_once("next try in ").unwrap().1.trim_end_matches(" ms").parse().unwrap();
    assert!(wait >= 250, "{why}");
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(wait.saturating_sub(5)), "waited only {waited:?}: {why}");
    why
}

#[tokio::test]
async fn a_broker_of_another_authority_is_refused() {
    let broker = Broker::start();
    let mqtt = Mqtt { ca: broker.foreign_ca(), ..broker.client(DEVICE) };
    let why = refused(&mut Camera::start(DEVICE, &mqtt, 64)).await;
    assert!(why.contains("its certificate is not issued by a root of mqtt.ca"), "{why}");
    assert!(why.starts_with(&format!("127.0.0.1:{}: ", broker.port)), "{why}");
}

#[tokio::test]
async fn a_broker_whose_certificate_has_expired_is_refused() {
    let broker = Broker::start_with(Validity::Expired);
    let why = refused(&mut Camera::start(DEVICE, &broker.client(DEVICE), 64)).await;
    assert!(why.contains("its certificate has expired, or our clock is wrong"), "{why}");
}

#[tokio::test]
async fn a_broker_of_another_name_is_refused() {
    let broker = Broker::start();
    let mqtt = Mqtt { host: String::from("localhost"), ..broker.client(DEVICE) };
    let why = refused(&mut Camera::start(DEVICE, &mqtt, 64)).await;
    assert!(why.contains("its certificate is for another host than that of mqtt.url"), "{why}");
}

#[tokio::test]
async fn a_broker_that_refuses_our_certificate_is_named_as_such() {
    let broker = Broker::start();
    let expired = broker.client_with(DEVICE, Validity::Expired);
    let why = refused(&mut Camera::start(DEVICE, &expired, 64)).await;
    assert!(why.contains("it refuses us during TLS"), "{why}");
    assert!(why.contains("mqtt.cert"), "{why}");
}

#[tokio::test]
async fn a_broker_may_be_given_by_its_ipv6_address() {
    let ip = IpAddr::V6(Ipv6Addr::LOCALHOST);
    if std::net::TcpListener::bind((ip, 0)).is_err() {
        return skip("a_broker_may_be_given_by_its_ipv6_address", "there is no ::1");
    }
    let broker = Broker::start_at(ip, vec![SanType::IpAddress(ip)]);
    let mqtt = broker.client(DEVICE);
    assert_eq!(mqtt.host, "::1");
    Camera::start(DEVICE, &mqtt, 64).hears_connected().await;

    // It is valid for that address, and for no other.
    let other = Broker::start_at(ip, vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))]);
    let why = refused(&mut Camera::start(DEVICE, &other.client(DEVICE), 64)).await;
    assert!(why.contains("its certificate is for another host than that of mqtt.url"), "{why}");
    assert!(why.starts_with(&format!("[::1]:{}: ", other.port)), "{why}");
}
