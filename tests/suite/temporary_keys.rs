//! Temporary keys of the store: when they are requested, and what is read of an answer.

use http::StatusCode;
use kasacam::domain::time::{Mono, Utc};
use kasacam::upload::iot::read;
use kasacam::upload::iot::renewal::{MAX_LIFE, MIN_AGE, MIN_LEFT, Renewal, Step};
use serde_json::{Value, json};
use std::time::Duration;

const START: Mono = Mono(1_000_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);

fn after(seconds: u64) -> Mono {
    START + Duration::from_secs(seconds)
}

#[test]
fn keys_are_renewed_in_the_third_quarter_of_their_life_and_not_by_a_fleet_at_once() {
    let mut due = Vec::new();
    for seed in 0..100 {
        let mut renewal = Renewal::new(seed);
        assert_eq!(renewal.step(START), Step::Ask);
        renewal.got(HOUR, START);
        let first = (0..3600).find(|second| renewal.step(after(*second)) == Step::Renew).unwrap();
        assert!((1800..=2700).contains(&first), "{first}");
        assert_eq!(renewal.step(after(first - 1)), Step::Use);
        assert_eq!(renewal.step(after(3600 - MIN_LEFT.as_secs() - 1)), Step::Renew);
        assert_eq!(renewal.step(after(3600 - MIN_LEFT.as_secs())), Step::Ask, "they end");
        due.push(first);
    }
    due.sort_unstable();
    due.dedup();
    assert!(due.len() > 50, "they are spread: {due:?}");
}

#[test]
fn the_last_good_keys_go_on_through_an_outage_of_the_provider_to_their_end() {
    let mut renewal = Renewal::new(7);
    renewal.got(HOUR, START);
    let (mut failures, mut at) = (0, 2700);
    while at < 3600 - MIN_LEFT.as_secs() {
        match renewal.step(after(at)) {
            Step::Renew => {
                assert_eq!(renewal.failed(after(at)), failures == 0, "told once");
                failures += 1;
                assert_eq!(renewal.step(after(at)), Step::Use, "and not asked again at once");
            }
            Step::Use => {}
            other => panic!("{other:?} at {at}"),
        }
        at += 1;
    }
    assert!((3..60).contains(&failures), "{failures}");
    // Then there are none: the provider is asked from time to time, for an hour.
    let mut asked = 0;
    for at in at..at + 3600 {
        match renewal.step(after(at)) {
            Step::Ask => {
                renewal.failed(after(at));
                asked += 1;
            }
            Step::Wait => {}
            other => panic!("{other:?} at {at}"),
        }
    }
    assert!((12..200).contains(&asked), "{asked}");
    let back = after(at + 4000);
    assert_eq!(renewal.step(back), Step::Ask);
    renewal.got(HOUR, back);
    assert_eq!(renewal.step(back), Step::Use);
}

#[test]
fn keys_that_the_store_takes_for_ended_are_asked_for_anew_but_not_again_and_again() {
    let mut renewal = Renewal::new(7);
    renewal.got(HOUR, START);
    assert!(!renewal.refused(START + (MIN_AGE - Duration::from_secs(1))), "they were just got");
    assert_eq!(renewal.step(after(59)), Step::Use);
    assert!(renewal.refused(START + MIN_AGE));
    assert_eq!(renewal.step(after(60)), Step::Ask);
    assert!(!renewal.refused(after(61)), "there are none");
}

#[test]
fn a_life_without_end_is_asked_about_again_all_the_same() {
    let mut renewal = Renewal::new(7);
    renewal.got(Duration::from_secs(u64::MAX / 4), START);
    assert_eq!(renewal.step(START + MAX_LIFE), Step::Ask);
    renewal.got(Duration::ZERO, START);
    assert_eq!(renewal.step(START), Step::Ask);
}

fn answer() -> Value {
    json!({"credentials": {"accessKeyId": "ASIAEXAMPLE", "secretAccessKey": "hush-secret",
        "sessionToken": "hush-token", "expiration": "2026-11-26T13:00:00Z"}})
}

#[test]
fn the_life_of_keys_is_told_by_the_providers_own_clock() {
    let (keys, life) =
        read(StatusCode::OK, answer().to_string().as_bytes(), Utc::parse("2026-11-26T12:00:00Z").unwrap())
            .unwrap();
    assert_eq!((keys.access_key_id(), keys.session_token()), ("ASIAEXAMPLE", Some("hush-token")));
    assert_eq!(life, HOUR);
    let (_, life) =
        read(StatusCode::OK, answer().to_string().as_bytes(), Utc::parse("2026-11-26T14:00:00Z").unwrap())
            .unwrap();
    assert_eq!(life, Duration::ZERO);
}

#[test]
fn an_answer_that_is_none_is_told_and_not_quoted() {
    let mut bad = vec![json!({}).to_string(), String::from("<html>hush</html>"), String::new()];
    for member in ["accessKeyId", "secretAccessKey", "sessionToken", "expiration"] {
        let mut without = answer();
        without["credentials"].as_object_mut().unwrap().remove(member);
        bad.push(without.to_string());
        let mut other = answer();
        other["credentials"][member] = json!("hush hush\r\n");
        bad.push(other.to_string());
    }
    for body in bad {
        let why = read(StatusCode::OK, body.as_bytes(), Utc(0)).unwrap_err();
        assert!(!why.is_empty() && !why.contains("hush"), "{why}");
    }
    for (status, word) in [(403, "iot:AssumeRoleWithCertificate"), (404, "role alias"), (500, "HTTP 500")] {
        let why = read(StatusCode::from_u16(status).unwrap(), b"hush", Utc(0)).unwrap_err();
        assert!(why.contains(word) && !why.contains("hush"), "{why}");
    }
}
