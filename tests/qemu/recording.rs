//! What the camera is there for, and what its household may ask of it.

use crate::data::{Files, partition, partition_with};
use crate::guest::{Guest, Machine};
use crate::support::bucket::{Stored, assert_spans_are_whole};
use crate::support::cloud::{Cloud, wait_up_to};
use crate::support::played::frames_of;
use std::process::Command;
use std::time::{Duration, Instant};

/// A cloud whose camera may record.
pub fn cloud() -> Cloud {
    cloud_with(&[])
}

pub fn cloud_with(more: &[&str]) -> Cloud {
    let first = ["--segment", "4s", "--fragment", "1s", "--chunk", "500ms"];
    let cloud = Cloud::start(&[&first[..], more].concat());
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    cloud
}

/// Every span is whole, and every segment plays; the frames in all of them.
pub fn look_at(cloud: &Cloud, ended: bool) -> u64 {
    let stored = cloud.stored();
    assert_spans_are_whole(&stored, ended);
    let mut frames = 0;
    for object in stored.iter().filter(|object| !object.is_end()) {
        let path = cloud.dir().join("look.mp4");
        std::fs::write(&path, &object.body).unwrap();
        assert_eq!(frames_of(&path), object.frames(), "{}", object.key);
        frames += object.frames();
    }
    frames
}

/// The longest that one frame stands in it, in milliseconds.
fn longest_frame(object: &Stored) -> u64 {
    let layout = object.layout();
    let runs = layout.chunks.iter().flat_map(|chunk| &chunk.runs);
    let longest = runs.map(|run| run.duration / u64::from(run.samples.max(1))).max().unwrap_or(0);
    longest * 1000 / u64::from(layout.init.video.timescale)
}

/// Boot, and vivid's frames arrive, play, and follow one another without a hole.
#[test]
fn records_and_uploads() {
    let cloud = cloud();
    let guest = Guest::boot(&partition(&cloud, Files::Ext4), &Machine::default());
    it_records_and_uploads(&cloud, guest);
}

/// The board file that `kasacamd probe` writes in the guest does for vivid what ours does.
#[test]
fn a_board_that_was_probed_records_and_uploads() {
    let cloud = cloud();
    let mut guest = Guest::boot(&partition(&cloud, Files::Ext4), &Machine::default());
    guest.tell("systemctl stop kasacamd && mv /etc/kasacam/board.toml /etc/kasacam/ours.toml");
    let took = Instant::now();
    // An encoder is measured at each size, on an emulated processor: that takes longer than one command may.
    guest.tell(
        "setsid sh -c 'GST_REGISTRY=/run/probe.registry kasacamd probe --board /etc/kasacam/board.toml >/run/probe.log \
         2>&1; echo $? >/run/probe.code' >/dev/null 2>&1 </dev/null &",
    );
    wait_up_to(Duration::from_secs(300), "the board file", || {
        (guest.run("test -s /run/probe.code").0 == 0).then_some(())
    });
    assert_eq!(guest.tell("cat /run/probe.code").trim(), "0", "{}", guest.tell("cat /run/probe.log"));
    println!("probed in {:.1} s:", took.elapsed().as_secs_f64());
    let board = guest.tell("cat /etc/kasacam/board.toml");
    println!("{board}");
    for found in ["vivid", "kind = \"v4l2\", device = \"/dev/video", "format = \"raw\"", "openh264"] {
        assert!(board.contains(found), "{board} lacks {found}");
    }
    assert_eq!(guest.holders(), 0, "what was asked is closed again");
    guest.tell("systemctl start kasacamd");
    it_records_and_uploads(&cloud, guest);
}

