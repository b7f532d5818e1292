//! A camera that records H.265: from its encoder, or a file, into the store, and what a person sees of it.

use crate::support::browser::Browser;
use crate::support::bucket::{Stored, assert_spans_are_whole};
use crate::support::camera::Camera;
use crate::support::clip::run;
use crate::support::cloud::Cloud;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// A board file, and its cloud.
fn cloud(video: &str) -> (TempDir, Cloud) {
    let folder = TempDir::new().unwrap();
    let board = folder.path().join("board.toml");
    let text = format!(
        "name = \"h265\"\n\n[video]\n{video}\nwidth = 320\nheight = 180\nfps = 20\nbitrate = \"300 kbit/s\"\n"
    );
    std::fs::write(&board, text).unwrap();
    let board = board.to_str().unwrap();
    let cloud =
        Cloud::start(&["--segment", "2s", "--fragment", "500ms", "--board", board, "--telemetry", "1s"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    (folder, cloud)
}

/// Pictures that another decoder makes of it, without a word against it.
fn decoded(path: &Path) -> usize {
    let what = ["-v", "warning", "-xerror", "-i", path.to_str().unwrap(), "-map", "0:v:0"];
    let what = [&what[..], &["-fps_mode", "passthrough", "-f", "framecrc", "-"]].concat();
    let done = Command::new("ffmpeg").args(what).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.is_empty(), "{said}");
    let text = String::from_utf8(done.stdout).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).count()
}

fn probed(path: &Path, entries: &str) -> String {
    let what = ["-v", "error", "-select_streams", "v:0", "-show_entries", entries, "-of", "csv=p=0"];
    let text = run("ffprobe", &[&what[..], &[path.to_str().unwrap()]].concat());
    String::from_utf8(text).unwrap().trim().trim_end_matches(',').to_owned()
}

/// Each is `hvc1`, decodes alone to as many frames as it says, and says of itself what it is.
fn each_plays_alone(folder: &Path, footage: &[Stored]) {
    for object in footage {
        let path = folder.join("object.mp4");
        std::fs::write(&path, &object.body).unwrap();
        assert_eq!(decoded(&path) as u64, object.frames(), "{}", object.key);
        assert_eq!(probed(&path, "stream=codec_name,codec_tag_string"), "hevc,hvc1");
        let codecs = &object.layout().init.codecs;
        assert!(codecs.starts_with("hvc1.1.6.L"), "{codecs}");
        assert_eq!(
            object.facts.content_type.as_deref(),
            Some(format!("video/mp4; codecs=\"{codecs}\"").as_str())
        );
        let attribute = object.metadata("fullcontenttype");
        assert_eq!(attribute, format!("video/mp4;codecs=\"{codecs}\""));
    }
}

#[test]
fn what_x265_makes_is_stored_and_a_browser_that_cannot_play_it_says_so() {
    let (folder, cloud) = cloud("source = { kind = \"test\" }\ncodec = \"h265\"");

    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(130);
    camera.wait_for("two segments in the store", |_| cloud.footage().len() >= 2);
    let mut browser = Browser::start();
    browser.open(&cloud.page);
    let plays = browser.eval("MediaSource.isTypeSupported('video/mp4; codecs=\"hvc1.1.6.L60.90\"')");
    if plays == true {
        browser.wait_for("a frame", "document.querySelector('video').readyState >= 2");
    } else {
        browser.wait_for(
            "the word",
            "document.querySelector('#cover-text').textContent.includes('no decoder for H.265')",
        );
        assert_eq!(browser.eval("document.querySelector('#stage').dataset.mode"), "unplayable");
    }
    camera.stop();

    let main = format!("{}main.m3u8?from=0&to=9000000000000", cloud.page);
    let told = String::from_utf8(run("curl", &["-s", "--max-time", "20", &main])).unwrap();
    assert!(told.contains("CODECS=\"hvc1.1.6.L"), "{told}");
    assert!(probed(Path::new(&main), "stream=codec_name,width").starts_with("hevc,320"));

    let stored = cloud.stored();
    assert_spans_are_whole(&stored, true);
    let footage = cloud.footage();
    each_plays_alone(folder.path(), &footage);
    // All but the last of a span are as long as was asked for, in frames of a 20th of a second.
    let mut whole = 0;
    for pair in footage.windows(2).filter(|pair| pair[0].metadata("span") == pair[1].metadata("span")) {
        assert_eq!(pair[0].frames(), 40, "{}", pair[0].key);
        whole += 1;
    }
    assert!(whole >= 2, "{whole} whole segments");
}

