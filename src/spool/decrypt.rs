//! Reading an encrypted file of the spool, as far as it is genuine.

use super::crypt::{Encryption, FRAME, HEADER, Kind, Run, SHAPE, TAG, Tag, is_encrypted};
use crate::domain::aside::Aside;
use std::io;
use std::ops::Range;

/// A file as it is read.
pub(super) struct Opened {
    /// What is genuine of it, from the front.
    pub bytes: Vec<u8>,
    pub end: End,
    /// Where its records end; of a file that is not encrypted, nothing.
    pub marks: Vec<Mark>,
    /// What of it was put in place of what stood there first.
    pub patches: Vec<Range<usize>>,
}

/// How far a file could be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It is not encrypted: nothing is known but its bytes.
    Plain,
    /// To its last record.
    Whole,
    /// To where it was cut off.
    Cut,
    /// To where it was written in a way, or with a key, that is not ours.
    Aside(Aside),
    /// To a byte that is not as it was written.
    Damaged(&'static str),
}

/// The end of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    /// In what was encrypted.
    pub plain: u64,
    /// In the file.
    pub file: u64,
    pub tag: Tag,
}

/// Reads bytes from an offset on; less only where the file ends.
pub(super) type Source<'a> = &'a dyn Fn(u64, &mut [u8]) -> io::Result<usize>;

/// Which records are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    All,
    /// There are zeros for the pictures, and nobody knows whether they are genuine.
    WithoutPictures,
}

/// Decrypts an encrypted file of `len` bytes as far as it is genuine.
///
/// # Errors
/// What the source says.
pub(super) fn open(
    source: Source<'_>,
    len: u64,
    encryption: &Encryption,
    extent: Extent,
) -> io::Result<Opened> {
    let Some(key) = encryption.key() else {
        let end = End::Aside(Aside::Key);
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

/// What the first record holds of an encrypted file that begins so, where the record is whole and genuine.
pub(super) fn first(front: &[u8], encryption: &Encryption) -> Option<Vec<u8>> {
    let (header, rest) = front.split_at_checked(HEADER)?;
    let (frame, rest) = rest.split_at_checked(FRAME)?;
    let key = encryption.key()?;
    let mut run = Run::resume(&key, &Tag::default(), header)?;
    let (kind, len) = run.frame(frame)?;
    let mut text = rest.get(..len)?.to_vec();
    let plain = run.open(frame.get(..SHAPE)?, kind.filter(|kind| *kind == Kind::Data)?, &mut text)?;
    text.truncate(plain);
    Some(text)
}

/// [`open`] of a small file, which may be in the clear.
pub(super) fn open_small(bytes: Vec<u8>, encryption: &Encryption) -> io::Result<Opened> {
    if !is_encrypted(&bytes) {
        return Ok(Opened { bytes, end: End::Plain, marks: Vec::new(), patches: Vec::new() });
    }
    let source = |at: u64, into: &mut [u8]| {
        let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
        let read = rest.len().min(into.len());
        into.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        Ok(read)
    };
    open(&source, bytes.len() as u64, encryption, Extent::All)
}

/// On the way through a file.
struct Walk {
    /// As long as the file. What is genuine stands before `out`; there is always room for the next record.
    bytes: Vec<u8>,
    out: usize,
    /// Where the next header or record begins.
    at: usize,
    run: Option<Run>,
    marks: Vec<Mark>,
    patches: Vec<Range<usize>>,
}

impl Walk {
    /// Takes in the next header or record; how the file ends, where it does.
    fn step(&mut self, source: Source<'_>, key: &[u8; 32], extent: Extent) -> io::Result<Option<End>> {
        let left = self.bytes.len().saturating_sub(self.at);
        let mut head = [0; HEADER];
        let read = source(self.at as u64, &mut head)?.min(left);
        let head = head.get(..read).unwrap_or_default();
        if is_encrypted(head) {
            return self.begin(source, key, head);
        }
        let Some((frame, _)) = head.split_at_checked(FRAME) else { return Ok(Some(End::Cut)) };
        let Some(run) = &mut self.run else { return Ok(Some(End::Damaged("it has no header"))) };
        let damaged = Ok(Some(End::Damaged("a record of it is damaged")));
        let Some((kind, len)) = run.frame(frame) else { return damaged };
        let Some(kind) = kind else { return Ok(Some(End::Aside(Aside::Format))) };
        if len > left.saturating_sub(FRAME) {
            return Ok(Some(End::Cut));
        }
        let from = self.at + FRAME;
        let mut tag = Tag::default();
        let plain = if kind == Kind::Pictures && extent == Extent::WithoutPictures {
            run.skip().and(len.checked_sub(TAG))
        } else {
            let text = self.bytes.get_mut(self.out..self.out + len).unwrap_or_default();
            if source(from as u64, text)? < text.len() {
                return Ok(Some(End::Cut));
            }
            tag = text.last_chunk().copied().unwrap_or_default();
            run.open(frame.get(..SHAPE).unwrap_or_default(), kind, text)
        };
        let Some(plain) = plain else { return damaged };
        let out = self.out + plain;
        match kind {
            Kind::Data | Kind::Last | Kind::Pictures => self.out = out,
            Kind::Patch => {
                let Some(place) = patch(&mut self.bytes, self.out, plain) else {
                    return Ok(Some(End::Damaged("a record of it is malformed")));
                };
                self.patches.push(place);
            }
        }
        // What is left of the tag, or of a patch.
        self.bytes.get_mut(self.out..out + TAG).unwrap_or_default().fill(0);
        self.at = from + len;
        self.marks.push(Mark { plain: self.out as u64, file: self.at as u64, tag });
        let whole = self.at == self.bytes.len();
        let end = if whole { End::Whole } else { End::Damaged("something stands behind its end") };
        Ok((kind == Kind::Last).then_some(end))
    }

    fn begin(&mut self, source: Source<'_>, key: &[u8; 32], header: &[u8]) -> io::Result<Option<End>> {
        if header.len() < HEADER {
            return Ok(Some(End::Cut));
        }
        let mut before = Tag::default();
        if let Some(tag) = self.at.checked_sub(TAG) {
            source(tag as u64, &mut before)?;
        }
        self.run = Run::resume(key, &before, header);
        // Nothing tells another key from a header that is damaged, but where the key has opened what stands before.
        let unknown = match self.at {
            0 => End::Aside(Aside::Key),
            _ => End::Damaged("the header of a run of it is damaged"),
        };
        self.at += HEADER;
        Ok(self.run.is_none().then_some(unknown))
    }
}

/// Puts the patch at `from` where it says, before `from`; where that is.
fn patch(bytes: &mut [u8], from: usize, len: usize) -> Option<Range<usize>> {
    let (offset, patch) = bytes.get(from..from + len)?.split_first_chunk::<8>()?;
    let offset = usize::try_from(u64::from_be_bytes(*offset)).ok()?;
    let (start, len) = (from + 8, patch.len());
    let end = offset.checked_add(len).filter(|end| *end <= from)?;
    bytes.copy_within(start..start + len, offset);
    Some(offset..end)
}
