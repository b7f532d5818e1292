//! Cameras and files that deliver a normal stream in an unusual way: it is stored as it is, or refused with the reason.

use crate::odd::by_hand::{self, Form};
use crate::odd::camera::{Behaviour, OddCamera};
use crate::odd_streams::{captured, moovs, pictures, rtsp_board, sent, stored};
use crate::support::*;
use kasacam::config::AudioSource;
use kasacam::domain::effect::StopManner;
use kasacam::domain::fragment::{Chunk, SpanEnd};
use kasacam::domain::input::{FaultKind, Input};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

#[test]
fn another_ssrc_with_each_idr_frame_is_the_same_camera() {
    let folder = folder();
    let path = folder.path().join("clip.h264");
    clip(&path, 100, 25, 0, &[]);

    let take = sent(&path, Behaviour { ssrc_by_idr: true, ..Behaviour::default() });

    assert_eq!(gops(&take.chunks), [25; 4]);
    assert_eq!(stored(folder.path(), &take.chunks), pictures(&path));
    is_a_valid_stream(&take.chunks);
}

#[test]
fn udp_is_tried_for_a_camera_that_refuses_tcp() {
    let folder = folder();
    let path = folder.path().join("clip.h264");
    clip(&path, 250, 10, 0, &[]);
    let odd = OddCamera::start(&path, Behaviour { udp_alone: true, ..Behaviour::default() });
    let mut camera = Camera::new(rtsp_board(&odd));

    camera.start(1, SILENT);
    let refused = camera.rest();
    camera.start(2, SILENT);
    let chunks = camera.fragments(3);
    camera.stop(2, StopManner::Drop, SpanEnd::Privacy);

    assert!(refused.chunks.is_empty());
    assert!(refused.message().contains("UDP"), "{}", refused.message());
    assert_eq!(gops(&chunks), [10; 3]);
    assert_eq!(stored(folder.path(), &chunks), pictures(&path)[..30]);
}

#[test]
fn nothing_else_than_tcp_is_tried_if_tcp_is_configured() {
    let folder = folder();
    let path = folder.path().join("clip.h264");
    clip(&path, 50, 10, 0, &[]);
    let odd = OddCamera::start(&path, Behaviour { udp_alone: true, ..Behaviour::default() });
    let mut camera = Camera::altered(rtsp_board(&odd), |description| description.may_use_udp = false);

    for epoch in [1, 2] {
        camera.start(epoch, SILENT);
        let refused = camera.rest();
        assert!(refused.message().contains("refuses the transport"), "{}", refused.message());
        assert!(!refused.message().contains("UDP") && refused.chunks.is_empty(), "{}", refused.message());
    }
}

#[test]
fn a_back_channel_that_is_listed_first_is_ignored() {
    let folder = folder();
    let path = folder.path().join("clip.h264");
    clip(&path, 500, 10, 0, &[]);
    let odd = OddCamera::start(&path, Behaviour { back_channel: true, ..Behaviour::default() });
    let mut board = rtsp_board(&odd);
    board.audio = Some(AudioSource::Embedded.into());
    let mut camera = Camera::new(board);

    let began = Instant::now();
    camera.start(1, WITH_AUDIO);
    let chunks = camera.fragments(2);
    let took = began.elapsed();
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);

    assert_eq!(gops(&chunks), [10; 2]);
    assert!(chunks[0].init.audio.is_none());
    assert_eq!(stored(folder.path(), &chunks), pictures(&path)[..20]);
    assert!(took < patient(Duration::from_secs(8)), "{took:?}");
    assert!(!odd.heard.load(Ordering::Acquire), "it is not even set up");
}

#[test]
fn a_camera_whose_video_is_marked_sendonly_is_recorded() {
    let folder = folder();
    let path = folder.path().join("clip.h264");
    clip(&path, 40, 10, 0, &[]);

    let take = sent(&path, Behaviour { says_it_sends: true, ..Behaviour::default() });

    assert_eq!(stored(folder.path(), &take.chunks), pictures(&path));
}

