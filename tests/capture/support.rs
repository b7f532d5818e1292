//! A source under test, and what it delivers.

pub use crate::patience::patient;
use crossbeam_channel::{Receiver, RecvTimeoutError, bounded, unbounded};
use kasacam::capture::FragmentSource;
use kasacam::capture::gst::GstSource;
use kasacam::capture::pipeline::Description;
use kasacam::config::{
    AudioSource, Board, Durability, EncoderKind, Recording, Video, VideoFormat, VideoSource,
};
use kasacam::domain::codec::Codec;
use kasacam::domain::effect::{CaptureSettings, StopManner};
use kasacam::domain::entitlement::{Entitlement, Features};
use kasacam::domain::fragment::{Captured, Chunk, Epoch, SpanEnd};
use kasacam::domain::input::{Fault, FaultKind, Input};
use kasacam::domain::policy::{
    self, Hearing, Permit, PolicyFacts, PrivacyPending, Rules, TrustedClock, WhenFull,
};
use kasacam::domain::privacy::Privacy;
use kasacam::domain::storage::StorageState;
use kasacam::domain::time::Mono;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longer than any step takes on a busy machine.
pub fn deadline() -> Duration {
    patient(Duration::from_secs(30))
}

pub const WITH_AUDIO: CaptureSettings = CaptureSettings { audio: true, max_height: 1080 };
pub const SILENT: CaptureSettings = CaptureSettings { audio: false, max_height: 1080 };

pub struct Camera {
    pub source: GstSource,
    pub captured: Receiver<Captured>,
    pub inputs: Receiver<Input>,
}

/// Everything of one epoch.
#[derive(Debug)]
pub struct Take {
    pub chunks: Vec<Chunk>,
    pub end: SpanEnd,
    pub closed_at: Mono,
    pub fault: Option<Fault>,
}

pub fn permit(epoch: u64) -> Permit {
    let features = Features { record: true, audio: true, max_height: 4320, history_hours: 24, h265: true };
    let facts = PolicyFacts {
        privacy: Privacy::Record,
        entitlement: Entitlement::Granted(features),
        clock: TrustedClock::Trusted,
        storage: StorageState::Roomy,
        hearing: Hearing::Heard,
        rules: Rules {
            audio: true,
            when_full: WhenFull::Evict,
            pending: PrivacyPending::Upload,
            codec: Codec::H264,
        },
    };
    policy::permit(&policy::decide(&facts), Epoch(epoch)).unwrap()
}

pub fn test_board() -> Board {
    Board {
        name: String::from("test"),
        video: Video {
            source: VideoSource::Test,
            format: VideoFormat::Raw,
            encoder: Some(EncoderKind::X264.into()),
            width: 320,
            height: 180,
            fps: 20.into(),
            bitrate: 300_000,
            profiles: Vec::new(),
            colorimetry: None,
            pixels: None,
            source_properties: Vec::new(),
        },
        audio: Some(AudioSource::Test.into()),
    }
}

/// A file source with the frame rate of [`clip`].
pub fn file_board(path: &Path, realtime: bool, repeat: bool) -> Board {
    let mut board = test_board();
    board.video.source = VideoSource::File { path: path.to_owned(), realtime, repeat };
    board.video.format = VideoFormat::H264;
    board.video.encoder = None;
    board.video.fps = 25.into();
    board.audio = Some(AudioSource::Embedded.into());
    board
}

/// A GOP is half a second, a chunk 200 ms.
pub fn recording() -> Recording {
    Recording {
        segment: Duration::from_secs(4),
        fragment: Duration::from_millis(500),
        chunk: Duration::from_millis(200),
        durability: Durability::Fragment,
        audio: true,
    }
}

impl Camera {
    pub fn new(board: Board) -> Camera {
        Camera::with_room(board, 64)
    }

    pub fn with_room(board: Board, room: usize) -> Camera {
        Camera::recording(board, recording(), room)
    }

    pub fn recording(board: Board, recording: Recording, room: usize) -> Camera {
        let (chunks, captured) = bounded(room);
        let (inputs_tx, inputs) = unbounded();
        let report = Arc::new(move |input| inputs_tx.send(input).unwrap_or(()));
        Camera { source: GstSource::new(board, recording, chunks, report), captured, inputs }
    }

    /// With a pipeline that `change` has altered.
    pub fn altered(board: Board, change: impl Fn(&mut Description) + Send + Sync + 'static) -> Camera {
        let (chunks, captured) = bounded(64);
        let (inputs_tx, inputs) = unbounded();
        let report = Arc::new(move |input| inputs_tx.send(input).unwrap_or(()));
        let describe = move |settings| {
            let mut description = kasacam::capture::board::describe(&board, &recording(), settings)?;
            change(&mut description);
            Ok(description)
        };
        Camera { source: GstSource::described(Arc::new(describe), chunks, report), captured, inputs }
    }

