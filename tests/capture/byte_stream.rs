//! Bare H.264, which has no times.

use crate::support::*;
use kasacam::capture::annexb::StreamReader;
use kasacam::domain::effect::StopManner;
use kasacam::domain::fragment::SpanEnd;
use kasacam::domain::input::FaultKind;

#[test]
fn a_byte_stream_with_b_frames_is_stored_bit_by_bit_and_gets_times() {
    let folder = folder();
    let path = folder.path().join("clip.h264");
    clip(&path, 70, 17, 3, &[]);
    let mut camera = Camera::new(file_board(&path, false, false));

    camera.start(1, WITH_AUDIO);
    let take = camera.rest();

    assert_eq!(take.fault_kind(), FaultKind::EndOfStream, "{}", take.message());
    assert_eq!(gops(&take.chunks), [17, 17, 17, 17, 2]);
    is_a_valid_stream(&take.chunks);
    let stored = write(folder.path(), &take.chunks);
    assert_eq!(slices(&stored), slices(&path));
    assert_eq!(decoded(&stored), 70);
    let mut shown = times(&stored, "v:0", "pts");
    assert!(shown.windows(2).any(|pair| pair[1] < pair[0]), "B-frames are reordered");
    shown.sort_by(f64::total_cmp);
    assert!(shown.windows(2).all(|pair| (pair[1] - pair[0] - 0.04).abs() < 0.002), "{shown:?}");
}

#[test]
fn a_repeated_byte_stream_is_continuous() {
    let folder = folder();
    let path = folder.path().join("clip.h264");
    clip(&path, 30, 10, 2, &[]);
    let once = slices(&path);
    let mut camera = Camera::new(file_board(&path, false, true));

    camera.start(1, SILENT);
    let chunks = camera.fragments(9);
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);

    is_a_valid_stream(&chunks);
    let stored = slices(&write(folder.path(), &chunks));
    assert_eq!(stored.len(), 90);
    assert!(stored.iter().enumerate().all(|(index, slice)| *slice == once[index % 30]));
}

#[test]
fn other_files_than_h264_are_refused_by_name() {
    let folder = folder();
    let path = folder.path().join("clip.h264");
    std::fs::write(&path, vec![0x55; 2 << 20]).unwrap();
    let mut camera = Camera::new(file_board(&path, false, false));

    camera.start(1, SILENT);
    let take = camera.rest();

    assert_eq!(take.fault_kind(), FaultKind::Pipeline);
    assert!(take.message().contains("clip.h264"), "{}", take.message());
    assert!(take.chunks.is_empty());
}

#[test]
fn access_units_do_not_depend_on_the_size_of_reads() {
    let folder = folder();
    let path = folder.path().join("clip.h264");
    clip(&path, 40, 12, 2, &["-x264opts", "slices=3"]);
    let bytes = std::fs::read(&path).unwrap();
    let whole = {
        let mut reader = StreamReader::default();
        let mut units = reader.push(&bytes).unwrap();
        units.extend(reader.finish().unwrap());
        units
    };

    for size in [1, 7, 1000, 65_536] {
        let mut reader = StreamReader::default();
        let mut units = Vec::new();
        for portion in bytes.chunks(size) {
            units.extend(reader.push(portion).unwrap());
        }
        units.extend(reader.finish().unwrap());
        assert_eq!(units, whole, "in portions of {size}");
    }

    assert_eq!(whole.len(), 40);
    let joined: Vec<u8> = whole.iter().flat_map(|unit| unit.bytes.to_vec()).collect();
    assert_eq!(joined, bytes, "not a byte is lost");
    assert!(whole.iter().all(|unit| unit.presented >= unit.decoded));
}

#[test]
fn damaged_streams_give_an_error_or_fewer_frames_but_no_panic() {
    let folder = folder();
    let path = folder.path().join("clip.h264");
    clip(&path, 20, 10, 2, &[]);
    let bytes = std::fs::read(&path).unwrap();

    for seed in 0..300usize {
        let mut damaged = bytes.clone();
        for step in 0..5 {
            let at = (seed * 7919 + step * 104_729) % damaged.len().min(4000);
            damaged[at] = damaged[at].wrapping_add((seed % 255) as u8 + 1);
        }
        let mut reader = StreamReader::default();
        if let Ok(units) = reader.push(&damaged) {
            let rest = reader.finish().unwrap_or_default();
            assert!(units.len() + rest.len() <= 60);
        }
    }
}
