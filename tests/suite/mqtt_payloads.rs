//! Bytes that claim to come from the cloud, and how they are handled.

use crate::support::signer::{ENTITLEMENT, KID, PRIVACY, Signer, entitlement_claims, privacy_claims};
use kasacam::domain::entitlement::{Features, Lease, Status};
use kasacam::domain::input::{AckToken, Input, Rejection};
use kasacam::domain::privacy::PrivacyChoice;
use kasacam::domain::time::Utc;
use kasacam::mqtt::Keys;
use kasacam::mqtt::payloads::SignedReader;
use kasacam::mqtt::topics::Topics;
use proptest::prelude::*;
use serde_json::{Value, json};

pub const DEVICE: &str = "cam-0001";
pub const TOKEN: AckToken = AckToken { connection: 1, delivery: 1 };

pub fn reader() -> SignedReader {
    SignedReader { device: DEVICE.to_owned(), keys: Keys::for_all(&[Signer::ours().key()]) }
}

pub fn privacy(jws: impl AsRef<[u8]>) -> Result<PrivacyChoice, Rejection> {
    reader().privacy(jws.as_ref()).map(|(choice, _)| choice)
}

pub fn entitlement(jws: impl AsRef<[u8]>) -> Result<Lease, Rejection> {
    reader().entitlement(jws.as_ref()).map(|(lease, _)| lease)
}

pub fn header(typ: &str) -> String {
    json!({ "alg": "EdDSA", "kid": KID, "typ": typ }).to_string()
}

/// Good privacy claims as text, with `from` replaced.
fn text_with(from: &str, to: &str) -> String {
    let text = privacy_claims(DEVICE, 17, false).to_string();
    assert!(text.contains(from), "{text} has no {from}");
    text.replace(from, to)
}

fn signed_text(payload: impl AsRef<[u8]>) -> String {
    Signer::ours().sign_raw(header(PRIVACY), payload)
}

#[test]
fn a_good_choice_is_read() {
    let jws = Signer::ours().privacy(DEVICE, 17, true);
    let issued_at = Utc::parse("2026-11-23T12:00:00Z").unwrap();
    let choice = PrivacyChoice { version: 17, issued_at, do_not_record: true };
    assert_eq!(reader().privacy(jws.as_bytes()), Ok((choice, jws)));
}

#[test]
fn a_good_lease_is_read() {
    let lease = entitlement(Signer::ours().entitlement(DEVICE, 42)).unwrap();
    assert_eq!(lease.version, 42);
    assert_eq!(lease.not_after, Utc::parse("2026-12-23T12:00:00Z").unwrap());
    assert_eq!(lease.terms.plan.id, "plus-monthly");
    assert_eq!(lease.terms.status, Status::Active);
    let features = Features { record: true, audio: true, max_height: 1080, history_hours: 720, h265: true };
    assert_eq!(lease.terms.features, features);
    assert_eq!(lease.next, None);
}

#[test]
fn what_next_leaves_out_stays_as_it_is() {
    let mut claims = entitlement_claims(DEVICE, 42);
    claims["next"] = json!({ "from": "2026-12-01T00:00:00Z", "plan": { "id": "free", "tier": "free" } });
    let lease = entitlement(Signer::ours().sign(ENTITLEMENT, &claims)).unwrap();
    let next = lease.next.unwrap();
    assert_eq!(next.from, Utc::parse("2026-12-01T00:00:00Z").unwrap());
    assert_eq!(next.not_after, None);
    assert_eq!(next.terms.plan.id, "free");
    assert_eq!((next.terms.status, next.terms.features), (lease.terms.status, lease.terms.features));
}

#[test]
fn a_claim_that_is_not_known_is_passed_over() {
    let jws = signed_text(text_with("\"version\"", "\"colour\":{\"a\":[1.5,null]},\"version\""));
    assert_eq!(privacy(jws).unwrap().version, 17);
}

