//! The three kinds of permission to store: a key in a file, temporary keys for the camera's certificate, and
//! grants of the cloud. Real broker, real store over TLS, the real binary.

use crate::support::bucket::assert_spans_are_whole;
use crate::support::camera::Camera;
use crate::support::cloud::{Cloud, wait, wait_up_to};
use serde_json::Value;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

fn cloud(arguments: &[&str]) -> Cloud {
    let cloud = Cloud::start(&[&["--segment", "2s"], arguments].concat());
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    cloud
}

/// All plain files below.
fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// The value in this line of a TOML file, without quotes.
fn value(file: &Path, name: &str) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().find(|line| line.starts_with(name)).unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

fn told(cloud: &Cloud, event: &str) -> Vec<Value> {
    let events = cloud.events();
    let told = events.iter().filter(|line| line["payload"]["event"] == event);
    told.map(|line| line["payload"].clone()).collect()
}

#[test]
fn a_camera_delivers_by_each_kind_of_credentials() {
    for kind in ["grant", "iot", "file"] {
        let cloud = cloud(&["--credentials", kind]);
        let camera = Camera::start(&cloud);
        camera.wait_until_it_records(60);
        camera.wait_until_it_is_connected();
        camera.wait_until_all_is_stored();
        camera.stop();
        let stored = cloud.stored();
        assert_spans_are_whole(&stored, true);
        assert!(stored.len() >= 2, "{kind}: {} objects", stored.len());
        assert!(stored.iter().all(|object| object.metadata("device-id") == "cam-0001"), "{kind}");
        let refused = told(&cloud, "upload_refused");
        assert!(refused.is_empty() && told(&cloud, "upload_stalled").is_empty(), "{kind}: {refused:?}");
    }
}

#[test]
fn a_camera_with_grants_holds_no_key_of_the_store_and_shows_no_url() {
    let cloud = cloud(&["--credentials", "grant"]);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(60);
    camera.wait_until_it_is_connected();
    camera.wait_until_all_is_stored();
    let log = camera.log();
    camera.stop();
    let secret = value(&cloud.dir().join("storage.toml"), "secret_access_key");
    let home = cloud.agent_toml.parent().unwrap();
    let mut found = vec![cloud.dir().join("events.jsonl")];
    files(home, &mut found);
    assert!(found.len() > 3, "{found:?}");
    for file in found {
        let bytes = std::fs::read(&file).unwrap();
        let holds = |what: &str| bytes.windows(what.len()).any(|window| window == what.as_bytes());
        assert!(!holds(&secret) && !holds("X-Amz-Signature") && !holds("storage.toml"), "{}", file.display());
    }
    assert!(!log.contains("X-Amz") && !log.contains(&secret), "{log}");
    let asked = cloud
        .events()
        .iter()
        .filter(|line| line["topic"].as_str().unwrap_or_default().ends_with("grant/request"))
        .count();
    assert!(asked >= 2, "{asked}");
}

/// Each of them is refused and reported once per segment; nothing is stored, nothing is lost.
#[test]
fn a_grant_for_another_device_key_host_or_size_is_refused_and_no_footage_is_lost() {
    let cloud = cloud(&["--credentials", "grant"]);
    let faults = [
        ("other-key", "for another key"),
        ("other-host", "another host"),
        ("other-size", "another size"),
        ("expired", "expired"),
        ("refuse", "as_told"),
        ("other-device", ""),
    ];
    cloud.tell(&["grants", "--answer", faults[0].0]);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(15);
    camera.wait_until_it_is_connected();
    for (answer, why) in faults {
        cloud.tell(&["grants", "--answer", answer]);
        if answer == "other-device" {
            wait("another camera's grant to be rejected", || {
                told(&cloud, "rejected").iter().any(|event| event["reason"] == "wrong_device").then_some(())
            });
        } else {
            wait_up_to(Duration::from_secs(90), answer, || {
                let refused = told(&cloud, "upload_refused");
                refused.iter().any(|event| event["why"].as_str().unwrap().contains(why)).then_some(())
            });
        }
    }
    let refused = told(&cloud, "upload_refused");
    let serials: BTreeSet<u64> = refused.iter().map(|event| event["serial"].as_u64().unwrap()).collect();
    assert_eq!(serials.len(), refused.len(), "each segment is told once: {refused:?}");
    assert!(told(&cloud, "upload_stalled").len() <= 1);
    assert_eq!(cloud.stored().len(), 0, "nothing went anywhere");
    cloud.tell(&["grants"]);
    camera.wait_for("all to be stored", |status| {
        status["upload"]["stored"].as_u64() >= Some(3) && status["spool"]["pending"].as_u64() <= Some(1)
    });
    camera.wait_until_all_is_stored();
    camera.stop();
    assert_spans_are_whole(&cloud.stored(), true);
    assert!(told(&cloud, "segment_purged").is_empty());
}

