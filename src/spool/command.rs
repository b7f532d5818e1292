//! The commands to the thread of the spool.

use crate::domain::fragment::{Epoch, SpanEnd};
use crate::domain::segment::{Record, Serial};
use crossbeam_channel::Sender;
use std::time::Duration;

/// A command to the spool thread. Commands come before captured chunks.
#[derive(Debug)]
pub enum Command {
    /// Permission to capture was withdrawn: drop the open fragment, from memory and from flash, seal what is
    /// complete, and end the span. Chunks of this epoch and of earlier ones are refused from now on.
    Revoke {
        /// The epoch that has ended.
        epoch: Epoch,
        /// Goes into the end of the span.
        reason: SpanEnd,
    },
    /// Remove a file. Answered by `Input::Forgotten` once the removal is durable; delayed
    /// if invariant 5 requires it.
    Forget {
        /// Number of the file.
        serial: Serial,
    },
    /// Remove the oldest file of the quarantine or, if that is empty, the oldest that is set aside. Answered
    /// by `Input::AsideEvicted`.
    EvictAside,
    /// Keep the whole fragments of a sealed segment that end at most `keep` after its first frame. Answered
    /// by `Input::Cut`, with `None` if no fragment does: the file is then to be forgotten.
    CutBack {
        /// Number of the file.
        serial: Serial,
        /// From the first frame on.
        keep: Duration,
    },
    /// Replace the record of the end of a span. Answered by `Input::Cut`.
    MoveEnd {
        /// Number of the file.
        serial: Serial,
        /// The new record.
        record: Box<Record>,
        /// Why the span ended, as before.
        reason: SpanEnd,
    },
    /// Check whether the spool can be written again, and repair what a failure left behind. Answered by
    /// `Input::StorageProbed`, after `Input::Sealed` for each recovered segment.
    Probe,
    /// For the records of segments that begin from now on.
    SetTerms {
        /// `plan.id` of the lease.
        plan: String,
        /// The history of the plan, in hours.
        history_hours: u32,
    },
    /// A sealed segment was found damaged or missing when it was to be sent: recover or quarantine it.
    /// Answered by `Input::Forgotten`, then by `Input::Sealed` for what could be recovered.
    Damaged {
        /// Number of the file.
        serial: Serial,
    },
    /// Take all captured chunks that wait, then answer.
    Drain {
        /// For the answer.
        done: Sender<()>,
    },
    /// Take all captured chunks that wait, seal, end the span, answer, and end the thread.
    Shutdown {
        /// For the answer.
        done: Sender<()>,
    },
}
