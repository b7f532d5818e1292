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
mod format;
mod fragment;
mod glance;
mod header;
mod init;
mod layout;
mod malformed;
mod mfra;
mod origin;
mod prft;
mod record;
mod segment;
mod wire;

pub use attributes::{Attributes, AudioAttributes, MAX_SEEK_ENTRIES, attributes};
pub use boxes::{Piece, pieces};
pub use chunk::{number_chunk, read_chunk};
pub use format::{
    AUDIO_TRACK, AudioDescription, DecoderSets, VIDEO_TIMESCALE, VIDEO_TRACK, VideoDescription,
};
pub use fragment::{Sample, SampleRun, write_chunk};
pub use glance::{Head, Step, Tail, read_head, read_step, read_tail, tail_len};
pub use header::write_init;
pub use init::{mime, read_init};
pub use layout::{ChunkInfo, Layout, TrackRun};
pub use malformed::Malformed;
pub use mfra::{MoofEntry, mfra_box};
pub use origin::{Origin, rebase};
pub use prft::{prft_box, shift_prft};
pub use record::{is_newer, record_box, record_members};
pub use segment::{entry, follows, index, read_segment};
pub use wire::{FORMAT, Unread, WireRecord};
