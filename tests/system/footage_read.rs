//! The demo counts what is in the bucket: it reads a real segment frame by frame.

use crate::footage;
use crate::objects::{Bucket, Facts};
use kasacam::domain::segment::{Record, RecordClock, object_key};
use kasacam::domain::time::Utc;
use kasacam::fmp4::{self, MoofEntry};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

const DEVICE: &str = "cam-0001";

fn start() -> Utc {
    Utc::parse("2026-11-23T12:34:56.789012Z").unwrap()
}

/// Two seconds with 15 frames per second, in the form of the product's segments.
fn segment(n: u64) -> Vec<u8> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("encoded.mp4");
    let encoded = encode(&path);
    let moov_end = boxes(&encoded).iter().find(|(kind, _, _)| kind == b"moov").unwrap().2;
    let record = Record {
        device: DEVICE.into(),
        span: "span-1".into(),
        n,
        boot: "boot-1".into(),
        start_mono: 1,
        start_utc: start(),
        clock: RecordClock::Trusted,
        plan: "plus-monthly".into(),
        history_hours: 720,
        late_sync: false,
        timing: kasacam::domain::fragment::Timing::Device,
    };
    let mut bytes = encoded[..moov_end].to_vec();
    bytes.extend(fmp4::record_box(&record));
    let fragments = boxes(&encoded).into_iter().filter(|(kind, _, _)| kind == b"moof" || kind == b"mdat");
    for (_, from, to) in fragments {
        bytes.extend(&encoded[from..to]);
    }
    let chunks = fmp4::read_segment(&bytes).unwrap().chunks;
    let entry = |chunk: &fmp4::ChunkInfo| MoofEntry {
        offset: chunk.moof,
        tracks: chunk
            .runs
            .iter()
            .map(|run| (run.track, Some(u64::try_from(run.earliest_presentation).unwrap())))
            .collect(),
    };
    bytes.extend(fmp4::mfra_box(&chunks.iter().map(entry).collect::<Vec<_>>()));
    bytes
}

fn encode(path: &Path) -> Vec<u8> {
    let encoded = Command::new("ffmpeg")
        .args(["-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=15:duration=2"])
        .args(["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-bf", "0", "-g", "15"])
        .args(["-pix_fmt", "yuv420p", "-movflags", "frag_keyframe+empty_moov+default_base_moof"])
        .arg(path)
        .status()
        .unwrap();
    assert!(encoded.success());
    std::fs::read(path).unwrap()
}

/// Type, offset and end of each top-level box.
fn boxes(bytes: &[u8]) -> Vec<([u8; 4], usize, usize)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let size = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
        let end = at + usize::try_from(size).unwrap();
        found.push((bytes[at + 4..at + 8].try_into().unwrap(), at, end));
        at = end;
    }
    found
}

fn facts(bytes: &[u8], metadata: &[(&str, &str)]) -> Facts {
    Facts {
        bytes: u64::try_from(bytes.len()).unwrap(),
        sha256: String::new(),
        content_type: None,
        metadata: metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        tags: BTreeMap::new(),
        stored_at: start() + Duration::from_secs(3),
    }
}

/// A bucket with one object.
fn bucket(key: &str, bytes: &[u8], metadata: &[(&str, &str)]) -> (Bucket, TempDir) {
    let dir = TempDir::new().unwrap();
    let bucket = Bucket::open(dir.path().join("bucket")).unwrap();
    bucket.put(key, bytes, &facts(bytes, metadata), true).unwrap();
    (bucket, dir)
}

#[test]
fn a_segment_is_read_frame_by_frame() {
    let key = object_key("v1/", DEVICE, start(), 3, false);
    let (bucket, _dir) = bucket(&key, &segment(3), &[]);

    let (segments, ends) = footage::read(&bucket, DEVICE).unwrap();

    assert!(ends.is_empty());
    let read = &segments[0];
    assert!(read.key_is_valid && read.is_whole && !read.has_audio);
    assert_eq!((read.span.as_str(), read.n, read.plan.as_str()), ("span-1", 3, "plus-monthly"));
    assert_eq!(read.frames.len(), 30);
    assert_eq!(read.frames[0], start());
    let last = read.frames[29].since(start()).as_micros();
    assert!((1_933_332..=1_933_334).contains(&last), "{last}");
    assert_eq!(read.end, start() + Duration::from_secs(2));
}

#[test]
fn a_segment_cut_short_is_not_whole_and_counts_only_what_is_there() {
    let key = object_key("v1/", DEVICE, start(), 0, false);
    let whole = segment(0);
    let second = fmp4::read_segment(&whole).unwrap().chunks[1].clone();
    let cut = &whole[..usize::try_from(second.end).unwrap() - 10];
    let (bucket, _dir) = bucket(&key, cut, &[]);

    let (segments, _) = footage::read(&bucket, DEVICE).unwrap();

    assert!(!segments[0].is_whole);
    assert_eq!(segments[0].frames.len(), 15);
}

#[test]
fn a_key_of_another_form_counter_time_or_device_is_not_valid() {
    let keys = [
        object_key("v1/", DEVICE, start(), 1, false),
        object_key("v1/", DEVICE, start() + Duration::from_secs(1), 0, false),
        object_key("v1/", "cam-0002", start(), 0, false),
        "v1/cam-0001/2026-11-23/12/34-56.789Z.0.mp4".into(),
        "v1/cam-0001/2026-11-23/12-34-56.789012Z.0.mp4".into(),
    ];
    for key in keys {
        let (bucket, _dir) = bucket(&key, &segment(0), &[]);

        let (segments, _) = footage::read(&bucket, DEVICE).unwrap();

        assert!(!segments[0].key_is_valid, "{key}");
    }
}

#[test]
fn the_end_of_a_span_is_read_from_its_key_and_metadata() {
    let key = object_key("v1/", DEVICE, start(), 4, true);
    let (bucket, _dir) = bucket(&key, b"", &[("span", "span-1"), ("reason", "privacy")]);

    let (_, ends) = footage::read(&bucket, DEVICE).unwrap();

    let end = &ends[0];
    assert!(end.key_is_valid);
    assert_eq!((end.span.as_str(), end.n, end.reason.as_str()), ("span-1", 4, "privacy"));
    assert_eq!(end.at, start());
}
