//! Cameras whose clock is wrong, with libfaketime; the monotonic clock is not changed.

use crate::support::bucket::assert_spans_are_whole;
use crate::support::camera::Camera;
use crate::support::cloud::Cloud;

#[test]
fn a_camera_that_wakes_in_1970_records_on_its_lease_and_its_segments_get_their_time_later() {
    let cloud = Cloud::start(&["--segment", "2s", "--set", "clock.trust=\"kernel\""]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(15);
    camera.stop();
    let before = cloud.footage().len();

    let camera = Camera::start_at(&cloud, "1970-01-02 00:00:30");
    let status = camera.wait_until_it_records(45);
    if status["clock"] == "trusted" {
        println!("left out: this machine's kernel vouches for its clock, whatever it shows");
        return;
    }
    assert_eq!(status["clock"], "unset", "{status}");
    camera.wait_for("segments that wait", |status| status["spool"]["pending"].as_u64() >= Some(1));
    assert_eq!(cloud.footage().len(), before, "nothing goes without a time");
    let connected = camera.status()["mqtt"]["connected"].clone();
    camera.kill();
    assert_eq!(connected, true, "certificates are held against a time that has passed for sure");

    // The time service has set the clock.
    let config = std::fs::read_to_string(&cloud.agent_toml).unwrap();
    std::fs::write(&cloud.agent_toml, config.replace("trust = \"kernel\"", "trust = \"system\"")).unwrap();
    let camera = Camera::start(&cloud);
    camera.wait_until_all_is_stored();
    camera.stop();

    let stored = cloud.stored();
    assert_spans_are_whole(&stored, true);
    assert!(stored.iter().all(|object| !object.key.contains("/1970-")), "a key of 1970");
    let corrected = cloud.footage().into_iter().filter(|object| object.metadata("clock") == "corrected");
    let frames: u64 = corrected.map(|object| object.frames()).sum();
    assert!(frames >= 45, "{frames} frames with a corrected time");
}
