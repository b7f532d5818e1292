//! Text with a header line that proves that it is whole: `kasacam-state 1 sha256=<hex>`.

use ring::digest::{SHA256, digest};
use std::fmt::Write;

/// The bytes of a file of this `kind` with this `body`.
#[must_use]
pub fn stamp(kind: &str, body: &str) -> Vec<u8> {
    format!("{}\n{body}", header(kind, body)).into_bytes()
}

/// The body, if the bytes are a file of this `kind` whose checksum is right.
#[must_use]
pub fn unstamp<'a>(kind: &str, bytes: &'a [u8]) -> Option<&'a str> {
    let (first, body) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
    (first == header(kind, body)).then_some(body)
}

/// The number in the header line of a file of this `kind`, whatever follows it. This release writes 1.
#[must_use]
pub fn stamp_version(kind: &str, bytes: &[u8]) -> Option<u32> {
    let first = bytes.get(..bytes.len().min(128))?.split(|byte| *byte == b'\n').next()?;
    let rest =
        std::str::from_utf8(first).ok()?.strip_prefix("kasacam-")?.strip_prefix(kind)?.strip_prefix(' ')?;
    rest.split_once(' ')?.0.parse().ok()
}

fn header(kind: &str, body: &str) -> String {
    let sum = digest(&SHA256, body.as_bytes());
    let mut line = format!("kasacam-{kind} 1 sha256=");
    for byte in sum.as_ref() {
        let _ = write!(line, "{byte:02x}");
    }
    line
}
