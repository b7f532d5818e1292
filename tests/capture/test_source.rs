//! The test source: frames with a number and a time, and ticking audio.

use crate::support::*;
use kasacam::config::EncoderKind;
use kasacam::domain::effect::{CaptureSettings, StopManner};
use kasacam::domain::fragment::{Epoch, SpanEnd};
use kasacam::system::clock::mono;
use std::sync::Arc;

#[test]
fn every_fragment_is_one_gop_and_the_next_fragment_ends_it_at_once() {
    let folder = folder();
    let mut camera = Camera::new(test_board());
    let before = mono();

    camera.start(1, SILENT);
    assert_eq!(camera.started(), Epoch(1));
    let chunks = camera.fragments(4);
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);

    assert_eq!(gops(&chunks), [10, 10, 10, 10]);
    is_a_valid_stream(&chunks);
    assert!(chunks.len() >= 8, "a fragment of 500 ms comes in chunks of 200 ms: {}", chunks.len());
    assert!(chunks.iter().all(|chunk| Arc::ptr_eq(&chunk.init, &chunks[0].init)), "one moov");
    assert!(chunks[0].start > before && chunks[0].start < mono(), "start is CLOCK_MONOTONIC");
    assert_eq!(chunks[0].init.height, 180);
    assert!(chunks[0].init.audio.is_none(), "{}", chunks[0].init.codecs);
    assert_eq!(decoded(&write(folder.path(), &chunks)), 40);
}

#[test]
fn openh264_makes_the_same_fragments() {
    let mut board = test_board();
    board.video.encoder = Some(EncoderKind::OpenH264.into());
    let mut camera = Camera::new(board);

    camera.start(1, SILENT);
    let chunks = camera.fragments(3);
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);

    assert_eq!(gops(&chunks), [10, 10, 10]);
    is_a_valid_stream(&chunks);
}

#[test]
fn the_frame_is_scaled_to_the_plan() {
    let mut camera = Camera::new(test_board());

    camera.start(1, CaptureSettings { audio: false, max_height: 121 });
    let chunk = camera.chunk();
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);

    assert_eq!((chunk.init.width, chunk.init.height), (212, 120));
}

#[test]
fn audio_is_in_the_same_fragments_and_in_time_with_the_video() {
    let folder = folder();
    let mut camera = Camera::new(test_board());

    camera.start(1, WITH_AUDIO);
    let chunks = camera.fragments(5);
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);

    assert_eq!(gops(&chunks), [10; 5]);
    is_a_valid_stream(&chunks);
    assert!(chunks[0].init.codecs.contains("mp4a.40.2"), "{}", chunks[0].init.codecs);
    let path = write(folder.path(), &chunks);
    assert_eq!(decoded(&path), 50);
    let (video, audio) = (times(&path, "v:0", "pts"), times(&path, "a:0", "pts"));
    assert!((video[0] - audio[0]).abs() < 0.1, "they begin together: {} {}", video[0], audio[0]);
    let (video_end, audio_end) = (video[video.len() - 1], audio[audio.len() - 1]);
    assert!((video_end - audio_end).abs() < 0.15, "and end together: {video_end} {audio_end}");
    for pair in audio.windows(2) {
        assert!((pair[1] - pair[0] - 1024.0 / 48_000.0).abs() < 0.005, "no audio is missing at {}", pair[0]);
    }
}

#[test]
fn a_second_run_is_independent() {
    let mut camera = Camera::new(test_board());

    camera.start(1, SILENT);
    let first = camera.chunk();
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);
    camera.start(2, SILENT);
    let take = camera.rest();
    let second = camera.chunk();
    camera.stop(2, StopManner::Drop, SpanEnd::Privacy);

    assert_eq!(first.epoch, Epoch(1));
    assert!(take.chunks.iter().all(|chunk| chunk.epoch == Epoch(1)));
    assert_eq!(second.epoch, Epoch(2));
    assert!(second.starts_fragment);
    assert!(!Arc::ptr_eq(&first.init, &second.init));
}
