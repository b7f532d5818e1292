//! From a board to a description of its pipeline: which elements, with which properties, in which
//! order. Plain data, made by a pure function; [`super::gst`] builds it.

use super::controls;
use super::encoder::{self, Demand};
use super::profile::{self, Making};
use super::raw::Raw;
use super::rtp_sound::{self, SoundPath};
use crate::config::{
    AudioSource, Board, EncoderKind, FrameRate, Property, Recording, RtspAccess, Transport, VideoFormat,
    VideoSource,
};
use crate::domain::codec::Codec;
use crate::domain::effect::CaptureSettings;
use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

/// What is fed from a file comes in here.
pub const VIDEO_FEED: &str = "video-feed";
/// The sound track of that file.
pub const AUDIO_FEED: &str = "audio-feed";
/// Wherever it stands, every picture is given its number as text.
pub const NUMBERED: &str = "picture-number";
/// What comes out of it is given a test card.
pub const TEST_SOURCE: &str = "test-source";
/// A segment of the spool has more bytes, and a GOP ends before it does.
const MAX_GOP: u64 = 64 << 20;
/// Bits a second of the sound track that we encode.
const AUDIO_BITRATE: u32 = 64_000;

/// One GStreamer element, by its factory's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Name of the element factory, such as `v4l2src`.
    pub factory: &'static str,
    /// For elements that are looked up later.
    pub name: Option<&'static str>,
    /// In the syntax of `gst-launch-1.0`.
    pub properties: Vec<(Cow<'static, str>, String)>,
}

impl Element {
    /// Without a name and without properties.
    #[must_use]
    pub fn new(factory: &'static str) -> Element {
        Element { factory, name: None, properties: Vec::new() }
    }

    /// Gives the element a name, to be looked up in the pipeline by.
    #[must_use]
    pub fn named(mut self, name: &'static str) -> Element {
        self.name = Some(name);
        self
    }

    /// Adds a property, in the syntax of `gst-launch-1.0`.
    #[must_use]
    pub fn with(mut self, property: &'static str, value: impl ToString) -> Element {
        self.properties.push((Cow::Borrowed(property), value.to_string()));
        self
    }

    /// Sets a property, in place of the value that it has. Controls of V4L2 are laid over those that are there.
    pub fn set(&mut self, property: &str, value: &str) {
        match self.properties.iter_mut().find(|(name, _)| name == property) {
            Some((_, there)) if property == "extra-controls" => *there = controls::merged(there, value),
            Some((_, there)) => value.clone_into(there),
            None => self.properties.push((Cow::Owned(property.to_owned()), value.to_owned())),
        }
    }

    fn with_all(mut self, properties: &[Property]) -> Element {
        for property in properties {
            self.set(&property.name, &property.value);
        }
        self
    }
}

/// One link of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// One element that has to be installed.
    Element(Element),
    /// A chain of elements, the first of several that is installed in full.
    FirstOf(Vec<Vec<Element>>),
    /// Left out where it is not installed: nothing depends on it.
    Optional(Element),
    /// A `capsfilter`.
    Caps(String),
    /// What somebody else put together, in the syntax of `gst-launch-1.0`; may hold a password, and is never logged.
    Foreign(String),
}

/// Where the branches get their data from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Each branch begins with a source of its own.
    Branches,
    /// An element that grows a pad for each stream it finds.
    Rtsp(Element),
    /// A file, read by us.
    /// Of what `container` says; `repeat` begins again at its end.
    #[allow(missing_docs, reason = "its fields are told of above")]
    File { path: PathBuf, container: Container, repeat: bool },
}

/// What a file source is stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// ISO base media (ISO/IEC 14496-12), `.mp4`.
    Mp4,
    /// Matroska, `.mkv`.
    Matroska,
    /// A byte stream (Annex B of ITU-T H.264 and of ITU-T H.265).
    ByteStream,
}

