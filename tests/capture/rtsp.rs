//! A camera elsewhere, over RTSP: a real server on loopback.

use crate::support::*;
use kasacam::config::{AudioSource, Board, Transport, VideoFormat, VideoSource};
use kasacam::domain::effect::StopManner;
use kasacam::domain::fragment::SpanEnd;
use kasacam::domain::input::FaultKind;
use kasacam::system::clock::mono;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

pub struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(sound: bool) -> Server {
        Server::serving(&[if sound { "sound" } else { "silent" }])
    }

    /// See `rtsp_server.py`.
    pub fn serving(what: &[&str]) -> Server {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/capture/rtsp_server.py");
        let mut child = Command::new("/usr/bin/python3")
            .arg(script)
            .args(what)
            // It is this machine's own, with its own plugins, also where the test is emulated.
            .env_remove("GST_PLUGIN_SYSTEM_PATH_1_0")
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().parse().expect("the server needs python3-gi and gir1.2-gst-rtsp-server-1.0");
        Server { child, port }
    }

    pub fn board(&self, sound: bool) -> Board {
        let mut board = test_board();
        board.video.source = VideoSource::Rtsp {
            url: format!("rtsp://127.0.0.1:{}/live", self.port),
            transport: Transport::Auto,
        };
        board.video.format = VideoFormat::H264;
        board.video.encoder = None;
        board.audio = sound.then_some(AudioSource::Embedded.into());
        board
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap_or(());
        self.child.wait().map(drop).unwrap_or(());
    }
}

#[test]
fn an_rtsp_camera_is_passed_through_with_its_sound() {
    let folder = folder();
    let server = Server::start(true);
    let mut camera = Camera::new(server.board(true));

    camera.start(1, WITH_SOUND);
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
fn an_rtsp_camera_without_sound_is_not_waited_for() {
    let server = Server::start(false);
    let mut camera = Camera::new(server.board(true));

    camera.start(1, WITH_SOUND);
    let chunks = camera.fragments(2);
    camera.stop(1, StopManner::Drain, SpanEnd::Shutdown);
    let take = camera.rest();

    assert!(chunks[0].init.audio.is_none());
    assert!(take.chunks.last().is_none_or(|last| last.ends_fragment), "what was captured is handed over");
    assert_eq!(take.fault, None);
}

#[test]
fn an_rtsp_camera_that_goes_away_ends_the_run() {
    let server = Server::start(false);
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
fn an_rtsp_camera_that_is_not_there_is_named() {
    let port = {
        let server = Server::start(false);
        server.port
    };
    let mut board = test_board();
    board.video.source = VideoSource::Rtsp {
        url: format!("rtsp://someone:hunter2@127.0.0.1:{port}/live"),
        transport: Transport::Auto,
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
