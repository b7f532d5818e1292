//! The store's credentials: a small TOML file, read again when it changes, or temporary keys of a provider.
//!
//! ```toml
//! access_key_id = "..."
//! secret_access_key = "..."
//! session_token = "..."      # for temporary credentials
//! ```
//! No error, no log line and no `Debug` of this module contains any of the three, or a line of the file.

use super::iot::Provider;
use super::keys::keys;
use super::stamp::Stamp;
use crate::config::{Surroundings, secret};
use aws_credential_types::Credentials as Keys;
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

const MAX_BYTES: u64 = 16 * 1024;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    access_key_id: String,
    secret_access_key: String,
    session_token: Option<String>,
}

/// The source of the store's keys.
#[derive(Debug)]
pub enum Source {
    /// A file.
    File(Credentials),
    /// The AWS IoT credentials provider.
    Iot(Arc<Provider>),
}

impl Source {
    /// The current keys for signing.
    ///
    /// # Errors
    /// Why there are none, in text that is safe to log.
    pub async fn current(&self) -> Result<Arc<Keys>, String> {
        match self {
            Source::File(file) => file.current(),
            Source::Iot(provider) => provider.current().await,
        }
    }

    /// The store refused a signature with this error code. True if other keys may be available at once.
    pub(super) fn refused(&self, code: Option<&str>) -> bool {
        let is_about_keys = matches!(
            code,
            Some("ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" | "InvalidAccessKeyId")
        );
        match self {
            // The file is checked before each request: there is nothing newer.
            Source::File(_) => false,
            Source::Iot(provider) => is_about_keys && provider.refused(),
        }
    }
}

/// The credentials of a file, as they currently are.
pub struct Credentials {
    path: PathBuf,
    last: Mutex<Option<(Stamp, Arc<Keys>)>>,
}

impl Credentials {
    /// Reads nothing yet: the file is read when a request must be signed.
    #[must_use]
    pub fn new(path: &Path) -> Credentials {
        Credentials { path: path.to_owned(), last: Mutex::new(None) }
    }

    /// The credentials in the file; it is read only if it has changed since the last time.
    ///
    /// # Errors
    /// What is wrong with the file and what to do about it.
    pub fn current(&self) -> Result<Arc<Keys>, String> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let read = self.read(last.as_ref());
        *last = read.as_ref().ok().cloned();
        match read {
            Ok((_, credential)) => Ok(credential),
            Err(problem) => Err(format!("upload.credentials: {}: {problem}", self.path.display())),
        }
    }

    fn read(&self, last: Option<&(Stamp, Arc<Keys>)>) -> Result<(Stamp, Arc<Keys>), String> {
        // O_NONBLOCK: a FIFO in its place must not block the agent.
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(&self.path)
            .map_err(|error| format!("cannot be opened: {error}"))?;
        let stamp = examine(&self.path, &file)?;
        if let Some((known, credential)) = last {
            if *known == stamp {
                return Ok((stamp, Arc::clone(credential)));
            }
        }
        let mut text = String::new();
        file.take(MAX_BYTES + 1)
            .read_to_string(&mut text)
            .map_err(|error| format!("cannot be read: {}", error.kind()))?;
        parse(&text).map(|credential| (stamp, Arc::new(credential)))
    }
}

/// Checks that the file is small, regular and protected.
fn examine(path: &Path, file: &File) -> Result<Stamp, String> {
    let meta = file.metadata().map_err(|error| format!("cannot be examined: {error}"))?;
    if !meta.is_file() {
        return Err("is not a plain file".into());
    }
    secret::guarded(path, &meta, &Surroundings::here()).map_err(|unguarded| unguarded.to_string())?;
    if meta.len() > MAX_BYTES {
        return Err("is larger than 16 KiB".into());
    }
    Ok(Stamp::of(&meta))
}

/// Reads the text. The parser's own message quotes the line, so only the line number is used.
fn parse(text: &str) -> Result<Keys, String> {
    let contents: Contents = toml::from_str(text).map_err(|error| {
        let line = error
            .span()
            .and_then(|span| text.get(..span.start))
            .map_or(1, |before| before.matches('\n').count() + 1);
        format!(
            "line {line}: give access_key_id, secret_access_key and, for temporary credentials, \
             session_token, each as key = \"value\", and nothing else"
        )
    })?;
    let Contents { access_key_id, secret_access_key, session_token } = contents;
    keys(access_key_id, secret_access_key, session_token)
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("path", &self.path).finish_non_exhaustive()
    }
}
