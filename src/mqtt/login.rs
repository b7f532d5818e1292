//! User name and password for brokers that want them beside the certificate. The password is read anew for each
//! connection, so that one that is renewed needs no restart; it is never logged.

use crate::config::MqttLogin;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// A token may be long; a packet of MQTT carries 65,535 bytes of it.
const MAX_PASSWORD: u64 = 16 * 1024;

/// What goes into CONNECT.
pub(super) struct Login {
    pub(super) username: String,
    pub(super) password: Option<Vec<u8>>,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

/// Reads the password, if there is to be one.
///
/// # Errors
/// Which file cannot be used, and why.
pub(super) fn read(login: &MqttLogin) -> Result<Login, String> {
    let password = login.password.as_deref().map(password).transpose()?;
    Ok(Login { username: login.username.clone(), password })
}

fn password(path: &Path) -> Result<Vec<u8>, String> {
    let at = path.display();
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_PASSWORD + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("mqtt.password: {at}: cannot be read: {}", error.kind()))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_PASSWORD {
        return Err(format!("mqtt.password: {at}: is longer than 16 KiB"));
    }
    // The line's end is the editor's, not the password's.
    bytes.truncate(bytes.trim_ascii_end().len());
    Ok(bytes)
}
