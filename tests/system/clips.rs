//! A clip comes out of the cloud as it went into the camera: the same coded pictures, bit by bit and in order.

use crate::support::bucket::{Stored, assert_spans_are_whole};
use crate::support::camera::Camera;
use crate::support::cloud::Cloud;
use crate::support::h264::{frames_of, make, slices_of};
use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const LONG: u64 = 60 * 15;

/// 60 s of 1080p at 15 fps and 2 Mbit/s with B-frames, as x264 has them by default.
fn with_b_frames(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    let source = "testsrc2=size=1920x1080:rate=15:duration=60";
    let text = path.to_str().unwrap();
    let arguments = ["-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264", "-preset", "veryfast"];
    let more = ["-b:v", "2M", "-g", "30", "-bf", "3", "-pix_fmt", "yuv420p", text];
    make("ffmpeg", &[&arguments[..], &more[..]].concat(), &path);
    path
}

/// Of another encoder, without B-frames, an IDR every 37 pictures.
fn of_another_encoder(dir: &Path) -> PathBuf {
    let path = dir.join("other.mkv");
    let sink = format!("location={}", path.display());
    let pipeline = "videotestsrc num-buffers=900 pattern=ball ! video/x-raw,format=I420,width=1920,height=1080,framerate=15/1 ! \
        openh264enc gop-size=37 bitrate=2000000 complexity=low multi-thread=2 ! h264parse ! matroskamux ! filesink";
    let words: Vec<&str> =
        ["-q"].into_iter().chain(pipeline.split_whitespace()).chain([sink.as_str()]).collect();
    make("gst-launch-1.0", &words, &path);
    path
}

/// A board that gives the clip as fast as it is taken.
fn board_of(clip: &Path) -> String {
    format!(
        "name = \"clip\"\n[video]\nsource = {{ kind = \"file\", path = {:?}, realtime = false, loop = false }}\n\
         format = \"h264\"\nwidth = 1920\nheight = 1080\nfps = 15\nbitrate = \"2 Mbit/s\"\n",
        clip.to_str().unwrap()
    )
}

/// Plays the clip into a camera; every object that the cloud has in the end.
fn recorded(clip: &Path, frames: u64) -> (Cloud, Vec<Stored>) {
    let board = clip.with_extension("toml");
    std::fs::write(&board, board_of(clip)).unwrap();
    let cloud = Cloud::start(&["--board", board.to_str().unwrap(), "--segment", "8s", "--fragment", "2s"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    let camera = Camera::start(&cloud);
    camera.wait_for("the whole clip", |status| {
        let capture = &status["capture"];
        let done = capture["open"] == false && capture["starts"].as_u64() >= Some(1);
        done && capture["frames_committed"].as_u64() >= Some(frames)
    });
    camera.wait_until_all_is_stored();
    camera.stop();
    let stored = cloud.stored();
    (cloud, stored)
}

fn assert_same_pictures(clip: &Path, stored: &[Stored], frames: u64) {
    let dir = TempDir::new().unwrap();
    let expected = slices_of(clip);
    let (mut found, mut counted) = (Vec::new(), 0);
    for object in stored.iter().filter(|object| !object.is_end()) {
        let path = dir.path().join("object.mp4");
        std::fs::write(&path, &object.body).unwrap();
        found.extend(slices_of(&path));
        counted += frames_of(&path);
        assert_eq!(object.pictures(), frames_of(&path), "{}", object.key);
    }
    assert_eq!(counted, frames);
    assert!(expected.len() as u64 >= frames, "the clip has {} slices", expected.len());
    assert_eq!(
        expected.iter().collect::<HashSet<_>>().len(),
        expected.len(),
        "each slice is told from each other"
    );
    let same = expected.iter().zip(&found).take_while(|(a, b)| a == b).count();
    assert_eq!(
        (same, found.len()),
        (expected.len(), expected.len()),
        "the first that differs, and how many there are"
    );
}

#[test]
fn a_clip_with_b_frames_is_stored_bit_by_bit() {
    let dir = TempDir::new().unwrap();
    let clip = with_b_frames(dir.path(), "clip.mp4");
    assert_eq!(frames_of(&clip), LONG);

    let (_cloud, stored) = recorded(&clip, LONG);

    assert_spans_are_whole(&stored, true);
    assert_same_pictures(&clip, &stored, LONG);
    assert_eq!(stored.last().unwrap().metadata("reason"), "source", "the file has ended");
}

#[test]
fn a_byte_stream_is_stored_bit_by_bit() {
    let dir = TempDir::new().unwrap();
    let clip = with_b_frames(dir.path(), "clip.h264");

    let (_cloud, stored) = recorded(&clip, LONG);

    assert_spans_are_whole(&stored, true);
    assert_same_pictures(&clip, &stored, LONG);
}

#[test]
fn a_clip_of_another_encoder_with_an_odd_gop_is_stored_bit_by_bit() {
    let dir = TempDir::new().unwrap();
    let clip = of_another_encoder(dir.path());

    let (_cloud, stored) = recorded(&clip, LONG);

    assert_spans_are_whole(&stored, true);
    assert_same_pictures(&clip, &stored, LONG);
}

/// An RTSP server that plays a clip from its start to whoever connects; ended when it is dropped.
struct Server {
    child: Child,
    url: String,
}

impl Server {
    fn start(clip: &Path) -> Server {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/capture/rtsp_server.py");
        let mut child = Command::new("/usr/bin/python3")
            .args([script, &format!("clip={}", clip.display())])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port: u16 =
            line.trim().parse().expect("the server needs python3-gi and gir1.2-gst-rtsp-server-1.0");
        Server { child, url: format!("rtsp://127.0.0.1:{port}/live") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _ended = self.child.wait();
    }
}

#[test]
fn a_stream_over_rtsp_is_stored_bit_by_bit() {
    a_stream_is_stored_bit_by_bit("0");
}

#[test]
fn a_stream_over_rtsp_with_b_frames_is_stored_bit_by_bit() {
    a_stream_is_stored_bit_by_bit("2");
}

fn a_stream_is_stored_bit_by_bit(b_frames: &str) {
    let dir = TempDir::new().unwrap();
    let clip = dir.path().join("short.mp4");
    let source = "testsrc2=size=640x360:rate=15:duration=12";
    let arguments = ["-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264", "-preset", "veryfast"];
    let more = ["-b:v", "500k", "-g", "30", "-bf", b_frames, "-pix_fmt", "yuv420p", clip.to_str().unwrap()];
    make("ffmpeg", &[&arguments[..], &more[..]].concat(), &clip);
    let server = Server::start(&clip);
    let cloud = Cloud::start(&["--source", &server.url, "--segment", "4s", "--fragment", "2s"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);

    let camera = Camera::start(&cloud);
    // The stream ends with the clip; the next connection would play it again.
    camera.wait_for("the whole stream", |status| status["capture"]["faults"].as_u64() >= Some(1));
    camera.stop();

    let stored = cloud.stored();
    let first = stored[0].metadata("span").to_owned();
    let span: Vec<Stored> = stored.into_iter().filter(|object| object.metadata("span") == first).collect();
    assert_spans_are_whole(&span, true);
    assert_same_pictures(&clip, &span, 12 * 15);
    assert_eq!(span.last().unwrap().metadata("reason"), "source");
}
