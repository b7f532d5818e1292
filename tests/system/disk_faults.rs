//! The real binary on a disk that fails, fills up, or has unexpected content. A committed frame is not lost,
//! and nothing prevents the camera from starting.

use crate::support::bucket::{Stored, assert_spans_are_whole};
use crate::support::budget::Budget;
use crate::support::camera::Camera;
use crate::support::cloud::{Cloud, wait, wait_up_to};
use crate::support::figures::{at_least, figure, skip};
use crate::support::small_disk::SmallDisk;
use kasacam::fmp4;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(120);

fn cloud(more: &[&str]) -> Cloud {
    let first = ["--segment", "2s", "--fragment", "500ms", "--chunk", "250ms"];
    let cloud = Cloud::start(&[&first[..], more].concat());
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    cloud
}

fn state_dir(cloud: &Cloud) -> PathBuf {
    cloud.agent_toml.with_file_name("state")
}

/// A camera that may not record, so that its spool empties; then it stops.
fn deliver(cloud: &Cloud) {
    cloud.tell(&["privacy", "on"]);
    let camera = Camera::start(cloud);
    camera.wait_for("the owner's choice", |status| status["privacy"]["do_not_record"] == true);
    camera.wait_until_all_is_stored();
    camera.stop();
}

fn frames(stored: &[Stored]) -> u64 {
    stored.iter().filter(|object| !object.is_end()).map(Stored::frames).sum()
}

/// Lets one system call after another fail, each in its own camera, and checks what was lost.
/// `KASACAM_INJECT` says how many different calls fail with each error (1).
fn fail_each(test: &str, calls: &str, errors: &[&str]) {
    if Command::new("strace").arg("-V").output().is_err() {
        return skip(test, "strace is not installed");
    }
    let mut rounds = Budget::new("KASACAM_INJECT", 1);
    let mut failed = 0;
    let mut committed = 0;
    while rounds.again() {
        let n = rounds.done - 1;
        for (at, error) in errors.iter().enumerate() {
            // If a spool may evict, a failure because there is no room makes it evict.
            let cloud = cloud(&["--set", "spool.when_full=\"stop\""]);
            let log = cloud.dir().join("strace.log");
            let when = 1 + 3 * n + u64::try_from(at).unwrap();
            let inject = format!("inject={calls}:error={error}:when={when}");
            let trace = format!("trace={calls}");
            let mut arguments =
                vec!["-D", "-f", "-qq", "-e", &trace, "-e", &inject, "-o", log.to_str().unwrap()];
            // Every process opens files: only those of the spool count.
            let paths = if calls == "openat" { first_segments(&cloud) } else { Vec::new() };
            arguments.extend(paths.iter().flat_map(|path| ["-P", path.to_str().unwrap()]));
            let camera = Camera::start_under(&cloud, "strace", &arguments);
            wait_up_to(PATIENCE, &format!("{inject} to strike"), || {
                std::fs::read_to_string(&log).unwrap_or_default().contains("(INJECTED)").then_some(())
            });
            let known = camera.status()["capture"]["frames_committed"].as_u64().unwrap_or(0);
            let status = wait_up_to(PATIENCE, &format!("recording after {inject}"), || {
                let status = camera.status();
                (status["capture"]["frames_committed"].as_u64() >= Some(known + 30)).then_some(status)
            });
            let told = status["capture"]["frames_committed"].as_u64().unwrap();
            camera.kill();
            deliver(&cloud);

            let stored = cloud.stored();
            assert_spans_are_whole(&stored, true);
            let held = frames(&stored);
            assert!(held >= told, "{inject}: {told} frames reported as committed, {held} stored");
            failed += 1;
            committed += told;
        }
    }
    at_least(1, "injected faults", failed);
    at_least(30 * failed, "frames reported as committed around a fault", committed);
    figure(&format!(
        "{failed} runs of the real agent in which {calls} failed once: {committed} frames reported as committed, none lost"
    ));
}

/// The names of the first segments while they grow, and when they are sealed.
fn first_segments(cloud: &Cloud) -> Vec<PathBuf> {
    let spool = state_dir(cloud).join("spool");
    (1..=20).flat_map(|n| ["open", "mp4"].map(|kind| spool.join(format!("{n:010}.{kind}")))).collect()
}

#[test]
fn a_write_that_fails_loses_nothing_that_was_committed() {
    fail_each("a_write_that_fails_loses_nothing_that_was_committed", "pwrite64", &["ENOSPC", "EIO"]);
}

