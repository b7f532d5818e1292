//! The `uuid` box (ISO/IEC 14496-12, 4.2) in which a segment carries its own record.

use super::Malformed;
use super::boxes::{BoxAt, build};
use crate::domain::segment::Record;

/// The extended type of our box, drawn once at random (RFC 9562 version 4).
const USERTYPE: [u8; 16] =
    [0x5e, 0x1d, 0x0c, 0x8a, 0x3b, 0x7f, 0x4e, 0x52, 0x9a, 0x61, 0x4b, 0x41, 0x53, 0x41, 0x43, 0x4d];

/// Longest record, in bytes of JSON.
const LONGEST: usize = 4096;

/// The box that carries the record, as JSON behind the extended type.
#[must_use]
pub fn record_box(record: &Record) -> Vec<u8> {
    let mut body = USERTYPE.to_vec();
    // A record is strings and numbers: there is nothing in it that JSON cannot hold.
    body.extend(serde_json::to_vec(record).unwrap_or_default());
    build(b"uuid", &body)
}

pub(super) fn read_record(found: &BoxAt<'_>) -> Result<Record, Malformed> {
    let json = found
        .body
        .strip_prefix(&USERTYPE)
        .filter(|json| found.is(b"uuid") && json.len() <= LONGEST)
        .ok_or_else(|| found.bad("stands where the record belongs"))?;
    serde_json::from_slice(json).map_err(|_| found.bad("holds no record that we know"))
}
