//! Configuration: `agent.toml` (the device) and a board file (the product).
//!
//! Three separate types: `file::Document` is what a file says, `merge::Merged` lays the board
//! beside the agent's own, and [`Config`] is what has been validated. Nothing outside this module
//! sees the first two. All that is wrong with either file is told at once.

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

/// What a configuration is read against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// Whoever runs us: secrets must be theirs or root's.
    pub user: u32,
    /// `$CREDENTIALS_DIRECTORY`, where systemd puts credentials.
    pub credentials_directory: Option<PathBuf>,
    /// Where relative paths of the command line start from.
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

/// Who the device is, and how it gets its certificate: what an enrolment needs of a configuration whose certificate is
/// not there yet.
///
/// # Errors
/// What is wrong with the sections `[device]` and `[identity]`, and where there is no such section.
pub fn load_enrolment(path: &Path) -> Result<(Device, Enrolment), Problems> {
    let mut problems = Problems::default();
    let mut merged = merge::Merged::default();
    if let Some(agent) = file::read(path, &mut problems) {
        merged.take(&agent.root, schema::AGENT, agent.sound, &mut Problems::default());
    }
    let found = validate::enrolment(&merged, &Surroundings::here(), path, &mut problems);
    problems.sort();
    found.filter(|_| problems.is_empty()).ok_or(problems)
}

/// Where a household's traces are: what a reset needs of a configuration, whatever else is wrong with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Places {
    /// The section `[device]`.
    pub device: Device,
    /// `device.board`.
    pub board: Option<PathBuf>,
    /// `mqtt.key`, where it is not made by an enrolment.
    pub device_key: Option<PathBuf>,
    /// `spool.key`.
    pub spool_key: Option<PathBuf>,
    /// `upload.credentials`, where it is a file.
    pub credentials: Option<PathBuf>,
    /// What of these the service manager hands over, as it stands in the configuration: where the files are only the unit
    /// knows.
    pub handed_over: Vec<String>,
}

/// The [`Places`] of a configuration.
///
/// # Errors
/// What is wrong with its section `[device]`.
pub fn load_places(path: &Path) -> Result<Places, Problems> {
    let mut problems = Problems::default();
    let mut merged = merge::Merged::default();
    if let Some(agent) = file::read(path, &mut problems) {
        merged.take(&agent.root, schema::AGENT, agent.sound, &mut Problems::default());
    }
    let found = validate::places(&merged, &Surroundings::here(), &mut problems);
    problems.sort();
    found.filter(|_| problems.is_empty()).ok_or(problems)
}

/// `privacy.indicator` of a configuration, whatever else may be wrong with it; `None` where it names no LED.
///
/// # Errors
/// Where the file cannot be read, or the path leads nowhere.
pub fn indicator(path: &Path, around: &Surroundings) -> Result<Option<PathBuf>, Problems> {
    let mut problems = Problems::default();
    let mut merged = merge::Merged::default();
    let Some(agent) = file::read(path, &mut problems) else { return Err(problems) };
    merged.take(&agent.root, schema::AGENT, agent.sound, &mut Problems::default());
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

/// Reads the text of a board file, as [`load_board`] reads a file; `path` is what it is called.
///
/// # Errors
/// Everything that is wrong with it.
pub fn board_of(text: &str, path: &Path) -> Result<Board, Problems> {
    let mut problems = Problems::default();
    let mut merged = merge::Merged::default();
    let board = file::parse(&Place::file(path).file, text, &mut problems);
    merged.take(&board.root, schema::BOARD, board.sound, &mut problems);
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
    /// In full, such as `spool.max_bytes`.
    pub key: &'static str,
    /// For people: what may not be meant, and why.
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
                // It is the source that decides: the board file's size is what we ask it for, at most.
                VideoFormat::H264 | VideoFormat::H265 => u32::MAX,
            },
        }
    }
}

/// A configuration whose every value has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[device]`: who this camera is.
    pub device: Device,
    /// `[identity]`: where its certificate comes from; absent where somebody else sees to it.
    pub identity: Option<Enrolment>,
    /// `[mqtt]`: the broker.
    pub mqtt: Mqtt,
    /// `[entitlement]`: who may sign commands, and the grace.
    pub entitlement: Entitlement,
    /// `[clock]`: when the system clock is believed.
    pub clock: Clock,
    /// `[recording]`: how footage is cut.
    pub recording: Recording,
    /// `[spool]`: what may be kept on flash.
    pub spool: Spool,
    /// `[upload]`: the object store.
    pub upload: Upload,
    /// `[privacy]`: what closes the camera, and what that does.
    pub privacy: Privacy,
    /// The board file that `device.board` names.
    pub board: Board,
}

