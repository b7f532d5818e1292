//! The commands that a camera was given, in the order in which they came into force.

use super::seen::{CameraSeen, Message};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use kasacam::domain::time::Utc;
use serde_json::Value;

/// A command: a choice, or a lease.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) version: u64,
    pub(crate) issued_at: Utc,
    /// When it was heard; `None`: it was retained before the watch began.
    pub(crate) heard: Option<Utc>,
    pub(crate) claims: Value,
}

impl Told {
    /// Of a choice.
    pub(crate) fn forbids(&self) -> bool {
        self.claims.get("do_not_record").and_then(Value::as_bool) != Some(false)
    }

    /// Of a lease: whether it lets record.
    pub(crate) fn records(&self) -> bool {
        let goes_on =
            matches!(self.claims.get("status").and_then(Value::as_str), Some("active" | "past_due"));
        goes_on && self.feature("record")
    }

    /// Of a lease.
    pub(crate) fn feature(&self, name: &str) -> bool {
        self.claims.get("features").and_then(|features| features.get(name)).and_then(Value::as_bool)
            == Some(true)
    }
}

/// Those of this topic whose version is higher than all before, but for those that were said to be refused. A cloud's
/// command is retained; what is not is somebody's try.
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
    let text = std::str::from_utf8(&message.payload).ok()?;
    let claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text.split('.').nth(1)?).ok()?).ok()?;
    Some(Told {
        version: claims.get("version")?.as_u64()?,
        issued_at: Utc::parse(claims.get("issued_at")?.as_str()?)?,
        heard,
        claims,
    })
}
