//! User name and password for brokers that require them in addition to the certificate. The password is read
//! again for each connection, so that a renewed one needs no restart; it is never logged.

use crate::config::{MqttLogin, Surroundings, secret};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A token may be long; an MQTT packet can carry 65,535 bytes of it.
const MAX_PASSWORD: u64 = 16 * 1024;

/// What goes into CONNECT.
pub(super) struct Login {
    pub(super) username: String,
    pub(super) password: Option<String>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

/// Reads the password, if one is configured, on a thread that may wait for a disk.
///
/// # Errors
/// Which file cannot be used, and why.
pub(super) async fn read(login: &MqttLogin) -> Result<Login, String> {
    let password = match login.password.clone() {
        Some(path) => tokio::task::spawn_blocking(move || password(&path))
            .await
            .map_err(|_| String::from("mqtt.password: reading it failed"))
            .and_then(|password| password)
            .map(Some)?,
        None => None,
    };
    Ok(Login { username: login.username.clone(), password })
}

fn password(path: &Path) -> Result<String, String> {
    let at = path.display();
    let unreadable = |error: std::io::Error| format!("mqtt.password: {at}: cannot be read: {}", error.kind());
    let file = File::open(path).map_err(unreadable)?;
    let found = file.metadata().map_err(unreadable)?;
    secret::guarded(path, &found, &Surroundings::here())
        .map_err(|why| format!("mqtt.password: {at}: {why}"))?;
    let mut bytes = Vec::new();
    file.take(MAX_PASSWORD + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_PASSWORD {
        return Err(format!("mqtt.password: {at}: is longer than 16 KiB"));
    }
    // The line end comes from the editor and is not part of the password.
    bytes.truncate(bytes.trim_ascii_end().len());
    String::from_utf8(bytes).map_err(|_| format!("mqtt.password: {at}: is not UTF-8"))
}
