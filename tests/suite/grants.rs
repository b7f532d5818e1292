//! Upload grants: which are read, which are accepted, who gets one and when. No network here.

use crate::support::signer::{ENTITLEMENT, GRANT, PRIVACY, Signer};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kasacam::domain::grant::{GrantAnswer, Want};
use kasacam::domain::input::Rejection;
use kasacam::domain::time::Mono;
use kasacam::mqtt::Keys;
use kasacam::mqtt::payloads::SignedReader;
use kasacam::upload::grant::desk::{
    ANSWER_TIMEOUT, MAX_KEPT, MAX_LIFETIME, MAX_REQUEST, MAX_WANTS, MIN_LEFT, WANT_TIMEOUT,
};
use kasacam::upload::grant::{Allowed, Desk, Granted, Refusal, Ticket};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

const DEVICE: &str = "cam-0001";
const ENDPOINT: &str = "https://store.example:9000";
const SHA256: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const START: Mono = Mono(1_000_000_000_000);

fn key(n: usize) -> String {
    format!("v1/{DEVICE}/2026-11-26/12/00-00.{n:06}Z.0.mp4")
}

fn want(n: usize) -> Want {
    Want {
        key: key(n),
        size: 1234,
        sha256: SHA256.into(),
        content_type: "video/mp4; codecs=\"avc1.42c01e\"".into(),
        metadata: BTreeMap::from([("span".into(), "s".into()), ("sha256".into(), SHA256.into())]),
    }
}

fn checksum() -> String {
    STANDARD.encode((0..32).collect::<Vec<u8>>())
}

/// The right grant for the nth object.
fn grant(n: usize) -> Value {
    json!({"key": key(n), "method": "PUT",
        "url": format!("{ENDPOINT}/kasa-care/{}?X-Amz-Signature=00112233", key(n)),
        "headers": {"content-length": "1234", "content-type": "video/mp4", "if-none-match": "*",
            "x-amz-checksum-sha256": checksum()},
        "expires_at": "2026-11-26T12:15:00Z", "proof": "x-amz-checksum-sha256"})
}

fn answer(id: &str, grants: &[Value], refused: &[Value]) -> Value {
    json!({"device_id": DEVICE, "version": 1, "issued_at": "2026-11-26T12:00:00Z", "id": id,
        "grants": grants, "refused": refused})
}

fn reader() -> SignedReader {
    SignedReader { device: DEVICE.to_owned(), keys: Keys::for_all(&[Signer::ours().key()]) }
}

fn read(claims: &Value) -> Result<GrantAnswer, Rejection> {
    reader().grant(Signer::ours().sign(GRANT, claims).as_bytes())
}

fn desk() -> Desk {
    Desk::new(Allowed::new(ENDPOINT, "kasa-care"), 7)
}

fn outcomes(desk: &mut Desk) -> HashMap<Ticket, Result<Granted, Refusal>> {
    let mut found = HashMap::new();
    while let Some((ticket, outcome)) = desk.next_outcome() {
        assert!(found.insert(ticket, outcome).is_none(), "one outcome a ticket");
    }
    found
}

/// What happens to one object that gets this answer.
fn taken(claims: &Value) -> Result<Granted, String> {
    let mut desk = desk();
    let ticket = desk.want(want(1), START);
    assert!(desk.next_request("id", START).is_some());
    assert!(desk.answered(&read(claims).unwrap(), START + Duration::from_secs(1)));
    match outcomes(&mut desk).remove(&ticket) {
        Some(Ok(granted)) => Ok(granted),
        Some(Err(Refusal::Object(why))) => Err(why),
        other => panic!("{other:?}"),
    }
}

// ---- what is read ---------------------------------------------------------------------------

#[test]
fn an_answer_is_read_and_shown_without_what_authorises() {
    let read = read(&answer("id", &[grant(1)], &[json!({"key": key(2), "reason": "over_quota"})])).unwrap();
    assert_eq!((read.id.as_str(), read.grants.len(), read.refused.len()), ("id", 1, 1));
    assert_eq!(read.grants[0].headers["content-length"], "1234");
    let shown = format!("{read:?} {:?}", taken(&answer("id", &[grant(1)], &[])).unwrap());
    assert!(!shown.contains("00112233") && !shown.contains("store.example"), "{shown}");
}

