//! What can be read at the two ends of a sealed segment, so that a start need not read what is between them.

use super::boxes::{BoxAt, Cursor, Walk};
use super::layout::TrackRun;
use super::{chunk, init, record};
use crate::domain::fragment::{Init, Track};
use crate::domain::segment::Record;
use bytes::Bytes;

/// The front of a segment: `ftyp`, `moov` and the record.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// `ftyp` and `moov`.
    pub init: Init,
    /// From the `uuid` box behind them.
    pub record: Record,
}

/// The index at the end of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tail {
    /// Offset of the `mfra`: the last chunk ends there.
    pub mfra: u64,
    /// Presentation time of the first frame, in ticks of its track.
    pub first: u64,
    /// Presentation time of the first frame of the last `moof` that is listed for that track.
    pub last: u64,
    /// Maximum distance from one of them to the next, in ticks.
    pub longest: u64,
    /// Offset of the last `moof` that is listed for any track: others may follow it.
    pub last_moof: u64,
}

/// Reads the front from the first bytes of a file. `None` if there are too few bytes, or they are not such a
/// front.
#[must_use]
pub fn read_head(bytes: &[u8]) -> Option<Head> {
    let mut walk = Walk::new(bytes, 0).map_while(Result::ok);
    let (_ftyp, moov, uuid) = (walk.next()?, walk.next()?, walk.next()?);
    let front = bytes.get(..usize::try_from(moov.end).ok()?)?;
    let record = record::read_record(&uuid).ok()?;
    let init = init::read_init(Bytes::copy_from_slice(front)).ok()?;
    Some(Head { init, record })
}

/// Size of the `mfra` in bytes, from the `mfro` that closes it: `bytes` are the last of a file.
#[must_use]
pub fn tail_len(bytes: &[u8]) -> Option<u64> {
    let (_, last) = bytes.split_last_chunk::<16>()?;
    let mut walk = Walk::new(last, 0);
    let mfro = walk.next()?.ok().filter(|found| found.is(b"mfro"))?;
    let mut cursor = Cursor::new(mfro.body);
    cursor.full()?;
    cursor.u32().map(u64::from)
}

/// Reads the index from the last bytes of a file of `len` bytes: exactly the `mfra`.
#[must_use]
pub fn read_tail(mfra: &[u8], len: u64, video: Track) -> Option<Tail> {
    let at = len.checked_sub(mfra.len() as u64)?;
    let mut walk = Walk::new(mfra, at);
    let found = walk.next()?.ok().filter(|found| found.is(b"mfra") && found.end == len)?;
    let mut tail = None;
    let mut last_moof = 0;
    for table in Walk::inside(&found).map_while(Result::ok).filter(|found| found.is(b"tfra")) {
        let (track, of_track) = read_tfra(&table, at)?;
        last_moof = last_moof.max(of_track.last_moof);
        if track == video.id {
            tail = Some(of_track);
        }
    }
    tail.map(|tail| Tail { last_moof, ..tail })
}

/// A table as the camera writes it: its track, and what it lists of that track.
fn read_tfra(table: &BoxAt<'_>, mfra: u64) -> Option<(u32, Tail)> {
    let mut cursor = Cursor::new(table.body);
    cursor.full().filter(|(version, _)| *version == 1)?;
    let (track, _lengths, count) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
    let mut tail: Option<Tail> = None;
    for _ in 0..count {
        let (time, moof) = (cursor.u64()?, cursor.u64()?);
        cursor.take(3)?;
        let before = tail.unwrap_or(Tail { mfra, first: time, last: time, longest: 0, last_moof: moof });
        let longest = before.longest.max(time.saturating_sub(before.last));
        tail = Some(Tail { last: time, longest, last_moof: moof, ..before });
    }
    cursor.rest().is_empty().then_some((track, tail?))
}

/// One chunk, from its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Offset of the byte after its `mdat`.
    pub end: u64,
    /// When its last frame ends, in ticks of the track; `None` if it has no frames.
    pub over: Option<u64>,
}

/// Reads the front of a chunk: `bytes` begin at `at`, with its `moof` or the `prft` before it, and reach the
/// first bytes of its `mdat`. `None` if they do not, or are not such a chunk.
#[must_use]
pub fn read_step(init: &Init, bytes: &[u8], at: u64) -> Option<Step> {
    let mut walk = Walk::new(bytes, at).map_while(Result::ok);
    let moof = walk.find(|found| !found.is(b"prft")).filter(|found| found.is(b"moof"))?;
    let behind = bytes.get(usize::try_from(moof.end.checked_sub(at)?).ok()?..)?;
    let mut cursor = Cursor::new(behind);
    let size = cursor.u32().map(u64::from).filter(|size| *size >= 8)?;
    let is_mdat = cursor.take(4)? == b"mdat";
    let end = moof.end.checked_add(size)?;
    let data = (moof.end - moof.start).checked_add(8)?..end.checked_sub(moof.start)?;
    let chunk = chunk::read_moof(init, &moof, &data, end).ok().filter(|_| is_mdat)?;
    let video = chunk.runs.iter().find(|run| run.track == init.video.id);
    let over = |run: &TrackRun| u64::try_from(run.earliest_presentation).ok()?.checked_add(run.duration);
    Some(Step { end, over: video.and_then(over) })
}
