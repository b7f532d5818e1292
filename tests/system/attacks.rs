//! Attackers who reach the broker, or the camera's own files, and are neither the owner nor the cloud.

use crate::support::budget::Budget;
use crate::support::camera::Camera;
use crate::support::cloud::{Cloud, wait};
use crate::support::figures::{at_least, figure};
use crate::support::opened::Watched;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::signature::Ed25519KeyPair;
use serde_json::{Value, json};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The maximum memory of a camera under attack, while it records.
const MAX_RSS: u64 = 64 << 20;
const TYP: &str = "kasacam-privacy+jws";
const LEASE: &str = "kasacam-entitlement+jws";

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A compact JWS with a valid signature of the cloud's own key, with claims that the cloud would never write.
fn signed(cloud: &Cloud, typ: &str, claims: &str) -> Vec<u8> {
    let key = std::fs::read(cloud.dir().join("pki/entitlement-dev-1.pk8")).unwrap();
    let header = json!({ "alg": "EdDSA", "kid": "entitlement-dev-1", "typ": typ });
    jws(&Ed25519KeyPair::from_pkcs8(&key).unwrap(), &header, claims)
}

fn claims(device: &str, version: u64) -> String {
    format!(
        r#"{{"device_id":"{device}","version":{version},"issued_at":"2026-11-23T12:00:00Z","do_not_record":true}}"#
    )
}

/// Signed with a key that the camera does not know, with this header.
fn forged(header: &Value, claims: &str) -> Vec<u8> {
    jws(&Ed25519KeyPair::from_seed_unchecked(&[9; 32]).unwrap(), header, claims)
}

fn jws(key: &Ed25519KeyPair, header: &Value, claims: &str) -> Vec<u8> {
    let signed = format!("{}.{}", encode(header.to_string()), encode(claims));
    let signature = encode(key.sign(signed.as_bytes()));
    format!("{signed}.{signature}").into_bytes()
}

/// HS256, with the camera's own public key as the secret.
fn keyed_with_the_public_key(cloud: &Cloud, claims: &str) -> Vec<u8> {
    let pem = std::fs::read_to_string(cloud.dir().join("entitlement-dev-1.pem")).unwrap();
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let spki = base64::engine::general_purpose::STANDARD.decode(base64).unwrap();
    let header = json!({ "alg": "HS256", "kid": "entitlement-dev-1", "typ": TYP }).to_string();
    let signed = format!("{}.{}", encode(header), encode(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &spki[12..]), signed.as_bytes());
    format!("{signed}.{}", encode(tag)).into_bytes()
}

struct Attack {
    name: &'static str,
    topic: &'static str,
    payload: Vec<u8>,
    /// The reason that the camera reports; `None` where the message must not even reach it.
    refused: Option<&'static str>,
}