#[test]
fn only_a_grant_that_the_operator_signed_for_this_camera_is_read() {
    let good = answer("id", &[grant(1)], &[]);
    let signed = |signer: &Signer, typ: &str, claims: &Value| {
        reader().grant(signer.sign(typ, claims).as_bytes()).unwrap_err()
    };
    let ours = Signer::ours();
    for typ in [PRIVACY, ENTITLEMENT, "JWT"] {
        assert_eq!(signed(&ours, typ, &good), Rejection::WrongType, "{typ}");
    }
    assert_eq!(signed(&Signer::new("a-broker", 9), GRANT, &good), Rejection::UnknownKey);
    let forger = Signer::new(&ours.kid, 9);
    assert_eq!(signed(&forger, GRANT, &good), Rejection::BadSignature);
    let mut other = good.clone();
    other["device_id"] = json!("cam-0002");
    assert_eq!(signed(&ours, GRANT, &other), Rejection::WrongDevice);
    // The owner's key signs the choice, but no grant.
    let reader = SignedReader {
        device: DEVICE.into(),
        keys: Keys { privacy: vec![ours.key()], entitlement: vec![Signer::new("operator", 3).key()] },
    };
    assert_eq!(reader.grant(ours.sign(GRANT, &good).as_bytes()), Err(Rejection::UnknownKey));
}

#[test]
fn claims_that_are_not_those_of_the_contract_are_malformed() {
    let good = answer("id", &[grant(1)], &[json!({"key": key(2), "reason": "over_quota"})]);
    assert!(read(&good).is_ok());
    let mut bad = Vec::new();
    for member in ["version", "issued_at", "id", "grants", "refused"] {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(member);
        bad.push(claims);
    }
    for member in ["key", "method", "url", "headers", "expires_at", "proof"] {
        let mut claims = good.clone();
        claims["grants"][0].as_object_mut().unwrap().remove(member);
        bad.push(claims);
    }
    for (pointer, value) in [
        ("/grants/0", json!("a grant")),
        ("/grants/0/method", json!("GET")),
        ("/grants/0/url", json!("https://store.example/a b")),
        ("/grants/0/url", json!("x".repeat(8193))),
        ("/grants/0/headers/content-length", json!(1234)),
        ("/grants/0/headers/content-type", json!("video/mp4\r\nhost: elsewhere")),
        ("/grants/0/headers/content-type", json!("x".repeat(2049))),
        ("/grants/0/headers", json!({"Content-Length": "1234"})),
        ("/grants/0/headers", json!({"": "1234"})),
        (
            "/grants/0/headers",
            (0..65).map(|n| (format!("h{n}"), "v")).collect::<HashMap<_, _>>().into_iter().collect(),
        ),
        ("/grants/0/proof", json!("etag")),
        ("/grants", json!((0..17).map(grant).collect::<Vec<_>>())),
        ("/grants", json!((0..100).map(|_| json!({})).collect::<Vec<_>>())),
        ("/refused/0/reason", json!("See https://x")),
        ("/refused/0/reason", json!("x".repeat(65))),
        ("/id", json!("x".repeat(65))),
    ] {
        let mut claims = good.clone();
        *claims.pointer_mut(pointer).unwrap() = value;
        bad.push(claims);
    }
    for claims in bad {
        assert_eq!(read(&claims), Err(Rejection::Malformed), "{claims}");
    }
}

#[test]
fn an_answer_as_large_as_brokers_carry_is_read_and_a_larger_one_is_not() {
    let mut claims = answer("id", &(0..16).map(grant).collect::<Vec<_>>(), &[]);
    for n in 0..16 {
        let url = format!("{ENDPOINT}/kasa-care/{}?token={}", key(n), "t".repeat(5000));
        claims["grants"][n]["url"] = json!(url);
    }
    let jws = Signer::ours().sign(GRANT, &claims);
    assert!(jws.len() > 100_000 && reader().grant(jws.as_bytes()).is_ok(), "{}", jws.len());
    for n in 0..16 {
        let url = format!("{ENDPOINT}/kasa-care/{}?token={}", key(n), "t".repeat(7000));
        claims["grants"][n]["url"] = json!(url);
    }
    let jws = Signer::ours().sign(GRANT, &claims);
    assert_eq!(reader().grant(jws.as_bytes()), Err(Rejection::TooLarge));
}

