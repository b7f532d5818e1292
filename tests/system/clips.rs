//! Real clips through the whole agent: the store holds exactly what the clip holds, bit by bit.

use crate::support::bucket::{Stored, assert_spans_are_whole};
use crate::support::camera::Camera;
use crate::support::clip::Clip;
use crate::support::cloud::{Cloud, wait};
use crate::support::h264::{Movie, Slice, Sum, Track};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kasacam::domain::time::Utc;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tempfile::TempDir;

/// A minute of full HD, with B-frames; a GOP is two seconds.
fn full_hd() -> Clip {
    let source =
        ["-f", "lavfi", "-i", "testsrc2=size=960x540:rate=15", "-vf", "scale=1920:1080:flags=neighbor"];
    let coding = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-g", "30", "-b:v", "2M"];
    Clip::by_ffmpeg("full-hd.mp4", &[&source[..], &["-frames:v", "900"], &coding].concat())
}

/// A small clip with 25 frames per second; `options` add to it.
fn small(name: &str, frames: u32, gop: u32, options: &[&str]) -> Clip {
    let (gop, seconds) = (gop.to_string(), f64::from(frames) / 25.0);
    let source = ["-f", "lavfi", "-i", &format!("testsrc2=size=320x180:rate=25:duration={seconds}")];
    let coding = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"];
    let gops = ["-g", &gop, "-keyint_min", &gop, "-sc_threshold", "0"];
    Clip::by_ffmpeg(name, &[&source[..], options, &coding, &gops].concat())
}

/// A board whose camera is a file, which is read once and as fast as possible.
struct Board {
    folder: TempDir,
}

impl Board {
    fn of(clip: &Clip, (width, height, fps): (u32, u32, u32), audio: bool) -> Board {
        let folder = TempDir::new().unwrap();
        let path = clip.path.to_str().unwrap();
        let audio = if audio { "[audio]\nsource = { kind = \"embedded\" }\n" } else { "" };
        let text = format!(
            "name = \"clip\"\n[video]\n\
             source = {{ kind = \"file\", path = \"{path}\", realtime = false, loop = false }}\n\
             format = \"h264\"\nwidth = {width}\nheight = {height}\nfps = {fps}\nbitrate = \"2 Mbit/s\"\n{audio}"
        );
        std::fs::write(folder.path().join("board.toml"), text).unwrap();
        Board { folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("board.toml")
    }
}

/// A camera that has recorded its clip and was stopped.
struct Take {
    cloud: Cloud,
    stored: Vec<Stored>,
    /// The last status before the stop.
    status: Value,
}

impl Take {
    /// Records the clip to its end. `plan` are the arguments of the command `plan`.
    fn of(clip: &Clip, board: &Board, segment: &str, plan: &[&str]) -> Take {
        let path = board.path();
        let cloud = Cloud::start(&["--segment", segment, "--board", path.to_str().unwrap()]);
        cloud.tell(&[&["plan"], plan].concat());
        cloud.tell(&["privacy", "off"]);
        let camera = Camera::start(&cloud);
        let frames = clip.frames();
        let status = camera.wait_for("the whole clip stored", |status| {
            status["capture"]["frames_committed"].as_u64() >= Some(frames)
                && status["capture"]["open"] == false
                && status["spool"]["pending"] == 0
        });
        camera.stop();
        Take { stored: cloud.stored(), cloud, status }
    }

    fn footage(&self) -> impl Iterator<Item = &Stored> {
        self.stored.iter().filter(|object| !object.is_end())
    }

    fn movies(&self) -> Vec<Movie> {
        self.footage().map(|object| Movie::read(&object.body)).collect()
    }

