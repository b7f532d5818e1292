//! A sealed segment on its way to the store: checked, then read from the front in pieces, as often as needed.
//! Only the current piece is in memory; in an encrypted file that is a record.

use super::crypt::{Encryption, FRAME, HEADER, RecordKind, RecordRun, SHAPE, TAG, Tag, is_encrypted};
use super::decrypt::FileEnd;
use super::pieces::Pieces;
use super::scan;
use super::scan::NoSegment;
use super::setup::MAX_FILE;
use crate::disk::{Fs, Handle};
use crate::domain::aside::Aside;
use crate::domain::recovery::Whole;
use crate::domain::segment::{Serial, SpoolKind, SpoolName};
use crate::fmp4;
use bytes::Bytes;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Bytes that are read at once from an unencrypted file.
const PIECE: usize = 64 * 1024;
/// Maximum size of a record, in bytes: a fragment and its headers.
const MAX_RECORD: usize = 33 * 1024 * 1024;

/// Why a segment cannot be sent.
#[derive(Debug)]
pub enum ReadError {
    /// The file is missing: it was forgotten meanwhile, or somebody removed it. Report it to the spool with
    /// [`super::command::Command::Damaged`].
    Gone,
    /// It is not the segment that was sealed: report it with [`super::command::Command::Damaged`].
    Damaged(String),
    /// The disk failed: try again later.
    Io(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Gone => write!(f, "the segment is gone from the spool"),
            ReadError::Damaged(why) => write!(f, "the segment is damaged: {why}"),
            ReadError::Io(error) => write!(f, "the segment cannot be read: {error}"),
        }
    }
}

impl std::error::Error for ReadError {}

/// An open segment file. It stays readable when its name is removed.
pub struct Sealed {
    fs: Arc<dyn Fs>,
    file: Handle,
    /// Bytes of the file.
    len: u64,
    /// In nanoseconds.
    duration: u64,
    attributes: fmp4::Attributes,
    encryption: Encryption,
    /// Bytes that replace those first written, in order of offset: patches, and corrected times.
    changes: Vec<(u64, Vec<u8>)>,
    pieces: Pieces,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed").field("len", &self.len).finish_non_exhaustive()
    }
}

/// Opens a sealed segment of the spool directory `dir`, checks that it is whole except for its samples, and
/// moves the UTC of its `prft` boxes by `shift` nanoseconds, if the clock was corrected since. Blocks.
///
/// # Errors
/// See [`ReadError`].
pub fn open_sealed(
    encryption: &Encryption,
    fs: Arc<dyn Fs>,
    dir: &Path,
    serial: Serial,
    shift: i64,
) -> Result<Sealed, ReadError> {
    let path = dir.join(SpoolName { serial, kind: SpoolKind::Sealed }.to_string());
    let file = fs.open_read(&path).map_err(of_disk)?;
    let len = fs.len(&file).map_err(of_disk)?;
    if len > MAX_FILE {
        return Err(ReadError::Damaged(format!("{len} bytes, where {MAX_FILE} is the most")));
    }
    let skeleton = scan::skeleton(&*fs, &file, len, encryption).map_err(of_disk)?;
    match skeleton.end {
        FileEnd::Plain | FileEnd::Whole => {}
        FileEnd::Cut => return Err(ReadError::Damaged("it is cut off".to_owned())),
        FileEnd::Aside(why) => return Err(ReadError::Damaged(why.words().to_owned())),
        FileEnd::Damaged(why) => return Err(ReadError::Damaged(why.to_owned())),
    }
    let mut bytes = skeleton.bytes;
    let layout = scan::layout(&bytes).map_err(|none| match none {
        NoSegment::Aside(why) => ReadError::Damaged(why.words().to_owned()),
        NoSegment::Unreadable(why) => ReadError::Damaged(why),
    })?;
    let whole = scan::measure(&layout, &layout.chunks).filter(|_| layout.complete);
    let Some(Whole { duration, .. }) = whole else {
        return Err(ReadError::Damaged("it is not whole to its last box".to_owned()));
    };
    let attributes = fmp4::attributes(&layout);
    let mut places = skeleton.patches;
    if shift != 0 {
        places.extend(fmp4::shift_prft(&mut bytes, shift));
    }
    places.sort_by_key(|place| place.start);
    let mut changes: Vec<(u64, Vec<u8>)> = Vec::new();
    for place in places {
        if let Some(change) = bytes.get(place.clone()) {
            changes.push((place.start as u64, change.to_vec()));
        }
    }
    let (encryption, pieces) = (encryption.clone(), Pieces::new(PIECE));
    Ok(Sealed { fs, file, len, duration, attributes, encryption, changes, pieces })
}

