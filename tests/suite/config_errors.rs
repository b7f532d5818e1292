//! The faults of a configuration are reported: the file, the line, the key, what to do; all at once.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kasacam::config::schema::ValueKind;
use kasacam::config::{
    self, Config, Problem, Problems, RtspLogin, RtspTrust, StoreCredentials, Surroundings, Transport,
    VideoSource,
};
use kasacam::domain::time::Utc;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, PKCS_ED25519,
    SanType,
};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A camera's folder with everything that `agent.toml` names, without a fault.
struct Folder {
    dir: tempfile::TempDir,
    agent: String,
}

const AGENT: &str = r#"
[device]
id = "cam-0001"
board = "board.toml"
state_dir = "state"

[mqtt]
url = "mqtts://broker.example:8883"
ca = "ca.pem"
cert = "device.pem"
key = "device.key"

[entitlement]
keys = ["entitlement-2026-1.pem"]

[upload]
url = "s3://kasa-care/v1/"
endpoint = "https://storage.example"
ca = "ca.pem"
credentials = "storage.toml"
"#;

const BOARD: &str = r#"
name = "dev-test"
[video]
source = { kind = "test" }
encoder = { kind = "x264" }
width = 640
height = 360
fps = 15
bitrate = "600 kbit/s"
"#;

impl Folder {
    fn new() -> Folder {
        let folder = Folder { dir: tempfile::tempdir().unwrap(), agent: AGENT.to_owned() };
        let (cert, key) = certificate("cam-0001");
        folder.write("device.pem", &cert);
        folder.secret("device.key", &key);
        folder.write("ca.pem", &certificate("ca").0);
        folder.write("entitlement-2026-1.pem", &ed25519_public());
        folder.secret("storage.toml", "access_key_id = \"AKIDEXAMPLE\"\nsecret_access_key = \"s3cr3t\"\n");
        folder.write("board.toml", BOARD);
        folder
    }

    /// With the files of another folder, except `agent.toml`.
    fn filled_from(self, other: &Folder) -> Folder {
        for entry in fs::read_dir(other.dir.path()).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), self.dir.path().join(entry.file_name())).unwrap();
        }
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn secret(&self, name: &str, text: &str) {
        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Replaces text in `agent.toml`; the text must be there.
    fn agent(mut self, from: &str, to: &str) -> Folder {
        assert!(self.agent.contains(from), "{from} is not in agent.toml");
        self.agent = self.agent.replacen(from, to, 1);
        self
    }

    fn board(self, from: &str, to: &str) -> Folder {
        assert!(BOARD.contains(from), "{from} is not in board.toml");
        self.write("board.toml", &BOARD.replacen(from, to, 1));
        self
    }

    fn around(&self) -> Surroundings {
        Surroundings { credentials_directory: None, ..Surroundings::here() }
    }

    fn load(&self) -> Result<Config, Problems> {
        self.write("agent.toml", &self.agent);
        config::load_in(&self.path("agent.toml"), &self.around())
    }

    fn problems(&self) -> Vec<Problem> {
        self.load().expect_err("this configuration is wrong").iter().cloned().collect()
    }

    /// The only problem.
    #[track_caller]
    fn problem(&self) -> Problem {
        let problems = self.problems();
        assert_eq!(problems.len(), 1, "{problems:#?}");
        problems[0].clone()
    }

    /// Asserts that there is one problem, about this key, at the line that contains `text`.
    #[track_caller]
    fn is_told(&self, key: &str, text: &str, what: &str) {
        let problem = self.problem();
        assert_eq!(problem.key, key, "{problem}");
        assert!(problem.to_string().contains(what), "{problem} does not say {what:?}");
        let file = fs::read_to_string(&problem.file).unwrap();
        let line = file.lines().nth(problem.line as usize - 1).unwrap();
        assert!(line.contains(text), "{problem} points to {line:?}");
    }
}

fn certificate(name: &str) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn ed25519_public() -> String {
    KeyPair::generate_for(&PKCS_ED25519).unwrap().public_key_pem()
}

#[test]
fn a_good_configuration_loads_with_its_defaults() {
    let config = Folder::new().load().unwrap();

    assert_eq!(config.device.id, "cam-0001");
    assert_eq!((config.mqtt.host.as_str(), config.mqtt.port), ("broker.example", 8883));
    assert_eq!(config.mqtt.keep_alive, Duration::from_secs(30));
    assert_eq!(config.entitlement.keys[0].kid, "entitlement-2026-1");
    assert_eq!(config.recording.segment, Duration::from_secs(30));
    assert_eq!(config.recording.fragment, Duration::from_secs(2));
    assert_eq!(config.recording.chunk, Duration::from_millis(500));
    assert_eq!(config.spool.max_bytes, 2 << 30);
    assert_eq!(config.spool.hold, Duration::from_secs(72 * 3600));
    assert_eq!((config.upload.bucket.as_str(), config.upload.prefix.as_str()), ("kasa-care", "v1/"));
    assert_eq!(config.upload.max_rate, None);
    assert_eq!(config.board.video.bitrate, 600_000);
    assert_eq!(config.board.audio, None);
    let settings = config.settings();
    assert!(config.recording.audio && !settings.rules.audio, "the board has no microphone");
    assert_eq!(settings.budget.max_files, 65_536);
}

#[test]
fn relative_paths_start_from_the_folder_of_the_file() {
    let folder = Folder::new();
    let config = folder.load().unwrap();
    assert_eq!(config.mqtt.key, folder.path("device.key"));
    assert_eq!(config.device.state_dir, folder.path("state"));
}

#[test]
fn eight_mistakes_are_told_at_once_with_their_lines() {
    let folder = Folder::new();
    let agent = r#"[device]
id = "cam 0001"
bord = "board.toml"
board = "board.toml"
[mqtt]
url = "mqtt://broker.example"
ca = "ca.pem"
cert = "device.pem"
key = "device.key"
keep_alive = 30
[entitlement]
keys = ["entitlement-2026-1.pem"]
[recordng]
audio = true
[recording]
segment = "30 parsecs"
durability = "fragmnt"
audio = "yes"
[upload]
url = "s3://kasa-care/v1/"
endpoint = "https://storage.example"
ca = "ca.pem"
credentials = "storage.toml"
"#;
    folder.write("board.toml", &BOARD.replace("fps = 15", "fps = 1500"));
    folder.write("agent.toml", agent);

    let problems = config::load_in(&folder.path("agent.toml"), &folder.around()).unwrap_err();

    let told: Vec<(String, u32, &str)> = problems
        .iter()
        .map(|p| (p.file.file_name().unwrap().to_string_lossy().into_owned(), p.line, p.key.as_str()))
        .collect();
    let agent_toml = |line, key| ("agent.toml".to_owned(), line, key);
    let expected = vec![
        agent_toml(2, "device.id"),
        agent_toml(3, "device.bord"),
        agent_toml(6, "mqtt.url"),
        agent_toml(10, "mqtt.keep_alive"),
        agent_toml(13, "recordng"),
        agent_toml(16, "recording.segment"),
        agent_toml(17, "recording.durability"),
        agent_toml(18, "recording.audio"),
        ("board.toml".to_owned(), 8, "video.fps"),
    ];
    assert_eq!(told, expected, "\n{problems}");
    let text = problems.to_string();
    assert_eq!(text.lines().count(), expected.len());
    for hint in [
        "did you mean \"board\"?",
        "did you mean \"recording\"?",
        "did you mean \"fragment\"?",
        "from 1 to 120",
    ] {
        assert!(text.contains(hint), "{hint} in\n{text}");
    }
}

