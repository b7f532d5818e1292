//! The commands to the thread of the spool.

use crate::domain::fragment::{Epoch, SpanEnd};
use crate::domain::segment::{Record, Serial};
use crossbeam_channel::Sender;
use std::time::Duration;

/// A command to the spool thread. Commands come before captured chunks.
#[derive(Debug)]
pub enum Command {
    /// Permission to capture was withdrawn: drop the open fragment, from memory and from flash, seal what is
    /// complete, and end the span with `reason`. Chunks of this epoch and of earlier ones are refused from
    /// now on.
    #[allow(missing_docs, reason = "its fields are described above")]
    Revoke { epoch: Epoch, reason: SpanEnd },
    /// Remove the file with this number. Answered by `Input::Forgotten` once the removal is durable; delayed
    /// if invariant 5 requires it.
    #[allow(missing_docs, reason = "its fields are described above")]
    Forget { serial: Serial },
    /// Remove the oldest file of the quarantine or, if that is empty, the oldest that is set aside. Answered
    /// by `Input::AsideEvicted`.
    EvictAside,
    /// Keep the whole fragments of a sealed segment that end at most `keep` after its first frame. Answered
    /// by `Input::Cut`, with `None` if no fragment does: the file is then to be forgotten.
    #[allow(missing_docs, reason = "its fields are described above")]
    CutBack { serial: Serial, keep: Duration },
    /// Replace the record of the end of a span. Answered by `Input::Cut`.
    #[allow(missing_docs, reason = "its fields are described above")]
    MoveEnd { serial: Serial, record: Box<Record>, reason: SpanEnd },
    /// Check whether the spool can be written again, and repair what a failure left behind. Answered by
    /// `Input::StorageProbed`, after `Input::Sealed` for each recovered segment.
    Probe,
    /// For the records of segments that begin from now on: `plan.id` of the lease, and its history in hours.
    #[allow(missing_docs, reason = "its fields are described above")]
    SetTerms { plan: String, history_hours: u32 },
    /// A sealed segment was found damaged or missing when it was to be sent: recover or quarantine it.
    /// Answered by `Input::Forgotten`, then by `Input::Sealed` for what could be recovered.
    #[allow(missing_docs, reason = "its fields are described above")]
    Damaged { serial: Serial },
    /// Take all captured chunks that wait, then answer on `done`.
    #[allow(missing_docs, reason = "its fields are described above")]
    Drain { done: Sender<()> },
    /// Take all captured chunks that wait, seal, end the span, answer on `done`, and end the thread.
    #[allow(missing_docs, reason = "its fields are described above")]
    Shutdown { done: Sender<()> },
}
