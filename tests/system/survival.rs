//! What survives a kill, a restart and the loss of the broker.

use crate::support::bucket::{Stored, assert_spans_are_whole};
use crate::support::budget::Budget;
use crate::support::camera::Camera;
use crate::support::cloud::{Cloud, wait};
use crate::support::figures::{at_least, figure};
use crate::support::opened::Watched;
use crate::support::played::frames_of;
use kasacam::fmp4;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};
use tempfile::TempDir;

fn allowed(cloud: &Cloud) {
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
}

/// Whole fragments of a file of the spool: span, counter, and the minimum number of frames that had been
/// committed.
fn committed_in(path: &Path) -> Option<((String, u64), u64)> {
    let layout = fmp4::read_segment(&std::fs::read(path).ok()?).ok()?;
    let sealed = path.extension().is_some_and(|extension| extension == "mp4");
    // The last fragment of a file that was still growing may have been under way.
    let whole = if sealed {
        layout.chunks.len()
    } else {
        layout.chunks.iter().rposition(|chunk| chunk.starts_with_sync).unwrap_or(0)
    };
    let runs = layout.chunks.iter().take(whole).flat_map(|chunk| &chunk.runs);
    let frames = runs.filter(|run| run.track == layout.init.video.id).map(|run| u64::from(run.samples)).sum();
    (frames > 0).then_some(((layout.record.span, layout.record.n), frames))
}

#[test]
fn what_was_committed_before_a_kill_is_stored_once() {
    let mut kills = Budget::new("KASACAM_KILLS", 10);
    let mut while_recording = 0;
    let cloud = Cloud::start(&["--segment", "2s", "--fragment", "500ms", "--chunk", "250ms"]);
    allowed(&cloud);
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let mut random = seed;
    let mut committed: BTreeMap<(String, u64), u64> = BTreeMap::new();
    let mut least = 0;

    while kills.again() {
        let camera = Camera::start(&cloud);
        let status = camera.wait_until_it_records(1);
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let moment = Instant::now() + Duration::from_millis((random >> 33) % 2_500);
        let mut known = status;
        while Instant::now() < moment {
            known = camera.status();
        }
        least += known["capture"]["frames_committed"].as_u64().unwrap_or(0);
        while_recording += u64::from(known["capture"]["open"] == true);
        let spool = camera.state_dir().join("spool");
        camera.kill();
        for entry in std::fs::read_dir(spool).unwrap().flatten() {
            if let Some((segment, frames)) = committed_in(&entry.path()) {
                committed.insert(segment, frames);
            }
        }
    }
    cloud.tell(&["privacy", "on"]);
    let camera = Camera::start(&cloud);
    camera.wait_for("the owner's choice", |status| status["privacy"]["do_not_record"] == true);
    camera.wait_until_all_is_stored();
    camera.stop();

    let stored = cloud.stored();
    assert_spans_are_whole(&stored, true);
    let footage: Vec<Stored> = stored.into_iter().filter(|object| !object.is_end()).collect();
    for (segment, frames) in &committed {
        let held: Vec<&Stored> = footage
            .iter()
            .filter(|it| (it.metadata("span"), it.n()) == (segment.0.as_str(), segment.1))
            .collect();
        assert_eq!(held.len(), 1, "segment {segment:?} (seed {seed})");
        assert!(held[0].frames() >= *frames, "{segment:?} had {frames} frames (seed {seed})");
    }
    let dir = TempDir::new().unwrap();
    let mut frames = 0;
    for object in &footage {
        let path = dir.path().join("object.mp4");
        std::fs::write(&path, &object.body).unwrap();
        assert_eq!(frames_of(&path), object.frames(), "{} plays", object.key);
        frames += object.frames();
    }
    assert!(frames >= least, "{frames} stored, {least} reported as committed (seed {seed})");
    let kills = kills.done;
    at_least(2, "kills", kills);
    at_least(kills - kills / 5, "kills while the device was open", while_recording);
    at_least(kills, "frames reported as committed before a kill", least);
    at_least(kills / 4, "segments seen in the spool after a kill", committed.len() as u64);
    figure(&format!(
        "{kills} kills of the process, {while_recording} of them while it recorded, seed {seed} (what the kernel holds \
         outlives a kill: this shows nothing of fsync): {least} frames reported as committed, {frames} stored, {} segments seen in the spool after a kill",
        committed.len()
    ));
}

/// For twenty times as long as it takes to open a device, nothing is opened and nothing stored.
fn assert_stays_closed(cloud: &Cloud, camera: &Camera, device: &Watched) {
    let until = Instant::now() + Duration::from_secs(2);
    while Instant::now() < until {
        let status = camera.status();
        assert_eq!(status["capture"]["starts"], 0, "{status}");
        assert_eq!(status["capture"]["open"], false, "{status}");
        assert!(!device.was_opened(), "the device was opened\n{}", camera.log());
    }
    assert!(cloud.stored().is_empty());
}

fn assert_records(cloud: &Cloud, camera: &Camera, device: &Watched) {
    camera.wait_until_it_records(15);
    assert!(device.was_opened(), "the watch sees nothing");
    wait("an object", || cloud.stored().first().cloned());
}

#[test]
fn with_do_not_record_before_the_first_start_no_device_is_opened() {
    let dir = TempDir::new().unwrap();
    let (clip, device) = Watched::device(dir.path());
    let cloud = Cloud::start(&["--source", clip.to_str().unwrap(), "--segment", "2s"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "on"]);

    let camera = Camera::start(&cloud);
    camera.wait_for("the owner's choice", |status| status["privacy"]["version"] == 1);
    assert_stays_closed(&cloud, &camera, &device);

    cloud.tell(&["privacy", "off"]);
    assert_records(&cloud, &camera, &device);
}