/// The byte stream of a clip without its first IDR frame: the parameter sets stay.
fn without_the_first_idr(whole: &std::path::Path, path: &std::path::Path) {
    let bytes = std::fs::read(whole).unwrap();
    let idr = bytes.windows(4).position(|it| it[..3] == [0, 0, 1] && it[3] & 0x1f == 5).unwrap();
    let next = bytes[idr..].windows(4).skip(1).position(|it| it[..3] == [0, 0, 1]).unwrap() + idr + 1;
    std::fs::write(path, [&bytes[..idr - 1], &bytes[next - 1..]].concat()).unwrap();
}

#[test]
fn recording_begins_at_a_recovery_point_if_no_idr_frame_comes() {
    let folder = folder();
    let (whole, path) = (folder.path().join("whole.h264"), folder.path().join("open.h264"));
    // Only the first frame is an IDR frame; the GOPs are open, so B-frames before an I frame need the frames before it.
    let source = ["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-frames:v", "150"];
    let x264 = "open-gop=1:bframes=2:b-adapt=0:keyint=25:min-keyint=25:scenecut=0:threads=1";
    let coding = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-x264-params", x264];
    run("ffmpeg", &[&source[..], &coding, &[whole.to_str().unwrap()]].concat());
    without_the_first_idr(&whole, &path);

    let take = sent(&path, Behaviour::default());

    // A segment is 4 s long: there another fragment begins, without the B-frames that lead it.
    assert_eq!(gops(&take.chunks).len(), 2);
    let (made, kept) = (pictures(&whole), stored(folder.path(), &take.chunks));
    // All frames from the first I frame on, and equal to those of a decoder that began at the IDR frame.
    assert!((115..130).contains(&kept.len()), "{} of {}", kept.len(), made.len());
    let from = made.iter().position(|picture| *picture == kept[0]).unwrap();
    let lost: Vec<_> = (from..made.len()).filter(|at| !kept.contains(&made[*at])).collect();
    assert!(lost.len() <= 2 && lost.windows(2).all(|pair| pair[1] == pair[0] + 1), "{lost:?}");
    assert_eq!(kept.len() + lost.len(), made.len() - from);
    is_a_valid_stream(&take.chunks);
}

#[test]
fn frames_that_all_have_the_same_time_are_refused_by_name() {
    let folder = folder();
    let path = folder.path().join("clip.h264");
    clip(&path, 100, 10, 0, &[]);

    let take = sent(&path, Behaviour { still: true, ..Behaviour::default() });

    assert_eq!(take.fault_kind(), FaultKind::Pipeline);
    assert!(take.message().contains("times"), "{}", take.message());
}

#[test]
fn output_order_of_type_1_is_stored_if_there_are_times() {
    let folder = folder();
    let path = folder.path().join("order.h264");
    std::fs::write(&path, by_hand::stream(40, 10, Form { order_type_1: true, ..Form::default() })).unwrap();

    let take = sent(&path, Behaviour::default());

    assert_eq!(gops(&take.chunks), [10; 4]);
    assert_eq!(stored(folder.path(), &take.chunks), pictures(&path));
}