fn it_records_and_uploads(cloud: &Cloud, mut guest: Guest) {
    guest.tell("until systemctl is-active --quiet kasacamd; do sleep 0.2; done");
    println!("active {:.1} s after power on", guest.switched_on.elapsed().as_secs_f64());
    let closed = memory(&mut guest);
    guest.wait_until_it_records(10);
    println!(
        "the first 10 frames committed {:.1} s after power on",
        guest.switched_on.elapsed().as_secs_f64()
    );
    wait_up_to(Duration::from_secs(120), "three segments", || (cloud.footage().len() >= 3).then_some(()));
    println!("memory: {closed} at the start, {} while it records", memory(&mut guest));

    let verdict = guest.tell("systemd-analyze security kasacamd.service --no-pager 2>&1 | tail -n 1");
    println!("systemd-analyze security: {}", verdict.trim());
    let words: Vec<&str> = verdict.split_whitespace().collect();
    let exposure = words.iter().find_map(|word| word.parse::<f64>().ok());
    assert!(exposure.is_some_and(|exposure| exposure <= 1.5), "{verdict}");

    cloud.tell(&["privacy", "on"]);
    guest.wait_for("the owner's choice", Duration::from_secs(20), |s| s["privacy"]["do_not_record"] == true);
    let status = guest.wait_until_all_is_stored();
    let frames = look_at(cloud, true);
    assert_eq!(status["capture"]["frames_committed"].as_u64(), Some(frames));
    let longest = cloud.footage().iter().map(longest_frame).max().unwrap();
    println!("{frames} frames stored; none stands longer than {longest} ms");
    guest.power_off();
}

fn memory(guest: &mut Guest) -> String {
    let said = guest.tell(
        "p=$(systemctl show --property MainPID --value kasacamd); grep -E '^(VmRSS|RssAnon|RssFile)' /proc/$p/status",
    );
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Where the frames come encoded, from a file of the same size and rate: what is less is the share of the capture
/// from V4L2, the conversion and the encoder.
#[test]
fn what_comes_encoded_takes_less_memory() {
    let cloud = cloud();
    let data = partition_with(&cloud, Files::Ext4, |root| {
        let file = root.join("etc/camera.mp4");
        let source = ["-f", "lavfi", "-i", "testsrc=size=320x180:rate=10", "-t", "20"];
        let coded = ["-c:v", "libx264", "-g", "10", "-bf", "0", "-pix_fmt", "yuv420p"];
        let made = Command::new("ffmpeg").args(source).args(coded).arg(&file).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let board = root.join("etc/board.toml");
        let text = std::fs::read_to_string(&board).unwrap();
        let kept = text
            .lines()
            .map(|line| match line.split_once(" = ") {
                Some(("source", _)) => {
                    "source = { kind = \"file\", path = \"/etc/kasacam/camera.mp4\", loop = true }"
                }
                Some(("format", _)) => "format = \"h264\"",
                Some(("encoder", _)) => "",
                Some(_) | None => line,
            })
            .collect::<Vec<_>>();
        std::fs::write(&board, kept.join("\n")).unwrap();
    });
    let mut guest = Guest::boot(&data, &Machine::default());
    guest.wait_until_it_records(100);
    println!("memory while it records what comes encoded: {}", memory(&mut guest));
    guest.power_off();
    assert!(look_at(&cloud, false) > 0);
}

/// "Do not record" closes the device, and goes on after a restart without a broker.
#[test]
fn privacy_closes_the_camera() {
    let cloud = cloud();
    let data = partition(&cloud, Files::Ext4);
    let mut guest = Guest::boot(&data, &Machine::default());
    let mut worst = 0.0_f64;
    for _ in 0..3 {
        guest.wait_until_it_records(10);
        assert!(guest.holders() > 0, "it records without the device");
        let began = Instant::now();
        let version = cloud.tell(&["privacy", "on"])["version"].clone();
        cloud.wait_for_event("the report", |event| {
            event["topic"].as_str().is_some_and(|topic| topic.ends_with("/privacy/reported"))
                && event["payload"]["version"] == version
                && event["payload"]["capture"] == "closed"
        });
        worst = worst.max(began.elapsed().as_secs_f64() * 1000.0);
        assert_eq!(guest.holders(), 0, "somebody holds the device");
        cloud.tell(&["privacy", "off"]);
    }
    println!("from the owner's command to the report that the device is closed: {worst:.0} ms at most of 3");
    guest.wait_until_it_records(10);
    cloud.tell(&["privacy", "on"]);
    guest.wait_for("a closed camera", Duration::from_secs(20), |status| status["capture"]["open"] == false);
    guest.wait_until_all_is_stored();
    guest.power_off();

    cloud.tell(&["broker", "down"]);
    let mut guest = Guest::boot(&data, &Machine::default());
    guest.tell("until systemctl is-active --quiet kasacamd; do sleep 0.2; done");
    let until = Instant::now() + Duration::from_secs(10);
    while Instant::now() < until {
        assert_eq!(guest.holders(), 0, "somebody holds the device");
        assert_ne!(guest.status()["capture"]["open"], true);
    }
    guest.power_off();
    look_at(&cloud, true);
}
