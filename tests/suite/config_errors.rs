//! The problems of a configuration are reported: file, line, key and what to do; all at once.

mod boards;
mod certificates;
mod credentials;
mod files;
mod rtsp;
mod values;

use kasacam::config::{self, Config, Problem, Problems, Surroundings};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ED25519};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

/// A folder with a valid `agent.toml` and all its files.
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
        folder.identity(certificate("cam-0001"));
        folder.write("ca.pem", &certificate("ca").0);
        folder.write("entitlement-2026-1.pem", &ed25519_public());
        folder.secret("storage.toml", "access_key_id = \"AKIDEXAMPLE\"\nsecret_access_key = \"s3cr3t\"\n");
        folder.write("board.toml", BOARD);
        folder
    }

    /// With these keys in a section of their own.
    fn with(section: &str, keys: &str) -> Folder {
        Folder::new().agent("[upload]", &format!("[{section}]\n{keys}\n[upload]"))
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
        self.mode(name, 0o600);
    }

    /// Replaces the device's certificate and key.
    fn identity(&self, (cert, key): (String, String)) {
        self.write("device.pem", &cert);
        self.secret("device.key", &key);
    }

    /// Changes the mode of a file.
    fn mode(&self, name: &str, mode: u32) {
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
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
    fn is_reported(&self, key: &str, text: &str, what: &str) {
        let problem = self.problem();
        assert_eq!(problem.key, key, "{problem}");
        assert!(problem.to_string().contains(what), "{problem} does not say {what:?}");
        let file = fs::read_to_string(&problem.file).unwrap();
        let line = file.lines().nth(problem.line as usize - 1).unwrap();
        assert!(line.contains(text), "{problem} points to {line:?}");
    }
}

/// A self-signed certificate with this common name, and its key.
fn certificate(name: &str) -> (String, String) {
    certificate_with(name, |_| ())
}

/// A self-signed certificate with this common name and these parameters, and its key.
fn certificate_with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    change(&mut params);
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
fn all_mistakes_are_reported_at_once_with_their_lines() {
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