#[test]
fn a_privacy_claim_that_is_missing_doubled_or_of_another_type_is_malformed() {
    let good = privacy_claims(DEVICE, 17, false);
    for name in ["device_id", "version", "issued_at", "do_not_record"] {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        assert_eq!(privacy(Signer::ours().sign(PRIVACY, &claims)), Err(Rejection::Malformed), "no {name}");
        for wrong in [Value::Null, json!([]), json!({}), json!(1.5), json!(-1)] {
            claims[name] = wrong.clone();
            let jws = Signer::ours().sign(PRIVACY, &claims);
            assert_eq!(privacy(jws), Err(Rejection::Malformed), "{name}: {wrong}");
        }
        let doubled = good.to_string().replacen('{', &format!("{{\"{name}\":{},", good[name]), 1);
        assert_eq!(privacy(signed_text(doubled)), Err(Rejection::Malformed), "{name} twice");
    }
}

#[test]
fn a_version_is_a_whole_number_up_to_2_to_the_53_minus_1() {
    let with = |number: &str| privacy(signed_text(text_with("17", number))).map(|choice| choice.version);
    assert_eq!(with("0"), Ok(0));
    assert_eq!(with("9007199254740991"), Ok(9_007_199_254_740_991));
    for wrong in [
        "9007199254740992",
        "18446744073709551615",
        "18446744073709551616",
        "1e400",
        "-1",
        "-0",
        "17.0",
        "17.5",
        "1e3",
        "017",
        "0x11",
        "+17",
        "\"17\"",
        "true",
        "NaN",
        "null",
    ] {
        assert_eq!(with(wrong), Err(Rejection::Malformed), "{wrong}");
    }
}

#[test]
fn claims_that_are_not_one_strict_object_are_malformed() {
    let good = privacy_claims(DEVICE, 17, false).to_string();
    let deep_list =
        text_with("\"version\"", &format!("\"x\":{}{},\"version\"", "[".repeat(50), "]".repeat(50)));
    let inner_double = text_with("\"version\"", "\"x\":{\"a\":1,\"a\":2},\"version\"");
    for (name, payload) in [
        ("trailing text", format!("{good} x").into_bytes()),
        ("a second object", format!("{good}{good}").into_bytes()),
        ("a list around it", format!("[{good}]").into_bytes()),
        ("a byte order mark", format!("\u{feff}{good}").into_bytes()),
        ("a comment", format!("/**/{good}").into_bytes()),
        ("a comma too many", good.replace('}', ",}").into_bytes()),
        ("invalid UTF-8", [b"{\"\xff\":1,", &good.as_bytes()[1..]].concat()),
        ("a lone surrogate", text_with("\"version\"", "\"x\":\"\\ud800\",\"version\"").into_bytes()),
        ("deep lists", deep_list.into_bytes()),
        ("very deep lists", "[".repeat(10_000).into_bytes()),
        ("a name twice in an unknown claim", inner_double.into_bytes()),
        ("cut short", good.as_bytes()[..good.len() - 1].to_vec()),
    ] {
        assert_eq!(privacy(signed_text(&payload)), Err(Rejection::Malformed), "{name}");
    }
}

#[test]
fn a_time_is_rfc_3339_in_utc() {
    let with = |time: &str| privacy(signed_text(text_with("2026-11-23T12:00:00Z", time)));
    assert!(with("2026-11-23T12:00:00.123456Z").is_ok());
    for wrong in [
        "",
        "2026-11-23",
        "2026-11-23T12:00:00",
        "2026-11-23T12:00:00+01:00",
        "2026-13-23T12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-11-23T24:00:01Z",
        "1926-11-23T12:00:00Z",
        "9999-12-31T23:59:59Z",
        "1795435200",
        "23 Nov 2026",
    ] {
        assert_eq!(with(wrong), Err(Rejection::Malformed), "{wrong}");
    }
}

#[test]
fn another_cameras_message_is_refused() {
    for device in ["cam-0002", "cam-00010", "CAM-0001", "cam-0001 ", "cam-000", ""] {
        let ours = Signer::ours();
        assert_eq!(privacy(ours.privacy(device, 17, false)), Err(Rejection::WrongDevice), "{device}");
        assert_eq!(entitlement(ours.entitlement(device, 17)), Err(Rejection::WrongDevice), "{device}");
    }
}

