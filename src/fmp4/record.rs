//! The `uuid` box (ISO/IEC 14496-12, 4.2) in which a segment carries its own record: JSON, whose last member is a
//! checksum of the rest. It is no part of the record itself, and what was written before there was one has none.
//!
//! Every later form keeps this: the box, JSON in it, and the checksum at the end. So a release that cannot read a record
//! can tell one that is damaged from one that a later release wrote.

use super::Malformed;
use super::boxes::{BoxAt, Walk, build};
use super::wire::{Unread, WireRecord};
use crate::domain::segment::Record;
use serde_json::{Map, Value};

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
    let json = serde_json::to_vec(&WireRecord::from(record)).unwrap_or_default();
    let json = json.strip_suffix(b"}").unwrap_or(&json);
    body.extend([json, CHECK, checksum(json).as_bytes(), CHECK_END].concat());
    build(b"uuid", &body)
}

/// Boxes of a segment among which the record is looked for.
const MAX_BEFORE: usize = 8;

/// Whether these are the first bytes of a segment that a later release wrote: its record is whole, and is none that we
/// know, or has a higher number than ours. What is damaged is not newer.
#[must_use]
pub fn is_newer(bytes: &[u8]) -> bool {
    let boxes = Walk::new(bytes, 0).take(MAX_BEFORE).map_while(Result::ok);
    let mut records = boxes.filter_map(|found| match json_of(&found) {
        Some(json) if split(json).is_some() => Some(understand(json)),
        Some(_) | None => None,
    });
    matches!(records.next(), Some(Err(Unread::Newer)))
}

/// The record in the first bytes of a segment as it was written, members that we do not know included, its checksum left
/// out; `None` where it is not whole.
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
        .filter(|json| json.len() <= LONGEST)
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
    // It is as it was written: what we cannot make out, a later release wrote.
    let record: WireRecord = serde_json::from_slice(&whole).map_err(|_| Unread::Newer)?;
    record.understand()
}
