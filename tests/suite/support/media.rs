//! Real fragmented MP4, made by real muxers when first requested, and what `ffprobe` reports of it.

use bytes::Bytes;
use gst::prelude::*;
use kasacam::domain::fragment::Init;
use kasacam::domain::segment::{Record, RecordClock};
use kasacam::domain::time::Utc;
use kasacam::fmp4::{self, MoofEntry};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// Three seconds of 320x240, fifteen frames per second, an IDR each second; audio of 16 kHz except for
/// [`Kind::Silent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// By ffmpeg; Baseline, no reordering, no audio.
    Silent,
    /// By ffmpeg; Main, B-frames with positive composition offsets, with an edit list.
    Reordered,
    /// By ffmpeg; Main, B-frames with negative composition offsets.
    Negative,
    /// By the muxer of the product: chunks of about a third of a second.
    Chunked,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Silent, Kind::Reordered, Kind::Negative, Kind::Chunked];

    pub fn has_sound(self) -> bool {
        self != Kind::Silent
    }
}

/// The output of a muxer, box by box.
pub struct Media {
    /// The whole file, as the muxer wrote it.
    pub file: Vec<u8>,
    pub init: Init,
    /// Each `moof` with its `mdat`, numbered one by one, and its position in `file`.
    pub chunks: Vec<(usize, Vec<u8>)>,
}

pub fn media(kind: Kind) -> &'static Media {
    static MADE: [OnceLock<Media>; 4] = [const { OnceLock::new() }; 4];
    MADE[kind as usize].get_or_init(|| {
        let file = match kind {
            Kind::Silent => ffmpeg("baseline", &["-bf", "0", "-an"], ""),
            Kind::Reordered => ffmpeg("main", &["-bf", "2"], ""),
            Kind::Negative => ffmpeg("main", &["-bf", "2"], "+negative_cts_offsets"),
            Kind::Chunked => isofmp4mux(),
        };
        take_apart(file)
    })
}

fn take_apart(file: Vec<u8>) -> Media {
    let boxes = top_level(&file);
    let end_of_moov = boxes.iter().find(|(kind, _, _)| kind == b"moov").unwrap().2;
    let init = fmp4::read_init(Bytes::copy_from_slice(&file[..end_of_moov])).expect("a moov of ours");
    let mut chunks: Vec<(usize, Vec<u8>)> = boxes
        .windows(2)
        .filter(|pair| &pair[0].0 == b"moof" && &pair[1].0 == b"mdat")
        .map(|pair| (pair[0].1, file[pair[0].1..pair[1].2].to_vec()))
        .collect();
    for ((_, chunk), sequence) in chunks.iter_mut().zip(1..) {
        fmp4::number_chunk(chunk, sequence).unwrap();
    }
    Media { file, init, chunks }
}

/// The boxes at the top level: kind, start, end. Supports only 32-bit sizes, and trusts them.
pub fn top_level(file: &[u8]) -> Vec<([u8; 4], usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < file.len() {
        let size = u32::from_be_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        found.push((file[at + 4..at + 8].try_into().unwrap(), at, at + size));
        at += size;
    }
    assert_eq!(at, file.len());
    found
}

fn ffmpeg(profile: &str, more: &[&str], movflags: &str) -> Vec<u8> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("made.mp4");
    let movflags = format!("+frag_keyframe+empty_moov+default_base_moof{movflags}");
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=15"])
        .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=16000", "-t", "3"])
        .args(["-c:v", "libx264", "-preset", "veryfast", "-profile:v", profile, "-level:v", "3.0"])
        .args(["-pix_fmt", "yuv420p", "-g", "15", "-sc_threshold", "0", "-b:v", "60k", "-threads", "1"])
        .args(["-c:a", "aac", "-b:a", "24k"])
        .args(more)
        .args(["-movflags", &movflags])
        .arg(&path)
        .output()
        .expect("ffmpeg is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(&path).unwrap()
}

fn isofmp4mux() -> Vec<u8> {
    static READY: OnceLock<()> = OnceLock::new();
    READY.get_or_init(|| {
        gst::init().unwrap();
        gstfmp4::plugin_register_static().unwrap();
    });
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("made.mp4");
    let description = format!(
        "videotestsrc num-buffers=45 ! video/x-raw,width=320,height=240,framerate=15/1 \
         ! x264enc key-int-max=15 bframes=0 bitrate=60 speed-preset=veryfast option-string=scenecut=0 \
         ! video/x-h264,profile=main ! h264parse ! video/x-h264,stream-format=avc,alignment=au ! queue ! mux. \
         audiotestsrc num-buffers=47 samplesperbuffer=1024 ! audio/x-raw,rate=16000,channels=1 \
         ! voaacenc bitrate=24000 ! aacparse ! queue ! mux. \
         isofmp4mux name=mux fragment-duration=1000000000 chunk-duration=333000000 ! filesink location={}",
        path.display()
    );
    let pipeline = gst::parse::launch(&description).expect("the elements are installed");
    pipeline.set_state(gst::State::Playing).unwrap();
    let ended = pipeline.bus().unwrap().timed_pop_filtered(
        gst::ClockTime::from_seconds(60),
        &[gst::MessageType::Eos, gst::MessageType::Error],
    );
    pipeline.set_state(gst::State::Null).unwrap();
    let message = ended.expect("the pipeline ends");
    assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    std::fs::read(&path).unwrap()
}

