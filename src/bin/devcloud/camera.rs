//! The configuration of a camera of this cloud: `DIR/{device}/agent.toml`, and its board file.

use crate::certificates::{Pki, private_dir, write_new};
use crate::store_key::BUCKET;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How the camera is configured.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Camera {
    /// The id of the camera, and the common name of its certificate.
    #[arg(long, default_value = "cam-0001")]
    pub device: String,
    /// `recording.segment`.
    #[arg(long, default_value = "4s")]
    pub segment: String,
    /// `recording.fragment`.
    #[arg(long, default_value = "1s")]
    pub fragment: String,
    /// `recording.chunk`.
    #[arg(long, default_value = "500ms")]
    pub chunk: String,
    /// `mqtt.telemetry`: how often the camera reports its figures.
    #[arg(long, default_value = "2s")]
    pub telemetry: String,
    /// Record this file (H.264 in MP4, Matroska or Annex B) or rtsp:// address, without audio [default: a test picture and
    /// a test tone].
    #[arg(long)]
    pub source: Option<String>,
    /// Give the camera no certificate, but a one-time password with which `kasacamd enroll` gets one.
    #[arg(long)]
    pub enroll: bool,
    /// How the camera authorises its uploads [default: file; in a demo, grant].
    #[arg(long, value_enum)]
    pub credentials: Option<Right>,
    /// Use this board file, unchanged.
    #[arg(long, conflicts_with = "source")]
    pub board: Option<PathBuf>,
    /// One more line for agent.toml, such as `upload.concurrency=1` or `spool.hold="10s"`.
    #[arg(long = "set", value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
}

/// The kinds of `upload.credentials`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Right {
    File,
    Iot,
    Grant,
}

/// The addresses and files that the configuration names.
pub(crate) struct Ends<'a> {
    pub mqtt_port: u16,
    pub s3_port: u16,
    pub est_port: u16,
    pub keys_port: u16,
    pub password: &'a Path,
    pub credentials: &'a Path,
    pub key: &'a Path,
}

/// Writes both files; returns the path of `agent.toml`.
///
/// # Errors
/// They cannot be written, or a setting does not have the form `SECTION.KEY=VALUE`.
pub(crate) fn write(dir: &Path, pki: &Pki, ends: &Ends<'_>, camera: &Camera) -> Result<PathBuf, String> {
    let home = dir.join(&camera.device);
    private_dir(&home)?;
    let board = match &camera.board {
        Some(board) => std::path::absolute(board).map_err(|e| format!("{}: {e}", board.display()))?,
        None => {
            let board = home.join("board.toml");
            write_new(&board, board_text(camera.source.as_deref())?.as_bytes(), 0o600)?;
            board
        }
    };
    let agent = home.join("agent.toml");
    write_new(&agent, agent_text(&home, &board, pki, ends, camera)?.as_bytes(), 0o600)?;
    Ok(agent)
}

fn agent_text(
    home: &Path,
    board: &Path,
    pki: &Pki,
    ends: &Ends<'_>,
    camera: &Camera,
) -> Result<String, String> {
    let path = |path: &Path| text(&path.display().to_string());
    let credentials = match camera.credentials.unwrap_or(Right::File) {
        Right::File => format!("{{ file = {} }}", path(ends.credentials)),
        Right::Iot => format!(
            "{{ iot = {} }}",
            text(&format!("https://localhost:{}{}", ends.keys_port, crate::keys::PATH))
        ),
        Right::Grant => String::from("{ grant = true }"),
    };
    let settings = [
        ("device.id", text(&camera.device)),
        ("device.board", path(board)),
        ("device.state_dir", path(&home.join("state"))),
        ("device.socket", path(&home.join("control.sock"))),
        ("mqtt.url", text(&format!("mqtts://localhost:{}", ends.mqtt_port))),
        ("mqtt.ca", path(&pki.ca)),
        ("mqtt.cert", path(&pki.device_cert)),
        ("mqtt.key", path(&pki.device_key)),
        ("mqtt.telemetry", text(&camera.telemetry)),
        // No other cameras reconnect at the same time.
        ("mqtt.reconnect_spread", text("1s")),
        ("entitlement.keys", format!("[{}]", path(ends.key))),
        ("clock.trust", text("system")),
        ("recording.segment", text(&camera.segment)),
        ("recording.fragment", text(&camera.fragment)),
        ("recording.chunk", text(&camera.chunk)),
        ("upload.url", text(&format!("s3://{BUCKET}/v1/"))),
        ("upload.endpoint", text(&format!("https://localhost:{}", ends.s3_port))),
        ("upload.ca", path(&pki.ca)),
        ("upload.credentials", credentials),
    ];
    let mut sections: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut put = |name: &str, value: String| -> Option<()> {
        let (section, key) = name.trim().split_once('.')?;
        sections.entry(section.to_owned()).or_default().insert(key.to_owned(), value);
        Some(())
    };
    let enrolment = [
        ("identity.est", text(&format!("https://localhost:{}/.well-known/est", ends.est_port))),
        ("identity.password", path(ends.password)),
    ];
    for (name, value) in settings {
        if !(camera.enroll && ["mqtt.cert", "mqtt.key"].contains(&name)) {
            put(name, value);
        }
    }
    if camera.enroll {
        enrolment.into_iter().for_each(|(name, value)| _ = put(name, value));
    }
    for line in &camera.set {
        line.split_once('=')
            .and_then(|(name, value)| put(name, value.trim().to_owned()))
            .ok_or_else(|| format!("--set {line}: the form is SECTION.KEY=VALUE"))?;
    }
    let mut toml = String::from("# Written by kasacam-devcloud at each start.\n");
    for (section, keys) in sections {
        toml.push_str(&format!("\n[{section}]\n"));
        for (key, value) in keys {
            toml.push_str(&format!("{key} = {value}\n"));
        }
    }
    Ok(toml)
}

fn board_text(source: Option<&str>) -> Result<String, String> {
    let (source, with_audio) = match source {
        None => ("{ kind = \"test\" }\nencoder = { kind = \"x264\" }".to_owned(), true),
        Some(url) if url.starts_with("rtsp://") => {
            (format!("{{ kind = \"rtsp\", url = {} }}", text(url)), false)
        }
        Some(file) => {
            let path = std::path::absolute(file).map_err(|e| format!("{file}: {e}"))?;
            let path = text(&path.display().to_string());
            (format!("{{ kind = \"file\", path = {path}, realtime = true, loop = true }}"), false)
        }
    };
    let audio = if with_audio { "\n[audio]\nsource = { kind = \"test\" }\n" } else { "" };
    Ok(format!(
        "name = \"devcloud\"\n\n[video]\nsource = {source}\nwidth = 640\nheight = 360\nfps = 15\n\
         bitrate = \"600 kbit/s\"\n{audio}"
    ))
}

/// The text as a basic string of TOML.
fn text(value: &str) -> String {
    let mut quoted = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
