//! A segment file that bytes are added to: as they are, or encrypted. Offsets are those of the segment.

use super::crypt::{self, Encryption, Kind, Mark, Run};
use super::{MAX_FILE, scan};
use crate::disk::{Fs, Handle};
use std::io;
use std::path::Path;
use std::sync::Arc;

pub(super) struct Growing {
    fs: Arc<dyn Fs>,
    file: Handle,
    /// Bytes of the segment.
    len: u64,
    records: Option<Records>,
}

/// The records of an encrypted file.
struct Records {
    key: Arc<[u8; 32]>,
    /// Absent where the next record begins a run: in a new file, and in one that was cut back, since what
    /// was cut off may have used the numbers of the run before.
    run: Option<Run>,
    marks: Vec<Mark>,
}

impl Growing {
    /// Makes the file, which must not exist.
    pub(super) fn create(fs: Arc<dyn Fs>, path: &Path, encryption: &Encryption) -> io::Result<Growing> {
        let file = fs.create_new(path)?;
        let records = encryption.for_new_files().map(|key| Records { key, run: None, marks: Vec::new() });
        Ok(Growing { fs, file, len: 0, records })
    }

    /// Goes on with a file that another hand wrote, in the way in which it was written. Returns what is
    /// genuine of it too.
    pub(super) fn reopen(
        fs: Arc<dyn Fs>,
        path: &Path,
        encryption: &Encryption,
    ) -> io::Result<(Growing, Vec<u8>)> {
        let opened = scan::read_file(&*fs, path, MAX_FILE, encryption)?;
        let records = match (opened.end, encryption.key()) {
            (crypt::End::Plain, _) => None,
            (crypt::End::Whole | crypt::End::Cut | crypt::End::Damaged(_), Some(key)) => {
                Some(Records { key, run: None, marks: opened.marks })
            }
            (crypt::End::Whole | crypt::End::Cut | crypt::End::Damaged(_), None) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "it is encrypted"));
            }
        };
        let file = fs.open_write(path)?;
        Ok((Growing { fs, file, len: opened.bytes.len() as u64, records }, opened.bytes))
    }

    /// Bytes of the file.
    pub(super) fn on_flash(&self) -> u64 {
        self.records.as_ref().map_or(self.len, |records| records.marks.last().map_or(0, |mark| mark.file))
    }

    /// Adds the parts, encrypted as one record; the last of the file where `last` says so.
    pub(super) fn append(&mut self, parts: &[&[u8]], last: bool) -> io::Result<()> {
        let kind = if last { Kind::Last } else { Kind::Data };
        let len = parts.iter().map(|part| part.len() as u64).sum::<u64>();
        match &self.records {
            Some(_) => self.record(kind, parts, self.len.saturating_add(len))?,
            None => {
                let mut at = self.len;
                for part in parts {
                    self.fs.write_at(&self.file, at, part)?;
                    at = at.saturating_add(part.len() as u64);
                }
            }
        }
        self.len = self.len.saturating_add(len);
        Ok(())
    }

    /// Replaces what stands at `at`.
    pub(super) fn patch(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        match &self.records {
            // A record is never written twice: that would be two texts under one nonce.
            Some(_) => self.record(Kind::Patch, &[&at.to_be_bytes(), bytes], self.len),
            None => self.fs.write_at(&self.file, at, bytes),
        }
    }

    /// Cuts the file back to `len` bytes, or, where that is within a record, to the end of the record before:
    /// returns which.
    pub(super) fn cut_back(&mut self, len: u64) -> io::Result<u64> {
        self.len = len;
        if let Some(records) = &mut self.records {
            let kept = records.marks.iter().take_while(|mark| mark.plain <= len).count();
            records.marks.truncate(kept);
            records.run = None;
            self.len = records.marks.last().map_or(0, |mark| mark.plain);
        }
        self.fs.truncate(&self.file, self.on_flash())?;
        Ok(self.len)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.fs.sync(&self.file)
    }

    fn record(&mut self, kind: Kind, parts: &[&[u8]], plain: u64) -> io::Result<()> {
        let at = self.on_flash();
        let Some(records) = &mut self.records else { return Ok(()) };
        let mut out = Vec::new();
        let mut run = match records.run.take() {
            Some(run) => run,
            None => {
                let before = records.marks.last().map(|mark| mark.tag).unwrap_or_default();
                let run = Run::begin(&records.key, &before)?;
                out.extend_from_slice(run.header());
                run
            }
        };
        let tag = run.seal(kind, parts, &mut out)?;
        self.fs.write_at(&self.file, at, &out)?;
        records.marks.push(Mark { plain, file: at.saturating_add(out.len() as u64), tag });
        records.run = Some(run);
        Ok(())
    }
}
