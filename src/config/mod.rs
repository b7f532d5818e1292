//! Configuration: `agent.toml` (the device) and a board file (the product).
//!
//! Three separate types: [`file`] is what serde reads, `merge` lays the board beside it, and
//! [`Config`] is what has been validated. Nothing outside this module sees the first two.

pub use crate::domain::machine::UploadOrder;
pub use crate::domain::policy::{PrivacyPending, WhenFull};
pub use crate::domain::segmenter::Durability;
use std::path::PathBuf;
use std::time::Duration;

/// A configuration whose every value has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub device: Device,
    pub mqtt: Mqtt,
    pub entitlement: Entitlement,
    pub clock: Clock,
    pub recording: Recording,
    pub spool: Spool,
    pub upload: Upload,
    pub privacy: Privacy,
    pub board: Board,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// 1 to 64 of `A-Z a-z 0-9 - _`: it is part of topics, object keys and the certificate's CN.
    pub id: String,
    pub state_dir: PathBuf,
    /// The local control socket; `/run/kasacam/control.sock` unless told.
    pub socket: PathBuf,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Mqtt {
    pub host: String,
    pub port: u16,
    pub ca: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
    /// 5 s to 20 min; 30 s unless told.
    pub keep_alive: Duration,
    /// 1 s to 1 day; 60 s unless told.
    pub telemetry: Duration,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entitlement {
    pub keys: Vec<VerifyingKey>,
    pub offline_grace: Duration,
}

/// An Ed25519 public key; its `kid` is its file's name without the extension.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyingKey {
    pub kid: String,
    pub key: [u8; 32],
}

#[derive(Clone, Debug, PartialEq)]
pub struct Clock {
    pub trust: ClockTrust,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockTrust {
    /// Trusted when the kernel says that it is synchronised.
    Kernel,
    /// Taken as it is.
    System,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    pub segment: Duration,
    pub fragment: Duration,
    pub chunk: Duration,
    pub durability: Durability,
    pub audio: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Spool {
    pub max_bytes: u64,
    pub min_free: u64,
    /// 65,536 unless told.
    pub max_files: u64,
    pub hold: Duration,
    pub when_full: WhenFull,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Upload {
    pub bucket: String,
    /// Empty, or ends with `/`.
    pub prefix: String,
    /// `https://host[:port]`, or `http://` on loopback where `allow_plaintext` is set.
    pub endpoint: String,
    pub region: String,
    pub ca: PathBuf,
    pub credentials: PathBuf,
    /// Bits a second.
    pub max_rate: Option<u64>,
    pub order: UploadOrder,
    pub allow_plaintext: bool,
    /// 1 or 2; 2 unless told.
    pub concurrency: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Privacy {
    pub pending: PrivacyPending,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Board {
    pub name: String,
    pub video: Video,
    pub audio: Option<Audio>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Video {
    pub source: VideoSource,
    pub format: VideoFormat,
    /// Named for raw pictures and for the test source; absent where the source is already H.264.
    pub encoder: Option<Encoder>,
    pub width: u32,
    pub height: u32,
    pub fps: u32,
    /// Bits a second.
    pub bitrate: u64,
}

#[derive(Clone, Debug, PartialEq)]
pub enum VideoSource {
    V4l2 {
        device: PathBuf,
    },
    /// `camera-name` of libcamerasrc, or the first camera.
    Libcamera {
        camera: Option<String>,
    },
    Rtsp {
        url: String,
    },
    /// MP4, Matroska, or an Annex B `.h264` stream; passed through without re-encoding.
    File {
        path: PathBuf,
        realtime: bool,
        repeat: bool,
    },
    Test,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoFormat {
    /// The source gives H.264.
    H264,
    /// The source gives raw pictures.
    Raw,
}

/// A GStreamer H.264 encoder, by the name that board files use.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoder {
    /// `v4l2h264`, `x264`, `openh264`, `mpph264`, `vpuenc_h264`, `omxh264`: mapped to an element name by capture.
    pub kind: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Audio {
    pub source: AudioSource,
}

#[derive(Clone, Debug, PartialEq)]
pub enum AudioSource {
    Alsa {
        device: String,
    },
    Test,
    /// The sound track of the video source itself (file, rtsp).
    Embedded,
}
