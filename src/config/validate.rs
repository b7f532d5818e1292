//! From settings to a [`Config`]: checks that need more than one value.

use super::address::{self, Authority};
use super::material::{self, Bears, Examined};
use super::merge::Merged;
use super::problem::{Place, Problems};
use super::units::show_duration;
use super::words::{AudioKind, VideoKind};
use super::{
    Audio, AudioSource, Board, Claim, Clock, Config, Device, EncoderKind, Enrolment, Entitlement,
    LatchDevice, Mqtt, MqttLogin, Pixels, Places, Privacy, PrivacyLatch, Recording, Spool, Surroundings,
    VerifyingKey, Video, VideoFormat, VideoSource, codec,
};
use crate::domain::codec::Codec;
use std::path::{Path, PathBuf};

/// Maximum bytes of `sockaddr_un.sun_path` without its final zero.
const MAX_SOCKET_PATH: usize = 107;

/// The file that an enrolment makes in the state directory: private key and certificate chain.
pub const IDENTITY_FILE: &str = "identity.pem";
/// The protocol name of AWS IoT for MQTT with client certificates on port 443.
const AWS_ALPN: &str = "x-amzn-mqtt-ca";
/// Maximum bytes of a protocol name (RFC 7301, 3.1).
const MAX_ALPN: usize = 255;
/// Maximum characters of a user name.
const MAX_USERNAME: usize = 256;

/// The configuration. `None` if a required value is missing or invalid; then `problems` has the reason.
pub(super) fn validate(merged: &Merged, around: &Surroundings, problems: &mut Problems) -> Option<Config> {
    let mut check = Check { merged, around, problems };
    let device = check.device();
    let identity = check.identity();
    let (mqtt, entitlement, recording) = (check.mqtt(), check.entitlement(), check.recording());
    let spool = check.spool();
    let upload = check.upload(device.as_ref(), mqtt.as_ref());
    let board = check.board();
    let trust = check.merged.word("clock.trust")?.0;
    let pending = check.merged.word("privacy.pending")?.0;
    let unheard_hold = match check.merged.text("privacy.unheard_hold") {
        // The only text here is "forever".
        Some(_) => None,
        None => Some(check.merged.duration("privacy.unheard_hold")?.0),
    };
    let indicator = check.path("privacy.indicator").map(|(path, _)| path);
    let keys = match (check.merged.paths("privacy.keys"), &entitlement) {
        ([], Some(entitlement)) => entitlement.keys.clone(),
        (_, _) => check.signers("privacy.keys"),
    };
    let latch = check.latch();
    Some(Config {
        device: device?,
        identity,
        mqtt: mqtt?,
        entitlement: entitlement?,
        clock: Clock { trust },
        recording: recording?,
        spool: spool?,
        upload: upload?,
        privacy: Privacy { keys, pending, unheard_hold, indicator, latch },
        board: board?,
    })
}

/// The sections that an enrolment needs.
pub(super) fn enrolment(
    merged: &Merged,
    around: &Surroundings,
    file: &Path,
    problems: &mut Problems,
) -> Option<(Device, Enrolment)> {
    let mut check = Check { merged, around, problems };
    let (device, identity) = (check.device(), check.identity());
    if identity.is_none() && problems.is_empty() {
        let hint = "such as est = \"https://est.example/.well-known/est\"";
        problems.push(&Place::file(file), "identity", "there is no section [identity]", hint);
    }
    Some((device?, identity?))
}

/// The places of a household's data.
pub(super) fn places(merged: &Merged, around: &Surroundings, problems: &mut Problems) -> Option<Places> {
    let device = Check { merged, around, problems }.device()?;
    let path = |key: &str| merged.text(key).and_then(|(text, at)| resolve(text, at, around).ok());
    let of_a_unit = |key: &str| merged.text(key).map(|(text, _)| text).filter(|_| path(key).is_none());
    let handed_over = ["mqtt.key", "spool.key", "upload.credentials.file"].into_iter().filter_map(of_a_unit);
    Some(Places {
        device,
        board: path("device.board"),
        device_key: path("mqtt.key"),
        spool_key: path("spool.key"),
        credentials: path("upload.credentials.file"),
        handed_over: handed_over.map(str::to_owned).collect(),
    })
}

