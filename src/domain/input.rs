//! Everything that the outside can tell the machine.

use super::aside::Aside;
use super::entitlement::Lease;
use super::fragment::Epoch;
use super::outcome::Outcome;
use super::privacy::{PrivacyChoice, Shutter};
use super::segment::{Segment, Serial};
use super::settings::Settings;
use super::storage::Usage;
use super::time::Mono;
use std::time::Duration;

/// Stands for a PUBLISH that waits for its PUBACK. Good for one connection; a stale one is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AckToken {
    /// The connection it came on, counted from 1 in this process.
    pub connection: u64,
    /// The delivery on that connection, counted from 1.
    pub delivery: u64,
}

/// What the machine is told. Each is handled at one moment, and answered by effects.
#[derive(Debug)]
pub enum Input {
    /// Nothing happened but time.
    Tick,

    // From the broker.
    /// The MQTT session is up: CONNACK was good (MQTT 5, 3.2) and the topics are subscribed.
    Connected,
    /// The MQTT session is gone; a new one is tried without end.
    Disconnected {
        /// What was seen, fit for a log.
        why: String,
    },
    /// A verified privacy choice; `jws` is what is kept of it.
    Privacy {
        /// The verified claims.
        choice: PrivacyChoice,
        /// The JWS in compact form (RFC 7515, 3.1).
        jws: String,
        /// The broker had retained it and gives it to whoever subscribes: it is the newest that there is.
        retained: bool,
        /// To be acknowledged once the choice is durable.
        ack: AckToken,
    },
    /// A verified lease; `jws` is what is kept of it.
    Entitlement {
        /// The verified claims.
        lease: Lease,
        /// The JWS in compact form (RFC 7515, 3.1).
        jws: String,
        /// As that of a choice.
        retained: bool,
        /// To be acknowledged once the lease is durable.
        ack: AckToken,
    },
    /// A message that was not accepted. Changes no state.
    Rejected {
        /// Topic that it came on.
        topic: String,
        /// The first check that it failed.
        reason: Rejection,
        /// For the PUBACK (MQTT 5, 3.4), where there is one to send.
        ack: Option<AckToken>,
    },

    /// Keys were withdrawn, under which the owner's choice (`privacy`) or the lease (`entitlement`) was accepted.
    Disbelieved {
        /// The choice in force, or one that is coming.
        privacy: bool,
        /// The lease in force, or one that is coming.
        entitlement: bool,
    },

    // From the device itself.
    /// The local latch was set or lifted by command.
    Latch {
        /// `true` sets the latch, `false` lifts it.
        closed: bool,
    },
    /// The button of the local latch was pressed.
    LatchPressed,
    /// The input device of the latch was opened (`None`), or cannot be.
    LatchDevice {
        /// What is wrong with it, fit for a log.
        fault: Option<String>,
    },
    /// The shutter was moved, or can be read no more.
    Shutter(Shutter),
    /// A state file was written, or not.
    Persisted {
        /// That of the `Effect::Persist`.
        ticket: Ticket,
        /// The error's text is fit for a log.
        result: Result<(), String>,
    },

    /// The answer to `Effect::Light`.
    LightSet {
        /// That of the effect.
        ticket: Ticket,
        /// The error's text is fit for a log.
        result: Result<(), String>,
    },

    // From capture.
    /// The pipeline of this run reached PLAYING: its devices are open.
    CaptureStarted {
        /// That of the permit.
        epoch: Epoch,
    },
    /// The devices of this run are closed. Comes exactly once a start, whatever happened.
    CaptureClosed {
        /// That of the permit.
        epoch: Epoch,
        /// When the pipeline reached NULL.
        at: Mono,
        /// Absent where the stop was asked for.
        fault: Option<Fault>,
    },

    /// A run goes on, but nothing of it can be kept for now, or it can again.
    CaptureTrouble {
        /// The run's.
        epoch: Epoch,
        /// What it lacks; absent once it does not.
        why: Option<String>,
    },
    /// How audio stands in a run that goes on.
    CaptureAudio {
        /// The run's.
        epoch: Epoch,
        /// Board, plan and configuration ask for audio.
        wanted: bool,
        /// It is being stored.
        actual: bool,
        /// Why not, where it is wanted and is not.
        why: Option<String>,
    },
    /// Frames were missing in what came from the source of a run that goes on.
    CaptureHoles {
        /// Places at which some were missing, since this was told last.
        holes: u64,
        /// About so many frames.
        frames: u64,
    },
    /// The devices of this run do not close within the time that they have for it. `CaptureClosed` may still come.
    CaptureStuck {
        /// The run's.
        epoch: Epoch,
    },

