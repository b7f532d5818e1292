//! Whose signature counts on a message of the cloud, and for what.

use crate::mqtt_payloads::{DEVICE, TOKEN, entitlement, header, privacy, reader};
use crate::support::signer::{ENTITLEMENT, KID, PRIVACY, Signer, encode, privacy_claims};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use kasacam::domain::input::{Input, Rejection};
use kasacam::domain::privacy::Recalled;
use kasacam::mqtt::payloads::SignedReader;
use kasacam::mqtt::topics::Topics;
use kasacam::mqtt::{Keys, stored_entitlement, stored_privacy};
use ring::hmac;
use serde_json::{Value, json};

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
fn what_was_kept_is_verified_again() {
    let (ours, keys) = (Signer::ours(), [Signer::ours().key()]);
    let (choice, lease) = (ours.privacy(DEVICE, 3, true), ours.entitlement(DEVICE, 4));
    assert_eq!(stored_privacy(&keys, DEVICE, &choice).value().unwrap().version, 3);
    assert_eq!(stored_entitlement(&keys, DEVICE, &lease).value().unwrap().version, 4);

    let bent = choice.replacen('.', ".A", 1);
    assert_eq!(stored_privacy(&keys, DEVICE, &bent), Recalled::Unreadable);
    assert_eq!(stored_privacy(&keys, DEVICE, ""), Recalled::Unreadable);
    assert_eq!(stored_privacy(&keys, "cam-0002", &choice), Recalled::Unreadable);
    assert_eq!(stored_privacy(&[], DEVICE, &choice), Recalled::Unreadable);
    assert_eq!(stored_privacy(&keys, DEVICE, &lease), Recalled::Unreadable);
    assert_eq!(stored_entitlement(&keys, DEVICE, &choice), Recalled::Unreadable);
}

#[test]
fn a_key_for_the_lease_signs_no_choice_and_a_key_for_the_choice_no_lease() {
    let (owner, shop) = (Signer::new("owner", 8), Signer::new("shop", 9));
    let keys = Keys { privacy: vec![owner.key()], entitlement: vec![shop.key()] };
    let reader = SignedReader { device: DEVICE.to_owned(), keys };
    assert!(reader.privacy(owner.privacy(DEVICE, 1, false).as_bytes()).is_ok());
    assert!(reader.entitlement(shop.entitlement(DEVICE, 1).as_bytes()).is_ok());
    let refused = Some(Rejection::UnknownKey);
    assert_eq!(reader.privacy(shop.privacy(DEVICE, 1, false).as_bytes()).err(), refused);
    assert_eq!(reader.entitlement(owner.entitlement(DEVICE, 1).as_bytes()).err(), refused);
}

#[test]
fn either_of_two_keys_is_believed_while_keys_change() {
    let (old, new) = (Signer::ours(), Signer::new("entitlement-2027-1", 8));
    let reader = SignedReader { device: DEVICE.to_owned(), keys: Keys::for_all(&[old.key(), new.key()]) };
    for signer in [old, new] {
        assert!(reader.privacy(signer.privacy(DEVICE, 1, false).as_bytes()).is_ok());
    }
}
