//! Serials: numbers that grow across boots and never repeat.
//!
//! A fact says below which number all may have been used. It is moved on, a thousand at a time,
//! *before* a number behind it is given out; a cut wastes what was reserved and repeats nothing.

use crate::disk::Facts;
use crate::disk::facts::Name;
use crate::domain::privacy::Known;
use crate::domain::segment::{MAX_SERIAL, Serial};
use crate::domain::time::Utc;
use std::io;

const RESERVED_AT_ONCE: u64 = 1_000;
/// How far to jump where it is not known what was used.
const JUMP: u64 = 1_000_000;
/// A name with a higher number moves the count nowhere: whoever put it there, it would use all numbers up.
pub(super) const MAX_SEEN: Serial = Serial(MAX_SERIAL.0 / 10 * 9);

pub(super) struct Serials {
    facts: Facts,
    next: u64,
    /// Behind the last number that may be given out.
    reserved: u64,
}

impl Serials {
    /// `highest` looks for the highest serial in the spool, of those up to [`MAX_SEEN`].
    ///
    /// Where the fact cannot be read, or is gone from beside footage, the count goes on from far
    /// behind anything seen, and from no less than the seconds since 1970: fewer than one number a
    /// second is used, so even an empty spool and a lost fact repeat nothing where the clock is right.
    ///
    /// # Errors
    /// Those of `highest`.
    pub(super) fn new(
        facts: Facts,
        highest: impl FnOnce() -> io::Result<Option<Serial>>,
        system: Utc,
    ) -> io::Result<Serials> {
        let known = match facts.load(Name::Serial) {
            Known::Is(body) => match body.parse::<u64>() {
                Ok(reserved) if reserved <= MAX_SERIAL.0 => Known::Is(reserved),
                Ok(_) | Err(_) => Known::Unreadable,
            },
            Known::Missing => Known::Missing,
            Known::Unreadable => Known::Unreadable,
        };
        let next = match known {
            Known::Is(reserved) => reserved,
            Known::Missing | Known::Unreadable => {
                let highest = highest()?;
                let seconds = u64::try_from(system.0 / 1_000_000_000).unwrap_or(0);
                match (known, highest) {
                    (Known::Missing, None) => 1,
                    (_, highest) => (highest.map_or(1, |highest| highest.0 + 1) + JUMP).max(seconds),
                }
            }
        };
        Ok(Serials { facts, next, reserved: next })
    }

    /// The next one.
    ///
    /// # Errors
    /// The reservation could not be made durable: no number may be given out. Or none is left.
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

    /// A file with this serial was seen.
    pub(super) fn seen(&mut self, serial: Serial) {
        if serial.0 >= self.next && serial <= MAX_SEEN {
            self.next = serial.0 + 1;
        }
    }
}
