//! Descriptions of pipelines, without GStreamer running them.

use crate::support::*;
use gst::prelude::*;
use kasacam::capture::board::describe;
use kasacam::capture::h264::level_of;
use kasacam::capture::packages;
use kasacam::capture::pipeline::{Description, Element, Origin, Stage};
use kasacam::capture::profile::scaled;
use kasacam::config::{
    AudioSource, Board, EncoderKind, FrameRate, Pixels, Property, Transport, VideoFormat, VideoSource,
};
use kasacam::domain::effect::CaptureSettings;
use std::path::PathBuf;

fn described(board: &Board, settings: CaptureSettings) -> Description {
    describe(board, &recording(), settings).unwrap()
}

fn elements(stages: &[Stage]) -> Vec<&Element> {
    stages
        .iter()
        .flat_map(|stage| match stage {
            Stage::Element(element) | Stage::Optional(element) => vec![element],
            Stage::FirstOf(chains) => chains.iter().flatten().collect(),
            Stage::Caps(_) | Stage::Foreign(_) => vec![],
        })
        .collect()
}

fn property<'a>(stages: &'a [Stage], factory: &str, name: &str) -> &'a str {
    let element = elements(stages).into_iter().find(|element| element.factory == factory).unwrap();
    &element.properties.iter().find(|(known, _)| *known == name).unwrap().1
}

#[test]
fn every_encoder_gets_bit_rate_and_gop() {
    let mut board = test_board();
    board.video.fps = 15.into();
    board.video.bitrate = 2_000_000;
    for (kind, factory, rate, gop) in [
        (EncoderKind::X264, "x264enc", ("bitrate", "2000"), ("key-int-max", "7")),
        (EncoderKind::OpenH264, "openh264enc", ("bitrate", "2000000"), ("gop-size", "7")),
        (EncoderKind::MppH264, "mpph264enc", ("bps", "2000000"), ("gop", "7")),
        (EncoderKind::VpuencH264, "vpuenc_h264", ("bitrate", "2000"), ("gop-size", "7")),
        (EncoderKind::OmxH264, "omxh264enc", ("target-bitrate", "2000000"), ("interval-intraframes", "7")),
    ] {
        board.video.encoder = Some(kind.into());
        let video = described(&board, SILENT).video;
        assert_eq!(property(&video, factory, rate.0), rate.1, "{kind}");
        assert_eq!(property(&video, factory, gop.0), gop.1, "{kind}");
    }
    board.video.encoder = Some(EncoderKind::V4l2H264.into());
    let controls = property(&described(&board, SILENT).video, "v4l2h264enc", "extra-controls").to_owned();
    assert!(
        controls.contains("video_bitrate=2000000") && controls.contains("h264_i_frame_period=7"),
        "{controls}"
    );
}

#[test]
fn audio_needs_both_the_settings_and_the_board() {
    let mut board = test_board();
    assert!(described(&board, WITH_AUDIO).audio.is_some());
    assert!(described(&board, SILENT).audio.is_none());
    board.audio = None;
    assert!(described(&board, WITH_AUDIO).audio.is_none());
}

