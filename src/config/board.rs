//! The board file: the hardware of a product.

use super::encoder::Encoder;
use super::file::without_passwords;
use super::frame_rate::FrameRate;
use super::pixels::{Colorimetry, Pixels};
use super::properties::Property;
use std::fmt;
use std::path::PathBuf;

/// The board file: the hardware of this product.
#[derive(Clone, Debug, PartialEq)]
pub struct Board {
    /// The product: 1 to 64 of `A-Z a-z 0-9 - _ .`.
    pub name: String,
    /// The section `[video]`.
    pub video: Video,
    /// The section `[audio]`; `None` without a microphone.
    pub audio: Option<Audio>,
}

/// The section `[video]` of a board.
#[derive(Clone, Debug, PartialEq)]
pub struct Video {
    /// The source of the frames.
    pub source: VideoSource,
    /// What the source delivers, from `video.format` or implied by its kind.
    pub format: VideoFormat,
    /// The encoder for raw frames and for the test source; `None` if the source encodes.
    pub encoder: Option<Encoder>,
    /// Pixels: 16 to 7680, even.
    pub width: u32,
    /// Lines: 16 to 4320, even; the plan's `max_height` may lower it.
    pub height: u32,
    /// Frames a second, 1 to 120.
    pub fps: FrameRate,
    /// Bits a second.
    pub bitrate: u64,
    /// `[[video.profile]]`: other streams of the same camera, for plans that allow fewer lines. They have no profiles.
    pub profiles: Vec<Video>,
    /// `video.colorimetry`: raw frames are converted to it before they are encoded.
    pub colorimetry: Option<Colorimetry>,
    /// `video.source.pixels`: the pixel layout of the source, if it is set.
    pub pixels: Option<Pixels>,
    /// `video.source.properties`.
    pub source_properties: Vec<Property>,
}

/// `video.source`: the source of the frames.
#[derive(Clone, PartialEq)]
pub enum VideoSource {
    /// A V4L2 camera, through `v4l2src`.
    V4l2 {
        /// Such as `/dev/video0`.
        device: PathBuf,
    },
    /// A camera of libcamera, through `libcamerasrc`.
    Libcamera {
        /// Its name, as libcamera lists it; `None`: the first camera.
        camera: Option<String>,
    },
    /// A network camera (RTSP), through `rtspsrc`.
    Rtsp {
        /// `rtsp://` or `rtsps://`, without user and password; its path and query are never logged.
        url: String,
        /// `transport`: the transport of its frames.
        transport: Transport,
        /// User and password, and how the certificate is verified.
        access: RtspAccess,
    },
    /// MP4, Matroska, or an Annex B byte stream; stored without re-encoding.
    File {
        /// The file to read.
        path: PathBuf,
        /// At the rate of its timestamps (the default), or as fast as possible.
        realtime: bool,
        /// `loop`: start again at its end; default false.
        repeat: bool,
    },
    /// A GStreamer pipeline from the board file, for other sources.
    Pipeline {
        /// In the syntax of `gst-launch-1.0`, 1 to 4096 bytes; may hold a password, and is never logged.
        description: String,
    },
    /// Generated test cards, without a device.
    Test,
}

/// The keys beside the URL of an RTSP source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RtspAccess {
    /// `credentials`: a file with `user:password`; belongs to our user or root, mode 600 or stricter; read for each
    /// connection.
    pub credentials: Option<PathBuf>,
    /// `ca` or `fingerprint`: required with `rtsps://`, and only allowed there.
    pub trust: Option<RtspTrust>,
}

/// How the certificate of an RTSP camera is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RtspTrust {
    /// PEM certificates of the authorities that may sign it; it must match the host of the URL.
    Authorities(PathBuf),
    /// By its SHA-256.
    Fingerprint([u8; 32]),
}

/// The transport of the frames of an RTSP camera.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// TCP, or UDP if the camera refuses TCP.
    #[default]
    Auto,
    /// Within the RTSP connection (RFC 2326, 10.12).
    Tcp,
    /// RTP over UDP.
    Udp,
}

/// Written by hand: the URL of an RTSP source may contain a secret in its query.
impl fmt::Debug for VideoSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VideoSource::V4l2 { device } => f.debug_struct("V4l2").field("device", device).finish(),
            VideoSource::Libcamera { camera } => f.debug_struct("Libcamera").field("camera", camera).finish(),
            VideoSource::Rtsp { url, transport, access } => f
                .debug_struct("Rtsp")
                .field("url", &without_passwords(url.split('?').next().unwrap_or_default()))
                .field("transport", transport)
                .field("access", access)
                .finish(),
            VideoSource::File { path, realtime, repeat } => f
                .debug_struct("File")
                .field("path", path)
                .field("realtime", realtime)
                .field("repeat", repeat)
                .finish(),
            VideoSource::Pipeline { description } => {
                f.debug_struct("Pipeline").field("bytes", &description.len()).finish_non_exhaustive()
            }
            VideoSource::Test => f.write_str("Test"),
        }
    }
}

/// What the source delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoFormat {
    /// H.264.
    H264,
    /// H.265.
    H265,
    /// Raw frames.
    Raw,
}

/// The section `[audio]` of a board.
#[derive(Clone, Debug, PartialEq)]
pub struct Audio {
    /// The source of the audio.
    pub source: AudioSource,
    /// `audio.source.properties`.
    pub properties: Vec<Property>,
}

/// Without properties.
impl From<AudioSource> for Audio {
    fn from(source: AudioSource) -> Audio {
        Audio { source, properties: Vec::new() }
    }
}

/// `audio.source`: the source of the audio.
#[derive(Clone, Debug, PartialEq)]
pub enum AudioSource {
    /// A microphone, through `alsasrc`.
    Alsa {
        /// Such as `hw:0`.
        device: String,
    },
    /// Generated audio, without a device.
    Test,
    /// The audio track of the video source (file, rtsp).
    Embedded,
}
