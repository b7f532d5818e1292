//! Clips from a network camera: a real RTSP server on loopback.

use crate::clips::assert_same;
use crate::support::bucket::{Stored, assert_spans_are_whole};
use crate::support::camera::Camera;
use crate::support::clip::Clip;
use crate::support::cloud::Cloud;
use crate::support::h264::{Movie, Slice};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A network camera: a real RTSP server on loopback that plays a clip from its beginning to every client.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(clip: &Clip, port: u16) -> Server {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/capture/rtsp_server.py");
        let mut child = Command::new("/usr/bin/python3")
            .args([script, "clip", clip.path.to_str().unwrap(), &port.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("the server needs python3-gi and gir1.2-gst-rtsp-server-1.0");
        Server { child, port }
    }

    fn cloud(&self) -> Cloud {
        let url = format!("rtsp://127.0.0.1:{}/live", self.port);
        let cloud = Cloud::start(&["--segment", "2s", "--source", &url]);
        cloud.tell(&["plan", "plus"]);
        cloud.tell(&["privacy", "off"]);
        cloud
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap_or(());
        self.child.wait().map(drop).unwrap_or(());
    }
}

/// 640x360 at 15 frames per second, with B-frames, for this many seconds.
fn for_rtsp(name: &str, seconds: u32) -> Clip {
    let source =
        ["-f", "lavfi", "-i", "testsrc2=size=640x360:rate=15", "-frames:v", &(seconds * 15).to_string()];
    let coding =
        ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "15", "-b:v", "600k"];
    Clip::by_ffmpeg(name, &[&source[..], &coding].concat())
}

/// The slices of each span, in the order of spans.
fn spans(stored: &[Stored]) -> Vec<Vec<Slice>> {
    let mut spans: Vec<(&str, Vec<Slice>)> = Vec::new();
    for object in stored.iter().filter(|object| !object.is_end()) {
        let slices = Movie::read(&object.body).video.slices();
        match spans.last_mut() {
            Some((span, so_far)) if *span == object.metadata("span") => so_far.extend(slices),
            _ => spans.push((object.metadata("span"), slices)),
        }
    }
    spans.into_iter().map(|(_, slices)| slices).collect()
}

/// A run of slices of the clip that begins with an IDR, without a loss or a duplicate; returns its range.
fn assert_is_a_run_of(stored: &[Slice], clip: &Clip) -> std::ops::Range<usize> {
    assert!(stored[0].idr);
    let first = clip.slices.iter().position(|slice| *slice == stored[0]).expect("a slice of the clip");
    assert_same(stored, &clip.slices[first..clip.slices.len().min(first + stored.len())]);
    first..first + stored.len()
}

#[test]
fn a_clip_served_over_rtsp_is_stored_from_its_first_frame_to_its_last() {
    let clip = for_rtsp("rtsp.mp4", 10);
    let server = Server::start(&clip, 0);
    let cloud = server.cloud();

    let camera = Camera::start(&cloud);
    cloud.wait_for_event("the end of the stream", |event| event["payload"]["event"] == "capture_closed");
    // If a camera ends its stream, for example because it restarts, another one is requested.
    camera.wait_for("recording again", |status| status["capture"]["starts"].as_u64() >= Some(2));
    drop(server);
    camera.stop();

    let stored = cloud.stored();
    assert_spans_are_whole(&stored, true);
    let spans = spans(&stored);
    assert_eq!(assert_is_a_run_of(&spans[0], &clip), 0..clip.slices.len());
    let end = stored.iter().find(|object| object.is_end()).unwrap();
    assert_eq!(end.metadata("reason"), "source");
}

#[test]
fn an_rtsp_camera_that_goes_away_and_comes_back_leaves_one_gap() {
    let clip = for_rtsp("rtsp.mp4", 10);
    let server = Server::start(&clip, 0);
    let port = server.port;
    let cloud = server.cloud();
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(45);

    drop(server);
    let closed = camera.wait_for("the loss noticed", |status| status["capture"]["open"] == false);
    let before = closed["capture"]["frames_committed"].as_u64().unwrap();
    let server = Server::start(&clip, port);
    let back = Instant::now();
    camera.wait_until_it_records(before + 15);
    let took = back.elapsed();
    drop(server);
    camera.stop();

    let stored = cloud.stored();
    assert_spans_are_whole(&stored, true);
    let spans = spans(&stored);
    assert_eq!(spans.len(), 2, "one gap");
    assert!(assert_is_a_run_of(&spans[0], &clip).len() >= 45);
    assert!(assert_is_a_run_of(&spans[1], &clip).len() >= 15);
    let reasons: Vec<&str> =
        stored.iter().filter(|object| object.is_end()).map(|object| object.metadata("reason")).collect();
    assert_eq!(reasons[0], "source");
    assert_eq!(reasons.len(), 2);
    assert!(took < Duration::from_secs(10), "recording again after {took:?}");
}
