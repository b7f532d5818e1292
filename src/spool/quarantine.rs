//! Damaged files: they are moved, never followed, and deleted only to make room.

use crate::disk::{FileKind, Fs, make_dir};
use crate::domain::input::Input;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Its name in the spool directory.
pub(super) const DIRECTORY: &str = "quarantine";
/// Maximum number of files that are listed.
const LISTED: usize = 4_096;

/// Limits of the quarantine; the oldest file is deleted first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuarantineLimits {
    /// Maximum number of files.
    pub files: u64,
    /// Maximum number of bytes.
    pub bytes: u64,
}

impl Default for QuarantineLimits {
    fn default() -> QuarantineLimits {
        QuarantineLimits { files: 32, bytes: 64 * 1024 * 1024 }
    }
}

pub(super) struct Quarantine {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    limits: QuarantineLimits,
    /// Name and size in bytes, by number, which is the order of age.
    held: BTreeMap<u64, (String, u64)>,
    bytes: u64,
}

impl Quarantine {
    /// Lists the files. A directory that is missing or unreadable is an empty quarantine.
    pub(super) fn open(fs: Arc<dyn Fs>, spool: &Path, limits: QuarantineLimits) -> Quarantine {
        let mut quarantine =
            Quarantine { fs, dir: spool.join(DIRECTORY), limits, held: BTreeMap::new(), bytes: 0 };
        let names = quarantine.fs.list(&quarantine.dir, LISTED).unwrap_or_default();
        for (unnumbered, name) in (0..).zip(names.iter().filter_map(|name| name.to_str())) {
            let bytes = quarantine.fs.stat(&quarantine.dir.join(name)).map_or(0, |meta| meta.len);
            let number =
                name.split_once('-').and_then(|(number, _)| number.parse().ok()).unwrap_or(unnumbered);
            if let std::collections::btree_map::Entry::Vacant(slot) = quarantine.held.entry(number) {
                slot.insert((name.to_owned(), bytes));
                quarantine.bytes = quarantine.bytes.saturating_add(bytes);
            }
        }
        // The limits may have been higher when the files came.
        let thrown = quarantine.trim();
        if thrown > 0 {
            tracing::warn!(thrown, "the oldest in quarantine were thrown away");
        }
        quarantine
    }

    pub(super) fn files(&self) -> u64 {
        self.held.len() as u64
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Moves `path`, whatever it is, into the quarantine, and deletes the oldest files until the limits hold.
    /// Returns how many were deleted.
    pub(super) fn take(&mut self, path: &Path) -> io::Result<u64> {
        make_dir(&*self.fs, &self.dir)?;
        let number = self.held.keys().next_back().map_or(1, |last| last.saturating_add(1));
        let name = format!("{number:010}-{}", printable(path.file_name().unwrap_or_default()));
        let meta = self.fs.stat(path)?;
        // The size of a directory says nothing of its content, and a link has none.
        let bytes = if meta.kind == FileKind::File { meta.len } else { 0 };
        self.fs.rename_new(path, &self.dir.join(&name))?;
        self.held.insert(number, (name, bytes));
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(self.trim())
    }

    /// Deletes the oldest that can be deleted, to make room. Returns its former name and its size.
    pub(super) fn remove_oldest(&mut self) -> Option<(String, u64)> {
        let dir = &self.dir;
        let gone = self.held.iter().find(|(_, (name, _))| {
            let path = dir.join(name);
            self.fs.unlink(&path).is_ok() || self.fs.rmdir(&path).is_ok()
        });
        let number = *gone?.0;
        let (name, bytes) = self.held.remove(&number)?;
        self.bytes = self.bytes.saturating_sub(bytes);
        let name = name.split_once('-').map_or(name.clone(), |(_, name)| name.to_owned());
        Some((name, bytes))
    }

    fn trim(&mut self) -> u64 {
        let mut thrown = 0;
        let mut stuck = Vec::new();
        while self.files().saturating_sub(stuck.len() as u64) > self.limits.files
            || self.bytes > self.limits.bytes
        {
            let Some((number, (name, bytes))) = self.held.pop_first() else { break };
            let path = self.dir.join(&name);
            let gone = match self.fs.unlink(&path) {
                Ok(()) => true,
                Err(error) if error.kind() == io::ErrorKind::NotFound => true,
                // Perhaps a directory. One that is not empty was not made by the spool, and stays.
                Err(_) => self.fs.rmdir(&path).is_ok(),
            };
            self.bytes = self.bytes.saturating_sub(bytes);
            if gone {
                thrown += 1;
            } else {
                stuck.push((number, (name, bytes)));
            }
        }
        for (number, held) in stuck {
            self.bytes = self.bytes.saturating_add(held.1);
            self.held.insert(number, held);
        }
        thrown
    }
}

/// A name that is safe in a log and a path: at most 64 letters, digits, `.`, `-`, `_`.
pub(super) fn printable(name: &OsStr) -> String {
    let fit = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' };
    name.to_string_lossy().chars().take(64).map(fit).collect()
}

/// Reports a file that was moved, or another fault of it.
pub(super) fn tell(out: &mut Vec<Input>, name: String, why: String) {
    tracing::warn!(name, why, "spool file put right");
    // A directory full of garbage is reported by its count, not by every name.
    if out.len() < 256 {
        out.push(Input::Quarantined { name, why });
    }
}
