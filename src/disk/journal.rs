//! The privacy journal on flash ([`crate::domain::journal`]): `{state_dir}/journal/privacy.log`, and
//! `privacy.log.1`, which it becomes when it is full. A journal that cannot be continued becomes
//! `privacy.log.broken`, and is never written again.
//!
//! A line is durable once [`Journal::append`] has returned. A power cut within it leaves a line without its
//! line feed, which the next start cuts off: it was never told to anybody.

use super::{Fs, Handle, read};
use crate::domain::journal::{self, Hash, Head, What};
use crate::domain::segment::RecordClock;
use crate::domain::time::Utc;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A file holds about 1,200 lines; a camera that is switched ten times a day keeps four months.
pub const MOST_BYTES: u64 = 256 * 1024;
const CURRENT: &str = "privacy.log";
const PREVIOUS: &str = "privacy.log.1";
const BROKEN: &str = "privacy.log.broken";

/// The journal, open for more.
pub struct Journal {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    file: Option<Handle>,
    len: u64,
    head: Head,
    /// The camera was open when the last line was written.
    open: bool,
    begins_anew: bool,
    most_bytes: u64,
}

impl Journal {
    /// Opens the journal under `state_dir`, or begins one.
    ///
    /// # Errors
    /// Those of [`Fs`]. What is in the files is never an error.
    pub fn open(fs: Arc<dyn Fs>, state_dir: &Path) -> io::Result<Journal> {
        Journal::with_room(fs, state_dir, MOST_BYTES)
    }

    /// As [`Journal::open`], with files of at most so many bytes.
    ///
    /// # Errors
    /// As [`Journal::open`].
    pub fn with_room(fs: Arc<dyn Fs>, state_dir: &Path, most_bytes: u64) -> io::Result<Journal> {
        let dir = state_dir.join("journal");
        super::make_dir(&*fs, &dir)?;
        let mut journal = Journal {
            fs,
            dir,
            file: None,
            len: 0,
            head: Head::default(),
            open: false,
            begins_anew: false,
            most_bytes,
        };
        let earlier = journal.load(PREVIOUS)?;
        if let Some((_, head, open)) = last(&earlier) {
            (journal.head, journal.open) = (head, open);
        }
        let bytes = journal.load(CURRENT)?;
        let mut whole = 0;
        match last(&bytes) {
            Some((end, head, open)) => (whole, journal.head, journal.open) = (end, head, open),
            // Nothing but a line that was cut off, or nothing at all.
            None if bytes.iter().filter(|byte| **byte == b'\n').count() <= 1 => {}
            None => {
                journal.head = Head { n: journal.head.n, hash: Hash::of(&bytes) };
                journal.begins_anew = true;
                journal.fs.rename(&journal.dir.join(CURRENT), &journal.dir.join(BROKEN))?;
                journal.fs.sync_dir(&journal.dir)?;
                return Ok(journal);
            }
        }
        journal.len = u64::try_from(whole).unwrap_or(0);
        if whole < bytes.len() {
            let file = journal.fs.open_write(&journal.dir.join(CURRENT))?;
            journal.fs.truncate(&file, journal.len)?;
            journal.fs.sync(&file)?;
            journal.file = Some(file);
        }
        Ok(journal)
    }

    /// Whether the last line says that the camera was open.
    #[must_use]
    pub fn ends_open(&self) -> bool {
        self.open
    }

    /// Where the next entry follows on: the last entry's number and hash.
    #[must_use]
    pub fn head(&self) -> Head {
        self.head
    }

    /// Writes one line, durably.
    ///
    /// # Errors
    /// Those of [`Fs`]: then the line is not there, and the journal stands where it stood.
    pub fn append(&mut self, time: Utc, clock: RecordClock, what: What) -> io::Result<()> {
        if self.begins_anew {
            self.write(time, clock, What::Began)?;
            self.begins_anew = false;
        }
        self.write(time, clock, what)
    }

    fn write(&mut self, time: Utc, clock: RecordClock, what: What) -> io::Result<()> {
        let open = match what {
            What::Opened { .. } => true,
            What::Closed { .. } | What::CutOff => false,
            What::Started { .. } | What::Choice { .. } | What::Began => self.open,
        };
        let (line, head) = self.head.next(time, clock, what);
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if self.len > 0 && self.len.saturating_add(length) > self.most_bytes {
            self.file = None;
            self.fs.rename(&self.dir.join(CURRENT), &self.dir.join(PREVIOUS))?;
            // Before a file takes the old name: nothing promises that a cut keeps the two in this order.
            self.fs.sync_dir(&self.dir)?;
            self.len = 0;
        }
        if self.file.is_none() {
            self.file = Some(self.current()?);
            self.fs.sync_dir(&self.dir)?;
        }
        let Some(file) = self.file.as_ref() else { return Err(io::ErrorKind::NotFound.into()) };
        let written = self.fs.write_at(file, self.len, &line).and_then(|()| self.fs.sync(file));
        if let Err(error) = written {
            // Nothing is known of these bytes: the next line goes into their place.
            let _ = self.fs.truncate(file, self.len);
            self.file = None;
            return Err(error);
        }
        self.len = self.len.saturating_add(length);
        (self.head, self.open) = (head, open);
        Ok(())
    }

    fn current(&self) -> io::Result<Handle> {
        let path = self.dir.join(CURRENT);
        match self.fs.create_new(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.fs.open_write(&path),
            other => other,
        }
    }

    fn load(&self, name: &str) -> io::Result<Vec<u8>> {
        load(&*self.fs, &self.dir.join(name))
    }
}

/// Where the last line ends, where it leaves the journal, and whether with the camera open. `None` where it is no
/// line of ours. Behind it may stand one that a power cut tore: without its end, or with a sector of it unwritten.
fn last(bytes: &[u8]) -> Option<(usize, Head, bool)> {
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
    let (mut what, mut at) = (Some(entry.what), end);
    while let Some(event) = what {
        match event {
            What::Opened { .. } => return Some((end, head, true)),
            What::Closed { .. } | What::CutOff => break,
            What::Started { .. } | What::Choice { .. } | What::Began => {
                at = read_back(at)?.0;
                what = read_back(at).and_then(|(_, read)| read).map(|(entry, _)| entry.what);
            }
        }
    }
    Some((end, head, false))
}

/// Both files, the older one first, for [`journal::verify`].
///
/// # Errors
/// Those of [`Fs`]; `NotFound` where there is no journal at all.
pub fn whole(fs: &dyn Fs, state_dir: &Path) -> io::Result<Vec<u8>> {
    let dir = state_dir.join("journal");
    // A power cut may have come between the full file's new name and the first line of the next.
    fs.stat(&dir.join(CURRENT)).or_else(|_| fs.stat(&dir.join(PREVIOUS)))?;
    let mut bytes = load(fs, &dir.join(PREVIOUS))?;
    bytes.extend(load(fs, &dir.join(CURRENT))?);
    Ok(bytes)
}

fn load(fs: &dyn Fs, path: &Path) -> io::Result<Vec<u8>> {
    match read(fs, path, 2 * MOST_BYTES) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        // Far longer than any of ours: nothing in it can be continued.
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(b"too long\n".to_vec()),
        other => other,
    }
}
