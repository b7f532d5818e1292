//! The form of each payload: the schemas of `docs/schemas` when this program was built.

use super::super::row::{Rule, Verdict, not_checked, unless};
use super::seen::CameraSeen;
use serde_json::Value;

const CLAUSE: &str = "contract.md#figures-and-forms";
const SAYS: &str = "with a JSON Schema of every payload in";

pub(crate) const RULES: &[Rule<CameraSeen>] = &[
    Rule {
        id: "form.status",
        asks: "`R/status` matches its schema",
        clause: CLAUSE,
        says: SAYS,
        judge: |seen| fits(seen, "status", include_str!("../../../../../../docs/schemas/status.json")),
    },
    Rule {
        id: "form.privacy",
        asks: "`R/privacy/reported` matches its schema",
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
        asks: "`R/entitlement/reported` matches its schema",
        clause: CLAUSE,
        says: SAYS,
        judge: |seen| {
            let schema = include_str!("../../../../../../docs/schemas/entitlement-reported.json");
            fits(seen, "entitlement/reported", schema)
        },
    },
    Rule {
        id: "form.telemetry",
        asks: "`R/telemetry` matches its schema",
        clause: CLAUSE,
        says: SAYS,
        judge: |seen| fits(seen, "telemetry", include_str!("../../../../../../docs/schemas/telemetry.json")),
    },
    Rule {
        id: "form.event",
        asks: "`R/event` matches its schema",
        clause: CLAUSE,
        says: SAYS,
        judge: |seen| fits(seen, "event", include_str!("../../../../../../docs/schemas/event.json")),
    },
    Rule {
        id: "form.grant-request",
        asks: "`R/grant/request` matches its schema",
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
        return not_checked("nothing was published");
    }
    let wrong: Vec<String> = messages
        .iter()
        .filter_map(|message| match message.json() {
            None => Some("it is not JSON".to_owned()),
            // The place, not the value: payloads are never quoted.
            Some(said) => {
                validator.iter_errors(&said).next().map(|fault| match fault.instance_path().to_string() {
                    at if at.is_empty() => "it does not match the schema".to_owned(),
                    at => format!("{at} does not match the schema"),
                })
            }
        })
        .collect();
    unless(&wrong, format!("{} messages", messages.len()))
}
