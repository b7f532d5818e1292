//! Warnings about a valid configuration.

use super::material;
use super::upload::StoreCredentials;
use super::validated::Config;
use crate::domain::time::Utc;

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