/// A pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Where the stream comes from.
    pub origin: Origin,
    /// What the frames are coded in.
    pub codec: Codec,
    /// From the origin to the muxer, in order. Gives frames of `codec`.
    pub video: Vec<Stage>,
    /// Absent where no sound is to be captured: then nothing of it exists.
    pub audio: Option<Vec<Stage>>,
    /// What comes before `audio`, by what an RTSP camera sends.
    pub sound_paths: Vec<SoundPath>,
    /// The frames are encoded here: each buffer is one.
    pub encodes: bool,
    /// `recording.fragment`, by which a stall is judged.
    pub fragment: Duration,
    /// `recording.chunk`: a chunk is no longer, unless one frame is.
    pub chunk: Duration,
    /// `recording.segment`: where a GOP is longer, an IDR frame is asked for.
    pub segment: Duration,
    /// A live source whose GOP has more bytes is asked for its stream anew.
    pub max_gop: u64,
    /// User and password of an RTSP camera, and by what its certificate is believed.
    pub access: RtspAccess,
    /// An RTSP camera that refuses TCP is asked for UDP.
    pub may_use_udp: bool,
    /// Lines of picture at most.
    pub max_height: u32,
    /// Which of the board's pictures it is, and how it comes to its size.
    pub picture: (usize, Making),
    /// Pictures a second, where a stream does not tell.
    pub fps: FrameRate,
    /// The source, for messages: fit for a log.
    pub source: String,
}

/// What cannot be captured so, and why; for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit(pub String);

/// The pipeline of this board under these settings.
///
/// # Errors
/// Where the board asks for what there is not: raw pictures without an encoder.
pub fn describe(
    board: &Board,
    recording: &Recording,
    settings: CaptureSettings,
) -> Result<Description, Unfit> {
    describe_learnt(board, recording, settings, |_| None)
}

/// [`describe`], where `learnt` knows how many lines a picture of the board was seen to have.
///
/// # Errors
/// As [`describe`].
pub fn describe_learnt(
    board: &Board,
    recording: &Recording,
    settings: CaptureSettings,
    learnt: impl Fn(usize) -> Option<u32>,
) -> Result<Description, Unfit> {
    let choice = profile::choose(board, settings.max_height, learnt);
    let board = &Board { video: choice.video, ..board.clone() };
    let picture = (choice.profile, choice.making);
    let video = video(board, recording, settings, (choice.size.0, choice.size.1, choice.making))?;
    let audio = match (&board.audio, settings.audio) {
        (Some(audio), true) => Some(sound(board, &audio.source)),
        (Some(_) | None, _) => None,
    };
    let embedded = board.audio.as_ref().is_some_and(|audio| audio.source == AudioSource::Embedded);
    let from_rtsp = audio.is_some() && embedded && matches!(board.video.source, VideoSource::Rtsp { .. });
    let origin = match &board.video.source {
        VideoSource::Rtsp { url, transport, .. } => Origin::Rtsp(
            Element::new("rtspsrc")
                .with("location", url)
                .with(
                    "protocols",
                    match transport {
                        // Over UDP only once the camera has refused this.
                        Transport::Auto | Transport::Tcp => "tcp",
                        Transport::Udp => "udp",
                    },
                )
                .with("latency", 200)
                // Connecting and every answer: the run ends instead, and the agent starts another.
                .with("tcp-timeout", 5_000_000)
                .with("timeout", 5_000_000)
                // It is told that the stream ends; that the camera closes does not wait for its answer.
                .with("teardown-timeout", 50_000_000)
                .with_all(&board.video.source_properties),
        ),
        VideoSource::File { path, repeat, .. } => {
            Origin::File { path: path.clone(), container: container(path), repeat: *repeat }
        }
        VideoSource::V4l2 { .. }
        | VideoSource::Libcamera { .. }
        | VideoSource::Pipeline { .. }
        | VideoSource::Test => Origin::Branches,
    };
    Ok(Description {
        origin,
        codec: board.video.codec(),
        video,
        sound_paths: if from_rtsp { rtp_sound::sound_paths() } else { Vec::new() },
        audio,
        encodes: board.video.format == VideoFormat::Raw || choice.making == Making::Again,
        fragment: recording.fragment,
        chunk: recording.chunk,
        segment: recording.segment,
        max_gop: MAX_GOP,
        access: match &board.video.source {
            VideoSource::Rtsp { access, .. } => access.clone(),
            VideoSource::V4l2 { .. }
            | VideoSource::Libcamera { .. }
            | VideoSource::File { .. }
            | VideoSource::Pipeline { .. }
            | VideoSource::Test => RtspAccess::default(),
        },
        may_use_udp: matches!(board.video.source, VideoSource::Rtsp { transport: Transport::Auto, .. }),
        max_height: settings.max_height,
        picture,
        fps: board.video.fps,
        source: source_name(&board.video.source),
    })
}