/// The board alone.
pub(super) fn board(merged: &Merged, around: &Surroundings, problems: &mut Problems) -> Option<Board> {
    Check { merged, around, problems }.board()
}

/// Resolves a path against the folder of its file.
pub(super) fn resolve(text: &str, at: &Place, around: &Surroundings) -> Result<PathBuf, String> {
    let credential = text
        .strip_prefix("$CREDENTIALS_DIRECTORY/")
        .or_else(|| text.strip_prefix("${CREDENTIALS_DIRECTORY}/"));
    if let Some(rest) = credential {
        let folder = around.credentials_directory.as_ref();
        return folder.map(|folder| folder.join(rest)).ok_or(
            "$CREDENTIALS_DIRECTORY is not set: systemd sets it for a unit with LoadCredential=".to_owned(),
        );
    }
    if text.starts_with(['$', '~']) {
        return Err("the only variable in a path is $CREDENTIALS_DIRECTORY/, at its start".to_owned());
    }
    let folder = at.file.parent().unwrap_or(Path::new(""));
    // Joining an absolute path replaces the folder.
    let joined = folder.join(text);
    Ok(if joined.is_absolute() { joined } else { around.working_directory.join(joined) })
}

mod upload;

struct Check<'a> {
    merged: &'a Merged,
    around: &'a Surroundings,
    problems: &'a mut Problems,
}

impl<'a> Check<'a> {
    fn path(&mut self, key: &str) -> Option<(PathBuf, &'a Place)> {
        let (text, at) = self.merged.text(key)?;
        match resolve(text, at, self.around) {
            Ok(path) => Some((path, at)),
            Err(why) => {
                self.problems.push(at, key, why, "");
                None
            }
        }
    }

    fn device(&mut self) -> Option<Device> {
        let id = self.merged.text("device.id").and_then(|(id, at)| {
            let good = is_device_id(id);
            if !good {
                let hint = "it is part of topics, object keys and the certificate's name";
                self.problems.push(at, "device.id", "must be 1 to 64 of A-Z a-z 0-9 - _", hint);
            }
            good.then(|| id.to_owned())
        });
        let state_dir = self.path("device.state_dir");
        let socket = self.path("device.socket");
        if let Some((path, at)) = &socket {
            if path.as_os_str().len() > MAX_SOCKET_PATH {
                let problem = format!("is longer than {MAX_SOCKET_PATH} bytes, the limit for a socket");
                self.problems.push(at, "device.socket", problem, "choose a shorter path, such as under /run");
            }
        }
        Some(Device { id: id?, state_dir: state_dir?.0, socket: socket?.0 })
    }

    fn identity(&mut self) -> Option<Enrolment> {
        let (url, at) = self.merged.text("identity.est")?;
        let server = match address::est(url) {
            Ok(server) => Some(server),
            Err((problem, hint)) => {
                self.problems.push(at, "identity.est", problem, hint);
                None
            }
        };
        let ca_key = if self.merged.text("identity.ca").is_some() { "identity.ca" } else { "mqtt.ca" };
        let ca = self.path(ca_key);
        let (cert, key) = (self.path("identity.cert"), self.path("identity.key"));
        let password = self.path("identity.password");
        let claim = match (cert, key, password) {
            (None, None, None) => None,
            (Some((cert, _)), Some((key, _)), None) => Some(Claim::Certificate { cert, key }),
            (None, None, Some((password, _))) => Some(Claim::Password(password)),
            (_, _, _) => {
                let problem = "a claim is either identity.cert with identity.key, or identity.password";
                self.problems.push(at, "identity", problem, "");
                None
            }
        };
        let (authority, path) = server?;
        Some(Enrolment { host: authority.host, port: authority.port.unwrap_or(443), path, ca: ca?.0, claim })
    }

    /// A file of the device's identity: as configured, or the file of an enrolment.
    fn identity_file(&mut self, key: &str) -> Option<(PathBuf, &'a Place)> {
        if self.merged.text(key).is_some() || self.merged.is_bad(key) {
            return self.path(key);
        }
        let (_, at) = self.merged.text("identity.est")?;
        let (dir, _) = self.path("device.state_dir")?;
        Some((dir.join(IDENTITY_FILE), at))
    }

