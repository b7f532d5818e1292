//! What happens, as text for people and as figures for the summary, from the lines of `events.jsonl`. Pure.

use crate::summary::{Counters, Private};
use kasacam::domain::time::Utc;
use serde_json::Value;

/// The state so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chronicle {
    pub private: Vec<Private>,
    pub counters: Option<Counters>,
    /// Segments waiting in the camera, by its last telemetry.
    pub pending: Option<u64>,
    pub stored: u64,
    pub online: Option<bool>,
    /// Version of the lease that the camera has accepted.
    pub entitlement: Option<u64>,
    /// `open` or `closed`.
    pub capture: Option<String>,
    pub free_plan_was_in_force: bool,
}

impl Chronicle {
    /// Takes one line; returns the text to print, if any.
    pub(crate) fn hear(&mut self, line: &Value) -> Option<String> {
        let at = line.get("at").and_then(Value::as_str).and_then(Utc::parse)?;
        match text(line, "/event")? {
            "object_stored" => self.stored(line, at),
            "message" => self.message(line, at),
            "broker_lost" => Some("the cloud has lost its connection to the broker".into()),
            "broker_connected" => Some("the cloud is connected to the broker".into()),
            "store" => Some(format!("the object store is {}", text(line, "/state")?)),
            _ => None,
        }
    }

    fn stored(&mut self, line: &Value, at: Utc) -> Option<String> {
        self.stored += 1;
        let key = text(line, "/key")?;
        if let Some(reason) = text(line, "/metadata/reason") {
            return Some(format!("end of a span stored: {key} ({reason})"));
        }
        let kib = line.pointer("/bytes").and_then(Value::as_u64)? / 1024;
        let took =
            latency(key, line, at).map_or(String::new(), |ms| format!(", {ms} ms after its last frame"));
        Some(format!("segment stored: {key}, {kib} KiB{took}"))
    }

    fn message(&mut self, line: &Value, at: Utc) -> Option<String> {
        let topic = text(line, "/topic")?.splitn(4, '/').nth(3)?;
        let retained = line.pointer("/retained").and_then(Value::as_bool)?;
        match topic {
            // A retained message left the broker earlier.
            "privacy/desired" if !retained => self.choice(line, at),
            "privacy/reported" => self.privacy_reported(line),
            "entitlement/desired" if !retained => {
                let tier = text(line, "/claims/plan/tier")?;
                let audio = line.pointer("/claims/features/audio").and_then(Value::as_bool)?;
                let audio = if audio { "with audio" } else { "without audio" };
                Some(format!("the cloud sends the plan {tier}, {audio}"))
            }
            "entitlement/reported" => {
                self.entitlement = line.pointer("/payload/version").and_then(Value::as_u64);
                let plan = text(line, "/payload/plan").unwrap_or("none");
                self.free_plan_was_in_force |= plan == "free";
                Some(format!("the camera has the plan {plan}: {}", text(line, "/payload/state")?))
            }
            "status" => {
                let online = line.pointer("/payload/online").and_then(Value::as_bool)?;
                if self.online == Some(online) {
                    return None;
                }
                self.online = Some(online);
                Some(format!("the camera is {}", if online { "online" } else { "offline" }))
            }
            "telemetry" => {
                let number = |path| line.pointer(path).and_then(Value::as_u64);
                let captured = number("/payload/capture/frames_captured")?;
                let dropped = number("/payload/capture/frames_dropped")?;
                self.counters = Some(Counters { captured, dropped });
                self.pending = number("/payload/spool/pending");
                None
            }
            "event" => Some(format!("event of the camera: {}", line.pointer("/payload")?)),
            _ => None,
        }
    }

    fn choice(&mut self, line: &Value, at: Utc) -> Option<String> {
        let do_not_record = line.pointer("/claims/do_not_record").and_then(Value::as_bool)?;
        let open = self.private.last_mut().filter(|private| private.until.is_none());
        match (do_not_record, open) {
            (true, Some(_)) => {}
            (true, None) => self.private.push(Private { from: at, closed: None, until: None }),
            (false, Some(private)) => private.until = Some(at),
            (false, None) => {}
        }
        Some(if do_not_record {
            "the owner chooses: do not record".into()
        } else {
            "the owner chooses: record".into()
        })
    }

    fn privacy_reported(&mut self, line: &Value) -> Option<String> {
        let capture = text(line, "/payload/capture")?;
        self.capture = Some(capture.to_owned());
        let applied = text(line, "/payload/applied_at").and_then(Utc::parse)?;
        let private = line.pointer("/payload/do_not_record").and_then(Value::as_bool)?;
        if capture == "open" {
            return Some("the camera records".into());
        }
        let waiting = self.private.last_mut().filter(|p| private && p.until.is_none() && p.closed.is_none());
        let Some(switch) = waiting else {
            return Some("the camera does not record".into());
        };
        switch.closed = Some(applied);
        let took = applied.0.saturating_sub(switch.from.0) / 1_000_000;
        Some(format!("privacy: the device is closed, {took} ms after the choice left the broker"))
    }
}

/// Milliseconds since the end of the last sample, by key and metadata.
fn latency(key: &str, line: &Value, at: Utc) -> Option<u128> {
    let mut parts = key.rsplitn(4, '/');
    let (file, hour, date) = (parts.next()?, parts.next()?, parts.next()?);
    let (clock, fraction) = file.split_once('.')?;
    let fraction = fraction.split('.').next()?;
    let start = Utc::parse(&format!("{date}T{hour}:{}.{fraction}", clock.replace('-', ":")))?;
    let millis = text(line, "/metadata/duration-ms")?.parse().ok()?;
    Some(at.since(start + std::time::Duration::from_millis(millis)).as_millis())
}

fn text<'a>(line: &'a Value, path: &str) -> Option<&'a str> {
    line.pointer(path).and_then(Value::as_str)
}