// ---- what is taken --------------------------------------------------------------------------

#[test]
fn a_grant_is_taken_with_the_bucket_in_the_path_or_before_the_host() {
    let granted = taken(&answer("id", &[grant(1)], &[])).unwrap();
    assert_eq!(granted.url.query(), Some("X-Amz-Signature=00112233"));
    assert_eq!(granted.headers["if-none-match"], "*");
    assert!(!granted.headers.contains_key("content-length"), "that one is the client's to set");
    for url in [
        format!("https://kasa-care.store.example:9000/{}?sig=1", key(1)),
        format!("https://STORE.example:9000/kasa-care/{}?sig=1", key(1).replace('-', "%2D")),
    ] {
        let mut grant = grant(1);
        grant["url"] = json!(url);
        assert!(taken(&answer("id", &[grant], &[])).is_ok(), "{url}");
    }
}

#[test]
fn a_grant_for_another_host_bucket_key_size_or_checksum_is_refused() {
    let url = |url: String| ("url", json!(url));
    let header = |name: &'static str, value: &str| (name, json!(value));
    let (host, path) = ("it leads to another host", "its URL is for another bucket or key");
    let cases = [
        (url(format!("https://elsewhere.example:9000/kasa-care/{}", key(1))), host),
        (url(format!("https://store.example/kasa-care/{}", key(1))), host),
        (url(format!("http://store.example:9000/kasa-care/{}", key(1))), host),
        (url(format!("https://store.example:9000@elsewhere.example/kasa-care/{}", key(1))), host),
        (url(format!("https://user@store.example:9000/kasa-care/{}", key(1))), host),
        (url(format!("https://store.example:9000.elsewhere.example/kasa-care/{}", key(1))), host),
        (url(format!("https://other.store.example:9000/{}", key(1))), host),
        (url(format!("{ENDPOINT}/other/{}", key(1))), path),
        (url(format!("{ENDPOINT}/kasa-care/{}", key(2))), path),
        (url(format!("{ENDPOINT}/kasa-care/x/../{}", key(1))), path),
        (url(format!("{ENDPOINT}/kasa-care/{}%", key(1))), path),
        (header("content-length", "1235"), "another size"),
        (header("content-length", "-1"), "another size"),
        (header("x-amz-checksum-sha256", "AAAA"), "another checksum"),
        (header("x-amz-meta-sha256", &SHA256.replace('0', "1")), "another checksum"),
        (header("if-none-match", "\"etag\""), "would replace an object"),
        (header("host", "elsewhere.example"), "not for a grant to set"),
        (header("authorization", "Bearer x"), "not for a grant to set"),
        (header("transfer-encoding", "chunked"), "not for a grant to set"),
    ];
    for ((name, value), why) in cases {
        let mut grant = grant(1);
        match name {
            "url" => grant["url"] = value,
            header => grant["headers"][header] = value,
        }
        let told = taken(&answer("id", &[grant.clone()], &[])).unwrap_err();
        assert!(told.contains(why), "{grant}: {told}");
        assert!(
            !told.contains("elsewhere") && !told.contains("kasa-care"),
            "nothing of it is quoted: {told}"
        );
    }
    for (missing, why) in [
        ("content-length", "names no size"),
        ("x-amz-checksum-sha256", "names no checksum"),
        ("if-none-match", "would replace an object"),
    ] {
        let mut grant = grant(1);
        grant["headers"].as_object_mut().unwrap().remove(missing);
        assert!(taken(&answer("id", &[grant], &[])).unwrap_err().contains(why), "{missing}");
    }
    let told = taken(&answer("id", &[grant(2)], &[])).unwrap_err();
    assert!(told.contains("for another key"), "{told}");
}

