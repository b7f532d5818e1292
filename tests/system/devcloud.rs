//! The development cloud itself: what it refuses, and that it ends with everything that it started.

use crate::support::cloud::{Cloud, children, runs, wait};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use kasacam::config;
use kasacam::domain::outcome::{Attempt, Held};
use kasacam::upload::{Object, ObjectStore};
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

fn mosquitto(program: &str, cloud: &Cloud, identity: Option<(&Path, &Path)>, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(["-V", "5", "-h", "localhost", "-q", "1", "-p", &cloud.mqtt_port.to_string()]);
    command.arg("--cafile").arg(cloud.dir().join("pki/ca.pem"));
    if let Some((cert, key)) = identity {
        command.arg("--cert").arg(cert).arg("--key").arg(key);
    }
    command.args(arguments).output().unwrap()
}

fn publish(cloud: &Cloud, identity: Option<(&Path, &Path)>, topic: &str, message: &str) -> Output {
    mosquitto("mosquitto_pub", cloud, identity, &["-t", topic, "-m", message])
}

/// Whether the cloud, which receives every topic, has received this payload by the time it receives `after`.
fn heard(cloud: &Cloud, payload: &Value, after: &Value) -> bool {
    cloud.wait_for_event("the later message", |event| event["payload"] == *after);
    cloud.events().iter().any(|event| event["payload"] == *payload)
}

#[test]
fn the_configuration_that_the_cloud_writes_is_valid_for_the_agent() {
    let cloud = Cloud::start(&["--segment", "6s", "--set", "upload.concurrency=1"]);

    let config = config::load(&cloud.agent_toml).unwrap();

    assert_eq!(config.device.id, "cam-0001");
    assert_eq!(config.recording.segment, Duration::from_secs(6));
    assert_eq!(config.upload.concurrency, 1);
    assert_eq!((config.upload.bucket.as_str(), config.upload.prefix.as_str()), ("kasa-care", "v1/"));
}

#[test]
fn the_broker_refuses_a_client_without_a_certificate() {
    let cloud = Cloud::start(&[]);

    let refused = publish(&cloud, None, "kasacam/v1/cam-0001/event", "{}");

    assert!(!refused.status.success());
}

#[test]
fn the_broker_refuses_a_certificate_of_another_authority() {
    let (cloud, other) = (Cloud::start(&[]), Cloud::start(&[]));
    let (cert, key) = (other.dir().join("cam-0001/device.pem"), other.dir().join("cam-0001/device.key"));

    let refused = publish(&cloud, Some((&cert, &key)), "kasacam/v1/cam-0001/event", "{}");

    assert!(!refused.status.success());
}