fn attacks(cloud: &Cloud) -> Vec<Attack> {
    let header = |alg: &str, kid: &str, typ: &str| json!({ "alg": alg, "kid": kid, "typ": typ });
    let ours = "entitlement-dev-1";
    let good = claims("cam-0001", 50);
    let text = |from: &str, to: &str| {
        assert!(good.contains(from), "{good} has no {from}");
        good.replace(from, to)
    };
    let of = |claims: &str| signed(cloud, TYP, claims);
    let mut bent = of(&good);
    let last = bent.len() - 20;
    bent[last] = if bent[last] == b'A' { b'B' } else { b'A' };
    let unsigned = [encode(header("none", ours, TYP).to_string()), encode(&good), String::new()].join(".");
    let deep = format!("{}{}", "[".repeat(2_000), "]".repeat(2_000));
    let lease = |version: u64, issued_at: &str| {
        json!({
            "device_id": "cam-0001", "version": version, "issued_at": issued_at,
            "not_after": "2026-12-23T12:00:00Z", "plan": { "id": "free", "tier": "free" }, "status": "terminated",
            "features": { "record": false, "audio": false, "max_height": 1080, "history_hours": 24 },
        })
        .to_string()
    };
    let to = |topic: &'static str| move |name, payload, refused| Attack { name, topic, payload, refused };
    let privacy = to("kasacam/v1/cam-0001/privacy/desired");
    let entitlement = to("kasacam/v1/cam-0001/entitlement/desired");
    let elsewhere = to("kasacam/v1/cam-0002/privacy/desired");
    let reported = to("kasacam/v1/cam-0001/privacy/reported");
    vec![
        privacy("a key of somebody's own", forged(&header("EdDSA", ours, TYP), &good), Some("bad_signature")),
        privacy("a kid of nobody", forged(&header("EdDSA", "other", TYP), &good), Some("unknown_key")),
        privacy(
            "a kid that is a path",
            forged(&header("EdDSA", "../../../../etc/passwd", TYP), &good),
            Some("unknown_key"),
        ),
        privacy("alg none", unsigned.into_bytes(), Some("wrong_algorithm")),
        privacy(
            "HS256 with the public key",
            keyed_with_the_public_key(cloud, &good),
            Some("wrong_algorithm"),
        ),
        privacy("RS256", forged(&header("RS256", ours, TYP), &good), Some("wrong_algorithm")),
        privacy("a bent signature", bent, Some("bad_signature")),
        privacy("a lease's typ", signed(cloud, LEASE, &good), Some("wrong_type")),
        privacy("a claim that is missing", of(&text(r#""version":50,"#, "")), Some("malformed")),
        privacy(
            "a claim that is there twice",
            of(&text(r#""version":50"#, r#""version":50,"version":51"#)),
            Some("malformed"),
        ),
        privacy("another camera's", of(&claims("cam-0002", 50)), Some("wrong_device")),
        privacy("an older version", of(&claims("cam-0001", 1)), Some("stale_version")),
        // A prohibition instead of a permission would be accepted: of two choices with one version the
        // stricter is in force.
        privacy(
            "the version that is known, with other content",
            of(&claims("cam-0001", 7).replace("true", "false")),
            Some("conflicting_version"),
        ),
        privacy("version 2^53", of(&text(":50", ":9007199254740992")), Some("malformed")),
        privacy("version 2^64", of(&text(":50", ":18446744073709551616")), Some("malformed")),
        privacy("a version below zero", of(&text(":50", ":-1")), Some("malformed")),
        privacy("a version with a fraction", of(&text(":50", ":50.5")), Some("malformed")),
        privacy(
            "a permission from the future",
            of(&text("2026-11-23", "2099-01-01").replace("true", "false")),
            Some("issued_ahead"),
        ),
        privacy("nested lists", of(&format!(r#"{{"a":{deep}}}"#)), Some("malformed")),
        privacy("claims without a signature", good.clone().into_bytes(), Some("malformed")),
        privacy("invalid UTF-8", b"\xff\xfe\x00\x80".to_vec(), Some("malformed")),
        privacy("20 KB", vec![b'x'; 20_000], Some("too_large")),
        privacy("900 KB", vec![b'x'; 900_000], None),
        privacy("as much as MQTT can say", vec![b'x'; (256 << 20) - 100], None),
        entitlement("a choice's typ", of(&lease(50, "2026-11-23T12:00:00Z")), Some("wrong_type")),
        entitlement(
            "an end of the plan, forged",
            forged(&header("EdDSA", ours, LEASE), &lease(50, "2026-11-23T12:00:00Z")),
            Some("bad_signature"),
        ),
        entitlement(
            "a lease from the future",
            signed(cloud, LEASE, &lease(50, "2099-01-01T00:00:00Z")),
            Some("issued_ahead"),
        ),
        elsewhere("to another camera's topic", of(&claims("cam-0001", 50)), None),
        reported("to a topic that cameras write", of(&claims("cam-0001", 50)), None),
    ]
}

/// Publishes a file with the cloud's own certificate: the broker does not prevent it.
fn publish(cloud: &Cloud, topic: &str, file: &Path) -> std::process::Output {
    let pki = |name: &str| cloud.dir().join("pki").join(name);
    std::process::Command::new("mosquitto_pub")
        .args(["-V", "5", "-h", "localhost", "-q", "1", "-p", &cloud.mqtt_port.to_string(), "-t", topic])
        .arg("--cafile")
        .arg(pki("ca.pem"))
        .arg("--cert")
        .arg(pki("cloud.pem"))
        .arg("--key")
        .arg(pki("cloud.key"))
        .arg("-f")
        .arg(file)
        .output()
        .unwrap()
}

/// Resident bytes, including what is mapped from libraries.
fn rss(pid: u32) -> u64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap();
    statm.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 4096
}

#[test]
fn no_message_but_the_owners_and_the_clouds_changes_anything() {
    // As on a board with an encoder: the memory of a software encoder is not the agent's.
    let dir = TempDir::new().unwrap();
    let (clip, _) = Watched::device(dir.path());
    let cloud = Cloud::start(&["--source", clip.to_str().unwrap(), "--segment", "2s"]);
    cloud.tell(&["plan", "plus"]);
    for _ in 0..3 {
        cloud.tell(&["privacy", "on"]);
        cloud.tell(&["privacy", "off"]);
    }
    cloud.tell(&["privacy", "off"]);
    let camera = Camera::start(&cloud);
    let before = camera.wait_until_it_records(15);
    assert_eq!(before["privacy"]["version"], 7, "{before}");
    let file = cloud.dir().join("payload");
    let (mut most, mut expected) = (0, Vec::new());

    let all = attacks(&cloud);
    at_least(25, "attacks", all.len() as u64);
    let reach_it = all.iter().filter(|attack| attack.refused.is_some()).count();
    at_least(20, "attacks that reach the camera", reach_it as u64);
    for attack in &all {
        std::fs::write(&file, &attack.payload).unwrap();
        // The broker refuses what is far too long, or does not send it to a camera that has announced a
        // maximum size.
        let published = publish(&cloud, attack.topic, &file);
        assert!(published.status.success() || attack.refused.is_none(), "{}: {published:?}", attack.name);
        if let Some(reason) = attack.refused {
            expected.push(json!({"event": "rejected", "topic": attack.topic, "reason": reason}));
            let rejections = || {
                let ours = |event: &Value| {
                    let payload = &event["payload"];
                    (payload["event"] == "rejected").then(|| {
                        json!({"event": "rejected", "topic": payload["topic"], "reason": payload["reason"]})
                    })
                };
                cloud.events().iter().filter_map(ours).collect::<Vec<Value>>()
            };
            wait(attack.name, || (rejections().len() >= expected.len()).then_some(()));
            assert_eq!(rejections(), expected, "{}", attack.name);
        }
        let status = camera.status();
        most = most.max(rss(camera.pid()));
        for part in ["privacy", "entitlement"] {
            assert_eq!(status[part], before[part], "{}: {status}", attack.name);
        }
        assert_eq!(status["capture"]["open"], true, "{}: {status}", attack.name);
        assert_eq!(status["capture"]["starts"], 1, "{}: {status}", attack.name);
    }

    camera.wait_for("a connection", |status| status["mqtt"]["connected"] == true);
    let metrics = String::from_utf8(camera.command(&["metrics"]).stdout).unwrap();
    let counted = format!("kasacam_messages_rejected_total {}\n", expected.len());
    assert!(metrics.contains(&counted), "{metrics}");
    assert!(most < MAX_RSS, "{most} bytes of RSS");
    figure(&format!(
        "{} attacks by message, no change of state; at most {} KiB of memory",
        all.len(),
        most >> 10
    ));
    cloud.tell(&["privacy", "on"]);
    camera.wait_for("the owner's choice", |status| status["privacy"]["version"] == 8);
}

/// One way to tamper with the file of a fact.
type Tampering = (&'static str, fn(&Path, &[u8]));

const TAMPERINGS: [Tampering; 8] = [
    ("emptied", |file, _| std::fs::write(file, b"").unwrap()),
    ("cut short", |file, bytes| std::fs::write(file, &bytes[..bytes.len() - 9]).unwrap()),
    ("a bit of it flipped", |file, bytes| {
        let mut bytes = bytes.to_vec();
        let at = bytes.len() / 2;
        bytes[at] ^= 4;
        std::fs::write(file, bytes).unwrap();
    }),
    ("garbage", |file, _| std::fs::write(file, [0xa5; 4096]).unwrap()),
    ("very long", |file, bytes| std::fs::write(file, bytes.repeat(1_000)).unwrap()),
    ("open to others", |file, _| {
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o666)).unwrap();
    }),
    ("a link to a good one", |file, bytes| {
        let copy = file.with_file_name("elsewhere");
        std::fs::write(&copy, bytes).unwrap();
        std::fs::remove_file(file).unwrap();
        symlink(copy, file).unwrap();
    }),
    ("removed", |file, _| std::fs::remove_file(file).unwrap()),
];

/// Whether the fact is there as the camera wrote it: the same bytes in a separate file that is closed to
/// others.
fn is_as_it_was(file: &Path, bytes: &[u8]) -> bool {
    let mode =
        std::fs::symlink_metadata(file).ok().filter(std::fs::Metadata::is_file).map(|it| it.mode() & 0o777);
    mode == Some(0o600) && std::fs::read(file).is_ok_and(|found| found == bytes)
}

#[test]
fn no_start_opens_the_camera_without_a_choice_that_can_be_read() {
    let mut starts = Budget::new("KASACAM_STARTS", 24);
    let dir = TempDir::new().unwrap();
    let (clip, watched) = Watched::device(dir.path());
    let cloud = Cloud::start(&["--source", clip.to_str().unwrap(), "--segment", "2s"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(15);
    assert!(watched.was_opened(), "the watch sees nothing");
    let facts = camera.state_dir().join("state");
    camera.stop();
    cloud.tell(&["broker", "down"]);
    let good: Vec<(String, Vec<u8>)> = ["privacy", "entitlement", "latch"]
        .map(|name| (name.to_owned(), std::fs::read(facts.join(name)).unwrap()))
        .into();

    let mut tampered = 0;
    while starts.again() {
        let start = starts.done - 1;
        // All three permit recording; one of them is tampered with.
        for (name, bytes) in &good {
            let _was_removed = std::fs::remove_file(facts.join(name));
            std::fs::write(facts.join(name), bytes).unwrap();
            std::fs::set_permissions(facts.join(name), std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let (how, tamper) = TAMPERINGS[usize::try_from(start).unwrap() % TAMPERINGS.len()];
        let (name, bytes) = &good[usize::try_from(start).unwrap() / TAMPERINGS.len() % good.len()];
        tamper(&facts.join(name), bytes);
        tampered += u64::from(!is_as_it_was(&facts.join(name), bytes));
        let _what_earlier_starts_did = watched.was_opened();

        let camera = Camera::start(&cloud);
        let status = camera.wait_for("a status", |status| status["mqtt"]["connected"] == false);
        let until = Instant::now() + Duration::from_millis(100);
        while Instant::now() < until {
            assert_eq!(camera.status()["capture"]["starts"], 0, "{name} was {how}: {status}");
        }
        assert!(!watched.was_opened(), "the device was opened though {name} was {how}");
        camera.stop();
    }
    let starts = starts.done;
    at_least(TAMPERINGS.len() as u64, "starts", starts);
    assert_eq!(tampered, starts, "facts that differed from the good ones when the camera started");
    figure(&format!(
        "{starts} starts with a fact tampered with, and without a broker: the device was opened 0 times"
    ));
}
