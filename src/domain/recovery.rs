//! What to do with the files that a start finds in the spool.
//!
//! Pure: [`plan`] gets the names and what could be read of each file, and returns the repairs.

use super::aside::Aside;
use super::fragment::SpanEnd;
use super::segment::{Content, Record, Segment, Serial, SpoolKind, SpoolName};
use super::time::Mono;
use std::collections::BTreeMap;
use std::time::Duration;

/// A file whose name is a name of the spool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Tells serial and kind.
    pub name: SpoolName,
    /// Size of the file.
    pub bytes: u64,
    /// What was read of its content.
    pub read: Read,
}

/// What could be read of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Read {
    /// It begins as a segment file, whole or not.
    Footage(Footage),
    /// The end of a span.
    End {
        /// The record of the end itself: its time and counter.
        record: Record,
        /// Why the span ended.
        reason: SpanEnd,
    },
    /// It cannot be read as it is, but nothing says that it is damaged.
    Aside(Aside),
    /// It is damaged: how, and where.
    Unreadable(String),
}

/// A segment file, as far as it is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Footage {
    /// The record from the file's `uuid` box (ISO/IEC 14496-12, 11.1).
    pub record: Record,
    /// RFC 6381 codec names.
    pub codecs: String,
    /// The file is whole from `ftyp` to `mfra`.
    pub complete: bool,
    /// What may be kept of it; `None` where no fragment is whole.
    pub whole: Option<Whole>,
}

/// The whole fragments of a segment file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Offset of the first byte after the last of them.
    pub end: u64,
    /// Duration in nanoseconds.
    pub duration: u64,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// It is as it should be.
    Keep(Segment),
    /// Nothing of it was ever committed.
    Remove {
        /// The file.
        name: SpoolName,
    },
    /// Cut the file back to `whole.end`, add the `mfra`, and seal it.
    Seal {
        /// The file.
        name: SpoolName,
        /// What was read of it.
        footage: Footage,
        /// What is kept of it.
        whole: Whole,
    },
    /// It is whole, but another file has its number: give it a number of its own, and look at it again.
    Renumber {
        /// The file.
        name: SpoolName,
    },
    /// Leave it where it is, and count it.
    SetAside {
        /// The file.
        name: SpoolName,
        /// Its size.
        bytes: u64,
        /// Goes into the `set_aside` event.
        why: Aside,
    },
    /// It is proved to be damaged: move it into the quarantine.
    Quarantine {
        /// The file.
        name: SpoolName,
        /// Goes into the `quarantined` event.
        why: String,
    },
}

/// Plans the repairs in the order of the serials; files that others need out of the way come first.
///
/// `device` is this camera: footage of another camera must not be uploaded as footage of this one.
#[must_use]
pub fn plan(found: &[Found], device: &str) -> Vec<Repair> {
    let mut sorted: Vec<&Found> = found.iter().collect();
    sorted.sort_by_key(|found| found.name);
    let mut best: BTreeMap<Serial, &Found> = BTreeMap::new();
    for found in &sorted {
        if best.get(&found.name.serial).is_none_or(|other| rank(found, device) > rank(other, device)) {
            best.insert(found.name.serial, found);
        }
    }
    let (winners, losers): (Vec<&Found>, Vec<&Found>) = sorted
        .into_iter()
        .partition(|found| best.get(&found.name.serial).is_some_and(|best| best.name == found.name));
    let twins = losers.into_iter().map(|found| twin(found, best.get(&found.name.serial).copied(), device));
    twins.chain(winners.into_iter().map(|found| repair(found, device))).collect()
}

/// What happens to a file whose number another file has. Nothing says that it is damaged, unless it is a copy
/// of the other: then it holds nothing that the other does not.
fn twin(found: &Found, best: Option<&Found>, device: &str) -> Repair {
    let name = found.name;
    let is_copy = match (record(&found.read), best.and_then(|best| record(&best.read))) {
        (Some(record), Some(other)) => {
            (&record.device, &record.span, record.n) == (&other.device, &other.span, other.n)
        }
        (None, _) | (_, None) => false,
    };
    match &found.read {
        Read::Aside(why) => Repair::SetAside { name, bytes: found.bytes, why: *why },
        Read::Footage(_) | Read::End { .. } if !is_copy => {
            let foreign = record(&found.read).is_some_and(|record| record.device != device);
            match foreign {
                true => Repair::SetAside { name, bytes: found.bytes, why: Aside::Device },
                false => Repair::Renumber { name },
            }
        }
        Read::Footage(_) | Read::End { .. } | Read::Unreadable(_) => {
            Repair::Quarantine { name, why: "another file has the same serial".to_owned() }
        }
    }
}

