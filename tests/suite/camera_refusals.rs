//! A login that a camera refuses, and how rarely it is sent again.

use kasacam::capture::refusals::{Going, REFUSED_INTERVAL, Refusals, Requests};
use kasacam::domain::time::Mono;
use proptest::prelude::*;
use std::time::Duration;

const DESCRIBE: i32 = 1;
const OPTIONS: i32 = 1 << 3;
const PLAY: i32 = 1 << 5;
const SETUP: i32 = 1 << 8;
const TEARDOWN: i32 = 1 << 10;

fn at(seconds: u64) -> Mono {
    Mono(seconds * 1_000_000_000)
}

#[test]
fn a_refused_login_waits_for_ten_minutes_and_another_does_not() {
    let mut refusals = Refusals::default();
    let (wrong, other) = ([1; 32], [2; 32]);
    assert_eq!(refusals.wait("a", &wrong, at(5)), None);
    refusals.refused("a", &wrong, at(5));
    assert_eq!(refusals.wait("a", &wrong, at(5)), Some(REFUSED_INTERVAL));
    assert_eq!(refusals.wait("a", &wrong, at(604)), Some(Duration::from_secs(1)));
    assert_eq!(refusals.wait("a", &wrong, at(605)), None);
    assert_eq!(refusals.wait("a", &other, at(6)), None, "the file holds something else");
    assert_eq!(refusals.wait("b", &wrong, at(6)), None, "another camera");
}

#[test]
fn a_login_without_an_answer_counts_as_refused_unless_it_was_accepted_before() {
    let mut refusals = Refusals::default();
    refusals.shown("a", &[1; 32], at(5));
    assert!(refusals.wait("a", &[1; 32], at(6)).is_some(), "the run ended before the answer came");
    refusals.accepted("a", &[1; 32]);
    assert_eq!(refusals.wait("a", &[1; 32], at(6)), None);
    refusals.shown("a", &[1; 32], at(7));
    assert_eq!(refusals.wait("a", &[1; 32], at(8)), None, "a network that fails is no refusal");
    refusals.refused("a", &[1; 32], at(9));
    assert!(refusals.wait("a", &[1; 32], at(10)).is_some(), "the password was changed at the camera");
}

proptest! {
    #[test]
    fn no_camera_gets_a_wrong_password_twice_within_ten_minutes(
        starts in prop::collection::vec((0_u64..400, any::<bool>()), 1..60),
    ) {
        let mut refusals = Refusals::default();
        let (mut now, mut heard) = (0, Vec::new());
        for (later, answered) in starts {
            now += later;
            if refusals.wait("a", &[1; 32], at(now)).is_none() {
                refusals.shown("a", &[1; 32], at(now));
                heard.push(now);
                if answered {
                    refusals.refused("a", &[1; 32], at(now));
                }
            }
        }
        prop_assert!(heard.windows(2).all(|pair| pair[1] - pair[0] >= 600), "{heard:?}");
    }
}

#[test]
fn a_request_that_was_refused_twice_is_not_sent_a_third_time() {
    let url = "rtsp://192.0.2.7/live";
    let going = |requests: &mut Requests, method| requests.going(method, url);
    for first in [OPTIONS, DESCRIBE, SETUP] {
        let mut requests = Requests::to(url);
        let all: Vec<Going> = (0..8).map(|_| going(&mut requests, first)).collect();
        assert_eq!(all[..2], [Going::Plain, Going::Shows]);
        assert!(all[2..].iter().all(|it| *it == Going::Held), "{all:?}");
    }
}

#[test]
fn a_working_session_continues() {
    let mut requests = Requests::to("rtsp://192.0.2.7:554/live?x=1");
    let to = "rtsp://192.0.2.7:554/live";
    assert_eq!(requests.going(OPTIONS, to), Going::Plain);
    assert_eq!(requests.going(DESCRIBE, to), Going::Plain);
    assert_eq!(requests.going(DESCRIBE, to), Going::Shows);
    assert_eq!(requests.going(SETUP, &format!("{to}/1")), Going::Plain);
    assert_eq!(requests.going(SETUP, "rtsp://10.0.0.1/2"), Going::Plain, "as its SDP says");
    assert_eq!(requests.going(PLAY, to), Going::Plain);
    for _ in 0..100 {
        assert_eq!(requests.going(OPTIONS, to), Going::Plain, "it is kept alive by them");
    }
    assert_eq!(requests.going(TEARDOWN, to), Going::Plain);
}

#[test]
fn another_host_gets_no_login() {
    for (url, other, same) in [
        ("rtsp://camera.example/live", "rtsp://evil.example/live", "rtsp://Camera.Example:554/live"),
        ("rtsp://[2001:db8::7]:8554/live", "rtsp://[2001:db8::8]:8554/live", "rtsp://[2001:db8::7]:554/x"),
        ("rtsps://192.0.2.7/live", "rtsp://192.0.2.7.evil.example/live", "rtsp://192.0.2.7/live"),
    ] {
        assert_eq!(Requests::to(url).going(DESCRIBE, other), Going::Held, "{other}");
        assert_eq!(Requests::to(url).going(DESCRIBE, same), Going::Plain, "{same}");
    }
}
