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

/// A source that encodes gives one size for each address: of two entries with one address, one is untrue.
#[test]
fn an_encoded_stream_is_named_once() {
    const SIZE: &str = "width = 1280\nheight = 720\n";
    let main = "source = { kind = \"rtsp\", url = \"rtsp://192.0.2.7/main\" }\n";
    let sub = "url = \"rtsp://192.0.2.7/sub\"\n";
    let again = "source = { kind = \"rtsp\", url = \"rtsp://192.0.2.7/sub\", transport = \"udp\" }\n";
    let film = "source = { kind = \"file\", path = \"/a.mp4\" }\n";
    let looped = "source = { kind = \"file\", path = \"/a.mp4\", loop = true }\n";
    let bars = "source = { kind = \"pipeline\", description = \"videotestsrc\" }\n";
    let mut looked_at = 0;
    for codec in ["h264", "h265"] {
        let encoded = format!("{bars}format = \"{codec}\"\n");
        for (profiles, number, first) in [
            (&[""][..], 0, "[video]"),
            (&[main], 0, "[video]"),
            (&[sub, main], 1, "[video]"),
            (&[sub, sub], 1, "video.profile.0"),
            (&[sub, film, again], 2, "video.profile.0"),
            (&[film, looped], 1, "video.profile.0"),
            (&[&encoded, sub, &encoded], 2, "video.profile.0"),
        ] {
            let tables = profiles.iter().map(|profile| {
                let codec = if profile.contains("source") && !profile.contains("format") {
                    format!("format = \"{codec}\"\n")
                } else {
                    String::new()
                };
                format!("[[video.profile]]\n{profile}{codec}{SIZE}")
            });
            let text = with(&format!("codec = \"{codec}\"\n{}", tables.collect::<String>()));
            let problems = load(&text).map(|_| ()).expect_err(&text);
            let found: Vec<_> = problems.iter().map(|it| (it.key.clone(), it.problem.clone())).collect();
            let [(key, problem)] = &found[..] else { panic!("{text}: {problems}") };
            assert_eq!(*key, format!("video.profile.{number}"), "{text}: {problems}");
            assert!(problem.starts_with(&format!("has the source of {first},")), "{text}: {problems}");
            looked_at += 1;
        }
    }
    assert_eq!(looked_at, 14);
}

/// The same source as before, but something gives its frames another size.
#[test]
fn a_source_is_named_again_where_something_changes_the_size() {
    let camera = |format: &str| {
        format!(
            "source = {{ kind = \"v4l2\", device = \"/dev/video1\" }}\nformat = \"{format}\"\nwidth = 640\n"
        )
    };
    for (codec, profiles) in [
        ("h264", vec![camera("h264") + "height = 480\n", camera("h264") + "height = 360\n"]),
        ("h265", vec![camera("h265") + "height = 480\n", camera("h265") + "height = 360\n"]),
        (
            "h264",
            [480, 360]
                .map(|lines| format!("encoder = {{ kind = \"x264\" }}\nwidth = 640\nheight = {lines}\n"))
                .to_vec(),
        ),
    ] {
        let tables: String = profiles.iter().map(|profile| format!("[[video.profile]]\n{profile}")).collect();
        let text = with(&format!("codec = \"{codec}\"\n{tables}"));
        let board = load(&text).unwrap_or_else(|problems| panic!("{text}: {problems}"));
        assert_eq!(board.video.profiles.len(), 2, "{text}");
    }
}

#[test]
fn the_number_of_profiles_is_bounded() {
    let some = |number: usize| -> String {
        let one = |sub: usize| {
            format!("[[video.profile]]\nurl = \"rtsp://192.0.2.7/sub{sub}\"\nwidth = 1280\nheight = 720\n")
        };
        (0..number).map(one).collect()
    };
    assert_eq!(load(&with(&some(8))).unwrap().video.profiles.len(), 8);
    assert!(load(&with(&some(9))).unwrap_err().to_string().contains("contains 9 tables"));
    assert!(load(&with("profile = 7")).unwrap_err().to_string().contains("must be tables"));
}

#[test]
fn an_encoder_beside_h264_is_for_plans_that_allow_less() {
    let board = load(&with("encoder = { kind = \"openh264\" }")).unwrap();
    assert_eq!(board.video.format, VideoFormat::H264);
    assert!(board.video.encoder.is_some());
}
