//! The broker: who may connect, what it accepts, and who receives what.

use super::super::row::{Look, Rule, Verdict, fail, not_checked, pass};
use super::seen::{CloudSeen, Door, Round, Said};

/// The largest packet of a camera, in bytes: a payload of 16 KiB, its topic, and the headers of MQTT.
const MAX_MESSAGE: u32 = 16 * 1024 + 256;
/// `Will Delay Interval` of the check, in milliseconds; brokers look at the clock once a second.
pub(crate) const WILL_DELAY_MS: u64 = 3000;
const WILL_EARLY_MS: u64 = 1900;

pub(crate) const RULES: &[Rule<CloudSeen>] = &[
    Rule {
        id: "broker.tls",
        asks: "the broker speaks TLS 1.2 or newer, with a certificate of the given authority",
        clause: "contract.md#3-mqtt",
        says: "MQTT 5 over TLS 1.2 or newer",
        judge: |seen| match &seen.tls {
            Ok(Ok(version)) => pass(version),
            Ok(Err(why)) => fail(why),
            Err(why) => not_checked(why),
        },
    },
    Rule {
        id: "broker.old-tls",
        asks: "the broker refuses TLS 1.1",
        clause: "contract.md#3-mqtt",
        says: "MQTT 5 over TLS 1.2 or newer",
        judge: |seen| shut(&seen.old_tls),
    },
    Rule {
        id: "broker.nobody",
        asks: "a client without certificate and password is refused",
        clause: "contract.md#3-mqtt",
        says: "with a client certificate whose common name is the device's id",
        judge: |seen| shut(&seen.nobody),
    },
    Rule {
        id: "broker.connack",
        asks: "the broker accepts the device, with a CONNACK of MQTT 5",
        clause: "contract.md#3-mqtt",
        says: "MQTT 5 over TLS 1.2 or newer",
        judge: |seen| match &seen.connack {
            Ok(connack) if connack.success => pass(&connack.code),
            Ok(connack) => fail(&connack.code),
            Err(why) => not_checked(why),
        },
    },
    Rule {
        id: "broker.limits",
        asks: "the limits in CONNACK allow QoS 1, messages of 16 KiB, and a session that is kept",
        clause: "contract.md#3-mqtt",
        says: "`clean_start = false`, with a session expiry",
        judge: limits,
    },
    Rule {
        id: "broker.retains",
        asks: "the broker retains messages",
        clause: "contract.md#3-mqtt",
        says: "| `R/status` | from the camera, and its last will | 1 | yes |",
        judge: |seen| match &seen.connack {
            Ok(connack) if connack.success && connack.retain == Some(0) => fail("Retain Available is 0"),
            Ok(connack) if connack.success => pass("Retain Available is 1"),
            Ok(_) => not_checked("the device was refused"),
            Err(why) => not_checked(why),
        },
    },
    Rule {
        id: "broker.session",
        asks: "a session is kept while the camera is away",
        clause: "contract.md#3-mqtt",
        says: "`clean_start = false`, with a session expiry",
        judge: |seen| match &seen.back {
            Ok(round) if round.session_present => pass("Session Present is 1 on return"),
            Ok(_) => fail("Session Present is 0 on return"),
            Err(why) => not_checked(why),
        },
    },
    Rule {
        id: "broker.puback",
        asks: "what a camera publishes on its own topics is acknowledged with success",
        clause: "contract.md#3-mqtt",
        says: "| `R/event` | from the camera | 1 | no | one JSON object for each notable event |",
        judge: own,
    },
    Rule {
        id: "broker.subscribe",
        asks: "a camera is granted QoS 1 on its two command topics",
        clause: "contract.md#3-mqtt",
        says: "| `R/privacy/desired` | to the camera | 1 | yes | JWS, see below |",
        judge: |seen| match &seen.first {
            Ok(round) if granted(round) => pass("QoS 1 on both"),
            Ok(round) => fail(format!("SUBACK: {}", codes(&round.codes))),
            Err(why) => not_checked(why),
        },
    },
    Rule {
        id: "broker.will",
        asks: "the last will is published after its delay",
        clause: "contract.md#3-mqtt",
        says: "**The last will** is said 30 s after the camera is gone",
        judge: will,
    },
    Rule {
        id: "broker.will-withdrawn",
        asks: "the last will is not published if the camera is back in time",
        clause: "contract.md#3-mqtt",
        says: "and not if it is back by then",
        judge: |seen| match &seen.will {
            Ok(will) if will.despite_return => fail("it was published although the camera was back"),
            Ok(_) => pass("nothing was published"),
            Err(why) => not_checked(why),
        },
    },
    Rule {
        id: "acl.publish",
        asks: "a camera cannot publish below another device's id",
        clause: "contract.md#who-may-what",
        says: "A camera publishes below its own id alone",
        judge: |seen| intrusion(&[&seen.to_other, &seen.command_to_other]),
    },
    Rule {
        id: "acl.command",
        asks: "a camera cannot publish commands, its own included",
        clause: "contract.md#who-may-what",
        says: "and nothing on the topics that lead to a camera",
        judge: |seen| intrusion(&[&seen.command_to_self]),
    },
    Rule {
        id: "acl.subscribe",
        asks: "a camera receives nothing of another device, whatever it subscribes to",
        clause: "contract.md#who-may-what",
        says: "It hears what is meant for it, and nothing of another device",
        judge: |seen| match &seen.overheard {
            Ok(topics) if topics.is_empty() => pass("nothing was received"),
            Ok(topics) => fail(format!("received: {}", topics.join(", "))),
            Err(why) => not_checked(why),
        },
    },
];

