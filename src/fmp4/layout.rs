//! What was read of a segment file.

use crate::domain::fragment::Init;
use crate::domain::segment::Record;

/// One `moof` with its `mdat`, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkInfo {
    /// Offset of the `moof` from the start of what was read.
    pub moof: u64,
    /// Offset of the byte after the `mdat`.
    pub end: u64,
    /// The first frame is a sync sample.
    pub starts_with_sync: bool,
    /// `mfhd.sequence_number`.
    pub sequence: u32,
    /// One entry per `traf`, in file order.
    pub runs: Vec<TrackRun>,
}

/// One `traf` of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrackRun {
    /// `track_ID` of its `tfhd` (ISO/IEC 14496-12, 8.8.7).
    pub track: u32,
    /// `tfdt.baseMediaDecodeTime`, in ticks of the track.
    pub decode_time: u64,
    /// Sum of the sample durations, in ticks.
    pub duration: u64,
    /// Samples in all its `trun` boxes (ISO/IEC 14496-12, 8.8.8).
    pub samples: u32,
    /// Size of all its samples in bytes.
    pub bytes: u64,
    /// The earliest presentation time of its samples, in ticks.
    pub earliest_presentation: i64,
}

/// A segment file, read from the front as far as it is whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// `ftyp` and `moov`.
    pub init: Init,
    /// From the `uuid` box behind the `moov`.
    pub record: Record,
    /// Whole chunks in file order; the first starts with a sync sample.
    pub chunks: Vec<ChunkInfo>,
    /// Offset of the byte after the last whole chunk: where `mfra` belongs, or where a torn tail begins.
    pub chunks_end: u64,
    /// The file ends there with an `mfra` that lists exactly these chunks.
    pub complete: bool,
}
