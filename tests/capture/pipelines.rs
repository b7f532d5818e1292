//! Pipelines from a board file: recorded, closed, and refused if invalid.

use crate::support::*;
use kasacam::capture::probe;
use kasacam::config::{Board, EncoderKind, Property, VideoFormat, VideoSource};
use kasacam::domain::effect::{CaptureSettings, StopManner};
use kasacam::domain::fragment::SpanEnd;
use kasacam::domain::input::FaultKind;
use std::path::Path;

const H264: &str = "videotestsrc is-live=true
    ! video/x-raw,width=320,height=180,framerate=20/1
    ! x264enc tune=zerolatency key-int-max=10 ! h264parse";

fn board(description: &str, encoder: Option<EncoderKind>) -> Board {
    let mut board = test_board();
    board.video.source = VideoSource::Pipeline { description: description.to_owned() };
    board.video.format = if encoder.is_some() { VideoFormat::Raw } else { VideoFormat::H264 };
    board.video.encoder = encoder.map(Into::into);
    board
}

#[test]
fn a_pipeline_of_h264_is_recorded() {
    let folder = folder();
    let board = board(H264, None);
    assert_eq!(probe(&board), [], "nothing is wrong with it");
    let mut camera = Camera::new(board);

    camera.start(1, WITH_AUDIO);
    let chunks = camera.fragments(3);
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);

    is_a_valid_stream(&chunks);
    assert_eq!((chunks[0].init.width, chunks[0].init.height), (320, 180));
    assert!(chunks[0].init.audio.is_some(), "audio is the board's own");
    assert_eq!(decoded(&write(folder.path(), &chunks)), frames(&chunks) as usize);
    let take = camera.rest();
    assert_eq!((take.end, take.fault), (SpanEnd::Privacy, None));
}

#[test]
fn a_pipeline_of_raw_frames_is_scaled_to_the_plan_and_encoded() {
    let folder = folder();
    let board = board("videotestsrc is-live=true pattern=ball", Some(EncoderKind::OpenH264));
    assert_eq!(probe(&board), [], "nothing is wrong with it");
    let mut camera = Camera::new(board);

    camera.start(1, CaptureSettings { audio: false, max_height: 120 });
    let chunks = camera.fragments(3);
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);

    is_a_valid_stream(&chunks);
    assert_eq!((chunks[0].init.width, chunks[0].init.height), (212, 120));
    assert_eq!(decoded(&write(folder.path(), &chunks)), frames(&chunks) as usize);
    camera.rest();
}

/// Files that this process holds open.
fn holds_open(path: &Path) -> bool {
    let open = std::fs::read_dir("/proc/self/fd").unwrap();
    open.flatten().any(|entry| std::fs::read_link(entry.path()).is_ok_and(|target| target == path))
}

#[test]
fn closing_closes_all_that_the_pipeline_opened() {
    let folder = folder();
    let path = folder.path().canonicalize().unwrap().join("device.mkv");
    clip(&path, 750, 25, 0, &[]);
    let description =
        format!("filesrc location={} ! matroskademux ! queue ! h264parse ! clocksync", path.display());
    for manner in [StopManner::Drop, StopManner::Drain] {
        let mut camera = Camera::new(board(&description, None));
        camera.start(1, SILENT);
        camera.fragments(1);
        assert!(holds_open(&path), "the device is open while it films");

        camera.stop(1, manner, SpanEnd::Privacy);
        let take = camera.rest();

        assert_eq!((take.end, take.fault), (SpanEnd::Privacy, None));
        assert!(!holds_open(&path), "{manner:?}: closed is closed, all of it");
    }
}

