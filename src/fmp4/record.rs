//! The `uuid` box (ISO/IEC 14496-12, 4.2) in which a segment carries its own record: JSON, whose last member is a
//! checksum of the rest. It is no part of the record itself, and what was written before there was one has none.

use super::Malformed;
use super::boxes::{BoxAt, build};
use crate::domain::segment::Record;

/// The extended type of our box, drawn once at random (RFC 9562 version 4).
const USERTYPE: [u8; 16] =
    [0x5e, 0x1d, 0x0c, 0x8a, 0x3b, 0x7f, 0x4e, 0x52, 0x9a, 0x61, 0x4b, 0x41, 0x53, 0x41, 0x43, 0x4d];

/// Longest record, in bytes of JSON.
const LONGEST: usize = 4096;

/// Before the checksum, and behind it.
const CHECK: &[u8] = b",\"check\":\"";
const CHECK_END: &[u8] = b"\"}";
/// In hexadecimal digits.
const CHECK_LENGTH: usize = 8;

/// The first 32 bits of the SHA-256 of a record as JSON, without its last brace.
fn checksum(json: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, json);
    digest.as_ref().iter().take(CHECK_LENGTH / 2).map(|byte| format!("{byte:02x}")).collect()
}

/// A record as JSON, with what was behind its last member taken off, and the checksum that stood there.
fn split(json: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, check) = json.strip_suffix(CHECK_END)?.split_last_chunk::<CHECK_LENGTH>()?;
    Some((rest.strip_suffix(CHECK)?, check))
}

/// The box that carries the record, as JSON behind the extended type.
#[must_use]
pub fn record_box(record: &Record) -> Vec<u8> {
    let mut body = USERTYPE.to_vec();
    // A record is strings and numbers: there is nothing in it that JSON cannot hold.
    let json = serde_json::to_vec(record).unwrap_or_default();
    let json = json.strip_suffix(b"}").unwrap_or(&json);
    body.extend([json, CHECK, checksum(json).as_bytes(), CHECK_END].concat());
    build(b"uuid", &body)
}

pub(super) fn read_record(found: &BoxAt<'_>) -> Result<Record, Malformed> {
    let json = found
        .body
        .strip_prefix(&USERTYPE)
        .filter(|json| found.is(b"uuid") && json.len() <= LONGEST)
        .ok_or_else(|| found.bad("stands where the record belongs"))?;
    let json = match split(json) {
        Some((rest, check)) if check == checksum(rest).as_bytes() => [rest, b"}"].concat(),
        Some(_) => return Err(found.bad("holds a record that has changed: its checksum is another one")),
        None => json.to_vec(),
    };
    serde_json::from_slice(&json).map_err(|_| found.bad("holds no record that we know"))
}