    // From the spool.
    /// Coded pictures that reached the spool thread under a live epoch.
    Arrived {
        /// How many.
        frames: u32,
    },
    /// A fragment was written, and made durable as `recording.durability` asks.
    Committed {
        /// Coded pictures in the fragment.
        frames: u32,
        /// Its size on flash.
        bytes: u64,
    },
    /// Coded pictures that were not kept.
    Dropped {
        /// The permit under which they came.
        epoch: Epoch,
        /// How many.
        frames: u32,
    },
    /// A file is sealed and durable.
    Sealed(Segment),
    /// Files were found that were sealed before this process began, or left behind and sealed since.
    Found(Vec<Segment>),
    /// A file is gone from the spool.
    Forgotten {
        /// Its number, which is not used again.
        serial: Serial,
    },
    /// A file was cut back, or an end moved: what is left of it.
    Cut {
        /// The file's number, which stays.
        serial: Serial,
        /// The segment as it now lies there; `None` where no whole fragment is left and the file is to be forgotten.
        left: Option<Segment>,
    },
    /// Files were found that are to stay where they are, unsent.
    SetAside {
        /// Why.
        why: Aside,
        /// How many more than before.
        files: u64,
        /// The name of one of them.
        name: String,
    },
    /// The answer to `Effect::EvictAside`: the file that went, or nothing where none could.
    AsideEvicted(Option<AsideFile>),
    /// A file was moved into the quarantine because it is damaged.
    Quarantined {
        /// The name that it had in the spool.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// The spool and its file system were measured.
    Usage(Usage),
    /// The thread of the spool waits for the disk, and has for a while.
    StorageStalled,
    /// It turns again; it has waited for so long.
    StorageResumed(Duration),
    /// The spool could not be written. `full` tells ENOSPC and EDQUOT from all else.
    StorageFailed {
        /// No room, as against a fault.
        full: bool,
        /// The error of the operating system.
        why: String,
    },
    /// The answer to a probe.
    StorageProbed {
        /// A file could be written and synced.
        ok: bool,
        /// It failed for want of room.
        full: bool,
        /// The file system is not there: a card was pulled.
        away: bool,
    },
    /// The answer to `Effect::FlushSpool`: all that was captured before is sealed.
    Flushed,

    // From the uploader.
    /// An attempt to store a segment has ended, well or badly.
    UploadFinished {
        /// The segment's number.
        serial: Serial,
        /// What the store's answer comes to.
        outcome: Outcome,
        /// From the start of the attempt to its end.
        took: Duration,
    },
    /// Whether the store answers, whatever it says.
    StoreAnswered(bool),
    /// The store took an object a second time that was to be refused: it ignores `If-None-Match`.
    StoreReplaces,
    /// More than half of a segment is sent.
    UploadPastHalf {
        /// Which one.
        serial: Serial,
    },

    // From whoever runs us.
    /// The configuration was read again.
    Reload(Box<Settings>),
    /// SIGTERM, SIGINT.
    Shutdown,
}

/// Pairs an [`super::effect::Effect::Persist`] or an [`super::effect::Effect::Light`] with its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// A file that was set aside or in quarantine, and made room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsideFile {
    /// The name that it had in the spool.
    pub name: String,
    /// Why it was set aside; `None` where it was in quarantine.
    pub why: Option<Aside>,
    /// Its size.
    pub bytes: u64,
}

/// Why a capture run ended unasked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Stable, for events and counters.
    pub kind: FaultKind,
    /// For people: names the element or device, and what to do.
    pub message: String,
}

/// What kind of fault; its text goes into the `capture_failed` event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A GStreamer element that the pipeline needs is not installed.
    ElementMissing,
    /// The device or file is not there, or may not be opened.
    DeviceMissing,
    /// The picture is larger than the plan allows and cannot be scaled.
    ExceedsPlan,
    /// The pipeline reported an error.
    Pipeline,
    /// No fragment came within three fragment times.
    Stalled,
    /// The source is used up: a file that does not repeat was read to its end.
    EndOfStream,
    /// The device did not close in time.
    CloseTimeout,
    /// The light of `privacy.indicator` cannot be lit: no device is opened without it.
    LightFailed,
}

/// Why a message was not accepted; its text is the `reason` of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rejection {
    /// Over 16 KiB.
    TooLarge,
    /// Not a compact JWS, not UTF-8, not the claims of the contract.
    Malformed,
    /// `alg` is not EdDSA.
    WrongAlgorithm,
    /// `typ` is not that of the topic.
    WrongType,
    /// `kid` names none of our keys.
    UnknownKey,
    /// The Ed25519 signature (RFC 8032) does not fit the bytes.
    BadSignature,
    /// `device_id` is another camera's.
    WrongDevice,
    /// The version is lower than one already seen.
    StaleVersion,
    /// The same version with other content.
    ConflictingVersion,
    /// A permission whose `issued_at` lies more than a day ahead of a clock that can be trusted.
    IssuedAhead,
    /// A topic that was never subscribed to.
    UnknownTopic,
}

impl Rejection {
    /// The stable text of the `rejected` event's `reason`.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Rejection::TooLarge => "too_large",
            Rejection::Malformed => "malformed",
            Rejection::WrongAlgorithm => "wrong_algorithm",
            Rejection::WrongType => "wrong_type",
            Rejection::UnknownKey => "unknown_key",
            Rejection::BadSignature => "bad_signature",
            Rejection::WrongDevice => "wrong_device",
            Rejection::StaleVersion => "stale_version",
            Rejection::ConflictingVersion => "conflicting_version",
            Rejection::IssuedAhead => "issued_ahead",
            Rejection::UnknownTopic => "unknown_topic",
        }
    }
}
