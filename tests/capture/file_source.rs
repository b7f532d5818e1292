//! MP4 and Matroska files: stored as they are.

use crate::support::*;
use kasacam::domain::effect::StopManner;
use kasacam::domain::fragment::SpanEnd;
use kasacam::domain::input::FaultKind;
use std::time::Duration;

/// 70 frames, GOPs of 17: the last one is cut short.
const ODD: (u32, u32) = (70, 17);

#[test]
fn an_mp4_with_b_frames_and_an_odd_gop_is_stored_bit_by_bit() {
    let folder = folder();
    let path = folder.path().join("clip.mp4");
    clip(&path, ODD.0, ODD.1, 3, &["audio"]);
    let mut camera = Camera::new(file_board(&path, false, false));

    camera.start(1, WITH_AUDIO);
    let take = camera.rest();

    assert_eq!(take.fault_kind(), FaultKind::EndOfStream, "{}", take.message());
    assert_eq!(take.end, SpanEnd::Source);
    assert_eq!(gops(&take.chunks), [17, 17, 17, 17, 2]);
    is_a_valid_stream(&take.chunks);
    let stored = write(folder.path(), &take.chunks);
    assert_eq!(slices(&stored), slices(&path), "no slice is missing, altered or out of order");
    assert_eq!(decoded(&stored), 70);
    has_the_same_times(&stored, &path);
    let (sent, heard) = (times(&path, "a:0", "pts").len(), times(&stored, "a:0", "pts").len());
    // The priming of the encoder lies before the first frame, and is left out.
    assert!(heard <= sent && heard + 3 >= sent, "{heard} of {sent} access units of audio");
}

#[test]
fn a_matroska_file_keeps_its_b_frames() {
    let folder = folder();
    let path = folder.path().join("clip.mkv");
    clip(&path, ODD.0, ODD.1, 2, &[]);
    let mut camera = Camera::new(file_board(&path, false, false));

    camera.start(1, SILENT);
    let take = camera.rest();

    assert_eq!(take.fault_kind(), FaultKind::EndOfStream, "{}", take.message());
    assert_eq!(gops(&take.chunks), [17, 17, 17, 17, 2]);
    let stored = write(folder.path(), &take.chunks);
    assert_eq!(slices(&stored), slices(&path));
    has_the_same_times(&stored, &path);
}

#[test]
fn a_file_without_b_frames_comes_in_chunks() {
    let folder = folder();
    let path = folder.path().join("clip.mp4");
    clip(&path, 60, 25, 0, &[]);
    let mut camera = Camera::new(file_board(&path, false, false));

    camera.start(1, SILENT);
    let take = camera.rest();

    assert_eq!(gops(&take.chunks), [25, 25, 10]);
    assert!(take.chunks.len() >= 10, "{}", take.chunks.len());
    is_a_valid_stream(&take.chunks);
    assert_eq!(slices(&write(folder.path(), &take.chunks)), slices(&path));
}

#[test]
fn a_gop_longer_than_a_segment_stays_one_fragment() {
    let folder = folder();
    let path = folder.path().join("clip.mp4");
    clip(&path, 250, 200, 0, &[]);
    let mut camera = Camera::new(file_board(&path, false, false));

    camera.start(1, SILENT);
    let take = camera.rest();

    assert_eq!(gops(&take.chunks), [200, 50]);
    is_a_valid_stream(&take.chunks);
}

#[test]
fn repeating_loses_and_doubles_no_frame() {
    let folder = folder();
    let path = folder.path().join("clip.mp4");
    clip(&path, 40, 15, 3, &["audio"]);
    let once = slices(&path);
    let mut camera = Camera::new(file_board(&path, false, true));

    camera.start(1, WITH_AUDIO);
    let chunks = camera.fragments(11);
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);
    camera.rest();

    assert_eq!(gops(&chunks)[..6], [15, 15, 10, 15, 15, 10]);
    let stored = write(folder.path(), &chunks);
    let stored_slices = slices(&stored);
    for (index, slice) in stored_slices.iter().enumerate() {
        assert_eq!(slice, &once[index % once.len()], "frame {index}");
    }
    let mut shown = times(&stored, "v:0", "pts");
    shown.sort_by(f64::total_cmp);
    for pair in shown.windows(2) {
        // The audio may be a little longer than the video; a round has the length of the longer one.
        assert!((0.035..0.08).contains(&(pair[1] - pair[0])), "time goes on evenly at {}", pair[0]);
    }
}

#[test]
fn realtime_follows_the_clock() {
    let folder = folder();
    let path = folder.path().join("clip.mp4");
    clip(&path, 50, 10, 2, &["audio"]);
    let mut camera = Camera::new(file_board(&path, true, false));
    let started = std::time::Instant::now();

    camera.start(1, WITH_AUDIO);
    let take = camera.rest();

    let took = started.elapsed();
    assert!(took > Duration::from_millis(1800), "two seconds of frames came in {took:?}");
    assert_eq!(take.fault_kind(), FaultKind::EndOfStream, "{}", take.message());
    assert_eq!(frames(&take.chunks), 50);
    assert_eq!(slices(&write(folder.path(), &take.chunks)), slices(&path));
}

#[test]
fn a_file_without_audio_is_recorded_if_audio_is_wanted() {
    let folder = folder();
    let path = folder.path().join("clip.mp4");
    clip(&path, 30, 10, 0, &[]);
    let mut camera = Camera::new(file_board(&path, false, false));

    camera.start(1, WITH_AUDIO);
    let take = camera.rest();

    assert_eq!(frames(&take.chunks), 30);
    assert!(take.chunks[0].init.audio.is_none());
}

#[test]
fn audio_that_is_not_wanted_is_not_in_the_file() {
    let folder = folder();
    let path = folder.path().join("clip.mp4");
    clip(&path, 30, 10, 0, &["audio"]);
    let mut camera = Camera::new(file_board(&path, false, false));

    camera.start(1, SILENT);
    let take = camera.rest();

    assert_eq!(frames(&take.chunks), 30);
    assert_eq!(take.chunks[0].init.audio, None);
}

/// Frames are shown at the same distances, and decode times only grow.
fn has_the_same_times(stored: &std::path::Path, original: &std::path::Path) {
    let relative = |path: &std::path::Path| {
        let shown = times(path, "v:0", "pts");
        let first = shown.iter().copied().fold(f64::INFINITY, f64::min);
        shown.iter().map(|time| time - first).collect::<Vec<_>>()
    };
    let (stored_times, original_times) = (relative(stored), relative(original));
    assert_eq!(stored_times.len(), original_times.len());
    for (index, (stored, original)) in stored_times.iter().zip(&original_times).enumerate() {
        assert!((stored - original).abs() < 0.002, "frame {index} is shown at {stored}, not at {original}");
    }
    let decode = times(stored, "v:0", "dts");
    assert!(decode.windows(2).all(|pair| pair[1] > pair[0]), "{decode:?}");
}
