//! Streams of real encoders and sensors: all frames are stored, and decode to the same images.

use crate::odd::by_hand::{self, Form};
use crate::odd::camera::{Behaviour, Marker, OddCamera, Sets};
use crate::support::*;
use kasacam::config::{Board, Recording, Transport, VideoFormat, VideoSource};
use kasacam::domain::fragment::{Chunk, SpanEnd};
use kasacam::domain::input::{FaultKind, Input};
use kasacam::fmp4;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Digests of the decoded frames of a file, in order of presentation.
pub fn pictures(path: &Path) -> Vec<String> {
    let path = path.to_str().unwrap();
    let from = ["-v", "error", "-ignore_editlist", "1", "-i", path];
    let from = if path.ends_with("mp4") { &from[..] } else { &["-v", "error", "-i", path] };
    let to = ["-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framemd5", "-"];
    let text = String::from_utf8(run("ffmpeg", &[from, &to].concat())).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

/// Digests of the captured frames. Each `moov` is written to a separate file.
pub fn stored(folder: &Path, chunks: &[Chunk]) -> Vec<String> {
    chunks
        .chunk_by(|one, next| Arc::ptr_eq(&one.init, &next.init))
        .flat_map(|span| pictures(&write(folder, span)))
        .collect()
}

pub fn moovs(chunks: &[Chunk]) -> usize {
    chunks.chunk_by(|one, next| Arc::ptr_eq(&one.init, &next.init)).count()
}

/// A whole file, as it is stored.
pub fn captured(path: &Path) -> Take {
    let mut camera = Camera::new(file_board(path, false, false));
    camera.start(1, WITH_AUDIO);
    camera.rest()
}

pub fn rtsp_board(camera: &OddCamera) -> Board {
    let mut board = test_board();
    board.video.source = VideoSource::Rtsp {
        url: format!("rtsp://127.0.0.1:{}/live", camera.port),
        transport: Transport::Auto,
        access: kasacam::config::RtspAccess::default(),
    };
    board.video.format = VideoFormat::H264;
    board.video.encoder = None;
    board.audio = None;
    board
}

/// The whole stream of a camera with this behaviour.
pub fn sent(path: &Path, behaviour: Behaviour) -> Take {
    let odd = OddCamera::start(path, behaviour);
    let mut camera = Camera::new(rtsp_board(&odd));
    camera.start(1, SILENT);
    camera.rest()
}

/// Clips joined into one byte stream.
fn joined(folder: &Path, parts: &[&[&str]], frames: u32) -> PathBuf {
    let mut bytes = Vec::new();
    for (index, options) in parts.iter().enumerate() {
        let part = folder.join(format!("part{index}.h264"));
        clip(&part, frames, 10, 0, options);
        bytes.extend(std::fs::read(&part).unwrap());
    }
    let path = folder.join("joined.h264");
    std::fs::write(&path, bytes).unwrap();
    path
}

const CAVLC: &[&str] = &["-coder", "0"];
const CABAC: &[&str] = &["-coder", "1"];

#[test]
fn parameter_sets_that_change_alone_begin_a_new_moov() {
    let folder = folder();
    let path = joined(folder.path(), &[CAVLC, CABAC], 25);

    let take = captured(&path);

    assert_eq!(take.fault_kind(), FaultKind::EndOfStream, "{}", take.message());
    assert_eq!(gops(&take.chunks), [10, 10, 5, 10, 10, 5]);
    is_a_valid_stream(&take.chunks);
    assert_eq!(moovs(&take.chunks), 2);
    assert_eq!(stored(folder.path(), &take.chunks), pictures(&path));
}

#[test]
fn parameter_sets_that_change_with_each_gop_go_in_band_after_a_while() {
    let folder = folder();
    let path = joined(folder.path(), &[CAVLC, CABAC, CAVLC, CABAC, CAVLC, CABAC, CAVLC, CABAC], 10);

    let take = captured(&path);

    assert_eq!(gops(&take.chunks), [10; 8]);
    assert_eq!(moovs(&take.chunks), 4, "three changes, and then none");
    let last = take.chunks.last().unwrap();
    assert!(last.init.codecs.starts_with("avc3."), "{}", last.init.codecs);
    assert_eq!(stored(folder.path(), &take.chunks), pictures(&path));
}

#[test]
fn two_fields_are_one_frame() {
    let folder = folder();
    let path = folder.path().join("fields.h264");
    std::fs::write(&path, by_hand::stream(62, 15, Form { fields: true, ..Form::default() })).unwrap();

    let take = captured(&path);

    assert_eq!(take.fault_kind(), FaultKind::EndOfStream, "{}", take.message());
    assert_eq!(gops(&take.chunks), [15, 15, 15, 15, 2]);
    is_a_valid_stream(&take.chunks);
    let found = stored(folder.path(), &take.chunks);
    assert_eq!(found.len(), 62);
    assert_eq!(found, pictures(&path));
    assert_eq!(slices(&write(folder.path(), &take.chunks)), slices(&path), "both fields of each frame");
}

#[test]
fn a_byte_stream_that_begins_within_a_gop_is_stored_from_its_first_idr_frame_on() {
    let folder = folder();
    let path = folder.path().join("whole.h264");
    clip(&path, 40, 10, 0, &[]);
    let bytes = std::fs::read(&path).unwrap();
    // Behind the first IDR frame and its sets.
    let cut = bytes.windows(5).skip(1).position(|it| it[..4] == [0, 0, 0, 1] && it[4] & 0x1f == 1).unwrap();
    let begun = folder.path().join("begun.h264");
    std::fs::write(&begun, &bytes[cut + 1..]).unwrap();

    let take = captured(&begun);

    assert_eq!(take.fault_kind(), FaultKind::EndOfStream, "{}", take.message());
    assert_eq!(gops(&take.chunks), [10; 3]);
    assert_eq!(stored(folder.path(), &take.chunks), pictures(&path)[10..]);
}

#[test]
fn a_byte_stream_without_parameter_sets_is_refused_by_name() {
    let folder = folder();
    let path = folder.path().join("bare.h264");
    let whole = by_hand::stream(10, 5, Form::default());
    let slice = whole.windows(5).position(|it| it == [0, 0, 0, 1, 0x65]).unwrap();
    let end = whole[slice + 5..].windows(5).position(|it| it == [0, 0, 0, 1, 0x67]).unwrap();
    std::fs::write(&path, &whole[slice..slice + 5 + end]).unwrap();

    let take = captured(&path);

    assert_eq!(take.fault_kind(), FaultKind::Pipeline, "{}", take.message());
    assert!(take.message().contains("parameter sets"), "{}", take.message());
    assert!(take.chunks.is_empty());
}

#[test]
fn a_file_that_is_damaged_in_the_middle_ends_there() {
    let folder = folder();
    let path = folder.path().join("both.h264");
    let unread = Form { order_type_1: true, ..Form::default() };
    let both = [by_hand::stream(40, 10, Form::default()), by_hand::stream(40, 10, unread)].concat();
    std::fs::write(&path, both).unwrap();

    let take = captured(&path);

    assert_eq!(gops(&take.chunks), [10; 4], "{}", take.message());
    assert!(take.message().contains("pic_order_cnt_type 1"), "{}", take.message());
    // It is not retried forever.
    assert_eq!(take.fault_kind(), FaultKind::EndOfStream, "{}", take.message());
}

#[test]
fn slices_are_assembled_with_any_marker_bits() {
    let folder = folder();
    let path = folder.path().join("slices.h264");
    clip(&path, 60, 15, 0, &["-x264opts", "slices=2"]);
    let source = pictures(&path);
    for marker in [Marker::LastOfPicture, Marker::LastOfNal, Marker::Never] {
        let take = sent(&path, Behaviour { marker, ..Behaviour::default() });

        assert_eq!(take.end, SpanEnd::Source);
        assert_eq!(gops(&take.chunks), [15; 4], "{marker:?}");
        assert_eq!(stored(folder.path(), &take.chunks), source, "{marker:?}");
    }
}

#[test]
fn a_stream_without_vui_keeps_its_times() {
    let folder = folder();
    let path = folder.path().join("novui.h264");
    for (fps, frames, gop) in [(1.0, 8, 2), (2.0, 12, 4), (25.0, 100, 50)] {
        std::fs::write(&path, by_hand::stream(frames, gop, Form::default())).unwrap();

        let take = sent(&path, Behaviour { fps, ..Behaviour::default() });

        assert_eq!(gops(&take.chunks), vec![gop; (frames / gop) as usize], "{fps} frames a second");
        assert_eq!(stored(folder.path(), &take.chunks), pictures(&path), "{fps} frames a second");
        is_a_valid_stream(&take.chunks);
        // A chunk is 200 ms, or one frame; the jitter of the network may make it one more.
        let most = (fps * 0.2).max(1.0) as u32 + 1;
        let largest = take.chunks.iter().map(|chunk| chunk.frames).max().unwrap();
        assert!(largest <= most, "{fps} frames a second: {largest} frames in a chunk");
    }
}

#[test]
fn a_vui_with_a_wrong_rate_changes_nothing() {
    let folder = folder();
    let (plain, path) = (folder.path().join("plain.h264"), folder.path().join("wrong.h264"));
    clip(&plain, 75, 25, 0, &[]);
    let (from, to) = (plain.to_str().unwrap(), path.to_str().unwrap());
    let wrong = "h264_metadata=tick_rate=1/5:fixed_frame_rate_flag=0";
    run("ffmpeg", &["-v", "error", "-i", from, "-c", "copy", "-bsf:v", wrong, to]);

    let take = sent(&path, Behaviour::default());

    assert_eq!(gops(&take.chunks), [25; 3]);
    is_a_valid_stream(&take.chunks);
    let length: u64 = take.chunks.iter().map(|chunk| chunk.duration).sum();
    assert!((2_800_000_000..3_300_000_000).contains(&length), "three seconds are {length} ns");
    assert_eq!(stored(folder.path(), &take.chunks), pictures(&plain));
}

#[test]
fn parameter_sets_come_from_any_place_where_they_are_valid() {
    let folder = folder();
    let path = folder.path().join("clip.h264");
    clip(&path, 40, 10, 0, &[]);
    let source = pictures(&path);
    for sets in [Sets::NotTold, Sets::WithStartCodes] {
        let take = sent(&path, Behaviour { sets, ..Behaviour::default() });

        assert_eq!(stored(folder.path(), &take.chunks), source, "{sets:?}");
    }
}

#[test]
fn a_camera_that_offers_no_supported_codec_is_reported() {
    let folder = folder();
    let path = folder.path().join("clip.h264");
    clip(&path, 10, 10, 0, &[]);

    let take = sent(&path, Behaviour { encoding: "MPEG2", ..Behaviour::default() });

    assert!(take.message().contains("MPEG2") && take.message().contains("H.264"), "{}", take.message());
    assert!(take.chunks.is_empty());
}

#[test]
fn the_first_bytes_of_a_file_decide_its_format() {
    let folder = folder();
    let (mp4, misnamed) = (folder.path().join("clip.mp4"), folder.path().join("clip.video"));
    clip(&mp4, 30, 10, 0, &[]);
    std::fs::copy(&mp4, &misnamed).unwrap();
    let transport = folder.path().join("clip.ts");
    clip(&transport, 30, 10, 0, &[]);

    let take = captured(&misnamed);
    let refused = captured(&transport);

    assert_eq!(stored(folder.path(), &take.chunks), pictures(&mp4));
    assert_eq!(refused.fault_kind(), FaultKind::Pipeline);
    assert!(refused.message().contains("transport stream"), "{}", refused.message());
    assert!(refused.chunks.is_empty());
}

#[test]
fn a_hole_is_not_filled_by_a_long_frame() {
    let folder = folder();
    let path = folder.path().join("clip.h264");
    clip(&path, 75, 25, 0, &[]);

    let odd = OddCamera::start(&path, Behaviour { hole: Some((30, 2.0)), ..Behaviour::default() });
    // A source is stalled after three fragment times.
    let recording = Recording { fragment: Duration::from_secs(1), ..recording() };
    let mut camera = Camera::recording(rtsp_board(&odd), recording, 64);
    camera.start(1, SILENT);
    let take = camera.rest();

    assert_eq!(
        frames(&take.chunks),
        75,
        "nothing is left out here: the spool refuses what cannot be decoded"
    );
    let end = |chunk: &Chunk| chunk.start.0 + chunk.duration;
    let holes: Vec<u64> =
        take.chunks.windows(2).map(|pair| pair[1].start.0.saturating_sub(end(&pair[0]))).collect();
    let seen: Vec<&u64> = holes.iter().filter(|hole| **hole > 100_000_000).collect();
    assert!(matches!(seen[..], [hole] if (1_800_000_000..2_200_000_000).contains(hole)), "{holes:?}");
    for chunk in &take.chunks {
        assert!(chunk.duration / u64::from(chunk.frames) < 60_000_000, "no frame is stretched: {chunk:?}");
    }
}

#[test]
fn frames_before_the_first_idr_frame_are_reported_until_one_comes() {
    let folder = folder();
    let (whole, path) = (folder.path().join("whole.h264"), folder.path().join("late.h264"));
    clip(&whole, 120, 60, 0, &[]);
    let bytes = std::fs::read(&whole).unwrap();
    let idr = bytes.windows(4).position(|it| it[..3] == [0, 0, 1] && it[3] & 0x1f == 5).unwrap();
    let next = bytes[idr..].windows(4).skip(1).position(|it| it[..3] == [0, 0, 1]).unwrap() + idr + 1;
    // The sets stay, the first IDR frame goes.
    std::fs::write(&path, [&bytes[..idr - 1], &bytes[next - 1..]].concat()).unwrap();
    let odd = OddCamera::start(&path, Behaviour::default());
    let mut camera = Camera::new(rtsp_board(&odd));

    camera.start(1, SILENT);
    let chunks = camera.fragments(1);
    let told: Vec<Option<String>> = camera
        .inputs
        .try_iter()
        .filter_map(|input| match input {
            Input::CaptureTrouble { why, .. } => Some(why),
            _ => None,
        })
        .collect();

    assert_eq!(gops(&chunks), [60]);
    assert_eq!(stored(folder.path(), &chunks), pictures(&whole)[60..]);
    assert!(matches!(&told[..], [Some(why), None] if why.contains("IDR")), "{told:?}");
}

#[test]
fn a_camera_without_idr_frames_is_restarted() {
    let folder = folder();
    let path = folder.path().join("endless.h264");
    clip(&path, 500, 9999, 0, &[]);
    let odd = OddCamera::start(&path, Behaviour::default());
    let board = rtsp_board(&odd);
    let mut camera = Camera::altered(board, |description| description.max_gop = 200_000);

    camera.start(1, SILENT);
    let take = camera.rest();
    camera.start(2, SILENT);
    let again = camera.chunk();

    assert_eq!(take.fault_kind(), FaultKind::Stalled);
    assert!(take.message().contains("IDR"), "{}", take.message());
    let first = pictures(&path);
    let found = stored(folder.path(), &take.chunks);
    assert!(found.len() > 50, "{} frames", found.len());
    assert_eq!(found, first[..found.len()], "all up to there is handed over");
    assert!(again.starts_fragment);
}

#[test]
fn frames_outside_of_the_edit_list_are_footage() {
    let folder = folder();
    let (whole, cut) = (folder.path().join("whole.mp4"), folder.path().join("cut.mp4"));
    clip(&whole, 80, 20, 2, &["audio"]);
    let (from, to) = (whole.to_str().unwrap(), cut.to_str().unwrap());
    // Begins between two IDR frames, ends within reordered ones.
    run("ffmpeg", &["-v", "error", "-ss", "0.5", "-i", from, "-t", "1.73", "-c", "copy", to]);
    let inside = [
        "-v",
        "error",
        "-ignore_editlist",
        "1",
        "-i",
        to,
        "-map",
        "0:v",
        "-c",
        "copy",
        "-f",
        "framecrc",
        "-",
    ];
    let coded = String::from_utf8(run("ffmpeg", &inside)).unwrap();
    let coded = coded.lines().filter(|line| !line.starts_with('#')).count();

    let take = captured(&cut);

    assert_eq!(frames(&take.chunks) as usize, coded);
    is_a_valid_stream(&take.chunks);
    assert_eq!(stored(folder.path(), &take.chunks), pictures(&cut));
}

#[test]
fn audio_ends_with_its_frames_at_every_rate_and_gop() {
    let folder = folder();
    let path = folder.path().join("clip.mp4");
    let mut longest: f64 = 0.0;
    let mut fragments = 0;
    for (rate, fps) in [
        ("1", 1.0),
        ("2", 2.0),
        ("5", 5.0),
        ("8", 8.0),
        ("10", 10.0),
        ("12", 12.0),
        ("25/2", 12.5),
        ("15", 15.0),
        ("20", 20.0),
        ("25", 25.0),
        ("30000/1001", 30_000.0 / 1001.0),
        ("30", 30.0),
        ("60", 60.0),
    ] {
        for gop in [1.0, 2.0, 2.4, 4.0] {
            tiny_clip(&path, rate, gop);
            let mut recording = recording();
            recording.fragment = Duration::from_secs_f64(gop);
            recording.chunk = Duration::from_millis(500);
            let mut camera = Camera::recording(file_board(&path, false, false), recording, 64);
            camera.start(1, WITH_AUDIO);

            let take = camera.rest();

            let name = format!("{rate} frames a second, an IDR frame every {gop} s");
            assert_eq!(take.fault_kind(), FaultKind::EndOfStream, "{name}: {}", take.message());
            is_a_valid_stream(&take.chunks);
            let ends = fragment_ends(&take.chunks);
            // The last one ends with its source.
            for (picture, audio) in &ends[..ends.len() - 1] {
                let apart = (picture - audio).abs();
                assert!(apart <= 1024.0 / 48_000.0 + 1.0 / fps, "{name}: {picture} and {audio} in {ends:?}");
                longest = longest.max(apart);
                fragments += 1;
            }
        }
    }
    assert!(fragments > 150, "{fragments} fragments");
    assert!(longest > 0.001, "an end was looked at that is not by chance the same: {longest}");
}

#[test]
fn the_audio_of_the_last_slow_frame_is_stored() {
    let folder = folder();
    let path = folder.path().join("slow.mkv");
    let source = ["-f", "lavfi", "-i", "testsrc2=size=64x64:rate=5:duration=10", "-f", "lavfi"];
    let tone = ["-i", "sine=sample_rate=48000:duration=10", "-c:a", "aac", "-c:v", "libx264", "-bf", "2"];
    let rest = ["-pix_fmt", "yuv420p", "-g", "5", "-sc_threshold", "0", path.to_str().unwrap()];
    run("ffmpeg", &[&["-v", "error"], &source[..], &tone, &rest].concat());

    let take = captured(&path);

    assert_eq!(frames(&take.chunks), 50);
    let ends = fragment_ends(&take.chunks);
    for (picture, audio) in &ends {
        let apart = audio - picture;
        assert!((-0.003..1024.0 / 48_000.0 + 0.003).contains(&apart), "{picture} and {audio} in {ends:?}");
    }
}

/// A little more than ten seconds, with audio.
fn tiny_clip(path: &Path, rate: &str, gop: f64) {
    let source = format!("testsrc2=size=64x64:rate={rate}:duration=10.1");
    let idr = format!("expr:gte(t,n_forced*{gop})");
    let mut arguments = vec!["-v", "error", "-y", "-f", "lavfi", "-i", &source];
    arguments.extend(["-f", "lavfi", "-i", "sine=sample_rate=48000:duration=10.1", "-c:a", "aac"]);
    arguments.extend(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-g", "9999"]);
    arguments.extend(["-x264-params", "scenecut=0:threads=1", "-forced-idr", "1", "-force_key_frames", &idr]);
    arguments.push(path.to_str().unwrap());
    run("ffmpeg", &arguments);
}

/// When the video and the audio of each fragment end, in seconds of the media.
fn fragment_ends(chunks: &[Chunk]) -> Vec<(f64, f64)> {
    let mut ends: Vec<(f64, f64)> = Vec::new();
    let seconds = |ticks: i64, timescale: u32| ticks as f64 / f64::from(timescale);
    for chunk in chunks {
        let info = fmp4::read_chunk(&chunk.init, &chunk.bytes).unwrap();
        let (video, audio) = (chunk.init.video, chunk.init.audio.expect("audio"));
        let of = |track| info.runs.iter().find(|run| run.track == track);
        let run = of(video.id).unwrap();
        if chunk.starts_fragment {
            let begins = seconds(run.earliest_presentation, video.timescale);
            ends.push((begins, 0.0));
        }
        let last = ends.last_mut().unwrap();
        last.0 += seconds(i64::try_from(run.duration).unwrap(), video.timescale);
        if let Some(run) = of(audio.id) {
            last.1 = seconds(i64::try_from(run.decode_time + run.duration).unwrap(), audio.timescale);
        }
    }
    ends
}
