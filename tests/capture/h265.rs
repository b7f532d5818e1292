//! H.265: streams of x265 are stored as they are, and decoded by another decoder.

use crate::rtsp::Server;
use crate::support::*;
use kasacam::capture::h265::{ParameterSets, Sps};
use kasacam::capture::pipeline::{Element, Stage};
use kasacam::config::{Encoder, EncoderKind, Recording, VideoFormat, VideoSource};
use kasacam::domain::effect::StopManner;
use kasacam::domain::fragment::{Chunk, SpanEnd};
use kasacam::domain::input::FaultKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const CLOSED: &str = "keyint=10:min-keyint=10:scenecut=0:open-gop=0:bframes=3:b-adapt=0";
/// Each GOP but the first is led by three frames.
const OPEN: &str = "keyint=12:min-keyint=12:scenecut=0:open-gop=1:bframes=3:b-adapt=0";

/// A clip of moving frames, 25 a second.
fn clip265(path: &Path, frames: u32, x265: &str, options: &[&str]) {
    let frames = frames.to_string();
    let x265 = format!("log-level=none:pools=1:frame-threads=1:{x265}");
    let mut arguments = vec!["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"];
    arguments.extend([
        "-frames:v",
        &frames,
        "-c:v",
        "libx265",
        "-preset",
        "ultrafast",
        "-pix_fmt",
        "yuv420p",
    ]);
    arguments.extend(["-x265-params", &x265]);
    arguments.extend(options);
    arguments.push(path.to_str().unwrap());
    run("ffmpeg", &arguments);
}

fn taken(path: &Path, recording: Recording) -> Take {
    let mut board = file_board(path, false, false);
    board.video.format = VideoFormat::H265;
    board.audio = None;
    let mut camera = Camera::recording(board, recording, 64);
    camera.start(1, SILENT);
    camera.rest()
}

/// Checksums of the frames that another decoder shows, in order of presentation. It must report no error, and none about
/// the times.
fn shown(path: &Path) -> Vec<String> {
    decoded_with(path, &[])
}

/// The same, without a check of the times: they depend on the server.
fn decoded_in_order(path: &Path) -> Vec<String> {
    decoded_with(path, &["-vf", "setpts=N/25/TB"])
}

fn decoded_with(path: &Path, filter: &[&str]) -> Vec<String> {
    let path = path.to_str().unwrap();
    let arguments = ["-v", "warning", "-xerror", "-i", path, "-map", "0:v:0"];
    let arguments = [&arguments[..], filter, &["-fps_mode", "passthrough", "-f", "framemd5", "-"]].concat();
    let done = Command::new("ffmpeg").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success() && said.is_empty(), "{path}: {said}");
    let text = String::from_utf8(done.stdout).unwrap();
    let pictures = text.lines().filter(|line| !line.starts_with('#'));
    pictures.map(|line| line.rsplit(',').next().unwrap().trim().to_owned()).collect()
}

/// Each fragment as a file of its own.
fn fragments(folder: &Path, chunks: &[Chunk]) -> Vec<(PathBuf, u32)> {
    let mut files = Vec::new();
    let mut rest = chunks;
    while let Some(first) = rest.first() {
        assert!(first.starts_fragment);
        let count = 1 + rest[1..].iter().take_while(|chunk| !chunk.starts_fragment).count();
        let (fragment, behind) = rest.split_at(count);
        let path = folder.join(format!("fragment{}.mp4", files.len()));
        let bytes: Vec<u8> = fragment.iter().flat_map(|chunk| chunk.bytes.to_vec()).collect();
        std::fs::write(&path, [&first.init.bytes[..], &bytes].concat()).unwrap();
        files.push((path, frames(fragment)));
        rest = behind;
    }
    files
}

