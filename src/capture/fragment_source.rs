//! The trait of a source of footage.

use crate::domain::effect::{CaptureSettings, StopManner};
use crate::domain::fragment::{Epoch, SpanEnd};
use crate::domain::policy::Permit;

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
