//! Access to an RTSP camera: user and password, and how its certificate is verified.

use super::board::{RtspAccess, RtspTrust};
use super::problem::Problems;
use super::settings::Merged;
use super::surroundings::Surroundings;
use super::{material, secret};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Maximum bytes of a file with user and password.
const MAX_CREDENTIALS: u64 = 4096;

/// User and password. Debug output shows neither.
#[derive(Clone, PartialEq, Eq)]
pub struct RtspLogin {
    /// The text before the first colon.
    pub user: String,
    /// The text after it.
    pub password: String,
}

impl fmt::Debug for RtspLogin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RtspLogin(..)")
    }
}

impl RtspLogin {
    /// Reads the file that `video.source.credentials` names.
    ///
    /// # Errors
    /// Why it cannot be used, in one line. Its content is not quoted.
    pub fn read(path: &Path, around: &Surroundings) -> Result<RtspLogin, String> {
        let at = |why: &dyn fmt::Display| format!("video.source.credentials: {}: {why}", path.display());
        let unreadable = |error: std::io::Error| at(&format!("cannot be read: {}", error.kind()));
        // Before it is opened: opening a pipe waits for a writer.
        if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
            return Err(at(&"is not a regular file"));
        }
        let file = File::open(path).map_err(unreadable)?;
        let found = file.metadata().map_err(unreadable)?;
        secret::guarded(path, &found, around).map_err(|why| at(&why))?;
        let mut bytes = Vec::new();
        file.take(MAX_CREDENTIALS + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        let text = Some(bytes).filter(|bytes| bytes.len() as u64 <= MAX_CREDENTIALS);
        let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
        // The line end comes from the editor, not from the password.
        let line = text.as_deref().map(|text| text.trim_end_matches(['\r', '\n'])).unwrap_or_default();
        match line.split_once(':') {
            Some((user, password)) if !user.is_empty() && !line.contains(char::is_control) => {
                Ok(RtspLogin { user: user.to_owned(), password: password.to_owned() })
            }
            Some(_) | None => Err(at(&"must be one line: user:password")),
        }
    }
}

/// Reads the keys beside `video.source.url`.
pub(super) fn access(
    merged: &Merged,
    around: &Surroundings,
    url: &str,
    problems: &mut Problems,
) -> Option<RtspAccess> {
    let mut path = |key: &str| {
        let (text, at) = merged.text(key)?;
        match around.resolve(text, at) {
            Ok(path) => Some((path, at)),
            Err(why) => {
                problems.push(at, key, why, "");
                None
            }
        }
    };
    let (credentials, ca) = (path("video.source.credentials"), path("video.source.ca"));
    if let Some((path, at)) = &credentials {
        // A missing file must not prevent the upload of pending segments.
        if path.exists() {
            let examined = material::Examined { at, key: "video.source.credentials", path };
            material::password(&examined, around, problems);
        }
    }
    if let Some((path, at)) = &ca {
        material::authorities(&material::Examined { at, key: "video.source.ca", path }, problems);
    }
    let given = merged.text("video.source.fingerprint");
    let fingerprint = given.and_then(|(text, at)| {
        let found = fingerprint(text);
        if found.is_none() {
            let hint = "64 hexadecimal digits, as `openssl x509 -noout -fingerprint -sha256` prints them";
            problems.push(at, "video.source.fingerprint", "is not a SHA-256", hint);
        }
        found
    });
    let (_, at) = merged.text("video.source.url")?;
    let trust = match (ca, fingerprint, given.is_some(), url.starts_with("rtsps://")) {
        (Some((ca, _)), None, false, true) => Some(RtspTrust::Authorities(ca)),
        (None, Some(fingerprint), _, true) => Some(RtspTrust::Fingerprint(fingerprint)),
        (None, None, false, false) => None,
        (None, None, true, _) => return None,
        (None, None, false, true) => {
            if merged.text("video.source.ca").is_none() {
                let hint = "give video.source.ca, or video.source.fingerprint for a self-signed certificate";
                problems.push(
                    at,
                    "video.source.url",
                    "has TLS, and no key says which certificate is the camera's",
                    hint,
                );
            }
            return None;
        }
        (Some(_), _, true, true) => {
            problems.push(at, "video.source", "has both a ca and a fingerprint", "remove one of them");
            return None;
        }
        (_, _, _, false) => {
            let hint = "write rtsps://, or remove them";
            problems.push(
                at,
                "video.source.url",
                "is not encrypted, so ca and fingerprint are not used",
                hint,
            );
            return None;
        }
        (Some(_), Some(_), false, true) => return None,
    };
    Some(RtspAccess { credentials: credentials.map(|(path, _)| path), trust })
}

/// Parses 64 hexadecimal digits, with or without colons.
fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
    let mut found = [0; 32];
    if digits.len() != 2 * found.len() {
        return None;
    }
    for (byte, pair) in found.iter_mut().zip(digits.chunks(2)) {
        let pair =
            std::str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(found)
}
