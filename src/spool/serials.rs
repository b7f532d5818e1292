//! Serials: numbers that grow across boots and never repeat.
//!
//! A fact contains a number below which all may have been used. It is increased, a thousand at a time,
//! *before* a number above it is used; a power cut wastes the reserved numbers and repeats none.

use crate::disk::StoredFacts;
use crate::disk::facts::Name;
use crate::domain::privacy::Recalled;
use crate::domain::segment::{MAX_SERIAL, Serial};
use crate::domain::time::Utc;
use std::io;

const RESERVED_AT_ONCE: u64 = 1_000;
/// How far to jump if it is unknown which numbers were used.
const JUMP: u64 = 1_000_000;
/// A name with a higher number does not move the counter: it would use up all numbers.
pub(super) const MAX_SEEN: Serial = Serial(MAX_SERIAL.0 / 10 * 9);

pub(super) struct Serials {
    facts: StoredFacts,
    next: u64,
    /// The first number that is not reserved.
    reserved: u64,
}

impl Serials {
    /// `highest` finds the highest serial in the spool that is at most [`MAX_SEEN`].
    ///
    /// If the fact cannot be read, or is missing beside footage, the counter continues far above any serial
    /// in the spool, and at least from the number of seconds since 1970: fewer than one number a second is
    /// used, so if the clock is right, even an empty spool and a lost fact repeat nothing.
    ///
    /// # Errors
    /// Those of `highest`.
    pub(super) fn new(
        facts: StoredFacts,
        highest: impl FnOnce() -> io::Result<Option<Serial>>,
        system: Utc,
    ) -> io::Result<Serials> {
        let known = match facts.load(Name::Serial) {
            Recalled::Is(body) => match body.parse::<u64>() {
                Ok(reserved) if reserved <= MAX_SERIAL.0 => Recalled::Is(reserved),
                Ok(_) | Err(_) => Recalled::Unreadable,
            },
            Recalled::Missing => Recalled::Missing,
            Recalled::Unreadable => Recalled::Unreadable,
        };
        let next = match known {
            Recalled::Is(reserved) => reserved,
            Recalled::Missing | Recalled::Unreadable => {
                let highest = highest()?;
                let seconds = u64::try_from(system.0 / 1_000_000_000).unwrap_or(0);
                match (known, highest) {
                    (Recalled::Missing, None) => 1,
                    (_, highest) => (highest.map_or(1, |highest| highest.0 + 1) + JUMP).max(seconds),
                }
            }
        };
        Ok(Serials { facts, next, reserved: next })
    }

    /// The next one.
    ///
    /// # Errors
    /// The reservation could not be made durable, so no number may be used. Or none is left.
    pub(super) fn next(&mut self) -> io::Result<Serial> {
        if self.next > MAX_SERIAL.0 {
            return Err(io::Error::other("every number of a spool file has been used"));
        }
        if self.next >= self.reserved {
            let reserved = self.next.saturating_add(RESERVED_AT_ONCE);
            self.facts.store(Name::Serial, &reserved.to_string())?;
            self.reserved = reserved;
        }
        let serial = Serial(self.next);
        self.next = self.next.saturating_add(1);
        Ok(serial)
    }

    /// A file with this serial exists.
    pub(super) fn seen(&mut self, serial: Serial) {
        if serial.0 >= self.next && serial <= MAX_SEEN {
            self.next = serial.0 + 1;
        }
    }
}