    pub fn start(&mut self, epoch: u64, settings: CaptureSettings) {
        self.source.start(permit(epoch), settings);
    }

    pub fn stop(&mut self, epoch: u64, manner: StopManner, reason: SpanEnd) {
        self.source.stop(Epoch(epoch), manner, reason);
    }

    pub fn chunk(&self) -> Chunk {
        match self.captured.recv_timeout(deadline()) {
            Ok(Captured::Chunk(chunk)) => chunk,
            Ok(end) => panic!("the run ended: {end:?}; {:?}", self.inputs.try_iter().collect::<Vec<_>>()),
            Err(why) => panic!("no chunk: {why}; {:?}", self.inputs.try_iter().collect::<Vec<_>>()),
        }
    }

    /// Chunks up to the end of the `count`th fragment.
    pub fn fragments(&self, count: usize) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let mut ended = 0;
        while ended < count {
            let chunk = self.chunk();
            ended += usize::from(chunk.ends_fragment);
            chunks.push(chunk);
        }
        chunks
    }

    /// All that is still delivered, to the end of the run.
    pub fn rest(&self) -> Take {
        let started = Instant::now();
        let mut chunks = Vec::new();
        let end = loop {
            match self.captured.recv_timeout(deadline()) {
                Ok(Captured::Chunk(chunk)) => chunks.push(chunk),
                Ok(Captured::End { reason, .. }) => break reason,
                Err(why) => panic!("no end: {why}; {:?}", self.inputs.try_iter().collect::<Vec<_>>()),
            }
            assert!(started.elapsed() < 2 * deadline(), "the run does not end");
        };
        loop {
            match self.inputs.recv_timeout(deadline()) {
                Ok(Input::CaptureClosed { at, fault, .. }) => {
                    return Take { chunks, end, closed_at: at, fault };
                }
                Ok(_) => {}
                Err(why) => panic!("no CaptureClosed: {why}"),
            }
        }
    }

    /// Asserts that nothing more comes for a while.
    pub fn is_silent_for(&self, time: Duration) {
        match self.captured.recv_timeout(time) {
            Err(RecvTimeoutError::Timeout) => {}
            other => panic!("something came after the end: {other:?}"),
        }
        let more: Vec<Input> = self.inputs.try_iter().collect();
        assert!(more.is_empty(), "something was reported after the end: {more:?}");
    }

    pub fn started(&self) -> Epoch {
        match self.inputs.recv_timeout(deadline()) {
            Ok(Input::CaptureStarted { epoch }) => epoch,
            other => panic!("instead of CaptureStarted: {other:?}"),
        }
    }
}

impl Take {
    pub fn fault_kind(&self) -> FaultKind {
        self.fault.as_ref().expect("a fault").kind
    }

    pub fn message(&self) -> &str {
        &self.fault.as_ref().expect("a fault").message
    }
}

pub fn frames(chunks: &[Chunk]) -> u32 {
    chunks.iter().map(|chunk| chunk.frames).sum()
}

/// Frames in each fragment.
pub fn gops(chunks: &[Chunk]) -> Vec<u32> {
    let mut gops = Vec::new();
    let mut open = None;
    for chunk in chunks {
        assert_eq!(chunk.starts_fragment, open.is_none(), "fragments begin where the one before ends");
        let frames = open.unwrap_or(0) + chunk.frames;
        open = if chunk.ends_fragment {
            gops.push(frames);
            None
        } else {
            Some(frames)
        };
    }
    assert_eq!(open, None, "the last fragment is complete");
    gops
}

/// Rules for the chunks of every run.
pub fn is_a_valid_stream(chunks: &[Chunk]) {
    use kasacam::fmp4;
    let mut end: Option<Mono> = None;
    let mut decode: Option<u64> = None;
    let first = chunks.first().map_or(1, |it| fmp4::read_chunk(&it.init, &it.bytes).unwrap().sequence);
    for (index, chunk) in chunks.iter().enumerate() {
        let info = fmp4::read_chunk(&chunk.init, &chunk.bytes).unwrap();
        assert_eq!(info.moof, 0, "moof first");
        assert_eq!(info.sequence, first + u32::try_from(index).unwrap(), "sequence numbers grow by one");
        assert_eq!(info.end, chunk.bytes.len() as u64, "nothing behind the mdat");
        let run = info.runs.iter().find(|run| run.track == chunk.init.video.id).expect("frames");
        assert_eq!(run.samples, chunk.frames);
        assert_eq!(info.starts_with_sync, chunk.starts_fragment, "chunk {index}");
        let frame = chunk.duration / u64::from(chunk.frames);
        if let Some(end) = end {
            let off = end.0.abs_diff(chunk.start.0);
            assert!(
                off < frame / 2 + 1_000_000,
                "chunk {index} begins {off} ns off the end of the one before"
            );
        }
        if let Some(decode) = decode {
            let off = decode.abs_diff(run.decode_time);
            let tick = u64::from(chunk.init.video.timescale) / 500 + 1;
            assert!(off <= tick, "decode time of chunk {index} is {off} ticks off");
        } else {
            assert!(run.decode_time * 10 < u64::from(chunk.init.video.timescale), "a run starts near 0");
        }
        end = Some(Mono(chunk.start.0 + chunk.duration));
        decode = Some(run.decode_time + run.duration);
    }
}