impl Sealed {
    /// From the first sample to the end of the last one, in nanoseconds. A start may assume more.
    #[must_use]
    pub fn duration(&self) -> u64 {
        self.duration
    }

    /// The attributes of the segment's object.
    #[must_use]
    pub fn attributes(&self) -> &fmp4::Attributes {
        &self.attributes
    }

    /// Passes all bytes of the segment to `take`, in order, in pieces; stops if `take` returns false. Every
    /// byte of an encrypted file is authentic when it is passed. Blocks.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn read(&self, take: &mut dyn FnMut(Bytes) -> bool) -> Result<(), ReadError> {
        let mut front = [0; 8];
        let seen = self.fs.read_at(&self.file, 0, &mut front).map_err(of_disk)?;
        let mut sent = 0_u64;
        if is_encrypted(front.get(..seen).unwrap_or_default()) {
            return self.decrypt(&mut |mut piece: Vec<u8>| {
                self.change(&mut piece, sent);
                sent = sent.saturating_add(piece.len() as u64);
                piece.is_empty() || take(Bytes::from(piece))
            });
        }
        while sent < self.len {
            let len = PIECE.min(usize::try_from(self.len - sent).unwrap_or(PIECE));
            let mut buffer = self.pieces.take();
            let piece = buffer.get_mut(..len).unwrap_or_default();
            if self.fs.read_at(&self.file, sent, piece).map_err(of_disk)? < len {
                return Err(ReadError::Damaged("it is shorter than it was".to_owned()));
            }
            self.change(piece, sent);
            sent = sent.saturating_add(len as u64);
            if !take(self.pieces.share(buffer, len)) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn decrypt(&self, hand_on: &mut dyn FnMut(Vec<u8>) -> bool) -> Result<(), ReadError> {
        let damaged = |why: &str| Err(ReadError::Damaged(why.to_owned()));
        let Some(key) = self.encryption.key() else {
            return damaged(Aside::Key.words());
        };
        let (mut at, mut run, mut before) = (0_u64, None::<RecordRun>, Tag::default());
        loop {
            let mut head = [0; HEADER];
            let seen = self.fs.read_at(&self.file, at, &mut head).map_err(of_disk)?;
            let head = head.get(..seen).unwrap_or_default();
            if is_encrypted(head) {
                run = RecordRun::resume(&key, &before, head);
                at += HEADER as u64;
                continue;
            }
            let (Some((frame, _)), Some(run)) = (head.split_at_checked(FRAME), &mut run) else {
                return damaged("it has no header, or ends within a record");
            };
            let Some((Some(kind), len)) =
                run.frame(frame).filter(|(_, len)| (TAG..=MAX_RECORD).contains(len))
            else {
                return damaged("a record of it is damaged");
            };
            let mut text = vec![0; len];
            if self.fs.read_at(&self.file, at + FRAME as u64, &mut text).map_err(of_disk)? < len {
                return damaged("it is cut off");
            }
            before = text.last_chunk().copied().unwrap_or_default();
            let Some(plain) = run.open(frame.get(..SHAPE).unwrap_or_default(), kind, &mut text) else {
                return damaged("a record of it is damaged");
            };
            at += (FRAME + len) as u64;
            text.truncate(plain);
            // A patch is among the changes.
            if kind != RecordKind::Patch && !hand_on(text) {
                return Ok(());
            }
            if kind == RecordKind::Last {
                return Ok(());
            }
        }
    }

    /// Applies the changes to a piece that begins at `at`.
    fn change(&self, piece: &mut [u8], at: u64) {
        let end = at + piece.len() as u64;
        let from = self.changes.partition_point(|(start, bytes)| start + bytes.len() as u64 <= at);
        for (start, bytes) in self.changes.iter().skip(from).take_while(|(start, _)| *start < end) {
            let (first, skip) = (start.saturating_sub(at), at.saturating_sub(*start));
            let skip = usize::try_from(skip).unwrap_or(usize::MAX);
            let into = piece.iter_mut().skip(usize::try_from(first).unwrap_or(usize::MAX));
            into.zip(bytes.iter().skip(skip)).for_each(|(to, from)| *to = *from);
        }
    }
}

fn of_disk(error: io::Error) -> ReadError {
    if error.kind() == io::ErrorKind::NotFound { ReadError::Gone } else { ReadError::Io(error) }
}