    fn latch(&mut self) -> Option<PrivacyLatch> {
        let (kind, kind_at) = self.merged.word("privacy.latch.kind")?;
        let (device, name) = (self.path("privacy.latch.device"), self.merged.text("privacy.latch.name"));
        let hint =
            "stable paths are in /dev/input/by-path and by-id, names in /sys/class/input/event*/device/name";
        let device = match (device, name) {
            (Some((path, _)), None) => LatchDevice::Path(path),
            (None, Some((name, _))) => LatchDevice::Named(name.to_owned()),
            (Some((_, at)), Some(_)) => {
                self.problems.push(at, "privacy.latch.device", "both a path and a name are given", hint);
                return None;
            }
            (None, None) => {
                self.problems.push(
                    kind_at,
                    "privacy.latch.device",
                    "neither a path nor a name is given",
                    hint,
                );
                return None;
            }
        };
        let code = u16::try_from(self.merged.number("privacy.latch.code")?.0).ok()?;
        Some(PrivacyLatch { device, kind, code })
    }

    fn mqtt(&mut self) -> Option<Mqtt> {
        let broker = self.merged.text("mqtt.url").and_then(|(url, at)| match address::broker(url) {
            Ok(broker) => Some(broker),
            Err((problem, hint)) => {
                self.problems.push(at, "mqtt.url", problem, hint);
                None
            }
        });
        let ca = self.authorities("mqtt.ca");
        let (cert, key) = (self.identity_file("mqtt.cert"), self.identity_file("mqtt.key"));
        let device = self.merged.text("device.id").map(|(id, _)| id).filter(|id| is_device_id(id));
        let bears = self.merged.word("device.identity").map_or(Bears::CommonName, |(bears, _)| bears);
        let enrolled = |file: &Option<(PathBuf, &Place)>| {
            let path = file.as_ref().map(|(path, _)| path.as_path());
            path.and_then(Path::file_name).is_none_or(|name| name != IDENTITY_FILE)
                || path.is_some_and(Path::exists)
        };
        if self.merged.text("identity.est").is_some() && !enrolled(&cert) {
            if let Some((path, at)) = &cert {
                let problem = format!("{}: the device has no certificate yet", path.display());
                self.problems.push(at, "identity", problem, "run kasacamd enroll --config FILE");
            }
        } else {
            material::identity(
                cert.as_ref().map(|(path, at)| Examined { at, key: "mqtt.cert", path }).as_ref(),
                key.as_ref().map(|(path, at)| Examined { at, key: "mqtt.key", path }).as_ref(),
                device.map(|device| (device, bears)),
                self.around,
                self.problems,
            );
        }
        let login = self.login();
        let broker = broker?;
        let alpn = self.alpn(&broker);
        Some(Mqtt {
            port: broker.port.unwrap_or(8883),
            host: broker.host,
            ca: ca?,
            cert: cert?.0,
            key: key?.0,
            keep_alive: self.merged.duration("mqtt.keep_alive")?.0,
            telemetry: self.merged.duration("mqtt.telemetry")?.0,
            alpn,
            login,
            reconnect_spread: self.merged.duration("mqtt.reconnect_spread")?.0,
        })
    }

    /// The ALPN protocol; the word `none` means no protocol.
    fn alpn(&mut self, broker: &Authority) -> Option<String> {
        let Some((alpn, at)) = self.merged.text("mqtt.alpn") else {
            let aws = [".amazonaws.com", ".amazonaws.com.cn"].iter().any(|end| broker.host.ends_with(end));
            return (aws && broker.port == Some(443)).then(|| String::from(AWS_ALPN));
        };
        if alpn.len() > MAX_ALPN || !alpn.chars().all(|c| c.is_ascii_graphic()) {
            let problem = format!("must be 1 to {MAX_ALPN} printable characters without spaces");
            self.problems.push(
                at,
                "mqtt.alpn",
                problem,
                "\"mqtt\" is the registered name, \"none\" requests no protocol",
            );
            return None;
        }
        Some(alpn.to_owned()).filter(|alpn| alpn != "none")
    }

