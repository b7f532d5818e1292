//! The privacy journal on flash ([`crate::domain::journal`]): `{state_dir}/journal/privacy.log`, and
//! `privacy.log.1`, which it becomes when it is full. A journal that cannot be continued becomes
//! `privacy.log.broken`, and is never written again.
//!
//! A line is durable once [`Journal::append`] has returned. A power cut before that leaves a line without its
//! line feed, which the next start cuts off: nobody was told of it.
//!
//! When `privacy.log` is full:
//!
//! 1. `privacy.log.new` is published. Its one line names the first line of the full file, and its SHA-256:
//!    from now on the journal begins with that line.
//! 2. `privacy.log` is renamed to `privacy.log.1`; this removes the lines of the previous `privacy.log.1`.
//!    The directory is synced.
//! 3. `privacy.log.new` is renamed to `privacy.log`; the directory is synced.
//!
//! After a power cut: a `privacy.log.new` beside `privacy.log` is removed (before 2); one without it is
//! renamed to it (after 2). A `privacy.log` always has a whole line: it is published with its first one. So
//! if it is empty, or missing beside `privacy.log.1` or beside the latch (which is written after the
//! journal's first line), it was tampered with or lost, and the journal records that it begins anew.

use super::facts::Name;
use super::fs::{Fs, Handle, make_dir, read};
use super::publish::publish;
use crate::domain::journal::{self, Hash, Head, What};
use crate::domain::segment::RecordClock;
use crate::domain::time::Utc;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Maximum size of a file, about 1,200 lines; a camera that is switched ten times a day keeps four months.
pub const MAX_BYTES: u64 = 256 * 1024;
const CURRENT: &str = "privacy.log";
const PREVIOUS: &str = "privacy.log.1";
const NEW: &str = "privacy.log.new";
const BROKEN: &str = "privacy.log.broken";

/// The journal, open for appending.
pub struct Journal {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    /// The latch exists: a missing journal was lost.
    expected: bool,
    most_bytes: u64,
    stands: Stands,
    /// The content on flash may differ from what is expected: it is read again before the next line.
    is_doubtful: bool,
}

/// The state of the journal on flash.
#[derive(Default)]
struct Stands {
    file: Option<Handle>,
    /// There is a file that can be continued.
    exists: bool,
    len: u64,
    /// The first line of that file.
    first: Head,
    head: Head,
    /// The camera was open when the last line was written.
    open: bool,
    begins_anew: bool,
}

impl Journal {
    /// Opens the journal under `state_dir`, or begins one.
    ///
    /// # Errors
    /// Those of [`Fs`]. What is in the files is never an error.
    pub fn open(fs: Arc<dyn Fs>, state_dir: &Path) -> io::Result<Journal> {
        Journal::with_room(fs, state_dir, MAX_BYTES)
    }