#[test]
fn a_store_of_another_kind_proves_with_a_header_of_its_own() {
    let mut goog = grant(1);
    goog["headers"] = json!({"content-length": "1234", "x-goog-if-generation-match": "0",
        "x-goog-meta-sha256": SHA256});
    goog["proof"] = json!("x-goog-hash");
    let mut azure = grant(1);
    azure["headers"] = json!({"content-length": "1234", "if-none-match": "*", "x-ms-blob-type": "BlockBlob",
        "x-ms-meta-sha256": SHA256});
    azure["proof"] = json!("content-md5");
    for grant in [&goog, &azure] {
        let granted = taken(&answer("id", std::slice::from_ref(grant), &[])).unwrap();
        assert_eq!(granted.proof.header(), grant["proof"].as_str().unwrap());
    }
    // The store will not prove what it was not asked to check.
    goog["proof"] = json!("x-amz-checksum-sha256");
    assert!(taken(&answer("id", &[goog], &[])).unwrap_err().contains("its headers do not have"));
}

#[test]
fn the_cloud_refuses_with_a_reason_that_is_told() {
    let told = taken(&answer("id", &[], &[json!({"key": key(1), "reason": "over_quota"})])).unwrap_err();
    assert_eq!(told, "the cloud grants no upload of it: over_quota");
}

// ---- who gets one, and when -----------------------------------------------------------------

#[test]
fn what_is_wanted_meanwhile_goes_with_the_next_request() {
    let mut desk = desk();
    let first = desk.want(want(0), START);
    let request = desk.next_request("first", START).unwrap();
    assert_eq!((request.id.as_str(), request.want), ("first", vec![want(0)]));
    let tickets: Vec<_> = (1..20).map(|n| desk.want(want(n), START)).collect();
    assert_eq!(desk.next_request("second", START), None, "one is under way");
    assert!(desk.answered(&read(&answer("first", &[grant(0)], &[])).unwrap(), START));
    assert!(outcomes(&mut desk)[&first].is_ok());

    let request = desk.next_request("second", START).unwrap();
    assert_eq!(request.want, (1..17).map(want).collect::<Vec<_>>(), "sixteen, the oldest first");
    let grants: Vec<_> = (1..17).map(grant).collect();
    assert!(desk.answered(&read(&answer("second", &grants, &[])).unwrap(), START));
    let granted = outcomes(&mut desk);
    assert!(granted.len() == 16 && tickets[..16].iter().all(|ticket| granted[ticket].is_ok()));
    assert_eq!(desk.next_request("third", START).unwrap().want, (17..20).map(want).collect::<Vec<_>>());
}

#[test]
fn a_request_is_never_larger_than_a_report_may_be() {
    let mut desk = desk();
    for n in 0..MAX_WANTS {
        let mut want = want(n);
        want.metadata.extend((0..8).map(|i| (format!("m{i}"), "\\".repeat(100 + n))));
        desk.want(want, START);
    }
    let mut asked = 0;
    while let Some(request) = desk.next_request(&asked.to_string(), START) {
        let size = serde_json::to_vec(&request).unwrap().len();
        assert!(size <= MAX_REQUEST + 64 && !request.want.is_empty(), "{size}");
        let grants: Vec<_> = (asked..asked + request.want.len()).map(grant).collect();
        desk.answered(&read(&answer(&request.id, &grants, &[])).unwrap(), START);
        asked += request.want.len();
    }
    assert_eq!(asked, MAX_WANTS);
    assert!(outcomes(&mut desk).values().all(Result::is_ok));
    let mut huge = want(0);
    huge.metadata.insert("m".into(), "x".repeat(MAX_REQUEST));
    let ticket = desk.want(huge, START);
    assert!(matches!(outcomes(&mut desk)[&ticket], Err(Refusal::Object(_))));
}

#[test]
fn a_cloud_that_refuses_is_not_asked_again_at_once() {
    let mut desk = desk();
    desk.want(want(1), START);
    desk.next_request("id", START).unwrap();
    let refused = answer("id", &[], &[json!({"key": key(1), "reason": "no"})]);
    assert!(desk.answered(&read(&refused).unwrap(), START));
    assert_eq!(outcomes(&mut desk).len(), 1);
    desk.want(want(1), START);
    assert_eq!(desk.next_request("early", START), None);
    assert!(desk.next_request("later", START + Duration::from_secs(20)).is_some());
}