fn shut(door: &Look<Door>) -> Verdict {
    match door {
        Ok(Door::Shut(how)) => pass(how),
        Ok(Door::Open(how)) => fail(how),
        Err(why) => not_checked(why),
    }
}

fn limits(seen: &CloudSeen) -> Verdict {
    let connack = match &seen.connack {
        Ok(connack) if connack.success => connack,
        Ok(_) => return not_checked("the device was refused"),
        Err(why) => return not_checked(why),
    };
    let mut wrong = Vec::new();
    if let Some(max) = connack.max_packet.filter(|max| *max < MAX_MESSAGE) {
        wrong.push(format!("Maximum Packet Size is {max}"));
    }
    if let Some(qos) = connack.max_qos.filter(|qos| *qos < 1) {
        wrong.push(format!("Maximum QoS is {qos}"));
    }
    if connack.session_expiry == Some(0) {
        wrong.push("Session Expiry Interval is 0".to_owned());
    }
    let told = |limit: Option<u32>| limit.map_or("none".to_owned(), |limit| limit.to_string());
    super::super::row::unless(&wrong, format!("Maximum Packet Size: {}", told(connack.max_packet)))
}

fn granted(round: &Round) -> bool {
    round.codes.len() == 2 && round.codes.iter().all(|code| *code == 1)
}

fn codes(codes: &[u8]) -> String {
    codes.iter().map(|code| format!("0x{code:02x}")).collect::<Vec<_>>().join(", ")
}

/// 0x10: nobody has subscribed, which is no error.
fn taken(code: u8) -> bool {
    code < 0x80
}

fn own(seen: &CloudSeen) -> Verdict {
    let said = match &seen.own {
        Ok(said) => said,
        Err(why) => return not_checked(why),
    };
    let wrong: Vec<String> = said
        .iter()
        .filter_map(|said| match &said.puback {
            Ok(code) if taken(*code) => None,
            Ok(code) => Some(format!("{}: PUBACK 0x{code:02x}", said.topic)),
            Err(why) => Some(format!("{}: {why}", said.topic)),
        })
        .collect();
    let topics: Vec<&str> = said.iter().map(|said| said.topic.as_str()).collect();
    super::super::row::unless(&wrong, format!("acknowledged: {}", topics.join(", ")))
}

/// A broker may refuse a message, end the connection, or ignore it.
fn intrusion(tried: &[&Look<Said>]) -> Verdict {
    let (mut seen, mut unknown) = (Vec::new(), Vec::new());
    for tried in tried {
        let said = match tried {
            Ok(said) => said,
            Err(why) => {
                unknown.push(why.clone());
                continue;
            }
        };
        let topic = &said.topic;
        match (&said.puback, said.delivered) {
            (_, Some(true)) => return fail(format!("{topic}: it was delivered")),
            (Ok(code), _) if !taken(*code) => seen.push(format!("{topic}: PUBACK 0x{code:02x}")),
            (Err(how), _) => seen.push(format!("{topic}: {how}")),
            (Ok(_), Some(false)) => seen.push(format!("{topic}: acknowledged, but not delivered")),
            (Ok(_), None) => unknown.push(format!("{topic}: acknowledged, but nobody listened")),
        }
    }
    match unknown.into_iter().next() {
        Some(why) => not_checked(why),
        None => pass(seen.join("; ")),
    }
}

fn will(seen: &CloudSeen) -> Verdict {
    let will = match &seen.will {
        Ok(will) => will,
        Err(why) => return not_checked(why),
    };
    let Some(after) = will.after_ms else { return fail("it was never published") };
    let mut wrong = Vec::new();
    if after < WILL_EARLY_MS {
        wrong.push(format!(
            "it was said {after} ms after the camera was gone, and {WILL_DELAY_MS} were asked for"
        ));
    }
    if will.payload != kasacam::mqtt::topics::OFFLINE {
        wrong.push("it is not what the camera asked for".to_owned());
    }
    if will.qos != 1 {
        wrong.push(format!("QoS {}", will.qos));
    }
    if !will.retained {
        wrong.push("it is not retained".to_owned());
    }
    super::super::row::unless(&wrong, format!("said {after} ms after the camera was gone, and retained"))
}
