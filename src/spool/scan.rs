//! Reading spool files: at a start without their samples, before an upload completely.

use super::crypt::{self, Encryption};
use super::decrypt::{self, Extent, FileEnd, Opened};
use super::end;
use super::glance::{ByNext, glance};
use super::setup::MAX_FILE;
use super::sparse::without_samples;
use crate::disk::{Fs, Handle, read};
use crate::domain::aside::Aside;
use crate::domain::recovery::{Footage, Read, Whole};
use crate::domain::segment::{SpoolKind, SpoolName};
use crate::fmp4::{self, ChunkInfo, Layout, MoofEntry, Unread};
use std::io;
use std::path::Path;

/// The smallest unit that a block device writes, in bytes.
const SECTOR: u64 = 512;
/// Bytes of zero that coded video or audio never has in a row: H.264 and H.265 prevent three (ISO/IEC
/// 14496-10, 7.4.1), and AAC does not use them.
const ZEROS: u64 = 32;

/// How far an unsealed file is trusted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Belief<'a> {
    /// The id of this boot. What another boot did not sync may be torn, with sectors that were never written.
    pub boot: &'a str,
    /// Keep whole chunks of an incomplete last fragment.
    pub keep_partial: bool,
    /// It was found damaged: it is read completely.
    pub doubted: bool,
    /// Every byte was authenticated, and so was written.
    pub genuine: bool,
    /// Nothing was synced before it was sealed, so any part of it may be torn. A record that says so counts
    /// too.
    pub late_sync: bool,
    /// Nothing after this offset is known to be on flash.
    pub durable: u64,
}

/// A file in the form that [`crate::domain::recovery::plan`] needs. Of a sealed one only the necessary parts
/// are read, unless it is doubted.
///
/// # Errors
/// Only those of the disk: the content is never an error.
pub(super) fn look(
    fs: &dyn Fs,
    dir: &Path,
    name: SpoolName,
    belief: Belief<'_>,
    encryption: &Encryption,
    by_next: ByNext<'_>,
) -> io::Result<(u64, Read)> {
    let path = dir.join(name.to_string());
    if name.kind == SpoolKind::End {
        let bytes = match read(fs, &path, end::LIMIT) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Ok((0, Read::Unreadable(error.to_string())));
            }
            other => other?,
        };
        let len = bytes.len() as u64;
        if crypt::is_newer(&bytes) {
            return Ok((len, Read::Aside(Aside::Format)));
        }
        let opened = decrypt::open_small(bytes, encryption)?;
        let read = match (opened.end, end::decode(&opened.bytes)) {
            (FileEnd::Aside(why), _) => Read::Aside(why),
            (FileEnd::Damaged(why), _) => Read::Unreadable(why.to_owned()),
            (FileEnd::Plain | FileEnd::Whole, Ok((record, reason))) => Read::End { record, reason },
            (FileEnd::Plain | FileEnd::Whole, Err(Unread::Newer)) => Read::Aside(Aside::Format),
            (FileEnd::Plain | FileEnd::Whole, Err(Unread::Damaged)) | (FileEnd::Cut, _) => {
                Read::Unreadable("its checksum or form is wrong".to_owned())
            }
        };
        return Ok((len, read));
    }
    let file = fs.open_read(&path)?;
    let len = fs.len(&file)?;
    if name.kind == SpoolKind::Sealed && !belief.doubted && len <= MAX_FILE {
        if let Some(footage) = glance(fs, &file, len, encryption, by_next)? {
            return Ok((len, Read::Footage(footage)));
        }
    }
    let front = front(fs, &file)?;
    // No release up to this one has written a larger file.
    if len > MAX_FILE || crypt::is_newer(&front) {
        return Ok((len, Read::Aside(Aside::Format)));
    }
    if crypt::is_encrypted(&front) {
        let extent = match name.kind {
            SpoolKind::Sealed if !belief.doubted => Extent::WithoutSamples,
            SpoolKind::Sealed | SpoolKind::Open | SpoolKind::End => Extent::All,
        };
        let source = |at: u64, into: &mut [u8]| fs.read_at(&file, at, into);
        let opened = decrypt::open(&source, len, encryption, extent)?;
        return Ok(understand_encrypted(opened, len, name.kind, belief));
    }
    let bytes = match name.kind {
        SpoolKind::Open => whole_file(fs, &file, len)?,
        SpoolKind::Sealed | SpoolKind::End => without_samples(fs, &file, len)?,
    };
    let belief = (name.kind == SpoolKind::Open).then_some(belief);
    Ok((len, understand(&bytes, belief)))
}

/// Reads a file completely, and decrypts it as far as it is authentic.
///
/// # Errors
/// Those of [`Fs`]; `InvalidData` for a file of more than `limit` bytes.
pub(super) fn read_file(fs: &dyn Fs, path: &Path, limit: u64, encryption: &Encryption) -> io::Result<Opened> {
    let file = fs.open_read(path)?;
    let len = fs.len(&file)?;
    if len > limit || !begins_encrypted(fs, &file)? {
        return Ok(Opened {
            bytes: read(fs, path, limit)?,
            end: FileEnd::Plain,
            marks: Vec::new(),
            patches: Vec::new(),
        });
    }
    decrypt::open(&|at, into| fs.read_at(&file, at, into), len, encryption, Extent::All)
}