#[test]
fn an_answer_is_taken_once_and_only_to_what_was_asked() {
    let mut desk = desk();
    let right = read(&answer("id", &[grant(1)], &[])).unwrap();
    assert!(!desk.answered(&right, START), "nothing was asked");
    desk.want(want(1), START);
    desk.next_request("id", START).unwrap();
    assert!(!desk.answered(&read(&answer("other", &[grant(1)], &[])).unwrap(), START));
    assert!(outcomes(&mut desk).is_empty());
    assert!(desk.answered(&right, START));
    assert!(!desk.answered(&right, START), "the same again");
    assert_eq!(outcomes(&mut desk).len(), 1);
}

#[test]
fn an_object_that_an_answer_leaves_out_is_asked_for_again() {
    let mut desk = desk();
    let (one, two) = (desk.want(want(1), START), desk.want(want(2), START));
    desk.next_request("id", START).unwrap();
    desk.answered(&read(&answer("id", &[grant(1)], &[])).unwrap(), START);
    let found = outcomes(&mut desk);
    assert!(found[&one].is_ok() && !found.contains_key(&two));
    assert_eq!(desk.next_request("next", START).unwrap().want, [want(2)]);
}

#[test]
fn a_cloud_that_does_not_answer_is_asked_ever_more_seldom_and_no_upload_waits_for_ever() {
    let mut desk = desk();
    let ticket = desk.want(want(1), START);
    let (mut now, mut asked) = (START, Vec::new());
    while now < START + WANT_TIMEOUT + Duration::from_secs(1) {
        desk.tick(now);
        if desk.next_request(&asked.len().to_string(), now).is_some() {
            asked.push(now);
        }
        now = desk.due().unwrap_or(now + Duration::from_secs(1)).max(now + Duration::from_millis(1));
    }
    assert!((2..=3).contains(&asked.len()), "{asked:?}");
    assert!(asked.windows(2).all(|pair| pair[1].since(pair[0]) > ANSWER_TIMEOUT), "{asked:?}");
    assert!(matches!(&outcomes(&mut desk)[&ticket], Err(Refusal::Unanswered(why)) if why.contains("60 s")));
}

#[test]
fn an_hour_without_the_issuer_costs_nothing_but_the_hour() {
    let mut desk = desk();
    let (mut now, mut id, mut requests) = (START, 0, 0);
    while now < START + Duration::from_secs(3600) {
        // As the machine does: a failed upload is retried later.
        let ticket = desk.want(want(1), now);
        loop {
            desk.tick(now);
            id += 1;
            requests += usize::from(desk.next_request(&id.to_string(), now).is_some());
            if let Some(outcome) = outcomes(&mut desk).remove(&ticket) {
                assert!(matches!(outcome, Err(Refusal::Unanswered(_))));
                break;
            }
            now = desk.due().unwrap().max(now + Duration::from_millis(1));
        }
        now = now + Duration::from_secs(60);
    }
    assert!((30..=120).contains(&requests), "{requests}");
    let ticket = desk.want(want(1), now);
    let back = now;
    let id = loop {
        desk.tick(now);
        match desk.next_request("back", now) {
            Some(request) => break request.id,
            None => now = desk.due().unwrap().max(now + Duration::from_millis(1)),
        }
    };
    assert!(now.since(back) <= Duration::from_secs(20), "it is not waited for long");
    assert!(desk.answered(&read(&answer(&id, &[grant(1)], &[])).unwrap(), now));
    assert!(outcomes(&mut desk)[&ticket].is_ok());
}

