//! Bytes that claim to come from the cloud, and how they are handled.

use crate::support::signer::{ENTITLEMENT, KID, PRIVACY, Signer, encode, entitlement_claims, privacy_claims};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use kasacam::domain::backoff::Jitter;
use kasacam::domain::effect::{EntitlementReport, Event, PrivacyReport, Report, Telemetry};
use kasacam::domain::entitlement::{Features, Lease, Status};
use kasacam::domain::input::{AckToken, Input, Rejection};
use kasacam::domain::privacy::{Known, PrivacyChoice};
use kasacam::domain::time::Utc;
use kasacam::mqtt::outbox::{MAX_ASIDE, MAX_EVENTS, MIN_ASIDE, Outbox};
use kasacam::mqtt::packet::Code;
use kasacam::mqtt::payloads::Reader;
use kasacam::mqtt::topics::{Message, Topics};
use kasacam::mqtt::{Keys, stored_entitlement, stored_privacy};
use proptest::prelude::*;
use ring::hmac;
use serde_json::{Value, json};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::time::Instant;

const DEVICE: &str = "cam-0001";
const TOKEN: AckToken = AckToken { connection: 1, delivery: 1 };

fn reader() -> Reader {
    Reader { device: DEVICE.to_owned(), keys: Keys::for_all(&[Signer::ours().key()]) }
}

fn privacy(jws: impl AsRef<[u8]>) -> Result<PrivacyChoice, Rejection> {
    reader().privacy(jws.as_ref()).map(|(choice, _)| choice)
}

fn entitlement(jws: impl AsRef<[u8]>) -> Result<Lease, Rejection> {
    reader().entitlement(jws.as_ref()).map(|(lease, _)| lease)
}

fn header(typ: &str) -> String {
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
fn no_forged_signature_is_accepted() {
    let ours = Signer::ours();
    let claims = privacy_claims(DEVICE, 17, false).to_string();
    let good = ours.privacy(DEVICE, 17, false);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let hmac_with_public = {
        let header = json!({ "alg": "HS256", "kid": KID, "typ": PRIVACY }).to_string();
        let signed = format!("{}.{}", encode(header), encode(&claims));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &ours.public()), signed.as_bytes());
        format!("{signed}.{}", encode(tag))
    };
    let with_header = |value: Value| ours.sign_raw(value.to_string(), &claims);
    let swapped = {
        // The payload of one message with the header and signature of another.
        let other = ours.privacy(DEVICE, 18, true);
        let mut parts: Vec<&str> = good.split('.').collect();
        parts[1] = other.split('.').nth(1).unwrap();
        parts.join(".")
    };
    let mut bent = URL_SAFE.decode(format!("{signature}==")).unwrap();
    bent[10] ^= 1;
    let short = encode(&bent[..63]);
    let attacker = Signer::new(KID, 9);
    let own_key = json!({
        "alg": "EdDSA", "kid": KID, "typ": PRIVACY,
        "jwk": { "kty": "OKP", "crv": "Ed25519", "x": encode(attacker.public()) },
    });

    for (name, jws, reason) in [
        ("another key under our kid", attacker.privacy(DEVICE, 17, false), Rejection::BadSignature),
        ("a kid that is not ours", Signer::new("other", 7).privacy(DEVICE, 17, false), Rejection::UnknownKey),
        (
            "a kid with a path",
            Signer::new("../../etc/passwd", 7).privacy(DEVICE, 17, false),
            Rejection::UnknownKey,
        ),
        (
            "the attacker's key in the header",
            attacker.sign_raw(own_key.to_string(), &claims),
            Rejection::BadSignature,
        ),
        (
            "alg none without a signature",
            format!(
                "{}.{}.",
                encode(json!({"alg":"none","kid":KID,"typ":PRIVACY}).to_string()),
                encode(&claims)
            ),
            Rejection::WrongAlgorithm,
        ),
        (
            "alg none, signed",
            with_header(json!({"alg":"none","kid":KID,"typ":PRIVACY})),
            Rejection::WrongAlgorithm,
        ),
        (
            "alg in other case",
            with_header(json!({"alg":"eddsa","kid":KID,"typ":PRIVACY})),
            Rejection::WrongAlgorithm,
        ),
        ("HS256 with the public key", hmac_with_public, Rejection::WrongAlgorithm),
        ("RS256", with_header(json!({"alg":"RS256","kid":KID,"typ":PRIVACY})), Rejection::WrongAlgorithm),
        ("ES256", with_header(json!({"alg":"ES256","kid":KID,"typ":PRIVACY})), Rejection::WrongAlgorithm),
        ("no alg", with_header(json!({"kid":KID,"typ":PRIVACY})), Rejection::Malformed),
        ("no kid", with_header(json!({"alg":"EdDSA","typ":PRIVACY})), Rejection::Malformed),
        (
            "a list of kids",
            with_header(json!({"alg":"EdDSA","kid":[KID],"typ":PRIVACY})),
            Rejection::Malformed,
        ),
        ("no typ", with_header(json!({"alg":"EdDSA","kid":KID})), Rejection::Malformed),
        ("typ JWT", with_header(json!({"alg":"EdDSA","kid":KID,"typ":"JWT"})), Rejection::WrongType),
        ("a lease's typ", ours.sign(ENTITLEMENT, &privacy_claims(DEVICE, 17, false)), Rejection::WrongType),
        (
            "crit",
            with_header(json!({"alg":"EdDSA","kid":KID,"typ":PRIVACY,"crit":["exp"],"exp":1})),
            Rejection::Malformed,
        ),
        (
            "b64",
            with_header(json!({"alg":"EdDSA","kid":KID,"typ":PRIVACY,"b64":false})),
            Rejection::Malformed,
        ),
        ("a swapped payload", swapped, Rejection::BadSignature),
        ("a bent signature", format!("{signed}.{}", encode(&bent)), Rejection::BadSignature),
        ("a short signature", format!("{signed}.{short}"), Rejection::BadSignature),
        ("a long signature", format!("{signed}.{}", encode([1; 65])), Rejection::BadSignature),
        ("a signature of zeros", format!("{signed}.{}", encode([0; 64])), Rejection::BadSignature),
        ("no signature", format!("{signed}."), Rejection::Malformed),
    ] {
        assert_eq!(privacy(&jws), Err(reason), "{name}");
    }
}