#[test]
fn scaled_sizes_keep_their_aspect_are_even_and_never_grow() {
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
fn a_device_that_encodes_is_recorded_as_it_is() {
    let mut board = test_board();
    board.video.source = VideoSource::V4l2 { device: PathBuf::from("/dev/video0") };
    board.video.format = VideoFormat::H264;
    board.video.encoder = None;

    let description = described(&board, SILENT);

    let factories: Vec<_> = elements(&description.video).iter().map(|element| element.factory).collect();
    assert_eq!(factories, ["v4l2src"]);
    let told = property(&description.video, "v4l2src", "extra-controls");
    // 20 frames a second, half a second a fragment.
    for control in ["video_bitrate=300000", "video_gop_size=10", "h264_i_frame_period=10", "video_b_frames=0"]
    {
        assert!(told.split(',').any(|it| it == control), "{told} lacks {control}");
    }
}

#[test]
fn raw_frames_are_scaled_to_the_plan() {
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
fn a_password_in_a_url_is_in_no_message() {
    let mut board = test_board();
    board.video.source = VideoSource::Rtsp {
        url: String::from("rtsp://user:hunter2@192.0.2.7:554/live?token=abc"),
        transport: Transport::Auto,
        access: kasacam::config::RtspAccess::default(),
    };
    board.audio = Some(AudioSource::Embedded.into());

    let description = described(&board, WITH_AUDIO);

    assert_eq!(description.source, "the RTSP camera at 192.0.2.7:554");
    assert!(matches!(description.origin, Origin::Rtsp(_)));
}

fn factories(stages: &[Stage]) -> Vec<&'static str> {
    elements(stages).iter().map(|element| element.factory).collect()
}

/// A V4L2 camera with raw frames of this layout.
fn raw_board(pixels: Option<Pixels>, encoder: EncoderKind) -> Board {
    let mut board = test_board();
    board.video.source = VideoSource::V4l2 { device: PathBuf::from("/dev/video0") };
    (board.video.width, board.video.height) = (1280, 720);
    board.video.pixels = pixels;
    board.video.encoder = Some(encoder.into());
    board
}

#[test]
fn frames_that_the_encoder_accepts_are_not_converted() {
    for (pixels, encoder, touched) in [
        (Some(Pixels::Nv12), EncoderKind::V4l2H264, false),
        (Some(Pixels::Nv12), EncoderKind::MppH264, false),
        (Some(Pixels::Nv12), EncoderKind::X264, false),
        (Some(Pixels::I420), EncoderKind::OpenH264, false),
        (Some(Pixels::Nv12), EncoderKind::OpenH264, true),
        (Some(Pixels::Yuy2), EncoderKind::V4l2H264, true),
        (Some(Pixels::Mjpeg), EncoderKind::V4l2H264, true),
        (None, EncoderKind::V4l2H264, true),
    ] {
        let video = described(&raw_board(pixels, encoder), SILENT).video;
        assert_eq!(factories(&video).contains(&"videoconvert"), touched, "{pixels:?} {encoder}");
    }
}

#[test]
fn memory_is_shared_only_without_conversion() {
    let io_mode = |board: &Board, max_height: u32| {
        let video = described(board, CaptureSettings { audio: false, max_height }).video;
        let of = |factory: &str, name: &str| {
            let element = elements(&video).into_iter().find(|element| element.factory == factory)?;
            Some(element.properties.iter().find(|(known, _)| *known == name)?.1.clone())
        };
        (of("v4l2src", "io-mode"), of("v4l2h264enc", "output-io-mode"))
    };
    let shared = (Some(String::from("dmabuf")), Some(String::from("dmabuf-import")));
    let mut board = raw_board(Some(Pixels::Nv12), EncoderKind::V4l2H264);
    assert_eq!(io_mode(&board, 1080), shared);
    assert_eq!(io_mode(&board, 480), (None, None), "scaled by the processor");
    assert_eq!(io_mode(&raw_board(Some(Pixels::Yuy2), EncoderKind::V4l2H264), 1080), (None, None));
    assert_eq!(io_mode(&raw_board(Some(Pixels::I420), EncoderKind::X264), 1080), (None, None));

    board.video.source_properties =
        vec![Property { name: String::from("io-mode"), value: String::from("mmap") }];
    assert_eq!(io_mode(&board, 1080).0.as_deref(), Some("mmap"), "the board file has the last word");
}

#[test]
fn controls_of_the_board_file_are_merged_with_ours() {
    let mut board = raw_board(Some(Pixels::Nv12), EncoderKind::V4l2H264);
    let controls = Property {
        name: String::from("extra-controls"),
        value: String::from("c,h264_profile=4,video_gop_size=99"),
    };
    board.video.encoder.as_mut().unwrap().properties = vec![controls];

    let video = described(&board, SILENT).video;

    let told = property(&video, "v4l2h264enc", "extra-controls");
    for control in ["h264_profile=4", "video_gop_size=99", "video_bitrate=300000", "repeat_sequence_header=1"]
    {
        assert!(told.split(',').any(|it| it == control), "{told} lacks {control}");
    }
    assert_eq!(told.matches("video_gop_size").count(), 1, "{told}");
}

#[test]
fn fractional_rates_reach_the_source_unchanged() {
    let mut board = raw_board(Some(Pixels::Nv12), EncoderKind::V4l2H264);
    board.video.fps = FrameRate::new(30_000, 1001).unwrap();
    let video = described(&board, SILENT).video;
    let asked = video.iter().any(
        |stage| matches!(stage, Stage::Caps(caps) if caps.contains("format=NV12") && caps.contains("framerate=30000/1001")),
    );
    assert!(asked, "{video:?}");
}

/// ITU-T H.264, table A-1, for frames of whole macroblocks.
#[test]
fn the_level_follows_size_rate_and_bit_rate() {
    for (width, height, fps, bitrate, wanted) in [
        (320, 180, 10, 200_000, "1.2"),
        (352, 288, 30, 600_000, "1.3"),
        (640, 360, 15, 600_000, "2.2"),
        (640, 480, 30, 2_000_000, "3"),
        (1280, 720, 30, 3_000_000, "3.1"),
        (1280, 720, 60, 3_000_000, "3.2"),
        (1920, 1080, 15, 2_000_000, "4"),
        (1920, 1080, 30, 3_000_000, "4"),
        (1920, 1080, 30, 21_000_000, "4.1"),
        (1920, 1080, 60, 8_000_000, "4.2"),
        // 4.2 ends at 8,704 macroblocks.
        (2304, 1296, 15, 2_000_000, "5"),
        (2560, 1440, 15, 3_000_000, "5"),
        (2560, 1440, 30, 3_000_000, "5"),
        (3840, 2160, 30, 8_000_000, "5.1"),
        (3840, 2160, 60, 8_000_000, "5.2"),
        (7680, 4320, 30, 8_000_000, "6"),
        (7680, 4320, 120, 90_000_000, "6.2"),
        // A.3.1: no side is longer than the root of 8 * MaxFS, here 5,632 pixels at level 4.
        (6400, 16, 15, 1_000_000, "5"),
    ] {
        let level = level_of(width, height, fps.into(), bitrate);
        assert_eq!(level, wanted, "{width}x{height} at {fps}, {bitrate} bit/s");
    }
    let mut board = raw_board(Some(Pixels::Nv12), EncoderKind::V4l2H264);
    (board.video.width, board.video.height) = (2560, 1440);
    let level = |max_height: u32| {
        let video = described(&board, CaptureSettings { audio: false, max_height }).video;
        let level = video.iter().find_map(|stage| match stage {
            Stage::Caps(caps) => caps.split_once("level=(string)").map(|(_, level)| level.to_owned()),
            _ => None,
        });
        level.unwrap()
    };
    assert_eq!((level(1440).as_str(), level(720).as_str()), ("5", "3.1"));
}

fn plugin(factory: &gst::PluginFeature) -> Option<PathBuf> {
    let name = factory.plugin_name()?;
    let file = gst::Registry::get().find_plugin(&name)?.filename()?;
    // The package lists the path from before /lib became a link.
    let usr = PathBuf::from("/usr").join(file.strip_prefix("/").ok()?);
    Some(if file.starts_with("/lib") && usr.exists() { usr } else { file })
}

/// Compares with the packages of the installed plugins.
#[test]
fn the_package_of_an_element_is_the_one_that_has_it() {
    gst::init().unwrap();
    let mut checked = 0;
    for factory in gst::Registry::get().features(gst::ElementFactory::static_type()) {
        let Some(packages) = packages::of(&factory.name()) else { continue };
        let (Some(named), Some(file)) = (packages.debian, plugin(&factory)) else {
            continue;
        };
        let found = std::process::Command::new("dpkg").arg("-S").arg(&file).output();
        let Some(found) = found.ok().filter(|found| found.status.success()) else { continue };
        let found = String::from_utf8(found.stdout).unwrap();
        assert!(found.starts_with(&format!("{named}:")), "{}: {named}, and not {found}", factory.name());
        checked += 1;
    }
    assert!(checked >= 20, "{checked}");
}
