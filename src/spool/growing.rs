//! A segment file to which bytes are added, unencrypted or encrypted. Offsets are those of the segment.

use super::crypt::{Encryption, RecordKind, RecordRun};
use super::decrypt::{FileEnd, Mark};
use super::scan;
use super::setup::MAX_FILE;
use crate::disk::{Fs, Handle};
use bytes::Bytes;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// A chunk that waits to be written.
pub(super) struct Held {
    pub(super) prft: Vec<u8>,
    /// The bytes before its samples, with the times of the file.
    moof: Vec<u8>,
    /// The samples as the source gave them, not copied.
    samples: Bytes,
}

impl Held {
    /// Splits a chunk of the source; `move_times` puts the times of the file into its `moof`.
    pub(super) fn new<E>(
        prft: Vec<u8>,
        chunk: &Bytes,
        move_times: impl FnOnce(&mut [u8]) -> Result<(), E>,
    ) -> Result<Held, E> {
        let at = before_pictures(chunk);
        let mut moof = chunk.get(..at).unwrap_or_default().to_vec();
        move_times(&mut moof)?;
        Ok(Held { prft, moof, samples: chunk.slice(at.min(chunk.len())..) })
    }

    /// Its size in the file, in bytes.
    pub(super) fn len(&self) -> u64 {
        (self.prft.len() + self.moof.len() + self.samples.len()) as u64
    }
}

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
    /// `None` if the next record begins a run: in a new file, and in one that was cut back, because the bytes
    /// that were cut off may have used the numbers of the run before.
    run: Option<RecordRun>,
    marks: Vec<Mark>,
}

impl Growing {
    /// Makes the file, which must not exist.
    pub(super) fn create(fs: Arc<dyn Fs>, path: &Path, encryption: &Encryption) -> io::Result<Growing> {
        let file = fs.create_new(path)?;
        let records = encryption.for_new_files().map(|key| Records { key, run: None, marks: Vec::new() });
        Ok(Growing { fs, file, len: 0, records })
    }

    /// Continues a file that another writer wrote, in the form in which it was written. Also returns its
    /// authentic bytes.
    pub(super) fn reopen(
        fs: Arc<dyn Fs>,
        path: &Path,
        encryption: &Encryption,
    ) -> io::Result<(Growing, Vec<u8>)> {
        let opened = scan::read_file(&*fs, path, MAX_FILE, encryption)?;
        let records = match (opened.end, encryption.key()) {
            (FileEnd::Plain, _) => None,
            (FileEnd::Whole | FileEnd::Cut | FileEnd::Damaged(_), Some(key)) => {
                Some(Records { key, run: None, marks: opened.marks })
            }
            (FileEnd::Aside(why), _) => {
                return Err(io::Error::new(io::ErrorKind::InvalidData, why.words()));
            }
            (FileEnd::Whole | FileEnd::Cut | FileEnd::Damaged(_), None) => {
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

    /// Adds chunks after `front`, in one write. If they are encrypted, their samples are records of their
    /// own, which a start does not read.
    pub(super) fn append_chunks(&mut self, front: &[u8], chunks: &[Held]) -> io::Result<()> {
        if self.records.is_none() {
            let parts = chunks.iter().flat_map(|held| [&*held.prft, &*held.moof, &*held.samples]);
            let parts: Vec<&[u8]> = std::iter::once(front).chain(parts).filter(|it| !it.is_empty()).collect();
            return self.write(&parts);
        }
        let mut records = Vec::new();
        for (index, held) in chunks.iter().enumerate() {
            let front = if index == 0 { front } else { &[] };
            records.push((RecordKind::Data, vec![front, &held.prft, &held.moof]));
            records.push((RecordKind::Samples, vec![&held.samples]));
        }
        self.write_records(&records)
    }

    /// Adds the last bytes of the file.
    pub(super) fn append_last(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        match self.records {
            Some(_) => self.write_records(&[(RecordKind::Last, parts.to_vec())]),
            None => self.write(parts),
        }
    }

    /// Replaces what stands at `at`.
    pub(super) fn patch(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        match &self.records {
            // A record is never written twice: two texts would be encrypted under one nonce.
            Some(_) => self.write_records(&[(RecordKind::Patch, vec![&at.to_be_bytes(), bytes])]),
            None => self.fs.write_at(&self.file, at, bytes),
        }
    }

    /// Cuts the file back to `len` bytes or, if that is inside a record, to the end of the record before.
    /// Returns the new length.
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

    fn write(&mut self, parts: &[&[u8]]) -> io::Result<()> {
        self.fs.write_parts(&self.file, self.len, parts)?;
        self.len = self.len.saturating_add(parts.iter().map(|part| part.len() as u64).sum());
        Ok(())
    }

    /// Adds records, in one write.
    fn write_records(&mut self, list: &[(RecordKind, Vec<&[u8]>)]) -> io::Result<()> {
        let at = self.on_flash();
        let Some(records) = &mut self.records else { return Ok(()) };
        let mut out = Vec::new();
        let mut tag = records.marks.last().map(|mark| mark.tag).unwrap_or_default();
        let mut marks = Vec::new();
        let mut plain = self.len;
        let mut run = match records.run.take() {
            Some(run) => run,
            None => {
                let run = RecordRun::begin(&records.key, &tag)?;
                out.extend_from_slice(run.header());
                run
            }
        };
        for (kind, parts) in list {
            tag = run.seal(*kind, parts, &mut out)?;
            if *kind != RecordKind::Patch {
                plain = plain.saturating_add(parts.iter().map(|part| part.len() as u64).sum());
            }
            marks.push(Mark { plain, file: at.saturating_add(out.len() as u64), tag });
        }
        self.fs.write_at(&self.file, at, &out)?;
        self.len = plain;
        records.marks.extend(marks);
        records.run = Some(run);
        Ok(())
    }
}

/// Offset of the samples in a chunk, which is a `moof` and its `mdat`; the end of the chunk if it does not
/// have that form.
fn before_pictures(chunk: &[u8]) -> usize {
    let head = |at: usize| {
        let (size, kind) = chunk.get(at..)?.split_first_chunk::<4>()?;
        Some((usize::try_from(u32::from_be_bytes(*size)).ok()?, kind.first_chunk::<4>()?))
    };
    let Some((moof, b"moof")) = head(0) else { return chunk.len() };
    match head(moof) {
        Some((mdat, b"mdat")) if moof.checked_add(mdat) == Some(chunk.len()) => moof + 8,
        Some(_) | None => chunk.len(),
    }
}
