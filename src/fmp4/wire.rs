//! A record as it is written: JSON, in a form separate from what the rest of the agent uses.
//!
//! `v` is the number of the form. Unknown members are ignored, so a release may add one and keep the number.
//! A release raises the number if a member or the rest of the file changes its meaning. A form with a higher
//! number than [`FORMAT`] cannot be read: see [`Unread::Newer`].

use crate::domain::fragment::Timing;
use crate::domain::segment::{Record, RecordClock};
use crate::domain::time::Utc;
use serde::{Deserialize, Serialize};

/// The form that this release writes. It also reads the form before it: 0, which had no number.
pub const FORMAT: u32 = 1;

/// Why bytes are not accepted as a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// They are not what was written.
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
    /// The times are those of arrival over the network.
    #[serde(default, skip_serializing_if = "is_false")]
    arrival: bool,
    /// By the camera's own clock it was captured so much before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lag_us: Option<u32>,
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
            arrival: record.timing != Timing::Device,
            lag_us: match record.timing {
                Timing::Camera { lag_us } => Some(lag_us),
                Timing::Device | Timing::Arrival => None,
            },
        }
    }
}

/// Number of members of a record from before there was a checksum.
const MEMBERS_UNCHECKED: usize = 9;

impl WireRecord {
    /// Reads a record from before there was a checksum. It has these members and no other: with one more, it
    /// is a newer record whose checksum is damaged.
    pub(super) fn unchecked(json: &[u8]) -> Option<WireRecord> {
        let members: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json).ok()?;
        let known = members.len() == MEMBERS_UNCHECKED && !members.contains_key("v");
        known.then(|| serde_json::from_value(members.into()).ok())?
    }

    /// The record.
    ///
    /// # Errors
    /// [`Unread::Newer`] if its number is higher than [`FORMAT`].
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
            timing: match (self.arrival, self.lag_us) {
                (false, _) => Timing::Device,
                (true, None) => Timing::Arrival,
                (true, Some(lag_us)) => Timing::Camera { lag_us },
            },
        })
    }
}
