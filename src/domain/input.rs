//! Everything that the outside can report to the machine.

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

/// Stands for a PUBLISH that waits for its PUBACK. Valid for one connection; a stale one is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AckToken {
    /// The connection it came on, counted from 1 in this process.
    pub connection: u64,
    /// The delivery on that connection, counted from 1.
    pub delivery: u64,
}

/// What the machine is told. Each input is handled at one point in time, and answered by effects.
#[derive(Debug)]
pub enum Input {
    /// Nothing happened; time has passed.
    Tick,

    // From the broker.
    /// The MQTT session is up: CONNACK was good (MQTT 5, 3.2) and the topics are subscribed.
    Connected,
    /// The MQTT session is lost; reconnecting is retried without end.
    Disconnected {
        /// The cause, fit for a log.
        why: String,
    },
    /// A verified privacy choice; `jws` is the form in which it is stored.
    Privacy {
        /// The verified claims.
        choice: PrivacyChoice,
        /// The JWS in compact form (RFC 7515, 3.1).
        jws: String,
        /// The broker had retained it and sends it to every subscriber: it is the newest choice.
        retained: bool,
        /// To be acknowledged once the choice is durable.
        ack: AckToken,
    },
    /// A verified lease; `jws` is the form in which it is stored.
    Entitlement {
        /// The verified claims.
        lease: Lease,
        /// The JWS in compact form (RFC 7515, 3.1).
        jws: String,
        /// As for a choice.
        retained: bool,
        /// To be acknowledged once the lease is durable.
        ack: AckToken,
    },
    /// A message that was not accepted. It changes no state.
    Rejected {
        /// The topic on which it came.
        topic: String,
        /// The first check that it failed.
        reason: Rejection,
        /// For the PUBACK (MQTT 5, 3.4), if there is one to send.
        ack: Option<AckToken>,
    },

