//! From the devices of a board to a board file: every choice loads, and is the best one.

use kasacam::capture::choose::{self, Camera, Found, Mode, Offer, Way, any_rate, board_file};
use kasacam::capture::survey;
use kasacam::config::{self, Board, EncoderKind, FrameRate, Pixels, VideoFormat, VideoSource};
use std::path::{Path, PathBuf};

fn mode(width: u32, height: u32, rates: &[u32]) -> Mode {
    Mode { width, height, rates: rates.iter().map(|rate| FrameRate::from(*rate)).collect() }
}

fn camera(offers: &[(Option<Pixels>, &[Mode])]) -> Camera {
    Camera {
        way: Way::V4l2(PathBuf::from("/dev/video0")),
        name: String::from("A camera\n[audio]"),
        offers: offers
            .iter()
            .map(|(pixels, modes)| Offer { pixels: *pixels, modes: modes.to_vec() })
            .collect(),
    }
}

fn found(cameras: Vec<Camera>, encoders: &[EncoderKind]) -> Found {
    Found { cameras, encoders: encoders.to_vec(), ..Found::default() }
}

/// With an encoder of this speed.
fn board(found: &Found, pixels_a_second: f64) -> (Board, String) {
    let mut speed = |_, _, (width, height): (u32, u32)| Some(pixels_a_second / f64::from(width * height));
    let text = board_file(found, &mut speed).unwrap();
    let board =
        config::board_of(&text, Path::new("board.toml")).unwrap_or_else(|why| panic!("{why}\n{text}"));
    (board, text)
}

const HD: &[(u32, u32)] = &[(640, 480), (1280, 720), (1920, 1080), (3840, 2160)];

fn modes(rates: &[u32]) -> Vec<Mode> {
    HD.iter().map(|(width, height)| mode(*width, *height, rates)).collect()
}

#[test]
fn a_camera_that_encodes_is_recorded_as_it_is() {
    let raw = modes(&[60]);
    let coded = modes(&[15, 30, 60]);
    let camera = camera(&[(Some(Pixels::Yuy2), &raw), (None, &coded)]);
    let (board, text) = board(&found(vec![camera], &[EncoderKind::X264, EncoderKind::V4l2H264]), 1e9);
    assert_eq!((board.video.format, board.video.encoder), (VideoFormat::H264, None));
    assert_eq!((board.video.width, board.video.height, board.video.fps), (1920, 1080, 30.into()));
    assert!(text.contains("recorded as it is"), "{text}");
    assert!(board.audio.is_none(), "a name is a comment, and nothing else: {text}");
}

#[test]
fn an_encoder_in_hardware_gets_the_frames_that_it_accepts() {
    let all = modes(&[25]);
    let camera =
        camera(&[(Some(Pixels::Mjpeg), &all), (Some(Pixels::Yuy2), &all), (Some(Pixels::Nv12), &all)]);
    let (board, _) = board(&found(vec![camera], &[EncoderKind::X264, EncoderKind::MppH264]), 1.0);
    assert_eq!(board.video.encoder.unwrap().kind, EncoderKind::MppH264);
    assert_eq!((board.video.pixels, board.video.height), (Some(Pixels::Nv12), 1080));
}

#[test]
fn an_encoder_in_software_gets_a_size_that_it_was_measured_for() {
    let raw = modes(&[5, 10, 15, 30]);
    let found = found(vec![camera(&[(Some(Pixels::Yuy2), &raw)])], &[EncoderKind::OpenH264]);
    let of = |pixels_a_second: f64| {
        let (board, text) = board(&found, pixels_a_second);
        assert!(text.contains("frames a second of"), "{text}");
        ((board.video.width, board.video.height), board.video.fps.numerator())
    };
    assert_eq!(of(2.0 * 1920.0 * 1080.0 * 30.0), ((1920, 1080), 30));
    assert_eq!(of(2.0 * 1280.0 * 720.0 * 16.0), ((1280, 720), 15));
    assert_eq!(
        of(2.0 * 640.0 * 480.0 * 6.0),
        ((640, 480), 5),
        "slower than it should be, and the best there is"
    );
}