/// The section `[device]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// 1 to 64 of `A-Z a-z 0-9 - _`: it is part of topics, object keys and the certificate's CN.
    pub id: String,
    /// Holds what must outlive the process; `/var/lib/kasacam` unless told.
    pub state_dir: PathBuf,
    /// The local control socket; `/run/kasacam/control.sock` unless told.
    pub socket: PathBuf,
}

/// The section `[identity]`: how the device gets its certificate, by EST (RFC 7030).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// From `identity.est`; the server's certificate must bear it.
    pub host: String,
    /// From `identity.est`; 443 unless told.
    pub port: u16,
    /// From `identity.est`, such as `/.well-known/est`; without a closing slash.
    pub path: String,
    /// PEM certificates of the authorities that may vouch for the server; `mqtt.ca` unless told.
    pub ca: PathBuf,
    /// What the first certificate is asked for with; nothing is needed once there is one.
    pub claim: Option<Claim>,
}

/// By what right the first certificate is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A certificate that a whole batch of cameras may share, good for nothing else.
    Certificate {
        /// Its chain, PEM.
        cert: PathBuf,
        /// Its private key, PEM.
        key: PathBuf,
    },
    /// A file with `user:password`, good once.
    Password(PathBuf),
}

/// The section `[mqtt]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mqtt {
    /// From `mqtt.url`; the broker's certificate must bear it.
    pub host: String,
    /// From `mqtt.url`; 8883 unless told.
    pub port: u16,
    /// PEM certificates of the authorities that may vouch for the broker.
    pub ca: PathBuf,
    /// The device's certificate chain, PEM; its common name is `device.id`.
    pub cert: PathBuf,
    /// Its private key, PEM; of our user or root, mode 600 or stricter.
    pub key: PathBuf,
    /// 5 s to 20 min; 30 s unless told.
    pub keep_alive: Duration,
    /// 1 s to 1 day; 60 s unless told.
    pub telemetry: Duration,
    /// The protocol that TLS is asked for (RFC 7301); none unless told, or unless the broker is AWS IoT on port 443.
    pub alpn: Option<String>,
    /// For brokers that want a name beside the certificate.
    pub login: Option<MqttLogin>,
    /// Over how long a fleet comes back that lost its broker: 0 s to 10 min; 30 s unless told.
    pub reconnect_spread: Duration,
}

/// `mqtt.username` and `mqtt.password`.
#[derive(Clone, Debug, PartialEq)]
pub struct MqttLogin {
    /// 1 to 256 characters.
    pub username: String,
    /// A file that holds the password, of our user or root, mode 600 or stricter; read for each connection.
    pub password: Option<PathBuf>,
}

/// The section `[entitlement]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Entitlement {
    /// Who may sign the lease: 1 to 16, each with a `kid` of its own.
    pub keys: Vec<VerifyingKey>,
    /// How long a lease counts beyond its `not_after`: 0 s to 365 days; 72 h unless told.
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
    /// `kernel` unless told.
    pub trust: ClockTrust,
}

/// When the system clock is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockTrust {
    /// Trusted when the kernel says that it is synchronised.
    Kernel,
    /// Taken as it is.
    System,
}

/// The section `[recording]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Length of a segment: 2 s to 10 min; 30 s unless told.
    pub segment: Duration,
    /// One group of pictures: 500 ms to 10 s, at most `segment`; 2 s unless told.
    pub fragment: Duration,
    /// One `moof` and `mdat`: 100 ms to 10 s, at most `fragment`; 500 ms unless told.
    pub chunk: Duration,
    /// What is synced as it comes; `fragment` unless told.
    pub durability: Durability,
    /// Sound is captured where plan and board have it too; true unless told.
    pub audio: bool,
}

/// The section `[spool]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Spool {
    /// Bytes that the spool may take: 1 MiB to 64 TiB; 2 GiB unless told.
    pub max_bytes: u64,
    /// Bytes of its file system that stay free for others: up to 64 TiB; 64 MiB unless told.
    pub min_free: u64,
    /// 65,536 unless told.
    pub max_files: u64,
    /// How long pending segments are held without service: 0 s to 365 days; 72 h unless told.
    pub hold: Duration,
    /// What gives way when a budget is used up; `evict` unless told.
    pub when_full: WhenFull,
    /// New files are encrypted; there is a key then.
    pub encrypt: bool,
    /// Read from the file that `spool.key` names.
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