    fn login(&mut self) -> Option<MqttLogin> {
        let password = self.path("mqtt.password");
        if let Some((path, at)) = &password {
            material::password(&Examined { at, key: "mqtt.password", path }, self.around, self.problems);
        }
        let Some((username, at)) = self.merged.text("mqtt.username") else {
            if let Some((_, at)) = password {
                let hint = "add mqtt.username, or remove the password";
                self.problems.push(at, "mqtt.password", "is not used without a user name", hint);
            }
            return None;
        };
        let length = username.chars().count();
        if !(1..=MAX_USERNAME).contains(&length) || username.chars().any(char::is_control) {
            let problem = format!("must be 1 to {MAX_USERNAME} characters");
            self.problems.push(at, "mqtt.username", problem, "");
        }
        Some(MqttLogin { username: username.to_owned(), password: password.map(|(path, _)| path) })
    }

    fn authorities(&mut self, key: &str) -> Option<PathBuf> {
        let (path, at) = self.path(key)?;
        material::authorities(&Examined { at, key, path: &path }, self.problems);
        Some(path)
    }

    fn entitlement(&mut self) -> Option<Entitlement> {
        let keys = self.signers("entitlement.keys");
        Some(Entitlement { keys, offline_grace: self.merged.duration("entitlement.offline_grace")?.0 })
    }

    /// The public keys that may sign commands of one kind.
    fn signers(&mut self, key: &str) -> Vec<VerifyingKey> {
        let mut paths = Vec::new();
        for (at, text) in self.merged.paths(key) {
            match resolve(text, at, self.around) {
                Ok(path) => paths.push((at, path)),
                Err(why) => self.problems.push(at, key, why, ""),
            }
        }
        let examined: Vec<Examined<'_>> = paths.iter().map(|(at, path)| Examined { at, key, path }).collect();
        material::verifying_keys(&examined, self.problems)
    }

    fn recording(&mut self) -> Option<Recording> {
        let segment = self.merged.duration("recording.segment");
        let fragment = self.merged.duration("recording.fragment");
        let chunk = self.merged.duration("recording.chunk");
        for (part, part_key, whole, whole_key) in [
            (fragment, "recording.fragment", segment, "recording.segment"),
            (chunk, "recording.chunk", fragment, "recording.fragment"),
        ] {
            if let (Some((part, part_at)), Some((whole, whole_at))) = (part, whole) {
                // Reported at the key in the file, not at a default.
                let (at, key) =
                    if part_at.line >= whole_at.line { (part_at, part_key) } else { (whole_at, whole_key) };
                if part > whole {
                    let problem = format!(
                        "{part_key} ({}) is longer than {whole_key} ({})",
                        show_duration(part),
                        show_duration(whole)
                    );
                    self.problems.push(
                        at,
                        key,
                        problem,
                        "a segment contains fragments, a fragment contains chunks",
                    );
                }
            }
        }
        let durability = self.merged.word("recording.durability")?.0;
        let audio = self.merged.flag("recording.audio")?.0;
        Some(Recording { segment: segment?.0, fragment: fragment?.0, chunk: chunk?.0, durability, audio })
    }

    fn spool(&mut self) -> Option<Spool> {
        let when_full = self.merged.word("spool.when_full")?.0;
        let (encrypt, encrypt_at) = self.merged.flag("spool.encrypt")?;
        let key = self.path("spool.key").map(|(path, at)| {
            material::spool_key(&Examined { at, key: "spool.key", path: &path }, self.around, self.problems)
        });
        if encrypt && self.merged.text("spool.key").is_none() && !self.merged.is_bad("spool.key") {
            let hint = "such as \"/etc/kasacam/spool.key\"; head -c 32 /dev/urandom writes one";
            self.problems.push(encrypt_at, "spool.key", "is missing: spool.encrypt needs a key", hint);
        }
        Some(Spool {
            max_bytes: self.merged.number("spool.max_bytes")?.0,
            min_free: self.merged.number("spool.min_free")?.0,
            max_files: self.merged.number("spool.max_files")?.0,
            hold: self.merged.duration("spool.hold")?.0,
            when_full,
            encrypt,
            key: key.flatten(),
        })
    }