/// Another decoder shows the stored frames like those of the clip, and can decode each fragment alone.
fn is_stored_whole(folder: &Path, clip: &Path, take: &Take) {
    is_a_valid_stream(&take.chunks);
    assert_eq!(take.fault_kind(), FaultKind::EndOfStream, "{}", take.message());
    let original = shown(clip);
    assert_eq!(shown(&write(folder, &take.chunks)), original);
    let mut alone = Vec::new();
    for (path, count) in fragments(folder, &take.chunks) {
        let pictures = shown(&path);
        assert_eq!(pictures.len(), count as usize, "{}", path.display());
        alone.extend(pictures);
    }
    assert_eq!(alone, original);
}

fn probed(path: &Path, entry: &str) -> String {
    let entry = format!("stream={entry}");
    let arguments = ["-v", "error", "-select_streams", "v:0", "-show_entries", &entry, "-of", "csv=p=0"];
    let text = run("ffprobe", &[&arguments[..], &[path.to_str().unwrap()]].concat());
    String::from_utf8(text).unwrap().trim().trim_end_matches(',').to_owned()
}

#[test]
fn closed_gops_with_b_frames_are_stored_from_every_container() {
    let folder = folder();
    for (name, options) in [
        ("hvc1.mp4", &["-tag:v", "hvc1"][..]),
        ("hev1.mp4", &["-tag:v", "hev1"][..]),
        ("clip.mkv", &[][..]),
        ("clip.h265", &[][..]),
    ] {
        let path = folder.path().join(name);
        clip265(&path, 40, CLOSED, options);

        let take = taken(&path, recording());

        assert_eq!(gops(&take.chunks), [10; 4], "{name}");
        is_stored_whole(folder.path(), &path, &take);
        let codecs = &take.chunks[0].init.codecs;
        assert!(codecs.starts_with("hvc1.1.6.L") && codecs.contains(".9"), "{codecs}");
        assert_eq!(probed(&folder.path().join("captured.mp4"), "codec_name,codec_tag_string"), "hevc,hvc1");
    }
}

#[test]
fn frames_that_lead_an_idr_frame_and_can_be_decoded_are_kept_and_begin_the_fragment() {
    let folder = folder();
    for name in ["led.mp4", "led.h265"] {
        let path = folder.path().join(name);
        clip265(&path, 48, &format!("{CLOSED}:radl=2"), &[]);
        let kinds = nal_types(&path);
        assert!(kinds.contains(&19) && kinds.iter().any(|kind| matches!(kind, 6 | 7)), "{kinds:?}");

        let take = taken(&path, recording());

        is_stored_whole(folder.path(), &path, &take);
        // All frames decoded before an IDR frame are presented before the frames that lead it.
        let mut before = 0;
        for chunk in &take.chunks {
            let wanted = Duration::from_millis(40) * before;
            let begins = chunk.start.since(take.chunks[0].start);
            if chunk.starts_fragment {
                assert!(begins.abs_diff(wanted) < Duration::from_millis(1), "{begins:?}, not {wanted:?}");
            }
            before += chunk.frames;
        }
        assert!(gops(&take.chunks).len() >= 4);
    }
}

/// Types of the NAL units of a file.
fn nal_types(path: &Path) -> Vec<u8> {
    let what =
        ["-v", "error", "-i", path.to_str().unwrap(), "-map", "0:v:0", "-c", "copy", "-f", "hevc", "-"];
    let bytes = run("ffmpeg", &what);
    starts(&bytes).iter().map(|at| bytes[*at] >> 1).collect()
}

#[test]
fn open_gops_are_one_fragment_until_a_segment_is_due() {
    let folder = folder();
    for name in ["open.mp4", "open.h265"] {
        let path = folder.path().join(name);
        clip265(&path, 48, OPEN, &[]);

        let take = taken(&path, recording());

        assert_eq!(gops(&take.chunks), [48], "{name}");
        is_stored_whole(folder.path(), &path, &take);
    }
}

