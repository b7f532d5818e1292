//! The form of each payload: the schemas of `docs/schemas`, as they were when this program was built.

use super::super::row::{Rule, Verdict, not_checked, unless};
use super::seen::CameraSeen;
use serde_json::Value;

const CLAUSE: &str = "contract.md#figures-and-forms";
const SAYS: &str = "with a JSON Schema of every payload in";

pub(crate) const RULES: &[Rule<CameraSeen>] = &[
    Rule {
        id: "form.status",
        asks: "`R/status` has its form",
        clause: CLAUSE,
        says: SAYS,
        judge: |seen| fits(seen, "status", include_str!("../../../../../../docs/schemas/status.json")),
    },
    Rule {
        id: "form.privacy",
        asks: "`R/privacy/reported` has its form",
        clause: CLAUSE,
        says: SAYS,
        judge: |seen| {
            fits(
                seen,
                "privacy/reported",
                include_str!("../../../../../../docs/schemas/privacy-reported.json"),
            )
        },
    },
    Rule {
        id: "form.entitlement",
        asks: "`R/entitlement/reported` has its form",
        clause: CLAUSE,
        says: SAYS,
        judge: |seen| {
            let schema = include_str!("../../../../../../docs/schemas/entitlement-reported.json");
            fits(seen, "entitlement/reported", schema)
        },
    },
    Rule {
        id: "form.telemetry",
        asks: "`R/telemetry` has its form",
        clause: CLAUSE,
        says: SAYS,
        judge: |seen| fits(seen, "telemetry", include_str!("../../../../../../docs/schemas/telemetry.json")),
    },
    Rule {
        id: "form.event",
        asks: "`R/event` has its form",
        clause: CLAUSE,
        says: SAYS,
        judge: |seen| fits(seen, "event", include_str!("../../../../../../docs/schemas/event.json")),
    },
    Rule {
        id: "form.grant-request",
        asks: "`R/grant/request` has its form",
        clause: CLAUSE,
        says: SAYS,
        judge: |seen| {
            fits(seen, "grant/request", include_str!("../../../../../../docs/schemas/grant-request.json"))
        },
    },
];

fn fits(seen: &CameraSeen, topic: &str, schema: &str) -> Verdict {
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    let Ok(validator) = jsonschema::draft202012::new(&schema) else {
        return not_checked("the schema cannot be used");
    };
    let messages: Vec<_> = seen.retained.iter().chain(&seen.live).filter(|it| it.topic == topic).collect();
    if messages.is_empty() {
        return not_checked("nothing was said");
    }
    let wrong: Vec<String> = messages
        .iter()
        .filter_map(|message| match message.json() {
            None => Some("it is no JSON".to_owned()),
            // Where, and not what: a payload is not quoted.
            Some(said) => {
                validator.iter_errors(&said).next().map(|fault| match fault.instance_path().to_string() {
                    at if at.is_empty() => "it is not of its form".to_owned(),
                    at => format!("{at} is not of its form"),
                })
            }
        })
        .collect();
    unless(&wrong, format!("{} messages", messages.len()))
}
