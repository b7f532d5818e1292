//! The offsets that give times to boots whose clock could not be trusted, and so form the keys of their
//! objects.
//!
//! The monotonic times of such a boot are good; its civil times are not. The offset between them is decided
//! **once per boot**, separately for what was captured with a plausible clock and with one that was not set.
//! It is durable before the first object is sent under it. So a segment and the end of a span have one key at
//! every attempt, whatever the clocks do meanwhile, a restart included, and the times of a span stay in
//! order.

use super::segment::{KeyClock, Record, RecordClock};
use super::time::Utc;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Maximum number of boots whose offsets are kept. A boot is dropped once none of its footage is left.
pub const MAX_BOOTS: usize = 256;
/// Maximum length of a boot's id in bytes. The kernel's id has 36.
const MAX_ID: usize = 64;

/// How to get the times of one boot, for what was captured with one kind of clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinned {
    /// As the plausible clock told them at the time.
    AsRecorded,
    /// The monotonic time plus this many nanoseconds, from a clock that was trusted later in the same boot.
    Corrected(i64),
    /// The same, but without a trusted clock: chosen so that the boot ended when this camera last knew that
    /// time had passed.
    Vague(i64),
}

impl Pinned {
    /// The time of the first sample, and the clock that the object names.
    #[must_use]
    pub fn time_of(self, record: &Record) -> (Utc, KeyClock) {
        let moved = |nanos: i64| Utc(as_nanos(record.start_mono).saturating_add(nanos));
        match self {
            Pinned::AsRecorded => (record.start_utc, KeyClock::Plausible),
            Pinned::Corrected(nanos) => (moved(nanos), KeyClock::Corrected),
            Pinned::Vague(nanos) => (moved(nanos), KeyClock::Plausible),
        }
    }
}

/// What was decided for each boot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offsets(BTreeMap<String, OfBoot>);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct OfBoot {
    plausible: Option<Pinned>,
    unset: Option<Pinned>,
}

impl OfBoot {
    fn each(self) -> [(RecordClock, Option<Pinned>); 2] {
        [(RecordClock::Plausible, self.plausible), (RecordClock::Unset, self.unset)]
    }
}

impl Offsets {
    /// What was decided for footage of `boot` with this kind of clock. A trusted clock needs no offset;
    /// footage with an id that is not a kernel's keeps its times.
    #[must_use]
    pub fn get(&self, boot: &str, clock: RecordClock) -> Option<Pinned> {
        if !is_id(boot) {
            return Some(Pinned::AsRecorded);
        }
        let of = self.0.get(boot)?;
        match clock {
            RecordClock::Plausible => of.plausible,
            RecordClock::Unset => of.unset,
            RecordClock::Trusted => None,
        }
    }

    /// Decides, unless that was done before. A boot has one correction, whatever its clock was at first.
    /// False if there is no room for one more boot.
    pub fn pin(&mut self, boot: &str, clock: RecordClock, pinned: Pinned) -> bool {
        if !is_id(boot) || (self.0.len() >= MAX_BOOTS && !self.0.contains_key(boot)) {
            return !is_id(boot);
        }
        let of = self.0.entry(boot.to_owned()).or_default();
        let corrected = of.each().into_iter().find_map(|(_, known)| match known {
            Some(Pinned::Corrected(_)) => known,
            Some(Pinned::AsRecorded | Pinned::Vague(_)) | None => None,
        });
        let pinned = match pinned {
            Pinned::Corrected(_) => corrected.unwrap_or(pinned),
            Pinned::AsRecorded | Pinned::Vague(_) => pinned,
        };
        match clock {
            RecordClock::Plausible => of.plausible.get_or_insert(pinned),
            RecordClock::Unset => of.unset.get_or_insert(pinned),
            RecordClock::Trusted => return true,
        };
        true
    }

    /// Drops boots that are no longer needed.
    pub fn retain(&mut self, is_needed: impl Fn(&str) -> bool) {
        self.0.retain(|boot, _| is_needed(boot));
    }

    /// The stored form: one line for each boot and clock, with how and the nanoseconds.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (boot, of) in &self.0 {
            for (clock, pinned) in of.each() {
                let clock = if clock == RecordClock::Unset { "unset" } else { "plausible" };
                let _infallible = match pinned {
                    None => Ok(()),
                    Some(Pinned::AsRecorded) => writeln!(text, "{boot} {clock} recorded 0"),
                    Some(Pinned::Corrected(nanos)) => writeln!(text, "{boot} {clock} corrected {nanos}"),
                    Some(Pinned::Vague(nanos)) => writeln!(text, "{boot} {clock} vague {nanos}"),
                };
            }
        }
        text
    }

    /// Reads [`Offsets::text`]; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Offsets> {
        let mut offsets = Offsets::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            let (boot, clock, how, nanos) = (words.next()?, words.next()?, words.next()?, words.next()?);
            let clock = match clock {
                "plausible" => RecordClock::Plausible,
                "unset" => RecordClock::Unset,
                _ => return None,
            };
            let nanos = nanos.parse().ok()?;
            let pinned = match how {
                "recorded" => Pinned::AsRecorded,
                "corrected" => Pinned::Corrected(nanos),
                "vague" => Pinned::Vague(nanos),
                _ => return None,
            };
            if words.next().is_some() || !is_id(boot) || !offsets.pin(boot, clock, pinned) {
                return None;
            }
        }
        Some(offsets)
    }
}

fn is_id(boot: &str) -> bool {
    (1..=MAX_ID).contains(&boot.len()) && boot.bytes().all(|byte| byte.is_ascii_graphic())
}

fn as_nanos(mono: u64) -> i64 {
    i64::try_from(mono).unwrap_or(i64::MAX)
}

/// The time under which a segment is sent, or `None` while none is decided. `boot` is this boot.
///
/// What a plausible clock recorded is sent as it is once its boot is over: only in that boot could it have
/// been corrected.
#[must_use]
pub fn key_time(record: &Record, boot: &str, offsets: &Offsets) -> Option<(Utc, KeyClock)> {
    if record.clock == RecordClock::Trusted {
        return Some((record.start_utc, KeyClock::Trusted));
    }
    let is_over = record.boot != boot && record.clock == RecordClock::Plausible;
    let pinned = offsets.get(&record.boot, record.clock).or(is_over.then_some(Pinned::AsRecorded))?;
    Some(pinned.time_of(record))
}