fn video(
    board: &Board,
    recording: &Recording,
    settings: CaptureSettings,
    choice: (u32, u32, Making),
) -> Result<Vec<Stage>, Unfit> {
    let (width, height, making) = choice;
    let fps = board.video.fps;
    let properties = &board.video.source_properties;
    let mut stages = Vec::new();
    match &board.video.source {
        VideoSource::Test => return test_pictures(board, recording, settings),
        VideoSource::V4l2 { device } => {
            let source = Element::new("v4l2src").with("device", device.display()).with("do-timestamp", false);
            match board.video.format {
                VideoFormat::H264 | VideoFormat::H265 => {
                    let size = match making {
                        // The driver's list of sizes decides; the largest that fits is taken.
                        Making::Asked => format!("width=[16,{width}],height=[16,{height}]"),
                        Making::Given | Making::Again | Making::Beyond => {
                            format!("width={},height={}", board.video.width, board.video.height)
                        }
                    };
                    // A camera that encodes itself is told what an encoder is told.
                    let demand = demand(board, recording, (width, height));
                    let source = source.with("extra-controls", controls::demanded(demand));
                    stages.push(Stage::Element(source.with_all(properties)));
                    let media = media(board.video.codec());
                    stages.push(Stage::Caps(format!("{media},{size},framerate={fps}")));
                }
                VideoFormat::Raw => {
                    let raw = raw(board, settings)?;
                    stages.push(Stage::Element(raw.v4l2(source).with_all(properties)));
                    raw.stages(&mut stages);
                    encode(board, recording, &raw, &mut stages);
                }
            }
        }
        VideoSource::Libcamera { camera } => {
            let source = Element::new("libcamerasrc");
            let source = match camera {
                Some(camera) => source.with("camera-name", camera),
                None => source,
            };
            stages.push(Stage::Element(source.with_all(properties)));
            let raw = raw(board, settings)?;
            raw.stages(&mut stages);
            encode(board, recording, &raw, &mut stages);
        }
        VideoSource::Pipeline { description } => {
            stages.push(Stage::Foreign(description.clone()));
            match board.video.format {
                VideoFormat::H264 | VideoFormat::H265 => {
                    stages.push(Stage::Caps(String::from(stream_formats(board.video.codec()))));
                }
                VideoFormat::Raw => {
                    let raw = raw(board, settings)?;
                    raw.stages(&mut stages);
                    encode(board, recording, &raw, &mut stages);
                }
            }
        }
        VideoSource::Rtsp { .. } => {
            let codec = board.video.codec();
            stages.push(Stage::Element(Element::new(match codec {
                Codec::H264 => "rtph264depay",
                Codec::H265 => "rtph265depay",
            })));
            // Each NAL unit as it comes: with access units the depayloader would trust the marker bit.
            stages.push(Stage::Caps(format!("{},stream-format=byte-stream,alignment=nal", media(codec))));
            stages.push(Stage::Element(queue()));
        }
        VideoSource::File { realtime, .. } => {
            stages.push(Stage::Element(feed(VIDEO_FEED)));
            if *realtime {
                stages.push(Stage::Element(Element::new("clocksync")));
            }
        }
    }
    if making == Making::Again {
        let raw = raw(board, settings)?;
        stages.push(decoder());
        // A file that is read as fast as it goes waits; what is live cannot.
        raw.again(matches!(board.video.source, VideoSource::File { realtime: false, .. }), &mut stages);
        encode(board, recording, &raw, &mut stages);
    }
    Ok(stages)
}

