//! Configuration: `agent.toml` (the device) and a board file (the product).
//!
//! Three separate types: `file::Document` is the content of a file, `merge::Merged` holds the settings of both files,
//! and [`Config`] is validated. Only this module uses the first two. All problems of both files are reported at once.

mod address;
mod codec;
mod encoder;
mod file;
mod frame_rate;
mod material;
mod merge;
mod nearest;
pub mod pem;
mod pixels;
mod privacy;
mod problem;
mod profile;
mod properties;
mod reload;
mod rtsp;
pub mod schema;
pub mod secret;
mod units;
mod upload;
mod validate;
mod words;

use crate::domain::policy::Rules;
pub use crate::domain::policy::{PrivacyPending, WhenFull};
pub use crate::domain::segmenter::Durability;
use crate::domain::settings::Settings;
pub use crate::domain::settings::UploadOrder;
use crate::domain::storage::Budget;
use crate::domain::time::Utc;
pub use encoder::{Encoder, EncoderKind};
pub use frame_rate::FrameRate;
pub use pixels::{Colorimetry, Pixels};
pub use privacy::{LatchDevice, LatchKind, Privacy, PrivacyLatch};
pub use problem::{Place, Problem, Problems};
pub use properties::Property;
pub use reload::{reload_difference, with_reloadable};
pub use rtsp::{RtspAccess, RtspLogin, RtspTrust};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;
pub use upload::{Addressing, KeyProvider, StoreCredentials, Upload};
pub use validate::IDENTITY_FILE;

/// The environment in which a configuration is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The user of this process: secrets must belong to it or to root.
    pub user: u32,
    /// `$CREDENTIALS_DIRECTORY`, where systemd puts credentials.
    pub credentials_directory: Option<PathBuf>,
    /// Base of relative paths from the command line.
    pub working_directory: PathBuf,
}

impl Surroundings {
    /// The environment of this process.
    #[must_use]
    pub fn here() -> Surroundings {
        Surroundings {
            user: nix::unistd::geteuid().as_raw(),
            credentials_directory: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            working_directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        }
    }
}

/// Reads `agent.toml` and the board file that it names, and checks both, with the keys,
/// certificates and credentials that they name.
///
/// # Errors
/// All problems, in the order of the files.
pub fn load(path: &Path) -> Result<Config, Problems> {
    load_in(path, &Surroundings::here())
}

/// [`load`] in a given environment.
///
/// # Errors
/// As [`load`].
pub fn load_in(path: &Path, around: &Surroundings) -> Result<Config, Problems> {
    read_in(path, around).config
}

/// A configuration, or what could be read of it.
#[derive(Debug)]
pub struct Understood {
    /// The configuration, or all its problems.
    pub config: Result<Config, Problems>,
    /// The board and its file, if they are valid, even if the rest is not.
    pub board: Option<(PathBuf, Board)>,
}

/// Reads a configuration as [`load`] does, and returns the board even if the rest is invalid.
#[must_use]
pub fn read_in(path: &Path, around: &Surroundings) -> Understood {
    let mut problems = Problems::default();
    let mut merged = merge::Merged::default();
    let Some(agent) = file::read(path, &mut problems) else {
        return Understood { config: Err(problems), board: None };
    };
    merged.take(&agent.root, schema::AGENT, agent.complete, &mut problems);
    let board_file = take_board(&mut merged, around, &mut problems);
    let board =
        board_file.and_then(|file| Some((file, validate::board(&merged, around, &mut Problems::default())?)));
    let config = validate::validate(&merged, around, &mut problems);
    problems.sort();
    let config = match config {
        Some(config) if problems.is_empty() => Ok(config),
        Some(_) | None => {
            if problems.is_empty() {
                // Should schema and checks disagree, never refuse without a reason.
                problems.push(&Place::file(path), "", "cannot be used", "a required value is missing");
            }
            Err(problems)
        }
    };
    Understood { config, board }
}

/// The sections that an enrolment needs, from a configuration whose certificate does not exist yet.
///
/// # Errors
/// The problems of the sections `[device]` and `[identity]`; a missing section is one.
pub fn load_enrolment(path: &Path) -> Result<(Device, Enrolment), Problems> {
    let mut problems = Problems::default();
    let mut merged = merge::Merged::default();
    if let Some(agent) = file::read(path, &mut problems) {
        merged.take(&agent.root, schema::AGENT, agent.complete, &mut Problems::default());
    }
    let found = validate::enrolment(&merged, &Surroundings::here(), path, &mut problems);
    problems.sort();
    found.filter(|_| problems.is_empty()).ok_or(problems)
}

