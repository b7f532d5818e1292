//! How a camera follows the owner's choice and the lease, and refuses commands.

use super::super::row::{Rule, Verdict, fail, not_checked, pass, unless};
use super::named::{Footage, footage};
use super::seen::{CameraSeen, Message};
use super::told::{Told, told};
use kasacam::domain::time::Utc;
use serde_json::Value;
use std::time::Duration;

/// A device that does not close within 5 s ends the process within 2 s more.
const APPLY_TIMEOUT: Duration = Duration::from_secs(10);
/// A command that is replaced within this time need not be reported.
const TAKEN_BACK: Duration = Duration::from_secs(1);
/// The last frame ends where the next one would begin.
const FRAME: Duration = Duration::from_millis(200);
/// When the plan stops recording, frames that were captured before are still kept.
const DRAIN: Duration = Duration::from_secs(3);

pub(crate) const RULES: &[Rule<CameraSeen>] = &[
    Rule {
        id: "reported.versions",
        asks: "reported versions never go back",
        clause: "contract.md#commands",
        says: "`version` only grows.",
        judge: versions,
    },
    Rule {
        id: "reported.applied-at",
        asks: "`applied_at` is not before the `issued_at` of the choice that it reports",
        clause: "contract.md#figures-and-forms",
        says: "`applied_at` is never before the `issued_at` of the choice that it reports.",
        judge: applied,
    },
    Rule {
        id: "privacy.closed",
        asks: "after a \"do not record\" the camera reports that choice, and `closed`, within 10 s",
        clause: "contract.md#2-the-policy",
        says: "One that does not close within 5 s is `closing`",
        judge: |seen| {
            in_time(
                seen,
                "privacy",
                |it| it.forbids(),
                |report, version| {
                    number(report) >= Some(version)
                        && report.get("capture").and_then(Value::as_str) == Some("closed")
                },
            )
        },
    },
    Rule {
        id: "privacy.opened",
        asks: "after a permission the camera reports that choice within 10 s",
        clause: "contract.md#1-what-the-service-agreement-asks-of-the-camera",
        says: "the owner may stop video and audio recording at any time",
        judge: |seen| {
            in_time(seen, "privacy", |it| !it.forbids(), |report, version| number(report) >= Some(version))
        },
    },
    Rule {
        id: "privacy.nothing-kept",
        asks: "nothing is stored that was captured after the `issued_at` of a \"do not record\"",
        clause: "contract.md#2-the-policy",
        says: "On `do_not_record` nothing captured after its `issued_at` is kept",
        judge: nothing_kept,
    },
    Rule {
        id: "entitlement.reported",
        asks: "a lease is reported within 10 s, without a restart",
        clause: "contract.md#1-what-the-service-agreement-asks-of-the-camera",
        says: "a new one takes effect as it arrives, without a restart",
        judge: |seen| {
            in_time(seen, "entitlement", |_| true, |report, version| number(report) >= Some(version))
        },
    },
    Rule {
        id: "entitlement.no-footage",
        asks: "nothing is captured while the lease does not allow recording",
        clause: "policy.md#in-short",
        says: "**Capture** runs only if privacy is `record`, the entitlement is `granted` with `features.record`",
        judge: |seen| without(seen, "the lease does not allow recording", |it| it.records(), |_| true),
    },
    Rule {
        id: "entitlement.no-audio",
        asks: "no audio is captured while the lease has none",
        clause: "policy.md#in-short",
        says: "**Audio** is captured if `features.audio` and `recording.audio` both say so.",
        judge: |seen| without(seen, "the lease has no audio", |it| it.feature("audio"), |it| it.has_audio),
    },
    Rule {
        id: "rejected.forged",
        asks: "a command with the signature of another key is refused and reported, and changes nothing",
        clause: "contract.md#commands",
        says: "a bad signature, an unknown `kid`, a message over 16 KiB or a malformed one is rejected",
        judge: |seen| refused(seen, "bad_signature"),
    },
    Rule {
        id: "rejected.stale",
        asks: "a command with a lower version is refused and reported, and changes nothing",
        clause: "contract.md#commands",
        says: "{\"event\":\"rejected\",\"topic\":\"...\",\"reason\":\"stale_version\"}",
        judge: |seen| refused(seen, "stale_version"),
    },
];

