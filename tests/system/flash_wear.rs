//! What recording costs the flash.

use crate::support::camera::Camera;
use crate::support::cloud::{Cloud, wait_up_to};
use std::time::Duration;

/// Bytes that the process caused to be written, in pages (`proc(5)`): footage, state files and the log.
fn written(pid: u32) -> u64 {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    line.parse().unwrap()
}

/// Bytes written for each byte of footage, over some segments.
fn wear(durability: &str) -> f64 {
    let setting = format!("recording.durability=\"{durability}\"");
    let cloud = Cloud::start(&["--segment", "6s", "--fragment", "2s", "--chunk", "500ms", "--set", &setting]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    let camera = Camera::start(&cloud);
    wait_up_to(Duration::from_secs(60), "three objects", || (cloud.footage().len() >= 3).then_some(()));
    cloud.tell(&["privacy", "on"]);
    camera.wait_for("a closed camera", |status| status["capture"]["open"] == false);
    camera.wait_until_all_is_stored();
    let written = written(camera.pid());
    camera.stop();
    let video: usize = cloud.footage().iter().map(|object| object.body.len()).sum();
    let wear = written as f64 / video as f64;
    println!("durability {durability}: {written} bytes written for {video} of video: {wear:.3}");
    wear
}

#[test]
fn a_byte_of_video_is_written_to_flash_about_once() {
    let measured =
        ["segment", "fragment", "chunk"].map(|durability| std::thread::spawn(move || wear(durability)));
    let [segment, fragment, chunk] = measured.map(|thread| thread.join().unwrap());
    if fragment == 0.0 {
        // A file system that is no disk, such as tmpfs, is not counted.
        return println!("skipped: the kernel counts no writes here");
    }
    assert!(segment <= 1.10 && fragment <= 1.10, "{segment} {fragment}");
    assert!(chunk <= 1.35, "{chunk}");
}
