//! A record as it is written: JSON, a form of its own, apart from what the rest of the agent works with.
//!
//! `v` is the number of the form. A member that is not known is passed over, so a release may add one and keep the
//! number; it raises the number where what it writes means something else, or where the rest of the file does. A form of
//! a higher number than [`FORMAT`] is not ours to understand: see [`Unread::Newer`].

use crate::domain::segment::{Record, RecordClock};
use crate::domain::time::Utc;
use serde::{Deserialize, Serialize};

/// The form that this release writes. It reads the one before as well: 0, which had no number.
pub const FORMAT: u32 = 1;

/// Why bytes are not taken for what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// They are not as they were written.
    Damaged,
    /// They are whole, and a later release wrote them.
    Newer,
}

/// The JSON of a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WireRecord {
    #[serde(default)]
    v: u32,
    device: String,
    span: String,
    n: u64,
    boot: String,
    start_mono: u64,
    start_utc: Utc,
    clock: RecordClock,
    plan: String,
    history_hours: u32,
    #[serde(default, skip_serializing_if = "is_false")]
    late_sync: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the form that serde asks for")]
fn is_false(value: &bool) -> bool {
    !value
}

impl From<&Record> for WireRecord {
    fn from(record: &Record) -> WireRecord {
        WireRecord {
            v: FORMAT,
            device: record.device.clone(),
            span: record.span.clone(),
            n: record.n,
            boot: record.boot.clone(),
            start_mono: record.start_mono,
            start_utc: record.start_utc,
            clock: record.clock,
            plan: record.plan.clone(),
            history_hours: record.history_hours,
            late_sync: record.late_sync,
        }
    }
}

/// Members of a record from before there was a checksum.
const MEMBERS_UNCHECKED: usize = 9;

impl WireRecord {
    /// One from before there was a checksum. It has these members and no other: one more, and it is a newer one of which
    /// the checksum is damaged.
    pub(super) fn unchecked(json: &[u8]) -> Option<WireRecord> {
        let members: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json).ok()?;
        let known = members.len() == MEMBERS_UNCHECKED && !members.contains_key("v");
        known.then(|| serde_json::from_value(members.into()).ok())?
    }

    /// What it says.
    ///
    /// # Errors
    /// [`Unread::Newer`] where its number is higher than ours.
    pub fn understand(self) -> Result<Record, Unread> {
        if self.v > FORMAT {
            return Err(Unread::Newer);
        }
        Ok(Record {
            device: self.device,
            span: self.span,
            n: self.n,
            boot: self.boot,
            start_mono: self.start_mono,
            start_utc: self.start_utc,
            clock: self.clock,
            plan: self.plan,
            history_hours: self.history_hours,
            late_sync: self.late_sync,
        })
    }
}