#[test]
fn a_grant_is_kept_for_another_attempt_until_it_ends() {
    let mut desk = desk();
    desk.want(want(1), START);
    desk.next_request("id", START).unwrap();
    desk.answered(&read(&answer("id", &[grant(1)], &[])).unwrap(), START + Duration::from_secs(3));
    assert_eq!(outcomes(&mut desk).len(), 1);
    // Fifteen minutes, counted from the request.
    let end = START + Duration::from_secs(900);
    let again = desk.want(want(1), START + Duration::from_secs(800));
    assert!(outcomes(&mut desk)[&again].is_ok());
    let other = Want { size: 5, ..want(1) };
    desk.want(other.clone(), START + Duration::from_secs(801));
    assert_eq!(desk.next_request("other", START + Duration::from_secs(801)).unwrap().want, [other]);

    let mut desk = Desk::new(Allowed::new(ENDPOINT, "kasa-care"), 7);
    desk.want(want(1), START);
    desk.next_request("id", START).unwrap();
    desk.answered(&read(&answer("id", &[grant(1)], &[])).unwrap(), START);
    assert_eq!(outcomes(&mut desk).len(), 1);
    assert!(!desk.used_up(&key(1), START), "the store refuses one that is good: that says something");
    let late = desk.want(want(1), START);
    assert_eq!(outcomes(&mut desk).get(&late), None, "and that grant is not used again");
    desk.next_request("late", START).unwrap();
    desk.answered(&read(&answer("late", &[grant(1)], &[])).unwrap(), START);
    assert!(desk.used_up(&key(1), end), "it ended on the way: another one may do");
}

#[test]
fn a_grant_that_has_expired_is_not_taken_whatever_our_own_clock_says() {
    for (issued, expires, taken_at, is_good) in [
        ("2026-11-26T12:00:00Z", "2026-11-26T12:15:00Z", 1, true),
        // Another decade: a camera without a clock uploads too.
        ("2036-11-26T12:00:00Z", "2036-11-26T12:15:00Z", 1, true),
        ("2026-11-26T12:00:00Z", "2026-11-26T12:00:00Z", 1, false),
        ("2026-11-26T12:00:00Z", "2026-11-26T11:00:00Z", 1, false),
        ("2026-11-26T12:00:00Z", "2026-11-26T12:00:15Z", 1, true),
        ("2026-11-26T12:00:00Z", "2026-11-26T12:00:15Z", 11, false),
    ] {
        let mut claims = answer("id", &[grant(1)], &[]);
        claims["issued_at"] = json!(issued);
        claims["grants"][0]["expires_at"] = json!(expires);
        let mut desk = desk();
        let ticket = desk.want(want(1), START);
        desk.next_request("id", START).unwrap();
        desk.answered(&read(&claims).unwrap(), START + Duration::from_secs(taken_at));
        let outcome = outcomes(&mut desk).remove(&ticket).unwrap();
        assert_eq!(outcome.is_ok(), is_good, "{issued} to {expires} after {taken_at} s: {outcome:?}");
        if let Err(why) = outcome {
            assert!(matches!(&why, Refusal::Object(why) if why.contains("expired")), "{why:?}");
        }
    }
    assert!(MIN_LEFT < Duration::from_secs(15) && MAX_LIFETIME <= Duration::from_secs(86_400));
}

#[test]
fn whatever_comes_the_desk_stays_small() {
    let mut desk = desk();
    for n in 0..MAX_WANTS {
        desk.want(want(n), START);
    }
    let full = desk.want(want(MAX_WANTS), START);
    assert!(matches!(outcomes(&mut desk).remove(&full), Some(Err(Refusal::Object(_)))));
    for round in 0..4 {
        let request = desk.next_request(&round.to_string(), START).unwrap();
        let grants: Vec<_> = (round * 16..round * 16 + 16).map(grant).collect();
        assert!(desk.answered(&read(&answer(&request.id, &grants, &[])).unwrap(), START));
    }
    assert_eq!(outcomes(&mut desk).len(), MAX_WANTS);
    let kept: Vec<_> = (0..MAX_WANTS).map(|n| desk.want(want(n), START)).collect();
    let at_once = outcomes(&mut desk);
    assert_eq!(kept.iter().filter(|ticket| at_once.contains_key(ticket)).count(), MAX_KEPT);
}

#[test]
fn an_upload_that_was_cancelled_waits_no_more() {
    let mut desk = desk();
    let ticket = desk.want(want(1), START);
    desk.withdraw(ticket);
    assert_eq!((desk.next_request("id", START), desk.due()), (None, None));
    let ticket = desk.want(want(1), START);
    desk.next_request("id", START).unwrap();
    desk.withdraw(ticket);
    desk.answered(&read(&answer("id", &[grant(1)], &[])).unwrap(), START);
    let again = desk.want(want(1), START);
    assert!(outcomes(&mut desk)[&again].is_ok(), "what still came is kept");
}
