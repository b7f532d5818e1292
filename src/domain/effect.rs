//! Everything that the machine can ask the outside to do.

use super::aside::AsideFigures;
use super::fragment::{Epoch, SpanEnd};
use super::input::{AckToken, FaultKind, Ticket};
use super::journal::{Head, What};
use super::offset::Offsets;
use super::policy::Permit;
use super::segment::{KeyClock, Record, RecordClock, Segment, Serial};
use super::time::Utc;
use serde::{Deserialize, Serialize};
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

/// Why a file may leave the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The store proved that it holds the file.
    Stored,
    /// K2, K10: older than the plan's history.
    HistoryExceeded,
    /// K9: suspended or lapsed for longer than `spool.hold`.
    HoldExpired,
    /// K9: the service was terminated.
    Terminated,
    /// K11: captured after "do not record" was chosen, and before the camera heard of it.
    AfterChoice,
    /// `privacy.pending = "purge"`.
    PrivacyPurge,
    /// `spool.when_full = "evict"`: what cannot be sent is removed first, then the oldest.
    Evicted,
}

impl Rule {
    /// The stable text that events and logs carry.
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

/// A word of the contract, such as `closed`.
pub type Word = std::borrow::Cow<'static, str>;

/// How the camera applied the owner's choice, as in `docs/contract.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PrivacyReport {
    /// Version of the app's choice in force; absent while none is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// What is in force, latch included; `true` where nothing is known.
    pub do_not_record: bool,
    /// The local latch is set.
    pub latch: bool,
    /// The capture device: `open`, `closing` or `closed`. It is `closed` only while no file of it is open.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["open", "closing", "closed"])))]
    pub capture: Word,
    /// When the device entered this state.
    pub applied_at: Utc,
}

/// How the camera applied its lease, as in `docs/contract.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EntitlementReport {
    /// Version of the lease in force; absent while none is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// [`super::entitlement::Entitlement::text`]: the state of the lease now.
    pub state: Word,
    /// `plan.id` of the terms in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// [`super::entitlement::Status::text`] of the terms in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Word>,
    /// When the lease ends, without the grace period that follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Utc>,
    /// [`super::policy::Reason::text`]: why uploads are on or off.
    pub reason: Word,
}

/// One notable event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A command from the broker was not accepted.
    Rejected {
        /// The topic on which it came.
        topic: String,
        /// [`super::input::Rejection::text`].
        reason: &'static str,
    },
    /// Footage was removed from the spool without having been stored.
    SegmentPurged {
        /// Number of the spool file.
        serial: u64,
        /// The span that the segment belonged to.
        span: String,
        /// Its place in the span, from 0.
        n: u64,
        /// UTC of the first sample, as recorded.
        start: Utc,
        /// It was not footage, but the end of its span.
        is_end: bool,
        /// The rule by which it was removed.
        rule: Rule,
    },
    /// A segment was cut back to what was captured before "do not record" was chosen.
    SegmentCut {
        /// Number of the spool file.
        serial: u64,
        /// The span that the segment belongs to.
        span: String,
        /// Its place in the span, from 0.
        n: u64,
        /// UTC of the first sample, as recorded.
        start: Utc,
        /// How much of it is left, from its first sample on, in milliseconds.
        kept_ms: u64,
        /// The rule by which the rest was removed.
        rule: Rule,
    },
    /// Footage is waiting that was captured while nobody could tell the camera of a choice.
    Unheard,
    /// That footage no longer waits.
    UnheardOver {
        /// `choice`: the choice has been heard. `hold`: the store answered all the time, and
        /// `privacy.unheard_hold` is over.
        by: &'static str,
    },
    /// Files of the spool are left where they are, unsent, until the cause is removed.
    SetAside {
        /// [`super::aside::Aside::text`].
        why: &'static str,
        /// How many more than before.
        files: u64,
        /// The name of one of them.
        name: String,
    },
    /// A file that was set aside or in quarantine was removed to make room.
    AsidePurged {
        /// The name that it had in the spool.
        name: String,
        /// [`super::aside::Aside::text`], or `damaged` if it was in quarantine.
        why: &'static str,
        /// Its size.
        bytes: u64,
        /// The rule by which it was removed.
        rule: Rule,
    },
    /// A file of the spool is damaged and was moved into the quarantine.
    Quarantined {
        /// Name of the file in the spool.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A capture run ended by itself.
    CaptureFailed {
        /// A stable word, for scripts.
        kind: FaultKind,
        /// For people: the element or device, and what to do.
        message: String,
    },
    /// Audio is wanted but is not being stored; video goes on.
    AudioFailed {
        /// For people: the element or device, and what to do.
        message: String,
    },
    /// Audio is being stored again.
    AudioRecovered,
    /// The capture devices are open.
    CaptureOpened {
        /// Number of the capture run, from 1 in this process.
        epoch: u64,
    },
    /// The capture devices are closed.
    CaptureClosed {
        /// Number of the capture run, as in `capture_opened`.
        epoch: u64,
        /// Why it was stopped, as a stable text.
        reason: &'static str,
    },
    /// The spool cannot be written; capture stops.
    StorageFailed {
        /// No room (ENOSPC, EDQUOT); `false` for any other error.
        full: bool,
        /// The error of the operating system.
        why: String,
    },
    /// The spool can be written again.
    StorageRecovered,
    /// The disk keeps the spool waiting. What is captured meanwhile is kept in memory up to a limit. What
    /// exceeds the limit is not recorded, and its span ends with the reason `storage`.
    StorageStalled,
    /// The disk answers again.
    StorageResumed {
        /// How long the spool waited for it, in whole seconds.
        stalled_s: u64,
    },
    /// The store refuses this segment; others go on. Reported once per segment.
    UploadRefused {
        /// Number of the spool file.
        serial: u64,
        /// The store's own reason.
        why: String,
    },
    /// All uploads wait.
    UploadStalled {
        /// The last failure; contains no URL and no secret.
        why: String,
    },
    /// A segment was stored after `upload_stalled`.
    UploadResumed,
    /// The store ignores `If-None-Match`: an object may be replaced by another with the same key. Reported
    /// once per start.
    StoreReplaces,
    /// The broker does not accept a message, and it is not sent again for now.
    MessageSetAside {
        /// The topic of the message.
        topic: String,
        /// What the broker does instead of accepting it.
        why: String,
    },
    /// The shutter or button of `privacy.latch` cannot be read; this is retried.
    LatchFailed {
        /// What is wrong with it.
        why: String,
    },
    /// A state file could not be written; this is retried.
    PersistFailed {
        /// The error of the operating system.
        why: String,
    },
}