fn record(read: &Read) -> Option<&Record> {
    match read {
        Read::Footage(footage) => Some(&footage.record),
        Read::End { record, .. } => Some(record),
        Read::Aside(_) | Read::Unreadable(_) => None,
    }
}

/// The record of the end of a span whose last segment has this record and duration (nanoseconds).
///
/// Every member is named, so that the compiler asks what a new one means at the end of a span.
#[must_use]
pub fn end_of(last: &Record, duration: u64) -> Record {
    let Record {
        device,
        span,
        n,
        boot,
        start_mono,
        start_utc,
        clock,
        plan,
        history_hours,
        late_sync,
        timing,
    } = last;
    Record {
        // It follows the last segment, and begins where that ends.
        n: n.saturating_add(1),
        start_mono: start_mono.saturating_add(duration),
        start_utc: (*start_utc + Duration::from_nanos(duration)).floor_micros(),
        // The same camera, boot and span.
        device: device.clone(),
        span: span.clone(),
        boot: boot.clone(),
        // Its time is counted on from that of the last segment, and is worth as much.
        clock: *clock,
        timing: *timing,
        // It is kept and uploaded under the same lease as the footage before it.
        plan: plan.clone(),
        history_hours: *history_hours,
        late_sync: *late_sync,
    }
}

/// The duration of a span's last segment in nanoseconds, if it was expected to end `duration` after `start`. Its
/// last frame, of `frame` nanoseconds, was shown until the device was closed, and no longer. A time further ahead
/// does not come from a device, but from a file that is read faster than it plays.
#[must_use]
pub fn until_closed(start: Mono, duration: u64, frame: u64, closed: Mono) -> u64 {
    let over = start.0.saturating_add(duration).saturating_sub(closed.0);
    if over <= frame { duration.saturating_sub(over) } else { duration }
}

fn repair(found: &Found, device: &str) -> Repair {
    let name = found.name;
    let quarantine = |why: &str| Repair::Quarantine { name, why: why.to_owned() };
    let aside = |why| Repair::SetAside { name, bytes: found.bytes, why };
    match (&found.read, name.kind) {
        (Read::Unreadable(_), SpoolKind::Open) if found.bytes == 0 => Repair::Remove { name },
        (Read::Unreadable(why), SpoolKind::Open | SpoolKind::Sealed | SpoolKind::End) => quarantine(why),
        (Read::Aside(why), _) => aside(*why),
        (Read::Footage(footage), _) if footage.record.device != device => aside(Aside::Device),
        (Read::End { record, .. }, _) if record.device != device => aside(Aside::Device),
        (Read::Footage(_), SpoolKind::End) => quarantine("footage under the name of a span's end"),
        (Read::End { .. }, SpoolKind::Open | SpoolKind::Sealed) => {
            quarantine("a span's end under the name of footage")
        }
        (Read::End { record, reason }, SpoolKind::End) => Repair::Keep(Segment {
            serial: name.serial,
            content: Content::End { reason: *reason },
            record: record.clone(),
            bytes: found.bytes,
        }),
        (Read::Footage(footage), SpoolKind::Open | SpoolKind::Sealed) => match (footage.whole, name.kind) {
            (Some(whole), SpoolKind::Sealed) if footage.complete => Repair::Keep(Segment {
                serial: name.serial,
                content: Content::Footage { duration: whole.duration, codecs: footage.codecs.clone() },
                record: footage.record.clone(),
                bytes: found.bytes,
            }),
            (Some(whole), _) => Repair::Seal { name, footage: footage.clone(), whole },
            (None, SpoolKind::Open) => Repair::Remove { name },
            (None, SpoolKind::Sealed | SpoolKind::End) => quarantine("no fragment of it is whole"),
        },
    }
}

/// Of two files with one serial, the one with more content is kept; our own is preferred to another device's.
fn rank(found: &Found, device: &str) -> u8 {
    match &found.read {
        Read::Unreadable(_) => 0,
        Read::Aside(_) => 1,
        Read::Footage(_) | Read::End { .. } if record(&found.read).is_none_or(|of| of.device != device) => 2,
        Read::End { .. } => 3,
        Read::Footage(footage) if !footage.complete => 4,
        Read::Footage(_) => 5,
    }
}
