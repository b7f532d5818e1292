//! The figures and counters of the telemetry.

use super::aside::AsideFigures;
use super::journal::Head;
use serde::{Deserialize, Serialize};

/// A word of the contract, such as `closed`.
pub type Word = std::borrow::Cow<'static, str>;

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
    /// The largest frame height that the plan allows, in lines, while recording is permitted; the board may have fewer.
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
    /// Where camera or encoder do not do what was requested (bit rate, GOP), with both numbers.
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
