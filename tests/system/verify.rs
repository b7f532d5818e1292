//! `kasacam-devcloud verify` against a real development cloud: whole, and with one thing wrong at a time. Each fault is
//! planted from outside: in the broker's ACL, in what is published, or in what passes before the broker or the store.

mod faults;

use crate::support::cloud::{Cloud, DEADLINE, wait_up_to};
use crate::support::mqtt_proxy::{Change, MqttProxy, Passing, Way};
use crate::support::proxy::{Fault, Proxy};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use faults::{Planted, faults};

const PROGRAM: &str = env!("CARGO_BIN_EXE_kasacam-devcloud");
/// Checks that run at once.
const AT_ONCE: usize = 8;

/// The claims signed by the cloud.
pub fn sign(dir: &Path, kind: &str, claims: &Value) -> String {
    let mut stream = UnixStream::connect(dir.join("cloud.sock")).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let line = json!({"command": "sign", "kind": kind, "claims": claims.to_string()});
    stream.write_all(format!("{line}\n").as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    answer["jws"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// A device of the cloud, its choice and its lease.
struct Device {
    id: String,
    other: String,
}

fn choice(device: &str, version: u64) -> Value {
    json!({"device_id": device, "version": version, "issued_at": "2026-11-01T12:00:00Z", "do_not_record": false})
}

fn lease(device: &str, not_after: &str) -> Value {
    json!({"device_id": device, "version": 3, "issued_at": "2026-11-01T12:00:00Z", "not_after": not_after,
        "plan": {"id": "plus-monthly", "tier": "plus"}, "status": "active",
        "features": {"record": true, "audio": true, "max_height": 1080, "history_hours": 720}})
}

const LATER: &str = "2099-01-01T00:00:00Z";

fn publish(cloud: &Cloud, device: &str, name: &str, payload: &str) {
    let file = cloud.dir().join(format!("{device}-{name}.jws"));
    std::fs::write(&file, payload).unwrap();
    let topic = format!("kasacam/v1/{device}/{name}/desired");
    cloud.tell(&["publish-raw", &topic, file.to_str().unwrap()]);
}

impl Device {
    fn new(cloud: &Cloud, n: usize) -> Device {
        let device = Device { id: format!("dev-{n:02}-a"), other: format!("dev-{n:02}-b") };
        cloud.issue(&device.id);
        cloud.issue(&device.other);
        publish(cloud, &device.id, "privacy", &sign(cloud.dir(), "privacy", &choice(&device.id, 7)));
        publish(
            cloud,
            &device.id,
            "entitlement",
            &sign(cloud.dir(), "entitlement", &lease(&device.id, LATER)),
        );
        device
    }

    /// The check, begun.
    fn verify(&self, cloud: &Cloud, broker: &str, more: &[String]) -> Child {
        self.verify_by(cloud, broker, &[&["--grants".to_owned()], more].concat())
    }

    /// The same with the store's key for the camera's own.
    fn verify_by(&self, cloud: &Cloud, broker: &str, more: &[String]) -> Child {
        let at = |path: &str| cloud.dir().join(path).to_str().unwrap().to_owned();
        let file = |device: &str, name: &str| at(&format!("{device}/{name}"));
        Command::new(PROGRAM)
            .args(["verify", "--broker", broker, "--ca", &at("pki/ca.pem"), "--device", &self.id])
            .args(["--cert", &file(&self.id, "device.pem"), "--key", &file(&self.id, "device.key")])
            .args(["--other", &self.other])
            .args(["--other-cert", &file(&self.other, "device.pem")])
            .args(["--other-key", &file(&self.other, "device.key")])
            .args(["--lease-key", &at("entitlement-dev-1.pem")])
            .args(["--store", &format!("https://localhost:{}", cloud.s3_port)])
            .args(["--store-credentials", &at("storage.toml"), "--within", "8", "--json", "-"])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }
}

/// Somebody who may hear every device: then the last will is looked at, which takes ten seconds.
fn observer(cloud: &Cloud) -> [String; 4] {
    let at = |path: &str| cloud.dir().join(path).to_str().unwrap().to_owned();
    ["--observer-cert".into(), at("pki/cloud.pem"), "--observer-key".into(), at("pki/cloud.key")]
}

/// Its report, and the exit code.
pub fn report(child: Child) -> (Value, Option<i32>) {
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let report = serde_json::from_str(&said)
        .unwrap_or_else(|e| panic!("{e}: {said} {}", String::from_utf8_lossy(&output.stderr)));
    (report, output.status.code())
}

/// Ids of the rows that came out so.
pub fn rows(report: &Value, outcome: &str) -> Vec<String> {
    let rows = report["rows"].as_array().unwrap().iter().filter(|row| row["outcome"] == outcome);
    rows.map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

/// Lets everything pass.
pub fn pipe() -> Change {
    Arc::new(|passing| vec![(passing.way, passing.bytes.clone())])
}

/// Changes some packets: `None` where this one is none of them.
pub fn changing(change: impl Fn(&Passing) -> Option<Vec<(Way, Vec<u8>)>> + Send + Sync + 'static) -> Change {
    Arc::new(move |passing| change(passing).unwrap_or_else(|| vec![(passing.way, passing.bytes.clone())]))
}

pub fn claims(jws: &[u8]) -> Option<Value> {
    let claims = std::str::from_utf8(jws).ok()?.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()
}

/// A check that runs, with what it goes through.
struct Running {
    row: &'static str,
    child: Child,
    _broker: Option<MqttProxy>,
    store: Option<Proxy>,
}

fn begin(cloud: &Cloud, (row, planted): (&'static str, Planted), device: &Device) -> Running {
    let direct = format!("localhost:{}", cloud.mqtt_port);
    let heard = ["acl.publish", "broker.will"].contains(&row);
    let observer = if heard { observer(cloud).to_vec() } else { Vec::new() };
    match planted {
        Planted::Before(_) | Planted::Acl(_) => {
            Running { row, child: device.verify(cloud, &direct, &observer), _broker: None, store: None }
        }
        Planted::Broker(mut habits, change) => {
            habits.lends = habits.lends.map(|_| device.id.clone());
            let proxy = MqttProxy::start(cloud, habits, change(cloud, device));
            Running {
                row,
                child: device.verify(cloud, &proxy.place(), &observer),
                _broker: Some(proxy),
                store: None,
            }
        }
        Planted::Store(fault) => {
            let mut proxy = Proxy::bind();
            proxy.serve(cloud);
            proxy.set(fault, u32::MAX);
            let connect = ["--store-connect".to_owned(), format!("127.0.0.1:{}", proxy.port)];
            let child = device.verify(cloud, &direct, &connect);
            Running { row, child, _broker: None, store: Some(proxy) }
        }
    }
}

/// The lines stand in the ACL, and the broker has read it again.
fn widen(cloud: &Cloud, lines: &[String]) {
    let acl = cloud.dir().join("broker/acl");
    let before = std::fs::read_to_string(&acl).unwrap();
    std::fs::write(&acl, format!("{before}\n{}\n", lines.join("\n"))).unwrap();
    cloud.tell(&["broker", "restart"]);
}

#[test]
fn a_cloud_with_one_fault_fails_one_row() {
    let cloud = Cloud::start(&[]);
    let faults = faults();
    assert!(faults.len() >= 10);
    let devices: Vec<Device> = (0..faults.len()).map(|n| Device::new(&cloud, n)).collect();
    let mut lines = Vec::new();
    for ((_, planted), device) in faults.iter().zip(&devices) {
        match planted {
            Planted::Acl(line) => lines.push(format!("user {}\n{}", device.id, line(device))),
            Planted::Before(plant) => plant(&cloud, device),
            Planted::Broker(..) | Planted::Store(_) => {}
        }
    }
    widen(&cloud, &lines);
    let mut wrong = Vec::new();
    let mut waiting = faults.into_iter().zip(&devices);
    loop {
        let running: Vec<Running> =
            waiting.by_ref().take(AT_ONCE).map(|(fault, device)| begin(&cloud, fault, device)).collect();
        if running.is_empty() {
            break;
        }
        for check in running {
            let (report, code) = report(check.child);
            let failed = rows(&report, "fail");
            if failed != [check.row] || code != Some(1) {
                let seen: Vec<&Value> = report["rows"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .filter(|row| row["outcome"] == "fail")
                    .collect();
                wrong.push(format!("{}: {code:?}, {seen:#?}", check.row));
            }
            let passed = rows(&report, "pass").len();
            if passed < 38 {
                wrong.push(format!(
                    "{}: {passed} passed, not checked: {:?}",
                    check.row,
                    rows(&report, "not-checked")
                ));
            }
            if let Some(store) = check.store {
                assert!(store.hits() > 0, "{}: the fault did not strike", check.row);
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Rows that no cloud can pass from where the check stands.
const UNSEEN: [&str; 8] = [
    "key.prefix",
    "key.list",
    "key.delete",
    "duty.after-choice",
    "versions.grow",
    "grant.not-logged",
    "store.lifecycle",
    "identity.names",
];

#[test]
fn a_correct_cloud_passes_every_row_and_its_report_fits_the_schema() {
    let cloud = Cloud::start(&[]);
    let device = Device::new(&cloud, 0);
    let direct = format!("localhost:{}", cloud.mqtt_port);
    let (seen, code) = report(device.verify(&cloud, &direct, &observer(&cloud)));
    assert_eq!((rows(&seen, "fail"), code), (vec![], Some(0)), "{seen:#}");
    assert_eq!(rows(&seen, "not-checked"), UNSEEN, "{seen:#}");
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schemas/conformance.json");
    let schema = serde_json::from_str(&std::fs::read_to_string(schema).unwrap()).unwrap();
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    let faults: Vec<String> = schema.iter_errors(&seen).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{faults:?}");

    // Nothing of a key, a grant or a signature is shown.
    let text = seen.to_string();
    let secret = std::fs::read_to_string(cloud.dir().join("storage.toml")).unwrap();
    let secret =
        secret.lines().find_map(|line| line.strip_prefix("secret_access_key = ")).unwrap().trim_matches('"');
    for word in [secret, "X-Amz-Signature", "X-Amz-Credential", "eyJ"] {
        assert!(!text.contains(word), "{word}");
    }

    // The development cloud keeps what was captured after a choice, so that tests find it: `verify` says so.
    let private = json!({"device_id": device.id, "version": 8, "issued_at": "2026-11-01T12:00:00Z", "do_not_record": true});
    publish(&cloud, &device.id, "privacy", &sign(cloud.dir(), "privacy", &private));
    let (seen, code) = report(device.verify(&cloud, &direct, &["--deletion".into(), "1".into()]));
    assert_eq!((rows(&seen, "fail"), code), (vec!["duty.after-choice".to_owned()], Some(1)), "{seen:#}");
    // A store that deletes it, by hand, passes.
    let stored = || -> Vec<PathBuf> {
        let below = cloud.dir().join("bucket/v1").join(&device.id);
        let mut found = vec![below];
        let mut files = Vec::new();
        while let Some(path) = found.pop() {
            match std::fs::read_dir(&path) {
                Ok(entries) => found.extend(entries.map(|entry| entry.unwrap().path())),
                Err(_) => files.push(path),
            }
        }
        files
    };
    let old = stored();
    let child = device.verify(&cloud, &direct, &["--deletion".into(), "4".into()]);
    // The object of this row is stored last, beside the two that are kept.
    let new = wait_up_to(DEADLINE, "the object that is to go", || {
        let new: Vec<PathBuf> = stored().into_iter().filter(|path| !old.contains(path)).collect();
        (new.len() >= 4).then_some(new)
    });
    for path in new {
        std::fs::remove_file(path).unwrap();
    }
    let (seen, code) = report(child);
    assert_eq!((rows(&seen, "fail"), code), (vec![], Some(0)), "{seen:#}");
}

#[test]
fn a_key_with_more_rights_than_put_is_reported() {
    let cloud = Cloud::start(&[]);
    let device = Device::new(&cloud, 0);
    let direct = format!("localhost:{}", cloud.mqtt_port);
    // The development cloud has one key for every camera and for whoever reads; it deletes nothing.
    let (seen, code) = report(device.verify_by(&cloud, &direct, &[]));
    assert_eq!(
        (rows(&seen, "fail"), code),
        (vec!["key.prefix".into(), "key.list".into()], Some(1)),
        "{seen:#}"
    );
    for row in ["store.put", "store.proof", "store.checksum", "store.condition", "store.head", "key.delete"] {
        assert!(rows(&seen, "pass").iter().any(|id| id == row), "{row}: {seen:#}");
    }
    let mut proxy = Proxy::bind();
    proxy.serve(&cloud);
    proxy.set(Fault::Status("DELETE", 501, 204), u32::MAX);
    let connect = ["--store-connect".to_owned(), format!("127.0.0.1:{}", proxy.port)];
    let (seen, _) = report(device.verify_by(&cloud, &direct, &connect));
    let wanted: Vec<String> = ["key.prefix", "key.list", "key.delete"].map(String::from).into();
    assert_eq!(rows(&seen, "fail"), wanted, "{seen:#}");
}

#[test]
fn a_check_that_cannot_run_exits_with_2_and_the_reason() {
    let cloud = Cloud::start(&[]);
    let device = Device::new(&cloud, 0);
    let nobody = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    for (broker, why) in [(format!("localhost:{nobody}"), "refused"), ("localhost".to_owned(), "HOST:PORT")] {
        let output = device.verify(&cloud, &broker, &[]).wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.contains(why)), (Some(2), true), "{said}");
    }
    let output = Command::new(PROGRAM).args(["verify", "--device", "a"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    // An authority that did not sign the broker's certificate: the check ran, and a row failed.
    let stranger = Cloud::start(&[]);
    let ca = stranger.dir().join("pki/ca.pem");
    let at = |path: &str| cloud.dir().join(path);
    let output = Command::new(PROGRAM)
        .args([
            "verify",
            "--broker",
            &format!("localhost:{}", cloud.mqtt_port),
            "--device",
            &device.id,
            "--json",
            "-",
            "--ca",
        ])
        .arg(ca)
        .arg("--cert")
        .arg(at(&format!("{}/device.pem", device.id)))
        .arg("--key")
        .arg(at(&format!("{}/device.key", device.id)))
        .output()
        .unwrap();
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (rows(&seen, "fail"), output.status.code()),
        (vec!["broker.tls".to_owned()], Some(1)),
        "{seen:#}"
    );
}
