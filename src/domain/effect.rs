//! Everything that the machine can ask of the outside.

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

/// What the machine wants done, in this order; whoever performs it answers with an `Input`.
#[derive(Debug)]
pub enum Effect {
    /// Open the devices and capture under this permit.
    /// `settings` are what the plan and the configuration leave of sound and picture.
    #[allow(missing_docs, reason = "its fields are told of above")]
    StartCapture { permit: Permit, settings: CaptureSettings },
    /// Close the devices.
    /// `manner` is what becomes of the open fragment; `reason` goes into the end of the span.
    #[allow(missing_docs, reason = "its fields are told of above")]
    StopCapture { epoch: Epoch, manner: StopManner, reason: SpanEnd },
    /// Light the LED of `privacy.indicator`, or put it out; answered by `Input::LightSet`. Where an earlier one has not
    /// been answered, this one is to follow it.
    #[allow(missing_docs, reason = "its fields are told of above")]
    Light { ticket: Ticket, on: bool },
    /// Write a line of the privacy journal. Nothing answers, and nothing waits for it.
    /// `time` is the system clock's, `clock` how far it could be believed.
    #[allow(missing_docs, reason = "its fields are told of above")]
    Note { time: Utc, clock: RecordClock, what: What },
    /// Make a fact durable; answered by `Input::Persisted`. Where it `forbids` and cannot be written, the fact before it
    /// permits what is forbidden now: it is then to be removed. `ticket` comes back in the answer.
    #[allow(missing_docs, reason = "its fields are told of above")]
    Persist { ticket: Ticket, fact: Fact, forbids: bool },
    /// Lay a prohibition that is not durable yet where the next start of the process finds it, without the disk.
    RaiseTombstone(Fact),
    /// It is durable, or not in force any more.
    LiftTombstone(Fact),
    /// Send the PUBACK.
    Ack(AckToken),
    /// Send a report to the broker.
    Publish(Report),
    /// Send this segment to the store under this time.
    /// `time` and `clock` form its key; `share` is its part of the bandwidth.
    #[allow(missing_docs, reason = "its fields are told of above")]
    Upload { segment: Segment, time: Utc, clock: KeyClock, share: Share },
    /// Break off this upload; nothing answers.
    /// `serial` is the file's number in the spool.
    #[allow(missing_docs, reason = "its fields are told of above")]
    CancelUpload { serial: Serial },
    /// Remove a file from the spool.
    /// `serial` is the file's number, `why` the rule that lets it go.
    #[allow(missing_docs, reason = "its fields are told of above")]
    Forget { serial: Serial, why: Rule },
    /// Remove the oldest file of the quarantine, or, where that is empty, of those that are set aside; answered by
    /// `Input::AsideEvicted`.
    EvictAside,
    /// Keep of a segment only the whole fragments that end within so much of its first picture; answered by
    /// `Input::Cut`.
    #[allow(missing_docs, reason = "its fields are told of above")]
    CutBack { serial: Serial, keep: Duration },
    /// Give the end of a span this record, since footage before it has gone; answered by `Input::Cut`.
    #[allow(missing_docs, reason = "its fields are told of above")]
    MoveEnd { serial: Serial, record: Box<Record>, reason: SpanEnd },
    /// Subscribe anew, so that the broker gives what it retains again: a message was refused as from the future, and the
    /// clock has been set since.
    AskAgain,
    /// Ask the store whether it answers at all; answered by `Input::StoreAnswered`.
    AskStore,
    /// What segments opened from now on say of the plan they were captured under.
    /// `plan` is `plan.id` of the lease, `history_hours` its history in hours.
    #[allow(missing_docs, reason = "its fields are told of above")]
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
    /// Whether sound may be captured: the plan and `recording.audio` both allow it.
    pub audio: bool,
    /// Lines of the picture at most, by the plan.
    pub max_height: u32,
}