    fn board(&mut self) -> Option<Board> {
        let name = self.merged.text("name").and_then(|(name, at)| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            let good = name.len() <= 64 && name.bytes().all(plain);
            if !good {
                self.problems.push(at, "name", "must be 1 to 64 of A-Z a-z 0-9 - _ .", "");
            }
            good.then(|| name.to_owned())
        });
        let mut video = self.video();
        let around = self.around;
        let profiles =
            super::profile::profiles(self.merged, self.problems, video.as_ref(), |merged, problems| {
                Check { merged, around, problems }.video()
            });
        if let Some(video) = &mut video {
            video.profiles = profiles;
        }
        let audio = match self.merged.word("audio.source.kind") {
            Some((kind, at)) => self.audio(kind, at),
            None => None,
        };
        Some(Board { name: name?, video: video?, audio })
    }

    fn video(&mut self) -> Option<Video> {
        let (kind, kind_at) = self.merged.word("video.source.kind")?;
        let source = self.video_source(kind);
        let format = self.format(kind, kind_at);
        let named = self.merged.word::<EncoderKind>("video.encoder.kind");
        let encoder = codec::encoder(self.merged, kind);
        match (format, named) {
            (Some(VideoFormat::Raw), None) if encoder.is_none() && !self.merged.is_bad("video.encoder") => {
                let problem = "is missing: the source delivers raw frames, which must be encoded";
                self.problems.push(
                    kind_at,
                    "video.encoder",
                    problem,
                    "add encoder = { kind = \"v4l2h264\" } or another",
                );
            }
            (Some(VideoFormat::H265), Some((_, at))) => {
                let problem = "is not used: the source gives H.265 itself";
                self.problems.push(at, "video.encoder", problem, "remove it, or write format = \"raw\"");
            }
            (Some(VideoFormat::H264), Some((encoder, at))) if encoder.codec() != Codec::H264 => {
                let problem = format!("{encoder} makes H.265, and the source gives H.264");
                let hint = "name an encoder of H.264: it scales the frames down for a smaller plan";
                self.problems.push(at, "video.encoder", problem, hint);
            }
            (Some(VideoFormat::Raw | VideoFormat::H264 | VideoFormat::H265) | None, _) => {}
        }
        if let Some(format) = format {
            codec::agree(self.merged, format, encoder.as_ref(), self.problems);
        }
        let mut even = |key: &str| {
            let (pixels, at) = self.merged.number(key)?;
            if pixels % 2 != 0 {
                self.problems.push(
                    at,
                    key,
                    format!("{pixels} is odd"),
                    "4:2:0 needs an even number of pixels",
                );
            }
            u32::try_from(pixels).ok()
        };
        let (width, height) = (even("video.width"), even("video.height"));
        Some(Video {
            source: source?,
            format: format?,
            encoder,
            width: width?,
            height: height?,
            fps: self.merged.frame_rate("video.fps")?.0,
            bitrate: self.merged.number("video.bitrate")?.0,
            profiles: Vec::new(),
            colorimetry: self.merged.word("video.colorimetry").map(|(colorimetry, _)| colorimetry),
            pixels: self.pixels(kind, format),
            source_properties: self.merged.properties("video.source.properties").to_vec(),
        })
    }

    fn video_source(&mut self, kind: VideoKind) -> Option<VideoSource> {
        match kind {
            VideoKind::V4l2 => Some(VideoSource::V4l2 { device: self.path("video.source.device")?.0 }),
            VideoKind::Libcamera => {
                let camera = self.merged.text("video.source.camera").map(|(camera, _)| camera.to_owned());
                Some(VideoSource::Libcamera { camera })
            }
            VideoKind::Rtsp => {
                let (url, at) = self.merged.text("video.source.url")?;
                match address::rtsp(url) {
                    Ok(()) => {
                        let transport = self.merged.word("video.source.transport")?.0;
                        let access = super::rtsp::access(self.merged, self.around, url, self.problems)?;
                        Some(VideoSource::Rtsp { url: url.to_owned(), transport, access })
                    }
                    Err((problem, hint)) => {
                        self.problems.push(at, "video.source.url", problem, hint);
                        None
                    }
                }
            }
            VideoKind::File => Some(VideoSource::File {
                path: self.path("video.source.path")?.0,
                realtime: self.merged.flag("video.source.realtime")?.0,
                repeat: self.merged.flag("video.source.loop")?.0,
            }),
            VideoKind::Pipeline => {
                let description = self.merged.text("video.source.description")?.0.to_owned();
                Some(VideoSource::Pipeline { description })
            }
            VideoKind::Test => Some(VideoSource::Test),
        }
    }

    fn pixels(&mut self, kind: VideoKind, format: Option<VideoFormat>) -> Option<Pixels> {
        let (pixels, at) = self.merged.word("video.source.pixels")?;
        if format.is_some_and(|format| format != VideoFormat::Raw) {
            let hint = "remove it, or write format = \"raw\"";
            self.problems.push(
                at,
                "video.source.pixels",
                "the source delivers encoded frames, not raw ones",
                hint,
            );
        }
        if pixels == Pixels::Mjpeg && kind != VideoKind::V4l2 {
            let hint = "mjpeg is for v4l2";
            let problem = format!("a {} source gives no JPEG images", kind.word());
            self.problems.push(at, "video.source.pixels", problem, hint);
        }
        Some(pixels)
    }

    /// `video.format`, or the format that the source implies.
    fn format(&mut self, kind: VideoKind, kind_at: &Place) -> Option<VideoFormat> {
        let told: Option<(VideoFormat, &Place)> = self.merged.word("video.format");
        let coded = match told {
            Some((told @ (VideoFormat::H264 | VideoFormat::H265), _)) => told,
            Some((VideoFormat::Raw, _)) | None => VideoFormat::coded(
                codec::configured(self.merged).map_or_else(Codec::default, |(codec, _)| codec),
            ),
        };
        let follows = match kind {
            VideoKind::Rtsp | VideoKind::File => Some(coded),
            VideoKind::Test => Some(VideoFormat::Raw),
            VideoKind::V4l2 | VideoKind::Libcamera | VideoKind::Pipeline => None,
        };
        match (told, follows) {
            (Some((told, at)), Some(follows)) if told != follows => {
                let gives = match follows {
                    VideoFormat::H264 => "H.264, which is taken as it is",
                    VideoFormat::H265 => "H.265, which is taken as it is",
                    VideoFormat::Raw => "raw frames",
                };
                self.problems.push(
                    at,
                    "video.format",
                    format!("a {} source gives {gives}", kind.word()),
                    "remove it",
                );
                None
            }
            (Some((told, _)), _) => Some(told),
            (None, Some(follows)) => Some(follows),
            (None, None) if self.merged.is_bad("video.format") => None,
            (None, None) => {
                let hint = "\"h264\" or \"h265\" if the device encodes, \"raw\" if it delivers raw frames";
                self.problems.push(kind_at, "video.format", "is missing", hint);
                None
            }
        }
    }

    fn audio(&mut self, kind: AudioKind, at: &Place) -> Option<Audio> {
        let source = match kind {
            AudioKind::Alsa => {
                let (device, at) = self.merged.text("audio.source.device")?;
                if device.contains(char::is_whitespace) {
                    self.problems.push(
                        at,
                        "audio.source.device",
                        "contains a space",
                        "such as \"hw:0\" or \"default\"",
                    );
                }
                AudioSource::Alsa { device: device.to_owned() }
            }
            AudioKind::Embedded => {
                match self.merged.word("video.source.kind").map_or(VideoKind::File, |(kind, _)| kind) {
                    VideoKind::Rtsp | VideoKind::File => {}
                    video @ (VideoKind::V4l2
                    | VideoKind::Libcamera
                    | VideoKind::Pipeline
                    | VideoKind::Test) => {
                        let problem = format!("a {} source has no audio track", video.word());
                        let hint = "embedded goes with file and rtsp";
                        self.problems.push(at, "audio.source.kind", problem, hint);
                    }
                }
                AudioSource::Embedded
            }
            AudioKind::Test => AudioSource::Test,
        };
        Some(Audio { source, properties: self.merged.properties("audio.source.properties").to_vec() })
    }
}

fn is_device_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
