//! A fault ends the run once, and says what to do.

use crate::support::*;
use kasacam::capture::gst::probe;
use kasacam::capture::pipeline::{Element, Stage};
use kasacam::config::{EncoderKind, VideoFormat, VideoSource};
use kasacam::domain::effect::{CaptureSettings, StopManner};
use kasacam::domain::fragment::SpanEnd;
use kasacam::domain::input::FaultKind;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

#[test]
fn a_missing_element_is_named() {
    let mut board = test_board();
    board.video.encoder = Some(EncoderKind::MppH264.into());
    let mut camera = Camera::new(board.clone());

    camera.start(1, SILENT);
    let take = camera.rest();

    assert_eq!(take.fault_kind(), FaultKind::ElementMissing);
    assert!(take.message().contains("mpph264enc"), "{}", take.message());
    assert_eq!(take.end, SpanEnd::Source);
    assert!(probe(&board).iter().any(|problem| problem.problem.contains("mpph264enc")));
    camera.is_silent_for(Duration::from_millis(200));
}

#[test]
fn a_missing_element_of_debian_comes_with_its_package() {
    let mut camera = Camera::altered(test_board(), |description| {
        description.video.insert(1, Stage::Element(Element::new("libcamerasrc")));
    });

    camera.start(1, SILENT);
    let take = camera.rest();

    assert_eq!(take.fault_kind(), FaultKind::ElementMissing);
    assert!(take.message().contains("gstreamer1.0-libcamera"), "{}", take.message());
}

#[test]
fn if_one_of_several_elements_is_needed_each_has_its_packages() {
    let mut camera = Camera::altered(test_board(), |description| {
        let several = ["mpph264enc", "libcamerasrc"].map(|factory| vec![Element::new(factory)]);
        description.video.insert(1, Stage::FirstOf(several.to_vec()));
    });

    camera.start(1, SILENT);
    let take = camera.rest();

    assert_eq!(take.fault_kind(), FaultKind::ElementMissing);
    for package in
        ["meta-rockchip", "Debian: gstreamer1.0-libcamera", "Yocto: libcamera-gst", "BR2_PACKAGE_LIBCAMERA"]
    {
        assert!(take.message().contains(package), "{} lacks {package}", take.message());
    }
}

#[test]
fn a_missing_device_is_named() {
    let mut board = test_board();
    board.video.source = VideoSource::V4l2 { device: PathBuf::from("/dev/video-that-is-not-there") };
    board.video.format = VideoFormat::H264;
    board.video.encoder = None;
    let mut camera = Camera::new(board.clone());

    camera.start(1, SILENT);
    let take = camera.rest();

    assert_eq!(take.fault_kind(), FaultKind::DeviceMissing);
    assert!(take.message().contains("/dev/video-that-is-not-there"), "{}", take.message());
    assert!(probe(&board).iter().any(|problem| problem.key == "video.source.device"));
}

#[test]
fn a_file_that_is_not_a_video_device_is_refused() {
    let folder = folder();
    let path = folder.path().join("video0");
    std::fs::write(&path, b"no device").unwrap();
    let mut board = test_board();
    board.video.source = VideoSource::V4l2 { device: path };
    let mut camera = Camera::new(board);

    camera.start(1, SILENT);
    let take = camera.rest();

    assert!(matches!(take.fault_kind(), FaultKind::DeviceMissing | FaultKind::Pipeline), "{:?}", take.fault);
    assert!(take.message().contains("video0"), "{}", take.message());
}

#[test]
fn a_good_board_has_no_problems() {
    assert_eq!(probe(&test_board()), []);
}

#[test]
fn a_missing_file_is_named() {
    let board = file_board(&PathBuf::from("/nowhere/clip.mp4"), false, false);
    let mut camera = Camera::new(board.clone());

    camera.start(1, SILENT);
    let take = camera.rest();

    assert_eq!(take.fault_kind(), FaultKind::DeviceMissing);
    assert!(take.message().contains("/nowhere/clip.mp4"), "{}", take.message());
    assert!(probe(&board).iter().any(|problem| problem.key == "video.source.path"));
}

#[test]
fn a_frame_larger_than_the_plan_is_not_delivered() {
    let folder = folder();
    let path = folder.path().join("clip.mp4");
    clip(&path, 30, 10, 0, &[]);
    let mut camera = Camera::new(file_board(&path, false, false));

    camera.start(1, CaptureSettings { audio: false, max_height: 179 });
    let take = camera.rest();

    assert_eq!(take.fault_kind(), FaultKind::ExceedsPlan);
    assert!(take.message().contains("180") && take.message().contains("179"), "{}", take.message());
    assert!(take.chunks.is_empty());
}

#[test]
fn a_source_without_frames_is_stalled_after_three_fragment_times() {
    let folder = folder();
    let clip_path = folder.path().join("clip.h264");
    clip(&clip_path, 60, 10, 0, &[]);
    let fifo = folder.path().join("live.h264");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let mut camera = Camera::new(file_board(&fifo, false, false));

    camera.start(1, SILENT);
    let mut writer = std::fs::OpenOptions::new().write(true).open(&fifo).unwrap();
    writer.write_all(&std::fs::read(&clip_path).unwrap()).unwrap();
    // The writer keeps the file open, and writes no more.
    let first = camera.chunk();
    let came = Instant::now();
    let take = camera.rest();

    assert!(first.starts_fragment);
    assert_eq!(take.fault_kind(), FaultKind::Stalled, "{}", take.message());
    assert!(take.message().contains("live.h264"), "{}", take.message());
    let waited = came.elapsed();
    assert!(waited > Duration::from_millis(1300) && waited < patient(Duration::from_secs(8)), "{waited:?}");
    drop(writer);
    camera.is_silent_for(Duration::from_millis(200));
}

#[test]
fn a_source_that_waits_is_stopped_at_once() {
    let folder = folder();
    let fifo = folder.path().join("live.h264");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    let mut camera = Camera::new(file_board(&fifo, false, false));
    camera.start(1, SILENT);

    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);
    let asked = Instant::now();
    let take = camera.rest();

    assert!(asked.elapsed() < patient(Duration::from_secs(2)), "{:?}", asked.elapsed());
    assert_eq!((take.end, take.fault), (SpanEnd::Privacy, None));
}
