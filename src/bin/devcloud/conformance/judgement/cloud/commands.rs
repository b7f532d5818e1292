//! What the cloud retains for a camera: the owner's choice and the lease.

use super::super::claims::{unverified, unverified_json};
use super::super::row::{Look, Rule, Verdict, fail, not_checked, pass, unless};
use super::seen::{CloudSeen, Delivered, Round};
use kasacam::config::VerifyingKey;
use kasacam::domain::input::Rejection;
use kasacam::domain::time::Utc;
use kasacam::mqtt::payloads::{ENTITLEMENT_TYP, PRIVACY_TYP};
use kasacam::mqtt::{claims, jws};
use serde_json::Value;
use std::time::Duration;

/// A camera refuses a permission or a lease that was issued further ahead than this, as `issued_ahead`.
const MAX_AHEAD: Duration = Duration::from_secs(86_400);

pub(crate) const RULES: &[Rule<CloudSeen>] = &[
    Rule {
        id: "privacy.retained",
        asks: "the owner's choice is retained, and delivered to a subscriber with QoS 1",
        clause: "contract.md#3-mqtt",
        says: "| `R/privacy/desired` | to the camera | 1 | yes | JWS, see below |",
        judge: |seen| retained(&seen.first, privacy_of),
    },
    Rule {
        id: "privacy.signature",
        asks: "the choice is a compact JWS with EdDSA, its `typ`, and a valid signature of a known key",
        clause: "contract.md#commands",
        says: "`alg` is `EdDSA` with Ed25519, and nothing else; `kid` names a key of `privacy.keys` for a choice",
        judge: |seen| signature(&seen.first, privacy_of, &seen.privacy_keys, PRIVACY_TYP),
    },
    Rule {
        id: "privacy.claims",
        asks: "the claims of the choice are complete, and for this device",
        clause: "contract.md#commands",
        says: "{\"device_id\":\"cam-0001\",\"version\":17,\"issued_at\":\"2026-11-23T12:00:00Z\",\"do_not_record\":true}",
        judge: |seen| {
            claims_of(seen, privacy_of, |payload, device| {
                claims::privacy(payload, device).map(|it| it.version)
            })
        },
    },
    Rule {
        id: "lease.retained",
        asks: "the lease is retained, and delivered to a subscriber with QoS 1",
        clause: "contract.md#3-mqtt",
        says: "| `R/entitlement/desired` | to the camera | 1 | yes | JWS, see below |",
        judge: |seen| retained(&seen.first, lease_of),
    },
    Rule {
        id: "lease.signature",
        asks: "the lease is a compact JWS with EdDSA, its `typ`, and a valid signature of a known key",
        clause: "contract.md#commands",
        says: "and of `entitlement.keys` for a lease",
        judge: |seen| signature(&seen.first, lease_of, &seen.lease_keys, ENTITLEMENT_TYP),
    },
    Rule {
        id: "lease.claims",
        asks: "the claims of the lease are complete, and for this device",
        clause: "contract.md#commands",
        says: "\"features\":{\"record\":true,\"audio\":true,\"max_height\":1080,\"history_hours\":720}",
        judge: |seen| {
            claims_of(seen, lease_of, |payload, device| {
                claims::entitlement(payload, device).map(|it| it.version)
            })
        },
    },
    Rule {
        id: "lease.in-force",
        asks: "the lease has not ended: a renewed one replaces it in time",
        clause: "contract.md#1-what-the-service-agreement-asks-of-the-camera",
        says: "a renewed lease replaces the old one with no gap in the recording",
        judge: in_force,
    },
    Rule {
        id: "commands.issued",
        asks: "no command was issued more than a day ahead",
        clause: "contract.md#commands",
        says: "a permission or a lease whose `issued_at` lies more than a day ahead of a trusted clock",
        judge: issued,
    },
    Rule {
        id: "commands.return",
        asks: "a camera that returns to its session receives both commands again",
        clause: "contract.md#3-mqtt",
        says: "Where a session that the broker had kept brings no retained choice, the camera unsubscribes and subscribes once more",
        judge: |seen| again(&seen.first, &seen.back),
    },
    Rule {
        id: "commands.clean",
        asks: "a camera that starts a new session receives both commands again",
        clause: "contract.md#3-mqtt",
        says: "On each connection the camera subscribes, hears what the broker holds for it",
        judge: |seen| again(&seen.first, &seen.anew),
    },
    Rule {
        id: "versions.back",
        asks: "a later command never has a lower version",
        clause: "contract.md#commands",
        says: "`version` only grows.",
        judge: back,
    },
    Rule {
        id: "versions.same",
        asks: "two commands with the same version have the same content",
        clause: "contract.md#commands",
        says: "Of two privacy choices with one version and different contents the stricter stays",
        judge: same,
    },
];

type Which = fn(&Round) -> Option<&Delivered>;

fn privacy_of(round: &Round) -> Option<&Delivered> {
    round.privacy.as_ref()
}

fn lease_of(round: &Round) -> Option<&Delivered> {
    round.lease.as_ref()
}

/// The command of the first round, or the verdict if there is none.
fn command(round: &Look<Round>, which: Which) -> Result<&Delivered, Verdict> {
    let round = round.as_ref().map_err(|why| not_checked(why.as_str()))?;
    which(round).ok_or_else(|| not_checked("nothing is retained"))
}