#[test]
fn problems_serialise_for_check_json() {
    let problems = Folder::new().agent("id = \"cam-0001\"", "id = \"\"").load().unwrap_err();
    let json = serde_json::to_value(&problems).unwrap();
    let first = json.as_array().unwrap()[0].as_object().unwrap();
    let mut keys: Vec<&str> = first.keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["column", "file", "hint", "key", "line", "problem"]);
    assert_eq!(first["line"], 3);
    assert_eq!(first["column"], 6);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let problems = config::load(Path::new("/nonexistent/agent.toml")).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems.to_string().starts_with("/nonexistent/agent.toml: cannot be read"), "{problems}");
}

#[test]
fn a_folder_or_a_pipe_in_place_of_a_file_does_not_hang() {
    let folder = Folder::new();
    nix::unistd::mkfifo(&folder.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for name in ["pipe", "."] {
        let problems = config::load(&folder.path(name)).unwrap_err();
        assert!(problems.to_string().contains("not a regular file"), "{problems}");
    }
}

#[test]
fn a_huge_file_is_refused() {
    let folder = Folder::new();
    folder.write("agent.toml", &"# padding\n".repeat(30_000));
    let problems = config::load(&folder.path("agent.toml")).unwrap_err();
    assert!(problems.to_string().contains("larger than 256 KiB"), "{problems}");
}

#[test]
fn an_empty_file_is_told_every_key_that_it_lacks() {
    let folder = Folder::new();
    folder.write("agent.toml", "");
    let problems = config::load(&folder.path("agent.toml")).unwrap_err();
    let mut keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "device.board",
            "device.id",
            "entitlement.keys",
            "mqtt.ca",
            "mqtt.cert",
            "mqtt.key",
            "mqtt.url",
            "upload.ca",
            "upload.credentials",
            "upload.endpoint",
            "upload.url",
        ]
    );
}

#[test]
fn bad_syntax_is_shown_with_its_line() {
    let folder = Folder::new().agent("id = \"cam-0001\"", "id = \"cam-0001");
    let problems = folder.problems();
    assert_eq!(problems[0].line, 3, "{problems:#?}");
    assert!(problems[0].problem.contains("id = \"cam-0001"), "{}", problems[0]);
}