#[test]
fn without_a_stored_choice_and_without_a_broker_no_device_is_opened() {
    let dir = TempDir::new().unwrap();
    let (clip, device) = Watched::device(dir.path());
    let cloud = Cloud::start(&["--source", clip.to_str().unwrap(), "--segment", "2s"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    cloud.tell(&["broker", "down"]);

    let camera = Camera::start(&cloud);
    camera.wait_for_log("the broker is not connected");
    assert_stays_closed(&cloud, &camera, &device);

    cloud.tell(&["broker", "up"]);
    assert_records(&cloud, &camera, &device);
}

#[test]
fn do_not_record_survives_a_restart_without_a_broker() {
    let dir = TempDir::new().unwrap();
    let (clip, device) = Watched::device(dir.path());
    let cloud = Cloud::start(&["--source", clip.to_str().unwrap(), "--segment", "2s"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "on"]);
    let camera = Camera::start(&cloud);
    camera.wait_for("the owner's choice", |status| status["privacy"]["version"] == 1);
    camera.kill();
    cloud.tell(&["broker", "down"]);

    let camera = Camera::start(&cloud);
    let status = camera.wait_for("a status", |status| status["mqtt"]["connected"] == false);
    assert_eq!(status["privacy"]["version"], 1, "{status}");
    assert_eq!(status["capture"]["reason"], "do_not_record", "{status}");
    assert_stays_closed(&cloud, &camera, &device);
}

#[test]
fn permission_to_record_survives_a_restart_without_a_broker() {
    let cloud = Cloud::start(&["--segment", "2s", "--set", "privacy.unheard_hold=\"0s\""]);
    allowed(&cloud);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(15);
    camera.kill();
    cloud.tell(&["broker", "down"]);
    let before = cloud.footage().len();

    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(15);
    wait("more footage", || (cloud.footage().len() > before).then_some(()));
    assert_eq!(camera.status()["mqtt"]["connected"], false);
}

#[test]
fn the_local_latch_survives_a_restart_and_its_removal_removes_nothing_else() {
    let cloud = Cloud::start(&["--segment", "2s"]);
    allowed(&cloud);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(15);

    let answer = camera.command(&["privacy", "on"]);
    let words = String::from_utf8(answer.stdout).unwrap();
    assert!(answer.status.success() && words.contains("camera closed"), "{words}");
    camera.kill();

    let camera = Camera::start(&cloud);
    let status = camera.wait_for("a connection", |status| status["mqtt"]["connected"] == true);
    assert_eq!(status["privacy"]["latch"], true, "{status}");
    assert_eq!(status["capture"]["starts"], 0, "{status}");

    cloud.tell(&["privacy", "on"]);
    camera.wait_for("the owner's choice", |status| status["privacy"]["version"] == 2);
    let words = String::from_utf8(camera.command(&["privacy", "off"]).stdout).unwrap();
    assert!(words.contains("do not record; local latch not set; camera closed"), "{words}");
    assert_eq!(camera.status()["capture"]["starts"], 0);

    cloud.tell(&["privacy", "off"]);
    camera.wait_until_it_records(15);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let cloud = Cloud::start(&["--segment", "2s"]);
    allowed(&cloud);
    let mut camera = Camera::start(&cloud);
    camera.wait_until_it_records(15);
    // The camera would wait for an answer that does not come: the first signal alone would take its five
    // seconds.
    let stopped =
        std::process::Command::new("kill").args(["-STOP", &cloud.pid().to_string()]).status().unwrap();
    assert!(stopped.success());
    wait("a segment that waits for the store", || {
        (camera.status()["upload"]["in_flight"].as_u64() >= Some(1)).then_some(())
    });

    camera.signal(libc::SIGTERM);
    camera.wait_for_log("stopping");
    camera.signal(libc::SIGTERM);
    let began = Instant::now();
    let ended = camera.ended();
    std::process::Command::new("kill").args(["-CONT", &cloud.pid().to_string()]).status().unwrap();

    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(ended.code(), Some(1));
    assert!(camera.log().contains("second signal"));
}

#[test]
fn a_reload_takes_what_it_can_and_names_what_it_cannot() {
    let cloud = Cloud::start(&["--segment", "2s"]);
    allowed(&cloud);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(15);
    let config = std::fs::read_to_string(&cloud.agent_toml).unwrap();

    let changed = config
        .replace("[recording]", "[recording]\naudio = false")
        .replace("segment = \"2s\"", "segment = \"3s\"");
    std::fs::write(&cloud.agent_toml, changed).unwrap();
    camera.signal(libc::SIGHUP);
    camera.wait_for_log("in force now: recording.audio");
    camera.wait_for_log("recording.segment has changed, and takes effect at the next start only");
    camera.wait_for_log("without audio");
    wait("footage without audio", || cloud.footage().into_iter().find(|it| it.layout().init.audio.is_none()));

    std::fs::write(&cloud.agent_toml, "[device]\nid = 7\n").unwrap();
    camera.signal(libc::SIGHUP);
    camera.wait_for_log("the configuration stays as it was");
    let committed = camera.status()["capture"]["frames_committed"].as_u64().unwrap();
    camera.wait_until_it_records(committed + 15);
    camera.stop();
}