#[test]
fn a_file_of_open_gops_is_cut_where_segments_are_due_and_each_plays_alone() {
    let files = TempDir::new().unwrap();
    let clip = files.path().join("open.mp4");
    let x265 = "log-level=none:pools=1:keyint=15:min-keyint=15:scenecut=0:open-gop=1:bframes=3:b-adapt=0";
    let source = ["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=20", "-frames:v", "200"];
    let coding = ["-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-x265-params", x265];
    run("ffmpeg", &[&source[..], &coding, &[clip.to_str().unwrap()]].concat());
    let (folder, cloud) =
        cloud(&format!("source = {{ kind = \"file\", path = {clip:?} }}\ncodec = \"h265\""));

    let camera = Camera::start(&cloud);
    camera.wait_for("the end of the file", |status| {
        status["capture"]["fault"].as_str().is_some_and(|fault| fault.contains("has ended"))
    });
    let status = camera.status();
    camera.wait_until_all_is_stored();
    camera.stop();

    assert_spans_are_whole(&cloud.stored(), true);
    let footage = cloud.footage();
    each_plays_alone(folder.path(), &footage);
    // 40 frames are due; a GOP of 15 begins behind them at 45, and loses the two frames that lead it.
    let lengths: Vec<u64> = footage.iter().map(Stored::frames).collect();
    assert_eq!(lengths, [43, 43, 43, 43, 20]);
    assert_eq!(status["capture"]["frames_missing"], 200 - lengths.iter().sum::<u64>());
}

#[test]
fn a_camera_of_another_codec_is_named_in_status_and_log_and_not_reopened_each_second() {
    let files = TempDir::new().unwrap();
    let clip = files.path().join("clip.mp4");
    let source = ["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=20", "-frames:v", "20"];
    run(
        "ffmpeg",
        &[&source[..], &["-c:v", "libx264", "-preset", "ultrafast"], &[clip.to_str().unwrap()]].concat(),
    );
    let (_folder, cloud) =
        cloud(&format!("source = {{ kind = \"file\", path = {clip:?} }}\ncodec = \"h265\""));

    let camera = Camera::start(&cloud);
    let told = |status: &serde_json::Value| {
        status["capture"]["fault"]
            .as_str()
            .is_some_and(|fault| fault.contains("gives H.264, and the board says H.265"))
    };
    camera.wait_for("the fault", told);
    // Not a wait for a state: nothing is to happen in it.
    std::thread::sleep(Duration::from_secs(5));
    let status = camera.status();
    assert!(told(&status), "{status}");
    assert_eq!(status["capture"]["starts"], 1, "it is tried again once a minute");
    let log = camera.log();
    camera.stop();
    assert!(log.contains("gives H.264, and the board says H.265"), "{log}");
    assert!(cloud.footage().is_empty());
}

#[test]
fn an_encrypted_spool_of_h265_outlives_a_kill() {
    let (folder, cloud) = cloud("source = { kind = \"test\" }\ncodec = \"h265\"");
    let key = cloud.agent_toml.with_file_name("spool.key");
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&key).unwrap();
    file.write_all(&std::array::from_fn::<u8, 32, _>(|n| n as u8 * 7)).unwrap();
    let config = std::fs::read_to_string(&cloud.agent_toml).unwrap();
    std::fs::write(&cloud.agent_toml, format!("{config}\n[spool]\nencrypt = true\nkey = {key:?}\n")).unwrap();

    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(60);
    let committed = camera.status()["capture"]["frames_committed"].as_u64().unwrap();
    camera.kill();
    cloud.tell(&["privacy", "on"]);
    let camera = Camera::start(&cloud);
    camera.wait_for("the owner's choice", |status| status["privacy"]["do_not_record"] == true);
    camera.wait_until_all_is_stored();
    camera.stop();

    assert_spans_are_whole(&cloud.stored(), true);
    let footage = cloud.footage();
    each_plays_alone(folder.path(), &footage);
    let frames: u64 = footage.iter().map(Stored::frames).sum();
    assert!(frames >= committed, "{frames} stored, {committed} reported as committed");
}

#[test]
fn a_plan_without_h265_forbids_it_and_says_why() {
    let (_folder, cloud) = cloud("source = { kind = \"test\" }\ncodec = \"h265\"");
    cloud.tell(&["plan", "plus", "--h265", "false"]);

    let camera = Camera::start(&cloud);
    camera.wait_for("the reason", |status| status["capture"]["reason"] == "plan_without_h265");
    assert_eq!(camera.status()["capture"]["starts"], 0);
    cloud.tell(&["plan", "plus", "--h265", "true"]);
    camera.wait_until_it_records(20);
    cloud.tell(&["plan", "plus", "--h265", "false"]);
    camera.wait_for("the end", |status| status["capture"]["open"] == false);
    camera.stop();

    let stored = cloud.stored();
    assert_eq!(stored.iter().rev().find(|object| object.is_end()).unwrap().metadata("reason"), "entitlement");
}
