//! Configuration: `agent.toml` (the device) and a board file (the product).
//!
//! Three separate types: `file::Document` is what a file says, `merge::Merged` lays the board
//! beside the agent's own, and [`Config`] is what has been validated. Nothing outside this module
//! sees the first two. All that is wrong with either file is told at once.

mod address;
mod file;
mod material;
mod merge;
mod nearest;
mod problem;
mod reload;
pub mod schema;
mod units;
mod validate;

use crate::domain::machine::Settings;
pub use crate::domain::machine::UploadOrder;
use crate::domain::policy::Rules;
pub use crate::domain::policy::{PrivacyPending, WhenFull};
pub use crate::domain::segmenter::Durability;
use crate::domain::storage::Budget;
use crate::domain::time::Utc;
pub use problem::{Place, Problem, Problems};
pub use reload::{reload_difference, with_reloadable};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What a configuration is read against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// Whoever runs us: secrets must be theirs or root's.
    pub user: u32,
    /// `$CREDENTIALS_DIRECTORY`, where systemd puts credentials.
    pub credentials_directory: Option<PathBuf>,
    pub working_directory: PathBuf,
}

impl Surroundings {
    /// Those of this process.
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
/// Everything that is wrong, in the order of the files.
pub fn load(path: &Path) -> Result<Config, Problems> {
    load_in(path, &Surroundings::here())
}

/// [`load`] in given surroundings.
///
/// # Errors
/// As [`load`].
pub fn load_in(path: &Path, around: &Surroundings) -> Result<Config, Problems> {
    read_in(path, around).config
}

/// A configuration as far as it could be understood.
#[derive(Debug)]
pub struct Understood {
    /// The whole, or everything that is wrong with it.
    pub config: Result<Config, Problems>,
    /// The board, which may be good where the rest is not, and the file that it came from.
    pub board: Option<(PathBuf, Board)>,
}

/// Reads a configuration as [`load`] does, to tell what can be told of one that is wrong.
#[must_use]
pub fn read_in(path: &Path, around: &Surroundings) -> Understood {
    let mut problems = Problems::default();
    let mut merged = merge::Merged::default();
    let Some(agent) = file::read(path, &mut problems) else {
        return Understood { config: Err(problems), board: None };
    };
    merged.take(&agent.root, schema::AGENT, agent.sound, &mut problems);
    let board_file = take_board(&mut merged, around, &mut problems);
    let board =
        board_file.and_then(|file| Some((file, validate::board(&merged, around, &mut Problems::default())?)));
    let config = validate::validate(&merged, around, &mut problems);
    problems.sort();
    let config = match config {
        Some(config) if problems.is_empty() => Ok(config),
        Some(_) | None => {
            if problems.is_empty() {
                // Never a silent refusal, should the schema and the checks ever disagree.
                problems.push(&Place::file(path), "", "cannot be used", "a value that is needed is missing");
            }
            Err(problems)
        }
    };
    Understood { config, board }
}

/// Reads a board file alone, as [`load`] reads the one that `device.board` names.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load_board(path: &Path) -> Result<Board, Problems> {
    let mut problems = Problems::default();
    let mut merged = merge::Merged::default();
    if let Some(board) = file::read(path, &mut problems) {
        merged.take(&board.root, schema::BOARD, board.sound, &mut problems);
    }
    let board = validate::board(&merged, &Surroundings::here(), &mut problems);
    problems.sort();
    board.filter(|_| problems.is_empty()).ok_or(problems)
}

/// Takes in the board's file, and says which it is.
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
    merged.take(&board.root, schema::BOARD, board.sound, problems);
    Some(path)
}

/// The boards that lie where this one was looked for.
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

/// What is worth a word, but does not hinder: `key`, and what there is to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub key: &'static str,
    pub warning: String,
}

/// Looks for what is allowed and yet perhaps not meant.
#[must_use]
pub fn warnings(config: &Config, now: Utc) -> Vec<Warning> {
    let mut found = Vec::new();
    let mut warn = |key, warning: String| found.push(Warning { key, warning });
    if let Some(warning) =
        material::validity(&config.mqtt.cert).and_then(|v| material::judge_validity(v, now))
    {
        warn("mqtt.cert", format!("the certificate {warning}"));
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
            format!("the board {} has no microphone: segments have no sound", config.board.name),
        );
    }
    found
}

impl Config {
    /// What the machine is told of this configuration.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            rules: Rules {
                audio: self.recording.audio && self.board.audio.is_some(),
                when_full: self.spool.when_full,
                pending: self.privacy.pending,
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
            board_height: match self.board.video.format {
                VideoFormat::Raw => self.board.video.height,
                // It is the source that decides: the board file's size is what we ask it for, at most.
                VideoFormat::H264 => u32::MAX,
            },
        }
    }
}

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
    /// New files are encrypted; there is a key then.
    pub encrypt: bool,
    pub key: Option<SpoolKey>,
}

/// The key of the spool. Shown without its bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct SpoolKey(pub [u8; 32]);

impl fmt::Debug for SpoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpoolKey(..)")
    }
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
    /// How long unheard footage waits while the store answers and the broker does not. `None`: for ever.
    pub unheard_hold: Option<Duration>,
    /// The folder of an LED (`/sys/class/leds/…`) that is lit while the camera is open.
    pub indicator: Option<PathBuf>,
    pub latch: Option<PrivacyLatch>,
}

/// A thing on the camera itself by which the household closes it; an input device of the kernel (evdev).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivacyLatch {
    pub device: PathBuf,
    pub kind: LatchKind,
    /// `SW_…` or `KEY_…` of `linux/input-event-codes.h`.
    pub code: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatchKind {
    /// A shutter or a switch with two positions; in one of them the camera is closed.
    Switch,
    /// Each press sets the latch, or lifts it.
    Button,
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

#[derive(Clone, PartialEq)]
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

/// By hand, since the address of an RTSP source may carry a password.
impl fmt::Debug for VideoSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            VideoSource::V4l2 { device } => f.debug_struct("V4l2").field("device", device).finish(),
            VideoSource::Libcamera { camera } => f.debug_struct("Libcamera").field("camera", camera).finish(),
            VideoSource::Rtsp { url } => f
                .debug_struct("Rtsp")
                .field("url", &file::without_passwords(url.split('?').next().unwrap_or_default()))
                .finish(),
            VideoSource::File { path, realtime, repeat } => f
                .debug_struct("File")
                .field("path", path)
                .field("realtime", realtime)
                .field("repeat", repeat)
                .finish(),
            VideoSource::Test => f.write_str("Test"),
        }
    }
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
