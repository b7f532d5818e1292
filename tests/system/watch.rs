//! `kasacam-devcloud watch` against a real camera: as it is, and with one thing wrong at a time. The faults are planted
//! between the camera and whoever watches it: what the camera says goes through a proxy that changes it before it is
//! heard, what it stored through one that changes it before it is read, and a few lie in the bucket itself.

use crate::objects::Bucket;
use crate::support::camera::Camera;
use crate::support::cloud::{Cloud, wait};
use crate::support::mqtt_proxy::{Change, Habits, MqttProxy, Passing, Way, packet};
use crate::support::proxy::{Proxy, Rewrite, with_header};
use crate::verify::{changing, claims, pipe, report, rows, sign};
use serde_json::{Value, json};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const PROGRAM: &str = env!("CARGO_BIN_EXE_kasacam-devcloud");
/// In each of the six states of a flip, in seconds.
const HOLD: u64 = 4;
/// Until what was captured is stored.
const SETTLE: u64 = 6;

/// A watch, begun: through these proxies where there are some.
fn watch(cloud: &Cloud, broker: Option<&MqttProxy>, store: Option<&Proxy>, more: &[String]) -> Child {
    let at = |path: &str| cloud.dir().join(path).to_str().unwrap().to_owned();
    let place = broker.map_or_else(|| format!("localhost:{}", cloud.mqtt_port), MqttProxy::place);
    let connect = store.map(|proxy| ["--store-connect".to_owned(), format!("127.0.0.1:{}", proxy.port)]);
    Command::new(PROGRAM)
        .args(["watch", "--broker", &place, "--ca", &at("pki/ca.pem"), "--device", "cam-0001"])
        .args(["--cert", &at("pki/cloud.pem"), "--key", &at("pki/cloud.key"), "--telemetry", "1"])
        .args(["--store", &format!("https://localhost:{}", cloud.s3_port)])
        .args(["--store-credentials", &at("storage.toml"), "--json", "-"])
        .args(connect.iter().flatten())
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn for_so_long(seconds: u64, settle: u64) -> Vec<String> {
    ["--seconds".into(), seconds.to_string(), "--settle".into(), settle.to_string()].into()
}

/// What the camera says on this topic, as it comes to whoever watches.
fn said(topic: &'static str, change: impl Fn(&Passing) -> Option<Vec<u8>> + Send + Sync + 'static) -> Change {
    changing(move |passing| {
        let concerns =
            passing.way == Way::ToClient && passing.topic() == Some(&format!("kasacam/v1/cam-0001/{topic}"));
        let changed = concerns.then(|| change(passing))??;
        Some(vec![(Way::ToClient, changed)])
    })
}

/// The same with another payload.
fn restated(topic: &'static str, change: impl Fn(&mut Value) + Send + Sync + 'static) -> Change {
    said(topic, move |passing| {
        let mut payload: Value = serde_json::from_slice(passing.payload()).ok()?;
        change(&mut payload);
        Some(passing.with_payload(payload.to_string().as_bytes()))
    })
}

/// A copy behind some messages of a topic; whoever watches acknowledges both, the broker hears of one.
fn once_more(
    topic: &'static str,
    copy: impl Fn(&Passing) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> Change {
    changing(move |passing| {
        if passing.way == Way::ToBroker && passing.kind() == 4 && passing.identifier() >= COPIES {
            return Some(Vec::new());
        }
        let concerns =
            passing.way == Way::ToClient && passing.topic() == Some(&format!("kasacam/v1/cam-0001/{topic}"));
        let copy = concerns.then(|| copy(passing))??;
        Some(vec![(Way::ToClient, passing.bytes.clone()), (Way::ToClient, copy)])
    })
}

/// Packet identifiers of copies; a broker's own are lower.
const COPIES: u16 = 60_000;

/// Loses some messages of a topic that come to the watch's first session: the broker hears that they came.
fn lost(topic: &'static str, which: impl Fn(&Value) -> bool + Send + Sync + 'static) -> Change {
    changing(move |passing| {
        let concerns = (passing.way, passing.connection) == (Way::ToClient, 0)
            && passing.topic() == Some(&format!("kasacam/v1/cam-0001/{topic}"));
        let payload: Value = serde_json::from_slice(concerns.then(|| passing.payload())?).ok()?;
        which(&payload).then(|| vec![(Way::ToBroker, packet(0x40, &passing.identifier().to_be_bytes()))])
    })
}

/// Every command of a kind with other claims, signed by the cloud.
fn commanded(
    cloud: &Cloud,
    topic: &'static str,
    kind: &'static str,
    change: impl Fn(&mut Value) + Send + Sync + 'static,
) -> Change {
    let dir = cloud.dir().to_owned();
    said(topic, move |passing| {
        let mut claims = claims(passing.payload())?;
        change(&mut claims);
        Some(passing.with_payload(sign(&dir, kind, &claims).as_bytes()))
    })
}

/// Answers of the store to a GET of an object whose key ends so, with another header.
fn header(ending: &'static str, name: &'static str, value: &'static str) -> Rewrite {
    Arc::new(move |line, answer| {
        let concerns = line.split(' ').nth(1).is_some_and(|target| target.ends_with(ending));
        if concerns { with_header(&answer, name, value) } else { answer }
    })
}

/// Answers of the store to a list, without the keys that are not to be seen; the first of them is asked for by `which`.
fn unlisted(which: fn(&str) -> bool, once: bool) -> Rewrite {
    let gone = AtomicBool::new(false);
    Arc::new(move |line, answer| {
        if !line.contains("list-type=2") {
            return answer;
        }
        let text = String::from_utf8(answer).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut kept = String::new();
        for part in body.split_inclusive("</Contents>") {
            let key = part.split("<Key>").nth(1).and_then(|rest| rest.split("</Key>").next());
            let goes = key.is_some_and(which) && !(once && gone.swap(true, Ordering::SeqCst));
            if !goes {
                kept.push_str(part);
            } else if let Some(before) = part.find("<Contents>") {
                kept.push_str(&part[..before]);
            }
        }
        let answer = [head.as_bytes(), b"\r\n\r\n", kept.as_bytes()].concat();
        with_header(&answer, "content-length", &kept.len().to_string())
    })
}

/// Where a fault is planted.
enum Planted {
    Said(Change),
    Stored(Rewrite),
}

/// The row that has to fail, and the fault.
fn faults(cloud: &Cloud) -> Vec<(&'static str, Planted)> {
    use Planted::{Said, Stored};
    let first = AtomicBool::new(false);
    vec![
        (
            "publish.topics",
            Said(said("telemetry", |it| {
                let mut bytes = it.bytes.clone();
                let at = bytes.windows(9).position(|nine| nine == b"telemetry")?;
                bytes[at + 8] = b'x';
                Some(bytes)
            })),
        ),
        (
            "publish.qos",
            Said(changing(|it| {
                let concerns = it.way == Way::ToClient && it.topic() == Some("kasacam/v1/cam-0001/telemetry");
                concerns.then(|| {
                    vec![
                        (Way::ToClient, it.with_qos_0()),
                        (Way::ToBroker, packet(0x40, &it.identifier().to_be_bytes())),
                    ]
                })
            })),
        ),
        (
            "publish.retain",
            Said(said("event", |it| {
                let mut bytes = it.bytes.clone();
                bytes[0] |= 1;
                Some(bytes)
            })),
        ),
        ("publish.first", Said(lost("privacy/reported", move |_| !first.swap(true, Ordering::SeqCst)))),
        (
            "telemetry.rate",
            Said(once_more("telemetry", |it| Some(it.with_identifier(COPIES + it.identifier())))),
        ),
        ("form.status", Said(restated("status", |it| it["online"] = json!("yes")))),
        ("form.event", Said(restated("event", |it| it["event"] = json!("bored")))),
        ("form.telemetry", Said(restated("telemetry", |it| it["clock"] = json!(5)))),
        (
            "grants.reply",
            Said(restated("grant/request", |it| it["id"] = json!("0123456789abcdef0123456789abcdef"))),
        ),
        (
            "grants.own",
            Said(restated("grant/request", |it| {
                it["want"]
                    .as_array_mut()
                    .unwrap()
                    .iter_mut()
                    .for_each(|want| want["key"] = json!("v1/cam-0002/a.mp4"));
            })),
        ),
        (
            "object.granted",
            Said(restated("grant/request", |it| {
                it["want"].as_array_mut().unwrap().iter_mut().for_each(|want| want["size"] = json!(7));
            })),
        ),
        (
            "reported.versions",
            Said(once_more("entitlement/reported", |it| {
                let mut payload: Value = serde_json::from_slice(it.payload()).ok()?;
                (payload["version"].as_u64()? > 2).then(|| payload["version"] = json!(1))?;
                let copy = it.with_payload(payload.to_string().as_bytes());
                let copy = Passing { connection: 0, way: Way::ToClient, bytes: copy };
                Some(copy.with_identifier(COPIES + it.identifier()))
            })),
        ),
        (
            "reported.applied-at",
            Said(restated("privacy/reported", |it| it["applied_at"] = json!("2020-01-01T00:00:00Z"))),
        ),
        (
            "privacy.closed",
            Said(restated("privacy/reported", |it| {
                if it["capture"] == "closed" {
                    it["capture"] = json!("closing");
                }
            })),
        ),
        ("privacy.opened", Said(lost("privacy/reported", |it| it["version"].as_u64() >= Some(3)))),
        ("entitlement.reported", Said(lost("entitlement/reported", |it| it["version"] == 4))),
        // The camera kept what was captured in the ten seconds after the choice was made.
        (
            "privacy.nothing-kept",
            Said(commanded(cloud, "privacy/desired", "privacy", |it| {
                if it["do_not_record"] == true {
                    let at = kasacam::domain::time::Utc::parse(it["issued_at"].as_str().unwrap()).unwrap();
                    it["issued_at"] = json!(at - Duration::from_secs(2));
                }
            })),
        ),
        (
            "entitlement.no-audio",
            Said(commanded(cloud, "entitlement/desired", "entitlement", |it| {
                it["features"]["audio"] = json!(false);
            })),
        ),
        ("object.metadata", Stored(header(".1.mp4", "x-amz-meta-clock", "guessed"))),
        ("object.reason", Stored(header(".mp4_end", "x-amz-meta-reason", "bored"))),
        ("object.type", Stored(header(".mp4", "content-type", "video/mp4"))),
        ("object.record", Stored(header(".0.mp4", "x-amz-meta-plan", "premium-monthly"))),
        ("object.duration", Stored(header(".0.mp4", "x-amz-meta-duration-ms", "1"))),
        (
            "object.checksum",
            Stored(header(".0.mp4", "x-amz-checksum-sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")),
        ),
        ("span.order", Stored(unlisted(|key| key.ends_with(".1.mp4"), true))),
        ("span.end", Stored(unlisted(|key| key.ends_with(".mp4_end"), true))),
    ]
}

fn failures(report: &Value) -> Vec<&Value> {
    report["rows"].as_array().unwrap().iter().filter(|row| row["outcome"] == "fail").collect()
}

/// What is wrong, where not just this row failed, or fewer than so many passed.
fn judged(row: &str, child: Child, least: usize) -> Option<String> {
    let (seen, code) = report(child);
    let is_right = rows(&seen, "fail") == [row] && code == Some(1) && rows(&seen, "pass").len() >= least;
    (!is_right)
        .then(|| format!("{row}: {code:?}, {:#?}, passed: {}", failures(&seen), rows(&seen, "pass").len()))
}

/// Rows that nobody can see from where a watch stands.
const UNSEEN: [&str; 5] = [
    "connect.session",
    "connect.no-wildcard",
    "commands.acknowledged",
    "closed.means-closed",
    "unheard.waits",
];

#[test]
fn a_camera_with_one_fault_fails_one_row_and_a_correct_one_fails_none() {
    let cloud = Cloud::start(&["--segment", "2s", "--telemetry", "1s", "--credentials", "grant"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    let faults = faults(&cloud);
    assert!(faults.len() >= 10);
    // All watch the same camera at once. One of them tells it what to do, and hears what it really says.
    let watching: Vec<_> = faults
        .into_iter()
        .map(|(row, planted)| {
            let all = for_so_long(HOLD * 6 + 6, SETTLE);
            match planted {
                Planted::Said(change) => {
                    let proxy = MqttProxy::start(&cloud, Habits::default(), change);
                    (row, watch(&cloud, Some(&proxy), None, &all), Some(proxy), None)
                }
                Planted::Stored(rewrite) => {
                    let mut proxy = Proxy::bind();
                    proxy.serve(&cloud);
                    proxy.rewrite(rewrite);
                    (row, watch(&cloud, None, Some(&proxy), &all), None, Some(proxy))
                }
            }
        })
        .collect();
    let signer = cloud.dir().join("pki/entitlement-dev-1.pk8");
    let flip = ["--flip".to_owned(), "--signer".into(), signer.to_str().unwrap().into()];
    // From its first subscription on, a watch misses nothing: each sees a session begin.
    let listens = |proxy: &MqttProxy| (proxy.subscriptions() >= 1).then_some(());
    for (row, _, broker, _) in &watching {
        if let Some(proxy) = broker {
            wait(&format!("the watch of {row}"), || listens(proxy));
        }
    }
    let whole = MqttProxy::start(&cloud, Habits::default(), pipe());
    let healthy = watch(&cloud, Some(&whole), None, &[for_so_long(HOLD, SETTLE).as_slice(), &flip].concat());
    wait("the watch that flips", || listens(&whole));
    let camera = Camera::start(&cloud);
    let (seen, code) = report(healthy);
    let mut wrong: Vec<String> = Vec::new();
    if !failures(&seen).is_empty() || code != Some(0) || rows(&seen, "not-checked") != UNSEEN {
        wrong.push(format!("as it should be: {code:?} {seen:#}"));
    }
    let schema = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas/conformance.json");
    let schema = serde_json::from_str(&std::fs::read_to_string(schema).unwrap()).unwrap();
    assert!(jsonschema::draft202012::new(&schema).unwrap().is_valid(&seen));
    for (row, child, _broker, _store) in watching {
        wrong.extend(judged(row, child, 25));
    }
    wrong.extend(in_the_bucket(&cloud));
    camera.stop();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Faults of a file, planted in the bucket: the checksum is that of the file as it lies there.
fn in_the_bucket(cloud: &Cloud) -> Vec<String> {
    let root = cloud.dir().join("bucket");
    let newest = || {
        let bucket = Bucket::open(root.clone()).unwrap();
        let keys = bucket.keys("").unwrap();
        keys.into_iter().rev().find(|key| key.ends_with(".0.mp4")).unwrap()
    };
    let replace = |key: &str, body: &[u8]| {
        use base64::Engine;
        let bucket = Bucket::open(root.clone()).unwrap();
        let mut facts = bucket.facts(key).unwrap().unwrap();
        facts.bytes = body.len() as u64;
        facts.sha256 = base64::engine::general_purpose::STANDARD
            .encode(ring::digest::digest(&ring::digest::SHA256, body));
        bucket.put(key, body, &facts, false).unwrap();
    };
    let short = for_so_long(3, 0);
    let key = newest();
    let body = Bucket::open(root.clone()).unwrap().body(&key).unwrap();
    let mut wrong = Vec::new();
    replace(&key, &body[..body.len() - 4]);
    wrong.extend(judged("object.boxes", watch(cloud, None, None, &short), 15));
    replace(&key, &body);
    let facts = Bucket::open(root.clone()).unwrap().facts(&key).unwrap().unwrap();
    let odd = key.replace("/cam-0001/", "/cam-0001/odd/");
    Bucket::open(root.clone()).unwrap().put(&odd, &body, &facts, true).unwrap();
    wrong.extend(judged("object.key", watch(cloud, None, None, &short), 15));
    wrong
}

#[test]
fn a_watch_that_cannot_run_exits_with_2_and_the_reason() {
    let cloud = Cloud::start(&[]);
    let said = |child: Child| {
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // Nothing is retained that could be flipped.
    let signer = cloud.dir().join("pki/entitlement-dev-1.pk8");
    let flip = ["--flip".to_owned(), "--signer".into(), signer.to_str().unwrap().into()];
    let (code, why) = said(watch(&cloud, None, None, &flip));
    assert_eq!((code, why.contains("no choice is retained")), (Some(2), true), "{why}");
    let certificate = cloud.dir().join("pki/ca.pem");
    let flip = ["--flip".to_owned(), "--signer".into(), certificate.to_str().unwrap().into()];
    let (code, why) = said(watch(&cloud, None, None, &flip));
    assert_eq!((code, why.contains("Ed25519 private key")), (Some(2), true), "{why}");
    // A camera that is not there: the watch runs, and a row fails.
    let (seen, code) = report(watch(&cloud, None, None, &for_so_long(1, 0)));
    assert_eq!((rows(&seen, "fail"), code), (vec!["status.online".to_owned()], Some(1)), "{seen:#}");
}
