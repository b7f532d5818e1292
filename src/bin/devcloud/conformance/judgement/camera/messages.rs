//! What a camera publishes: where, how, in which order, and how often.

use super::super::row::{Rule, Verdict, fail, not_checked, pass, unless};
use super::seen::{CameraSeen, Message};
use serde_json::Value;

/// Topics of a camera, and whether they are retained.
const TOPICS: [(&str, bool); 6] = [
    ("privacy/reported", true),
    ("entitlement/reported", true),
    ("status", true),
    ("telemetry", false),
    ("event", false),
    ("grant/request", false),
];
const MAX_REQUEST: usize = 15 * 1024;
const MAX_OBJECTS: usize = 16;
/// Relative to the number of expected messages.
const MAX_RATE: f64 = 1.5;
const MIN_RATE: f64 = 0.4;

pub(crate) const RULES: &[Rule<CameraSeen>] = &[
    Rule {
        id: "status.online",
        asks: "the camera is online, and the broker retains this status",
        clause: "contract.md#3-mqtt",
        says: "| `R/status` | from the camera, and its last will | 1 | yes |",
        judge: online,
    },
    Rule {
        id: "publish.topics",
        asks: "the camera publishes on its topics and on no others",
        clause: "contract.md#who-may-what",
        says: "A camera publishes below its own id alone",
        judge: |seen| {
            each(seen, "on topics of the contract", |message| {
                let known = TOPICS.iter().any(|(topic, _)| *topic == message.topic);
                (!known).then(|| format!("{}: is not a topic of the contract", message.topic))
            })
        },
    },
    Rule {
        id: "publish.qos",
        asks: "everything is published with QoS 1",
        clause: "contract.md#3-mqtt",
        says: "| topic | direction | QoS | retained | payload |",
        judge: |seen| {
            each(seen, "with QoS 1", |message| {
                (message.qos != 1).then(|| format!("{}: QoS {}", message.topic, message.qos))
            })
        },
    },
    Rule {
        id: "publish.retain",
        asks: "RETAIN is set where the table says so, and nowhere else",
        clause: "contract.md#3-mqtt",
        says: "| topic | direction | QoS | retained | payload |",
        judge: |seen| {
            each(seen, "with RETAIN as it should be", |message| {
                let wanted = TOPICS.iter().find(|(topic, _)| *topic == message.topic)?.1;
                (message.retain != wanted)
                    .then(|| format!("{}: RETAIN is {}", message.topic, u8::from(message.retain)))
            })
        },
    },
    Rule {
        id: "publish.first",
        asks: "a session begins with `R/privacy/reported`",
        clause: "contract.md#3-mqtt",
        says: "Then comes `R/privacy/reported`, then the rest.",
        judge: first,
    },
    Rule {
        id: "telemetry.rate",
        asks: "figures come every `mqtt.telemetry`",
        clause: "contract.md#3-mqtt",
        says: "| `R/telemetry` | from the camera, every `mqtt.telemetry` | 1 | no |",
        judge: rate,
    },
    Rule {
        id: "grants.reply",
        asks: "a request for grants names the response topic, and its id as correlation data",
        clause: "contract.md#grants",
        says: "with the response topic `R/grant/response` and the `id` as correlation data",
        judge: reply,
    },
    Rule {
        id: "grants.limits",
        asks: "a request for grants has at most 16 objects and 15 KiB",
        clause: "contract.md#grants",
        says: "At most 16 objects and 15 KiB",
        judge: |seen| {
            requests(seen, |message, request| {
                let objects = request.get("want").and_then(Value::as_array).map_or(0, Vec::len);
                (message.payload.len() > MAX_REQUEST || objects > MAX_OBJECTS)
                    .then(|| format!("{objects} objects, {} bytes", message.payload.len()))
            })
        },
    },
    Rule {
        id: "grants.own",
        asks: "grants are requested for keys below the camera's own prefix",
        clause: "contract.md#grants",
        says: "whose keys begin with that camera's own prefix",
        judge: |seen| {
            let own = format!("{}{}/", seen.prefix, seen.device);
            requests(seen, |_, request| {
                let wants = request.get("want").and_then(Value::as_array)?;
                let other = wants.iter().any(|want| {
                    !want.get("key").and_then(Value::as_str).is_some_and(|key| key.starts_with(&own))
                });
                other.then(|| "a key is not below its own prefix".to_owned())
            })
        },
    },
];

