//! Real file systems of the kernel: what `check` says of each, and a card that is removed while the camera
//! records.

use crate::support::bucket::{Stored, assert_spans_are_whole};
use crate::support::camera::{Camera, kasacamd};
use crate::support::card::Card;
use crate::support::cloud::{Cloud, wait_up_to};
use crate::support::figures::{figure, skip};
use crate::support::kernel::preload;
use crate::support::small_disk::SmallDisk;
use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);

fn recording_cloud() -> Cloud {
    let cloud = Cloud::start(&["--segment", "2s", "--fragment", "500ms", "--chunk", "250ms"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    cloud
}

fn committed(camera: &Camera) -> u64 {
    camera.status()["capture"]["frames_committed"].as_u64().unwrap_or(0)
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_card_that_is_pulled_while_it_records_is_used_again_when_it_is_back_and_loses_nothing() {
    let test = "a_card_that_is_pulled_while_it_records_is_used_again_when_it_is_back_and_loses_nothing";
    let cloud = recording_cloud();
    let spool = cloud.agent_toml.with_file_name("state").join("spool");
    let Some(card) = Card::insert(&cloud.dir().join("card.img"), &spool) else {
        return skip(test, "nothing can be mounted here");
    };
    cloud.tell(&["store", "down"]);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(60);
    // Files at the root of the card itself do not belong to the spool.
    assert!(names(&spool).contains(&String::from("lost+found")));
    let status = camera.status();
    assert_eq!(status["spool"]["set_aside"]["files"], 0, "{status}");

    card.pull();
    let told = wait_up_to(PATIENCE, "a named fault", || {
        let status = camera.status();
        let is_told = status["spool"]["fault"].as_str().is_some_and(|why| why.contains("away"));
        (is_told && status["capture"]["open"] == false).then_some(status)
    });
    assert_eq!(told["capture"]["reason"], "storage_broken", "{told}");
    let before = told["capture"]["frames_committed"].as_u64().unwrap();
    let until = Instant::now() + Duration::from_secs(8);
    while Instant::now() < until {
        assert_eq!(names(&spool), Vec::<String>::new(), "it wrote into the empty mount point");
        std::thread::sleep(Duration::from_millis(100));
    }

    card.put_back();
    let back = Instant::now();
    wait_up_to(PATIENCE, "an open camera", || (camera.status()["capture"]["open"] == true).then_some(()));
    let took = back.elapsed();
    wait_up_to(PATIENCE, "footage of after that", || (committed(&camera) >= before + 30).then_some(()));
    // Five of these seconds are the promise; the rest is for a machine with other work.
    assert!(took < Duration::from_secs(15), "{took:?}");
    cloud.tell(&["store", "up"]);
    camera.wait_until_all_is_stored();
    let told = committed(&camera);
    camera.stop();
    let stored = cloud.stored();
    assert_spans_are_whole(&stored, true);
    let frames: u64 = stored.iter().filter(|object| !object.is_end()).map(Stored::frames).sum();
    assert!(frames >= told, "{frames} of {told} frames that were reported as committed");
    figure(&format!(
        "a card pulled and put back: the camera was open again after {} ms; {told} frames committed, none lost",
        took.as_millis()
    ));
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `check`, with a kernel that reports this number for the file system of every path.
fn check_on(cloud: &Cloud, number: &str, more: &[&str]) -> Output {
    let library = preload(cloud.dir());
    let mut command = Command::new("env");
    command.arg(library).arg(format!("KERNEL_FILE_SYSTEM={number}")).arg(env!("CARGO_BIN_EXE_kasacamd"));
    command.args(["check", "--config"]).arg(&cloud.agent_toml).args(more).output().unwrap()
}

#[test]
fn check_names_the_file_system_and_refuses_one_that_keeps_no_promise() {
    let cloud = Cloud::start(&[]);
    for (number, name, code, word) in [
        ("ef53", "ext4", 0, ""),
        ("f2f52010", "f2fs", 0, ""),
        ("24051905", "ubifs", 0, ""),
        ("9123683e", "btrfs", 0, ""),
        ("58465342", "xfs", 0, ""),
        ("1021994", "tmpfs", 0, "power cut takes all footage"),
        ("65735546", "fuse", 0, "FUSE"),
        ("6969", "nfs", 0, "another machine"),
        ("12345", "unknown", 0, "nobody has looked"),
        ("4d44", "vfat", 1, "no modes"),
        ("2011bab0", "exfat", 1, "no modes"),
    ] {
        let told = check_on(&cloud, number, &[]);
        assert_eq!(told.status.code(), Some(code), "{name}: {}", words(&told));
        assert!(words(&told).contains(&format!("is on {name}")), "{}", words(&told));
        assert!(words(&told).contains(word), "{name}: {}", words(&told));
        assert_eq!(word.is_empty(), !words(&told).contains("device.state_dir"), "{name}: {}", words(&told));
    }
    let told = check_on(&cloud, "4d44", &["--json"]);
    let json: serde_json::Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(json["file_systems"][0]["name"], "vfat", "{json}");
    assert_eq!(json["problems"][0]["key"], "device.state_dir", "{json}");
}

#[test]
fn check_names_the_file_systems_that_are_mounted() {
    let cloud = Cloud::start(&[]);
    let state = cloud.agent_toml.with_file_name("state");
    let check = || words(&kasacamd(&["check", "--config", cloud.agent_toml.to_str().unwrap()]));
    let test = "check_names_the_file_systems_that_are_mounted";
    let Some(_small) = SmallDisk::mount(&state, "size=64m") else {
        return skip(test, "nothing can be mounted here");
    };
    assert!(check().contains("state/spool is on tmpfs"), "{}", check());
    let Some(_card) = Card::insert(&cloud.dir().join("card.img"), &state.join("spool")) else {
        return skip(test, "no file can be mounted here");
    };
    let told = check();
    assert!(told.contains("state/spool is on ext4") && told.contains("state is on tmpfs"), "{told}");
}