#[test]
fn temporary_keys_are_renewed_and_those_that_end_early_cost_a_retry() {
    let cloud = cloud(&["--credentials", "iot"]);
    // Claimed to be valid for two minutes: renewed after 60 to 90 seconds. The store accepts them for 64
    // seconds.
    cloud.tell(&["keys", "--life", "120", "--real-life", "64"]);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(15);
    camera.wait_until_it_is_connected();
    let issued = || cloud.events().iter().filter(|line| line["event"] == "keys_issued").count();
    wait_up_to(Duration::from_secs(20), "the first keys", || (issued() == 1).then_some(()));
    wait_up_to(Duration::from_secs(120), "other keys", || (issued() >= 2).then_some(()));
    camera.wait_until_all_is_stored();
    camera.stop();
    assert_spans_are_whole(&cloud.stored(), true);
    assert!(told(&cloud, "segment_purged").is_empty());
}

#[test]
fn a_provider_that_is_away_is_logged_once_and_waited_for() {
    let cloud = cloud(&["--credentials", "iot"]);
    cloud.tell(&["keys", "--status", "403"]);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(15);
    camera.wait_until_it_is_connected();
    let stalled = wait("uploads to stall", || told(&cloud, "upload_stalled").into_iter().next());
    assert!(stalled["why"].as_str().unwrap().contains("AssumeRoleWithCertificate"), "{stalled}");
    camera.wait_until_it_records(90);
    assert_eq!(told(&cloud, "upload_stalled").len(), 1);
    assert_eq!(cloud.stored().len(), 0);
    cloud.tell(&["keys"]);
    wait_up_to(Duration::from_secs(90), "uploads to go on", || {
        told(&cloud, "upload_resumed").into_iter().next()
    });
    camera.wait_until_all_is_stored();
    camera.stop();
    assert_spans_are_whole(&cloud.stored(), true);
}

#[test]
fn a_credentials_file_that_comes_late_and_is_replaced_is_read_each_time() {
    let cloud = cloud(&[]);
    let file = cloud.dir().join("storage.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let camera = Camera::start(&cloud);
    // Recording does not wait for it.
    camera.wait_until_it_records(30);
    camera.wait_until_it_is_connected();
    assert!(camera.log().contains("uploads wait for it"), "{}", camera.log());
    let stalled = wait("uploads to stall", || told(&cloud, "upload_stalled").into_iter().next());
    assert!(stalled["why"].as_str().unwrap().contains("cannot be opened"), "{stalled}");
    let put = |text: &str| {
        let new = file.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::rename(&new, &file).unwrap();
    };
    put(&good);
    wait_up_to(Duration::from_secs(90), "uploads to go on", || {
        told(&cloud, "upload_resumed").into_iter().next()
    });
    let stored = camera.wait_until_all_is_stored()["upload"]["stored"].as_u64();
    // A key that the store no longer knows, and then the right one again.
    put(&good.replace("kasacam-dev", "kasacam-old"));
    wait("uploads to stall again", || (told(&cloud, "upload_stalled").len() == 2).then_some(()));
    put(&good);
    camera.wait_for("more to be stored", |status| status["upload"]["stored"].as_u64() > stored);
    camera.wait_until_all_is_stored();
    camera.stop();
    assert_spans_are_whole(&cloud.stored(), true);
}