fn reports(seen: &CameraSeen) -> impl Iterator<Item = &Message> {
    seen.live.iter().filter(|message| message.is_report())
}

fn each(seen: &CameraSeen, right: &str, wrong: impl Fn(&Message) -> Option<String>) -> Verdict {
    let count = reports(seen).count();
    if count == 0 {
        return not_checked("the camera said nothing");
    }
    unless(&reports(seen).filter_map(wrong).collect::<Vec<_>>(), format!("{count} messages {right}"))
}

fn is_online(message: &Message) -> Option<bool> {
    message.json()?.get("online")?.as_bool()
}

fn online(seen: &CameraSeen) -> Verdict {
    let of =
        |messages: &[Message]| messages.iter().rev().find(|message| message.topic == "status").map(is_online);
    match of(&seen.live).or_else(|| of(&seen.retained)) {
        Some(Some(true)) => pass("it says so"),
        Some(Some(false)) => fail("the camera is away"),
        Some(None) => not_checked("the status cannot be read"),
        None => fail("no status is retained, and none was said"),
    }
}

/// The first message of each session that began while it was watched.
fn first(seen: &CameraSeen) -> Verdict {
    let mut away =
        seen.retained.iter().find(|it| it.topic == "status").is_none_or(|it| is_online(it) == Some(false));
    let (mut wrong, mut sessions) = (Vec::new(), 0);
    for message in reports(seen) {
        if message.topic == "status" && is_online(message) == Some(false) {
            away = true;
            continue;
        }
        if away {
            sessions += 1;
            away = false;
            if message.topic != "privacy/reported" {
                wrong.push(format!("a session began with {}", message.topic));
            }
        }
    }
    if sessions == 0 {
        return not_checked("no session of the camera began");
    }
    unless(&wrong, format!("{sessions} began so"))
}

fn rate(seen: &CameraSeen) -> Verdict {
    let times: Vec<_> = reports(seen).filter(|it| it.topic == "telemetry").map(|it| it.at).collect();
    let (Some(first), Some(last)) = (times.first(), times.last()) else {
        return not_checked("no figures came");
    };
    // On the average: what a busy machine or network holds up comes in a bunch.
    let gaps = times.len().saturating_sub(1);
    let expected = last.since(*first).as_secs_f64() / seen.telemetry.as_secs_f64().max(0.001);
    let came = f64::from(u32::try_from(gaps).unwrap_or(u32::MAX));
    let told = format!("{} times in {} s", times.len(), last.since(*first).as_secs());
    if gaps == 0 {
        not_checked("figures did not come twice")
    } else if came > expected * MAX_RATE + 1.0 || came < expected * MIN_RATE - 1.0 {
        fail(format!("{told}, and every {} ms is told", seen.telemetry.as_millis()))
    } else {
        pass(told)
    }
}

fn requests(seen: &CameraSeen, wrong: impl Fn(&Message, &Value) -> Option<String>) -> Verdict {
    let requests: Vec<_> = reports(seen).filter(|message| message.topic == "grant/request").collect();
    if requests.is_empty() {
        return not_checked("no grants were asked for");
    }
    let found: Vec<String> =
        requests.iter().filter_map(|message| wrong(message, &message.json().unwrap_or_default())).collect();
    unless(&found, format!("{} requests", requests.len()))
}

fn reply(seen: &CameraSeen) -> Verdict {
    let response = format!("kasacam/v1/{}/grant/response", seen.device);
    requests(seen, |message, request| {
        if message.response_topic.as_ref() != Some(&response) {
            return Some("the response topic is another, or none".to_owned());
        }
        let id = request.get("id").and_then(Value::as_str).map(str::as_bytes);
        (message.correlation.as_deref() != id || id.is_none())
            .then(|| "the correlation data is not its id".to_owned())
    })
}