/// The chunks as one file.
pub fn write(folder: &Path, chunks: &[Chunk]) -> PathBuf {
    let path = folder.join("captured.mp4");
    let mut bytes = chunks[0].init.bytes.to_vec();
    for chunk in chunks {
        bytes.extend_from_slice(&chunk.bytes);
    }
    std::fs::write(&path, bytes).unwrap();
    path
}

pub fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let done =
        Command::new(program).args(arguments).output().unwrap_or_else(|why| panic!("{program}: {why}"));
    assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    done.stdout
}

/// Makes a clip of `frames` frames at 25 a second, with an IDR every `gop`; more by `options`.
pub fn clip(path: &Path, frames: u32, gop: u32, b_frames: u32, options: &[&str]) {
    let (frames, gop) = (frames.to_string(), gop.to_string());
    let x264 = format!("scenecut=0:open-gop=0:bframes={b_frames}:b-adapt=0:threads=1");
    let path = path.to_str().unwrap();
    let seconds = format!("{}", f64::from(frames.parse::<u32>().unwrap()) / 25.0);
    let tone = format!("sine=frequency=440:sample_rate=48000:duration={seconds}");
    let mut arguments = vec!["-v", "error", "-y", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25"];
    if options.contains(&"audio") {
        arguments.extend(["-f", "lavfi", "-i", &tone, "-c:a", "aac", "-b:a", "64k"]);
    }
    arguments.extend(["-frames:v", &frames, "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt", "yuv420p"]);
    arguments.extend(["-g", &gop, "-keyint_min", &gop, "-x264-params", &x264]);
    arguments.extend(options.iter().filter(|option| **option != "audio"));
    arguments.push(path);
    run("ffmpeg", &arguments);
}

/// The coded slices of a file in order: NAL units of type 1 and 5.
pub fn slices(path: &Path) -> Vec<Vec<u8>> {
    let path = path.to_str().unwrap();
    let stream =
        run("ffmpeg", &["-v", "error", "-i", path, "-map", "0:v:0", "-c", "copy", "-f", "h264", "-"]);
    let mut nals = Vec::new();
    let mut from = None;
    let mut at = 0;
    while at + 3 <= stream.len() {
        if stream[at..at + 3] == [0, 0, 1] {
            if let Some(from) = from {
                nals.push(&stream[from..at]);
            }
            from = Some(at + 3);
            at += 3;
        } else {
            at += 1;
        }
    }
    nals.push(&stream[from.expect("a start code")..]);
    nals.iter()
        .filter(|nal| matches!(nal.first().map(|head| head & 0x1f), Some(1 | 5)))
        // A start code may have a leading zero, which does not belong to the slice.
        .map(|nal| nal[..nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)].to_vec())
        .collect()
}

/// Presentation times of the packets of a stream, in decoding order, in seconds.
pub fn times(path: &Path, stream: &str, which: &str) -> Vec<f64> {
    let entry = format!("packet={which}_time");
    let text = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-select_streams",
            stream,
            "-show_entries",
            &entry,
            "-of",
            "csv=p=0",
            path.to_str().unwrap(),
        ],
    );
    let text = String::from_utf8(text).unwrap();
    text.lines().filter_map(|line| line.trim_end_matches(',').parse().ok()).collect()
}

/// The number of frames that a decoder shows.
pub fn decoded(path: &Path) -> usize {
    let path = path.to_str().unwrap();
    // Frames whose distance varies are not to be counted as one.
    let passed = ["-fps_mode", "passthrough", "-f", "framecrc", "-"];
    let frames = [&["-v", "error", "-xerror", "-i", path, "-map", "0:v:0"], &passed[..]].concat();
    let text = String::from_utf8(run("ffmpeg", &frames)).unwrap();
    text.lines().filter(|line| !line.starts_with('#')).count()
}

pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}
