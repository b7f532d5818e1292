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
pub mod gst;
pub mod h264;
pub mod h265;
pub mod level;
pub mod muxer;
pub mod packages;
pub mod profile;
mod raw;
pub mod refusals;
pub mod rtp_audio;
pub mod sender_clock;
pub mod test_card;
pub mod timing;
pub mod units;
mod watch;

pub use self::bits::{Nals, Packing};
pub use self::gst::{Report, doubts, probe, still, survey};

use self::gst::GstSource;
use crate::config::{Board, Recording};
use crate::domain::effect::{CaptureSettings, StopManner};
use crate::domain::fragment::{Captured, Epoch, SpanEnd};
use crate::domain::policy::Permit;
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

/// Receives an IDR frame: a byte stream (Annex B), with its parameter sets before it.
pub type GiveFrame = Box<dyn FnOnce(Vec<u8>) + Send>;

/// A source of footage. None of these calls blocks: the results are reported as
/// `Input::CaptureStarted` and `Input::CaptureClosed`.
pub trait FragmentSource: Send {
    /// Opens the devices and starts to capture. The permit is consumed: one permit, one run.
    fn start(&mut self, permit: Permit, settings: CaptureSettings);

    /// Requests the next IDR frame of the run of this epoch. `give` is called with it once, on a capture thread, and must
    /// not block. It is dropped without a call if the run ends first, or if another request replaces it.
    fn give_frame(&mut self, epoch: Epoch, give: GiveFrame);

    /// Ends the run of this epoch, if it is still running. With [`StopManner::Drop`] the devices are
    /// closed at once and frames in the pipeline are dropped; with [`StopManner::Drain`] those are
    /// delivered first, for at most two seconds. `Captured::End` with `reason` follows the last chunk.
    fn stop(&mut self, epoch: Epoch, manner: StopManner, reason: SpanEnd);
}
