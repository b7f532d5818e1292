//! The uploader on a link of 4 KiB per second: the kernel's own, in a network namespace, with the timeouts of
//! the product. A segment takes longer than any of them, and is still sent.

use crate::support::figures::{figure, skip};
use crate::support::namespace::is_inside;
use crate::support::patience::patient;
use crate::support::store_server::StoreServer;
use crate::support::uploads::{Camera, upload_once};
use crate::upload_outcomes::{footage, time};
use bytes::Bytes;
use kasacam::domain::outcome::Outcome;
use kasacam::upload::Timeouts;
use std::process::Command;
use std::time::{Duration, Instant};

/// Loopback with the packet size of Ethernet, and then 4 KiB/s with a queue of 3 s.
const SETUP: [&[&str]; 2] = [
    &["ip", "link", "set", "lo", "mtu", "1500"],
    &["tc", "qdisc", "add", "dev", "lo", "root", "tbf", "rate", "32768bit", "burst", "3000", "latency", "3s"],
];

#[tokio::test]
async fn a_link_of_4_kib_a_second_finishes_its_segment() {
    const TEST: &str = "slow_link::a_link_of_4_kib_a_second_finishes_its_segment";
    if !is_inside(TEST) {
        return;
    }
    let server = StoreServer::start();
    for command in SETUP {
        let done = Command::new(command[0]).args(&command[1..]).status();
        if !done.is_ok_and(|status| status.success()) {
            return skip(TEST, "the kernel has no such link (ip, tc, sch_tbf)");
        }
    }
    let limits = Timeouts::default();
    let mut camera = Camera::of(&server);
    camera.timeouts = limits;
    let body: Vec<u8> = (0..200 * 1024).map(|n: u32| (n % 251) as u8).collect();
    let began = Instant::now();
    let uploader = camera.uploader();
    let segment = footage();
    let upload = upload_once(&uploader, &segment, time(), Bytes::from(body.clone()));
    let outcome = tokio::time::timeout(patient(Duration::from_secs(150)), upload).await.expect("it ends");
    let took = began.elapsed();
    assert_eq!(outcome, Outcome::Stored, "after {took:?}");
    assert_eq!(server.requests().last().unwrap().body, body);
    figure(&format!(
        "200 KiB over a link of 4 KiB/s: stored after {:.1} s, in one request",
        took.as_secs_f64()
    ));
    assert!(took > limits.inactivity + Duration::from_secs(15), "{took:?}: the link was no slow one");
    assert_eq!(server.requests().iter().filter(|request| request.method == "PUT").count(), 1);
}