    fn folder(&self) -> &Path {
        self.cloud.dir()
    }
}

/// The slices of all objects are those of the clip, and nothing more.
fn assert_is_the_clip(movies: &[Movie], clip: &Clip) {
    let stored: Vec<Slice> = movies.iter().flat_map(|movie| movie.video.slices()).collect();
    assert_same(&stored, &clip.slices);
    let frames: usize = movies.iter().map(|movie| movie.video.samples.len()).sum();
    assert_eq!(frames as u64, clip.frames(), "one sample a frame");
    for movie in movies {
        let mut sets = movie.video.parameter_sets.clone();
        sets.sort();
        assert_eq!(sets, clip.parameter_sets, "the parameter sets are in the moov");
    }
}

/// Like `assert_eq`, without printing a page of numbers.
pub fn assert_same<T: PartialEq + std::fmt::Debug>(stored: &[T], made: &[T]) {
    let differs = stored.iter().zip(made).position(|(stored, made)| stored != made);
    assert_eq!(differs, None, "the first that differs, of {} stored and {} made", stored.len(), made.len());
    assert_eq!(stored.len(), made.len());
}

/// Where the media times of a file begin relative to those of the first one, in seconds, from its `prft`. In
/// each file they begin at zero.
fn origin(movies: &[Movie], movie: &Movie) -> f64 {
    let begins = |movie: &Movie| {
        let (_, ntp, media) = movie.references[0];
        let ticks = movie.video.samples.iter().map(|sample| sample.decoded).min().unwrap();
        assert!(ticks * 10 < u64::from(movie.video.timescale), "it begins at {ticks} ticks");
        (i128::from(ntp), media as f64 / f64::from(movie.video.timescale))
    };
    let ((first, from), (this, at)) = (begins(&movies[0]), begins(movie));
    (this - first) as f64 / 4_294_967_296.0 - (at - from)
}

/// Frames are shown at even distances from the first to the last of a span, whichever object they are in.
///
/// A byte stream does not announce how far its frames are reordered; if a later GOP is reordered further than
/// all before it, what follows is shown one frame later: `shifts` times.
fn assert_even(movies: &[Movie], fps: u32, shifts: usize) {
    let mut shown: Vec<i64> = Vec::new();
    for movie in movies {
        let begins = origin(movies, movie) * f64::from(movie.video.timescale);
        shown.extend(movie.video.samples.iter().map(|sample| sample.presented + begins.round() as i64));
    }
    shown.sort_unstable();
    let frame = i64::from(movies[0].video.timescale / fps);
    let distances = shown.windows(2).map(|pair| pair[1] - pair[0]);
    // An MP4 or MKV file may round times to milliseconds.
    let odd: Vec<i64> = distances.filter(|distance| (distance - frame).abs() * 10 > frame).collect();
    assert!(odd.iter().all(|distance| (distance - 2 * frame).abs() * 10 <= frame), "{odd:?}");
    assert!(odd.len() <= shifts, "not at even distances of {frame} ticks: {odd:?}");
}

/// What section 6 of the contract says of every object, seen from outside.
fn assert_keeps_the_contract(object: &Stored, (segment, gop): (f64, f64), last: bool) {
    let movie = Movie::read(&object.body);
    let video = &movie.video;
    assert!(video.samples[0].sync, "{}: the first sample is an IDR", object.key);
    assert!(video.slices()[0].idr, "{}: the first slice is that of an IDR", object.key);
    assert_eq!(movie.boxes[..3], [*b"ftyp", *b"moov", *b"uuid"]);

    let ticks = video.ticks();
    let seconds = (ticks.end - ticks.start) as f64 / f64::from(video.timescale);
    assert!(seconds < segment + gop, "{}: {seconds} s", object.key);
    assert!(last || seconds > segment - 0.01, "{}: only {seconds} s", object.key);
    let said: f64 = object.metadata("duration-ms").parse().unwrap();
    assert!((said / 1000.0 - seconds).abs() < 0.003, "{}: {said} ms, not {seconds} s", object.key);

    // The attributes of ONVIF are stored besides the camera's own.
    let iso = object.metadata("duration").strip_prefix("PT").unwrap().strip_suffix('S').unwrap();
    assert!((iso.parse::<f64>().unwrap() - seconds).abs() < 0.001, "{}: {iso}, not {seconds} s", object.key);
    assert_eq!(object.metadata("source"), object.metadata("device-id"));
    let rate: f64 = object.metadata("videoframerate").parse().unwrap();
    assert!((rate - video.samples.len() as f64 / seconds).abs() < 0.01, "{}: {rate}", object.key);
    let agree = movie.audio.is_none();
    assert_eq!(object.facts.metadata.contains_key("seektable"), agree, "{}", object.key);

    let (track, captured, _) = movie.references[0];
    assert_eq!(track, video.id);
    assert!(object.key.contains(&key_time(captured)), "{} begins {}", object.key, key_time(captured));

    let content_type = object.facts.content_type.as_deref().unwrap();
    let codecs = content_type.strip_prefix("video/mp4; codecs=\"").unwrap().strip_suffix('"').unwrap();
    let sps = video.parameter_sets.iter().find(|set| set[0] & 0x1f == 7).unwrap();
    assert!(codecs.starts_with(&format!("avc1.{:02x}{:02x}{:02x}", sps[1], sps[2], sps[3])), "{codecs}");
    assert_eq!(codecs.ends_with(",mp4a.40.2"), movie.audio.is_some(), "{codecs}");
}

/// An NTP time in the form of a key, rounded down to the microsecond.
fn key_time(ntp: u64) -> String {
    // From 1900 to 1970.
    let seconds = (ntp >> 32) - 2_208_988_800;
    let nanos = ((u128::from(ntp & 0xffff_ffff) * 1_000_000_000 + (1 << 31)) >> 32) as u64;
    let at = Utc(i64::try_from(seconds * 1_000_000_000 + nanos).unwrap()).civil();
    format!(
        "/{:04}-{:02}-{:02}/{:02}/{:02}-{:02}.{:06}Z.",
        at.year, at.month, at.day, at.hour, at.minute, at.second, at.micros
    )
}

#[test]
fn a_minute_of_full_hd_is_stored_bit_by_bit() {
    let clip = full_hd();
    assert_eq!(clip.frames(), 900);
    let board = Board::of(&clip, (1920, 1080, 15), false);

    let began = Instant::now();
    let take = Take::of(&clip, &board, "4s", &["plus"]);
    let took = began.elapsed();

    let movies = take.movies();
    assert_is_the_clip(&movies, &clip);
    assert_even(&movies, 15, 0);
    assert_spans_are_whole(&take.stored, true);
    assert_eq!(take.status["capture"]["frames_committed"], 900, "none twice");
    assert!(took.as_secs() < 30, "a minute took {took:?}");
    for (index, object) in take.footage().enumerate() {
        assert_keeps_the_contract(object, (4.0, 2.0), index + 1 == movies.len());
    }
    let reordered = |movie: &Movie| {
        let samples = &movie.video.samples;
        samples.windows(2).any(|pair| pair[1].presented < pair[0].presented)
    };
    assert!(movies.iter().all(reordered), "B-frames are kept as such");
    let decoded: u64 = take.footage().map(|object| object.decoded(take.folder())).sum();
    assert_eq!(decoded, 900, "each object alone can be decoded, and none lacks a frame");
}

#[test]
fn the_same_minute_as_a_byte_stream_is_stored_bit_by_bit() {
    let clip = full_hd().as_byte_stream();
    let board = Board::of(&clip, (1920, 1080, 15), false);

    let take = Take::of(&clip, &board, "10s", &["plus"]);

    let movies = take.movies();
    assert_is_the_clip(&movies, &clip);
    assert_even(&movies, 15, 1);
    assert_spans_are_whole(&take.stored, true);
    let probed: u64 = take.footage().map(|object| object.probed(take.folder())).sum();
    assert_eq!(probed, 900);
}

#[test]
fn a_clip_of_another_encoder_with_an_odd_gop_and_many_slices_is_stored_bit_by_bit() {
    let clip = Clip::by_gstreamer(
        "openh264.mkv",
        "videotestsrc num-buffers=300 pattern=ball ! video/x-raw,format=I420,width=1280,height=720,framerate=15/1 \
         ! openh264enc gop-size=37 bitrate=1000000 slice-mode=n-slices num-slices=4 ! h264parse ! matroskamux",
    );
    assert_eq!((clip.frames(), clip.slices.len()), (300, 1200));
    let board = Board::of(&clip, (1280, 720, 15), false);

    let take = Take::of(&clip, &board, "4s", &["plus"]);

    let movies = take.movies();
    assert_is_the_clip(&movies, &clip);
    assert_even(&movies, 15, 0);
    // Two GOPs are longer than four seconds.
    let frames: Vec<usize> = movies.iter().map(|movie| movie.video.samples.len()).collect();
    assert_eq!(frames, [74, 74, 74, 74, 4]);
    for (index, object) in take.footage().enumerate() {
        assert_keeps_the_contract(object, (4.0, 37.0 / 15.0), index + 1 == movies.len());
        assert_eq!(object.decoded(take.folder()), frames[index] as u64);
    }
}

#[test]
fn every_object_tells_whose_it_is_and_how_it_came_to_be() {
    let clip = small("told.mp4", 100, 25, &[]);
    let board = Board::of(&clip, (320, 180, 25), false);

    let take = Take::of(&clip, &board, "2s", &["plus", "--history-hours", "99"]);

    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(take.stored.len(), 3, "two segments and an end");
    for object in &take.stored {
        assert_eq!(object.metadata("device-id"), "cam-0001");
        assert_eq!(object.metadata("boot-id"), boot.trim());
        assert_eq!(object.metadata("plan"), "plus-monthly");
        assert_eq!(object.metadata("history-hours"), "99");
        assert_eq!(object.metadata("clock"), "trusted");
        assert_eq!(object.metadata("span"), take.stored[0].metadata("span"));
        assert_eq!(object.facts.tags.get("history-hours").map(String::as_str), Some("99"));
        let sum = ring::digest::digest(&ring::digest::SHA256, &object.body);
        assert_eq!(object.facts.sha256, STANDARD.encode(sum), "{}", object.key);
        assert_eq!(object.facts.bytes, object.body.len() as u64);
    }
    for object in take.footage() {
        assert_eq!(object.metadata("duration-ms"), "2000");
    }
    let end = take.stored.last().unwrap();
    assert!(end.is_end() && end.body.is_empty(), "{end:?}");
    assert_eq!(end.metadata("reason"), "source");
    assert_eq!(end.n(), 2);
}

#[test]
fn a_clip_that_has_ended_is_not_recorded_again() {
    let clip = small("once.mp4", 30, 10, &[]);
    let board = Board::of(&clip, (320, 180, 25), false);
    let path = board.path();
    let cloud = Cloud::start(&["--telemetry", "1s", "--board", path.to_str().unwrap()]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);

    let camera = Camera::start(&cloud);
    cloud.wait_for_event("the end of the clip", |event| event["payload"]["kind"] == "end_of_stream");
    camera.wait_until_all_is_stored();
    // A source that failed would be opened again after at most a second.
    let told = || cloud.events().iter().filter(|event| event["payload"]["capture"]["open"] == false).count();
    let before = told();
    wait("three seconds of telemetry", || (told() >= before + 3).then_some(()));

    let status = camera.status();
    assert_eq!(status["capture"]["starts"], 1, "{status}");
    assert_eq!(status["capture"]["frames_committed"], 30, "{status}");
    camera.stop();
    let movies: Vec<Movie> = cloud.footage().iter().map(|object| Movie::read(&object.body)).collect();
    assert_is_the_clip(&movies, &clip);
}

#[test]
fn a_gop_longer_than_a_segment_is_stored_whole() {
    let clip = small("long-gop.mp4", 220, 100, &[]);
    let board = Board::of(&clip, (320, 180, 25), false);

    let take = Take::of(&clip, &board, "2s", &["plus"]);

    let movies = take.movies();
    assert_is_the_clip(&movies, &clip);
    let frames: Vec<u64> = take.footage().map(|object| object.decoded(take.folder())).collect();
    assert_eq!(frames, [100, 100, 20]);
}

#[test]
fn a_clip_of_one_frame_is_stored() {
    let clip = small("one-frame.mp4", 1, 25, &[]);
    let board = Board::of(&clip, (320, 180, 25), false);

    let take = Take::of(&clip, &board, "2s", &["plus"]);

    assert_is_the_clip(&take.movies(), &clip);
    let object = take.footage().next().unwrap();
    assert_keeps_the_contract(object, (2.0, 1.0), true);
    assert_eq!(object.metadata("duration-ms"), "40");
    assert_eq!(object.decoded(take.folder()), 1);
    assert!(take.stored.last().unwrap().is_end());
}

#[test]
fn a_clip_of_one_gop_is_stored() {
    let clip = small("one-gop.mkv", 20, 25, &[]);
    let board = Board::of(&clip, (320, 180, 25), false);

    let take = Take::of(&clip, &board, "2s", &["plus"]);

    assert_is_the_clip(&take.movies(), &clip);
    let frames: Vec<u64> = take.footage().map(|object| object.decoded(take.folder())).collect();
    assert_eq!(frames, [20]);
}

/// Ten seconds with B-frames and AAC.
fn with_audio(name: &str, fps: u32) -> Clip {
    let video = format!("testsrc2=size=320x180:rate={fps}:duration=10");
    let tone = "aevalsrc=sin(440*t*(1+t/10)):sample_rate=48000:duration=10";
    let source = ["-f", "lavfi", "-i", &video, "-f", "lavfi", "-i", tone, "-c:a", "aac", "-ac", "1"];
    let coding = ["-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-sc_threshold", "0"];
    Clip::by_ffmpeg(name, &[&source[..], &coding, &["-g", &fps.to_string()]].concat())
}

/// The audio frames are those of the clip, in order, from the first video frame to the end of the last.
fn assert_has_the_audio(movies: &[Movie], clip: &Clip) {
    let made = clip.audio();
    let stored: Vec<Sum> = movies.iter().flat_map(|movie| movie.audio.as_ref().unwrap().sums()).collect();
    // The encoder's priming is before the first video frame.
    let first = made.iter().position(|sum| *sum == stored[0]).expect("the first frame is one of the clip");
    assert!(first <= 1, "{first} frames are missing at the front");
    assert_same(&stored, &made[first..first + stored.len()]);
    // A frame has 1024 samples, and the first one is the priming.
    let next = (first + stored.len()).saturating_sub(1) as f64 * 1024.0 / 48_000.0;
    let whole = first + stored.len() == made.len() || next >= 10.0;
    assert!(whole, "{} of {} frames: the audio ends at {next} s", stored.len(), made.len());
    let mut end = None;
    for (index, movie) in movies.iter().enumerate() {
        let audio = movie.audio.as_ref().unwrap();
        let seconds = |track: &Track, ticks: u64| ticks as f64 / f64::from(track.timescale);
        let (heard, seen) = (audio.ticks(), movie.video.ticks());
        // An audio frame lasts 21 ms, and is not cut.
        let begins = seconds(audio, heard.start) - seconds(&movie.video, seen.start);
        let ends = seconds(audio, heard.end) - seconds(&movie.video, seen.end);
        assert!(begins.abs() < 0.025 && ends.abs() < 0.025, "object {index}: {begins} s and {ends} s off");
        let at = |ticks: u64| seconds(audio, ticks) + origin(movies, movie);
        let gap = end.map_or(0.0, |end: f64| (at(heard.start) - end).abs());
        assert!(gap < 0.000_05, "the audio goes on where it was: {end:?} {heard:?}");
        end = Some(at(heard.end));
    }
}

#[test]
fn the_audio_of_a_clip_is_stored_bit_by_bit() {
    let clip = with_audio("audio.mkv", 25);
    let board = Board::of(&clip, (320, 180, 25), true);

    let take = Take::of(&clip, &board, "3s", &["plus"]);

    let movies = take.movies();
    assert_is_the_clip(&movies, &clip);
    assert_has_the_audio(&movies, &clip);
    for (index, object) in take.footage().enumerate() {
        assert_keeps_the_contract(object, (3.0, 1.0), index + 1 == movies.len());
        assert_eq!(object.decoded(take.folder()), movies[index].video.samples.len() as u64);
    }
}

#[test]
fn the_audio_beneath_the_last_of_slow_frames_is_stored() {
    let clip = with_audio("slow.mkv", 5);
    let board = Board::of(&clip, (320, 180, 5), true);

    let take = Take::of(&clip, &board, "3s", &["plus"]);

    let movies = take.movies();
    assert_is_the_clip(&movies, &clip);
    assert_has_the_audio(&movies, &clip);
}

#[test]
fn a_plan_without_audio_stores_no_audio_track() {
    let clip = with_audio("audio.mp4", 25);
    let board = Board::of(&clip, (320, 180, 25), true);

    let take = Take::of(&clip, &board, "5s", &["free"]);

    let movies = take.movies();
    assert_is_the_clip(&movies, &clip);
    assert!(movies.iter().all(|movie| movie.audio.is_none()));
    assert!(take.footage().all(|object| !object.facts.content_type.as_ref().unwrap().contains("mp4a")));
}