#[test]
fn a_lease_with_a_part_missing_or_out_of_range_is_malformed() {
    let long = "x".repeat(65);
    let wrong: Vec<(&str, Value)> = vec![
        ("/version", json!(-1)),
        ("/not_after", json!("tomorrow")),
        ("/issued_at", json!(0)),
        ("/plan", json!("plus-monthly")),
        ("/plan/id", json!("")),
        ("/plan/id", json!(long)),
        ("/plan/id", json!("plus\r\nx-amz-acl: public-read")),
        ("/plan/id", json!("plus monthly")),
        ("/plan/id", json!("plüs")),
        ("/plan/tier", json!(3)),
        ("/status", json!("Active")),
        ("/status", json!("trialing")),
        ("/status", json!(null)),
        ("/features", json!([])),
        ("/features/record", json!("true")),
        ("/features/record", json!(1)),
        ("/features/audio", json!(null)),
        ("/features/max_height", json!(0)),
        ("/features/max_height", json!(4321)),
        ("/features/max_height", json!(1080.0)),
        ("/features/history_hours", json!(87_601)),
        ("/features/history_hours", json!(-1)),
        ("/next", json!([])),
        ("/next", json!({})),
        ("/next", json!({ "from": "soon" })),
        ("/next", json!({ "from": "2026-12-01T00:00:00Z", "not_after": "later" })),
        ("/next", json!({ "from": "2026-12-01T00:00:00Z", "not_after": null })),
        ("/next", json!({ "from": "2026-12-01T00:00:00Z", "status": "gone" })),
        ("/next", json!({ "from": "2026-12-01T00:00:00Z", "plan": {} })),
        ("/next", json!({ "from": "2026-12-01T00:00:00Z", "features": { "record": true } })),
    ];
    for (pointer, value) in wrong {
        let mut claims = entitlement_claims(DEVICE, 42);
        if pointer == "/next" {
            claims["next"] = value.clone();
        } else {
            *claims.pointer_mut(pointer).unwrap() = value.clone();
        }
        let jws = Signer::ours().sign(ENTITLEMENT, &claims);
        assert_eq!(entitlement(jws), Err(Rejection::Malformed), "{pointer}: {value}");
    }
    for path in ["version", "issued_at", "not_after", "plan", "status", "features"] {
        let mut claims = entitlement_claims(DEVICE, 42);
        claims.as_object_mut().unwrap().remove(path);
        let jws = Signer::ours().sign(ENTITLEMENT, &claims);
        assert_eq!(entitlement(jws), Err(Rejection::Malformed), "no {path}");
    }
    for feature in ["record", "audio", "max_height", "history_hours"] {
        let mut claims = entitlement_claims(DEVICE, 42);
        claims["features"].as_object_mut().unwrap().remove(feature);
        let jws = Signer::ours().sign(ENTITLEMENT, &claims);
        assert_eq!(entitlement(jws), Err(Rejection::Malformed), "no {feature}");
    }
}

#[test]
fn a_topic_that_is_not_ours_is_unknown_whatever_it_says() {
    let jws = Signer::ours().privacy(DEVICE, 1, false);
    for topic in [
        &b"kasacam/v1/cam-0002/privacy/desired"[..],
        b"kasacam/v1/cam-0001/privacy/desired/",
        b"kasacam/v1/cam-0001/privacy/reported",
        b"\xff\xfe\n\x1b[31m",
        b"",
        &[b'x'; 65_535],
    ] {
        let input = reader().read(&Topics::new(DEVICE), topic, jws.as_bytes(), true, TOKEN);
        let Input::Rejected { topic, reason: Rejection::UnknownTopic, ack: Some(TOKEN) } = input else {
            panic!("{input:?}");
        };
        assert!(topic.len() <= 128 && topic.bytes().all(|b| b.is_ascii_graphic()), "{topic}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic_or_accept(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        prop_assert!(privacy(&bytes).is_err());
        prop_assert!(privacy(signed_text(&bytes)).is_err());
        let with_this_header = Signer::ours().sign_raw(&bytes, "claims");
        prop_assert!(privacy(with_this_header).is_err());
    }

    #[test]
    fn no_single_changed_byte_is_accepted(at in 0_usize..10_000, with in 1_u8..=255) {
        let mut jws = Signer::ours().privacy(DEVICE, 17, false).into_bytes();
        let at = at % jws.len();
        jws[at] ^= with;
        prop_assert!(privacy(&jws).is_err());
    }
}
