//! Which stream is recorded under a plan: a table.

use kasacam::capture::profile::{Sizing, choose, least_lines};
use kasacam::config::{Board, Encoder, EncoderKind, Transport, Video, VideoFormat, VideoSource};
use std::path::PathBuf;

fn rtsp(name: &str) -> VideoSource {
    VideoSource::Rtsp {
        url: format!("rtsp://192.0.2.7/{name}"),
        transport: Transport::Auto,
        access: kasacam::config::RtspAccess::default(),
    }
}

fn video(source: VideoSource, lines: u32) -> Video {
    Video {
        source,
        format: VideoFormat::H264,
        encoder: None,
        width: lines * 16 / 9,
        height: lines,
        fps: 15.into(),
        bitrate: 1_000_000,
        profiles: Vec::new(),
        colorimetry: None,
        pixels: None,
        source_properties: Vec::new(),
    }
}

fn encoded(video: Video) -> Video {
    Video { encoder: Some(Encoder { kind: EncoderKind::X264, properties: vec![] }), ..video }
}

fn raw(lines: u32) -> Video {
    let camera = VideoSource::V4l2 { device: PathBuf::from("/dev/video0") };
    Video { format: VideoFormat::Raw, ..encoded(video(camera, lines)) }
}

fn board(main: Video, profiles: &[Video]) -> Board {
    Board { name: "b".into(), video: Video { profiles: profiles.to_vec(), ..main }, audio: None }
}

#[test]
fn board_and_plan_decide_the_stream() {
    let main = || video(rtsp("main"), 1440);
    let sub = || video(rtsp("sub"), 720);
    let least = || video(rtsp("least"), 360);
    let device = || video(VideoSource::V4l2 { device: PathBuf::from("/dev/video0") }, 1440);
    let nothing: &[(usize, u32)] = &[];
    use Sizing::{AsIs, Reencoded, Requested, TooLarge};
    for (what, board, plan, learnt, expected) in [
        ("the plan allows all", board(main(), &[sub()]), 2160, nothing, (0, 1440, AsIs)),
        ("a substream", board(main(), &[sub(), least()]), 720, nothing, (1, 720, AsIs)),
        ("in whatever order", board(main(), &[least(), sub()]), 1080, nothing, (2, 720, AsIs)),
        ("the smaller one", board(main(), &[sub(), least()]), 719, nothing, (2, 360, AsIs)),
        ("a substream spares a decoder", board(encoded(main()), &[least()]), 720, nothing, (1, 360, AsIs)),
        ("encoded again", board(encoded(main()), &[]), 720, nothing, (0, 720, Reencoded)),
        ("not where it need not be", board(encoded(main()), &[]), 1440, nothing, (0, 1440, AsIs)),
        (
            "by a profile",
            board(main(), &[encoded(video(rtsp("main"), 360))]),
            720,
            nothing,
            (1, 360, Reencoded),
        ),
        (
            "smaller than that",
            board(main(), &[encoded(video(rtsp("main"), 720))]),
            480,
            nothing,
            (1, 480, Reencoded),
        ),
        ("the smallest, again", board(main(), &[encoded(sub())]), 480, nothing, (1, 480, Reencoded)),
        ("none", board(main(), &[sub()]), 480, nothing, (1, 720, TooLarge)),
        ("none at all", board(main(), &[]), 720, nothing, (0, 1440, TooLarge)),
        ("a mode of the device", board(device(), &[]), 720, nothing, (0, 720, Requested)),
        ("which it has not", board(device(), &[]), 720, &[(0, 721)], (0, 721, TooLarge)),
        (
            "a mode that the board names",
            board(device(), &[video(device().source, 480)]),
            720,
            nothing,
            (1, 480, AsIs),
        ),
        ("raw is scaled", board(raw(1440), &[]), 720, nothing, (0, 720, AsIs)),
        ("raw, in a mode of its own", board(raw(1440), &[raw(720)]), 720, nothing, (1, 720, AsIs)),
        ("raw, from the larger mode", board(raw(1440), &[raw(480)]), 720, nothing, (0, 720, AsIs)),
        ("less than the board says", board(main(), &[least()]), 720, &[(0, 720)], (0, 720, AsIs)),
        ("more than the board says", board(encoded(sub()), &[]), 720, &[(0, 1080)], (0, 720, Reencoded)),
        ("another one then", board(main(), &[sub(), least()]), 720, &[(1, 1080)], (2, 360, AsIs)),
    ] {
        let learnt =
            |profile: usize| learnt.iter().find(|(known, _)| *known == profile).map(|(_, lines)| *lines);
        let choice = choose(&board, plan, learnt);
        assert_eq!((choice.profile, choice.size.1, choice.sizing), expected, "{what}");
    }
}

#[test]
fn the_choice_fits_the_plan_if_any_stream_does() {
    let boards = [
        board(encoded(video(rtsp("main"), 1440)), &[video(rtsp("sub"), 720)]),
        board(video(rtsp("main"), 1440), &[encoded(video(rtsp("main"), 720))]),
        board(raw(1080), &[]),
    ];
    for board in boards {
        assert_eq!(least_lines(&board), None);
        for plan in 2..2161 {
            let choice = choose(&board, plan, |_| None);
            let (width, lines) = choice.size;
            assert!(lines <= plan && lines >= 2 && width % 2 == 0 && lines % 2 == 0, "{plan}: {choice:?}");
            assert!(choice.sizing != Sizing::TooLarge, "{plan}");
        }
    }
}

#[test]
fn the_fewest_lines_of_a_plan_are_known_in_advance() {
    assert_eq!(least_lines(&board(video(rtsp("main"), 1440), &[])), Some(1440));
    assert_eq!(least_lines(&board(video(rtsp("main"), 1440), &[video(rtsp("sub"), 720)])), Some(720));
    assert_eq!(least_lines(&board(encoded(video(rtsp("main"), 1440)), &[])), None);
}