/// The H.264 decoders that are tried: those of the processor first.
fn decoder() -> Stage {
    let known =
        ["v4l2slh264dec", "v4l2h264dec", "mppvideodec", "vpudec", "omxh264dec", "avdec_h264", "openh264dec"];
    Stage::FirstOf(known.map(|name| vec![Element::new("h264parse"), Element::new(name)]).to_vec())
}

/// GStreamer's name of what is coded so.
#[must_use]
pub fn media(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => "video/x-h264",
        Codec::H265 => "video/x-h265",
    }
}

/// Every packing (Annex B of either standard; ISO/IEC 14496-15).
fn stream_formats(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => "video/x-h264,stream-format={ (string)byte-stream, (string)avc }",
        Codec::H265 => "video/x-h265,stream-format={ (string)byte-stream, (string)hvc1, (string)hev1 }",
    }
}

fn test_pictures(
    board: &Board,
    recording: &Recording,
    settings: CaptureSettings,
) -> Result<Vec<Stage>, Unfit> {
    let named = board.video.encoder.as_ref().map(|encoder| encoder.kind);
    let raw = Raw::new(board, named.unwrap_or(EncoderKind::OpenH264), settings.max_height);
    let overlay = |element: Element| Stage::Optional(element.with("font-desc", "Monospace 18"));
    let mut stages = vec![
        Stage::Element(
            Element::new("videotestsrc").named(TEST_SOURCE).with("is-live", true).with("pattern", "smpte"),
        ),
        raw.drawn(),
        overlay(Element::new("timeoverlay").with("time-mode", "running-time").with("valignment", "bottom")),
        overlay(Element::new("textoverlay").named(NUMBERED).with("valignment", "top")),
    ];
    if named.is_some() {
        encode(board, recording, &raw, &mut stages);
    } else {
        let demand = demand(board, recording, raw.size());
        let either = [EncoderKind::X264, EncoderKind::OpenH264];
        stages.push(Stage::FirstOf(either.map(|kind| vec![encoder::element(kind, demand)]).to_vec()));
        stages.push(encoded(board));
    }
    Ok(stages)
}

fn raw(board: &Board, settings: CaptureSettings) -> Result<Raw<'_>, Unfit> {
    let encoder = board.video.encoder.as_ref();
    let encoder = encoder.ok_or_else(|| Unfit(String::from("raw pictures need `video.encoder`")))?;
    Ok(Raw::new(board, encoder.kind, settings.max_height))
}

fn demand(board: &Board, recording: &Recording, size: (u32, u32)) -> Demand {
    let gop = board.video.fps.pictures_in(recording.fragment);
    Demand {
        bitrate: board.video.bitrate,
        gop: u32::try_from(gop).unwrap_or(u32::MAX).max(1),
        size,
        fps: board.video.fps,
    }
}

fn encode(board: &Board, recording: &Recording, raw: &Raw<'_>, stages: &mut Vec<Stage>) {
    raw.encode(demand(board, recording, raw.size()), stages);
    stages.push(encoded(board));
}

fn encoded(board: &Board) -> Stage {
    Stage::Caps(format!("{},alignment=au", stream_formats(board.video.codec())))
}