/// A fact that outlives the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The owner's choice, as it was signed: its version, and the JWS.
    #[allow(missing_docs, reason = "its fields are told of above")]
    Privacy { version: u64, jws: String },
    /// The lease, as it was signed: its version, and the JWS.
    #[allow(missing_docs, reason = "its fields are told of above")]
    Entitlement { version: u64, jws: String },
    /// `true`: the local latch is set, and the camera stays closed.
    Latch(bool),
    /// Since when the service stands still, as the camera has seen it; `None` where it goes on.
    Stopped(Option<Utc>),
    /// The latest trusted time: time never stands before it again.
    Floor(Utc),
    /// Where the times of boots lie whose clock could not be trusted: all that is decided of it.
    Offsets(Offsets),
}

/// Why a file may leave the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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
    /// `spool.when_full = "evict"`: what cannot be sent makes room, then the oldest.
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

/// What the camera made of the owner's choice, as `docs/contract.md` has it.
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
    /// The capture device: `open`, `closing` or `closed`. Closed is said only of a device of which no file is open.
    #[cfg_attr(feature = "schema", schemars(extend("enum" = ["open", "closing", "closed"])))]
    pub capture: Word,
    /// When the device came into this state.
    pub applied_at: Utc,
}

/// What the camera made of its lease, as `docs/contract.md` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct EntitlementReport {
    /// Version of the lease in force; absent while none is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// [`super::entitlement::Entitlement::text`]: how the lease stands now.
    pub state: Word,
    /// `plan.id` of the terms in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
    /// [`super::entitlement::Status::text`] of the terms in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Word>,
    /// When the lease ends, without the grace that comes on top.
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
        /// Topic that it came on.
        topic: String,
        /// [`super::input::Rejection::text`].
        reason: &'static str,
    },
    /// Footage left the spool without having been stored.
    SegmentPurged {
        /// Number of the spool file.
        serial: u64,
        /// The span that the segment belonged to.
        span: String,
        /// Its place in the span, from 0.
        n: u64,
        /// UTC of the first sample, as recorded.
        start: Utc,
        /// It was no footage, but told when its span ended.
        is_end: bool,
        /// The rule that let it go.
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
        /// How much is left of it from its first sample on, in milliseconds.
        kept_ms: u64,
        /// The rule that let the rest go.
        rule: Rule,
    },
    /// Footage waits that was captured while nobody could tell the camera of a choice.
    Unheard,
    /// It waits no more.
    UnheardOver {
        /// `choice`: it has been heard. `hold`: the store answered all the time, and `privacy.unheard_hold` is over.
        by: &'static str,
    },
    /// Files of the spool are left where they are, unsent, until the cause is mended.
    SetAside {
        /// [`super::aside::Aside::text`].
        why: &'static str,
        /// How many more than before.
        files: u64,
        /// The name of one of them.
        name: String,
    },
    /// A file that was set aside or in quarantine made room.
    AsidePurged {
        /// The name that it had in the spool.
        name: String,
        /// [`super::aside::Aside::text`], or `damaged` where it was in quarantine.
        why: &'static str,
        /// Its size.
        bytes: u64,
        /// The rule that let it go.
        rule: Rule,
    },
    /// A file of the spool is damaged and was moved into the quarantine.
    Quarantined {
        /// Name of the file in the spool.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// A capture run ended unasked.
    CaptureFailed {
        /// Stable, for scripts.
        kind: FaultKind,
        /// For people: the element or device, and what to do.
        message: String,
    },
    /// Audio is wanted and is not being stored; the pictures go on.
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
        /// No room (ENOSPC, EDQUOT), as against a fault.
        full: bool,
        /// The error of the operating system.
        why: String,
    },
    /// The spool can be written again.
    StorageRecovered,
    /// The disk keeps the spool waiting. What is captured meanwhile is held up to a bound; what finds no room then is
    /// not recorded, and its span ends with the reason `storage`.
    StorageStalled,
    /// The disk answers again.
    StorageResumed {
        /// How long the spool waited for it, in whole seconds.
        stalled_s: u64,
    },
    /// The store refuses this segment; others go on. Told once a segment.
    UploadRefused {
        /// Number of the spool file.
        serial: u64,
        /// The store's own reason.
        why: String,
    },
    /// Every upload waits.
    UploadStalled {
        /// The last failure; holds no URL and no secret.
        why: String,
    },
    /// A segment was stored after `upload_stalled`.
    UploadResumed,
    /// The store ignores `If-None-Match`: an object may be replaced by another of the same key. Told once a start.
    StoreReplaces,
    /// The broker does not take a message, and it is not sent again for now.
    MessageSetAside {
        /// The topic of the message.
        topic: String,
        /// What the broker does instead.
        why: String,
    },
    /// The shutter or button of `privacy.latch` cannot be read; it is tried again.
    LatchFailed {
        /// What is wrong with it.
        why: String,
    },
    /// A state file could not be written; it is tried again.
    PersistFailed {
        /// The error of the operating system.
        why: String,
    },
}

