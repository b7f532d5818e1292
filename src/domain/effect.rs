//! Everything that the machine can ask the outside to do.

pub use super::report::{EntitlementReport, Event, PrivacyReport, Report, Rule};
pub use super::telemetry::{
    CaptureFigures, HouseholdFigures, JournalFigures, SpoolFigures, Telemetry, UploadFigures, Word,
};

use super::fragment::{Epoch, SpanEnd};
use super::input::{AckToken, Ticket};
use super::journal::What;
use super::offset::Offsets;
use super::policy::Permit;
use super::segment::{KeyClock, Record, RecordClock, Segment, Serial};
use super::time::Utc;
use std::time::Duration;

/// What the machine wants done, in this order. Whoever performs it answers with an `Input`.
#[derive(Debug)]
pub enum Effect {
    /// Open the devices and capture under this permit.
    StartCapture {
        /// The permit.
        permit: Permit,
        /// What the plan and the configuration permit of audio and frame height.
        settings: CaptureSettings,
    },
    /// Close the devices.
    StopCapture {
        /// The capture run that ends.
        epoch: Epoch,
        /// What happens to the open fragment.
        manner: StopManner,
        /// Goes into the end of the span.
        reason: SpanEnd,
    },
    /// Light the LED of `privacy.indicator`, or put it out; answered by `Input::LightSet`. If an earlier one
    /// has not been answered, this one follows it.
    Light {
        /// Comes back in the answer.
        ticket: Ticket,
        /// Whether it is to be lit.
        on: bool,
    },
    /// Write a line of the privacy journal. There is no answer, and nothing waits for it.
    Note {
        /// Time of the system clock.
        time: Utc,
        /// How far that clock is trusted.
        clock: RecordClock,
        /// What happened.
        what: What,
    },
    /// Make a fact durable; answered by `Input::Persisted`.
    Persist {
        /// Comes back in the answer.
        ticket: Ticket,
        /// The fact.
        fact: Fact,
        /// The fact before it permits what this one forbids: if this one cannot be written, that one must be
        /// removed.
        forbids: bool,
    },
    /// Put a prohibition that is not durable yet where the next start of the process finds it, without the
    /// disk.
    RaiseTombstone(Fact),
    /// The prohibition is durable, or not in force any more: remove its tombstone.
    LiftTombstone(Fact),
    /// Send the PUBACK.
    Ack(AckToken),
    /// Send a report to the broker.
    Publish(Report),
    /// Send a segment to the store.
    Upload {
        /// The segment.
        segment: Segment,
        /// Its time in the key.
        time: Utc,
        /// How far that time is trusted.
        clock: KeyClock,
        /// Its share of the bandwidth.
        share: Share,
    },
    /// Cancel this upload; there is no answer.
    CancelUpload {
        /// Number of the file in the spool.
        serial: Serial,
    },
    /// Remove a file from the spool.
    Forget {
        /// Number of the file in the spool.
        serial: Serial,
        /// The rule that permits it.
        why: Rule,
    },
    /// Remove the oldest file of the quarantine or, if that is empty, of those that are set aside; answered
    /// by `Input::AsideEvicted`.
    EvictAside,
    /// Keep of a segment only the whole fragments that end at most `keep` after its first frame; answered by
    /// `Input::Cut`.
    CutBack {
        /// Number of the segment in the spool.
        serial: Serial,
        /// From the first frame on.
        keep: Duration,
    },
    /// Give the end of a span another record, because footage before it was removed; answered by `Input::Cut`.
    MoveEnd {
        /// Number of the end's file in the spool.
        serial: Serial,
        /// The new record.
        record: Box<Record>,
        /// Why the span ended, as before.
        reason: SpanEnd,
    },
    /// Subscribe again, so that the broker sends its retained messages again: one was refused because it came
    /// from the future, and the clock has been set since.
    AskAgain,
    /// Ask the store whether it answers; answered by `Input::StoreAnswered`.
    AskStore,
    /// What segments opened from now on say of the plan under which they were captured.
    SetTerms {
        /// `plan.id` of the lease.
        plan: String,
        /// The history of the plan, in hours.
        history_hours: u32,
    },
    /// Answer with `Input::Flushed` once everything captured so far is sealed.
    FlushSpool,
    /// Check whether the spool can be written again; answered by `Input::StorageProbed`.
    ProbeStorage,
    /// The agent has nothing more to wait for: exit.
    Exit,
    /// A device does not close: end the process at once, so that the kernel closes it.
    Abort,
}

/// How an upload shares the bandwidth with others that run at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    /// As `Full`, and no other segment waits for the store.
    Alone,
    /// Live footage, or the next in the order of age.
    #[default]
    Full,
    /// Footage left over from an outage: it gets the bandwidth that live footage leaves.
    Rest,
}

/// How capture ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopManner {
    /// Close at once; the open GOP is dropped.
    Drop,
    /// Send end-of-stream and first take what was captured, until a deadline.
    Drain,
}

/// One step of closing a capture run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosingStep {
    /// Invalidate its permit: nothing of it that is under way reaches the disk.
    Invalidate,
    /// Close its devices.
    Close,
    /// Drop what the spool holds of it and has not committed, and end its span.
    DropRest,
}

impl StopManner {
    /// What closes a run, in this order. The permit is invalidated first: closing a device takes time, and
    /// frames arrive meanwhile.
    #[must_use]
    pub fn steps(self) -> &'static [ClosingStep] {
        match self {
            StopManner::Drop => &[ClosingStep::Invalidate, ClosingStep::Close, ClosingStep::DropRest],
            StopManner::Drain => &[ClosingStep::Close],
        }
    }
}

/// How a capture run is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CaptureSettings {
    /// Whether audio may be captured: the plan and `recording.audio` both allow it.
    pub audio: bool,
    /// Maximum height of a frame in lines, from the plan.
    pub max_height: u32,
}

/// A fact that must survive the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The owner's choice.
    Privacy {
        /// Its version.
        version: u64,
        /// As signed.
        jws: String,
    },
    /// The lease.
    Entitlement {
        /// Its version.
        version: u64,
        /// As signed.
        jws: String,
    },
    /// `true`: the local latch is set, and the camera stays closed.
    Latch(bool),
    /// Since when the service is stopped, as this camera has seen it; `None` while it is not.
    Stopped(Option<Utc>),
    /// The latest trusted time: from then on, time is never taken to be before it.
    Floor(Utc),
    /// All offsets that were decided for boots whose clock could not be trusted.
    Offsets(Offsets),
}