/// Figures and counters since the start of the process, unless stated otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Telemetry {
    /// Camera and encoder.
    pub capture: CaptureFigures,
    /// Files that wait on flash.
    pub spool: SpoolFigures,
    /// Transfer to the object store.
    pub upload: UploadFigures,
    /// How far the clock is believed: `trusted`, `plausible` or `unset`.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["trusted", "plausible", "unset"])))]
    pub clock: Word,
    /// Commands from the broker that were not accepted.
    pub rejected: u64,
    /// Events that never reached the broker, because there was no room or because the broker does not accept
    /// them; filled in by whoever performs the report.
    pub dropped_events: u64,
    /// The light and the latch of the camera.
    pub household: HouseholdFigures,
    /// Peak resident set, in KiB (`getrusage`); filled in by whoever performs the report.
    pub peak_rss_kib: u64,
    /// Whole days until the device's certificate ends, 0 after that; absent if it cannot be read. Filled in
    /// by whoever performs the report.
    pub certificate_days_left: Option<u64>,
    /// The state of the privacy journal. Filled in by whoever performs the report.
    pub journal: JournalFigures,
}

/// The `household` part of the telemetry: faults of the light and the latch of the camera.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HouseholdFigures {
    /// Why `privacy.latch` cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latch_fault: Option<String>,
    /// Why `privacy.indicator` cannot be lit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub light_fault: Option<String>,
}

/// Whoever has received these can tell later whether the end of the journal was cut off or rewritten.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JournalFigures {
    /// Lines written so far.
    pub lines: u64,
    /// SHA-256 of the last line, in hexadecimal.
    pub head: String,
}

impl From<Head> for JournalFigures {
    fn from(head: Head) -> JournalFigures {
        JournalFigures { lines: head.n, head: head.hash.to_string() }
    }
}

/// The `capture` part of the telemetry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CaptureFigures {
    /// The capture devices are open.
    pub open: bool,
    /// Why capture is on or off: [`super::policy::Reason::text`].
    pub reason: Word,
    /// Capture runs started.
    pub starts: u64,
    /// Capture runs that ended by themselves.
    pub faults: u64,
    /// Frames handed over by the capture pipeline.
    pub frames_captured: u64,
    /// Frames written to the spool.
    pub frames_committed: u64,
    /// Frames that were dropped, at a privacy switch or because there was no permit.
    pub frames_dropped: u64,
    /// Places in the stream of the source at which frames were missing, as shown by the times of those that
    /// came.
    pub holes: u64,
    /// Approximate number of frames missing there.
    pub frames_missing: u64,
    /// Lines of picture that the plan allows, while recording is permitted; what the board has may be fewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_height: Option<u32>,
    /// Audio is to be captured if there is a microphone: the plan and `recording.audio` both allow it.
    pub audio_wanted: bool,
    /// The footage that was sealed last has audio; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<bool>,
    /// Why nothing is captured although it is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Why there is no audio although it is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_fault: Option<String>,
    /// What camera or encoder do other than they were told (bit rate, GOP), with both numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub differs: Option<String>,
}

/// The `spool` part of the telemetry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SpoolFigures {
    /// How much room there is: `roomy`, `tight`, `full` or `broken`.
    pub state: Word,
    /// Bytes in the spool now, quarantine included.
    pub bytes: u64,
    /// Files in the spool now.
    pub files: u64,
    /// Bytes free to an unprivileged user on its file system now; absent while it does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free: Option<u64>,
    /// Files in quarantine now.
    pub quarantined: u64,
    /// Files that are left where they are, unsent, and why.
    pub set_aside: AsideFigures,
    /// Not all files are known yet since the start: all of these figures may grow.
    pub scanning: bool,
    /// Why it cannot be written; absent while it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Sealed files now that the cloud does not hold yet.
    pub pending: u64,
    /// Segments removed without having been stored.
    pub purged: u64,
}

/// The `upload` part of the telemetry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct UploadFigures {
    /// The policy allows uploads.
    pub on: bool,
    /// Segments that wait because they were captured while nobody could tell the camera of a choice.
    pub unheard: u64,
    /// Uploads under way now.
    pub in_flight: u64,
    /// Segments that are proved to be stored.
    pub stored: u64,
    /// Bytes of those segments.
    pub stored_bytes: u64,
    /// Attempts that failed and are retried.
    pub retries: u64,
    /// Seconds since the oldest waiting footage was captured; absent if none waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_pending_s: Option<u64>,
    /// Why uploads wait for the store; absent while they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalled: Option<String>,
    /// From the end of capture of the last stored segment to its proof of storage, in milliseconds.
    pub last_latency_ms: u64,
}
