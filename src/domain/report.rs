//! What the cloud is told of the camera: its state and its events.

use super::input::FaultKind;
use super::telemetry::{Telemetry, Word};
use super::time::Utc;
use serde::{Deserialize, Serialize};

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
