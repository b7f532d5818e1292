//! Boards as pipelines, without a pipeline.

use crate::support::*;
use kasacam::capture::board::{Description, Element, Origin, Stage, describe, scaled};
use kasacam::config::{
    self, Audio, AudioSource, Board, Encoder, EncoderKind, Transport, VideoFormat, VideoSource,
};
use kasacam::domain::effect::CaptureSettings;
use std::path::{Path, PathBuf};

fn described(board: &Board, settings: CaptureSettings) -> Description {
    describe(board, &recording(), settings).unwrap()
}

fn elements(stages: &[Stage]) -> Vec<&Element> {
    stages
        .iter()
        .flat_map(|stage| match stage {
            Stage::Element(element) | Stage::Optional(element) => vec![element],
            Stage::FirstOf(chains) => chains.iter().flatten().collect(),
            Stage::Caps(_) => vec![],
        })
        .collect()
}

fn property<'a>(stages: &'a [Stage], factory: &str, name: &str) -> &'a str {
    let element = elements(stages).into_iter().find(|element| element.factory == factory).unwrap();
    &element.properties.iter().find(|(known, _)| *known == name).unwrap().1
}

#[test]
fn every_encoder_is_told_rate_and_gop() {
    let mut board = test_board();
    board.video.fps = 15;
    board.video.bitrate = 2_000_000;
    for (kind, factory, rate, gop) in [
        (EncoderKind::X264, "x264enc", ("bitrate", "2000"), ("key-int-max", "7")),
        (EncoderKind::OpenH264, "openh264enc", ("bitrate", "2000000"), ("gop-size", "7")),
        (EncoderKind::MppH264, "mpph264enc", ("bps", "2000000"), ("gop", "7")),
        (EncoderKind::VpuencH264, "vpuenc_h264", ("bitrate", "2000"), ("gop-size", "7")),
        (EncoderKind::OmxH264, "omxh264enc", ("target-bitrate", "2000000"), ("interval-intraframes", "7")),
    ] {
        board.video.encoder = Some(Encoder { kind });
        let video = described(&board, SILENT).video;
        assert_eq!(property(&video, factory, rate.0), rate.1, "{kind}");
        assert_eq!(property(&video, factory, gop.0), gop.1, "{kind}");
    }
    board.video.encoder = Some(Encoder { kind: EncoderKind::V4l2H264 });
    let controls = property(&described(&board, SILENT).video, "v4l2h264enc", "extra-controls").to_owned();
    assert!(
        controls.contains("video_bitrate=2000000") && controls.contains("h264_i_frame_period=7"),
        "{controls}"
    );
}

#[test]
fn sound_needs_both_the_settings_and_the_board() {
    let mut board = test_board();
    assert!(described(&board, WITH_SOUND).audio.is_some());
    assert!(described(&board, SILENT).audio.is_none());
    board.audio = None;
    assert!(described(&board, WITH_SOUND).audio.is_none());
}

#[test]
fn sizes_keep_their_aspect_are_even_and_never_grow() {
    for (width, height, most, wanted) in [
        (2560, 1440, 1080, (1920, 1080)),
        (1920, 1080, 1440, (1920, 1080)),
        (2304, 1296, 720, (1280, 720)),
        (640, 360, 241, (426, 240)),
        (320, 180, 1, (2, 2)),
    ] {
        assert_eq!(scaled(width, height, most), wanted);
    }
}

#[test]
fn a_device_that_encodes_is_passed_through() {
    let mut board = test_board();
    board.video.source = VideoSource::V4l2 { device: PathBuf::from("/dev/video0") };
    board.video.format = VideoFormat::H264;
    board.video.encoder = None;

    let description = described(&board, SILENT);

    let factories: Vec<_> = elements(&description.video).iter().map(|element| element.factory).collect();
    assert_eq!(factories, ["v4l2src"]);
}

#[test]
fn pictures_that_we_encode_are_scaled_to_the_plan() {
    let mut board = test_board();
    board.video.source = VideoSource::V4l2 { device: PathBuf::from("/dev/video0") };
    (board.video.width, board.video.height) = (1920, 1080);

    let scaled = described(&board, CaptureSettings { audio: false, max_height: 720 }).video;
    let whole = described(&board, SILENT).video;

    assert!(
        scaled
            .iter()
            .any(|stage| matches!(stage, Stage::Caps(caps) if caps.contains("width=1280,height=720")))
    );
    assert!(!elements(&whole).iter().any(|element| element.factory == "videoscale"));
}

#[test]
fn a_password_in_an_address_is_in_no_message() {
    let mut board = test_board();
    board.video.source = VideoSource::Rtsp {
        url: String::from("rtsp://user:hunter2@192.0.2.7:554/live?token=abc"),
        transport: Transport::Auto,
    };
    board.audio = Some(Audio { source: AudioSource::Embedded });

    let description = described(&board, WITH_SOUND);

    assert_eq!(description.source, "the RTSP camera at 192.0.2.7:554");
    assert!(matches!(description.origin, Origin::Rtsp(_)));
}

#[test]
fn every_board_that_we_ship_has_a_pipeline() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("board-configs");
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let board = config::load_board(&path).unwrap_or_else(|why| panic!("{}: {why:?}", path.display()));
        described(&board, WITH_SOUND);
        count += 1;
    }
    assert!(count >= 5);
}
