//! The commands that a camera received, in the order in which they came into force.

use super::super::claims::unverified_json;
use super::seen::{CameraSeen, Message};
use kasacam::domain::time::Utc;
use serde_json::Value;

/// A command: a choice, or a lease.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) version: u64,
    pub(crate) issued_at: Utc,
    /// When it was received; `None` if it was retained before the watch began.
    pub(crate) heard: Option<Utc>,
    pub(crate) claims: Value,
}

impl Told {
    /// Whether it is a choice that forbids recording.
    pub(crate) fn forbids(&self) -> bool {
        self.claims.get("do_not_record").and_then(Value::as_bool) != Some(false)
    }

    /// Whether it is a lease that allows recording.
    pub(crate) fn records(&self) -> bool {
        let goes_on =
            matches!(self.claims.get("status").and_then(Value::as_str), Some("active" | "past_due"));
        goes_on && self.feature("record")
    }

    /// Whether it is a lease with this feature.
    pub(crate) fn feature(&self, name: &str) -> bool {
        self.claims.get("features").and_then(|features| features.get(name)).and_then(Value::as_bool)
            == Some(true)
    }
}

/// The commands of this topic whose version is higher than all before, without those that the check sent to be refused. A
/// cloud retains its commands; others do not count.
pub(crate) fn told(seen: &CameraSeen, topic: &str) -> Vec<Told> {
    let attempts = seen.attempts.as_deref().unwrap_or_default();
    let mut told: Vec<Told> = Vec::new();
    let before = seen.retained.iter().map(|message| (message, None));
    let live = seen.live.iter().map(|message| (message, Some(message.at)));
    for (message, heard) in before.chain(live).filter(|(message, _)| message.topic == topic && message.retain)
    {
        if attempts.iter().any(|attempt| attempt.payload == message.payload) {
            continue;
        }
        let Some(next) = read(message, heard) else { continue };
        if told.last().is_none_or(|last| next.version > last.version) {
            told.push(next);
        }
    }
    told
}

fn read(message: &Message, heard: Option<Utc>) -> Option<Told> {
    let claims = unverified_json(&message.payload)?;
    Some(Told {
        version: claims.get("version")?.as_u64()?,
        issued_at: Utc::parse(claims.get("issued_at")?.as_str()?)?,
        heard,
        claims,
    })
}
