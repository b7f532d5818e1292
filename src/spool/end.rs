//! `.end` files: a header line with a checksum, and a JSON record.

use crate::disk::{stamp, unstamp};
use crate::domain::fragment::SpanEnd;
use crate::domain::segment::Record;
use serde::{Deserialize, Serialize};

/// No record is longer.
pub(super) const LIMIT: u64 = 16 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    reason: SpanEnd,
    record: Record,
}

/// The bytes of the file.
///
/// # Errors
/// Where JSON cannot hold the record; it always can.
pub fn encode(record: &Record, reason: SpanEnd) -> Result<Vec<u8>, serde_json::Error> {
    let body = serde_json::to_string(&End { reason, record: record.clone() })?;
    Ok(stamp("end", &body))
}

/// What a file says. `None` where its checksum or its form is wrong.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<(Record, SpanEnd)> {
    let end: End = serde_json::from_str(unstamp("end", bytes)?).ok()?;
    Some((end.record, end.reason))
}
