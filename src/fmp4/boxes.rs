//! Walking and building boxes (ISO/IEC 14496-12, 4.2).

use super::malformed::Malformed;

/// Big-endian reading that returns `None` at the end instead of panicking.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { rest: bytes }
    }

    pub(super) fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    /// `version` and `flags` of a full box.
    pub(super) fn full(&mut self) -> Option<(u8, u32)> {
        let word = self.u32()?;
        Some((word.to_be_bytes().first().copied()?, word & 0x00ff_ffff))
    }

    /// A 32-bit field in version 0, a 64-bit one in version 1.
    pub(super) fn sized(&mut self, version: u8) -> Option<u64> {
        if version == 0 { self.u32().map(u64::from) } else { self.u64() }
    }
}

/// One box of a sequence of boxes.
#[derive(Clone, Copy, Debug)]
pub(super) struct BoxAt<'a> {
    pub(super) kind: [u8; 4],
    /// Offset of its first byte, from the origin of the walk.
    pub(super) start: u64,
    /// Offset of the byte after its last one.
    pub(super) end: u64,
    /// The bytes after its header.
    pub(super) body: &'a [u8],
}

impl BoxAt<'_> {
    pub(super) fn is(&self, kind: &[u8; 4]) -> bool {
        self.kind == *kind
    }

    /// Offset of the body's first byte.
    pub(super) fn body_start(&self) -> u64 {
        self.end - self.body.len() as u64
    }

    pub(super) fn bad(&self, what: &str) -> Malformed {
        let kind = String::from_utf8_lossy(&self.kind).into_owned();
        Malformed { offset: self.start, what: format!("{kind}: {what}") }
    }
}

/// Walks a sequence of boxes. Stops at the end, or with an error at the first box that is not whole. A box
/// without a size of its own (`size == 0`) is refused: the camera never writes one.
pub(super) struct Walk<'a> {
    rest: &'a [u8],
    at: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(bytes: &'a [u8], at: u64) -> Walk<'a> {
        Walk { rest: bytes, at }
    }

    pub(super) fn inside(parent: &BoxAt<'a>) -> Walk<'a> {
        Walk::new(parent.body, parent.body_start())
    }

    fn step(&mut self) -> Option<BoxAt<'a>> {
        let mut cursor = Cursor::new(self.rest);
        let short = cursor.u32()?;
        let kind: [u8; 4] = cursor.take(4)?.try_into().ok()?;
        let size = if short == 1 { cursor.u64()? } else { u64::from(short) };
        let header = self.rest.len() - cursor.rest().len();
        let (whole, rest) = self.rest.split_at_checked(usize::try_from(size).ok()?)?;
        let body = whole.get(header..)?;
        let found = BoxAt { kind, start: self.at, end: self.at + size, body };
        self.rest = rest;
        self.at = found.end;
        Some(found)
    }
}

impl<'a> Iterator for Walk<'a> {
    type Item = Result<BoxAt<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let at = self.at;
        let step = self.step();
        if step.is_none() {
            self.rest = &[];
        }
        Some(step.ok_or_else(|| Malformed { offset: at, what: String::from("no whole box") }))
    }
}

/// The first child of this kind.
pub(super) fn child<'a>(parent: &BoxAt<'a>, kind: &[u8; 4]) -> Result<Option<BoxAt<'a>>, Malformed> {
    for found in Walk::inside(parent) {
        let found = found?;
        if found.is(kind) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The first child of this kind, or an error that names both.
pub(super) fn need<'a>(parent: &BoxAt<'a>, kind: &[u8; 4]) -> Result<BoxAt<'a>, Malformed> {
    child(parent, kind)?.ok_or_else(|| parent.bad(&format!("has no {}", String::from_utf8_lossy(kind))))
}

/// A box of `kind` around `body`.
pub(super) fn build(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let size = u32::try_from(body.len() + 8).unwrap_or(u32::MAX);
    let mut bytes = Vec::with_capacity(body.len() + 8);
    bytes.extend_from_slice(&size.to_be_bytes());
    bytes.extend_from_slice(kind);
    bytes.extend_from_slice(body);
    bytes
}

/// A box at the top level of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The four-character code (ISO/IEC 14496-12, 4.2).
    pub kind: [u8; 4],
    /// Its position, header included.
    pub range: std::ops::Range<usize>,
}

/// The boxes at the top level.
///
/// # Errors
/// Names the first place at which no whole box begins.
pub fn pieces(bytes: &[u8]) -> Result<Vec<Piece>, Malformed> {
    let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX);
    Walk::new(bytes, 0)
        .map(|found| found.map(|b| Piece { kind: b.kind, range: place(b.start)..place(b.end) }))
        .collect()
}
