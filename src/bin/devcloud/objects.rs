//! What the bucket holds, as files: the bytes of an object at its key, and what the store knows of it
//! beside them, in `{key}.json`. An object is there if and only if that second file is.

use kasacam::disk::{self, Fs, RealFs};
use kasacam::domain::time::Utc;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What the store knows of an object besides its bytes.
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

/// Why an object was not taken.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The key is taken, and the caller wanted it free.
    Exists,
    /// The key cannot be a path below the bucket.
    BadKey,
    Disk(std::io::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Exists => f.write_str("the key is taken"),
            Refusal::BadKey => f.write_str("the key cannot be kept here"),
            Refusal::Disk(error) => write!(f, "the disk: {error}"),
        }
    }
}

/// One bucket. Clones are the same bucket.
#[derive(Clone)]
pub(crate) struct Bucket {
    root: PathBuf,
    /// Held from the look at what is there until the object is: a PUT is atomic.
    writing: Arc<Mutex<()>>,
}

impl Bucket {
    /// The bucket in `root`, made where it is not yet there.
    ///
    /// # Errors
    /// Where it cannot be made.
    pub(crate) fn open(root: PathBuf) -> Result<Bucket, String> {
        RealFs.mkdir(&root).map_err(|e| format!("{}: cannot be made: {e}", root.display()))?;
        Ok(Bucket { root, writing: Arc::new(Mutex::new(())) })
    }

    /// Stores an object, as a whole or not at all; with `only_new` only under a key that is free.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub(crate) fn put(&self, key: &str, body: &[u8], facts: &Facts, only_new: bool) -> Result<(), Refusal> {
        // Such a key would be the second file of another object.
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

    /// What is known of an object, or `None` where there is none.
    ///
    /// # Errors
    /// Where the disk cannot be read, or what it holds is damaged.
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
    /// Where it is not there or cannot be read.
    pub(crate) fn body(&self, key: &str) -> std::io::Result<Vec<u8>> {
        self.path(key).map_or_else(|| Err(ErrorKind::NotFound.into()), std::fs::read)
    }

    /// Every key that begins with `prefix`, in the order of their bytes.
    ///
    /// # Errors
    /// Where the disk cannot be read.
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

    /// No key leads out of the bucket, or to a file that is being written.
    fn path(&self, key: &str) -> Option<PathBuf> {
        let good = |part: &str| !part.is_empty() && !part.starts_with('.') && !disk::is_temporary(part);
        let sound = key.len() <= 1024 && !key.contains(['\\', '\0']) && key.split('/').all(good);
        sound.then(|| self.root.join(key))
    }
}
