//! The `uuid` box (ISO/IEC 14496-12, 4.2) in which a segment carries its own record: JSON, whose last member
//! is a checksum of the rest. The checksum is not part of the record itself, and records from before it was
//! introduced have none.
//!
//! Every later form keeps this: the box, JSON in it, and the checksum at the end. So a release that cannot
//! read a record can distinguish a damaged one from one that a later release wrote.

use super::boxes::{BoxAt, Walk, build};
use super::malformed::Malformed;
use super::wire::{Unread, WireRecord};
use crate::domain::segment::Record;
use serde_json::{Map, Value};

/// The extended type of the camera's box, drawn once at random (RFC 9562 version 4).
const USERTYPE: [u8; 16] =
    [0x5e, 0x1d, 0x0c, 0x8a, 0x3b, 0x7f, 0x4e, 0x52, 0x9a, 0x61, 0x4b, 0x41, 0x53, 0x41, 0x43, 0x4d];

/// Maximum length of a record, in bytes of JSON.
const MAX_LENGTH: usize = 4096;

/// The text before the checksum, and after it.
const CHECK: &[u8] = b",\"check\":\"";
const CHECK_END: &[u8] = b"\"}";
/// Length in hexadecimal digits.
const CHECK_LENGTH: usize = 8;

/// The first 32 bits of the SHA-256 of a record as JSON, without its last brace.
fn checksum(json: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, json);
    digest.as_ref().iter().take(CHECK_LENGTH / 2).map(|byte| format!("{byte:02x}")).collect()
}

/// A record as JSON without its checksum, and the checksum that it carried.
fn split(json: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, check) = json.strip_suffix(CHECK_END)?.split_last_chunk::<CHECK_LENGTH>()?;
    Some((rest.strip_suffix(CHECK)?, check))
}

/// The box that carries the record, as JSON after the extended type.
#[must_use]
pub fn record_box(record: &Record) -> Vec<u8> {
    let mut body = USERTYPE.to_vec();
    // A record has only strings and numbers: JSON can hold all of it.
    let json = serde_json::to_vec(&WireRecord::from(record)).unwrap_or_default();
    let json = json.strip_suffix(b"}").unwrap_or(&json);
    body.extend([json, CHECK, checksum(json).as_bytes(), CHECK_END].concat());
    build(b"uuid", &body)
}

/// How many boxes of a segment are searched for the record.
const MAX_BEFORE: usize = 8;

/// Whether these are the first bytes of a segment that a later release wrote: its record is whole, but its form is
/// unknown or has a higher number than the form of this release. A damaged record is not newer.
#[must_use]
pub fn is_newer(bytes: &[u8]) -> bool {
    let boxes = Walk::new(bytes, 0).take(MAX_BEFORE).map_while(Result::ok);
    let mut records = boxes.filter_map(|found| match json_of(&found) {
        Some(json) if split(json).is_some() => Some(understand(json)),
        Some(_) | None => None,
    });
    matches!(records.next(), Some(Err(Unread::Newer)))
}

/// The record in the first bytes of a segment as it was written, including members that this release does not
/// know, without its checksum; `None` if it is not whole.
#[must_use]
pub fn record_members(bytes: &[u8]) -> Option<Map<String, Value>> {
    let boxes = Walk::new(bytes, 0).take(MAX_BEFORE).map_while(Result::ok);
    let mut records = boxes.filter_map(|found| {
        let (rest, check) = split(json_of(&found)?)?;
        (check == checksum(rest).as_bytes()).then(|| [rest, b"}"].concat())
    });
    serde_json::from_slice(&records.next()?).ok()
}

pub(super) fn read_record(found: &BoxAt<'_>) -> Result<Record, Malformed> {
    let json = json_of(found)
        .filter(|json| json.len() <= MAX_LENGTH)
        .ok_or_else(|| found.bad("stands where the record belongs"))?;
    understand(json).map_err(|unread| {
        found.bad(match unread {
            Unread::Damaged => "holds a record that has changed, or none",
            Unread::Newer => "holds a record of a later release",
        })
    })
}

fn json_of<'a>(found: &BoxAt<'a>) -> Option<&'a [u8]> {
    found.body.strip_prefix(&USERTYPE).filter(|_| found.is(b"uuid"))
}

fn understand(json: &[u8]) -> Result<Record, Unread> {
    let Some((rest, check)) = split(json) else {
        return WireRecord::unchecked(json).ok_or(Unread::Damaged)?.understand();
    };
    if check != checksum(rest).as_bytes() {
        return Err(Unread::Damaged);
    }
    let whole = [rest, b"}"].concat();
    // The checksum is right: what this release cannot read, a later release wrote.
    let record: WireRecord = serde_json::from_slice(&whole).map_err(|_| Unread::Newer)?;
    record.understand()
}