#[test]
fn problems_of_a_pipeline_are_reported_by_check_and_by_the_run() {
    for (description, kind, told) in [
        ("nosuchcamsrc ! h264parse", FaultKind::ElementMissing, "nosuchcamsrc"),
        ("libcamerasrc ! x264enc", FaultKind::ElementMissing, "BR2_PACKAGE_LIBCAMERA"),
        ("videotestsrc ! ! x264enc", FaultKind::Pipeline, "written as for gst-launch-1.0"),
        ("videotestsrc bogus=1 ! x264enc", FaultKind::Pipeline, "bogus"),
        ("x264enc", FaultKind::Pipeline, "a source is missing"),
        ("videotestsrc ! tee name=t ! x264enc t. ! queue", FaultKind::Pipeline, "2 open ends"),
        (
            "videotestsrc ! x264enc ! tee name=t ! queue t. ! filesink location=/tmp/x",
            FaultKind::Pipeline,
            "the sink filesink",
        ),
        ("videotestsrc ! x264enc ! fakesink", FaultKind::Pipeline, "the sink fakesink"),
        ("videotestsrc name=test-source ! x264enc", FaultKind::Pipeline, "which the agent needs"),
        ("audiotestsrc", FaultKind::Pipeline, "does not give what"),
    ] {
        let board = board(description, None);
        let problems = probe(&board);
        assert_eq!(problems.len(), 1, "{description}: {problems:?}");
        assert!(problems[0].problem.contains(told), "{description}: {problems:?}");
        let mut camera = Camera::new(board);

        camera.start(1, SILENT);
        let take = camera.rest();

        assert_eq!(take.fault_kind(), kind, "{description}: {}", take.message());
        assert!(take.message().contains(told), "{description}: {}", take.message());
    }
}

#[test]
fn the_text_of_a_pipeline_is_in_no_message() {
    for description in [
        "rtspsrc location=rtsp://me:hunter2@192.0.2.7/ latency=hunter2 ! rtph264depay",
        "videotestsrc ! hunter2=( ! x264enc",
    ] {
        let board = board(description, None);
        let problems = probe(&board);
        assert!(!problems.is_empty(), "{description}");
        let mut camera = Camera::new(board.clone());
        camera.start(1, SILENT);
        for told in [format!("{problems:?}"), camera.rest().message().to_owned(), format!("{board:?}")] {
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}

#[test]
fn each_property_is_checked_with_the_installed_element() {
    for (name, value, told) in [
        ("key-int-max", "12", None),
        ("speed-preset", "fast", None),
        ("speed-preset", "6", None),
        ("cabac", "false", None),
        ("option-string", "scenecut=0", None),
        ("bogus", "1", Some("does not exist")),
        ("key-int-max", "many", Some("a number from 0 to 2147483647")),
        ("key-int-max", "-1", Some("a number from 0 to 2147483647")),
        ("bframes", "17", Some("a number from 0 to 16")),
        ("speed-preset", "warp", Some("one of None, ultrafast")),
        ("speed-preset", "77", Some("one of None, ultrafast")),
        ("cabac", "7", Some("true or false")),
    ] {
        let mut board = test_board();
        let property = Property { name: name.to_owned(), value: value.to_owned() };
        board.video.encoder.as_mut().unwrap().properties = vec![property];
        let problems = probe(&board);
        match told {
            None => assert_eq!(problems, [], "{name} = {value}"),
            Some(told) => {
                let of_it = format!("video.encoder.properties.{name}");
                let problem = problems.iter().find(|problem| problem.key == of_it);
                let problem = problem.unwrap_or_else(|| panic!("{name} = {value}: {problems:?}"));
                assert!(problem.problem.contains(told), "{name} = {value}: {problem}");
            }
        }
    }
    let mut board = board("videotestsrc", Some(EncoderKind::X264));
    board.video.source = VideoSource::V4l2 { device: "/dev/null".into() };
    board.video.source_properties =
        vec![Property { name: String::from("device-fd"), value: String::from("3") }];
    let problems = probe(&board);
    assert!(problems.iter().any(|problem| problem.problem.contains("can be read only")), "{problems:?}");
}

#[test]
fn properties_reach_the_element() {
    let mut board = test_board();
    let told = Property { name: String::from("key-int-max"), value: String::from("5") };
    board.video.encoder.as_mut().unwrap().properties = vec![told];
    let mut camera = Camera::new(board);

    camera.start(1, SILENT);
    let chunks = camera.fragments(4);
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);

    assert!(gops(&chunks).iter().all(|frames| *frames == 5), "{:?}", gops(&chunks));
    camera.rest();
}