    /// Like [`Journal::open`], with files of at most `most_bytes` bytes.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn with_room(fs: Arc<dyn Fs>, state_dir: &Path, most_bytes: u64) -> io::Result<Journal> {
        let dir = state_dir.join("journal");
        let expected = fs.stat(&state_dir.join("state").join(Name::Latch.text())).is_ok();
        make_dir(&*fs, &dir)?;
        let mut journal =
            Journal { fs, dir, expected, most_bytes, stands: Stands::default(), is_doubtful: false };
        journal.look()?;
        Ok(journal)
    }

    /// Whether the last line says that the camera was open.
    #[must_use]
    pub fn ends_open(&self) -> bool {
        self.stands.open
    }

    /// The head that the next entry continues: the last entry's number and hash.
    #[must_use]
    pub fn head(&self) -> Head {
        self.stands.head
    }

    /// Writes one line, durably.
    ///
    /// # Errors
    /// Those of [`Fs`]: then the line is not there, or may appear later, and the next one continues whatever
    /// is there.
    pub fn append(&mut self, time: Utc, clock: RecordClock, what: What) -> io::Result<()> {
        if self.is_doubtful {
            self.look()?;
            self.is_doubtful = false;
        }
        if self.stands.begins_anew {
            self.write(time, clock, What::Began)?;
            self.stands.begins_anew = false;
        }
        self.write(time, clock, what)
    }

    /// Finishes what a power cut interrupted, and reads the state of the journal.
    fn look(&mut self) -> io::Result<()> {
        self.stands = Stands::default();
        self.take_up_new()?;
        let earlier = self.load(PREVIOUS)?;
        let known = earlier.as_deref().and_then(last);
        if let Some(last) = &known {
            (self.stands.head, self.stands.open) = (last.head, last.open.unwrap_or(false));
        }
        let Some(bytes) = self.load(CURRENT)? else {
            self.stands.begins_anew = earlier.is_some() || self.expected;
            if self.stands.begins_anew {
                self.stands.head.hash = Hash::of(b"");
            }
            return Ok(());
        };
        let (Some(last), Some(first)) = (last(&bytes), first(&bytes)) else {
            self.stands.head.hash = Hash::of(&bytes);
            self.fs.rename(&self.dir.join(CURRENT), &self.dir.join(BROKEN))?;
            self.fs.sync_dir(&self.dir)?;
            self.stands.begins_anew = true;
            return Ok(());
        };
        (self.stands.exists, self.stands.first, self.stands.head) = (true, first, last.head);
        self.stands.open = last.open.unwrap_or(self.stands.open);
        self.stands.len = u64::try_from(last.end).unwrap_or(0);
        if last.end < bytes.len() {
            let file = self.fs.open_write(&self.dir.join(CURRENT))?;
            self.fs.truncate(&file, self.stands.len)?;
            self.fs.sync(&file)?;
            self.stands.file = Some(file);
        }
        Ok(())
    }

    /// A power cut came while one file was replacing another.
    fn take_up_new(&mut self) -> io::Result<()> {
        let (new, current) = (self.dir.join(NEW), self.dir.join(CURRENT));
        let is_missing =
            |path: &Path| self.fs.stat(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if is_missing(&new) {
            return Ok(());
        }
        if is_missing(&current) {
            self.fs.rename(&new, &current)?;
        } else {
            self.fs.unlink(&new)?;
        }
        self.fs.sync_dir(&self.dir)
    }

    fn write(&mut self, time: Utc, clock: RecordClock, what: What) -> io::Result<()> {
        let open = what.opens();
        let (mut line, mut head) = self.stands.head.next(time, clock, what.clone());
        let full = |len: u64, line: &[u8]| len.saturating_add(length(line)) > self.most_bytes;
        if self.stands.exists && full(self.stands.len, &line) {
            let first = self.stands.first;
            self.change_files(time, clock, first).inspect_err(|_| self.is_doubtful = true)?;
            (line, head) = self.stands.head.next(time, clock, what);
        }
        if self.stands.exists {
            self.append_line(&line)?;
        } else {
            publish(&*self.fs, &self.dir, CURRENT, &line).inspect_err(|_| self.is_doubtful = true)?;
            (self.stands.exists, self.stands.first, self.stands.len) = (true, head, length(&line));
        }
        self.stands.head = head;
        self.stands.open = open.unwrap_or(self.stands.open);
        Ok(())
    }

    /// Replaces the full file by one that says where the journal begins.
    fn change_files(&mut self, time: Utc, clock: RecordClock, first: Head) -> io::Result<()> {
        let what = What::Continued { first: first.n, hash: first.hash };
        let (line, head) = self.stands.head.next(time, clock, what);
        publish(&*self.fs, &self.dir, NEW, &line)?;
        self.stands.file = None;
        self.fs.rename(&self.dir.join(CURRENT), &self.dir.join(PREVIOUS))?;
        self.fs.sync_dir(&self.dir)?;
        self.fs.rename(&self.dir.join(NEW), &self.dir.join(CURRENT))?;
        self.fs.sync_dir(&self.dir)?;
        (self.stands.first, self.stands.head, self.stands.len) = (head, head, length(&line));
        Ok(())
    }

    fn append_line(&mut self, line: &[u8]) -> io::Result<()> {
        let file = match self.stands.file.take() {
            Some(file) => file,
            None => self.fs.open_write(&self.dir.join(CURRENT)).inspect_err(|_| self.is_doubtful = true)?,
        };
        let written = self.fs.write_at(&file, self.stands.len, line).and_then(|()| self.fs.sync(&file));
        if let Err(error) = written {
            // The state of these bytes is unknown: the next line overwrites them.
            let _ = self.fs.truncate(&file, self.stands.len);
            self.is_doubtful = true;
            return Err(error);
        }
        self.stands.file = Some(file);
        self.stands.len = self.stands.len.saturating_add(length(line));
        Ok(())
    }

    /// `None` if the file does not exist.
    fn load(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        load(&*self.fs, &self.dir.join(name))
    }
}

fn length(line: &[u8]) -> u64 {
    u64::try_from(line.len()).unwrap_or(u64::MAX)
}

/// The first line, if it is a line of the journal.
fn first(bytes: &[u8]) -> Option<Head> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    journal::read(bytes.get(..end)?).map(|(_, head)| head)
}

/// The last line of a file.
struct Last {
    /// Where it ends, in bytes.
    end: usize,
    head: Head,
    /// Whether the camera is open after it; `None` if the file does not say.
    open: Option<bool>,
}

/// `None` if the file does not end with a line of the journal. A line torn by a power cut may follow the last
/// whole one: without its end, or with a sector of it unwritten.
fn last(bytes: &[u8]) -> Option<Last> {
    let mut end = bytes.iter().rposition(|byte| *byte == b'\n')? + 1;
    let read_back = |end: usize| {
        let before = bytes.get(..end.checked_sub(1)?)?;
        let begin = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        Some((begin, journal::read(before.get(begin..)?)))
    };
    let (begin, mut read) = read_back(end)?;
    if read.is_none() {
        end = begin;
        read = read_back(end)?.1;
    }
    let (entry, head) = read?;
    let (mut open, mut at) = (entry.what.opens(), end);
    while open.is_none() {
        let Some((begin, _)) = read_back(at) else { break };
        at = begin;
        let Some((_, Some((entry, _)))) = read_back(at) else { break };
        open = entry.what.opens();
    }
    Some(Last { end, head, open })
}

/// Both files, the older one first, for [`journal::verify`].
///
/// # Errors
/// Those of [`Fs`]; `NotFound` if there is no journal at all.
pub fn whole(fs: &dyn Fs, state_dir: &Path) -> io::Result<Vec<u8>> {
    let dir = state_dir.join("journal");
    let earlier = load(fs, &dir.join(PREVIOUS))?;
    // A power cut may have come while one file was replacing another.
    let current = match load(fs, &dir.join(CURRENT))? {
        Some(current) => Some(current),
        None => load(fs, &dir.join(NEW))?,
    };
    if earlier.is_none() && current.is_none() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let mut bytes = earlier.unwrap_or_default();
    bytes.extend(current.unwrap_or_default());
    Ok(bytes)
}

fn load(fs: &dyn Fs, path: &Path) -> io::Result<Option<Vec<u8>>> {
    match read(fs, path, 2 * MAX_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        // Far too long for a journal: nothing in it can be continued.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(b"too long\n".to_vec())),
        other => other.map(Some),
    }
}