fn retained(round: &Look<Round>, which: Which) -> Verdict {
    let round = match round {
        Ok(round) => round,
        Err(why) => return not_checked(why),
    };
    match which(round) {
        None => fail("nothing was received"),
        Some(it) if !it.retain => fail("it was delivered without the RETAIN flag"),
        Some(it) if it.qos != 1 => fail(format!("it was delivered with QoS {}", it.qos)),
        Some(it) => pass(format!("{} bytes, QoS 1", it.payload.len())),
    }
}

fn signature(round: &Look<Round>, which: Which, keys: &Look<Vec<VerifyingKey>>, typ: &str) -> Verdict {
    let command = match command(round, which) {
        Ok(command) => command,
        Err(verdict) => return verdict,
    };
    let keys = match keys {
        Ok(keys) => keys,
        Err(why) => return not_checked(why),
    };
    match jws::verify(keys, typ, &command.payload) {
        Ok(_) => pass("valid"),
        Err(why) => fail(why.text()),
    }
}

fn claims_of(seen: &CloudSeen, which: Which, read: fn(&[u8], &str) -> Result<u64, Rejection>) -> Verdict {
    let command = match command(&seen.first, which) {
        Ok(command) => command,
        Err(verdict) => return verdict,
    };
    let Some(payload) = unverified(&command.payload) else { return fail("it is not a compact JWS") };
    match read(&payload, &seen.device) {
        Ok(version) => pass(format!("version {version}")),
        Err(why) => fail(why.text()),
    }
}

fn time(claims: &Value, name: &str) -> Option<Utc> {
    Utc::parse(claims.get(name)?.as_str()?)
}

fn in_force(seen: &CloudSeen) -> Verdict {
    let command = match command(&seen.first, lease_of) {
        Ok(command) => command,
        Err(verdict) => return verdict,
    };
    let claims = unverified_json(&command.payload);
    let Some(not_after) = claims.as_ref().and_then(|claims| time(claims, "not_after")) else {
        return not_checked("the lease cannot be read");
    };
    if not_after > seen.now {
        pass(format!("until {not_after}"))
    } else {
        fail(format!("it ended at {not_after}"))
    }
}

fn issued(seen: &CloudSeen) -> Verdict {
    let (mut wrong, mut looked) = (Vec::new(), 0);
    for which in [privacy_of as Which, lease_of] {
        let Ok(command) = command(&seen.first, which) else { continue };
        let Some(claims) = unverified_json(&command.payload) else { continue };
        let Some(at) = time(&claims, "issued_at") else { continue };
        looked += 1;
        // A camera follows "do not record" whatever its time.
        let forbids = claims.get("do_not_record").and_then(Value::as_bool) == Some(true);
        if at.since(seen.now) > MAX_AHEAD && !forbids {
            wrong.push(format!("one has the issued_at {at}"));
        }
    }
    if looked == 0 {
        not_checked("nothing is retained")
    } else {
        unless(&wrong, format!("{looked} looked at"))
    }
}

fn again(first: &Look<Round>, later: &Look<Round>) -> Verdict {
    let (first, later) = match (first, later) {
        (Ok(first), Ok(later)) => (first, later),
        (Err(why), _) | (_, Err(why)) => return not_checked(why),
    };
    let mut wrong = Vec::new();
    for (name, which) in [("the choice", privacy_of as Which), ("the lease", lease_of)] {
        if which(first).is_some() && !which(later).is_some_and(|it| it.retain) {
            wrong.push(format!("{name} was not delivered again"));
        }
    }
    if first.privacy.is_none() && first.lease.is_none() {
        return not_checked("nothing is retained");
    }
    unless(&wrong, if later.asked_twice { "given to a second subscription" } else { "given again" })
}

/// Version and content of each command, in the order of delivery.
fn given(seen: &CloudSeen, which: Which) -> Vec<(u64, Value)> {
    [&seen.first, &seen.back, &seen.anew]
        .into_iter()
        .filter_map(|round| {
            let claims = unverified_json(&which(round.as_ref().ok()?)?.payload)?;
            Some((claims.get("version")?.as_u64()?, claims))
        })
        .collect()
}

fn pairs(seen: &CloudSeen, wrong: impl Fn(&(u64, Value), &(u64, Value)) -> Option<String>) -> Verdict {
    let (mut found, mut looked) = (Vec::new(), 0);
    for which in [privacy_of as Which, lease_of] {
        let given = given(seen, which);
        for (before, after) in given.iter().zip(given.iter().skip(1)) {
            looked += 1;
            found.extend(wrong(before, after));
        }
    }
    if looked == 0 {
        not_checked("nothing was delivered twice")
    } else {
        unless(&found, format!("{looked} compared"))
    }
}

fn back(seen: &CloudSeen) -> Verdict {
    pairs(seen, |(before, _), (after, _)| {
        (after < before).then(|| format!("version {after} was given after version {before}"))
    })
}

fn same(seen: &CloudSeen) -> Verdict {
    pairs(seen, |(before, said), (after, other)| {
        (before == after && said != other).then(|| format!("version {before} was given with other contents"))
    })
}
