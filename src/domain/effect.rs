//! Everything that the machine can ask of the outside.

use super::fragment::{Epoch, SpanEnd};
use super::input::{AckToken, FaultKind, Ticket};
use super::journal::Head;
use super::policy::Permit;
use super::segment::{KeyClock, Record, Segment, Serial};
use super::time::Utc;
use serde::Serialize;
use std::time::Duration;

#[derive(Debug)]
pub enum Effect {
    /// Open the devices and capture under this permit.
    StartCapture { permit: Permit, settings: CaptureSettings },
    /// Close the devices.
    StopCapture { epoch: Epoch, manner: StopManner, reason: SpanEnd },
    /// Make a fact durable; answered by `Input::Persisted`.
    Persist { ticket: Ticket, fact: Fact },
    /// Send the PUBACK.
    Ack(AckToken),
    /// Send a report to the broker.
    Publish(Report),
    /// Send this segment to the store under this time.
    Upload { segment: Segment, time: Utc, clock: KeyClock, share: Share },
    /// Break off this upload; nothing answers.
    CancelUpload { serial: Serial },
    /// Remove a file from the spool.
    Forget { serial: Serial, why: Rule },
    /// Keep of a segment only the whole fragments that end within so much of its first picture; answered by
    /// `Input::Cut`.
    CutBack { serial: Serial, keep: Duration },
    /// Give the end of a span this record, since footage before it has gone; answered by `Input::Cut`.
    MoveEnd { serial: Serial, record: Box<Record>, reason: SpanEnd },
    /// Ask the store whether it answers at all; answered by `Input::StoreAnswered`.
    AskStore,
    /// What segments opened from now on say of the plan they were captured under.
    SetTerms { plan: String, history_hours: u32 },
    /// Answer with `Input::Flushed` once everything captured so far is sealed.
    FlushSpool,
    /// Look whether the spool can be written again; answered by `Input::StorageProbed`.
    ProbeStorage,
    /// The agent has nothing more to wait for: leave.
    Exit,
    /// A device does not close: end the process at once, so that the kernel closes it.
    Abort,
}

/// How an upload shares the way with others that run at the same time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Share {
    /// Footage of this moment, or the next in the order of age.
    #[default]
    Full,
    /// Footage left over from an outage: it takes what live footage leaves.
    Rest,
}

/// How capture comes to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StopManner {
    /// Close at once; the open GOP is dropped.
    Drop,
    /// Send end-of-stream and take what was captured first, within a deadline.
    Drain,
}

/// What a capture run is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CaptureSettings {
    pub audio: bool,
    pub max_height: u32,
}

/// A fact that outlives the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The JWS of the owner's choice.
    Privacy(String),
    /// The JWS of the lease.
    Entitlement(String),
    Latch(bool),
    /// The latest trusted time: time never stands before it again.
    Floor(Utc),
}

/// Why a file may leave the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The store proved that it holds it.
    Stored,
    /// K2, K10: older than the plan's history.
    HistoryExceeded,
    /// K9: suspended or lapsed for longer than `spool.hold`.
    HoldExpired,
    /// K9: the service was terminated.
    Terminated,
    /// K11: captured after "do not record" was chosen, and before it was heard.
    AfterChoice,
    /// `privacy.pending = "purge"`.
    PrivacyPurge,
    /// `spool.when_full = "evict"`: the oldest makes room.
    Evicted,
}

impl Rule {
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Rule::Stored => "stored",
            Rule::HistoryExceeded => "history_exceeded",
            Rule::HoldExpired => "hold_expired",
            Rule::Terminated => "terminated",
            Rule::AfterChoice => "after_choice",
            Rule::PrivacyPurge => "privacy_purge",
            Rule::Evicted => "evicted",
        }
    }
}

/// A message to the cloud. Its topic follows from its kind.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Report {
    /// `R/privacy/reported`, retained.
    Privacy(PrivacyReport),
    /// `R/entitlement/reported`, retained.
    Entitlement(EntitlementReport),
    /// `R/telemetry`.
    Telemetry(Box<Telemetry>),
    /// `R/event`.
    Event(Event),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PrivacyReport {
    /// Version of the app's choice in force; absent while none is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// What is in force, latch included; `true` where nothing is known.
    pub do_not_record: bool,
    pub latch: bool,
    /// The capture device: `open`, `closing` or `closed`. Closed is said only of a device of which no file is open.
    pub capture: &'static str,
    /// When the device came into this state.
    pub applied_at: Utc,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EntitlementReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    pub state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Utc>,
    pub reason: &'static str,
}

/// One notable event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    Rejected {
        topic: String,
        reason: &'static str,
    },
    /// Footage left the spool without having been stored.
    SegmentPurged {
        serial: u64,
        span: String,
        n: u64,
        start: Utc,
        rule: Rule,
    },
    /// A segment was cut back to what was captured before "do not record" was chosen.
    SegmentCut {
        serial: u64,
        span: String,
        n: u64,
        start: Utc,
        kept_ms: u64,
        rule: Rule,
    },
    /// Footage waits that was captured while nobody could tell the camera of a choice.
    Unheard,
    /// It waits no more.
    UnheardOver {
        /// `choice`: it has been heard. `hold`: the store answered all the time, and `privacy.unheard_hold` is over.
        by: &'static str,
    },
    Quarantined {
        name: String,
        why: String,
    },
    CaptureFailed {
        kind: FaultKind,
        message: String,
    },
    CaptureOpened {
        epoch: u64,
    },
    CaptureClosed {
        epoch: u64,
        reason: &'static str,
    },
    StorageFailed {
        full: bool,
        why: String,
    },
    StorageRecovered,
    UploadStalled {
        why: String,
    },
    UploadResumed,
    PersistFailed {
        why: String,
    },
}

/// Figures and counters since the start of the process, unless a unit says otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Telemetry {
    pub capture: CaptureFigures,
    pub spool: SpoolFigures,
    pub upload: UploadFigures,
    pub rejected: u64,
    /// Peak resident set, in KiB (`getrusage`); filled in by whoever performs the report.
    pub peak_rss_kib: u64,
    /// Where the privacy journal stands; filled in likewise.
    pub journal: JournalFigures,
}

/// Whoever has heard these can tell later whether the end of the journal was cut off or written anew.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct JournalFigures {
    /// Lines ever written.
    pub lines: u64,
    /// SHA-256 of the last one, in hexadecimal.
    pub head: String,
}

impl From<Head> for JournalFigures {
    fn from(head: Head) -> JournalFigures {
        JournalFigures { lines: head.n, head: head.hash.to_string() }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct CaptureFigures {
    pub open: bool,
    pub reason: &'static str,
    pub starts: u64,
    pub faults: u64,
    /// Coded pictures handed over by the capture pipeline.
    pub frames_captured: u64,
    /// Coded pictures written to the spool.
    pub frames_committed: u64,
    /// Coded pictures that were dropped, at a privacy switch or for want of a permit.
    pub frames_dropped: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SpoolFigures {
    pub state: &'static str,
    pub bytes: u64,
    pub files: u64,
    pub free: u64,
    pub quarantined: u64,
    pub pending: u64,
    pub purged: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct UploadFigures {
    pub on: bool,
    /// Segments that wait since they were captured while nobody could tell the camera of a choice.
    pub unheard: u64,
    pub in_flight: u64,
    pub stored: u64,
    pub stored_bytes: u64,
    pub retries: u64,
    /// From the end of capture of the last stored segment to its proof of storage, in milliseconds.
    pub last_latency_ms: u64,
}
