//! A camera at its everyday work.

use crate::support::bucket::assert_spans_are_whole;
use crate::support::camera::Camera;
use crate::support::cloud::Cloud;

#[test]
fn what_is_captured_is_stored_and_a_stop_leaves_nothing_behind() {
    let cloud = Cloud::start(&["--segment", "2s"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);

    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(60);
    let state = camera.state_dir();
    camera.stop();

    let stored = cloud.stored();
    assert_spans_are_whole(&stored, true);
    assert!(stored.last().unwrap().is_end(), "{:?}", stored.last());
    assert_eq!(stored.last().unwrap().metadata("reason"), "shutdown");
    let pictures: u64 = cloud.footage().iter().map(|segment| segment.pictures()).sum();
    assert!(pictures >= 60, "{pictures} pictures");
    let left: Vec<_> = std::fs::read_dir(state.join("spool")).unwrap().flatten().collect();
    let left: Vec<_> = left.iter().filter(|entry| entry.path().is_file()).collect();
    assert!(left.is_empty(), "{left:?}");
}
