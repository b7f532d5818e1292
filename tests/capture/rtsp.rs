//! A network camera over RTSP: a real server on loopback.

use crate::support::*;
use kasacam::config::{AudioSource, Board, RtspAccess, Transport, VideoFormat, VideoSource};
use kasacam::domain::effect::StopManner;
use kasacam::domain::fragment::SpanEnd;
use kasacam::domain::input::FaultKind;
use kasacam::system::clock::mono;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the server says, line by line.
pub struct Server {
    child: Child,
    pub port: u16,
    said: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn start(arguments: &[&str]) -> Server {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/capture/rtsp_server.py");
        let mut child = Command::new("/usr/bin/python3")
            .arg(script)
            .args(arguments)
            // The server of this machine with its plugins, even if the test is emulated.
            .env_remove("GST_PLUGIN_SYSTEM_PATH_1_0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines.next().and_then(Result::ok).and_then(|line| line.trim().parse().ok());
        let port = port.expect("the server needs python3-gi and gir1.2-gst-rtsp-server-1.0");
        let said = Arc::<Mutex<Vec<String>>>::default();
        let noting = Arc::clone(&said);
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| noting.lock().unwrap().push(line))
        });
        Server { child, port, said }
    }

    /// How often it has logged this.
    pub fn count(&self, line: &str) -> usize {
        self.said.lock().unwrap().iter().filter(|said| *said == line).count()
    }

    pub fn board(&self, audio: bool) -> Board {
        let mut board = test_board();
        board.video.source = self.source("live");
        board.video.format = VideoFormat::H264;
        board.video.encoder = None;
        board.audio = audio.then_some(AudioSource::Embedded.into());
        board
    }

    pub fn source(&self, path: &str) -> VideoSource {
        VideoSource::Rtsp {
            url: format!("rtsp://127.0.0.1:{}/{path}", self.port),
            transport: Transport::Auto,
            access: RtspAccess::default(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap_or(());
        self.child.wait().map(drop).unwrap_or(());
    }
}

#[test]
fn an_rtsp_camera_is_recorded_as_it_is_with_its_audio() {
    let folder = folder();
    let server = Server::start(&["audio"]);
    let mut camera = Camera::new(server.board(true));

    camera.start(1, WITH_AUDIO);
    let chunks = camera.fragments(5);
    let asked = mono();
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);
    let take = camera.rest();

    assert_eq!(gops(&chunks)[1..], [10; 4]);
    let path = write(folder.path(), &chunks);
    assert_eq!(decoded(&path), frames(&chunks) as usize);
    assert!(chunks[0].init.codecs.contains("mp4a"), "{}", chunks[0].init.codecs);
    assert!(times(&path, "a:0", "pts").len() > 60);
    assert!(
        take.closed_at.since(asked) < patient(Duration::from_millis(100)),
        "{:?}",
        take.closed_at.since(asked)
    );
}

#[test]
fn an_rtsp_camera_without_audio_does_not_delay_frames() {
    let server = Server::start(&["silent"]);
    let mut camera = Camera::new(server.board(true));

    camera.start(1, WITH_AUDIO);
    let chunks = camera.fragments(2);
    camera.stop(1, StopManner::Drain, SpanEnd::Shutdown);
    let take = camera.rest();

    assert!(chunks[0].init.audio.is_none());
    assert!(take.chunks.last().is_none_or(|last| last.ends_fragment), "what was captured is handed over");
    assert_eq!(take.fault, None);
}

#[test]
fn an_rtsp_camera_that_disconnects_ends_the_run() {
    let server = Server::start(&["silent"]);
    let mut camera = Camera::new(server.board(false));
    camera.start(1, SILENT);
    camera.fragments(1);

    drop(server);
    let take = camera.rest();

    let kind = take.fault_kind();
    assert!(matches!(kind, FaultKind::Pipeline | FaultKind::Stalled | FaultKind::DeviceMissing), "{kind:?}");
    assert!(take.message().contains("127.0.0.1"), "{}", take.message());
}

#[test]
fn a_missing_rtsp_camera_is_named() {
    let port = {
        let server = Server::start(&["silent"]);
        server.port
    };
    let mut board = test_board();
    board.video.source = VideoSource::Rtsp {
        url: format!("rtsp://someone:hunter2@127.0.0.1:{port}/live"),
        transport: Transport::Auto,
        access: RtspAccess::default(),
    };
    board.video.format = VideoFormat::H264;
    board.video.encoder = None;
    let mut camera = Camera::new(board);

    camera.start(1, SILENT);
    let take = camera.rest();

    assert_eq!(take.fault_kind(), FaultKind::DeviceMissing, "{}", take.message());
    assert!(
        take.message().contains("127.0.0.1") && !take.message().contains("hunter2"),
        "{}",
        take.message()
    );
}

#[test]
fn other_audio_than_aac_is_converted_to_aac() {
    for codec in ["pcmu", "pcma", "g722", "opus"] {
        let folder = folder();
        let server = Server::start(&[codec]);
        let mut camera = Camera::new(server.board(true));

        camera.start(1, WITH_AUDIO);
        let chunks = camera.fragments(5);
        camera.stop(1, StopManner::Drain, SpanEnd::Shutdown);
        let take = camera.rest();

        assert_eq!(take.fault, None, "{codec}");
        assert!(chunks[0].init.codecs.contains("mp4a.40.2"), "{codec}: {}", chunks[0].init.codecs);
        let path = write(folder.path(), &chunks);
        assert_eq!(decoded(&path), frames(&chunks) as usize, "{codec}");
        let (shown, heard) = (times(&path, "v:0", "pts"), times(&path, "a:0", "pts"));
        let span = |times: &[f64]| times.last().unwrap() - times[0];
        assert!((span(&shown) - span(&heard)).abs() < 0.3, "{codec}: {} and {}", span(&shown), span(&heard));
        assert!(loudness(&path) > -40.0, "{codec}: a tone was sent, {} dB were stored", loudness(&path));
    }
}

/// Mean volume of the audio track, in dB of full scale.
fn loudness(path: &Path) -> f64 {
    let measured = Command::new("ffmpeg")
        .args([
            "-hide_banner",
            "-i",
            path.to_str().unwrap(),
            "-map",
            "0:a:0",
            "-af",
            "volumedetect",
            "-f",
            "null",
            "-",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8(measured.stderr).unwrap();
    let behind = text.split("mean_volume: ").nth(1).unwrap_or_else(|| panic!("{text}"));
    behind.split(' ').next().unwrap().parse().unwrap()
}