/// The places of a household's data, for a reset. The rest of the configuration may be invalid.
#[derive(Clone, Debug, PartialEq)]
pub struct Places {
    /// The section `[device]`.
    pub device: Device,
    /// `device.board`.
    pub board: Option<PathBuf>,
    /// `mqtt.key`, unless an enrolment makes it.
    pub device_key: Option<PathBuf>,
    /// `spool.key`.
    pub spool_key: Option<PathBuf>,
    /// `upload.credentials`, if it is a file.
    pub credentials: Option<PathBuf>,
    /// Those that the service manager provides, as written in the configuration: only the unit knows the files.
    pub handed_over: Vec<String>,
}

/// The [`Places`] of a configuration.
///
/// # Errors
/// The problems of its section `[device]`.
pub fn load_places(path: &Path) -> Result<Places, Problems> {
    let mut problems = Problems::default();
    let mut merged = merge::Merged::default();
    if let Some(agent) = file::read(path, &mut problems) {
        merged.take(&agent.root, schema::AGENT, agent.complete, &mut Problems::default());
    }
    let found = validate::places(&merged, &Surroundings::here(), &mut problems);
    problems.sort();
    found.filter(|_| problems.is_empty()).ok_or(problems)
}

/// `privacy.indicator` of a configuration; the rest may be invalid. `None` if it names no LED.
///
/// # Errors
/// If the file cannot be read, or the path cannot be resolved.
pub fn indicator(path: &Path, around: &Surroundings) -> Result<Option<PathBuf>, Problems> {
    let mut problems = Problems::default();
    let mut merged = merge::Merged::default();
    let Some(agent) = file::read(path, &mut problems) else { return Err(problems) };
    merged.take(&agent.root, schema::AGENT, agent.complete, &mut Problems::default());
    let Some((text, at)) = merged.text("privacy.indicator") else { return Ok(None) };
    match validate::resolve(text, at, around) {
        Ok(folder) => Ok(Some(folder)),
        Err(why) => {
            problems.push(at, "privacy.indicator", why, "");
            Err(problems)
        }
    }
}

/// Reads a board file alone, as [`load`] reads the one that `device.board` names.
///
/// # Errors
/// All its problems.
pub fn load_board(path: &Path) -> Result<Board, Problems> {
    let mut problems = Problems::default();
    let mut merged = merge::Merged::default();
    if let Some(board) = file::read(path, &mut problems) {
        merged.take(&board.root, schema::BOARD, board.complete, &mut problems);
    }
    let board = validate::board(&merged, &Surroundings::here(), &mut problems);
    problems.sort();
    board.filter(|_| problems.is_empty()).ok_or(problems)
}

/// Reads the text of a board file, as [`load_board`] reads a file; `path` is its name in messages.
///
/// # Errors
/// All its problems.
pub fn board_of(text: &str, path: &Path) -> Result<Board, Problems> {
    let mut problems = Problems::default();
    let mut merged = merge::Merged::default();
    let board = file::parse(&Place::file(path).file, text, &mut problems);
    merged.take(&board.root, schema::BOARD, board.complete, &mut problems);
    let board = validate::board(&merged, &Surroundings::here(), &mut problems);
    problems.sort();
    board.filter(|_| problems.is_empty()).ok_or(problems)
}

/// Merges the board file, and returns its path.
fn take_board(merged: &mut merge::Merged, around: &Surroundings, problems: &mut Problems) -> Option<PathBuf> {
    let (text, at) = merged.text("device.board").map(|(text, at)| (text.to_owned(), at.clone()))?;
    let path = match validate::resolve(&text, &at, around) {
        Ok(path) => path,
        Err(why) => {
            problems.push(&at, "device.board", why, "");
            return None;
        }
    };
    if !path.exists() {
        let problem = format!("there is no board file {}", path.display());
        problems.push(&at, "device.board", problem, board_hint(&path));
        return None;
    }
    let board = file::read(&path, problems)?;
    merged.take(&board.root, schema::BOARD, board.complete, problems);
    Some(path)
}

