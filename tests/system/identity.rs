//! From the factory to a camera with its own certificate, and back.

use crate::support::bucket::assert_spans_are_whole;
use crate::support::camera::{Camera, kasacamd};
use crate::support::cloud::{Cloud, wait};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn enroll(config: &Path) -> (bool, String) {
    let output = kasacamd(&["enroll", "--config", config.to_str().unwrap()]);
    (output.status.success(), words(&output.stdout) + &words(&output.stderr))
}

fn issued(cloud: &Cloud, renewal: bool) -> usize {
    let wanted =
        |event: &serde_json::Value| event["event"] == "certificate_issued" && event["renewal"] == renewal;
    cloud.events().iter().filter(|event| wanted(event)).count()
}

#[test]
fn a_camera_enrols_with_a_password_that_is_good_once_and_then_records() {
    let cloud = Cloud::start(&["--enroll"]);
    let unenrolled = kasacamd(&["check", "--config", cloud.agent_toml.to_str().unwrap()]);
    assert_eq!(unenrolled.status.code(), Some(1));
    assert!(words(&unenrolled.stdout).contains("kasacamd enroll"), "{}", words(&unenrolled.stdout));

    let (done, told) = enroll(&cloud.agent_toml);
    assert!(done, "{told}");
    let file = cloud.agent_toml.with_file_name("state").join("identity.pem");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(issued(&cloud, false), 1);
    // The password is used up, and the existing identity stays.
    let before = std::fs::read(&file).unwrap();
    let (done, told) = enroll(&cloud.agent_toml);
    assert!(!done && told.contains("used up"), "{told}");
    assert_eq!(std::fs::read(&file).unwrap(), before);

    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(15);
    let status = camera.wait_until_it_is_connected();
    assert!(status["certificate_days_left"].as_u64() >= Some(88), "{status}");
    camera.stop();
}

#[test]
fn a_password_that_others_can_read_is_not_used() {
    let cloud = Cloud::start(&["--enroll"]);
    let file = cloud.dir().join("enrolment.password");
    let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(0o640);
    let (done, told) = enroll(&cloud.agent_toml);
    assert!(!done && told.contains("identity.password") && told.contains("chmod 600"), "{told}");
    mode(0o600);
    assert!(enroll(&cloud.agent_toml).0);
}

#[test]
fn a_claim_certificate_enrols_as_many_cameras_as_share_it() {
    let cloud = Cloud::start(&["--enroll"]);
    let pki = cloud.dir().join("pki");
    let claim = format!("cert = {:?}\nkey = {:?}\n", pki.join("claim.pem"), pki.join("claim.key"));
    let text = std::fs::read_to_string(&cloud.agent_toml).unwrap();
    let password = text.lines().find(|line| line.starts_with("password =")).unwrap();
    std::fs::write(&cloud.agent_toml, text.replace(password, &claim)).unwrap();
    for n in 1..=2 {
        let (done, told) = enroll(&cloud.agent_toml);
        assert!(done, "{told}");
        assert_eq!(issued(&cloud, false), n);
    }
}

#[test]
fn a_server_that_issues_no_certificate_is_reported_with_what_to_do() {
    let cloud = Cloud::start(&["--enroll"]);
    for (status, word) in
        [("202", "approved"), ("401", "used up"), ("404", "/.well-known/est"), ("500", "500")]
    {
        cloud.tell(&["est", "--status", status]);
        let (done, told) = enroll(&cloud.agent_toml);
        assert!(!done && told.contains(word), "{status}: {told}");
    }
    let none = cloud.agent_toml.with_file_name("state").join("identity.pem");
    assert!(!none.exists());
    cloud.tell(&["est"]);
    assert!(enroll(&cloud.agent_toml).0);
}

#[test]
fn a_renewal_leaves_no_gap_in_what_is_recorded() {
    let cloud = Cloud::start(&["--enroll", "--segment", "3s"]);
    // Two thirds of its life end in 10 s, all of it in 30 s.
    cloud.tell(&["est", "--age", "30", "--life", "30"]);
    let old_ends = Instant::now() + Duration::from_secs(31);
    assert!(enroll(&cloud.agent_toml).0);
    cloud.tell(&["est"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(30);
    camera.wait_until_it_is_connected();
    let recorded = camera.status()["capture"]["frames_committed"].as_u64().unwrap();
    let old = std::fs::read(camera.state_dir().join("identity.pem")).unwrap();

    wait("a renewal", || (issued(&cloud, true) == 1).then_some(()));
    camera.wait_for("the new end", |status| status["certificate_days_left"].as_u64() >= Some(88));
    assert_ne!(std::fs::read(camera.state_dir().join("identity.pem")).unwrap(), old);
    camera.wait_until_it_records(recorded + 60);
    // The next connection uses the new certificate: the broker no longer accepts the old one.
    std::thread::sleep(old_ends.saturating_duration_since(Instant::now()));
    cloud.tell(&["broker", "restart"]);
    camera.wait_until_it_is_connected();
    let status = camera.status();
    assert_eq!(status["capture"]["starts"], 1, "{status}");
    camera.wait_until_all_is_stored();
    camera.stop();
    let stored = cloud.stored();
    assert_spans_are_whole(&stored, true);
    assert_eq!(stored.iter().filter(|object| object.is_end()).count(), 1, "one span, from start to stop");
}

#[test]
fn a_reset_leaves_nothing_of_the_household() {
    let cloud = Cloud::start(&["--enroll", "--segment", "2s"]);
    assert!(enroll(&cloud.agent_toml).0);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    cloud.tell(&["store", "down"]);
    let camera = Camera::start(&cloud);
    camera.wait_for("footage that waits", |status| status["spool"]["pending"].as_u64() >= Some(2));
    let config = cloud.agent_toml.to_str().unwrap();
    let running = kasacamd(&["reset", "--config", config, "--yes"]);
    assert!(!running.status.success() && words(&running.stderr).contains("stop it first"), "{running:?}");
    let state = camera.state_dir();
    camera.stop();
    assert!(std::fs::read_dir(state.join("spool")).unwrap().count() > 0);

    let asked = kasacamd(&["reset", "--config", config]);
    assert!(!asked.status.success() && words(&asked.stderr).contains("--yes"), "{asked:?}");
    assert!(std::fs::read_dir(state.join("spool")).unwrap().count() > 0, "nothing goes unless it is meant");

    let done = kasacamd(&["reset", "--config", config, "--yes"]);
    let told = words(&done.stdout);
    assert!(done.status.success(), "{told}{}", words(&done.stderr));
    assert_eq!(std::fs::read_dir(&state).unwrap().count(), 0, "{told}");
    for word in ["footage", "journal", "credentials", "stays", "fstrim"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(!cloud.dir().join("storage.toml").exists());
    // Again, on a camera with nothing to remove.
    let again = kasacamd(&["reset", "--config", config, "--yes"]);
    assert!(again.status.success() && words(&again.stdout).contains("nothing to remove"), "{again:?}");
}
