//! `[[video.profile]]` of a board file.

use kasacam::config::{self, Board, EncoderKind, Problems, VideoFormat, VideoSource};
use std::path::Path;

const BRIDGE: &str = r#"
name = "bridge"
[video]
source = { kind = "rtsp", url = "rtsp://192.0.2.7/main", transport = "tcp" }
width = 2560
height = 1440
fps = 15
bitrate = "4 Mbit/s"
"#;

fn load(text: &str) -> Result<Board, Problems> {
    config::board_of(text, Path::new("board.toml"))
}

fn with(profile: &str) -> String {
    format!("{BRIDGE}\n{profile}")
}

#[test]
fn a_profile_has_the_keys_that_differ_from_video() {
    let board = load(&with(
        "[[video.profile]]\nurl = \"rtsp://192.0.2.7/sub\"\nwidth = 1280\nheight = 720\nbitrate = \"1 Mbit/s\"\n\
         [[video.profile]]\nencoder = { kind = \"x264\" }\nwidth = 640\nheight = 360\nfps = 10\n\
         [[video.profile]]\nsource = { kind = \"test\" }\nencoder = { kind = \"x264\" }\nwidth = 320\nheight = 180\n",
    ))
    .unwrap_or_else(|problems| panic!("{problems}"));

    let [sub, again, other] = &board.video.profiles[..] else { panic!("{:?}", board.video.profiles) };
    let VideoSource::Rtsp { url, transport, .. } = &sub.source else { panic!("{sub:?}") };
    assert_eq!((url.as_str(), *transport), ("rtsp://192.0.2.7/sub", config::Transport::Tcp));
    assert_eq!((sub.width, sub.height, sub.fps, sub.bitrate), (1280, 720, 15.into(), 1_000_000));
    assert_eq!(again.source, board.video.source);
    assert_eq!((again.height, again.fps, again.bitrate), (360, 10.into(), 4_000_000));
    assert_eq!(again.encoder.as_ref().map(|encoder| encoder.kind), Some(EncoderKind::X264));
    assert_eq!((other.source.clone(), other.format), (VideoSource::Test, VideoFormat::Raw));
    assert_eq!(board.video.encoder, None);
}

#[test]
fn problems_of_a_profile_are_reported_at_their_place_and_once() {
    for (profile, key, problem) in [
        (
            "url = \"http://192.0.2.7/sub\"\nwidth = 1280\nheight = 720",
            "video.profile.0.source.url",
            "must begin with",
        ),
        ("width = 1280\nheight = 720", "video.profile.0", "has the source of [video]"),
        (
            "url = \"rtsp://192.0.2.7/sub\"\nformat = \"h265\"\nwidth = 1280\nheight = 720",
            "video.profile.0",
            "records H.265, and [video] H.264",
        ),
        ("url = \"rtsp://192.0.2.7/sub\"\nwidth = 1281\nheight = 720", "video.profile.0.width", "is odd"),
        ("url = \"rtsp://192.0.2.7/sub\"\nwidth = 1280", "video.profile.0.height", "is missing"),
        (
            "url = \"rtsp://192.0.2.7/sub\"\nwidth = 1280\nheight = 720\nheigth = 1",
            "video.profile.0.heigth",
            "unknown key",
        ),
        (
            "source = { kind = \"v4l2\", device = \"/dev/video1\" }\nwidth = 1280\nheight = 720",
            "video.profile.0.format",
            "is missing",
        ),
        (
            "source = { kind = \"test\" }\nurl = \"rtsp://192.0.2.7/sub\"\nencoder = { kind = \"x264\" }\nwidth = 1280\nheight = 720",
            "video.profile.0.url",
            "is not used: the profile names another source",
        ),
    ] {
        let problems = load(&with(&format!("[[video.profile]]\n{profile}"))).expect_err(profile);
        let found: Vec<_> =
            problems.iter().map(|it| (it.key.as_str(), it.problem.as_str(), it.line)).collect();
        let [(told, why, line)] = found[..] else { panic!("{profile}: {problems}") };
        assert!(told == key && why.contains(problem) && line >= 10, "{profile}: {problems}");
    }
}

#[test]
fn the_number_of_profiles_is_bounded() {
    let one = "[[video.profile]]\nurl = \"rtsp://192.0.2.7/sub\"\nwidth = 1280\nheight = 720\n";
    assert_eq!(load(&with(&one.repeat(8))).unwrap().video.profiles.len(), 8);
    assert!(load(&with(&one.repeat(9))).unwrap_err().to_string().contains("contains 9 tables"));
    assert!(load(&with("profile = 7")).unwrap_err().to_string().contains("must be tables"));
}

#[test]
fn an_encoder_beside_h264_is_for_plans_that_allow_less() {
    let board = load(&with("encoder = { kind = \"openh264\" }")).unwrap();
    assert_eq!(board.video.format, VideoFormat::H264);
    assert!(board.video.encoder.is_some());
}
