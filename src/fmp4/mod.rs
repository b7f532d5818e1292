//! Fragmented MP4 (ISO/IEC 14496-12): reading what the muxer made, and the few boxes that are ours.
//!
//! A segment file is `ftyp moov uuid { prft moof mdat }* mfra`.

use crate::domain::fragment::Init;
use crate::domain::segment::Record;
use crate::domain::time::Utc;
use bytes::Bytes;

/// What is wrong with the bytes, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Offset of the box in question.
    pub offset: u64,
    pub what: String,
}

/// Reads `ftyp moov`.
pub fn read_init(_bytes: Bytes) -> Result<Init, Malformed> {
    todo!()
}

/// One `moof` with its `mdat`, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkInfo {
    /// Offset of the `moof` from the start of what was read.
    pub moof: u64,
    /// Offset just behind the `mdat`.
    pub end: u64,
    /// The first video sample is a sync sample (`sample_depends_on`, `sample_is_non_sync_sample`).
    pub starts_with_sync: bool,
    /// `mfhd.sequence_number`.
    pub sequence: u32,
    /// One entry a `traf`, in file order.
    pub runs: Vec<TrackRun>,
}

/// One `traf` of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackRun {
    pub track: u32,
    /// `tfdt.baseMediaDecodeTime`, in ticks of the track.
    pub decode_time: u64,
    /// Sum of the sample durations, in ticks.
    pub duration: u64,
    pub samples: u32,
    /// `decode_time` plus the least composition time offset of its samples minus nothing: the
    /// earliest presentation time in ticks.
    pub earliest_presentation: i64,
}

/// Reads one chunk: exactly a `moof` and an `mdat`.
pub fn read_chunk(_init: &Init, _bytes: &[u8]) -> Result<ChunkInfo, Malformed> {
    todo!()
}

/// Takes `ticks` (of each track's own timescale) from every `tfdt` of the chunk, in place.
pub fn rebase_chunk(_init: &Init, _bytes: &mut [u8], _nanos: u64) -> Result<(), Malformed> {
    todo!()
}

/// A segment file, read from the front as far as it is whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    pub init: Init,
    pub record: Record,
    /// Whole chunks in file order.
    pub chunks: Vec<ChunkInfo>,
    /// Offset behind the last whole chunk: where `mfra` belongs, or where a torn tail begins.
    pub chunks_end: u64,
    /// The file ends with a correct `mfra` right there.
    pub complete: bool,
}

/// Reads a segment file. An error only where `ftyp`, `moov` or the record cannot be read: whatever
/// is torn or foreign behind them ends the list of chunks.
pub fn read_segment(_bytes: &[u8]) -> Result<Layout, Malformed> {
    todo!()
}

/// The `uuid` box that carries the record, as JSON.
pub fn record_box(_record: &Record) -> Vec<u8> {
    todo!()
}

/// `prft` version 1 (ISO/IEC 14496-12, 8.16.5) with `flags` 24 (time of capture): `utc` is that of `media_time` ticks of `track`.
pub fn prft_box(_track: u32, _utc: Utc, _media_time: u64) -> Vec<u8> {
    todo!()
}

/// Moves the NTP time of every `prft` of the file by `nanos`, in place; how many were moved.
pub fn shift_prft(_bytes: &mut [u8], _nanos: i64) -> usize {
    todo!()
}

/// Where one `moof` begins, for [`mfra_box`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoofEntry {
    pub offset: u64,
    /// Track and presentation time of its first sample, in ticks, one for each `traf`; `traf` is 1-based in file order.
    pub tracks: Vec<(u32, u64)>,
}

/// `mfra` with one `tfra` a track that lists every `moof` of it, closed by `mfro` (8.8.9 to 8.8.11).
pub fn mfra_box(_moofs: &[MoofEntry]) -> Vec<u8> {
    todo!()
}
