//! Reads an encrypted file of the spool, as far as it is authentic.

use super::crypt::{Encryption, FRAME, HEADER, RecordKind, RecordRun, SHAPE, TAG, Tag, is_encrypted};
use crate::domain::aside::Aside;
use std::io;
use std::ops::Range;

/// A file as it is read.
pub(super) struct Opened {
    /// Its authentic bytes, from the front.
    pub bytes: Vec<u8>,
    pub end: FileEnd,
    /// Where its records end; empty for an unencrypted file.
    pub marks: Vec<Mark>,
    /// The ranges that a patch has replaced.
    pub patches: Vec<Range<usize>>,
}

/// How far a file could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileEnd {
    /// The file is not encrypted: only its bytes are known.
    Plain,
    /// To its last record.
    Whole,
    /// To where it was cut off.
    Cut,
    /// To bytes of an unknown format or key.
    Aside(Aside),
    /// To a byte that has changed.
    Damaged(&'static str),
}

/// The end of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// Offset in the plain text.
    pub plain: u64,
    /// Offset in the file.
    pub file: u64,
    pub tag: Tag,
}

/// Reads bytes from an offset; fewer only at the end of the file.
pub(super) type Source<'a> = &'a dyn Fn(u64, &mut [u8]) -> io::Result<usize>;

/// Which records are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    All,
    /// There are zeros instead of the samples, which are not authenticated.
    WithoutSamples,
}

/// Decrypts an encrypted file of `len` bytes as far as it is authentic.
///
/// # Errors
/// Those of the source.
pub(super) fn open(
    source: Source<'_>,
    len: u64,
    encryption: &Encryption,
    extent: Extent,
) -> io::Result<Opened> {
    let Some(key) = encryption.key() else {
        let end = FileEnd::Aside(Aside::Key);
        return Ok(Opened { bytes: Vec::new(), end, marks: Vec::new(), patches: Vec::new() });
    };
    let len = usize::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
    let mut walk =
        Walk { bytes: vec![0; len], out: 0, at: 0, run: None, marks: Vec::new(), patches: Vec::new() };
    let end = loop {
        if let Some(end) = walk.step(source, &key, extent)? {
            break end;
        }
    };
    walk.bytes.truncate(walk.out);
    Ok(Opened { bytes: walk.bytes, end, marks: walk.marks, patches: walk.patches })
}

/// The content of the first record of an encrypted file, if the record is whole and authentic.
pub(super) fn first(front: &[u8], encryption: &Encryption) -> Option<Vec<u8>> {
    let (header, rest) = front.split_at_checked(HEADER)?;
    let (frame, rest) = rest.split_at_checked(FRAME)?;
    let key = encryption.key()?;
    let mut run = RecordRun::resume(&key, &Tag::default(), header)?;
    let (kind, len) = run.frame(frame)?;
    let mut text = rest.get(..len)?.to_vec();
    let plain = run.open(frame.get(..SHAPE)?, kind.filter(|kind| *kind == RecordKind::Data)?, &mut text)?;
    text.truncate(plain);
    Some(text)
}

/// [`open`] for a small file, which may be unencrypted.
pub(super) fn open_small(bytes: Vec<u8>, encryption: &Encryption) -> io::Result<Opened> {
    if !is_encrypted(&bytes) {
        return Ok(Opened { bytes, end: FileEnd::Plain, marks: Vec::new(), patches: Vec::new() });
    }
    let source = |at: u64, into: &mut [u8]| {
        let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
        let read = rest.len().min(into.len());
        into.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        Ok(read)
    };
    open(&source, bytes.len() as u64, encryption, Extent::All)
}

/// The state of reading a file.
struct Walk {
    /// As long as the file. The bytes before `out` are authentic; there is always room for the next record.
    bytes: Vec<u8>,
    out: usize,
    /// Where the next header or record begins.
    at: usize,
    run: Option<RecordRun>,
    marks: Vec<Mark>,
    patches: Vec<Range<usize>>,
}