/// A sealed file with zeros instead of its samples: those of an encrypted one may be damaged.
///
/// # Errors
/// Those of [`Fs`].
pub(super) fn skeleton(fs: &dyn Fs, file: &Handle, len: u64, encryption: &Encryption) -> io::Result<Opened> {
    if !begins_encrypted(fs, file)? {
        let bytes = without_samples(fs, file, len)?;
        return Ok(Opened { bytes, end: FileEnd::Plain, marks: Vec::new(), patches: Vec::new() });
    }
    decrypt::open(&|at, into| fs.read_at(file, at, into), len, encryption, Extent::WithoutSamples)
}

fn begins_encrypted(fs: &dyn Fs, file: &Handle) -> io::Result<bool> {
    Ok(crypt::is_encrypted(&front(fs, file)?))
}

/// The first bytes of a file, which show whether it is encrypted.
fn front(fs: &dyn Fs, file: &Handle) -> io::Result<Vec<u8>> {
    let mut front = vec![0; 8];
    let read = fs.read_at(file, 0, &mut front)?;
    front.truncate(read);
    Ok(front)
}

/// The content of an encrypted file of `len` bytes, and the length that it counts with: a file that was cut
/// off inside its first record counts as empty.
///
/// A sealed file was completely synced: if a byte of it has changed, nothing of it is trusted. One that was
/// growing may be torn at its end, and what is before that is authentic.
fn understand_encrypted(opened: Opened, len: u64, kind: SpoolKind, belief: Belief<'_>) -> (u64, Read) {
    let grew = kind == SpoolKind::Open;
    match opened.end {
        // Also one that was growing: the rest is not damaged, it only cannot be read here.
        FileEnd::Aside(why) => (len, Read::Aside(why)),
        FileEnd::Damaged(why) if !grew || opened.bytes.is_empty() => (len, Read::Unreadable(why.to_owned())),
        FileEnd::Cut if opened.bytes.is_empty() => {
            (if grew { 0 } else { len }, Read::Unreadable("nothing of it is whole".to_owned()))
        }
        FileEnd::Plain | FileEnd::Whole | FileEnd::Cut | FileEnd::Damaged(_) => {
            let belief = Belief { genuine: true, ..belief };
            match (understand(&opened.bytes, grew.then_some(belief)), opened.end) {
                (Read::Footage(Footage { whole: None, .. }), FileEnd::Damaged(why)) => {
                    (len, Read::Unreadable(why.to_owned()))
                }
                (Read::Footage(footage), _) => {
                    let complete = footage.complete && opened.end == FileEnd::Whole;
                    (len, Read::Footage(Footage { complete, ..footage }))
                }
                (read @ (Read::End { .. } | Read::Aside(_) | Read::Unreadable(_)), _) => (len, read),
            }
        }
    }
}

/// The boxes of a segment file.
///
/// # Errors
/// What the file is instead.
pub(super) fn layout(bytes: &[u8]) -> Result<Layout, NoSegment> {
    fmp4::read_segment(bytes).map_err(|error| {
        if fmp4::is_newer(bytes) {
            NoSegment::Aside(Aside::Format)
        } else {
            NoSegment::Unreadable(format!("{} at byte {}", error.what, error.offset))
        }
    })
}

/// What a file is if its boxes are not those of a segment.
#[derive(Debug)]
pub(super) enum NoSegment {
    /// Set aside, for this reason.
    Aside(Aside),
    /// Damaged, in this way.
    Unreadable(String),
}

/// The content of a segment file. `belief` is given for an unsealed one.
pub(super) fn understand(bytes: &[u8], belief: Option<Belief<'_>>) -> Read {
    let layout = match layout(bytes) {
        Ok(layout) => layout,
        Err(NoSegment::Aside(why)) => return Read::Aside(why),
        Err(NoSegment::Unreadable(why)) => return Read::Unreadable(why),
    };
    let kept = kept_chunks(bytes, &layout, belief);
    let believed = belief.is_none_or(|belief| bytes.len() as u64 <= belief.durable);
    let complete = layout.complete && believed && kept == layout.chunks.len();
    let whole = layout.chunks.get(..kept).and_then(|chunks| measure(&layout, chunks));
    Read::Footage(Footage { record: layout.record, codecs: layout.init.codecs, complete, whole })
}

