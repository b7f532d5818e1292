//! A whole segment file, read from the front as far as it is whole.

use super::boxes::{BoxAt, Walk};
use super::mfra::{MoofEntry, mfra_box};
use super::{ChunkInfo, Layout, Malformed, TrackRun, chunk, init, record};
use bytes::Bytes;

/// Reads a segment file.
///
/// # Errors
/// Only where `ftyp`, `moov` or the record cannot be read: whatever is torn or foreign behind them
/// ends the list of chunks.
pub fn read_segment(bytes: &[u8]) -> Result<Layout, Malformed> {
    let mut walk = Walk::new(bytes, 0);
    let mut need =
        |what: &str| walk.next().unwrap_or_else(|| Err(Malformed { offset: 0, what: format!("no {what}") }));
    let _ftyp = need("ftyp")?;
    let moov = need("moov")?;
    let head = bytes.get(..usize::try_from(moov.end).unwrap_or(usize::MAX)).unwrap_or_default();
    let init = init::read_init(Bytes::copy_from_slice(head))?;
    let uuid = need("record")?;
    let record = record::read_record(&uuid)?;

    let mut chunks: Vec<ChunkInfo> = Vec::new();
    let mut chunks_end = uuid.end;
    let mut last: Option<BoxAt<'_>> = None;
    while let Some(Ok(found)) = walk.next() {
        if found.is(b"prft") {
            continue;
        }
        if !found.is(b"moof") {
            last = Some(found);
            break;
        }
        let Some(Ok(mdat)) = walk.next() else { break };
        match chunk::read(&init, &found, &mdat) {
            Ok(next) if chunks.last().map_or(next.starts_with_sync, |last| follows(last, &next)) => {
                chunks_end = next.end;
                chunks.push(next);
            }
            Ok(_) | Err(_) => break,
        }
    }
    let complete = last.is_some_and(|mfra| {
        let tail = bytes.get(usize::try_from(chunks_end).unwrap_or(usize::MAX)..);
        mfra.start == chunks_end && tail == Some(&mfra_box(&index(&chunks)))
    });
    Ok(Layout { init, record, chunks, chunks_end, complete })
}

/// The entries of the `mfra` of these chunks.
#[must_use]
pub fn index(chunks: &[ChunkInfo]) -> Vec<MoofEntry> {
    chunks.iter().map(|chunk| entry(chunk, chunk.moof)).collect()
}

/// The entry in the `mfra` of one chunk whose `moof` is at `offset`.
#[must_use]
pub fn entry(chunk: &ChunkInfo, offset: u64) -> MoofEntry {
    let first = |run: &TrackRun| (run.track, u64::try_from(run.earliest_presentation).unwrap_or(0));
    MoofEntry { offset, tracks: chunk.runs.iter().map(first).collect() }
}

/// Whether a reader of the file takes the chunk as the next one: the next sequence number, and no track going back in
/// time (ISO/IEC 14496-12, 8.8.5 and 8.8.12).
#[must_use]
pub fn follows(before: &ChunkInfo, next: &ChunkInfo) -> bool {
    let forward = |run: &TrackRun| {
        let earlier = before.runs.iter().filter(|earlier| earlier.track == run.track);
        earlier.into_iter().all(|earlier| earlier.decode_time <= run.decode_time)
    };
    next.sequence == before.sequence.wrapping_add(1) && next.runs.iter().all(forward)
}