/// Figures and counters since the start of the process, unless a unit says otherwise.
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
    /// Events that never reached the broker: for want of room, or since it does not take them; filled in by whoever
    /// performs the report.
    pub dropped_events: u64,
    /// What the household has in its hands and before its eyes.
    pub household: HouseholdFigures,
    /// Peak resident set, in KiB (`getrusage`); filled in by whoever performs the report.
    pub peak_rss_kib: u64,
    /// Whole days until the device's certificate ends, 0 once it has; absent where it cannot be read. Filled in likewise.
    pub certificate_days_left: Option<u64>,
    /// Where the privacy journal stands; filled in likewise.
    pub journal: JournalFigures,
}

/// The `household` part of the telemetry: what is wrong with the light and the latch of the camera.
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

/// Whoever has heard these can tell later whether the end of the journal was cut off or written anew.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
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

/// The `capture` part of the telemetry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CaptureFigures {
    /// The capture devices are open.
    pub open: bool,
    /// Why capture is on or off: [`super::policy::Reason::text`].
    pub reason: Word,
    /// Capture runs begun.
    pub starts: u64,
    /// Capture runs that ended unasked.
    pub faults: u64,
    /// Coded pictures handed over by the capture pipeline.
    pub frames_captured: u64,
    /// Coded pictures written to the spool.
    pub frames_committed: u64,
    /// Coded pictures that were dropped, at a privacy switch or for want of a permit.
    pub frames_dropped: u64,
    /// Places in the stream of the source at which frames were missing, told by the times of those that came.
    pub holes: u64,
    /// About so many frames were missing there.
    pub frames_missing: u64,
    /// Sound is to be captured where there is a microphone: the plan and `recording.audio` both allow it.
    pub audio_wanted: bool,
    /// The footage that was sealed last has sound; absent before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio: Option<bool>,
    /// Why nothing is captured although it is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<String>,
    /// Why there is no sound although it is wanted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_fault: Option<String>,
}

/// The `spool` part of the telemetry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SpoolFigures {
    /// [`super::storage::Storage::text`].
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
    /// Not all files are known yet since the start: there is more of everything.
    pub scanning: bool,
    /// Why it cannot be written, while it cannot.
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
    /// Segments that wait since they were captured while nobody could tell the camera of a choice.
    pub unheard: u64,
    /// Uploads under way now.
    pub in_flight: u64,
    /// Segments of which the store proved that it holds them.
    pub stored: u64,
    /// Bytes of those.
    pub stored_bytes: u64,
    /// Attempts that failed and are made again.
    pub retries: u64,
    /// Seconds since the oldest footage that waits was captured; absent where none waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest_pending_s: Option<u64>,
    /// Why uploads wait for the store; absent while they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stalled: Option<String>,
    /// From the end of capture of the last stored segment to its proof of storage, in milliseconds.
    pub last_latency_ms: u64,
}