#[test]
fn a_board_without_a_camera_records_a_test_card_and_says_so() {
    let (board, text) = board(&found(Vec::new(), &[EncoderKind::OpenH264]), 1e9);
    assert_eq!(board.video.source, VideoSource::Test);
    assert!(text.contains("records a test card"), "{text}");
    // A camera without a usable format does not count.
    let (board, text) = self::board(&found(vec![camera(&[])], &[EncoderKind::OpenH264]), 1e9);
    assert_eq!(board.video.source, VideoSource::Test);
    assert!(text.contains("nothing that can be used"), "{text}");
}

#[test]
fn a_board_without_an_encoder_gets_advice_what_to_install() {
    let raw = modes(&[30]);
    for cameras in [vec![camera(&[(Some(Pixels::Yuy2), &raw)])], Vec::new()] {
        let why = board_file(&found(cameras, &[]), &mut |_, _, _| None).unwrap_err();
        assert!(why.contains("gstreamer1.0-plugins-bad") && why.contains("BR2_PACKAGE"), "{why}");
    }
}

#[test]
fn libcamera_is_named_and_the_first_microphone_is_used() {
    let camera = Camera {
        way: Way::Libcamera(String::from("/base/soc/i2c0mux/imx708@1a")),
        name: String::from("imx708"),
        offers: vec![Offer { pixels: Some(Pixels::Nv12), modes: vec![any_rate(1920, 1080)] }],
    };
    let mut found = found(vec![camera], &[EncoderKind::V4l2H264]);
    found.model = Some(String::from("Raspberry Pi Zero 2 W Rev 1.0"));
    found.microphones = vec![(String::from("hw:CARD=C920,DEV=0"), String::from("USB \"Audio\""))];
    let (board, text) = board(&found, 1.0);
    assert_eq!(board.name, "raspberry-pi-zero-2-w-rev-1-0");
    let camera = Some(String::from("/base/soc/i2c0mux/imx708@1a"));
    assert_eq!(board.video.source, VideoSource::Libcamera { camera });
    assert!(format!("{:?}", board.audio).contains("hw:CARD=C920,DEV=0"), "{text}");
}

#[test]
fn fractional_rates_stay_exact() {
    let ntsc = Mode { width: 1280, height: 720, rates: vec![FrameRate::new(30_000, 1001).unwrap()] };
    let (board, text) = board(&found(vec![camera(&[(None, &[ntsc])])], &[]), 1.0);
    assert_eq!(board.video.fps, FrameRate::new(30_000, 1001).unwrap());
    assert!(text.contains("fps = \"30000/1001\""), "{text}");
}

#[test]
fn format_codes_of_the_kernel_are_recognised() {
    assert_eq!(choose::layout(*b"H264"), Some(None));
    assert_eq!(choose::layout(*b"YUYV"), Some(Some(Pixels::Yuy2)));
    assert_eq!(choose::layout(*b"RG10"), None, "what a sensor gives before any processing");
}

/// On this machine, with its encoders.
#[test]
fn the_speed_of_an_encoder_is_measured() {
    let here = survey::encoders();
    assert!(here.contains(&EncoderKind::X264) && here.contains(&EncoderKind::OpenH264), "{here:?}");
    assert!(!here.contains(&EncoderKind::MppH264), "{here:?}");
    let speed = |size| survey::speed(EncoderKind::OpenH264, Some(Pixels::Yuy2), size).unwrap();
    let (small, large) = (speed((320, 180)), speed((1920, 1080)));
    assert!(small > large && large > 0.0, "{small} and {large} frames a second");
    assert_eq!(survey::speed(EncoderKind::MppH264, None, (320, 180)), None, "it is not there");
}