/// The number of chunks, from the front, that belong to whole fragments.
fn kept_chunks(bytes: &[u8], layout: &Layout, belief: Option<Belief<'_>>) -> usize {
    let chunks = &layout.chunks;
    if !chunks.first().is_some_and(|first| first.starts_with_sync) {
        return 0;
    }
    let believed = match belief {
        None => chunks.len(),
        Some(belief) => {
            let torn = belief.boot != layout.record.boot && !belief.genuine;
            let unsynced =
                if layout.record.late_sync || belief.late_sync { 0 } else { unsynced_from(bytes, layout) };
            let doubtful = |(at, chunk): (usize, &ChunkInfo)| {
                chunk.end > belief.durable || (torn && at >= unsynced && has_unwritten_sector(bytes, chunk))
            };
            chunks.iter().enumerate().position(doubtful).unwrap_or(chunks.len())
        }
    };
    let all = believed == chunks.len() && layout.complete;
    if all || belief.is_some_and(|belief| belief.keep_partial) {
        return believed;
    }
    (0..believed).rev().find(|at| ends_fragment(chunks, bytes, *at)).map_or(0, |at| at + 1)
}

/// The first chunk that no sync may have covered, if each fragment, or each chunk, was synced as it came: the
/// first of the last fragment. If something torn follows a whole fragment, all chunks were covered.
fn unsynced_from(bytes: &[u8], layout: &Layout) -> usize {
    let chunks = &layout.chunks;
    let has_tail = bytes.len() as u64 > layout.chunks_end && !layout.complete;
    let last = chunks.len().saturating_sub(1);
    if has_tail && chunks.get(last).is_some_and(|chunk| is_marked(bytes, chunk)) {
        return chunks.len();
    }
    chunks.iter().rposition(|chunk| chunk.starts_with_sync).unwrap_or(0)
}

/// Whether a chunk ends a fragment: it is marked, or the next one begins with an IDR.
pub(super) fn ends_fragment(chunks: &[ChunkInfo], bytes: &[u8], at: usize) -> bool {
    let marked = chunks.get(at).is_some_and(|chunk| is_marked(bytes, chunk));
    marked || chunks.get(at + 1).is_some_and(|next| next.starts_with_sync)
}

/// The extent of these chunks: from the first presented frame to the end of the last. The last chunk shows
/// that end, because its frames are presented after all before it: the muxer ends a chunk only there, unless
/// the chunk would become too long.
pub(super) fn measure(layout: &Layout, chunks: &[ChunkInfo]) -> Option<Whole> {
    let video = layout.init.video;
    let run = |chunk: &ChunkInfo| chunk.runs.iter().find(|run| run.track == video.id).cloned();
    let (first, last) = (chunks.first()?, chunks.last()?);
    let (begin, finish) = (run(first)?, run(last)?);
    let ticks = i128::from(finish.earliest_presentation) + i128::from(finish.duration)
        - i128::from(begin.earliest_presentation);
    let nanos = ticks.max(0) * 1_000_000_000 / i128::from(video.timescale.max(1));
    Some(Whole { end: last.end, duration: u64::try_from(nanos).unwrap_or(u64::MAX) })
}

/// The entries of the `mfra` for every chunk that ends at or before `end`.
pub(super) fn entries(layout: &Layout, end: u64) -> Vec<MoofEntry> {
    let kept = layout.chunks.iter().take_while(|chunk| chunk.end <= end).count();
    fmp4::index(layout.chunks.get(..kept).unwrap_or_default(), layout.init.video.id)
}

/// Size of a `prft` version 1 in bytes, and the offset in it of the least significant byte of the NTP
/// fraction.
pub(super) const PRFT: u64 = 32;
pub(super) const MARK: usize = 23;

/// Marks the `prft` of a chunk as that of the last of a fragment, or as that of another.
///
/// A growing file must show whether its last fragment is whole, and the form of a segment has room for that
/// only here: the least significant bit of the NTP fraction is a quarter of a nanosecond, far below the
/// resolution of our clocks.
pub(super) fn mark(prft: &mut [u8], ends_fragment: bool) {
    if let Some(byte) = prft.get_mut(MARK) {
        *byte = (*byte & !1) | u8::from(ends_fragment);
    }
}

fn is_marked(bytes: &[u8], chunk: &ChunkInfo) -> bool {
    let prft = chunk.moof.checked_sub(PRFT).and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX);
    let Some(prft) = bytes.get(prft..).and_then(|bytes| bytes.get(..PRFT as usize)) else {
        return false;
    };
    prft.get(4..8) == Some(b"prft") && prft.get(MARK).is_some_and(|byte| byte & 1 == 1)
}

/// Whether a part of the chunk was never written: a file system that had extended the file before the power
/// cut shows zeros there, for a whole sector or for the rest of the file in the last one.
fn has_unwritten_sector(bytes: &[u8], chunk: &ChunkInfo) -> bool {
    let slice = |from: u64, to: u64| bytes.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?);
    let mut from = chunk.moof;
    while from < chunk.end {
        let to = ((from / SECTOR + 1) * SECTOR).min(chunk.end);
        let is_long = to - from >= ZEROS || to == chunk.end;
        if is_long && slice(from, to).is_some_and(|part| part.iter().all(|byte| *byte == 0)) {
            return true;
        }
        from = to;
    }
    false
}

pub(super) fn whole_file(fs: &dyn Fs, file: &Handle, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let read = fs.read_at(file, 0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}
