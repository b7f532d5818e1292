//! What the flash has to take for a byte of video: `make bench-wear`. The agent as it ships records its test frames for
//! `KASACAM_SECONDS` (30) with each of the three values of `recording.durability`, the store away, so that everything
//! goes through the spool. Counted is what the kernel was told to write to the file system, whole pages
//! (`write_bytes` of proc_pid_io(5)), against the bytes of the segments; the peer is the same video, copied once to the
//! same file system and synced.

#![allow(missing_docs, unreachable_pub, reason = "tests are no public API")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    dead_code,
    reason = "a measurement that fails says where; of what the system tests share not all is needed"
)]

#[path = "../../src/bin/devcloud/objects.rs"]
mod objects;
#[path = "../system/support/mod.rs"]
mod support;

use std::path::Path;
use std::time::Duration;
use support::camera::Camera;
use support::cloud::Cloud;
use support::switch::parameter;

fn written(process: &str) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{process}/io")).unwrap();
    io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap().parse().unwrap()
}

fn segments(spool: &Path) -> Vec<std::path::PathBuf> {
    let files = std::fs::read_dir(spool).unwrap().flatten().map(|entry| entry.path());
    files.filter(|path| path.extension().is_some_and(|it| it == "mp4" || it == "open")).collect()
}

/// The pages that one plain copy of these files takes.
fn copied(files: &[std::path::PathBuf], into: &Path) -> u64 {
    let before = written("self");
    for (n, file) in files.iter().enumerate() {
        let copy = into.join(format!("copy-{n}"));
        std::fs::write(&copy, std::fs::read(file).unwrap()).unwrap();
        std::fs::File::open(&copy).unwrap().sync_all().unwrap();
    }
    written("self") - before
}

fn main() {
    let seconds = parameter("KASACAM_SECONDS", 30);
    println!("| durability | video | written | per byte of video | a plain copy |");
    println!("|---|---:|---:|---:|---:|");
    for durability in ["chunk", "fragment", "segment"] {
        let durability_is = format!("recording.durability=\"{durability}\"");
        let cloud = Cloud::start(&["--segment", "10s", "--fragment", "2s", "--set", &durability_is]);
        cloud.tell(&["plan", "plus"]);
        cloud.tell(&["privacy", "off"]);
        cloud.tell(&["store", "down"]);
        let camera = Camera::start(&cloud);
        camera.wait_until_it_records(1);
        std::thread::sleep(Duration::from_secs(seconds));
        cloud.tell(&["privacy", "on"]);
        camera.wait_for("a closed device", |status| status["privacy"]["capture"] == "closed");
        let total = written(&camera.pid().to_string());
        let files = segments(&camera.state_dir().join("spool"));
        let video: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
        let plain = copied(&files, cloud.dir());
        println!(
            "| `{durability}` | {} KiB | {} KiB | {:.3} | {:.3} |",
            video >> 10,
            total >> 10,
            total as f64 / video as f64,
            plain as f64 / video as f64
        );
        camera.kill();
    }
}