/// The board files in the folder of a missing one.
fn board_hint(path: &Path) -> String {
    let entries = path.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    let mut names: Vec<String> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".toml") && name != "agent.toml")
        .take(32)
        .collect();
    names.sort();
    let wanted = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if names.is_empty() {
        return "give the path of a board file".to_owned();
    }
    nearest::suggestion(wanted, names.iter().map(String::as_str))
}

/// A setting that is valid, but perhaps a mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// In full, such as `spool.max_bytes`.
    pub key: &'static str,
    /// For people: what may be wrong, and why.
    pub warning: String,
}

/// Finds settings that are valid, but perhaps a mistake.
#[must_use]
pub fn warnings(config: &Config, now: Utc) -> Vec<Warning> {
    let mut found = Vec::new();
    let mut warn = |key, warning: String| found.push(Warning { key, warning });
    if let Some(warning) =
        material::validity(&config.mqtt.cert).and_then(|v| material::judge_validity(v, now))
    {
        warn("mqtt.cert", format!("the certificate {warning}"));
    }
    for doubt in material::doubts(&config.mqtt.cert) {
        warn("mqtt.cert", format!("the certificate {doubt}"));
    }
    if let StoreCredentials::File(path) = &config.upload.credentials {
        if !path.exists() {
            warn("upload.credentials", format!("there is no {} yet: uploads wait for it", path.display()));
        }
    }
    if config.upload.allow_plaintext {
        warn("upload.allow_plaintext", "footage may be sent unencrypted: for development only".into());
    }
    let millis = u64::try_from(config.recording.segment.as_millis()).unwrap_or(u64::MAX);
    let segment = (config.board.video.bitrate / 8).saturating_mul(millis) / 1000;
    if config.spool.max_bytes < segment.saturating_mul(4) {
        let warning = format!("holds fewer than four segments, of about {segment} bytes each");
        warn("spool.max_bytes", warning);
    }
    if config.recording.audio && config.board.audio.is_none() {
        warn(
            "recording.audio",
            format!("the board {} has no microphone: segments have no audio", config.board.name),
        );
    }
    found
}

impl Config {
    /// The settings for the machine.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            rules: Rules {
                audio: self.recording.audio && self.board.audio.is_some(),
                when_full: self.spool.when_full,
                pending: self.privacy.pending,
                codec: self.board.video.codec(),
            },
            budget: Budget {
                max_bytes: self.spool.max_bytes,
                min_free: self.spool.min_free,
                max_files: self.spool.max_files,
            },
            grace: self.entitlement.offline_grace,
            hold: self.spool.hold,
            unheard_hold: self.privacy.unheard_hold,
            telemetry: self.mqtt.telemetry,
            order: self.upload.order,
            concurrency: self.upload.concurrency,
            granted: self.upload.credentials == StoreCredentials::Grant,
            board_height: match self.board.video.format {
                VideoFormat::Raw => self.board.video.height,
                // The source decides; the size in the board file is only what is requested from it.
                VideoFormat::H264 | VideoFormat::H265 => u32::MAX,
            },
        }
    }
}

/// A validated configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[device]`: the identity of this camera.
    pub device: Device,
    /// `[identity]`: how it gets its certificate; `None` if it is provided in another way.
    pub identity: Option<Enrolment>,
    /// `[mqtt]`: the broker.
    pub mqtt: Mqtt,
    /// `[entitlement]`: the keys that sign commands, and the grace period.
    pub entitlement: Entitlement,
    /// `[clock]`: when the system clock is trusted.
    pub clock: Clock,
    /// `[recording]`: the lengths of segments, fragments and chunks.
    pub recording: Recording,
    /// `[spool]`: the budget on flash.
    pub spool: Spool,
    /// `[upload]`: the object store.
    pub upload: Upload,
    /// `[privacy]`: what closes the camera, and its effects.
    pub privacy: Privacy,
    /// The board file that `device.board` names.
    pub board: Board,
}

/// The section `[device]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// 1 to 64 of `A-Z a-z 0-9 - _`: it is part of topics, object keys and the certificate's CN.
    pub id: String,
    /// Data that survives a restart; default `/var/lib/kasacam`.
    pub state_dir: PathBuf,
    /// The local control socket; default `/run/kasacam/control.sock`.
    pub socket: PathBuf,
}

