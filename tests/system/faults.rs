//! A store that misbehaves and a disk that fails, under the real agent: whatever was told as committed is stored once all
//! is well again, once, and plays.

use crate::support::bucket::{Stored, assert_spans_are_whole};
use crate::support::camera::Camera;
use crate::support::cloud::{Cloud, wait};
use crate::support::figures::figure;
use crate::support::switch::parameter;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

fn cloud(arguments: &[&str]) -> Cloud {
    let cloud =
        Cloud::start(&[&["--segment", "2s", "--fragment", "500ms", "--chunk", "250ms"], arguments].concat());
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    cloud
}

fn pictures(stored: &[Stored]) -> u64 {
    stored.iter().filter(|object| !object.is_end()).map(Stored::pictures).sum()
}

fn committed(camera: &Camera) -> u64 {
    camera.status()["capture"]["frames_committed"].as_u64().unwrap_or(0)
}

/// Lets it record no more, and waits until nothing is left to send; what it has told as committed.
fn settle(cloud: &Cloud, camera: &Camera) -> u64 {
    cloud.tell(&["privacy", "on"]);
    camera.wait_for("a closed device", |status| {
        status["privacy"]["do_not_record"] == true && status["privacy"]["capture"] == "closed"
    });
    camera.wait_until_all_is_stored();
    committed(camera)
}

#[test]
fn whatever_the_store_answers_all_is_stored_once_it_is_well() {
    let cloud = cloud(&[]);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(30);
    let began = Instant::now();
    for status in ["400", "403", "404", "409", "412", "429", "500", "503"] {
        cloud.tell(&["store", "error", status]);
        let retries = camera.status()["upload"]["retries"].as_u64().unwrap();
        camera.wait_for("a refusal", |now| now["upload"]["retries"].as_u64() > Some(retries));
        cloud.tell(&["store", "up"]);
        // Else the waits grow from one refusal to the next.
        let done = camera.status()["upload"]["stored"].as_u64().unwrap();
        camera.wait_for("a resumption", |now| now["upload"]["stored"].as_u64() > Some(done));
    }
    cloud.tell(&["store", "down"]);
    let retries = camera.status()["upload"]["retries"].as_u64().unwrap();
    camera.wait_for("a lost store", |now| now["upload"]["retries"].as_u64() > Some(retries));
    cloud.tell(&["store", "up"]);
    let tries = camera.status()["upload"]["retries"].as_u64().unwrap();
    assert!(tries < 60, "{tries} tries in {:?}", began.elapsed());

    let told = settle(&cloud, &camera);
    camera.stop();

    let stored = cloud.stored();
    assert_spans_are_whole(&stored, true);
    assert_eq!(pictures(&stored), told, "told as committed, and stored");
}

/// One kind of call of the agent that fails now and then.
const CALLS: [(&str, &str); 6] = [
    ("fsync", "EIO"),
    ("pwrite64", "EIO"),
    ("pwrite64", "ENOSPC"),
    ("rename", "EIO"),
    ("ftruncate", "EIO"),
    ("unlink", "EROFS"),
];

#[test]
fn a_disk_whose_calls_fail_loses_nothing_that_was_told_as_committed() {
    let rounds = parameter("KASACAM_INJECT", 1);
    if !can_trace() {
        println!("left out: strace cannot trace here");
        return;
    }
    let cloud = cloud(&[]);
    let (mut told, mut faults) = (0, 0);
    for round in 0..rounds {
        for (call, errno) in CALLS {
            // From the fifth call on, each so many.
            let inject = format!("{call}:error={errno}:when={}+{}", 5 + round % 7, 9 + (round * 5) % 17);
            let camera = Camera::start_under_strace(&cloud, &inject);
            let most = Instant::now() + Duration::from_secs(20);
            while committed(&camera) < 45 && Instant::now() < most {
                std::thread::sleep(Duration::from_millis(50));
            }
            told += committed(&camera);
            faults += 1;
            // Even leaving may meet the fault: only a crash is none of its ways.
            camera.signal_and_reap();
        }
    }
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(15);
    told += settle(&cloud, &camera);
    let log = camera.log();
    camera.stop();

    for told in ["Input/output error", "No space left on device"] {
        assert!(log.contains(told), "no call failed with {told}:\n{log}");
    }
    let stored = cloud.stored();
    assert_spans_are_whole(&stored, true);
    let kept = pictures(&stored);
    assert!(kept >= told, "{told} told as committed, {kept} stored");
    figure(&format!(
        "{faults} runs with failing calls of the disk: {told} pictures told as committed, {kept} stored"
    ));
}

fn can_trace() -> bool {
    let done = Command::new("strace").args(["-qq", "-e", "trace=none", "true"]).output();
    done.is_ok_and(|output| output.status.success())
}

#[test]
fn a_full_disk_evicts_the_oldest_by_name_and_loses_nothing_else() {
    let Some(disk) = SmallDisk::mount() else {
        println!("left out: no file system can be mounted here");
        return;
    };
    let state = format!("device.state_dir={:?}", disk.path().join("state"));
    let cloud = cloud(&["--set", &state, "--set", "spool.min_free=\"256 KiB\""]);
    cloud.tell(&["store", "down"]);
    let camera = Camera::start(&cloud);
    camera.wait_for("an eviction", |status| status["spool"]["purged"].as_u64() >= Some(2));
    std::fs::write(disk.path().join("others"), vec![0; 300_000]).unwrap();
    let before = committed(&camera);
    camera.wait_until_it_records(before + 30);
    cloud.tell(&["store", "up"]);
    settle(&cloud, &camera);
    let log = camera.log();
    camera.stop();

    let stored = cloud.stored();
    assert!(!stored.is_empty());
    stored.iter().filter(|object| !object.is_end()).for_each(|object| drop(object.layout()));
    assert!(log.contains("leaves unsent: evicted"), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

/// A tmpfs of 1.5 MB; gone when it is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<SmallDisk> {
        let dir = tempfile::TempDir::new().unwrap();
        let done = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1500k,mode=700", "kasacam-test"])
            .arg(dir.path())
            .output();
        done.is_ok_and(|output| output.status.success()).then_some(SmallDisk(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _busy_at_most = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn garbage_in_the_spool_stops_no_start_and_reaches_no_store() {
    let cloud = cloud(&[]);
    cloud.tell(&["store", "down"]);
    let camera = Camera::start(&cloud);
    camera.wait_for("sealed segments", |status| status["spool"]["pending"].as_u64() >= Some(2));
    let spool = camera.state_dir().join("spool");
    camera.kill();
    let whole = files(&spool);
    std::fs::write(spool.join("9000000000.mp4"), vec![0xa5; 70_000]).unwrap();
    std::fs::write(spool.join("9000000001.open"), b"").unwrap();
    std::fs::write(spool.join("9000000002.end"), b"end").unwrap();
    std::fs::write(spool.join("notes.txt"), b"not a segment").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", spool.join("9000000003.mp4")).unwrap();
    std::fs::create_dir(spool.join("9000000004.mp4")).unwrap();

    cloud.tell(&["store", "up"]);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(15);
    settle(&cloud, &camera);
    camera.stop();

    let stored = cloud.stored();
    assert_spans_are_whole(&stored, true);
    assert!(stored.len() > whole.len(), "{} objects of {} files", stored.len(), whole.len());
    wait("an empty spool", || files(&spool).iter().all(|name| !name.starts_with("0000")).then_some(()));
}

fn files(spool: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(spool).unwrap().flatten();
    let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    files.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}
