//! Capture: from a board's description to fragments.
//!
//! [`board`] says, as plain data, what the pipeline is to be; [`gst`] builds and runs it and is the
//! only place that names GStreamer's API; [`units`] finds the access units in what comes out of it, by what
//! [`h264`] or [`h265`] reads, and [`muxer`] makes chunks of them.

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
pub mod rtp_sound;
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

/// The source of this board. Chunks go to `chunks`, which is bounded; what happens goes to `report`, which may block.
#[must_use]
pub fn source(
    board: Board,
    recording: Recording,
    chunks: Sender<Captured>,
    report: Report,
) -> Box<dyn FragmentSource> {
    Box::new(GstSource::new(board, recording, chunks, report))
}

/// Takes an IDR frame: H.264, Annex B, with its parameter sets before it.
pub type GivePicture = Box<dyn FnOnce(Vec<u8>) + Send>;

/// Something that captures. None of these calls blocks: what happens is told by
/// `Input::CaptureStarted` and `Input::CaptureClosed`.
pub trait FragmentSource: Send {
    /// Opens the devices and begins. The permit is consumed: one permit, one run.
    fn start(&mut self, permit: Permit, settings: CaptureSettings);

    /// Asks the run of this epoch for its next IDR frame. `give` is called with it once, on a thread of the capture, and
    /// must not block; it is dropped uncalled where the run ends before, or where somebody else asks.
    fn picture(&mut self, epoch: Epoch, give: GivePicture);

    /// Ends the run of this epoch, if it still goes on. With [`StopManner::Drop`] the devices are
    /// closed at once and the frames under way are dropped; with [`StopManner::Drain`] they are
    /// handed over first, for two seconds at most. `Captured::End` with `reason` follows the last chunk.
    fn stop(&mut self, epoch: Epoch, manner: StopManner, reason: SpanEnd);
}
