//! Segments, their names in the spool and their keys in the cloud.
//!
//! The key form is that of the ONVIF Recording Control Service Specification 26.06, Annex B:
//! `lead "/" time "." counter "." extension`.

use super::fragment::{SpanEnd, Timing};
use super::time::{Clock, Mono, Utc};
use std::fmt;

/// The number of a spool file. Grows across boots and never repeats, so that name order is age order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial(pub u64);

/// The highest serial of a spool file: names have ten digits. At one file per second, this is enough for
/// three centuries.
pub const MAX_SERIAL: Serial = Serial(9_999_999_999);

impl Serial {
    /// The number after this one; stays at the maximum.
    #[must_use]
    pub fn next(self) -> Serial {
        Serial(self.0.saturating_add(1))
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:010}", self.0)
    }
}

/// The kind of a spool file, given by its extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpoolKind {
    /// `.open`: a segment that is still growing, or that a power cut left behind.
    Open,
    /// `.mp4`: a sealed segment.
    Sealed,
    /// `.end`: the end of a span.
    End,
}

/// A file name in the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpoolName {
    /// Number of the file, ten digits in the name; at most [`MAX_SERIAL`].
    pub serial: Serial,
    /// From the extension.
    pub kind: SpoolKind,
}

impl SpoolName {
    /// Reads a name of the form `0000000042.mp4`; `None` for every other name.
    #[must_use]
    pub fn parse(name: &str) -> Option<SpoolName> {
        let (digits, extension) = name.split_once('.')?;
        if digits.len() != 10 || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let kind = match extension {
            "open" => SpoolKind::Open,
            "mp4" => SpoolKind::Sealed,
            "end" => SpoolKind::End,
            _ => return None,
        };
        Some(SpoolName { serial: Serial(digits.parse().ok()?), kind })
    }
}

impl fmt::Display for SpoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extension = match self.kind {
            SpoolKind::Open => "open",
            SpoolKind::Sealed => "mp4",
            SpoolKind::End => "end",
        };
        write!(f, "{}.{extension}", self.serial)
    }
}

/// What the cloud needs to know of a segment. It is stored inside the file, in a `uuid` box behind the
/// `moov`, so there is no index whose loss would lose footage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The device that captured it: footage in a spool moved to another camera is not uploaded as that
    /// camera's.
    pub device: String,
    /// The span that it belongs to.
    pub span: String,
    /// 0 for the first segment of the span, then one more for each.
    pub n: u64,
    /// `/proc/sys/kernel/random/boot_id` while it was captured.
    pub boot: String,
    /// `CLOCK_MONOTONIC` of the first sample, in nanoseconds.
    pub start_mono: u64,
    /// UTC of the first sample by the system clock at capture, in whole microseconds.
    pub start_utc: Utc,
    /// How far that clock was believed.
    pub clock: RecordClock,
    /// `plan.id` of the lease under which it was captured.
    pub plan: String,
    /// `features.history_hours` of that lease.
    pub history_hours: u32,
    /// `recording.durability` was `segment`: nothing of the file was synced before it was sealed.
    pub late_sync: bool,
    /// How the times of its first chunk were come by.
    pub timing: Timing,
}

/// [`Clock`] as written into a [`Record`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordClock {
    /// The clock was synchronised.
    Trusted,
    /// Not synchronised, but not before the floor.
    Plausible,
    /// Before the floor: `start_utc` means nothing.
    Unset,
}

impl From<Clock> for RecordClock {
    fn from(clock: Clock) -> RecordClock {
        match clock {
            Clock::Trusted => RecordClock::Trusted,
            Clock::Plausible => RecordClock::Plausible,
            Clock::Unset => RecordClock::Unset,
        }
    }
}

/// A sealed file of the spool: footage, or the end of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its number in the spool: its age and its name.
    pub serial: Serial,
    /// What the file contains.
    pub content: Content,
    /// The record in the file.
    pub record: Record,
    /// Size of the file, in bytes.
    pub bytes: u64,
}

/// What a sealed file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// Video (and audio).
    Footage {
        /// From the first sample to the end of the last one, in nanoseconds.
        duration: u64,
        /// RFC 6381 codec names.
        codecs: String,
    },
    /// The span ended, at the time `record.start_utc` says, with counter `record.n`.
    End {
        /// Goes into the `mp4_end` object.
        reason: SpanEnd,
    },
}

impl Segment {
    /// Whether it is the end of a span, which has no footage.
    #[must_use]
    pub fn is_end(&self) -> bool {
        match self.content {
            Content::End { .. } => true,
            Content::Footage { .. } => false,
        }
    }
    /// `CLOCK_MONOTONIC` of the first sample; compares only within the boot `record.boot`.
    #[must_use]
    pub fn start_mono(&self) -> Mono {
        Mono(self.record.start_mono)
    }
}

/// How the time in a key was determined; its text is the object's metadata `clock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyClock {
    /// The clock was synchronised at capture.
    Trusted,
    /// The clock was not synchronised, or never known: the time may be wrong.
    Plausible,
    /// Computed from the monotonic clock, with a clock that was synchronised later in the same boot.
    Corrected,
}

impl KeyClock {
    /// The text of the metadata `clock`.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            KeyClock::Trusted => "trusted",
            KeyClock::Plausible => "plausible",
            KeyClock::Corrected => "corrected",
        }
    }
}

/// What is the same in every object key of a camera.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyForm {
    /// Before the device id: empty, or ends with `/`.
    pub prefix: String,
    /// The device id.
    pub device: String,
    /// After the date: empty, or folders without a slash at either end.
    pub postfix: String,
}

impl KeyForm {
    /// The object key: `{prefix}{device_id}/YYYY-MM-DD[/{postfix}]/HH/MM-SS.ffffffZ.{n}.mp4`.
    #[must_use]
    pub fn key(&self, time: Utc, n: u64, is_end: bool) -> String {
        let c = time.civil();
        let KeyForm { prefix, device, postfix } = self;
        let slash = if postfix.is_empty() { "" } else { "/" };
        let extension = if is_end { "mp4_end" } else { "mp4" };
        format!(
            "{prefix}{device}/{:04}-{:02}-{:02}{slash}{postfix}/{:02}/{:02}-{:02}.{:06}Z.{n}.{extension}",
            c.year, c.month, c.day, c.hour, c.minute, c.second, c.micros
        )
    }
}

/// A key without a postfix, see [`KeyForm::key`].
#[must_use]
pub fn object_key(prefix: &str, device: &str, time: Utc, n: u64, is_end: bool) -> String {
    KeyForm { prefix: prefix.to_owned(), device: device.to_owned(), postfix: String::new() }
        .key(time, n, is_end)
}
