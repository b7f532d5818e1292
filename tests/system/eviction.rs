//! A full disk where the newest footage counts (`spool.when_full = "evict"`, the default): a small file
//! system with a second writer. Footage is removed from the oldest on, each segment reported.

use crate::support::camera::Camera;
use crate::support::cloud::{Cloud, wait_up_to};
use crate::support::figures::{at_least, figure, skip};
use crate::support::small_disk::SmallDisk;
use std::collections::BTreeSet;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);
/// The size of the file system, and what the camera must leave free of it.
const SIZE: u64 = 8 << 20;
const MIN_FREE: u64 = 2 << 20;
/// What is left to the camera beside what the second writer uses.
const LEFT: u64 = 3 << 20;
const MIN_EVICTED: usize = 3;

/// Serials that `segment_purged` reported with the rule `evicted`, in order.
fn evicted(cloud: &Cloud) -> Vec<u64> {
    let events = cloud.events();
    let purged =
        events.iter().map(|event| &event["payload"]).filter(|payload| payload["event"] == "segment_purged");
    purged
        .map(|payload| {
            assert_eq!(payload["rule"], "evicted", "{payload}");
            payload["serial"].as_u64().unwrap()
        })
        .collect()
}

#[test]
fn a_disk_that_another_writer_fills_makes_room_from_the_oldest_and_names_each() {
    let arguments = ["--segment", "2s", "--fragment", "500ms", "--chunk", "250ms"];
    let min_free = format!("spool.min_free=\"{MIN_FREE}\"");
    let cloud = Cloud::start(&[&arguments[..], &["--set", &min_free]].concat());
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    let state = cloud.agent_toml.with_file_name("state");
    let Some(disk) = SmallDisk::mount(&state, &format!("size={SIZE}")) else {
        return skip(
            "a_disk_that_another_writer_fills_makes_room_from_the_oldest_and_names_each",
            "nothing can be mounted here",
        );
    };
    cloud.tell(&["store", "down"]);
    let camera = Camera::start(&cloud);
    camera.wait_for("segments that wait", |status| status["spool"]["pending"].as_u64() >= Some(3));

    // Another program uses all but a little.
    let other = state.join("other-program");
    std::fs::write(&other, vec![0x5a; usize::try_from(SIZE - MIN_FREE - LEFT).unwrap()]).unwrap();
    wait_up_to(PATIENCE, "evictions", || (evicted(&cloud).len() >= MIN_EVICTED).then_some(()));
    // It continues to record.
    let known = camera.status()["capture"]["frames_committed"].as_u64().unwrap();
    camera.wait_until_it_records(known + 30);
    std::fs::remove_file(&other).unwrap();

    cloud.tell(&["store", "up"]);
    cloud.tell(&["privacy", "on"]);
    camera.wait_for("the owner's choice", |status| status["privacy"]["do_not_record"] == true);
    camera.wait_until_all_is_stored();
    camera.stop();
    drop(disk);

    let told = evicted(&cloud);
    at_least(MIN_EVICTED as u64, "segments evicted", told.len() as u64);
    assert!(told.is_sorted(), "not from the oldest on: {told:?}");
    // What is stored of each span reaches its end without a gap: only its beginning was removed.
    let stored = cloud.stored();
    assert!(!stored.is_empty(), "nothing was kept");
    let spans: BTreeSet<&str> = stored.iter().map(|object| object.metadata("span")).collect();
    for span in spans {
        let mut counters: Vec<u64> =
            stored.iter().filter(|it| it.metadata("span") == span).map(|object| object.n()).collect();
        counters.sort_unstable();
        let first = counters[0];
        let expected: Vec<u64> = (first..first + counters.len() as u64).collect();
        assert_eq!(counters, expected, "the counters of span {span}");
    }
    figure(&format!(
        "a disk of {} MiB filled by another writer: {} segments evicted from the oldest on, each told by name",
        SIZE >> 20,
        told.len()
    ));
}

/// Size of the file system on which an upload is past half when another writer fills it.
const HALF_SIZE: u64 = 16 << 20;
const HALF_MIN_FREE: u64 = 4 << 20;
/// How much is left free of what the camera must leave free: evicting all its footage would not restore it.
const HALF_LEFT: u64 = 1 << 20;

#[test]
fn an_upload_that_is_past_half_is_sent_to_its_end_though_all_else_is_evicted() {
    const NAME: &str = "an_upload_that_is_past_half_is_sent_to_its_end_though_all_else_is_evicted";
    let min_free = format!("spool.min_free=\"{HALF_MIN_FREE}\"");
    let settings = [
        min_free.as_str(),
        "upload.concurrency=1",
        "upload.max_rate=\"160kbit/s\"",
        "upload.order=\"oldest\"",
    ];
    let mut arguments = vec!["--segment", "4s", "--fragment", "1s", "--chunk", "500ms"];
    for setting in settings {
        arguments.extend(["--set", setting]);
    }
    let cloud = Cloud::start(&arguments);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    let state = cloud.agent_toml.with_file_name("state");
    let Some(disk) = SmallDisk::mount(&state, &format!("size={HALF_SIZE}")) else {
        return skip(NAME, "nothing can be mounted here");
    };
    let camera = Camera::start(&cloud);
    camera.wait_for("segments that wait", |status| status["spool"]["pending"].as_u64() >= Some(3));
    let half = |log: &str| -> Option<u64> {
        let (_, rest) = log.rsplit_once("more than half of ")?;
        rest.split(' ').next()?.parse().ok()
    };
    let before = half(&camera.log());
    let serial = wait_up_to(PATIENCE, "an upload that is past half", || {
        half(&camera.log()).filter(|found| Some(*found) != before)
    });

    let other = state.join("other-program");
    let free = nix::sys::statvfs::statvfs(&state).unwrap();
    let free = free.blocks_available() * free.fragment_size();
    std::fs::write(&other, vec![0x5a; usize::try_from(free - HALF_LEFT).unwrap()]).unwrap();
    wait_up_to(PATIENCE, "evictions", || (!evicted(&cloud).is_empty()).then_some(()));
    camera.wait_for_log(&format!("stored {serial:010} in"));
    let told = evicted(&cloud);
    assert!(!told.contains(&serial), "{serial} was sent past half, and then evicted: {told:?}");
    std::fs::remove_file(&other).unwrap();
    camera.stop();
    drop(disk);
}