#[test]
fn bad_syntax_does_not_show_a_password() {
    let folder = Folder::new()
        .board("source = { kind = \"test\" }", "source = { url = \"rtsp://me:hunter2@10.0.0.7/a\" kind }");
    let text = folder.load().unwrap_err().to_string();
    assert!(text.contains("rtsp://***@10.0.0.7"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

/// A board with an RTSP source of these keys.
fn bridge(keys: &str) -> Folder {
    let (from, to) = (
        "source = { kind = \"test\" }\nencoder = { kind = \"x264\" }",
        format!("source = {{ kind = \"rtsp\", {keys} }}"),
    );
    Folder::new().board(from, &to)
}

#[test]
fn a_password_in_an_address_is_refused_and_not_shown() {
    for user in ["me:hunter2@", "hunter2@", "me:hun/ter2@", "me:@"] {
        let problem = bridge(&format!("url = \"rtsp://{user}10.0.0.7/a?token=hunter2\"")).problem();
        assert_eq!(problem.key, "video.source.url");
        assert!(problem.problem.contains("contains a user or a password"), "{problem}");
        assert!(problem.hint.contains("mode 600") && problem.hint.contains("credentials ="), "{problem}");
        assert!(!problem.to_string().contains("ter2"), "{problem}");
    }
    bridge("url = \"rtsp://10.0.0.7/a?mail=me@example.org\"").load().unwrap();
}

#[test]
fn a_secret_in_an_address_never_reaches_debug_text() {
    let config = bridge("url = \"rtsp://10.0.0.7/a?token=hunter2\"").load().unwrap();
    let text = format!("{config:?}");
    assert!(text.contains("10.0.0.7") && !text.contains("hunter2"), "{text}");
}

#[test]
fn an_rtsp_cameras_user_and_password_are_in_a_file_that_others_cannot_read() {
    let keys = "url = \"rtsp://10.0.0.7/a\", credentials = \"camera.login\"";
    let folder = bridge(keys);
    let access = |folder: &Folder| match folder.load().unwrap().board.video.source {
        VideoSource::Rtsp { access, .. } => access,
        other => panic!("{other:?}"),
    };
    assert_eq!(access(&folder).credentials, Some(folder.path("camera.login")), "it need not be there yet");
    folder.secret("camera.login", "me:hun:ter2\n");
    let path = access(&folder).credentials.unwrap();
    let login = RtspLogin::read(&path, &folder.around()).unwrap();
    assert_eq!((login.user.as_str(), login.password.as_str()), ("me", "hun:ter2"));
    assert_eq!(format!("{login:?}"), "RtspLogin(..)");

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    folder.is_told("video.source.credentials", "source = ", "chmod 600");
    let why = RtspLogin::read(&path, &folder.around()).unwrap_err();
    assert!(why.contains("chmod 600") && !why.contains("ter2"), "{why}");
    for wrong in ["", "hunter2", ":hunter2", "me:hunter2\nme:hunter2", "me:hun\u{0}ter2"] {
        folder.secret("camera.login", wrong);
        let why = RtspLogin::read(&path, &folder.around()).unwrap_err();
        assert!(why.contains("one line: user:password") && !why.contains("ter2"), "{why}");
    }
    folder.secret("camera.login", &format!("me:{}", "x".repeat(5000)));
    assert!(RtspLogin::read(&path, &folder.around()).is_err());
}

#[test]
fn nothing_weakens_tls_or_puts_a_password_into_the_board_by_the_back_door() {
    for property in
        ["tls-validation-flags", "tls-database", "tls-interaction", "user-id", "user-pw", "location"]
    {
        let sum = "ab".repeat(32);
        let keys = format!(
            "url = \"rtsps://10.0.0.7/a\", fingerprint = \"{sum}\", properties = {{ {property} = \"hunter2\" }}"
        );
        let text = bridge(&keys).load().unwrap_err().to_string();
        assert!(text.contains(property) && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn it_is_said_which_certificate_is_the_cameras() {
    let sum = "ab".repeat(32);
    let colons = "AB:".repeat(31) + "AB";
    for (keys, trust) in [
        (
            format!("url = \"rtsps://10.0.0.7/a\", fingerprint = \"{sum}\""),
            Some(RtspTrust::Fingerprint([0xab; 32])),
        ),
        (
            format!("url = \"rtsps://10.0.0.7/a\", fingerprint = \"{colons}\""),
            Some(RtspTrust::Fingerprint([0xab; 32])),
        ),
        ("url = \"rtsp://10.0.0.7/a\"".to_owned(), None),
    ] {
        let source = bridge(&keys).load().unwrap().board.video.source;
        assert!(
            matches!(&source, VideoSource::Rtsp { access, .. } if access.trust == trust),
            "{keys}: {source:?}"
        );
    }
    let source = bridge("url = \"rtsps://10.0.0.7/a\", ca = \"ca.pem\"").load().unwrap().board.video.source;
    assert!(
        matches!(source, VideoSource::Rtsp { access, .. } if matches!(access.trust, Some(RtspTrust::Authorities(_))))
    );
    for (keys, key, problem) in [
        ("url = \"rtsps://10.0.0.7/a\"".to_owned(), "video.source.url", "no key says which certificate"),
        (
            "url = \"rtsps://10.0.0.7/a\", fingerprint = \"ab\"".to_owned(),
            "video.source.fingerprint",
            "is not a SHA-256",
        ),
        (
            format!("url = \"rtsps://10.0.0.7/a\", fingerprint = \"{}\"", "+a".repeat(32)),
            "video.source.fingerprint",
            "is not a SHA-256",
        ),
        ("url = \"rtsps://10.0.0.7/a\", ca = \"nowhere.pem\"".to_owned(), "video.source.ca", "no such file"),
        (
            format!("url = \"rtsps://10.0.0.7/a\", ca = \"ca.pem\", fingerprint = \"{sum}\""),
            "video.source",
            "has both",
        ),
        (
            format!("url = \"rtsp://10.0.0.7/a\", fingerprint = \"{sum}\""),
            "video.source.url",
            "is not encrypted",
        ),
        ("url = \"rtsp://10.0.0.7/a\", ca = \"ca.pem\"".to_owned(), "video.source.url", "is not encrypted"),
    ] {
        let found = bridge(&keys).problem();
        assert!(found.key == key && found.problem.contains(problem), "{keys}: {found}");
    }
}

#[test]
fn an_rtsp_source_tells_how_its_frames_come() {
    for (told, expected) in [
        ("", Transport::Auto),
        (", transport = \"auto\"", Transport::Auto),
        (", transport = \"tcp\"", Transport::Tcp),
        (", transport = \"udp\"", Transport::Udp),
    ] {
        let folder = Folder::new().board(
            "source = { kind = \"test\" }\nencoder = { kind = \"x264\" }",
            &format!("source = {{ kind = \"rtsp\", url = \"rtsp://10.0.0.7/a\"{told} }}"),
        );
        let source = folder.load().unwrap().board.video.source;
        assert!(matches!(source, VideoSource::Rtsp { transport, .. } if transport == expected), "{source:?}");
    }
}

#[test]
fn a_key_in_the_wrong_section_is_sent_home() {
    Folder::new().agent("[entitlement]", "when_full = \"stop\"\n[entitlement]").is_told(
        "mqtt.when_full",
        "when_full",
        "it belongs under [spool]",
    );
    Folder::new().agent("[device]", "max_rate = \"8 Mbit/s\"\n[device]").is_told(
        "max_rate",
        "max_rate",
        "it belongs under [upload]",
    );
}

#[test]
fn values_out_of_range_are_told_their_range() {
    for (section, line, key, what) in [
        ("recording", "segment = \"1s\"", "recording.segment", "from 2s to 10m"),
        ("recording", "segment = \"11m\"", "recording.segment", "from 2s to 10m"),
        ("recording", "fragment = \"11s\"", "recording.fragment", "from 500ms to 10s"),
        ("recording", "chunk = \"50ms\"", "recording.chunk", "from 100ms to 10s"),
        ("recording", "chunk = \"3s\"", "recording.chunk", "longer than recording.fragment"),
        (
            "recording",
            "segment = \"2s\"\nfragment = \"4s\"",
            "recording.fragment",
            "longer than recording.segment",
        ),
        ("recording", "fragment = \"2\"", "recording.fragment", "has no unit"),
        (
            "recording",
            "durability = \"never\"",
            "recording.durability",
            "known here: chunk, fragment, segment",
        ),
        ("spool", "max_bytes = \"1 kB\"", "spool.max_bytes", "from 1 MiB"),
        ("spool", "max_bytes = -1", "spool.max_bytes", "out of range"),
        ("spool", "max_files = 3", "spool.max_files", "from 16 to 1000000"),
        ("spool", "hold = \"3 years\"", "spool.hold", "unknown unit"),
        (
            "spool",
            "when_full = \"evcit\"",
            "spool.when_full",
            "did you mean \"evict\"? known here: evict, stop",
        ),
        ("privacy", "pending = true", "privacy.pending", "is true or false, but must be text"),
        ("clock", "trust = \"ntp\"", "clock.trust", "known here: kernel, system"),
    ] {
        let folder = Folder::new().agent("[upload]", &format!("[{section}]\n{line}\n[upload]"));
        folder.is_told(key, line.lines().last().unwrap(), what);
    }
    for (line, key, what) in [
        ("max_rate = \"8\"", "upload.max_rate", "has no unit"),
        ("max_rate = \"8 Mbps\"", "upload.max_rate", "8 Mbit/s"),
        ("concurrency = 3", "upload.concurrency", "from 1 to 2"),
        ("region = \"US East\"", "upload.region", "a-z 0-9"),
    ] {
        Folder::new().agent("[upload]", &format!("[upload]\n{line}")).is_told(key, line, what);
    }
}

/// If one word were read as another, both would give the same configuration.
#[test]
fn every_word_of_a_key_makes_another_configuration() {
    let shown = |folder: &Folder, word: &str| {
        let config = folder.load().unwrap_or_else(|why| panic!("{word}: {why}"));
        // Each configuration has its own folder.
        format!("{config:?}").replace(folder.dir.path().to_str().unwrap(), "")
    };
    let mut keys = 0;
    for section in config::schema::AGENT {
        for key in section.keys {
            let ValueKind::Choice(words) = key.kind else { continue };
            // What the certificate must contain is checked, but not stored.
            if (section.name, key.name) == ("device", "identity") {
                continue;
            }
            keys += 1;
            let mut seen = std::collections::BTreeSet::new();
            let folder = Folder::new();
            for word in words {
                let heading = format!("[{}]", section.name);
                let line = format!("{heading}\n{} = \"{word}\"", key.name);
                let agent = if AGENT.contains(&heading) {
                    AGENT.replacen(&heading, &line, 1)
                } else {
                    format!("{AGENT}\n{line}\n")
                };
                let folder = Folder { agent, dir: tempfile::tempdir().unwrap() }.filled_from(&folder);
                assert!(seen.insert(shown(&folder, word)), "{}.{} = {word}", section.name, key.name);
            }
        }
    }
    assert!(keys >= 6, "{keys}");
    let sources = [
        ("v4l2", "device = \"/dev/video0\""),
        ("libcamera", "camera = \"a\""),
        ("rtsp", "url = \"rtsp://192.0.2.7/1\""),
        ("file", "path = \"a.mp4\""),
        ("pipeline", "description = \"videotestsrc is-live=true\""),
        ("test", ""),
    ];
    let tagged = |section: &str, name: &str| {
        let section = config::schema::BOARD.iter().find(|known| known.name == section).unwrap();
        match section.keys.iter().find(|key| key.name == name).unwrap().kind {
            ValueKind::Tagged(variants) => variants.iter().map(|variant| variant.kind).collect::<Vec<_>>(),
            _ => panic!("{name} has a kind"),
        }
    };
    let mut seen = std::collections::BTreeSet::new();
    for kind in tagged("video", "source") {
        let (_, more) = sources.iter().find(|(known, _)| *known == kind).expect("each kind has an example");
        let format = if matches!(kind, "rtsp" | "file") { "h264" } else { "raw" };
        let encoder = if format == "raw" { "encoder = { kind = \"x264\" }" } else { "" };
        let source = format!("source = {{ kind = \"{kind}\", {more} }}\nformat = \"{format}\"\n{encoder}\n");
        let folder = Folder::new().board(
            "source = { kind = \"test\" }\nencoder = { kind = \"x264\" }\n",
            &source.replace(", }", " }"),
        );
        let board = folder.load().unwrap_or_else(|why| panic!("{kind}: {why}")).board;
        let shown = format!("{:?}", std::mem::discriminant(&board.video.source));
        assert!(seen.insert(shown), "{kind} is read as another source");
    }
    for kind in tagged("video", "encoder") {
        let folder = Folder::new().board("kind = \"x264\"", &format!("kind = \"{kind}\""));
        assert_eq!(folder.load().unwrap().board.video.encoder.unwrap().kind.to_string(), kind);
    }
}

#[test]
fn a_bad_device_id_is_refused() {
    for id in ["cam/0001", "cam+1", "#", "käm", &"x".repeat(65), "cam 1", "../etc"] {
        Folder::new().agent("cam-0001", id).is_told("device.id", "id = ", "1 to 64 of");
    }
}

#[test]
fn a_broker_without_tls_is_refused() {
    for (url, what) in [
        ("mqtt://broker.example", "over TLS only"),
        ("broker.example", "has no scheme"),
        ("mqtts://me:hunter2@broker.example", "no user name or password"),
        ("mqtts://broker.example/x", "no path"),
        ("mqtts://broker.example:99999", "1 to 65535"),
    ] {
        let folder = Folder::new().agent("mqtts://broker.example:8883", url);
        folder.is_told("mqtt.url", "url = ", what);
        assert!(!folder.problem().to_string().contains("hunter2"));
    }
}

#[test]
fn a_store_without_tls_is_refused_unless_it_is_this_machine_and_permitted() {
    let endpoint = "https://storage.example";
    Folder::new().agent(endpoint, "http://storage.example").is_told(
        "upload.endpoint",
        "http:",
        "https:// only",
    );
    Folder::new().agent(endpoint, "http://127.0.0.1:9000").is_told(
        "upload.endpoint",
        "http:",
        "allow_plaintext",
    );
    let permitted =
        |url: &str| Folder::new().agent(endpoint, url).agent("[upload]", "[upload]\nallow_plaintext = true");
    permitted("http://storage.example").is_told("upload.endpoint", "http:", "https:// only");
    assert_eq!(permitted("http://127.0.0.1:9000").load().unwrap().upload.endpoint, "http://127.0.0.1:9000");
    Folder::new().agent(endpoint, "https://k:s@storage.example").is_told(
        "upload.endpoint",
        "https:",
        "no user name",
    );
}

#[test]
fn a_bucket_must_be_one() {
    for url in ["kasa-care/v1/", "s3://Kasa/", "s3://kasa-care/v1", "s3://kasa-care/a/../b/"] {
        let folder = Folder::new().agent("s3://kasa-care/v1/", url);
        folder.is_told("upload.url", "url = ", "write it like \"s3://kasa-care/v1/\"");
    }
}

#[test]
fn an_unknown_board_is_told_with_the_boards_there_are() {
    let folder = Folder::new().agent("board = \"board.toml\"", "board = \"bord.toml\"");
    folder.is_told("device.board", "bord.toml", "did you mean \"board.toml\"?");
}

#[test]
fn a_board_is_judged_as_strictly_as_the_agent_file() {
    for (from, to, key, what) in [
        ("kind = \"test\"", "kind = \"v4l\"", "video.source.kind", "did you mean \"v4l2\"?"),
        (
            "kind = \"test\"",
            "kind = \"test\", device = \"/dev/video0\"",
            "video.source.device",
            "unknown key",
        ),
        ("{ kind = \"test\" }", "\"test\"", "video.source", "must be a table"),
        (
            "kind = \"x264\"",
            "kind = \"x26\"",
            "video.encoder.kind",
            "did you mean \"x264\"? known here: v4l2h264, x264, openh264",
        ),
        ("width = 640", "width = 641", "video.width", "even number"),
        ("bitrate = \"600 kbit/s\"", "bitrate = 600", "video.bitrate", "a rate in quotes"),
        ("name = \"dev-test\"", "name = \"dev test\"", "name", "1 to 64 of"),
        ("name = \"dev-test\"", "nam = \"dev-test\"\nname = \"x\"", "nam", "did you mean \"name\"?"),
    ] {
        Folder::new().board(from, to).is_told(key, to.lines().next().unwrap(), what);
    }
}

#[test]
fn pictures_a_second_are_a_number_a_decimal_or_a_fraction() {
    for (text, rate) in [
        ("15", (15, 1)),
        ("12.5", (25, 2)),
        ("29.97", (30_000, 1001)),
        ("\"29.97\"", (30_000, 1001)),
        ("\"30000/1001\"", (30_000, 1001)),
    ] {
        let board = Folder::new().board("fps = 15", &format!("fps = {text}")).load().unwrap().board;
        assert_eq!((board.video.fps.numerator(), board.video.fps.denominator()), rate, "{text}");
    }
    for (text, what) in [
        ("0", "out of range: from 1 to 120"),
        ("121", "out of range"),
        ("-15", "not a number"),
        ("1e1", "not a number"),
        ("\"30 fps\"", "not a number"),
        ("\"1/0\"", "out of range"),
        ("true", "must be a number such as 15"),
    ] {
        let line = format!("fps = {text}");
        Folder::new().board("fps = 15", &line).is_told("video.fps", &line, what);
    }
}

#[test]
fn properties_are_bounded_and_leave_to_the_agent_what_is_its_own() {
    let with = |properties: &str| {
        let encoder = format!("kind = \"x264\", properties = {{ {properties} }}");
        Folder::new().board("kind = \"x264\"", &encoder)
    };
    let board =
        with("speed-preset = \"fast\", qp-min = 7, ip-factor = 1.5, cabac = false").load().unwrap().board;
    let told = board.video.encoder.unwrap().properties;
    let told: Vec<(&str, &str)> = told.iter().map(|it| (it.name.as_str(), it.value.as_str())).collect();
    assert_eq!(told, [("speed-preset", "fast"), ("qp-min", "7"), ("ip-factor", "1.5"), ("cabac", "false")]);

    let many: Vec<String> = (0..33).map(|number| format!("p{number} = 1")).collect();
    for (properties, key, what) in [
        ("name = \"x\"", "video.encoder.properties.name", "cannot be set here"),
        ("\"a b\" = 1", "video.encoder.properties", "A-Z a-z 0-9 - _"),
        ("a = [1]", "video.encoder.properties.a", "is a list"),
        ("a = { b = 1 }", "video.encoder.properties.a", "is a table"),
        ("a = \"\\u0007\"", "video.encoder.properties.a", "control character"),
        (&many.join(", "), "video.encoder.properties", "more than 32"),
    ] {
        with(properties).is_told(key, "x264", what);
    }
    let source = "kind = \"rtsp\", url = \"rtsp://192.0.2.7/\", properties = { user-pw = \"hunter2\" }";
    let rtsp = Folder::new().board("kind = \"test\" }\nencoder = { kind = \"x264\"", source);
    let problem = rtsp.problem();
    assert_eq!(problem.key, "video.source.properties.user-pw");
    assert!(!problem.to_string().contains("hunter2"), "{problem}");
}

#[test]
fn a_pipeline_of_the_board_is_bounded_and_says_what_it_ends_in() {
    let with = |description: &str, format: &str| {
        let source = format!("kind = \"pipeline\", description = \"\"\"{description}\"\"\" }}\n{format}\n");
        Folder::new().board("kind = \"test\" }\nencoder = { kind = \"x264\" }\n", &source)
    };
    let board = with("videotestsrc\n\t! x264enc", "format = \"h264\"").load().unwrap().board;
    assert_eq!(
        board.video.source,
        VideoSource::Pipeline { description: String::from("videotestsrc\n\t! x264enc") }
    );
    for (description, format, key, what) in [
        ("videotestsrc", "", "video.format", "is missing"),
        ("videotestsrc", "format = \"raw\"", "video.encoder", "must be encoded"),
        (" ", "format = \"h264\"", "video.source.description", "is empty"),
        (&"x".repeat(4097), "format = \"h264\"", "video.source.description", "longer than 4096"),
    ] {
        let problem = with(description, format).problem();
        assert!(problem.key == key && problem.to_string().contains(what), "{problem}");
    }
}

#[test]
fn the_layout_of_pictures_is_for_sources_that_give_pictures() {
    let with = |source: &str, format: &str| {
        let to = format!("{source} }}\nformat = \"{format}\"\n");
        let encoder = if format == "raw" { "encoder = { kind = \"x264\" }\n" } else { "" };
        Folder::new().board("kind = \"test\" }\nencoder = { kind = \"x264\" }\n", &(to + encoder))
    };
    let device = "kind = \"v4l2\", device = \"/dev/video0\", pixels = \"mjpeg\"";
    assert!(with(device, "raw").load().is_ok());
    for (source, format, what) in [
        (device, "h264", "delivers encoded frames"),
        ("kind = \"libcamera\", pixels = \"mjpeg\"", "raw", "no JPEG images"),
        ("kind = \"v4l2\", device = \"/dev/video0\", pixels = \"nv21\"", "raw", "known here: nv12, i420"),
    ] {
        with(source, format).is_told("video.source.pixels", "pixels", what);
    }
}

#[test]
fn a_board_whose_parts_do_not_fit_is_refused() {
    for (from, to, key, what) in [
        ("encoder = { kind = \"x264\" }\n", "", "video.encoder", "must be encoded"),
        ("kind = \"test\"", "kind = \"v4l2\", device = \"/dev/video0\"", "video.format", "is missing"),
        ("encoder =", "format = \"h264\"\nencoder =", "video.format", "raw frames"),
        (
            "kind = \"test\" }\n",
            "kind = \"file\", path = \"a.mp4\" }\nformat = \"raw\"\n",
            "video.format",
            "taken as it is",
        ),
        (
            "kind = \"test\" }\n",
            "kind = \"file\", path = \"a.mp4\" }\ncodec = \"h265\"\n",
            "video.encoder.kind",
            "gives H.265 itself",
        ),
        (
            "encoder =",
            "codec = \"h265\"\nencoder =",
            "video.codec",
            "says h265, but the encoder x264 makes H.264",
        ),
        (
            "kind = \"x264\"",
            "kind = \"x265\" }\ncodec = \"h264\"\n#",
            "video.codec",
            "says h264, but the encoder x265 makes H.265",
        ),
        ("encoder =", "codec = \"hevc\"\nencoder =", "video.codec", "known here: h264, h265"),
        (
            "kind = \"test\" }\nencoder = { kind = \"x264\" }\n",
            "kind = \"v4l2\", device = \"/dev/video0\" }\nformat = \"h264\"\ncodec = \"h265\"\n",
            "video.codec",
            "says h265, but `video.format` says h264",
        ),
        ("bitrate", "audio_source = 1\nbitrate", "video.audio_source", "unknown key"),
    ] {
        let folder = Folder::new().board(from, to);
        let problem = folder.problem();
        let (key, told) = (key.trim_end_matches(".kind"), problem.to_string());
        assert!(problem.key == key && told.contains(what), "{told}");
    }
    let folder = Folder::new().board(
        "bitrate = \"600 kbit/s\"",
        "bitrate = \"600 kbit/s\"\n[audio]\nsource = { kind = \"embedded\" }",
    );
    folder.is_told("audio.source.kind", "embedded", "no audio track");
}

#[test]
fn a_private_key_that_others_can_read_is_refused() {
    for mode in [0o640, 0o604, 0o660, 0o644] {
        let folder = Folder::new();
        fs::set_permissions(folder.path("device.key"), fs::Permissions::from_mode(mode)).unwrap();
        folder.is_told("mqtt.key", "key = \"device.key\"", "chmod 600");
    }
}

#[test]
fn credentials_that_others_can_read_are_refused() {
    let folder = Folder::new();
    fs::set_permissions(folder.path("storage.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    folder.is_told("upload.credentials", "storage.toml", "chmod 600");
}

#[test]
fn a_credentials_file_that_is_not_there_yet_is_a_warning() {
    let folder = Folder::new();
    fs::remove_file(folder.path("storage.toml")).unwrap();
    let config = folder.load().unwrap();
    let told = config::warnings(&config, Utc::parse("2026-11-26T12:00:00Z").unwrap());
    let told = told.iter().find(|it| it.key == "upload.credentials").unwrap();
    assert!(told.warning.contains("storage.toml yet: uploads wait for it"), "{}", told.warning);
}

#[test]
fn credentials_are_a_file_a_provider_or_grants() {
    let with = |value: &str| {
        Folder::new().agent("credentials = \"storage.toml\"", &format!("credentials = {value}"))
    };
    for value in ["\"storage.toml\"", "{ file = \"storage.toml\" }"] {
        let folder = with(value);
        let file = StoreCredentials::File(folder.path("storage.toml"));
        assert_eq!(folder.load().unwrap().upload.credentials, file, "{value}");
    }
    assert_eq!(with("{ grant = true }").load().unwrap().upload.credentials, StoreCredentials::Grant);
    let folder =
        with("{ iot = \"https://ID.credentials.iot.eu-west-1.amazonaws.com/role-aliases/cam/credentials\" }");
    let config = folder.load().unwrap();
    let StoreCredentials::Iot(provider) = config.upload.credentials else { panic!("{config:?}") };
    assert_eq!((provider.host.as_str(), provider.port), ("id.credentials.iot.eu-west-1.amazonaws.com", 443));
    assert_eq!(
        (provider.path.as_str(), provider.thing.as_str()),
        ("/role-aliases/cam/credentials", "cam-0001")
    );
    assert_eq!((provider.cert, provider.key), (folder.path("device.pem"), folder.path("device.key")));
    for (value, what) in [
        ("{ grant = false }", "leaves no credentials"),
        ("{}", "exactly one of file, iot, grant"),
        ("{ grant = true, file = \"storage.toml\" }", "exactly one of file, iot, grant"),
        ("{ grants = true }", "unknown key"),
        ("{ grant = \"yes\" }", "must be true or false"),
        ("{ iot = \"http://host/role-aliases/cam/credentials\" }", "must begin with https://"),
        ("{ iot = \"https://host\" }", "has no path"),
        ("5", "must be a table such as"),
    ] {
        let folder = with(value);
        let problem = folder.problem();
        assert!(problem.key.starts_with("upload.credentials"), "{problem}");
        assert!(problem.to_string().contains(what), "{problem} does not say {what:?}");
    }
}

#[test]
fn a_private_key_of_another_user_is_refused() {
    let folder = Folder::new();
    let us = folder.around().user;
    // Root may give its file away; for others, only another user can judge.
    let user = if us == 0 { us } else { us + 1 };
    if us == 0 {
        chown(folder.path("device.key"), Some(4242), None).unwrap();
    }
    folder.write("agent.toml", &folder.agent);
    let around = Surroundings { user, ..folder.around() };
    let text = config::load_in(&folder.path("agent.toml"), &around).unwrap_err().to_string();
    assert!(text.contains("mqtt.key") && text.contains("not to us"), "{text}");
}

#[test]
fn another_cameras_certificate_is_refused() {
    let folder = Folder::new();
    let (cert, key) = certificate("cam-0002");
    folder.write("device.pem", &cert);
    folder.secret("device.key", &key);
    folder.is_told("mqtt.cert", "device.pem", "common name is \"cam-0002\", but device.id is \"cam-0001\"");
}

#[test]
fn a_private_key_that_is_not_the_certificates_is_refused() {
    let folder = Folder::new();
    folder.secret("device.key", &certificate("cam-0001").1);
    folder.is_told("mqtt.key", "device.key", "does not belong to the certificate");
}

#[test]
fn files_that_are_missing_or_are_not_what_they_should_be_are_told() {
    for (name, text, key, what) in [
        ("device.pem", None, "mqtt.cert", "no such file"),
        ("device.pem", Some("hello"), "mqtt.cert", "contains no certificate"),
        ("device.pem", Some("-----BEGIN CERTIFICATE-----\nAAAA\n"), "mqtt.cert", "not valid PEM"),
        (
            "device.pem",
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "mqtt.cert",
            "X.509",
        ),
        ("device.key", None, "mqtt.key", "no such file"),
        ("device.key", Some("hello"), "mqtt.key", "contains no private key"),
        (
            "device.key",
            Some("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            "mqtt.key",
            "not supported",
        ),
        ("entitlement-2026-1.pem", None, "entitlement.keys", "no such file"),
        ("entitlement-2026-1.pem", Some(""), "entitlement.keys", "contains no public key"),
    ] {
        let folder = Folder::new();
        match text {
            Some(text) => folder.write(name, text),
            None => fs::remove_file(folder.path(name)).unwrap(),
        }
        folder.is_told(key, name, what);
    }
    let folder = Folder::new();
    folder.write("ca.pem", "");
    let problems = folder.problems();
    assert_eq!(problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), ["mqtt.ca", "upload.ca"]);
}

#[test]
fn a_root_that_no_connection_would_take_is_told_beforehand() {
    let folder = Folder::new();
    let root = fs::read_to_string(folder.path("ca.pem")).unwrap();
    let mut der = pem_to_der(&root);
    // A valid X.509 certificate with one more byte.
    der.push(0);
    folder.write("ca.pem", &format!("{root}{}", der_to_pem(&der)));
    let told: Vec<String> =
        folder.problems().iter().map(|problem| format!("{}: {}", problem.key, problem.problem)).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    for (key, told) in ["mqtt.ca", "upload.ca"].iter().zip(told) {
        assert!(told.starts_with(key) && told.contains("certificate 2 cannot be a root"), "{told}");
    }
}

fn pem_to_der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

fn der_to_pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

#[test]
fn a_signing_key_must_be_a_public_ed25519_key() {
    let folder = Folder::new();
    folder.write("entitlement-2026-1.pem", &KeyPair::generate().unwrap().public_key_pem());
    folder.is_told("entitlement.keys", "entitlement-2026-1", "is not an Ed25519 key");

    let private = KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem();
    folder.write("entitlement-2026-1.pem", &private);
    folder.is_told("entitlement.keys", "entitlement-2026-1", "the public key only");
}

#[test]
fn two_keys_cannot_share_a_kid() {
    let folder = Folder::new();
    fs::create_dir(folder.path("old")).unwrap();
    folder.write("old/entitlement-2026-1.pem", &ed25519_public());
    let folder = folder.agent(
        "[\"entitlement-2026-1.pem\"]",
        "[\"entitlement-2026-1.pem\", \"old/entitlement-2026-1.pem\"]",
    );
    folder.is_told("entitlement.keys", "old/", "named twice");
}

#[test]
fn the_owners_choice_has_keys_of_its_own_or_those_of_the_lease() {
    let config = Folder::new().load().unwrap();
    assert_eq!(config.privacy.keys, config.entitlement.keys);

    let folder = Folder::new().agent("[upload]", "[privacy]\nkeys = [\"owner-1.pem\"]\n[upload]");
    folder.is_told("privacy.keys", "owner-1.pem", "no such file");
    folder.write("owner-1.pem", &ed25519_public());
    let config = folder.load().unwrap();
    assert_eq!(config.privacy.keys.iter().map(|key| key.kid.as_str()).collect::<Vec<_>>(), ["owner-1"]);
    assert_eq!(config.entitlement.keys[0].kid, "entitlement-2026-1");
    assert_ne!(config.privacy.keys[0].key, config.entitlement.keys[0].key);
    Folder::new().agent("[upload]", "[privacy]\nkeys = []\n[upload]").is_told(
        "privacy.keys",
        "keys = []",
        "1 to 16",
    );
}

#[test]
fn the_light_is_found_in_a_configuration_that_is_wrong_otherwise() {
    let folder = Folder::new().agent("[upload]", "[privacy]\nindicator = \"leds/recording\"\n[upload]");
    assert!(folder.load().is_ok());
    let right = fs::read_to_string(folder.path("agent.toml")).unwrap();
    folder.write("agent.toml", &format!("{right}\ncolour = \"red\"\n"));
    let found = config::indicator(&folder.path("agent.toml"), &folder.around()).unwrap();
    assert_eq!(found, Some(folder.path("leds/recording")));
    assert!(config::load_in(&folder.path("agent.toml"), &folder.around()).is_err());
    let without = Folder::new();
    assert!(without.load().is_ok());
    let none = config::indicator(&without.path("agent.toml"), &without.around()).unwrap();
    assert_eq!(none, None);
}

#[test]
fn a_latch_is_named_by_a_path_or_by_its_name_and_never_by_neither() {
    let with =
        |latch: &str| Folder::new().agent("[upload]", &format!("[privacy]\nlatch = {{ {latch} }}\n[upload]"));
    let config = with("kind = \"button\", name = \"gpio-keys\", code = 212").load().unwrap();
    let named = config::LatchDevice::Named(String::from("gpio-keys"));
    assert_eq!(config.privacy.latch.unwrap().device, named);
    let config = with("kind = \"switch\", device = \"/dev/input/by-path/a\", code = 9").load().unwrap();
    let path = config::LatchDevice::Path(PathBuf::from("/dev/input/by-path/a"));
    assert_eq!(config.privacy.latch.unwrap().device, path);
    with("kind = \"switch\", code = 9").is_told("privacy.latch.device", "latch", "neither a path nor a name");
    let both = "kind = \"switch\", device = \"/dev/input/event0\", name = \"a\", code = 9";
    with(both).is_told("privacy.latch.device", "latch", "both a path and a name");
}

#[test]
fn no_keys_at_all_is_told() {
    Folder::new().agent("[\"entitlement-2026-1.pem\"]", "[]").is_told(
        "entitlement.keys",
        "keys = []",
        "1 to 16",
    );
}

#[test]
fn credentials_are_judged_without_being_quoted() {
    for text in [
        "access_key_id = \"AKIDEXAMPLE\"\nsecret_access_key = \"hunter2",
        "access_key_id = \"AKIDEXAMPLE\"\nsecret_access_key = hunter2\n",
        "access_key_id = \"AKIDEXAMPLE\"\nsecret_access_key = \"hunter2 \"\n",
        "access_key_id = \"AKIDEXAMPLE\"\n",
        "access_key_id = \"AKIDEXAMPLE\"\nsecret_access_key = \"hunter2\"\nhunter2 = 1\n",
        "access_key_id = \"AKIDEXAMPLE\"\nsecret_access_key = [\"hunter2\"]\n",
    ] {
        let folder = Folder::new();
        folder.secret("storage.toml", text);
        let problem = folder.problem();
        assert!(problem.file.ends_with("storage.toml"), "{problem}");
        let told = format!("{problem} {problem:?}");
        assert!(!told.contains("hunter2") && !told.contains("AKIDEXAMPLE"), "{told}");
    }
}

#[test]
fn systemd_credentials_are_found() {
    let folder = Folder::new().agent("\"device.key\"", "\"$CREDENTIALS_DIRECTORY/device.key\"");
    folder.is_told("mqtt.key", "CREDENTIALS", "LoadCredential=");

    let around =
        Surroundings { credentials_directory: Some(folder.dir.path().to_owned()), ..folder.around() };
    let config = config::load_in(&folder.path("agent.toml"), &around).unwrap();
    assert_eq!(config.mqtt.key, folder.path("device.key"));

    // The mask of systemd's access list is shown as the group's bits.
    fs::set_permissions(folder.path("device.key"), fs::Permissions::from_mode(0o440)).unwrap();
    assert!(config::load_in(&folder.path("agent.toml"), &around).is_ok());
    fs::set_permissions(folder.path("device.key"), fs::Permissions::from_mode(0o444)).unwrap();
    assert!(config::load_in(&folder.path("agent.toml"), &around).is_err());
}

#[test]
fn a_socket_path_that_no_socket_can_have_is_refused() {
    let long = format!("socket = \"/run/{}\"\nstate_dir", "x".repeat(120));
    Folder::new().agent("state_dir", &long).is_told("device.socket", "socket", "107 bytes");
}

#[test]
fn an_expired_certificate_is_a_warning_only() {
    let folder = Folder::new();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "cam-0001");
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    folder.write("device.pem", &params.self_signed(&key).unwrap().pem());
    folder.secret("device.key", &key.serialize_pem());
    let config = folder.load().unwrap();

    let at = |text: &str| {
        let now = kasacam::domain::time::Utc::parse(text).unwrap();
        config::warnings(&config, now)
            .into_iter()
            .filter(|w| w.key == "mqtt.cert")
            .map(|w| w.warning)
            .collect::<String>()
    };

    assert!(at("2026-11-23T12:00:00Z").contains("expired at 2021-01-01"));
    assert!(at("2020-12-20T12:00:00Z").contains("expires soon"));
    assert!(at("1999-12-31T12:00:00Z").contains("not valid before"));
    assert_eq!(at("2020-06-01T12:00:00Z"), "");
}

fn with_spool(keys: &str) -> Folder {
    Folder::new().agent("[upload]", &format!("[spool]\n{keys}\n[upload]"))
}

#[test]
fn a_spool_is_encrypted_with_a_key_of_32_bytes_that_is_never_shown() {
    let folder = with_spool("encrypt = true\nkey = \"spool.key\"");
    folder.secret("spool.key", "0123456789abcdef0123456789abcdef");
    let config = folder.load().unwrap();
    assert!(config.spool.encrypt);
    assert_eq!(config.spool.key.as_ref().map(|key| &key.0), Some(b"0123456789abcdef0123456789abcdef"));
    let shown = format!("{config:?}");
    assert!(!shown.contains("0123456789abcdef") && !shown.contains("48, 49, 50"), "{shown}");

    let reading = with_spool("key = \"spool.key\"");
    reading.secret("spool.key", "0123456789abcdef0123456789abcdef");
    let reading = reading.load().unwrap();
    assert!(!reading.spool.encrypt && reading.spool.key == config.spool.key);
    let (_, restart) = config::reload_difference(&config, &reading);
    assert_eq!(
        restart.iter().filter(|key| key.starts_with("spool.")).collect::<Vec<_>>(),
        [&"spool.encrypt"]
    );
    let taken = config::with_reloadable(&config, reading);
    assert_eq!((taken.spool.encrypt, &taken.spool.key), (true, &config.spool.key));
}

#[test]
fn a_spool_key_that_is_no_key_is_told_and_none_of_it_is_quoted() {
    with_spool("encrypt = true").is_told("spool.key", "encrypt = true", "needs a key");
    with_spool("encrypt = \"yes\"").is_told("spool.encrypt", "encrypt", "must be true or false");
    let folder = with_spool("encrypt = true\nkey = \"spool.key\"");
    folder.is_told("spool.key", "spool.key", "no such file");
    for (text, what) in [
        ("", "contains 0 bytes, but a key has 32"),
        ("hush-hush-hush-hush-hush-hush-hu\n", "contains 33 bytes"),
        ("6875736868757368687573686875736868757368687573686875736868757368", "32 random bytes, not text"),
        ("hhhhhhhhhhhhhhhhhhhhhhhhhhhhhhhh", "one byte 32 times"),
    ] {
        folder.secret("spool.key", text);
        folder.is_told("spool.key", "spool.key", what);
        let told = folder.problem().to_string();
        assert!(!told.contains("hush") && !told.contains("hhhh") && !told.contains("6875"), "{told}");
    }
    folder.secret("spool.key", "0123456789abcdef0123456789abcdef");
    fs::set_permissions(folder.path("spool.key"), fs::Permissions::from_mode(0o640)).unwrap();
    folder.is_told("spool.key", "spool.key", "chmod 600");
}

#[test]
fn a_spool_key_may_be_a_credential_of_systemd() {
    let folder = with_spool("encrypt = true\nkey = \"$CREDENTIALS_DIRECTORY/spool.key\"");
    folder.is_told("spool.key", "CREDENTIALS_DIRECTORY", "$CREDENTIALS_DIRECTORY is not set");
    let credentials = folder.path("credentials");
    fs::create_dir(&credentials).unwrap();
    folder.secret("credentials/spool.key", "0123456789abcdef0123456789abcdef");
    // Its access list is shown as the bits of the group.
    fs::set_permissions(credentials.join("spool.key"), fs::Permissions::from_mode(0o440)).unwrap();
    let around = Surroundings { credentials_directory: Some(credentials), ..folder.around() };
    let config = config::load_in(&folder.path("agent.toml"), &around).unwrap();
    assert!(config.spool.key.is_some());
}

#[test]
fn a_reload_says_what_it_changes_and_what_needs_a_restart() {
    let old = Folder::new().load().unwrap();
    assert_eq!(config::reload_difference(&old, &old.clone()), (vec![], vec![]));
    let mut new = old.clone();
    new.recording.audio = false;
    new.spool.max_bytes /= 2;
    new.upload.max_rate = Some(1_000_000);
    new.privacy.pending = config::PrivacyPending::Hold;
    new.privacy.keys.clear();
    new.mqtt.host = "elsewhere.example".into();
    new.recording.segment = Duration::from_secs(10);
    new.board.video.fps = 5.into();

    let (reloadable, restart) = config::reload_difference(&old, &new);

    assert_eq!(
        reloadable,
        ["recording.audio", "spool.max_bytes", "upload.max_rate", "privacy.keys", "privacy.pending"]
    );
    assert_eq!(restart, ["mqtt.url", "recording.segment", "device.board"]);
    let taken = config::with_reloadable(&old, new.clone());
    assert!(config::reload_difference(&taken, &new).0.is_empty());
    assert_eq!(taken.mqtt.host, old.mqtt.host);
    assert_eq!(taken.recording.segment, old.recording.segment);
}

/// Whatever a file contains, it is read or refused, and never ends the process.
#[test]
fn no_file_is_too_strange_to_be_refused() {
    use proptest::prelude::*;
    let folder = Folder::new();
    let path = folder.path("agent.toml");
    let lines: Vec<&str> = AGENT.lines().collect();
    proptest!(ProptestConfig::with_cases(200), |(
        order in proptest::sample::subsequence((0..lines.len()).collect::<Vec<_>>(), 0..lines.len()),
        noise in "[ -~\\n\\x00-\\x1fé]{0,40}",
        cut in 0usize..400,
    )| {
        let mut text: String = order.iter().map(|&line| format!("{}\n", lines[line])).collect();
        text.insert_str(text.len().min(cut), &noise);
        fs::write(&path, &text).unwrap();
        if let Err(problems) = config::load_in(&path, &folder.around()) {
            prop_assert!(!problems.is_empty());
            prop_assert_eq!(problems.to_string().lines().count(), problems.len());
        }
    });
}

/// A certificate for `cn`, with these names in subjectAltName, and its key.
fn certificate_with(cn: &str, san: &[SanType]) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, cn);
    params.subject_alt_names = san.to_vec();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

#[test]
fn the_certificate_bears_the_device_s_id_where_device_identity_says() {
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let uri = |name: &str| SanType::URI(name.try_into().unwrap());
    let fixed = "AWS IoT Certificate";
    for (identity, cn, san, good) in [
        ("cn", "cam-0001", vec![], true),
        ("cn", fixed, vec![dns("cam-0001")], false),
        ("san", fixed, vec![dns("other"), dns("cam-0001")], true),
        ("san", fixed, vec![uri("urn:example:cam-0001")], true),
        ("san", fixed, vec![uri("spiffe://example/cameras/cam-0001")], true),
        ("san", "cam-0001", vec![dns("cam-00012"), uri("urn:example:xcam-0001")], false),
        ("san", "cam-0001", vec![], false),
        ("any", fixed, vec![], true),
    ] {
        let folder = Folder::new().agent("[device]\n", &format!("[device]\nidentity = \"{identity}\"\n"));
        let (cert, key) = certificate_with(cn, &san);
        folder.write("device.pem", &cert);
        folder.secret("device.key", &key);
        match folder.load() {
            Ok(_) => assert!(good, "{identity} {cn} {san:?}"),
            Err(problems) => {
                assert!(!good, "{identity} {cn} {san:?}: {problems}");
                assert!(problems.to_string().contains("device.identity"), "{problems}");
            }
        }
    }
}

#[test]
fn alpn_is_that_of_aws_on_its_own_hosts_alone_and_may_be_told() {
    let alpn = |url: &str, more: &str| {
        let folder = Folder::new()
            .agent("url = \"mqtts://broker.example:8883\"\n", &format!("url = \"{url}\"\n{more}\n"));
        folder.load().unwrap().mqtt.alpn
    };
    let aws = "mqtts://abc-ats.iot.eu-central-1.amazonaws.com:443";
    assert_eq!(alpn(aws, "").as_deref(), Some("x-amzn-mqtt-ca"));
    assert_eq!(alpn("mqtts://abc-ats.iot.eu-central-1.amazonaws.com", ""), None);
    assert_eq!(alpn("mqtts://broker.example:443", ""), None);
    assert_eq!(alpn("mqtts://broker.example:443", "alpn = \"mqtt\"").as_deref(), Some("mqtt"));
    assert_eq!(alpn(aws, "alpn = \"none\""), None);
    let folder = Folder::new().agent("[mqtt]\n", "[mqtt]\nalpn = \"two words\"\n");
    folder.is_told("mqtt.alpn", "alpn", "without spaces");
}

#[test]
fn a_user_name_may_have_a_password_which_nobody_else_reads() {
    let with = |more: &str| Folder::new().agent("[mqtt]\n", &format!("[mqtt]\n{more}\n"));
    assert_eq!(Folder::new().load().unwrap().mqtt.login, None);
    let login = with("username = \"camera\"").load().unwrap().mqtt.login.unwrap();
    assert_eq!((login.username.as_str(), login.password), ("camera", None));

    let both = "username = \"camera\"\npassword = \"password\"";
    let folder = with(both);
    folder.secret("password", "s3cr3t\n");
    assert_eq!(folder.load().unwrap().mqtt.login.unwrap().password, Some(folder.path("password")));
    fs::set_permissions(folder.path("password"), fs::Permissions::from_mode(0o644)).unwrap();
    folder.is_told("mqtt.password", "password", "chmod 600");
    folder.secret("password", "\n");
    folder.is_told("mqtt.password", "password", "is empty");
    fs::remove_file(folder.path("password")).unwrap();
    folder.is_told("mqtt.password", "password", "cannot be read");

    let folder = with("password = \"password\"");
    folder.secret("password", "s3cr3t\n");
    folder.is_told("mqtt.password", "password", "without a user name");
    assert!(!folder.problem().to_string().contains("s3cr3t"));
    let long = format!("username = \"{}\"", "x".repeat(257));
    with(&long).is_told("mqtt.username", "username", "1 to 256 characters");
}

#[test]
fn a_device_certificate_that_brokers_refuse_is_warned_of() {
    let folder = Folder::new();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "cam-0001");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    folder.write("device.pem", &params.self_signed(&key).unwrap().pem());
    folder.secret("device.key", &key.serialize_pem());
    let config = folder.load().unwrap();
    let warnings = |config: &Config| -> Vec<String> {
        let now = kasacam::domain::time::Utc::parse("2026-11-23T12:00:00Z").unwrap();
        let found = config::warnings(config, now);
        found.into_iter().filter(|w| w.key == "mqtt.cert").map(|w| w.warning).collect()
    };
    let told = warnings(&config).join("\n");
    assert!(told.contains("CA:TRUE") && told.contains("clientAuth"), "{told}");

    // Without extensions OpenSSL issues version 1.
    let run = |arguments: &str| {
        let mut command = std::process::Command::new("openssl");
        let output = command.current_dir(folder.path("")).args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run("req -new -key device.key -subj /CN=cam-0001 -out v1.csr");
    run("x509 -req -in v1.csr -signkey device.key -days 30 -out device.pem");
    let told = warnings(&folder.load().unwrap()).join("\n");
    assert!(told.contains("reissue it as version 3"), "{told}");
}
