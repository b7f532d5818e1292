//! A whole segment file, read from the front as far as it is whole.

use super::boxes::{BoxAt, Walk};
use super::layout::{ChunkInfo, Layout, TrackRun};
use super::malformed::Malformed;
use super::mfra::{MoofEntry, mfra_box};
use super::{chunk, init, record};
use bytes::Bytes;

/// Reads a segment file.
///
/// # Errors
/// Only if `ftyp`, `moov` or the record cannot be read: torn or foreign data after them ends the list of
/// chunks.
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
        // An earlier release listed every `moof`.
        let is_index = |entries: &[MoofEntry]| tail == Some(&mfra_box(entries));
        mfra.start == chunks_end && (is_index(&index(&chunks, init.video.id)) || is_index(&every(&chunks)))
    });
    Ok(Layout { init, record, chunks, chunks_end, complete })
}

/// The entries of the `mfra` of these chunks. `video` is the video track.
#[must_use]
pub fn index(chunks: &[ChunkInfo], video: u32) -> Vec<MoofEntry> {
    chunks.iter().map(|chunk| entry(chunk, video, chunk.moof)).collect()
}

/// The entry in the `mfra` of one chunk whose `moof` is at `offset`. `video` is the video track; every sample
/// of another track is a sync sample.
#[must_use]
pub fn entry(chunk: &ChunkInfo, video: u32, offset: u64) -> MoofEntry {
    let first = |run: &TrackRun| {
        let is_sync = run.track != video || chunk.starts_with_sync;
        (run.track, is_sync.then(|| presented(run)))
    };
    MoofEntry { offset, tracks: chunk.runs.iter().map(first).collect() }
}

fn every(chunks: &[ChunkInfo]) -> Vec<MoofEntry> {
    let all = |chunk: &ChunkInfo| chunk.runs.iter().map(|run| (run.track, Some(presented(run)))).collect();
    chunks.iter().map(|chunk| MoofEntry { offset: chunk.moof, tracks: all(chunk) }).collect()
}

fn presented(run: &TrackRun) -> u64 {
    u64::try_from(run.earliest_presentation).unwrap_or(0)
}

/// Whether a reader of the file accepts the chunk as the next one: it has the next sequence number, and no
/// track goes back in time (ISO/IEC 14496-12, 8.8.5 and 8.8.12).
#[must_use]
pub fn follows(before: &ChunkInfo, next: &ChunkInfo) -> bool {
    let forward = |run: &TrackRun| {
        let earlier = before.runs.iter().filter(|earlier| earlier.track == run.track);
        earlier.into_iter().all(|earlier| earlier.decode_time <= run.decode_time)
    };
    next.sequence == before.sequence.wrapping_add(1) && next.runs.iter().all(forward)
}