#[test]
fn a_sync_that_fails_loses_nothing_that_was_committed() {
    fail_each("a_sync_that_fails_loses_nothing_that_was_committed", "fsync", &["EIO", "ENOSPC"]);
}

#[test]
fn a_rename_that_fails_loses_nothing_that_was_committed() {
    fail_each("a_rename_that_fails_loses_nothing_that_was_committed", "/^rename", &["EIO", "ENOSPC"]);
}

#[test]
fn a_file_that_cannot_be_opened_loses_nothing_that_was_committed() {
    fail_each("a_file_that_cannot_be_opened_loses_nothing_that_was_committed", "openat", &["EIO", "ENOSPC"]);
}

/// A spool without room, or without inodes, during an outage of the store: nothing is removed, and afterwards
/// it records and delivers again.
fn fill_up(test: &str, options: &str) {
    let cloud = cloud(&["--set", "spool.min_free=\"0\"", "--set", "spool.when_full=\"stop\""]);
    let Some(_small) = SmallDisk::mount(&state_dir(&cloud), options) else {
        return skip(test, "nothing can be mounted here");
    };
    cloud.tell(&["store", "down"]);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(15);
    wait_up_to(PATIENCE, "a full disk", || {
        let status = camera.status();
        (status["capture"]["open"] == false || camera.log().contains("the spool cannot be written"))
            .then_some(())
    });
    let told = camera.status()["capture"]["frames_committed"].as_u64().unwrap();

    cloud.tell(&["store", "up"]);
    let status = wait_up_to(PATIENCE, "recording with room again", || {
        let status = camera.status();
        (status["capture"]["frames_committed"].as_u64() >= Some(told + 30)).then_some(status)
    });
    let told = status["capture"]["frames_committed"].as_u64().unwrap();
    camera.kill();
    deliver(&cloud);
    let stored = cloud.stored();
    assert_spans_are_whole(&stored, true);
    assert!(frames(&stored) >= told, "{} of {told} frames", frames(&stored));
}

#[test]
fn a_full_disk_loses_nothing_that_was_committed() {
    fill_up("a_full_disk_loses_nothing_that_was_committed", "size=1m");
}

#[test]
fn a_disk_without_inodes_loses_nothing_that_was_committed() {
    fill_up("a_disk_without_inodes_loses_nothing_that_was_committed", "size=64m,nr_inodes=16");
}

#[test]
fn a_disk_that_turns_read_only_is_reported_and_used_again_when_it_can_be() {
    let cloud = cloud(&[]);
    let Some(small) = SmallDisk::mount(&state_dir(&cloud), "size=200m") else {
        return skip(
            "a_disk_that_turns_read_only_is_reported_and_used_again_when_it_can_be",
            "nothing can be mounted here",
        );
    };
    std::fs::create_dir(state_dir(&cloud).join("spool")).unwrap();
    small.remount("ro");
    let camera = Camera::start(&cloud);
    let status = camera.wait_for("a connection", |status| status["mqtt"]["connected"] == true);
    assert_eq!(status["capture"]["frames_committed"], 0, "{status}");
    small.remount("rw");
    wait_up_to(PATIENCE, "recording", || {
        (camera.status()["capture"]["frames_committed"].as_u64() >= Some(15)).then_some(())
    });
    wait_up_to(PATIENCE, "an object", || cloud.footage().first().map(|_| ()));
    camera.stop();
}

#[test]
fn a_link_in_place_of_the_spool_is_not_followed() {
    let cloud = cloud(&[]);
    let elsewhere = TempDir::new().unwrap();
    let state = state_dir(&cloud);
    std::fs::DirBuilder::new().mode(0o700).create(&state).unwrap();
    symlink(elsewhere.path(), state.join("spool")).unwrap();
    let camera = Camera::start(&cloud);
    let status = camera.wait_for("a connection", |status| status["mqtt"]["connected"] == true);
    assert_eq!(status["capture"]["frames_committed"], 0, "{status}");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0, "something was written there");

    std::fs::remove_file(state.join("spool")).unwrap();
    wait_up_to(PATIENCE, "an object", || cloud.footage().first().map(|_| ()));
    camera.stop();
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0, "something was written there");
}