#[test]
fn a_segment_that_is_due_begins_at_an_open_gop_without_its_leading_frames() {
    let folder = folder();
    let path = folder.path().join("open.mp4");
    clip265(&path, 100, OPEN, &[]);
    let second = Recording { segment: Duration::from_secs(1), ..recording() };

    let take = taken(&path, second);

    is_a_valid_stream(&take.chunks);
    assert_eq!(gops(&take.chunks), [33, 33, 28], "three GOPs are longer than a second, and two are not");
    let original = shown(&path);
    let files = fragments(folder.path(), &take.chunks);
    let alone: Vec<Vec<String>> = files.iter().map(|(path, _)| shown(path)).collect();
    for ((_, count), pictures) in files.iter().zip(&alone) {
        assert_eq!(pictures.len(), *count as usize);
    }
    let alone = alone.concat();
    assert!(alone.iter().all(|picture| original.contains(picture)), "every picture is as it was");
    let lost = original.len() - alone.len();
    assert_eq!(lost, 3 + 3, "what leads at two seams");
}

#[test]
fn a_stream_that_begins_at_an_open_gop_has_no_leading_frames() {
    let folder = folder();
    let (whole, path) = (folder.path().join("whole.h265"), folder.path().join("cut.h265"));
    clip265(&whole, 48, &format!("{OPEN}:repeat-headers=1"), &[]);
    let bytes = std::fs::read(&whole).unwrap();
    let nals = starts(&bytes);
    let second = nals.iter().filter(|at| bytes[**at] >> 1 == 32).nth(1).unwrap();
    std::fs::write(&path, [&[0, 0, 0, 1], &bytes[*second..]].concat()).unwrap();

    let take = taken(&path, recording());

    let stored = shown(&write(folder.path(), &take.chunks));
    assert_eq!(stored.len(), frames(&take.chunks) as usize);
    let original = shown(&whole);
    assert_eq!(stored, original[original.len() - stored.len()..]);
    assert_eq!(stored.len(), 48 - 12);
    is_a_valid_stream(&take.chunks);
}

#[test]
fn a_repeated_stream_of_open_gops_has_no_frames_that_depend_on_its_end() {
    let folder = folder();
    let (bare, path) = (folder.path().join("whole.h265"), folder.path().join("cut.h265"));
    clip265(&bare, 48, &format!("{OPEN}:repeat-headers=1"), &[]);
    let bytes = std::fs::read(&bare).unwrap();
    let second = *starts(&bytes).iter().filter(|at| bytes[**at] >> 1 == 32).nth(1).unwrap();
    std::fs::write(&path, [&[0, 0, 0, 1], &bytes[second..]].concat()).unwrap();
    let (whole, mp4) = (folder.path().join("whole.mp4"), folder.path().join("cut.mp4"));
    clip265(&whole, 48, OPEN, &[]);
    // From the second GOP on, with its leading frames.
    let (from, to) = (whole.to_str().unwrap(), mp4.to_str().unwrap());
    run("ffmpeg", &["-v", "error", "-ss", "0.49", "-i", from, "-copypriorss", "1", "-c", "copy", to]);

    for path in [&path, &mp4] {
        let mut board = file_board(path, false, true);
        board.video.format = VideoFormat::H265;
        board.audio = None;
        let long = Recording { segment: Duration::from_secs(60), ..recording() };
        let mut camera = Camera::recording(board, long, 64);
        camera.start(1, SILENT);
        let chunks = camera.fragments(3);

        assert_eq!(gops(&chunks), [36; 3], "{}", path.display());
        is_a_valid_stream(&chunks);
        let rounds = fragments(folder.path(), &chunks);
        let first = shown(&rounds[0].0);
        assert_eq!(first.len(), 36);
        for (path, _) in &rounds {
            assert_eq!(shown(path), first);
        }
    }
}

/// The positions of NAL units in a byte stream, after their start codes.
fn starts(bytes: &[u8]) -> Vec<usize> {
    let codes = bytes.windows(3).enumerate().filter(|(_, window)| *window == [0, 0, 1]);
    codes.map(|(at, _)| at + 3).collect()
}