    /// Keys were withdrawn under which the owner's choice (`privacy`) or the lease (`entitlement`) was
    /// accepted.
    Disbelieved {
        /// The choice in force, or one that is not in force yet.
        privacy: bool,
        /// The lease in force, or one that is not in force yet.
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
    /// The input device of the latch was opened (`None`), or cannot be opened.
    LatchDevice {
        /// What is wrong with it, fit for a log.
        fault: Option<String>,
    },
    /// The shutter was moved, or can no longer be read.
    Shutter(Shutter),
    /// A state file was written, or could not be written.
    Persisted {
        /// The ticket of the `Effect::Persist`.
        ticket: Ticket,
        /// The error's text is fit for a log.
        result: Result<(), String>,
    },

    /// The answer to `Effect::Light`.
    LightSet {
        /// The ticket of the effect.
        ticket: Ticket,
        /// The error's text is fit for a log.
        result: Result<(), String>,
    },

    // From capture.
    /// The pipeline of this run reached PLAYING: its devices are open.
    CaptureStarted {
        /// The epoch of the permit.
        epoch: Epoch,
    },
    /// The devices of this run are closed. Comes exactly once per start, whatever happened.
    CaptureClosed {
        /// The epoch of the permit.
        epoch: Epoch,
        /// When the pipeline reached NULL.
        at: Mono,
        /// Absent if the stop was requested.
        fault: Option<Fault>,
    },

    /// A run goes on, but nothing of it can be stored for now, or it can be stored again.
    CaptureTrouble {
        /// The epoch of the run.
        epoch: Epoch,
        /// What is missing; absent once nothing is.
        why: Option<String>,
    },
    /// The state of audio in a run that goes on.
    CaptureAudio {
        /// The epoch of the run.
        epoch: Epoch,
        /// Board, plan and configuration ask for audio.
        wanted: bool,
        /// It is being stored.
        actual: bool,
        /// Why it is not stored, if it is wanted.
        why: Option<String>,
    },
    /// The devices of a run that began do other than they were told.
    CaptureDiffers {
        /// The run's.
        epoch: Epoch,
        /// What they do otherwise, with both numbers.
        what: String,
    },
    /// Frames were missing in what came from the source of a run that goes on.
    CaptureHoles {
        /// Places at which frames were missing, since the last report.
        holes: u64,
        /// Approximate number of missing frames.
        frames: u64,
    },
    /// The devices of this run did not close before their timeout. `CaptureClosed` may still come.
    CaptureStuck {
        /// The epoch of the run.
        epoch: Epoch,
    },

    // From the spool.
    /// Frames that reached the spool thread under a live epoch.
    Arrived {
        /// How many.
        frames: u32,
    },
    /// A fragment was written, and made durable as `recording.durability` asks.
    Committed {
        /// Frames in the fragment.
        frames: u32,
        /// Its size on flash.
        bytes: u64,
    },
    /// Frames that were not kept.
    Dropped {
        /// The permit under which they came.
        epoch: Epoch,
        /// How many.
        frames: u32,
    },
    /// A file is sealed and durable.
    Sealed(Segment),
    /// Files were found that were sealed before this process began, or that were left open and have been
    /// sealed since.
    Found(Vec<Segment>),
    /// A file was removed from the spool.
    Forgotten {
        /// Its number, which is not used again.
        serial: Serial,
    },
    /// The spool has cut a file back, or moved an end: what is left of it.
    Cut {
        /// The file's number, which does not change.
        serial: Serial,
        /// The segment as it is now; `None` if no whole fragment is left and the file is to be removed.
        left: Option<Segment>,
    },
    /// Files were found that stay where they are, unsent.
    SetAside {
        /// Why.
        why: Aside,
        /// How many more than before.
        files: u64,
        /// The name of one of them.
        name: String,
    },
    /// The answer to `Effect::EvictAside`: the file that was removed, or `None` if none could be.
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
    /// The spool thread has been waiting for the disk for a while.
    StorageStalled,
    /// The spool thread runs again; it waited for this long.
    StorageResumed(Duration),
    /// The spool could not be written. `full` distinguishes ENOSPC and EDQUOT from all other errors.
    StorageFailed {
        /// No room; `false` for any other error.
        full: bool,
        /// The error of the operating system.
        why: String,
    },
    /// The answer to a probe.
    StorageProbed {
        /// A file could be written and synced.
        ok: bool,
        /// It failed because there was no room.
        full: bool,
        /// The file system is not there: a card was removed.
        away: bool,
    },
    /// The answer to `Effect::FlushSpool`: all that was captured before is sealed.
    Flushed,

    // From the uploader.
    /// An attempt to store a segment has ended, with or without success.
    UploadFinished {
        /// The segment's number.
        serial: Serial,
        /// What the store's answer means.
        outcome: Outcome,
        /// From the start of the attempt to its end.
        took: Duration,
    },
    /// Whether the store answers, whatever the answer is.
    StoreAnswered(bool),
    /// The store accepted an object a second time that it had to refuse: it ignores `If-None-Match`.
    StoreReplaces,
    /// More than half of a segment is sent.
    UploadPastHalf {
        /// The segment's number.
        serial: Serial,
    },

    // From the operator.
    /// The configuration was read again.
    Reload(Box<Settings>),
    /// SIGTERM, SIGINT.
    Shutdown,
}

/// Pairs an [`super::effect::Effect::Persist`] or an [`super::effect::Effect::Light`] with its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// A file that was set aside or in quarantine, and was removed to make room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsideFile {
    /// The name that it had in the spool.
    pub name: String,
    /// Why it was set aside; `None` if it was in quarantine.
    pub why: Option<Aside>,
    /// Its size.
    pub bytes: u64,
}

/// Why a capture run ended by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Stable, for events and counters.
    pub kind: FaultKind,
    /// For people: names the element or device, and what to do.
    pub message: String,
}

/// The kind of fault; its text goes into the `capture_failed` event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A GStreamer element that the pipeline needs is not installed.
    ElementMissing,
    /// The device or file does not exist, or may not be opened.
    DeviceMissing,
    /// The frame is larger than the plan allows and cannot be scaled.
    ExceedsPlan,
    /// The source gives frames of another codec than the board says.
    WrongCodec,
    /// The pipeline reported an error.
    Pipeline,
    /// No fragment came for three fragment times.
    Stalled,
    /// The source has ended: a file that does not repeat was read to its end.
    EndOfStream,
    /// The device did not close before its timeout.
    CloseTimeout,
    /// A camera on the network wants another user and password than it was shown.
    CredentialsRefused,
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
    /// `kid` names none of the camera's keys.
    UnknownKey,
    /// The Ed25519 signature (RFC 8032) does not fit the bytes.
    BadSignature,
    /// `device_id` is that of another camera.
    WrongDevice,
    /// The version is lower than one that was already seen.
    StaleVersion,
    /// The same version with other content.
    ConflictingVersion,
    /// A permission whose `issued_at` is more than a day ahead of a trusted clock.
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