fn sound(board: &Board, source: &AudioSource) -> Vec<Stage> {
    let encoded = |source: Element| {
        vec![
            Stage::Element(source),
            Stage::Element(queue()),
            Stage::Element(Element::new("audioconvert")),
            Stage::Element(Element::new("audioresample")),
            Stage::Caps(String::from("audio/x-raw,rate=48000,channels=1")),
            encoder::aac(AUDIO_BITRATE),
            Stage::Element(Element::new("aacparse")),
            Stage::Caps(String::from("audio/mpeg,mpegversion=4,stream-format=raw")),
        ]
    };
    match source {
        AudioSource::Alsa { device } => {
            let properties =
                board.audio.as_ref().map(|audio| audio.properties.as_slice()).unwrap_or_default();
            encoded(Element::new("alsasrc").with("device", device).with_all(properties))
        }
        AudioSource::Test => encoded(
            Element::new("audiotestsrc").with("is-live", true).with("wave", "ticks").with("volume", 0.2),
        ),
        AudioSource::Embedded => {
            let mut stages = match board.video.source {
                VideoSource::Rtsp { .. } => Vec::new(),
                VideoSource::File { .. }
                | VideoSource::V4l2 { .. }
                | VideoSource::Libcamera { .. }
                | VideoSource::Pipeline { .. }
                | VideoSource::Test => vec![Stage::Element(feed(AUDIO_FEED))],
            };
            stages.push(Stage::Element(Element::new("aacparse")));
            match &board.video.source {
                VideoSource::File { realtime: true, .. } => {
                    stages.push(Stage::Element(Element::new("clocksync")));
                }
                VideoSource::Rtsp { .. } => stages.push(Stage::Element(queue())),
                VideoSource::File { .. }
                | VideoSource::V4l2 { .. }
                | VideoSource::Libcamera { .. }
                | VideoSource::Pipeline { .. }
                | VideoSource::Test => {}
            }
            stages.push(Stage::Caps(String::from("audio/mpeg,mpegversion=4,stream-format=raw")));
            stages
        }
    }
}

/// What is read from a file is pushed into it.
fn feed(name: &'static str) -> Element {
    Element::new("identity").named(name).with("silent", true)
}

pub(super) fn queue() -> Element {
    Element::new("queue").with("max-size-buffers", 0).with("max-size-bytes", 8 << 20).with("max-size-time", 0)
}

/// The picture's size within `max_height` lines: the aspect is kept, both numbers are even, as
/// 4:2:0 needs. Never larger than it was.
#[must_use]
pub fn scaled(width: u32, height: u32, max_height: u32) -> (u32, u32) {
    if height <= max_height || height == 0 {
        return (width, height);
    }
    let lines = (max_height & !1).max(2);
    let columns = u64::from(width) * u64::from(lines) / u64::from(height);
    ((u32::try_from(columns).unwrap_or(u32::MAX) & !1).max(2), lines)
}

fn container(path: &std::path::Path) -> Container {
    match path.extension().and_then(|extension| extension.to_str()).map(str::to_ascii_lowercase).as_deref() {
        Some("mp4" | "m4v" | "mov") => Container::Mp4,
        Some("mkv") => Container::Matroska,
        Some(_) | None => Container::ByteStream,
    }
}

/// The source in a log: the host of an address, never its user, password, path or query.
fn source_name(source: &VideoSource) -> String {
    match source {
        VideoSource::V4l2 { device } => device.display().to_string(),
        VideoSource::Libcamera { camera } => match camera {
            Some(camera) => format!("camera {camera}"),
            None => String::from("the first camera of libcamera"),
        },
        VideoSource::Rtsp { url, .. } => {
            let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
            let authority = rest.split(['/', '?']).next().unwrap_or_default();
            let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
            format!("the RTSP camera at {host}")
        }
        VideoSource::File { path, .. } => path.display().to_string(),
        VideoSource::Pipeline { .. } => String::from("the board's own pipeline"),
        VideoSource::Test => String::from("the test source"),
    }
}
