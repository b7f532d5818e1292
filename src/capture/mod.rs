//! Capture: from a board's description to fragments.
//!
//! [`board`] describes the pipeline as plain data. [`gst`] builds and runs it; only its files use GStreamer's
//! API. [`units`] finds the access units in its output, with the parsers of [`h264`] and [`h265`], and [`muxer`]
//! makes chunks of them.

pub mod annexb;
mod bits;
pub mod board;
pub mod choose;
pub mod codec;
pub mod container;
pub mod controls;
pub mod encoder;
mod fragment_source;
pub mod gst;
pub mod h264;
pub mod h265;
mod level;
pub mod muxer;
pub mod packages;
pub mod pipeline;
pub mod profile;
mod raw;
pub mod refusals;
mod role;
mod rtp_audio;
pub mod sender_clock;
mod sets;
pub mod test_card;
pub mod timing;
pub mod units;
mod watch;

pub use self::bits::{Nals, Packing};
pub use self::fragment_source::{FragmentSource, GiveFrame};
pub use self::gst::{Report, doubts, probe, still, survey};

use self::gst::GstSource;
use crate::config::{Board, Recording};
use crate::domain::fragment::Captured;
use crossbeam_channel::Sender;

/// The source of this board. Chunks go to `chunks`, which is bounded; inputs for the machine go to `report`, which may
/// block.
#[must_use]
pub fn source(
    board: Board,
    recording: Recording,
    chunks: Sender<Captured>,
    report: Report,
) -> Box<dyn FragmentSource> {
    Box::new(GstSource::new(board, recording, chunks, report))
}
