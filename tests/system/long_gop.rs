//! Cameras that send an IDR frame rarely or never, or are away: what is stored, and what status and log say.

use crate::odd_camera::{Behaviour, OddCamera};
use crate::support::camera::Camera;
use crate::support::clip::{Clip, run};
use crate::support::cloud::Cloud;
use std::path::Path;
use std::time::{Duration, Instant};

/// Frames at 25 per second; only the first one is an IDR frame.
fn endless(frames: u32) -> Clip {
    let frames = frames.to_string();
    let source = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-frames:v", &frames];
    let coding = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-bf", "0", "-g", "99999"];
    Clip::by_ffmpeg("endless.h264", &[&source[..], &coding, &["-sc_threshold", "0"]].concat())
}

fn watched(camera: &OddCamera) -> Cloud {
    let url = format!("rtsp://127.0.0.1:{}/live", camera.port);
    let cloud = Cloud::start(&["--segment", "2s", "--fragment", "1s", "--source", &url]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    cloud
}

/// The decoder's checksum of each frame.
fn decoded(path: &Path) -> Vec<String> {
    let what = ["-v", "error", "-i", path.to_str().unwrap(), "-map", "0:v:0", "-fps_mode", "passthrough"];
    let text = String::from_utf8(run("ffmpeg", &[&what[..], &["-f", "framemd5", "-"]].concat())).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

#[test]
fn one_idr_frame_and_no_other_is_committed_in_parts_and_stored_whole() {
    let clip = endless(400);
    let odd = OddCamera::start(&clip.path, Behaviour::default());
    let cloud = watched(&odd);
    let camera = Camera::start(&cloud);

    // A GOP of 16 s, of which parts of a second and a half are on flash long before it ends.
    let early = camera
        .wait_for("the first parts", |status| status["capture"]["frames_committed"].as_u64() >= Some(60));
    assert!(early["capture"]["frames_committed"].as_u64() < Some(300), "{early}");
    assert!(early["capture"]["fault"].is_null(), "{early}");
    camera.wait_for("another run", |status| status["capture"]["starts"].as_u64() >= Some(2));
    drop(odd);
    camera.wait_until_all_is_stored();
    camera.stop();

    let first = cloud.footage().remove(0);
    let path = cloud.dir().join("first.mp4");
    std::fs::write(&path, &first.body).unwrap();
    assert_eq!(decoded(&path), decoded(&clip.path));
}

#[test]
fn a_stream_without_idr_frames_is_reported_within_two_fragments() {
    let clip = endless(500);
    let bytes = std::fs::read(&clip.path).unwrap();
    let idr = bytes.windows(4).position(|it| it[..3] == [0, 0, 1] && it[3] & 0x1f == 5).unwrap();
    let next = bytes[idr..].windows(4).skip(1).position(|it| it[..3] == [0, 0, 1]).unwrap() + idr + 1;
    // The parameter sets are kept.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("without.h264");
    std::fs::write(&path, [&bytes[..idr - 1], &bytes[next - 1..]].concat()).unwrap();
    let odd = OddCamera::start(&path, Behaviour::default());
    let cloud = watched(&odd);
    let camera = Camera::start(&cloud);

    camera.wait_for("an open camera", |status| status["capture"]["open"] == true);
    let opened = Instant::now();
    let told = camera.wait_for("the fault", |status| {
        status["capture"]["fault"].as_str().is_some_and(|fault| fault.contains("IDR"))
    });
    let took = opened.elapsed();

    // Connecting takes time before the first frame comes.
    assert!(took < Duration::from_secs(8), "{took:?}");
    assert_eq!(told["capture"]["open"], true, "{told}");
    assert_eq!(told["capture"]["frames_committed"], 0, "{told}");
    cloud.wait_for_event("the fault told", |event| {
        let payload = &event["payload"];
        payload["event"] == "capture_failed" && payload["message"].as_str().unwrap().contains("IDR")
    });
    camera.stop();
    assert!(cloud.footage().is_empty());
}

#[test]
fn a_missing_camera_is_logged_once_and_not_with_every_attempt() {
    let clip = endless(25);
    let odd = OddCamera::start(&clip.path, Behaviour::default());
    let cloud = watched(&odd);
    drop(odd);
    let camera = Camera::start(&cloud);

    camera.wait_for("some attempts", |status| status["capture"]["faults"].as_u64() >= Some(4));
    let log = camera.log();
    camera.stop();

    let is_loud = |line: &&str| line.contains("WARN") || line.contains("ERROR");
    let of_capture = |line: &&str| line.contains("127.0.0.1:") && line.to_lowercase().contains("rtsp");
    let told: Vec<&str> = log.lines().filter(is_loud).filter(of_capture).collect();
    assert_eq!(told.len(), 1, "{told:#?}");
}