/// The board file: what this product is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Board {
    /// The product: 1 to 64 of `A-Z a-z 0-9 - _ .`.
    pub name: String,
    /// The section `[video]`.
    pub video: Video,
    /// The section `[audio]`; absent where there is no microphone.
    pub audio: Option<Audio>,
}

/// The section `[video]` of a board.
#[derive(Clone, Debug, PartialEq)]
pub struct Video {
    /// Where pictures come from.
    pub source: VideoSource,
    /// What the source gives, told or implied by its kind.
    pub format: VideoFormat,
    /// Named for raw pictures and for the test source; absent where the source encodes itself.
    pub encoder: Option<Encoder>,
    /// Pixels: 16 to 7680, even.
    pub width: u32,
    /// Lines: 16 to 4320, even; the plan's `max_height` may lower it.
    pub height: u32,
    /// Pictures a second, 1 to 120.
    pub fps: FrameRate,
    /// Bits a second.
    pub bitrate: u64,
    /// `[[video.profile]]`: other pictures of the same camera, for a plan that allows fewer lines. None has profiles itself.
    pub profiles: Vec<Video>,
    /// `video.colorimetry`: what raw pictures are brought to before they are encoded.
    pub colorimetry: Option<Colorimetry>,
    /// `video.source.pixels`: how the source lays out its raw pictures, where that is told.
    pub pixels: Option<Pixels>,
    /// `video.source.properties`.
    pub source_properties: Vec<Property>,
}

/// `video.source`: where pictures come from.
#[derive(Clone, PartialEq)]
pub enum VideoSource {
    /// A camera of the kernel, through `v4l2src`.
    V4l2 {
        /// Such as `/dev/video0`.
        device: PathBuf,
    },
    /// `camera-name` of libcamerasrc, or the first camera.
    Libcamera {
        /// The camera's name, as libcamera lists it.
        camera: Option<String>,
    },
    /// A network camera (RTSP), through `rtspsrc`.
    Rtsp {
        /// `rtsp://` or `rtsps://`, without user and password; its path and query are never logged.
        url: String,
        /// `transport`: how its frames come.
        transport: Transport,
        /// User and password, and by what the certificate is believed.
        access: RtspAccess,
    },
    /// MP4, Matroska, or an Annex B byte stream; passed through without re-encoding.
    File {
        /// The file to read.
        path: PathBuf,
        /// At the pace of its timestamps (the default), or as fast as it goes.
        realtime: bool,
        /// `loop`: begin again at its end; false unless told.
        repeat: bool,
    },
    /// A source that we did not foresee, put together by whoever wrote the board file.
    Pipeline {
        /// In the syntax of `gst-launch-1.0`, 1 to 4096 bytes; may hold a password, and is never logged.
        description: String,
    },
    /// Test cards that we draw, without a device.
    Test,
}

/// How the frames of an RTSP camera come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transport {
    /// Over TCP, and over UDP where the camera refuses that.
    #[default]
    Auto,
    /// Within the RTSP connection (RFC 2326, 10.12).
    Tcp,
    /// RTP over UDP.
    Udp,
}

/// By hand, since the address of an RTSP source may carry a secret in its query.
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

/// What the source gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoFormat {
    /// The source gives H.264.
    H264,
    /// The source gives H.265.
    H265,
    /// The source gives raw pictures.
    Raw,
}

/// The section `[audio]` of a board.
#[derive(Clone, Debug, PartialEq)]
pub struct Audio {
    /// Where sound comes from.
    pub source: AudioSource,
    /// `audio.source.properties`.
    pub properties: Vec<Property>,
}

/// Without properties of its own.
impl From<AudioSource> for Audio {
    fn from(source: AudioSource) -> Audio {
        Audio { source, properties: Vec::new() }
    }
}

/// `audio.source`: where sound comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum AudioSource {
    /// A microphone, through `alsasrc`.
    Alsa {
        /// Such as `hw:0`.
        device: String,
    },
    /// Generated sound, without a device.
    Test,
    /// The sound track of the video source itself (file, rtsp).
    Embedded,
}