/// The section `[identity]`: how the device gets its certificate, by EST (RFC 7030).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// From `identity.est`; must match the server's certificate.
    pub host: String,
    /// From `identity.est`; default 443.
    pub port: u16,
    /// From `identity.est`, such as `/.well-known/est`; without a closing slash.
    pub path: String,
    /// PEM certificates of the authorities for the server's certificate; default `mqtt.ca`.
    pub ca: PathBuf,
    /// The credential for the first certificate; not needed after it.
    pub claim: Option<Claim>,
}

/// The credential for the first certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A certificate only for enrolment; a batch of cameras may share it.
    Certificate {
        /// Its chain, PEM.
        cert: PathBuf,
        /// Its private key, PEM.
        key: PathBuf,
    },
    /// A file with `user:password`, valid once.
    Password(PathBuf),
}

/// The section `[mqtt]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mqtt {
    /// From `mqtt.url`; must match the broker's certificate.
    pub host: String,
    /// From `mqtt.url`; default 8883.
    pub port: u16,
    /// PEM certificates of the authorities for the broker's certificate.
    pub ca: PathBuf,
    /// The device's certificate chain, PEM; its common name is `device.id`.
    pub cert: PathBuf,
    /// Its private key, PEM; belongs to our user or root, mode 600 or stricter.
    pub key: PathBuf,
    /// 5 s to 20 min; default 30 s.
    pub keep_alive: Duration,
    /// 1 s to 1 day; default 60 s.
    pub telemetry: Duration,
    /// The protocol that TLS requests (RFC 7301); default none, except for AWS IoT on port 443.
    pub alpn: Option<String>,
    /// For brokers that need a user name besides the certificate.
    pub login: Option<MqttLogin>,
    /// Time over which a fleet spreads its reconnections: 0 s to 10 min; default 30 s.
    pub reconnect_spread: Duration,
}

/// `mqtt.username` and `mqtt.password`.
#[derive(Clone, Debug, PartialEq)]
pub struct MqttLogin {
    /// 1 to 256 characters.
    pub username: String,
    /// A file with the password; belongs to our user or root, mode 600 or stricter; read for each connection.
    pub password: Option<PathBuf>,
}

/// The section `[entitlement]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Entitlement {
    /// The keys that may sign the lease: 1 to 16, each with its own `kid`.
    pub keys: Vec<VerifyingKey>,
    /// How long a lease is valid after its `not_after`: 0 s to 365 days; default 72 h.
    pub offline_grace: Duration,
}

/// An Ed25519 public key; its `kid` is its file's name without the extension.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyingKey {
    /// The JWS header `kid` (RFC 7515, 4.1.4) that selects this key.
    pub kid: String,
    /// The public key of RFC 8032, 5.1.5.
    pub key: [u8; 32],
}

/// The section `[clock]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Clock {
    /// Default `kernel`.
    pub trust: ClockTrust,
}

/// When the system clock is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockTrust {
    /// When the kernel reports that it is synchronised.
    Kernel,
    /// Always.
    System,
}

/// The section `[recording]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Length of a segment: 2 s to 10 min; default 30 s.
    pub segment: Duration,
    /// Length of a GOP: 500 ms to 10 s, at most `segment`; default 2 s.
    pub fragment: Duration,
    /// Length of one `moof` and `mdat`: 100 ms to 10 s, at most `fragment`; default 500 ms.
    pub chunk: Duration,
    /// The unit that is synced; default `fragment`.
    pub durability: Durability,
    /// Audio is captured if plan and board have it; default true.
    pub audio: bool,
}

/// The section `[spool]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Spool {
    /// Maximum bytes of the spool: 1 MiB to 64 TiB; default 2 GiB.
    pub max_bytes: u64,
    /// Bytes of its file system that stay free: up to 64 TiB; default 64 MiB.
    pub min_free: u64,
    /// Maximum number of files: 16 to 1,000,000; default 65,536.
    pub max_files: u64,
    /// How long pending segments are held without service: 0 s to 365 days; default 72 h.
    pub hold: Duration,
    /// What happens when a budget is used up; default `evict`.
    pub when_full: WhenFull,
    /// New files are encrypted; needs a key.
    pub encrypt: bool,
    /// Read from the file that `spool.key` names.
    pub key: Option<SpoolKey>,
}

/// The key of the spool. Debug output does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SpoolKey(pub [u8; 32]);

impl fmt::Debug for SpoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpoolKey(..)")
    }
}

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
                .field("url", &file::without_passwords(url.split('?').next().unwrap_or_default()))
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
