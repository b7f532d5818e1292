//! The description of a pipeline: elements, properties, order. Plain data.

use super::controls;
use super::profile::Sizing;
use crate::config::{FrameRate, Property, RtspAccess};
use crate::domain::codec::Codec;
use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

/// Name of the element where frames from a file enter.
pub const VIDEO_FEED: &str = "video-feed";
/// Name of the element where the audio track of that file enters.
pub const AUDIO_FEED: &str = "audio-feed";
/// Name of the overlay that shows the number of each frame.
pub const NUMBER_OVERLAY: &str = "picture-number";
/// Name of the element whose frames get a test card.
pub const TEST_SOURCE: &str = "test-source";

/// One GStreamer element, by its factory's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Element {
    /// Name of the element factory, such as `v4l2src`.
    pub factory: &'static str,
    /// Name for elements that are looked up later.
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

    /// Names the element, for look-up in the pipeline.
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

    /// Sets a property and replaces its value. Controls of V4L2 are merged with those already set.
    pub fn set(&mut self, property: &str, value: &str) {
        match self.properties.iter_mut().find(|(name, _)| name == property) {
            Some((_, there)) if property == "extra-controls" => *there = controls::merged(there, value),
            Some((_, there)) => value.clone_into(there),
            None => self.properties.push((Cow::Owned(property.to_owned()), value.to_owned())),
        }
    }

    pub(super) fn with_all(mut self, properties: &[Property]) -> Element {
        for property in properties {
            self.set(&property.name, &property.value);
        }
        self
    }
}

/// One stage of a branch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// An element that must be installed.
    Element(Element),
    /// Chains of elements: the first of them that is installed completely.
    FirstOf(Vec<Vec<Element>>),
    /// Left out if it is not installed: nothing depends on it.
    Optional(Element),
    /// A `capsfilter`.
    Caps(String),
    /// A pipeline from the board file, in the syntax of `gst-launch-1.0`. May hold a password; never logged.
    Foreign(String),
}

/// The origin of the data of the branches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Each branch begins with its own source.
    Branches,
    /// An element that adds a pad for each stream it finds.
    Rtsp(Element),
    /// A file, read by the agent.
    File {
        /// The file.
        path: PathBuf,
        /// Its format.
        container: Container,
        /// Whether it starts again at its end.
        repeat: bool,
    },
}

/// The format of a file source.
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
    /// The origin of the stream.
    pub origin: Origin,
    /// The codec of the frames.
    pub codec: Codec,
    /// From the origin to the muxer, in order. Delivers frames of `codec`.
    pub video: Vec<Stage>,
    /// `None` if no audio is captured: then no audio element exists.
    pub audio: Option<Vec<Stage>>,
    /// The stages before `audio`, for each encoding that an RTSP camera may send.
    pub audio_paths: Vec<AudioPath>,
    /// The agent encodes: each buffer is one frame.
    pub encodes: bool,
    /// `recording.fragment`: used to detect a stall.
    pub fragment: Duration,
    /// `recording.chunk`: maximum length of a chunk, unless one frame is longer.
    pub chunk: Duration,
    /// `recording.segment`: an IDR frame is requested if a GOP is longer.
    pub segment: Duration,
    /// A live source is restarted if its GOP has more bytes.
    pub max_gop: u64,
    /// User and password of an RTSP camera, and how its certificate is verified.
    pub access: RtspAccess,
    /// UDP is tried if an RTSP camera refuses TCP.
    pub may_use_udp: bool,
    /// Maximum number of lines of a frame.
    pub max_height: u32,
    /// The profile of the board (0 for `[video]`), and how a frame gets its size.
    pub choice: (usize, Sizing),
    /// Frames a second, if the stream does not state it.
    pub fps: FrameRate,
    /// The source in messages. Contains no secret.
    pub source: String,
}

/// Why a board cannot be captured; for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit(pub String);

/// How one encoding becomes AAC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioPath {
    /// Its name in the SDP (RFC 8866, `rtpmap`) in capital letters, such as `PCMU`.
    pub encoding: &'static str,
    /// From RTP packets to AAC in any format.
    pub stages: Vec<Stage>,
}

/// GStreamer's media type of a codec.
#[must_use]
pub fn media(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => "video/x-h264",
        Codec::H265 => "video/x-h265",
    }
}

/// The queue of encoded data in a branch.
pub(super) fn queue() -> Element {
    Element::new("queue").with("max-size-buffers", 0).with("max-size-bytes", 8 << 20).with("max-size-time", 0)
}
