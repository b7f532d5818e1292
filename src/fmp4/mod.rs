//! Fragmented MP4 (ISO/IEC 14496-12): writing it, and reading what was written.
//!
//! A segment file is `ftyp moov uuid { prft moof mdat }* mfra`. Everything here is a function of bytes. No
//! number that is read is trusted: no length reaches beyond the given bytes, and no allocation depends on a
//! number from a file.
//!
//! Times are media times, in ticks of a track, and each file begins at zero. If frames are reordered, all
//! media, audio included, is shifted later by a constant, so that no frame is shown before it is decoded;
//! there is no edit list.

#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros)]
#![forbid(unsafe_code)]

mod attributes;
mod boxes;
mod chunk;
mod configuration;
mod fragment;
mod glance;
mod header;
mod init;
mod mfra;
mod origin;
mod prft;
mod record;
mod segment;
mod wire;

use crate::domain::fragment::Init;
use crate::domain::segment::Record;
pub use attributes::{Attributes, AudioAttributes, MAX_SEEK_ENTRIES, attributes};
pub use boxes::{Piece, pieces};
pub use chunk::{number_chunk, read_chunk};
pub use configuration::DecoderSets;
pub use fragment::{Run, Sample, write_chunk};
pub use glance::{Head, Step, Tail, read_head, read_step, read_tail, tail_len};
pub use header::{PICTURE_TIMESCALE, PICTURES, PictureFormat, SOUND, SoundFormat, write_init};
pub use init::{mime, read_init};
pub use mfra::{MoofEntry, mfra_box};
pub use origin::{Origin, rebase};
pub use prft::{prft_box, shift_prft};
pub use record::{is_newer, record_box, record_members};
pub use segment::{entry, follows, index, read_segment};
use std::fmt;
pub use wire::{FORMAT, Unread, WireRecord};

/// What is wrong with the bytes, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Offset of the box in question.
    pub offset: u64,
    /// What is wrong with it, fit for a log.
    pub what: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.offset, self.what)
    }
}

impl std::error::Error for Malformed {}

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
