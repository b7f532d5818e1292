//! The bucket as files: the bytes of an object at its key, and what the store knows about it in `{key}.json`. An object
//! exists if and only if that second file exists.

use kasacam::disk::{self, Fs, RealFs};
use kasacam::domain::time::Utc;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What the store knows about an object, besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub bytes: u64,
    /// Base64, as S3 writes it.
    pub sha256: String,
    pub content_type: Option<String>,
    pub metadata: BTreeMap<String, String>,
    pub tags: BTreeMap<String, String>,
    pub stored_at: Utc,
}

/// Why an object was refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The key is taken, and the caller wanted a new object.
    Exists,
    /// The key cannot be a path below the bucket.
    BadKey,
    Disk(std::io::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Exists => f.write_str("the key is taken"),
            Refusal::BadKey => f.write_str("the key is not allowed"),
            Refusal::Disk(error) => write!(f, "the disk: {error}"),
        }
    }
}

/// One bucket. Clones are the same bucket.
#[derive(Clone)]
pub(crate) struct Bucket {
    root: PathBuf,
    /// Held from the check whether the key is free until the object is stored, so that a PUT is atomic.
    writing: Arc<Mutex<()>>,
}

impl Bucket {
    /// Opens the bucket in `root`, or makes it.
    ///
    /// # Errors
    /// It cannot be made.
    pub(crate) fn open(root: PathBuf) -> Result<Bucket, String> {
        RealFs.mkdir(&root).map_err(|e| format!("{}: cannot be made: {e}", root.display()))?;
        Ok(Bucket { root, writing: Arc::new(Mutex::new(())) })
    }

    /// Stores an object atomically; with `only_new`, only under a free key.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub(crate) fn put(&self, key: &str, body: &[u8], facts: &Facts, only_new: bool) -> Result<(), Refusal> {
        // This would be the second file of another object.
        if key.ends_with(".json") {
            return Err(Refusal::BadKey);
        }
        let path = self.path(key).ok_or(Refusal::BadKey)?;
        let (Some(dir), Some(name)) = (path.parent(), path.file_name().and_then(|name| name.to_str())) else {
            return Err(Refusal::BadKey);
        };
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if only_new && self.facts(key).map_err(Refusal::Disk)?.is_some() {
            return Err(Refusal::Exists);
        }
        RealFs.mkdir(dir).map_err(Refusal::Disk)?;
        disk::publish(&RealFs, dir, name, body).map_err(Refusal::Disk)?;
        let json = serde_json::to_vec_pretty(facts).map_err(|e| Refusal::Disk(e.into()))?;
        disk::publish(&RealFs, dir, &format!("{name}.json"), &json).map_err(Refusal::Disk)
    }

    /// What is known about an object; `None` if there is none.
    ///
    /// # Errors
    /// The disk cannot be read, or the file is damaged.
    pub(crate) fn facts(&self, key: &str) -> std::io::Result<Option<Facts>> {
        let Some(path) = self.path(&format!("{key}.json")) else {
            return Ok(None);
        };
        match std::fs::read(path) {
            Ok(json) => Ok(Some(serde_json::from_slice(&json)?)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The bytes of an object.
    ///
    /// # Errors
    /// It does not exist, or cannot be read.
    pub(crate) fn body(&self, key: &str) -> std::io::Result<Vec<u8>> {
        self.path(key).map_or_else(|| Err(ErrorKind::NotFound.into()), std::fs::read)
    }

    /// All keys that begin with `prefix`, in the order of their bytes.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub(crate) fn keys(&self, prefix: &str) -> std::io::Result<Vec<String>> {
        let mut keys = Vec::new();
        self.collect(&self.root, &mut keys)?;
        keys.retain(|key| key.starts_with(prefix));
        keys.sort();
        Ok(keys)
    }

    fn collect(&self, dir: &Path, keys: &mut Vec<String>) -> std::io::Result<()> {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                self.collect(&entry.path(), keys)?;
                continue;
            }
            let path = entry.path();
            let key = path.strip_prefix(&self.root).ok().and_then(Path::to_str);
            keys.extend(key.and_then(|key| key.strip_suffix(".json")).map(ToOwned::to_owned));
        }
        Ok(())
    }

    /// `None` for a key that leads out of the bucket, or to a temporary file.
    fn path(&self, key: &str) -> Option<PathBuf> {
        let good = |part: &str| !part.is_empty() && !part.starts_with('.') && !disk::is_temporary(part);
        let is_valid = key.len() <= 1024 && !key.contains(['\\', '\0']) && key.split('/').all(good);
        is_valid.then(|| self.root.join(key))
    }
}