#[test]
fn missing_frames_are_counted_even_if_no_span_ends() {
    let folder = folder();
    let path = folder.path().join("clip.h264");
    clip(&path, 75, 25, 0, &[]);
    let odd = OddCamera::start(&path, Behaviour { hole: Some((40, 0.2)), ..Behaviour::default() });
    let mut camera = Camera::new(rtsp_board(&odd));

    camera.start(1, SILENT);
    let chunks = camera.fragments(3);
    camera.stop(1, StopManner::Drain, SpanEnd::Shutdown);

    assert_eq!(gops(&chunks), [25; 3]);
    assert_eq!(moovs(&chunks), 1);
    let told: Vec<(u64, u64)> = camera
        .inputs
        .try_iter()
        .filter_map(|input| match input {
            Input::CaptureHoles { holes, frames } => Some((holes, frames)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(1, 5)]);
}

#[test]
fn reordered_frames_at_uneven_times_have_no_hole() {
    let folder = folder();
    let path = folder.path().join("uneven.mp4");
    // From 25 frames a second to 5, and back, with B-frames.
    let uneven = "setpts='if(lt(N,40),N,if(lt(N,60),40+(N-40)*5,140+(N-60)))/25/TB'";
    let source = ["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-frames:v", "100"];
    let coding =
        ["-vf", uneven, "-fps_mode", "vfr", "-c:v", "libx264", "-bf", "2", "-g", "20", "-pix_fmt", "yuv420p"];
    let coding = [&coding[..], &["-x264-params", "scenecut=0:b-adapt=0"]].concat();
    run("ffmpeg", &[&source[..], &coding, &[path.to_str().unwrap()]].concat());

    let take = captured(&path);

    assert_eq!(take.fault_kind(), FaultKind::EndOfStream, "{}", take.message());
    assert_eq!(frames(&take.chunks), 100);
    assert_eq!(moovs(&take.chunks), 1);
    is_a_valid_stream(&take.chunks);
    let end = |chunk: &Chunk| chunk.start.0 + chunk.duration;
    for pair in take.chunks.windows(2) {
        assert_eq!(pair[1].start.0, end(&pair[0]), "no gap, and nothing twice");
    }
    assert_eq!(stored(folder.path(), &take.chunks), pictures(&path));
    // Each frame is shown at its time, plus a constant.
    let shown = |path: &std::path::Path| {
        let mut shown = times(path, "v:0", "pts");
        shown.sort_by(f64::total_cmp);
        let first = shown[0];
        shown.into_iter().map(|time| time - first).collect::<Vec<f64>>()
    };
    let (made, kept) = (shown(&path), shown(&write(folder.path(), &take.chunks)));
    assert_eq!(made.len(), kept.len());
    for (made, kept) in made.iter().zip(&kept) {
        assert!((made - kept).abs() < 0.001, "{made} became {kept}");
    }
}

#[test]
fn an_mp4_that_is_encrypted_or_has_another_codec_is_refused_by_name() {
    let folder = folder();
    let (plain, encrypted) = (folder.path().join("plain.mp4"), folder.path().join("encrypted.mp4"));
    clip(&plain, 30, 10, 0, &["audio"]);
    let key = "76a6c65c5ea762046bd749a2e632ccbb";
    let scheme = ["-encryption_scheme", "cenc-aes-ctr", "-encryption_key", key, "-encryption_kid", key];
    let (from, to) = (plain.to_str().unwrap(), encrypted.to_str().unwrap());
    run("ffmpeg", &[&["-v", "error", "-i", from, "-c", "copy"], &scheme[..], &[to]].concat());
    let other = folder.path().join("other.mp4");
    let source = ["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25:duration=1"];
    run("ffmpeg", &[&source[..], &["-c:v", "mpeg4", other.to_str().unwrap()]].concat());
    let cut = folder.path().join("cut.mp4");
    let bytes = std::fs::read(&plain).unwrap();
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();

    for (path, reason) in [(&encrypted, "encrypted"), (&other, "but mp4v"), (&cut, "cut.mp4")] {
        let take = captured(path);
        assert_eq!(take.fault_kind(), FaultKind::Pipeline);
        assert!(take.message().contains(reason), "{}", take.message());
        assert!(take.chunks.is_empty());
    }
}

#[test]
fn the_rotation_of_frames_is_kept() {
    let folder = folder();
    let plain = folder.path().join("plain.mp4");
    clip(&plain, 20, 10, 0, &[]);
    for degrees in ["90", "180", "270"] {
        let turned = folder.path().join("turned.mp4");
        let (from, to) = (plain.to_str().unwrap(), turned.to_str().unwrap());
        let rotate = format!("rotate={degrees}");
        run("ffmpeg", &["-v", "error", "-y", "-i", from, "-c", "copy", "-metadata:s:v:0", &rotate, to]);
        let told = |path: &std::path::Path| {
            let what =
                ["-v", "error", "-select_streams", "v:0", "-show_entries", "stream_side_data=rotation"];
            let text = run("ffprobe", &[&what[..], &["-of", "csv=p=0", path.to_str().unwrap()]].concat());
            String::from_utf8(text).unwrap().trim().to_owned()
        };

        let take = captured(&turned);

        let kept = told(&write(folder.path(), &take.chunks));
        assert!(!kept.is_empty(), "it tells a rotation");
        assert_eq!(kept, told(&turned), "{degrees} degrees");
    }
}
