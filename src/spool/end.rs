//! `.end` files: a header line with a checksum, and a JSON record.

use crate::disk::{stamp, stamp_version, unstamp};
use crate::domain::fragment::SpanEnd;
use crate::domain::segment::Record;
use crate::fmp4::{Unread, WireRecord};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Maximum size of a file, in bytes.
pub(super) const LIMIT: u64 = 16 * 1024;
/// The kind in the header line.
const KIND: &str = "end";
/// The number in the header line.
const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct EndFile {
    reason: SpanEnd,
    record: WireRecord,
}

/// The bytes of the file that replaces `before`: unknown members of that are kept.
///
/// # Errors
/// If JSON cannot hold the record, which it always can.
pub fn encode_over(before: &[u8], record: &Record, reason: SpanEnd) -> Result<Vec<u8>, serde_json::Error> {
    let old = unstamp(KIND, before).and_then(|body| serde_json::from_str(body).ok());
    encode_with(old.unwrap_or_default(), record, reason)
}

/// The bytes of the file, for a segment with these members in its record: unknown ones are kept.
///
/// # Errors
/// If JSON cannot hold the record, which it always can.
pub fn encode_behind(
    members: Map<String, Value>,
    record: &Record,
    reason: SpanEnd,
) -> Result<Vec<u8>, serde_json::Error> {
    encode_with(Value::Object(Map::from_iter([(String::from("record"), members.into())])), record, reason)
}

fn encode_with(old: Value, record: &Record, reason: SpanEnd) -> Result<Vec<u8>, serde_json::Error> {
    let new = serde_json::to_value(EndFile { reason, record: record.into() })?;
    let body = serde_json::to_string(&laid_over(old, new))?;
    Ok(stamp(KIND, &body))
}

/// The members of `new`, and those of `old` that `new` does not have.
fn laid_over(old: Value, new: Value) -> Value {
    match (old, new) {
        (Value::Object(mut old), Value::Object(new)) => {
            let mut all = Map::new();
            for (name, value) in new {
                let before = old.remove(&name).unwrap_or_default();
                all.insert(name, laid_over(before, value));
            }
            all.extend(old);
            Value::Object(all)
        }
        (_, new) => new,
    }
}

/// The content of a file.
///
/// # Errors
/// [`Unread::Newer`] if its header has a higher number than ours, or if it is whole and not understood.
pub fn decode(bytes: &[u8]) -> Result<(Record, SpanEnd), Unread> {
    match unstamp(KIND, bytes) {
        Some(body) => {
            let end: EndFile = serde_json::from_str(body).map_err(|_| Unread::Newer)?;
            Ok((end.record.understand()?, end.reason))
        }
        None if stamp_version(KIND, bytes).is_some_and(|version| version > VERSION) => Err(Unread::Newer),
        None => Err(Unread::Damaged),
    }
}
