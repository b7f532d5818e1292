//! A choice that the camera could hear and could not write.

use crate::support::camera::Camera;
use crate::support::cloud::Cloud;
use crate::support::figures::figure;
use crate::support::opened::Watched;
use crate::support::small_disk::SmallDisk;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A cloud whose camera stops when its disk is full.
fn with_a_full_disk(more: &[&str]) -> Cloud {
    let full = ["--segment", "2s", "--set", "spool.min_free=\"0\"", "--set", "spool.when_full=\"stop\""];
    let cloud = Cloud::start(&[more, &full].concat());
    cloud.tell(&["plan", "plus"]);
    cloud
}

/// The state directory of the camera, on a disk of 8 MiB.
fn small_disk(cloud: &Cloud) -> Option<(PathBuf, SmallDisk)> {
    let state = cloud.agent_toml.with_file_name("state");
    match SmallDisk::mount(&state, "size=8m") {
        Some(disk) => Some((state, disk)),
        None => {
            println!("skipped: nothing can be mounted here");
            None
        }
    }
}

#[test]
fn k11_a_choice_that_a_full_disk_cannot_take_closes_the_next_start_without_a_broker() {
    let dir = tempfile::TempDir::new().unwrap();
    let (clip, watched) = Watched::device(dir.path());
    let cloud = with_a_full_disk(&["--source", clip.to_str().unwrap()]);
    let Some((state, _small)) = small_disk(&cloud) else { return };
    let camera = Camera::start(&cloud);
    cloud.tell(&["privacy", "off"]);
    camera.wait_until_it_records(15);
    assert!(watched.was_opened(), "the watch sees nothing");
    cloud.tell(&["store", "down"]);
    let filler = state.join("filler");
    fill(&filler);

    cloud.tell(&["privacy", "on"]);
    camera.wait_for("the owner's choice", |status| {
        status["privacy"]["do_not_record"] == true && status["capture"]["open"] == false
    });
    camera.wait_for_log("a fact could not be kept");
    camera.kill();
    cloud.tell(&["broker", "down"]);
    std::fs::remove_file(&filler).unwrap();
    let _what_came_before = watched.was_opened();

    let camera = Camera::start(&cloud);
    camera.wait_for("a status", |status| status["mqtt"]["connected"] == false);
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        let status = camera.status();
        assert_eq!(status["capture"]["starts"], 0, "{status}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!watched.was_opened(), "the device was opened against the owner's choice");
    camera.stop();
    figure("do-not-record on a disk with 0 bytes free, kill -9, a start without a broker: no device opened");
}

/// Uses every byte that is left, and continues until the camera has no space left to write.
fn fill(path: &std::path::Path) {
    use std::io::Write;
    let mut file = std::fs::File::create(path).unwrap();
    for size in [65_536, 4_096, 1] {
        while file.write_all(&vec![0x5a; size]).is_ok() {}
    }
}

#[test]
fn a_latch_that_cannot_be_made_durable_is_reported_by_the_command_that_sets_it() {
    let cloud = with_a_full_disk(&[]);
    let Some((state, _small)) = small_disk(&cloud) else { return };
    let camera = Camera::start(&cloud);
    cloud.tell(&["privacy", "off"]);
    camera.wait_until_it_records(15);
    let durable = camera.command(&["privacy", "on"]);
    assert!(durable.status.success(), "{durable:?}");
    camera.command(&["privacy", "off"]);
    cloud.tell(&["store", "down"]);
    // Another process takes every page as soon as it is free: what the camera removes does not make room for
    // what it writes.
    let (filler, done) =
        (state.join("filler"), std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)));
    fill(&filler);
    let ended = std::sync::Arc::clone(&done);
    let taker = std::thread::spawn(move || {
        use std::io::Write;
        let mut file = std::fs::File::options().append(true).open(filler).unwrap();
        while !ended.load(std::sync::atomic::Ordering::SeqCst) {
            if file.write_all(&[0x5a; 4096]).is_err() {
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    });

    let told = camera.command(&["privacy", "on"]);

    assert!(!told.status.success(), "{told:?}");
    let words = String::from_utf8_lossy(&told.stderr);
    assert!(words.contains("could not be made durable"), "{words}");
    camera.wait_for("a closed device", |status| status["capture"]["open"] == false);
    assert_eq!(camera.status()["privacy"]["durable"], false);
    done.store(true, std::sync::atomic::Ordering::SeqCst);
    taker.join().unwrap();
}
