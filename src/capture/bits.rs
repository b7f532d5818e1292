//! NAL units in a buffer, and the bits in a NAL unit.

use bytes::Bytes;

/// How NAL units are stored in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// With a start code before each (Annex B of ITU-T H.264 and of ITU-T H.265).
    StartCodes,
    /// With a length before each, of this many bytes (ISO/IEC 14496-15).
    Lengths(usize),
}

/// The NAL units of a buffer, in order, without start codes, lengths and trailing zeros. An incomplete
/// one ends the list.
#[derive(Clone, Debug)]
pub struct Nals {
    rest: Bytes,
    packing: Packing,
}

impl Nals {
    /// Walks `bytes`.
    #[must_use]
    pub fn new(bytes: Bytes, packing: Packing) -> Nals {
        let rest = match packing {
            // Bytes before the first start code are no NAL unit.
            Packing::StartCodes => behind_start_code(&bytes).map_or_else(Bytes::new, |at| bytes.slice(at..)),
            Packing::Lengths(_) => bytes,
        };
        Nals { rest, packing }
    }

    fn by_start_code(&mut self) -> Option<Bytes> {
        if self.rest.is_empty() {
            return None;
        }
        let (nal, rest) = match behind_start_code(&self.rest) {
            Some(at) => (self.rest.slice(..at - 3), self.rest.slice(at..)),
            None => (self.rest.clone(), Bytes::new()),
        };
        self.rest = rest;
        Some(nal)
    }

    fn by_length(&mut self, size: usize) -> Option<Bytes> {
        let (length, behind) = self.rest.split_at_checked(size)?;
        let length = length.iter().fold(0usize, |sum, byte| (sum << 8) | usize::from(*byte));
        if length > behind.len() {
            self.rest.clear();
            return None;
        }
        let nal = self.rest.slice(size..size + length);
        self.rest = self.rest.slice(size + length..);
        Some(nal)
    }
}

impl Iterator for Nals {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        loop {
            let nal = match self.packing {
                Packing::StartCodes => self.by_start_code()?,
                Packing::Lengths(size) => self.by_length(size.clamp(1, 4))?,
            };
            // `trailing_zero_8bits` do not belong to it: a NAL unit ends with a bit of 1.
            let end = nal.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            if end > 0 {
                return Some(nal.slice(..end));
            }
        }
    }
}

/// The position after the first start code (`00 00 01`).
fn behind_start_code(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    // No start code has a byte above 1, so none begins at that byte or at the two before it.
    while let Some([first, second, third]) = bytes.get(at..at + 3) {
        match (first, second, third) {
            (0, 0, 1) => return Some(at + 3),
            (_, _, 2..) => at += 3,
            _ => at += 1,
        }
    }
    None
}

/// Removes the emulation prevention bytes from the first `most` bytes (ITU-T H.264, 7.4.1; ITU-T H.265, 7.4.2).
pub(in crate::capture) fn unescape(bytes: &[u8], most: usize) -> Vec<u8> {
    let mut plain = Vec::with_capacity(most.min(bytes.len()));
    plain.extend(unescaped(bytes.iter().take(most)));
    plain
}

/// The same for the first `MAX` bytes, without an allocation: for what is read of every frame. Returns the bytes, followed by
/// zeros, and their number.
pub(in crate::capture) fn unescape_few<const MAX: usize>(bytes: &[u8]) -> ([u8; MAX], usize) {
    let (mut plain, mut count) = ([0; MAX], 0);
    for (to, from) in plain.iter_mut().zip(unescaped(bytes.iter().take(MAX))) {
        *to = from;
        count += 1;
    }
    (plain, count)
}

fn unescaped<'a>(bytes: impl Iterator<Item = &'a u8>) -> impl Iterator<Item = u8> {
    let mut zeros = 0;
    bytes.copied().filter(move |byte| {
        let escapes = zeros >= 2 && *byte == 3;
        zeros = if *byte == 0 { zeros + 1 } else { 0 };
        !escapes
    })
}

/// Reads bits, the most significant first.
pub(in crate::capture) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    pub(in crate::capture) fn new(bytes: &'a [u8]) -> Bits<'a> {
        Bits { bytes, at: 0 }
    }

    /// Up to 32 bits.
    pub(in crate::capture) fn take(&mut self, count: u32) -> Option<u32> {
        let mut value = 0u32;
        for _ in 0..count {
            let byte = *self.bytes.get(self.at / 8)?;
            value = (value << 1) | u32::from((byte >> (7 - self.at % 8)) & 1);
            self.at += 1;
        }
        Some(value)
    }

    pub(in crate::capture) fn flag(&mut self) -> Option<bool> {
        Some(self.take(1)? == 1)
    }

    /// Exp-Golomb, unsigned (ITU-T H.264, 9.1; ITU-T H.265, 9.2).
    pub(in crate::capture) fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        let rest = self.take(zeros)?;
        (1u32 << zeros).checked_add(rest)?.checked_sub(1)
    }

    /// Exp-Golomb, signed (the same, 9.1.1 and 9.2.2).
    pub(in crate::capture) fn se(&mut self) -> Option<i64> {
        let coded = i64::from(self.ue()?);
        Some(if coded % 2 == 1 { (coded + 1) / 2 } else { -(coded / 2) })
    }
}