#[test]
fn slices_and_repeated_sets_change_nothing() {
    let folder = folder();
    for name in ["sliced.h265", "sliced.mp4"] {
        let path = folder.path().join(name);
        let x265 = format!(
            "{CLOSED}:slices=3:ctu=16:repeat-headers=1:aud=1:hrd=1:vbv-maxrate=1000:vbv-bufsize=1000"
        );
        clip265(&path, 40, &x265, &["-tag:v", "hev1"]);
        if name.ends_with(".h265") {
            let bytes = std::fs::read(&path).unwrap();
            let slices = starts(&bytes).iter().filter(|at| bytes[**at] >> 1 < 32).count();
            assert_eq!(slices, 3 * 40, "the clip has slices");
        }

        let take = taken(&path, recording());

        assert_eq!(gops(&take.chunks), [10; 4]);
        is_stored_whole(folder.path(), &path, &take);
        let bytes: Vec<u8> = take.chunks.iter().flat_map(|chunk| chunk.bytes.to_vec()).collect();
        let sps = [0x42, 0x01, 0x01, 0x01];
        assert!(!bytes.windows(4).any(|window| window == sps), "parameter sets stand in the moov alone");
        assert!(take.chunks[0].init.bytes.windows(4).any(|window| window == sps), "and there they do");
    }
}

#[test]
fn another_size_begins_another_moov() {
    let folder = folder();
    let mut joined = Vec::new();
    for size in ["320x180", "640x360"] {
        let part = folder.path().join("part.h265");
        clip265(&part, 20, &format!("{CLOSED}:repeat-headers=1"), &["-s", size]);
        joined.extend(std::fs::read(&part).unwrap());
    }
    let path = folder.path().join("joined.h265");
    std::fs::write(&path, joined).unwrap();

    let take = taken(&path, recording());

    assert_eq!(gops(&take.chunks), [10; 4]);
    let sizes: Vec<_> = take.chunks.iter().map(|chunk| (chunk.init.width, chunk.init.height)).collect();
    assert_eq!((sizes[0], *sizes.last().unwrap()), ((320, 180), (640, 360)));
    for (path, count) in fragments(folder.path(), &take.chunks) {
        assert_eq!(shown(&path).len(), count as usize);
    }
}

#[test]
fn another_codec_than_that_of_the_board_is_named() {
    let folder = folder();
    for name in ["clip.mp4", "clip.mkv", "clip.es"] {
        let (avc, hevc) =
            (folder.path().join(format!("avc-{name}")), folder.path().join(format!("hevc-{name}")));
        let bare: &[&str] = if name.ends_with(".es") { &["-f", "h264"] } else { &[] };
        clip(&avc, 20, 10, 0, bare);
        let bare: &[&str] = if name.ends_with(".es") { &["-f", "hevc"] } else { &[] };
        clip265(&hevc, 20, CLOSED, bare);

        let take = taken(&avc, recording());
        assert_eq!(take.fault_kind(), FaultKind::WrongCodec, "{}", take.message());
        assert!(take.chunks.is_empty());
        assert!(take.message().contains("gives H.264, and the board says H.265"), "{}", take.message());
        assert!(take.message().contains("video.codec = \"h264\""), "{}", take.message());

        let mut board = file_board(&hevc, false, false);
        board.audio = None;
        let mut camera = Camera::new(board);
        camera.start(1, SILENT);
        let take = camera.rest();
        assert_eq!(take.fault_kind(), FaultKind::WrongCodec, "{}", take.message());
        assert!(take.message().contains("gives H.265, and the board says H.264"), "{}", take.message());
        assert!(take.message().contains("video.codec = \"h265\""), "{}", take.message());
    }
}

#[test]
fn an_rtsp_camera_is_recorded_as_it_is() {
    let folder = folder();
    let server = Server::start(&["silent", "h265"]);
    let mut board = server.board(false);
    board.video.format = VideoFormat::H265;
    let mut camera = Camera::new(board);

    camera.start(1, SILENT);
    let chunks = camera.fragments(4);
    camera.stop(1, StopManner::Drain, SpanEnd::Shutdown);
    camera.rest();

    assert_eq!(gops(&chunks)[1..], [10; 3]);
    is_a_valid_stream(&chunks);
    assert!(chunks[0].init.codecs.starts_with("hvc1.1."), "{}", chunks[0].init.codecs);
    for (path, count) in fragments(folder.path(), &chunks) {
        assert_eq!(shown(&path).len(), count as usize);
    }
}

