//! SIGHUP: what a running camera applies of a configuration that has changed.

use crate::support::camera::Camera;
use crate::support::cloud::{Cloud, wait};
use std::path::Path;

/// Another Ed25519 public key, under this name.
fn another_key(dir: &Path, name: &str) -> String {
    let path = dir.join(name);
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    std::fs::write(&path, pair.public_key_pem()).unwrap();
    path.display().to_string()
}

/// The configuration with these keys for the owner's choice.
fn with_keys(text: &str, keys: &[&str]) -> String {
    let keys: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
    format!("{text}\n[privacy]\nkeys = [{}]\n", keys.join(", "))
}

#[test]
fn a_key_that_is_withdrawn_closes_the_camera_at_once_and_one_that_is_given_back_opens_it() {
    let cloud = Cloud::start(&["--segment", "2s"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    let text = std::fs::read_to_string(&cloud.agent_toml).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("keys = [\"")).unwrap();
    let own = line.strip_suffix("\"]").unwrap();
    let other = another_key(cloud.dir(), "owner-2.pem");
    let write = |keys: &[&str]| std::fs::write(&cloud.agent_toml, with_keys(&text, keys)).unwrap();

    write(&[own, &other]);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(1);

    write(&[&other]);
    camera.signal(libc::SIGHUP);
    let status = camera.wait_for("a closed camera", |status| status["capture"]["open"] == false);
    assert_eq!(status["capture"]["reason"], "privacy_unknown", "{status}");
    assert_eq!(status["entitlement"]["state"], "granted", "its keys are others: {status}");
    camera.wait_for_log("unknown_key");
    assert!(camera.log().contains("signed with a key that is withdrawn"));
    // A start does not trust what is on flash either.
    camera.kill();
    let camera = Camera::start(&cloud);
    let status = camera.wait_for("a connection", |status| status["mqtt"]["connected"] == true);
    assert_eq!((&status["capture"]["starts"], &status["capture"]["open"]), (&0.into(), &false.into()));

    write(&[own, &other]);
    camera.signal(libc::SIGHUP);
    let recorded = camera.status()["capture"]["frames_committed"].as_u64().unwrap_or(0);
    camera.wait_until_it_records(recorded + 1);
    assert!(!camera.log().contains("takes effect at the next start only"), "{}", camera.log());
    camera.stop();
}

#[test]
fn a_configuration_that_is_wrong_changes_nothing() {
    let cloud = Cloud::start(&["--segment", "2s"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(1);
    let text = std::fs::read_to_string(&cloud.agent_toml).unwrap();
    std::fs::write(&cloud.agent_toml, format!("{text}\n[privacy]\nkeys = [\"/no/such/key.pem\"]\n")).unwrap();
    camera.signal(libc::SIGHUP);
    camera.wait_for_log("the configuration stays as it was");
    assert_eq!(camera.status()["capture"]["open"], true);
    camera.stop();
}

#[test]
fn a_certificate_that_was_replaced_is_used_from_the_reload_on() {
    let cloud = Cloud::start(&["--segment", "2s"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(1);
    camera.wait_until_it_is_connected();
    let count = |what: &str| camera.log().matches(what).count();
    // Nothing has changed: the session is kept.
    camera.signal(libc::SIGHUP);
    camera.wait_for_log("configuration read again");
    let recorded = camera.status()["capture"]["frames_committed"].as_u64().unwrap();
    camera.wait_until_it_records(recorded + 30);
    assert_eq!(count("the broker is connected"), 1, "{}", camera.log());

    let text = std::fs::read_to_string(&cloud.agent_toml).unwrap();
    let cert = text.lines().find_map(|line| line.strip_prefix("cert = \"")).unwrap().trim_end_matches('"');
    let pem = std::fs::read_to_string(cert).unwrap();
    std::fs::write(cert, format!("Issued anew.\n{pem}")).unwrap();
    camera.signal(libc::SIGHUP);
    camera.wait_for_log("have changed: connecting anew");
    camera.wait_until_it_is_connected();
    wait("a second connection", || (count("the broker is connected") == 2).then_some(()));
    // One that cannot be used changes nothing.
    std::fs::write(cert, "no certificate").unwrap();
    camera.signal(libc::SIGHUP);
    camera.wait_for_log("the configuration stays as it was");
    assert_eq!(camera.status()["mqtt"]["connected"], true);
    let starts = camera.status()["capture"]["starts"].clone();
    assert_eq!(starts, 1, "recording went on");
    std::fs::write(cert, pem).unwrap();
    camera.wait_until_all_is_stored();
    camera.stop();
}
