//! `kasacamd reset`: removes what a household left on the camera, so that the next owner finds none of it
//! (ETSI EN 303 645, 5.11).
//!
//! 1. The agent must not run: it holds files open, and would write new ones.
//! 2. The key of the spool is removed first: what the flash may still hold of an encrypted spool is then
//!    unreadable.
//! 3. The spool, and everything else in the state directory: the owner's choice, the lease, the journal, the
//!    latch, an identity that was enrolled. A power cut in between leaves a camera that records nothing:
//!    facts beside a missing latch are unreadable, and without facts nothing is permitted.
//! 4. The credentials of the store.
//!
//! What belongs to the product stays: the configuration, the board file, certificates of authorities, and a
//! certificate and key that were not enrolled.

use kasacam::config;
use kasacam::system::control;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Deeper than any folder that the agent makes.
const MAX_DEPTH: usize = 8;

/// Removes everything, and returns a text that says what was removed and what remains.
pub(crate) fn reset(path: &Path) -> Result<String, String> {
    let places = config::load_places(path).map_err(|problems| problems.to_string())?;
    if control::ask::<serde_json::Value>(&places.device.socket, &control::Command::Status).is_ok() {
        return Err(String::from("the agent runs: stop it first (systemctl stop kasacamd)"));
    }
    let mut done = Removed::default();
    if let Some(key) = &places.spool_key {
        done.file(key, "the key of the spool");
    }
    done.folder(&places.device.state_dir.join("spool"), "footage that was not stored yet");
    done.folder(&places.device.state_dir, "choices, plan, journal, latch and identity");
    if let Some(credentials) = &places.credentials {
        done.file(credentials, "the credentials of the store");
    }
    let mut stays = vec![(path.to_owned(), "the configuration")];
    stays.extend(places.board.map(|board| (board, "the board file")));
    stays.extend(places.device_key.map(|key| (key, "the device's own key")));
    let by_unit =
        "given by the unit: remove the file that its LoadCredential= names, unless it belongs to the product";
    stays.extend(places.handed_over.into_iter().map(|text| (PathBuf::from(text), by_unit)));
    done.in_words(&stays)
}

/// What was removed, and what could not be.
#[derive(Default)]
struct Removed {
    words: String,
    failed: String,
}

impl Removed {
    fn file(&mut self, path: &Path, what: &str) {
        let removed =
            fs::symlink_metadata(path).and_then(|meta| remove(path, meta.len())).and_then(|()| synced(path));
        match removed {
            Ok(()) => {
                let _infallible = writeln!(self.words, "removed  {}: {what}", path.display());
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => {
                let _infallible = writeln!(self.failed, "{}: {what}: cannot be removed: {e}", path.display());
            }
        }
    }

    /// Removes everything in a folder, but not the folder.
    fn folder(&mut self, path: &Path, what: &str) {
        let mut count = Count::default();
        let emptied = empty(path, MAX_DEPTH, &mut count).and_then(|()| match fs::File::open(path) {
            Ok(folder) => folder.sync_all(),
            Err(e) => Err(e),
        });
        if count.files > 0 {
            let _infallible = writeln!(
                self.words,
                "removed  {}: {what}: {} files, {} bytes",
                path.display(),
                count.files,
                count.bytes
            );
        }
        match emptied {
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => {
                let _infallible =
                    writeln!(self.failed, "{}: {what}: not all could be removed: {e}", path.display());
            }
        }
    }

    fn in_words(self, stays: &[(PathBuf, &str)]) -> Result<String, String> {
        let mut words = self.words;
        if words.is_empty() && self.failed.is_empty() {
            words.push_str("nothing to remove\n");
        }
        for (path, what) in stays {
            let _infallible = writeln!(words, "stays    {}: {what}", path.display());
        }
        words.push_str(
            "Flash may still hold what was removed until it is overwritten or trimmed: run fstrim on this file system. The \
             content of an encrypted spool (spool.encrypt) cannot be read any more.\n",
        );
        if self.failed.is_empty() {
            return Ok(words);
        }
        Err(format!("the reset is not complete:\n{}{words}", self.failed))
    }
}

#[derive(Default)]
struct Count {
    files: u64,
    bytes: u64,
}

/// Empties a folder. Links are removed, never followed. Continues if a file cannot be removed; the first such
/// error is returned.
fn empty(folder: &Path, depth: usize, count: &mut Count) -> io::Result<()> {
    if !fs::symlink_metadata(folder)?.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "is not a folder"));
    }
    let mut first = Ok(());
    for entry in fs::read_dir(folder)? {
        let outcome = entry.and_then(|entry| {
            let (path, meta) = (entry.path(), entry.metadata()?);
            if !meta.is_dir() {
                remove(&path, meta.len())?;
                (count.files, count.bytes) = (count.files + 1, count.bytes + meta.len());
                return Ok(());
            }
            if depth == 0 {
                return Err(io::Error::other(format!("{} is nested too deep", path.display())));
            }
            empty(&path, depth - 1, count)?;
            fs::remove_dir(&path)
        });
        first = first.and(outcome);
    }
    first
}

/// Truncates a file before its name is removed, so that its blocks are free even if another process has it
/// open.
fn remove(path: &Path, len: u64) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let plain = fs::symlink_metadata(path)?.is_file();
    if plain && len > 0 {
        // Best effort: a file that may not be written can perhaps still be removed.
        let _kept = fs::OpenOptions::new()
            .write(true)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .and_then(|file| file.set_len(0).and_then(|()| file.sync_all()));
    }
    fs::remove_file(path)
}

fn synced(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())
}