#[test]
fn b_frames_of_open_and_closed_gops_come_over_rtsp_as_from_a_file() {
    let folder = folder();
    for coding in [CLOSED, OPEN] {
        let path = folder.path().join("clip.mp4");
        clip265(&path, 50, coding, &["-tag:v", "hvc1"]);
        let server = Server::start(&["clip", path.to_str().unwrap(), "0", "h265"]);
        let mut board = server.board(false);
        board.video.format = VideoFormat::H265;
        board.video.fps = 25.into();
        let mut camera = Camera::new(board);

        camera.start(1, SILENT);
        let take = camera.rest();

        is_a_valid_stream(&take.chunks);
        let (original, stored) = (shown(&path), decoded_in_order(&write(folder.path(), &take.chunks)));
        assert_eq!(stored, original, "{coding}");
        for (path, count) in fragments(folder.path(), &take.chunks) {
            assert_eq!(decoded_in_order(&path).len(), count as usize);
        }
    }
}

#[test]
fn a_camera_that_offers_another_codec_than_the_board_says_is_named() {
    for (served, told, format) in [
        ("h265", "gives H.265, and the board says H.264", VideoFormat::H264),
        ("h264", "gives H.264, and the board says H.265", VideoFormat::H265),
    ] {
        let server = Server::start(&["silent", served]);
        let mut board = server.board(false);
        board.video.format = format;
        let mut camera = Camera::new(board);

        camera.start(1, SILENT);
        let take = camera.rest();

        assert_eq!(take.fault_kind(), FaultKind::WrongCodec, "{}", take.message());
        assert!(take.message().contains(told), "{}", take.message());
        assert!(take.chunks.is_empty());
    }
}

#[test]
fn raw_frames_encoded_with_x265_are_recorded() {
    let folder = folder();
    let mut board = test_board();
    board.video.encoder = Some(Encoder::from(EncoderKind::X265));
    let mut camera = Camera::new(board);

    camera.start(1, WITH_AUDIO);
    let chunks = camera.fragments(4);
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);
    camera.rest();

    assert_eq!(gops(&chunks), [10; 4]);
    is_a_valid_stream(&chunks);
    let codecs = &chunks[0].init.codecs;
    assert!(codecs.starts_with("hvc1.1.6.L") && codecs.ends_with(",mp4a.40.2"), "{codecs}");
    let files = fragments(folder.path(), &chunks);
    for (path, count) in &files {
        assert_eq!(shown(path).len(), *count as usize);
        let cards = crate::oracle::card_reader::found_in(&std::fs::read(path).unwrap());
        assert_eq!(cards.len(), *count as usize, "each frame has its card");
    }
}