#[test]
fn garbage_in_the_spool_neither_stops_a_start_nor_reaches_the_cloud() {
    let cloud = cloud(&[]);
    let spool = state_dir(&cloud).join("spool");
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&spool).unwrap();
    let noise: Vec<u8> = (0..50_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for name in
        ["0000000001.mp4", "0000000002.open", "0000000003.end", "core", "0000000004.mp4~", "\u{1f4f7}"]
    {
        std::fs::write(spool.join(name), &noise).unwrap();
    }
    std::fs::create_dir(spool.join("0000000005.mp4")).unwrap();
    symlink("/etc/passwd", spool.join("0000000006.mp4")).unwrap();
    assert!(Command::new("mkfifo").arg(spool.join("0000000007.mp4")).status().unwrap().success());
    std::fs::write(spool.join("quarantine"), "no directory").unwrap();

    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(15);
    wait("an object", || cloud.footage().first().cloned());
    let status = camera.status();
    assert!(status["spool"]["quarantined"].as_u64() >= Some(6), "{status}");
    camera.kill();
    deliver(&cloud);
    // Every stored object is whole, and none is from before.
    assert_spans_are_whole(&cloud.stored(), true);
}

/// The content of a folder, including its folders: paths and bytes.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(contents(&entry.path()));
        } else {
            found.insert(entry.path(), std::fs::read(entry.path()).unwrap());
        }
    }
    found
}

#[test]
fn a_start_with_a_wrong_device_id_removes_nothing() {
    let cloud = cloud(&[]);
    cloud.tell(&["plan", "plus", "--history-hours", "87600"]);
    cloud.tell(&["privacy", "on"]);
    let state = state_dir(&cloud);
    let expected = lay_out("spool-0.1.0", &state);
    let as_it_was = contents(&state.join("spool"));
    assert!(as_it_was.len() >= 4, "{} files", as_it_was.len());

    let right = std::fs::read_to_string(&cloud.agent_toml).unwrap();
    let wrong = cloud.agent_toml.with_file_name("wrong.toml");
    let (cert, key) = cloud.issue("cam-0002");
    let other = |line: &str| match line.split_once(" = ") {
        Some(("id", "\"cam-0001\"")) => "id = \"cam-0002\"".to_owned(),
        Some(("cert", _)) => format!("cert = {cert:?}"),
        Some(("key", _)) => format!("key = {key:?}"),
        Some(_) | None => line.to_owned(),
    };
    let text: Vec<String> = right.lines().map(other).collect();
    let text = text.join("\n");
    assert_eq!(right.lines().zip(text.lines()).filter(|(one, two)| one != two).count(), 3);
    std::fs::write(&wrong, text).unwrap();
    for _ in 0..2 {
        let camera = Camera::start_with(&wrong);
        let set_aside = |status: &serde_json::Value| status["spool"]["set_aside"]["device"].clone();
        let all = as_it_was.len();
        let status = camera.wait_for("all to be set aside", |status| set_aside(status) == all);
        assert_eq!(status["spool"]["quarantined"], 0);
        let words = String::from_utf8(camera.command(&["status"]).stdout).unwrap();
        assert!(words.contains("device.id"), "{words}");
        camera.stop();
        assert_eq!(contents(&state.join("spool")), as_it_was);
    }

    deliver(&cloud);
    assert_eq!(spans_and_counters(&cloud.stored()), expected);
}

/// Puts a fixture where the camera has its state; returns its segments.
fn lay_out(fixture: &str, state: &Path) -> BTreeSet<(String, u64)> {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
    let mut expected = BTreeSet::new();
    for part in ["spool", "state"] {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state.join(part)).unwrap();
        for entry in std::fs::read_dir(fixture.join(part)).unwrap().flatten() {
            let copy = state.join(part).join(entry.file_name());
            std::fs::copy(entry.path(), &copy).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&copy, mode).unwrap();
            if let Ok(layout) = fmp4::read_segment(&std::fs::read(entry.path()).unwrap()) {
                expected.insert((layout.record.span, layout.record.n));
            }
        }
    }
    assert!(expected.len() >= 3, "the fixture holds {} segments", expected.len());
    expected
}

fn spans_and_counters(stored: &[Stored]) -> BTreeSet<(String, u64)> {
    let footage = stored.iter().filter(|object| !object.is_end());
    footage.map(|object| (object.metadata("span").to_owned(), object.n())).collect()
}

#[test]
fn the_spool_of_version_0_1_0_is_delivered_whole() {
    let cloud = cloud(&[]);
    // The footage is as old as the release: a plan that keeps it.
    cloud.tell(&["plan", "plus", "--history-hours", "87600"]);
    let expected = lay_out("spool-0.1.0", &state_dir(&cloud));

    deliver(&cloud);

    let stored = cloud.stored();
    assert_eq!(spans_and_counters(&stored), expected);
    assert_spans_are_whole(&stored, true);
}