fn number(report: &Value) -> Option<u64> {
    report.get("version")?.as_u64()
}

/// Reports of a kind with the time of their arrival, retained ones first.
fn reports<'a>(seen: &'a CameraSeen, kind: &str) -> Vec<(&'a Message, Value)> {
    let topic = format!("{kind}/reported");
    let all = seen.retained.iter().chain(&seen.live).filter(|it| it.topic == topic);
    all.filter_map(|message| Some((message, message.json()?))).collect()
}

fn versions(seen: &CameraSeen) -> Verdict {
    let (mut wrong, mut looked) = (Vec::new(), 0);
    for kind in ["privacy", "entitlement"] {
        let numbers: Vec<u64> = reports(seen, kind).iter().filter_map(|(_, report)| number(report)).collect();
        for (before, after) in numbers.iter().zip(numbers.iter().skip(1)) {
            looked += 1;
            if after < before {
                wrong.push(format!("{kind}: version {after} was reported after version {before}"));
            }
        }
    }
    if looked == 0 {
        not_checked("nothing was reported twice")
    } else {
        unless(&wrong, format!("{looked} compared"))
    }
}

fn applied(seen: &CameraSeen) -> Verdict {
    let choices = told(seen, "privacy/desired");
    let (mut wrong, mut looked) = (Vec::new(), 0);
    for (_, report) in reports(seen, "privacy") {
        let choice = choices.iter().find(|choice| Some(choice.version) == number(&report));
        let at = report.get("applied_at").and_then(Value::as_str).and_then(Utc::parse);
        let (Some(choice), Some(at)) = (choice, at) else { continue };
        looked += 1;
        if at < choice.issued_at {
            wrong.push(format!(
                "version {} was issued at {}, and applied at {at}",
                choice.version, choice.issued_at
            ));
        }
    }
    if looked == 0 {
        not_checked("no report is about a known choice")
    } else {
        unless(&wrong, format!("{looked} compared"))
    }
}

/// Each such command is followed by the right report.
fn in_time(
    seen: &CameraSeen,
    kind: &str,
    concerns: fn(&Told) -> bool,
    wanted: fn(&Value, u64) -> bool,
) -> Verdict {
    let commands = told(seen, &format!("{kind}/desired"));
    let reports = reports(seen, kind);
    let (mut wrong, mut slowest, mut looked) = (Vec::new(), Duration::ZERO, 0);
    for (command, next) in commands.iter().zip(commands.iter().skip(1).map(Some).chain([None])) {
        let Some(heard) = command.heard.filter(|_| concerns(command)) else { continue };
        // A command that was replaced at once need not be reported.
        if next.and_then(|next| next.heard).is_some_and(|at| at.since(heard) < TAKEN_BACK) {
            continue;
        }
        looked += 1;
        let first =
            reports.iter().find(|(message, report)| message.at >= heard && wanted(report, command.version));
        let version = command.version;
        match first.map(|(message, _)| message.at.since(heard)) {
            Some(after) if after <= APPLY_TIMEOUT => slowest = slowest.max(after),
            Some(after) => wrong.push(format!("version {version}: after {} ms", after.as_millis())),
            None => wrong.push(format!("version {version} was not reported")),
        }
    }
    if looked == 0 {
        return not_checked("no such command was sent");
    }
    unless(&wrong, format!("{looked} times, within {} ms", slowest.as_millis()))
}