/// Compares the sequence parameter sets with what ffprobe reads of the same stream.
#[test]
fn parameter_sets_are_read_as_another_reader_reads_them() {
    let folder = folder();
    for (name, pixels, x265, options) in [
        ("plain", "yuv420p", "", &[][..]),
        ("deep", "yuv420p10le", "", &[]),
        ("full_chroma", "yuv444p", "", &[]),
        ("half_chroma", "yuv422p10le", "", &[]),
        ("odd_size", "yuv420p", "", &["-s", "418x234"]),
        ("small_blocks", "yuv420p", "ctu=16:min-cu-size=8", &[]),
        ("wide_samples", "yuv420p", "sar=3", &[]),
        ("samples_by_hand", "yuv420p", "sar=5\\:7", &[]),
        ("layers", "yuv420p", "temporal-layers=1:bframes=3:b-adapt=0:b-pyramid=1", &[]),
        ("high_tier", "yuv420p", "level-idc=4.1:high-tier=1:vbv-maxrate=30000:vbv-bufsize=30000", &[]),
        ("hrd", "yuv420p", "hrd=1:vbv-maxrate=1000:vbv-bufsize=1000", &[]),
        ("lists", "yuv420p", "scaling-list=default", &[]),
        ("many_references", "yuv420p", "ref=5:bframes=4:b-adapt=0:b-pyramid=1", &[]),
        ("in_order", "yuv420p", "bframes=0", &[]),
    ] {
        let path = folder.path().join(format!("{name}.h265"));
        let all = [&["-pix_fmt", pixels], options].concat();
        clip265(&path, 12, &format!("keyint=12{}{x265}", if x265.is_empty() { "" } else { ":" }), &all);
        let bytes = std::fs::read(&path).unwrap();
        let nals: Vec<_> =
            kasacam::capture::Nals::new(bytes.into(), kasacam::capture::Packing::StartCodes).collect();
        let mut sets = ParameterSets::default();
        for nal in &nals {
            sets.learn(nal);
        }
        let sps = nals.iter().find_map(|nal| Sps::read(nal).filter(|_| nal[0] >> 1 == 33)).unwrap();

        let entries = "profile,width,height,pix_fmt,level,sample_aspect_ratio,has_b_frames";
        let entry = |name: &str| probed(&path, name);
        assert_eq!(entry("width,height"), format!("{},{}", sps.size.0, sps.size.1), "{name}: {entries}");
        let bits = 8 + sps.depths.0;
        let chroma = ["gray", "yuv420p", "yuv422p", "yuv444p"][usize::from(sps.chroma)];
        let form = if bits == 8 { chroma.to_owned() } else { format!("{chroma}{bits}le") };
        assert_eq!(entry("pix_fmt"), form, "{name}");
        assert_eq!(entry("level"), sps.profile.0[11].to_string(), "{name}");
        assert_eq!(entry("has_b_frames"), sps.reordering.to_string(), "{name}");
        let aspect = format!("{}:{}", sps.aspect.0, sps.aspect.1);
        assert!(
            [aspect.as_str(), "N/A"].contains(&entry("sample_aspect_ratio").as_str()),
            "{name}: {aspect}"
        );
        let frames = nals.iter().filter(|nal| nal[0] >> 1 < 32);
        let read = frames.filter(|nal| kasacam::capture::h265::Slice::read(nal, &sets).is_some()).count();
        assert_eq!(read, 12, "{name}: each slice is read");
        let expected = [("layers", sps.sub_layers > 1), ("high_tier", sps.profile.0[0] & 0x20 != 0)];
        assert!(expected.iter().all(|(form, is)| *form != name || *is), "{name}: {sps:?}");
    }
}

/// Instead of a device: a source whose caps are known only when it is open, as with `v4l2src`.
#[test]
fn a_device_that_encodes_another_codec_than_the_board_says_is_named() {
    let folder = folder();
    for (wanted, given) in [(VideoFormat::H264, "h265"), (VideoFormat::H265, "h264")] {
        let path = folder.path().join(format!("clip.{given}"));
        match given {
            "h264" => clip(&path, 20, 10, 0, &[]),
            _ => clip265(&path, 20, CLOSED, &[]),
        }
        let mut board = test_board();
        board.video.source = VideoSource::V4l2 { device: path.clone() };
        board.video.format = wanted;
        board.video.encoder = None;
        board.audio = None;
        let mut camera = Camera::altered(board, move |description| {
            let filter = description.video.pop().unwrap();
            assert!(matches!(&filter, Stage::Caps(caps) if !caps.contains(given)), "{filter:?}");
            let device = Element::new("filesrc").with("location", path.display());
            description.video =
                vec![Stage::Element(device), Stage::Element(Element::new("typefind")), filter];
        });

        camera.start(1, SILENT);
        let take = camera.rest();

        assert_eq!(take.fault_kind(), FaultKind::WrongCodec, "{}", take.message());
        assert!(take.message().contains(&format!("video.codec = \"{given}\"")), "{}", take.message());
    }
}