/// A packet, as `ffprobe` reads it from a file, in ticks, without the edit list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    pub track: u32,
    pub pts: i64,
    pub dts: i64,
    pub duration: u64,
    pub position: usize,
    pub size: u64,
    pub is_key: bool,
}

pub fn packets(file: &[u8]) -> Vec<Packet> {
    let text = with_file(file, |path| {
        let entries = "packet=stream_index,pts,dts,duration,size,pos,flags";
        let fixed = ["-v", "error", "-ignore_editlist", "1", "-show_entries", entries, "-of", "csv=p=0"];
        Command::new("ffprobe").args(fixed).arg(path).output().expect("ffprobe is installed")
    });
    let packet = |line: &str| {
        let part: Vec<&str> = line.split(',').collect();
        Packet {
            track: part[0].parse::<u32>().unwrap() + 1,
            pts: part[1].parse().unwrap(),
            dts: part[2].parse().unwrap(),
            duration: part[3].parse().unwrap(),
            size: part[4].parse().unwrap(),
            position: part[5].parse().unwrap(),
            is_key: part[6].starts_with('K'),
        }
    };
    text.lines().map(packet).collect()
}

/// What `ffprobe -count_packets` counts for each track, in track order.
pub fn packet_counts(file: &[u8]) -> Vec<u32> {
    let text = with_file(file, |path| {
        let fixed =
            ["-v", "error", "-count_packets", "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0"];
        Command::new("ffprobe").args(fixed).arg(path).output().expect("ffprobe is installed")
    });
    text.lines().map(|line| line.trim_end_matches(',').parse().unwrap()).collect()
}

/// Decodes the whole file, and returns the number of frames. There must be no complaint.
pub fn decoded_pictures(file: &[u8]) -> usize {
    let text = with_file(file, |path| {
        Command::new("ffmpeg")
            .args(["-nostdin", "-v", "warning", "-xerror", "-i"])
            .arg(path)
            .args(["-map", "0", "-f", "framehash", "-"])
            .stdin(Stdio::null())
            .output()
            .expect("ffmpeg is installed")
    });
    text.lines().filter(|line| line.starts_with("0,")).count()
}

fn with_file(file: &[u8], run: impl FnOnce(&Path) -> std::process::Output) -> String {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("read.mp4");
    std::fs::write(&path, file).unwrap();
    let output = run(&path);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

pub fn record() -> Record {
    Record {
        device: "cam-0001".to_owned(),
        span: "01JZ0000000000000000000000".to_owned(),
        n: 7,
        boot: "3f1c8a52-6a0b-4f5f-9a55-0d4d2f1b6a11".to_owned(),
        start_mono: 123_456_789_012,
        start_utc: Utc::parse("2026-05-04T03:02:01.5Z").unwrap(),
        clock: RecordClock::Trusted,
        plan: "care-plus".to_owned(),
        history_hours: 168,
        late_sync: false,
        timing: kasacam::domain::fragment::Timing::Device,
    }
}

/// A segment file, and where its parts are: known from the lengths of the input, not by reading it.
pub struct Segment {
    pub bytes: Vec<u8>,
    /// The end of the header: after the record.
    pub header_end: usize,
    /// Start and end of each chunk.
    pub chunks: Vec<(usize, usize)>,
}

/// Builds a segment as the spool does: header, record, each chunk after its `prft`, `mfra`.
pub fn segment(init: &Init, chunks: &[Vec<u8>]) -> Segment {
    let mut bytes = [&init.bytes[..], &fmp4::record_box(&record())].concat();
    let header_end = bytes.len();
    let (mut places, mut moofs) = (Vec::new(), Vec::new());
    for chunk in chunks {
        let info = fmp4::read_chunk(init, chunk).unwrap();
        bytes.extend(fmp4::prft_box(init.video.id, record().start_utc, info.runs[0].decode_time));
        places.push((bytes.len(), bytes.len() + chunk.len()));
        let tracks = info.runs.iter().map(|run| {
            let is_sync = run.track != init.video.id || info.starts_with_sync;
            (run.track, is_sync.then(|| run.earliest_presentation.try_into().unwrap()))
        });
        moofs.push(MoofEntry { offset: bytes.len() as u64, tracks: tracks.collect() });
        bytes.extend_from_slice(chunk);
    }
    bytes.extend(fmp4::mfra_box(&moofs));
    Segment { bytes, header_end, chunks: places }
}

/// The segment of everything that a muxer wrote.
pub fn whole_segment(kind: Kind) -> Segment {
    let made = media(kind);
    let chunks: Vec<Vec<u8>> = made.chunks.iter().map(|(_, chunk)| chunk.clone()).collect();
    segment(&made.init, &chunks)
}