/// When something was not allowed: from a command that forbids it until the next that allows it.
fn forbidden(
    commands: &[Told],
    allows: impl Fn(&Told) -> bool,
    from: impl Fn(&Told) -> Option<Utc>,
) -> Vec<(Utc, Utc)> {
    let mut times = Vec::new();
    let mut since: Option<Utc> = None;
    for command in commands {
        match (allows(command), since) {
            (false, None) => since = from(command),
            (true, Some(begin)) => {
                times.push((begin, command.issued_at));
                since = None;
            }
            (false, Some(_)) | (true, None) => {}
        }
    }
    times.extend(since.map(|begin| (begin, Utc(i64::MAX))));
    times
}

fn with_footage(seen: &CameraSeen, judge: impl Fn(&[Footage]) -> Verdict) -> Verdict {
    match &seen.objects {
        Err(why) => not_checked(why),
        Ok(objects) => judge(&footage(seen, objects)),
    }
}

fn nothing_kept(seen: &CameraSeen) -> Verdict {
    let choices = told(seen, "privacy/desired");
    let times = forbidden(&choices, |it| !it.forbids(), |it| Some(it.issued_at));
    if times.is_empty() {
        return not_checked("no \"do not record\" was sent");
    }
    with_footage(seen, |footage| {
        let trusted: Vec<&Footage> = footage.iter().filter(|it| it.clock_is_trusted).collect();
        let wrong: Vec<String> = trusted
            .iter()
            .filter(|it| times.iter().any(|(from, until)| it.begin < *until && it.end > *from + FRAME))
            .map(|it| format!("{} lasts until {}", it.key, it.end))
            .collect();
        unless(&wrong, format!("{} segments looked at", trusted.len()))
    })
}

/// Nothing that is `meant` was captured while no lease allowed it.
fn without(seen: &CameraSeen, when: &str, allows: fn(&Told) -> bool, meant: fn(&Footage) -> bool) -> Verdict {
    let leases = told(seen, "entitlement/desired");
    if leases.is_empty() {
        return not_checked("no lease is known");
    }
    // A lease counts from its arrival, which the camera reports; a retained one was there before.
    let reports = reports(seen, "entitlement");
    let arrived = |lease: &Told| {
        let Some(heard) = lease.heard else { return lease.issued_at };
        let report = |(message, report): &&(&Message, Value)| {
            message.at >= heard && number(report) >= Some(lease.version)
        };
        reports.iter().find(report).map_or(heard, |(message, _)| message.at)
    };
    let times = forbidden(&leases, allows, |it| Some(arrived(it)));
    if times.is_empty() {
        return not_checked(format!("at no time {when}"));
    }
    with_footage(seen, |footage| {
        let wrong: Vec<String> = footage
            .iter()
            .filter(|it| meant(it) && it.clock_is_trusted)
            .filter(|it| times.iter().any(|(from, until)| it.begin < *until && it.end > *from + DRAIN))
            .map(|it| format!("{} lasts until {}", it.key, it.end))
            .collect();
        unless(&wrong, format!("{} segments looked at", footage.len()))
    })
}

fn refused(seen: &CameraSeen, reason: &str) -> Verdict {
    let attempts = match &seen.attempts {
        Ok(attempts) => attempts,
        Err(why) => return not_checked(why),
    };
    let Some(attempt) = attempts.iter().find(|attempt| attempt.reason == reason) else {
        return not_checked("not tested");
    };
    let after = |message: &&Message| message.at >= attempt.at;
    let reported =
        seen.live.iter().filter(after).filter(|it| it.topic == "event").filter_map(Message::json).any(
            |event| {
                let is = |name: &str, wanted: &str| event.get(name).and_then(Value::as_str) == Some(wanted);
                is("event", "rejected") && is("reason", reason)
            },
        );
    let applied = reports(seen, "privacy").iter().any(|(message, report)| {
        message.at >= attempt.at && reason == "bad_signature" && number(report) == Some(attempt.version)
    });
    if applied {
        fail(format!("version {} was reported as in force", attempt.version))
    } else if !reported {
        fail(format!("no event `rejected` with the reason {reason}"))
    } else {
        pass("it was reported, and changed nothing")
    }
}