impl Walk {
    /// Reads the next header or record. Returns how the file ends, if it does.
    fn step(&mut self, source: Source<'_>, key: &[u8; 32], extent: Extent) -> io::Result<Option<FileEnd>> {
        let left = self.bytes.len().saturating_sub(self.at);
        let mut head = [0; HEADER];
        let read = source(self.at as u64, &mut head)?.min(left);
        let head = head.get(..read).unwrap_or_default();
        if is_encrypted(head) {
            return self.begin(source, key, head);
        }
        let Some((frame, _)) = head.split_at_checked(FRAME) else { return Ok(Some(FileEnd::Cut)) };
        let Some(run) = &mut self.run else { return Ok(Some(FileEnd::Damaged("it has no header"))) };
        let damaged = Ok(Some(FileEnd::Damaged("a record of it is damaged")));
        let Some((kind, len)) = run.frame(frame) else { return damaged };
        let Some(kind) = kind else { return Ok(Some(FileEnd::Aside(Aside::Format))) };
        if len > left.saturating_sub(FRAME) {
            return Ok(Some(FileEnd::Cut));
        }
        let from = self.at + FRAME;
        let mut tag = Tag::default();
        let plain = if kind == RecordKind::Samples && extent == Extent::WithoutSamples {
            run.skip().and(len.checked_sub(TAG))
        } else {
            let text = self.bytes.get_mut(self.out..self.out + len).unwrap_or_default();
            if source(from as u64, text)? < text.len() {
                return Ok(Some(FileEnd::Cut));
            }
            tag = text.last_chunk().copied().unwrap_or_default();
            run.open(frame.get(..SHAPE).unwrap_or_default(), kind, text)
        };
        let Some(plain) = plain else { return damaged };
        let out = self.out + plain;
        match kind {
            RecordKind::Data | RecordKind::Last | RecordKind::Samples => self.out = out,
            RecordKind::Patch => {
                let Some(place) = patch(&mut self.bytes, self.out, plain) else {
                    return Ok(Some(FileEnd::Damaged("a record of it is malformed")));
                };
                self.patches.push(place);
            }
        }
        // Removes the rest of the tag, or of a patch.
        self.bytes.get_mut(self.out..out + TAG).unwrap_or_default().fill(0);
        self.at = from + len;
        self.marks.push(Mark { plain: self.out as u64, file: self.at as u64, tag });
        let whole = self.at == self.bytes.len();
        let end = if whole { FileEnd::Whole } else { FileEnd::Damaged("something stands behind its end") };
        Ok((kind == RecordKind::Last).then_some(end))
    }

    fn begin(&mut self, source: Source<'_>, key: &[u8; 32], header: &[u8]) -> io::Result<Option<FileEnd>> {
        if header.len() < HEADER {
            return Ok(Some(FileEnd::Cut));
        }
        let mut before = Tag::default();
        if let Some(tag) = self.at.checked_sub(TAG) {
            source(tag as u64, &mut before)?;
        }
        self.run = RecordRun::resume(key, &before, header);
        // Another key cannot be told from a damaged header, unless the key has opened the records before.
        let unknown = match self.at {
            0 => FileEnd::Aside(Aside::Key),
            _ => FileEnd::Damaged("the header of a run of it is damaged"),
        };
        self.at += HEADER;
        Ok(self.run.is_none().then_some(unknown))
    }
}

/// Applies the patch at `from`, to bytes before `from`. Returns the changed range.
fn patch(bytes: &mut [u8], from: usize, len: usize) -> Option<Range<usize>> {
    let (offset, patch) = bytes.get(from..from + len)?.split_first_chunk::<8>()?;
    let offset = usize::try_from(u64::from_be_bytes(*offset)).ok()?;
    let (start, len) = (from + 8, patch.len());
    let end = offset.checked_add(len).filter(|end| *end <= from)?;
    bytes.copy_within(start..start + len, offset);
    Some(offset..end)
}