#[test]
fn only_a_compact_jws_is_read() {
    let ours = Signer::ours();
    let good = ours.privacy(DEVICE, 17, false);
    let claims = privacy_claims(DEVICE, 17, false).to_string();
    let parts: Vec<&str> = good.split('.').collect();
    // The last letter of a 64-byte signature carries four bits that mean nothing and must be zero.
    let stray = format!("{}{}", &good[..good.len() - 1], if good.ends_with('A') { 'B' } else { 'z' });
    let doubled = format!(r#"{{"alg":"EdDSA","alg":"EdDSA","kid":"{KID}","typ":"{PRIVACY}"}}"#);
    let doubled_unknown = format!(r#"{{"x":1,"x":2,"alg":"EdDSA","kid":"{KID}","typ":"{PRIVACY}"}}"#);
    let escaped = format!(r#"{{"alg":"none","\u0061lg":"EdDSA","kid":"{KID}","typ":"{PRIVACY}"}}"#);
    let deep = format!("{}1{}", "{\"a\":".repeat(200), "}".repeat(200));
    let long = json!({"alg":"EdDSA","kid":KID,"typ":PRIVACY,"x":"y".repeat(2000)}).to_string();

    for (name, bytes) in [
        ("nothing", Vec::new()),
        ("one dot", format!("{}.{}", parts[0], parts[1]).into_bytes()),
        ("three dots", format!("{good}.{}", parts[2]).into_bytes()),
        ("only dots", b"..".to_vec()),
        ("invalid UTF-8", [good.as_bytes(), &[0xff, 0xfe]].concat()),
        ("a NUL behind it", [good.as_bytes(), &[0]].concat()),
        ("a line feed behind it", format!("{good}\n").into_bytes()),
        ("a space before it", format!(" {good}").into_bytes()),
        ("padding", format!("{good}==").into_bytes()),
        ("the other base64", good.replace('-', "+").replace('_', "/").replacen('.', "+.", 1).into_bytes()),
        ("stray bits", stray.into_bytes()),
        (
            "the JSON form",
            json!({"payload":parts[1],"protected":parts[0],"signature":parts[2]}).to_string().into_bytes(),
        ),
        ("claims without JWS", claims.clone().into_bytes()),
        ("alg twice in the header", ours.sign_raw(doubled, &claims).into_bytes()),
        ("an unknown name twice in the header", ours.sign_raw(doubled_unknown, &claims).into_bytes()),
        ("alg twice, once escaped", ours.sign_raw(escaped, &claims).into_bytes()),
        ("a header that is a list", ours.sign_raw("[]", &claims).into_bytes()),
        ("two headers", ours.sign_raw(format!("{0}{0}", header(PRIVACY)), &claims).into_bytes()),
        ("a deep header", ours.sign_raw(deep, &claims).into_bytes()),
        ("a long header", ours.sign_raw(long, &claims).into_bytes()),
    ] {
        assert_eq!(privacy(&bytes), Err(Rejection::Malformed), "{name}");
    }
}

#[test]
fn only_16_kib_are_looked_at() {
    let filled = |n: usize| {
        let mut claims = privacy_claims(DEVICE, 17, false);
        claims["filler"] = Value::String("x".repeat(n));
        Signer::ours().sign(PRIVACY, &claims)
    };
    let overhead = filled(0).len();
    let fits = filled((16 * 1024 - overhead) * 3 / 4 - 2);
    assert!(fits.len() <= 16 * 1024 && fits.len() > 16 * 1024 - 8, "{}", fits.len());
    assert!(privacy(fits).is_ok());
    assert_eq!(privacy(filled(17 * 1024)), Err(Rejection::TooLarge));
    assert_eq!(privacy(vec![0xff; 16 * 1024 + 1]), Err(Rejection::TooLarge));
    assert_eq!(privacy(vec![0xff; 16 * 1024]), Err(Rejection::Malformed));
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
fn a_privacy_choice_is_no_lease_and_a_lease_no_privacy_choice() {
    let ours = Signer::ours();
    assert_eq!(entitlement(ours.privacy(DEVICE, 1, false)), Err(Rejection::WrongType));
    assert_eq!(privacy(ours.entitlement(DEVICE, 1)), Err(Rejection::WrongType));
    let topics = Topics::new(DEVICE);
    let [privacy_topic, entitlement_topic] = topics.subscriptions();
    for (topic, jws) in
        [(privacy_topic, ours.entitlement(DEVICE, 1)), (entitlement_topic, ours.privacy(DEVICE, 1, false))]
    {
        let input = reader().read(&topics, topic.as_bytes(), jws.as_bytes(), false, TOKEN);
        assert!(
            matches!(&input, Input::Rejected { topic: t, reason: Rejection::WrongType, ack: Some(TOKEN) } if t == topic)
        );
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

#[test]
fn what_was_kept_is_verified_again() {
    let (ours, keys) = (Signer::ours(), [Signer::ours().key()]);
    let (choice, lease) = (ours.privacy(DEVICE, 3, true), ours.entitlement(DEVICE, 4));
    assert_eq!(stored_privacy(&keys, DEVICE, &choice).value().unwrap().version, 3);
    assert_eq!(stored_entitlement(&keys, DEVICE, &lease).value().unwrap().version, 4);

    let bent = choice.replacen('.', ".A", 1);
    assert_eq!(stored_privacy(&keys, DEVICE, &bent), Known::Unreadable);
    assert_eq!(stored_privacy(&keys, DEVICE, ""), Known::Unreadable);
    assert_eq!(stored_privacy(&keys, "cam-0002", &choice), Known::Unreadable);
    assert_eq!(stored_privacy(&[], DEVICE, &choice), Known::Unreadable);
    assert_eq!(stored_privacy(&keys, DEVICE, &lease), Known::Unreadable);
    assert_eq!(stored_entitlement(&keys, DEVICE, &choice), Known::Unreadable);
}

#[test]
fn a_key_for_the_lease_signs_no_choice_and_a_key_for_the_choice_no_lease() {
    let (owner, shop) = (Signer::new("owner", 8), Signer::new("shop", 9));
    let keys = Keys { privacy: vec![owner.key()], entitlement: vec![shop.key()] };
    let reader = Reader { device: DEVICE.to_owned(), keys };
    assert!(reader.privacy(owner.privacy(DEVICE, 1, false).as_bytes()).is_ok());
    assert!(reader.entitlement(shop.entitlement(DEVICE, 1).as_bytes()).is_ok());
    let refused = Some(Rejection::UnknownKey);
    assert_eq!(reader.privacy(shop.privacy(DEVICE, 1, false).as_bytes()).err(), refused);
    assert_eq!(reader.entitlement(owner.entitlement(DEVICE, 1).as_bytes()).err(), refused);
}

#[test]
fn either_of_two_keys_is_believed_while_keys_change() {
    let (old, new) = (Signer::ours(), Signer::new("entitlement-2027-1", 8));
    let reader = Reader { device: DEVICE.to_owned(), keys: Keys::for_all(&[old.key(), new.key()]) };
    for signer in [old, new] {
        assert!(reader.privacy(signer.privacy(DEVICE, 1, false).as_bytes()).is_ok());
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