#[test]
fn a_camera_writes_to_its_own_topics_and_to_no_other_cameras() {
    let cloud = Cloud::start(&[]);
    let (cert, key) = cloud.issue("cam-0002");
    let identity = Some((cert.as_path(), key.as_path()));

    publish(&cloud, identity, "kasacam/v1/cam-0001/event", r#"{"forged":1}"#);
    publish(&cloud, identity, "kasacam/v1/cam-0002/privacy/desired", r#"{"forged":2}"#);
    publish(&cloud, identity, "kasacam/v1/cam-0002/event", r#"{"own":true}"#);

    assert!(!heard(&cloud, &json!({"forged": 1}), &json!({"own": true})));
    assert!(!heard(&cloud, &json!({"forged": 2}), &json!({"own": true})));
}

#[test]
fn a_camera_reads_its_own_commands_and_no_other_cameras() {
    let cloud = Cloud::start(&[]);
    cloud.tell(&["privacy", "on"]);
    let (cert, key) = cloud.issue("cam-0002");
    let own = (cloud.dir().join("cam-0001/device.pem"), cloud.dir().join("cam-0001/device.key"));
    let read = ["-t", "kasacam/v1/cam-0001/privacy/desired", "-C", "1", "-W", "3"];

    let by_owner = mosquitto("mosquitto_sub", &cloud, Some((&own.0, &own.1)), &read);
    let by_other = mosquitto("mosquitto_sub", &cloud, Some((&cert, &key)), &read);

    assert_eq!(by_owner.stdout.iter().filter(|b| **b == b'.').count(), 2, "a compact JWS has three parts");
    assert!(by_other.stdout.is_empty());
}

#[test]
fn a_privacy_choice_is_a_signed_and_retained_command_of_growing_version() {
    let cloud = Cloud::start(&[]);

    cloud.tell(&["privacy", "off"]);
    cloud.tell(&["privacy", "on"]);

    let own = (cloud.dir().join("cam-0001/device.pem"), cloud.dir().join("cam-0001/device.key"));
    let read = ["-t", "kasacam/v1/cam-0001/privacy/desired", "-C", "1", "-W", "5"];
    let jws = mosquitto("mosquitto_sub", &cloud, Some((&own.0, &own.1)), &read).stdout;
    let (header, claims) = verified(&cloud, String::from_utf8(jws).unwrap().trim());
    assert_eq!(header, json!({"alg": "EdDSA", "kid": "entitlement-dev-1", "typ": "kasacam-privacy+jws"}));
    assert_eq!(claims["device_id"], "cam-0001");
    assert_eq!(claims["version"], 2);
    assert_eq!(claims["do_not_record"], true);
}

#[test]
fn what_it_signs_verifies_with_the_key_that_the_camera_holds() {
    let cloud = Cloud::start(&[]);

    let signed = cloud.tell(&["sign", "entitlement", r#"{"version":7}"#]);

    let (header, claims) = verified(&cloud, signed["jws"].as_str().unwrap());
    assert_eq!(header["typ"], "kasacam-entitlement+jws");
    assert_eq!(claims, json!({"version": 7}));
}

/// Header and claims of a compact JWS, verified with the key in the camera's own file.
fn verified(cloud: &Cloud, jws: &str) -> (Value, Value) {
    let pem = std::fs::read_to_string(cloud.dir().join("entitlement-dev-1.pem")).unwrap();
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let spki = STANDARD.decode(base64).unwrap();
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, &spki[12..]);
    let (signed, signature) = jws.rsplit_once('.').unwrap();
    key.verify(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let read = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    (read(header), read(claims))
}

#[test]
fn a_plan_is_a_lease_with_its_features_and_what_comes_next() {
    let cloud = Cloud::start(&[]);

    let plan = ["plan", "plus", "--status", "past_due", "--max-height", "720", "--not-after", "+1h"];
    cloud.tell(&[&plan[..], &["--next-from", "+10m", "--next-plan", "free"]].concat());

    let topic = "kasacam/v1/cam-0001/entitlement/desired";
    let claims = cloud.wait_for_event("the lease", |event| event["topic"] == topic)["claims"].clone();
    assert_eq!(claims["version"], 1);
    assert_eq!(claims["status"], "past_due");
    assert_eq!(claims["plan"]["tier"], "plus");
    assert_eq!(
        claims["features"],
        json!({"record": true, "audio": true, "max_height": 720, "history_hours": 720})
    );
    assert_eq!(claims["next"]["plan"]["tier"], "free");
    assert_eq!(claims["next"]["features"]["audio"], false);
}

#[test]
fn versions_grow_across_a_restart_and_the_retained_command_stays() {
    let cloud = Cloud::start(&[]);
    cloud.tell(&["privacy", "on"]);
    let port = cloud.mqtt_port;

    let cloud = Cloud::start_in(cloud.into_dir(), &[]);
    let retained =
        cloud.wait_for_event("the retained choice", |e| e["retained"] == true && e["claims"]["version"] == 1);
    let again = cloud.tell(&["privacy", "off"]);

    assert_eq!(retained["claims"]["do_not_record"], true);
    assert_eq!(again["version"], 2);
    assert_eq!(cloud.mqtt_port, port, "a camera keeps its addresses");
}

/// The camera's own client for the store.
fn store(cloud: &Cloud) -> kasacam::upload::S3Store {
    let config = config::load(&cloud.agent_toml).unwrap();
    let rate = Arc::new(kasacam::upload::rate::Rate::new(None));
    kasacam::upload::S3Store::new(&config.upload, rate, kasacam::upload::Timeouts::default()).unwrap()
}

fn object(key: &str, body: &'static [u8]) -> Object {
    let sha256 = ring::digest::digest(&ring::digest::SHA256, body).as_ref().try_into().unwrap();
    Object {
        key: key.into(),
        body: Arc::new(bytes::Bytes::from_static(body)),
        size: body.len() as u64,
        sha256,
        content_type: "video/mp4".into(),
        metadata: vec![("span", "s-1".into())],
        tags: vec![("history-hours", "24".into())],
        share: kasacam::domain::effect::Share::Full,
        half_sent: Arc::default(),
    }
}

fn put(store: &kasacam::upload::S3Store, object: &Object) -> Attempt {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(store.put(object))
}

fn status(attempt: &Attempt) -> Option<u16> {
    match attempt {
        Attempt::Answered { status, .. } => Some(*status),
        _ => None,
    }
}

#[test]
fn the_store_keeps_an_object_with_its_metadata() {
    let cloud = Cloud::start(&[]);

    let attempt = put(&store(&cloud), &object("v1/a.mp4", b"footage"));

    assert!(matches!(attempt, Attempt::Answered { status: 200, held: Held::Same, .. }), "{attempt:?}");
    let listed = cloud.tell(&["objects"])["objects"].clone();
    assert_eq!(listed[0]["key"], "v1/a.mp4");
    assert_eq!(listed[0]["facts"]["bytes"], 7);
    assert_eq!(listed[0]["facts"]["content_type"], "video/mp4");
    assert_eq!(listed[0]["facts"]["metadata"]["span"], "s-1");
    assert_eq!(listed[0]["facts"]["tags"]["history-hours"], "24");
    let event = cloud.wait_for_event("the object", |event| event["event"] == "object_stored");
    assert_eq!((&event["key"], &event["bytes"]), (&json!("v1/a.mp4"), &json!(7)));
    assert_eq!(std::fs::read(cloud.dir().join("bucket/v1/a.mp4")).unwrap(), b"footage");
}

#[test]
fn a_conditional_put_leaves_the_first_object_as_it_is() {
    let cloud = Cloud::start(&[]);
    let store = store(&cloud);
    put(&store, &object("v1/a.mp4", b"first"));

    let same = put(&store, &object("v1/a.mp4", b"first"));
    let other = put(&store, &object("v1/a.mp4", b"other"));

    assert!(matches!(same, Attempt::Answered { status: 412, held: Held::Same, .. }), "{same:?}");
    assert!(matches!(other, Attempt::Answered { status: 412, held: Held::Different, .. }), "{other:?}");
    assert_eq!(std::fs::read(cloud.dir().join("bucket/v1/a.mp4")).unwrap(), b"first");
}

#[test]
fn a_wrong_secret_is_refused() {
    let cloud = Cloud::start(&[]);
    let path = cloud.dir().join("storage.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let key = text.lines().next().unwrap();
    std::fs::write(&path, format!("{key}\nsecret_access_key = \"another\"\n")).unwrap();

    let attempt = put(&store(&cloud), &object("v1/a.mp4", b"footage"));

    assert_eq!(status(&attempt), Some(403), "{attempt:?}");
    assert_eq!(cloud.tell(&["objects"])["objects"], json!([]));
}

/// A PUT by curl, signed like the camera's, with these headers.
fn curl_put(cloud: &Cloud, headers: &[&str]) -> String {
    let text = std::fs::read_to_string(cloud.dir().join("storage.toml")).unwrap();
    let values: Vec<&str> = text.lines().map(|line| line.split('"').nth(1).unwrap()).collect();
    let mut curl = Command::new("curl");
    curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", "-X", "PUT", "--data-binary", "footage"]);
    curl.args(["--aws-sigv4", "aws:amz:us-east-1:s3", "-H", "content-type: video/mp4"]);
    curl.args(["-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]);
    curl.arg("--cacert").arg(cloud.dir().join("pki/ca.pem"));
    curl.arg("--user").arg(values.join(":"));
    for header in headers {
        curl.args(["-H", header]);
    }
    curl.arg(format!("https://localhost:{}/kasa-care/v1/a.mp4", cloud.s3_port));
    String::from_utf8(curl.output().unwrap().stdout).unwrap()
}

#[test]
fn a_put_without_a_checksum_or_with_a_wrong_one_is_refused() {
    let cloud = Cloud::start(&[]);
    let sum = |body: &[u8]| STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, body));
    let header = |body: &[u8]| format!("x-amz-checksum-sha256: {}", sum(body));

    let without = curl_put(&cloud, &[]);
    let wrong = curl_put(&cloud, &[&header(b"other")]);
    let stored_by_then = cloud.tell(&["objects"])["objects"].clone();
    let right = curl_put(&cloud, &[&header(b"footage")]);

    assert_eq!((without.as_str(), wrong.as_str(), right.as_str()), ("400", "400", "200"));
    assert_eq!(stored_by_then, json!([]));
}

#[test]
fn the_store_goes_down_fails_and_comes_back_on_command() {
    let cloud = Cloud::start(&[]);
    let store = store(&cloud);
    let footage = object("v1/a.mp4", b"footage");

    cloud.tell(&["store", "down"]);
    let down = put(&store, &footage);
    cloud.tell(&["store", "error", "503"]);
    let failing = put(&store, &footage);
    cloud.tell(&["store", "up"]);
    let up = put(&store, &footage);

    assert!(matches!(down, Attempt::Unanswered { .. }), "{down:?}");
    assert_eq!(status(&failing), Some(503), "{failing:?}");
    assert_eq!(status(&up), Some(200), "{up:?}");
}

#[test]
fn the_broker_goes_down_and_comes_back_with_what_it_retained() {
    let cloud = Cloud::start(&[]);
    cloud.tell(&["privacy", "on"]);

    cloud.tell(&["broker", "down"]);
    let down = cloud.tell(&["status"]);
    cloud.tell(&["broker", "up"]);

    assert_eq!(down["broker"]["up"], false);
    cloud.wait_for_event("the retained choice", |event| {
        event["retained"] == true && event["claims"]["do_not_record"] == true
    });
}

#[test]
fn a_command_that_makes_no_sense_is_refused_with_a_reason() {
    let cloud = Cloud::start(&[]);

    let unknown = cloud.ask(r#"{"command":"dance"}"#);
    let plan = cloud.run(&["plan", "platinum"]);

    assert_eq!(unknown["ok"], false);
    assert!(unknown["error"].as_str().unwrap().contains("dance"));
    assert!(!plan.status.success());
    assert!(String::from_utf8_lossy(&plan.stderr).contains("free, plus or premium"));
}

#[test]
fn secrets_are_for_their_owner_alone_and_no_jws_is_logged() {
    use std::os::unix::fs::PermissionsExt;
    let cloud = Cloud::start(&[]);
    cloud.tell(&["privacy", "on"]);
    cloud.wait_for_event("the choice", |event| event["claims"]["do_not_record"] == true);

    let secrets = ["storage.toml", "pki/ca.key", "pki/entitlement-dev-1.pk8", "cam-0001/device.key"];

    for name in secrets {
        let mode = std::fs::metadata(cloud.dir().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let log = std::fs::read_to_string(cloud.dir().join("events.jsonl")).unwrap();
    assert!(!log.contains("eyJ"), "a JWS begins so");
}

#[test]
fn nothing_is_left_running_after_sigterm() {
    let mut cloud = Cloud::start(&[]);
    let children = cloud.children();

    let ended = cloud.end_by(libc::SIGTERM);

    assert!(!children.is_empty());
    assert_eq!(ended.code(), Some(0));
    assert!(!children.iter().any(|pid| runs(*pid)));
    assert!(!cloud.dir().join("cloud.sock").exists());
}

#[test]
fn nothing_is_left_running_after_it_was_killed() {
    let mut cloud = Cloud::start(&[]);
    let children = cloud.children();

    cloud.end_by(libc::SIGKILL);

    assert!(!children.is_empty());
    wait("its children to end", || (!children.iter().any(|pid| runs(*pid))).then_some(()));
}

/// A process that is not a child of the test, and is killed if it still runs at the end.
struct Left(u32);

impl Drop for Left {
    fn drop(&mut self) {
        if runs(self.0) {
            let pid = i32::try_from(self.0).unwrap();
            // SAFETY: a plain system call, for a process that existed a moment ago.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
    }
}

#[test]
fn nothing_is_left_running_after_the_process_that_started_it_was_killed() {
    let place = tempfile::TempDir::new().unwrap();
    let dir = place.path().join("cloud");
    let out = std::fs::File::create(place.path().join("out")).unwrap();
    let mut parent = Command::new("sh")
        .args(["-c", r#""$0" --dir "$1" serve & echo $! > "$1.pid"; wait"#])
        .arg(env!("CARGO_BIN_EXE_kasacam-devcloud"))
        .arg(&dir)
        .stdout(out)
        .spawn()
        .unwrap();
    let ready = || std::fs::read_to_string(place.path().join("out")).ok().filter(|out| out.ends_with('\n'));
    wait("the cloud to be ready", ready);
    let cloud: u32 = std::fs::read_to_string(dir.with_extension("pid")).unwrap().trim().parse().unwrap();
    let _killed_should_the_test_fail = Left(cloud);
    let children = children(cloud);

    parent.kill().unwrap();
    parent.wait().unwrap();

    assert!(!children.is_empty());
    wait("the cloud to end", || (!runs(cloud)).then_some(()));
    wait("its children to end", || (!children.iter().any(|pid| runs(*pid))).then_some(()));
    assert!(!dir.join("cloud.sock").exists(), "it ended in order");
}

#[test]
fn a_camera_cannot_have_the_name_of_the_cloud_or_of_a_path() {
    let cloud = Cloud::start(&[]);

    for name in ["cloud", "bucket", "../outside", "a/b", "+", "#", ""] {
        let refused = cloud.run(&["issue", name]);

        assert!(!refused.status.success(), "{name}");
        assert!(String::from_utf8_lossy(&refused.stderr).contains("is no name for a camera"), "{name}");
    }
    assert!(!cloud.dir().join("cloud").exists());
}

#[test]
fn each_plan_has_its_features() {
    let cloud = Cloud::start(&[]);
    let topic = "kasacam/v1/cam-0001/entitlement/desired";
    let features = |audio: bool, height: u32, hours: u32| json!({"record": true, "audio": audio, "max_height": height, "history_hours": hours});

    for (plan, expected) in [
        ("free", features(false, 720, 24)),
        ("plus", features(true, 1080, 720)),
        ("premium", features(true, 2160, 1440)),
    ] {
        cloud.tell(&["plan", plan]);

        let lease =
            cloud.wait_for_event(plan, |e| e["topic"] == topic && e["claims"]["plan"]["tier"] == plan);
        assert_eq!(lease["claims"]["features"], expected, "{plan}");
    }
}

#[test]
fn a_second_cloud_in_the_same_directory_is_refused() {
    let cloud = Cloud::start(&[]);

    let second = cloud.run(&["serve"]);

    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("another kasacam-devcloud"));
}

#[test]
fn a_demo_without_a_camera_fails_says_why_and_leaves_nothing_behind() {
    let place = tempfile::TempDir::new().unwrap();
    let program = place.path().join("no-camera");

    let demo = Command::new(env!("CARGO_BIN_EXE_kasacam-devcloud"))
        .env("TMPDIR", place.path())
        .args(["demo", "--seconds", "30", "--kasacamd"])
        .arg(&program)
        .output()
        .unwrap();

    assert_eq!(demo.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&demo.stderr).contains("no-camera: is not there"));
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn a_key_that_leads_out_of_the_bucket_is_refused() {
    let dir = tempfile::TempDir::new().unwrap();
    let bucket = crate::objects::Bucket::open(dir.path().join("bucket")).unwrap();
    let facts = crate::objects::Facts {
        bytes: 1,
        sha256: String::new(),
        content_type: None,
        metadata: std::collections::BTreeMap::new(),
        tags: std::collections::BTreeMap::new(),
        stored_at: kasacam::domain::time::Utc(0),
    };

    for key in ["../out", "a/../../out", "/out", "a//b", "", "a/.hidden", "a.tmp", "a.mp4.json"] {
        let refused = bucket.put(key, b"x", &facts, false);

        assert!(matches!(refused, Err(crate::objects::Refusal::BadKey)), "{key}");
    }
    assert!(!dir.path().join("out").exists());
}
