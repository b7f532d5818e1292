//! The rules of the conformance kit against the documents that they come from, and what they make of what was seen.

#[path = "../../src/bin/devcloud/conformance/judgement/mod.rs"]
#[expect(dead_code, reason = "the program uses all of it")]
pub mod judgement;

use judgement::camera;
use judgement::camera::seen::{Attempt, CameraSeen, Message};
use judgement::cloud::seen::{CloudSeen, ConnAckSeen, Delivered, Round, Said};
use judgement::cloud::{rows, rules};
use judgement::report::Report;
use judgement::row::{Outcome, Row};
use kasacam::domain::time::Utc;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

/// As GitHub makes the anchor of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .collect::<String>();
    kept.trim().replace(' ', "-")
}

/// The text below each heading of a document, up to the next heading, with single spaces.
fn sections(document: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(docs(document)).unwrap();
    let (mut sections, mut here) = (BTreeMap::<String, String>::new(), String::new());
    for line in text.lines() {
        match line.trim_start_matches('#').strip_prefix(' ') {
            Some(heading) if line.starts_with('#') => here = anchor(heading),
            _ => {
                let section = sections.entry(here.clone()).or_default();
                for word in line.split_whitespace() {
                    section.push_str(word);
                    section.push(' ');
                }
            }
        }
    }
    sections
}

/// Id, what is asked, clause, and the words of it, of every rule.
fn every_rule() -> Vec<[&'static str; 4]> {
    let verify = rules().into_iter().flatten().map(|rule| [rule.id, rule.asks, rule.clause, rule.says]);
    let watch =
        camera::rules().into_iter().flatten().map(|rule| [rule.id, rule.asks, rule.clause, rule.says]);
    verify.chain(watch).collect()
}

#[test]
fn each_row_quotes_a_clause_that_stands_in_its_document() {
    let mut documents = BTreeMap::new();
    let rules = every_rule();
    for [id, asks, clause, says] in &rules {
        let (document, anchor) = clause.split_once('#').unwrap();
        let sections = documents.entry(document.to_owned()).or_insert_with(|| sections(document));
        let section =
            sections.get(anchor).unwrap_or_else(|| panic!("{id}: {document} has no heading #{anchor}"));
        assert!(section.contains(says), "{id}: below {clause} there is no {says:?}");
        assert!(!asks.is_empty() && !asks.contains('|'), "{id}");
    }
    let mut ids: Vec<&str> = rules.iter().map(|[id, ..]| *id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), rules.len(), "no id stands twice");
    assert!(ids.iter().all(|id| id.bytes().all(|b| b.is_ascii_lowercase() || b".-".contains(&b))));
}

/// The table of a document between two marks, written anew with `KASACAM_BLESS=1`.
fn assert_table(name: &str, table: &str) {
    let path = docs("conformance.md");
    let text = std::fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- rows of {name}: begin -->\n"), format!("<!-- rows of {name}: end -->"));
    let from = text.find(&begin).unwrap() + begin.len();
    let to = text.find(&end).unwrap();
    if std::env::var_os("KASACAM_BLESS").is_some() {
        std::fs::write(&path, [&text[..from], table, &text[to..]].concat()).unwrap();
        return;
    }
    assert_eq!(&text[from..to], table, "docs/conformance.md: KASACAM_BLESS=1 writes it anew");
}

#[test]
fn the_document_has_every_row() {
    let mut table = String::from("| id | what is looked at | clause |\n|---|---|---|\n");
    for [id, asks, clause, _] in rules().into_iter().flatten().map(|it| [it.id, it.asks, it.clause, it.says])
    {
        table.push_str(&format!("| `{id}` | {asks} | [{clause}]({clause}) |\n"));
    }
    assert_table("verify", &table);
}

#[test]
fn the_schema_of_a_report_is_made_from_its_type() {
    crate::schemas::assert_made_from::<Report>(
        "conformance",
        "The report of `kasacam-devcloud verify` and `watch`",
    );
}

fn at(text: &str) -> Utc {
    Utc::parse(text).unwrap()
}

fn nothing() -> CloudSeen {
    CloudSeen::nothing("cam-0001", at("2026-11-26T12:00:00Z"), "nobody looked")
}

fn row(seen: &CloudSeen, id: &str) -> Row {
    rows(seen).into_iter().find(|row| row.id == id).unwrap()
}

#[test]
fn what_was_not_looked_at_is_neither_right_nor_wrong() {
    let rows = rows(&nothing());
    assert!(rows.iter().all(|row| row.outcome == Outcome::NotChecked && !row.seen.is_empty()), "{rows:#?}");
    let report = Report::new("verify", "cam-0001", at("2026-11-26T12:00:00Z"), rows.clone());
    assert_eq!((report.passed, report.failed, report.not_checked), (0, 0, rows.len()));
    assert_eq!(report.exit_code(), 0);
}

#[test]
fn a_report_counts_its_rows_and_ends_with_one_where_one_failed() {
    let mut seen = nothing();
    seen.connack = Ok(ConnAckSeen { success: true, max_packet: Some(4096), ..ConnAckSeen::default() });
    let report = Report::new("verify", "cam-0001", at("2026-11-26T12:00:00Z"), rows(&seen));
    assert_eq!((report.failed, report.exit_code()), (1, 1));
    let table = report.table();
    let failed = table.lines().find(|line| line.starts_with("FAIL")).unwrap();
    assert!(failed.contains("broker.limits") && failed.contains("4096"), "{table}");
    assert!(table.ends_with("not checked\n"));
}

#[test]
fn limits_of_connack_are_told_each() {
    let right = ConnAckSeen { success: true, ..ConnAckSeen::default() };
    let cases = [
        (right.clone(), Outcome::Pass),
        (ConnAckSeen { max_packet: Some(1 << 20), ..right.clone() }, Outcome::Pass),
        (ConnAckSeen { max_packet: Some(16 * 1024), ..right.clone() }, Outcome::Fail),
        (ConnAckSeen { max_qos: Some(0), ..right.clone() }, Outcome::Fail),
        (ConnAckSeen { session_expiry: Some(0), ..right.clone() }, Outcome::Fail),
        (ConnAckSeen { session_expiry: Some(60), ..right }, Outcome::Pass),
        (ConnAckSeen { success: false, ..ConnAckSeen::default() }, Outcome::NotChecked),
    ];
    for (connack, outcome) in cases {
        let seen = CloudSeen { connack: Ok(connack.clone()), ..nothing() };
        assert_eq!(row(&seen, "broker.limits").outcome, outcome, "{connack:?}");
    }
}

#[test]
fn a_message_that_may_not_be_is_refused_passed_over_or_ends_the_connection() {
    let said = |puback, delivered| Said { topic: "event".into(), puback, delivered };
    let cases = [
        (said(Ok(0x87), Some(false)), Outcome::Pass),
        (said(Ok(0x87), None), Outcome::Pass),
        (said(Ok(0x00), Some(false)), Outcome::Pass),
        (said(Err("it ended the connection".into()), None), Outcome::Pass),
        (said(Ok(0x00), None), Outcome::NotChecked),
        (said(Ok(0x00), Some(true)), Outcome::Fail),
        // It says that it refuses, and delivers.
        (said(Ok(0x87), Some(true)), Outcome::Fail),
    ];
    for (tried, outcome) in cases {
        let refused = said(Ok(0x87), Some(false));
        let seen = CloudSeen { to_other: Ok(tried.clone()), command_to_other: Ok(refused), ..nothing() };
        assert_eq!(row(&seen, "acl.publish").outcome, outcome, "{tried:?}");
    }
}

/// A choice that nobody signed.
fn delivered(version: u64, do_not_record: bool) -> Delivered {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let claims = json!({"device_id": "cam-0001", "version": version,
        "issued_at": "2026-11-26T11:00:00Z", "do_not_record": do_not_record});
    let jws = format!("e30.{}.AAAA", URL_SAFE_NO_PAD.encode(claims.to_string()));
    Delivered { payload: jws.into_bytes(), qos: 1, retain: true }
}

fn given(versions: [(u64, bool); 3]) -> CloudSeen {
    let [first, back, anew] = versions.map(|(version, private)| {
        Ok(Round { privacy: Some(delivered(version, private)), ..Round::default() })
    });
    CloudSeen { first, back, anew, ..nothing() }
}

#[test]
fn versions_stay_or_grow_and_one_version_says_one_thing() {
    let outcomes = |versions| {
        let seen = given(versions);
        (row(&seen, "versions.back").outcome, row(&seen, "versions.same").outcome)
    };
    assert_eq!(outcomes([(7, false), (7, false), (7, false)]), (Outcome::Pass, Outcome::Pass));
    assert_eq!(outcomes([(7, false), (8, true), (8, true)]), (Outcome::Pass, Outcome::Pass));
    assert_eq!(outcomes([(7, false), (6, false), (7, false)]), (Outcome::Fail, Outcome::Pass));
    assert_eq!(outcomes([(7, false), (7, true), (7, true)]), (Outcome::Pass, Outcome::Fail));
}

#[test]
fn a_permission_from_far_ahead_is_told_and_a_prohibition_is_not() {
    for (private, outcome) in [(false, Outcome::Fail), (true, Outcome::Pass)] {
        let mut seen = given([(7, private); 3]);
        seen.now = at("2026-11-24T11:00:00Z");
        assert_eq!(row(&seen, "commands.issued").outcome, outcome);
    }
}

/// A camera that nobody has heard.
fn unheard() -> CameraSeen {
    CameraSeen {
        device: "cam-0001".into(),
        prefix: "v1/".into(),
        postfix: String::new(),
        retained: Vec::new(),
        live: Vec::new(),
        attempts: Err("nobody tried".into()),
        telemetry: Duration::from_secs(60),
        objects: Err("nobody looked".into()),
    }
}

/// So many seconds after noon.
fn seconds(n: u64) -> Utc {
    at("2026-11-26T12:00:00Z") + Duration::from_secs(n)
}

fn said(n: u64, topic: &str, payload: &Value) -> Message {
    Message {
        at: seconds(n),
        topic: topic.into(),
        payload: payload.to_string().into_bytes(),
        qos: 1,
        retain: !["telemetry", "event", "grant/request"].contains(&topic),
        response_topic: None,
        correlation: None,
    }
}

fn chosen(n: u64, version: u64, do_not_record: bool) -> Message {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let claims = json!({"device_id": "cam-0001", "version": version, "issued_at": seconds(n),
        "do_not_record": do_not_record});
    let mut message = said(n, "privacy/desired", &json!(null));
    message.payload = format!("e30.{}.AAAA", URL_SAFE_NO_PAD.encode(claims.to_string())).into_bytes();
    message
}

fn reported(n: u64, version: u64, private: bool, capture: &str) -> Message {
    let report = json!({"version": version, "do_not_record": private, "latch": false, "capture": capture,
        "applied_at": seconds(n)});
    said(n, "privacy/reported", &report)
}

fn outcome(seen: &CameraSeen, id: &str) -> Outcome {
    camera::rows(seen).into_iter().find(|row| row.id == id).unwrap().outcome
}

#[test]
fn of_a_camera_that_nobody_has_heard_only_its_absence_is_told() {
    let rows = camera::rows(&unheard());
    let failed: Vec<&str> =
        rows.iter().filter(|row| row.outcome == Outcome::Fail).map(|row| row.id.as_str()).collect();
    assert_eq!(failed, ["status.online"]);
    assert!(rows.iter().all(|row| row.outcome != Outcome::Pass), "{rows:#?}");
}

#[test]
fn a_choice_is_to_be_reported_as_closed_and_in_time() {
    let cases = [
        (vec![reported(3, 8, true, "closed")], Outcome::Pass),
        (vec![reported(3, 8, true, "closing"), reported(8, 8, true, "closed")], Outcome::Pass),
        (vec![reported(3, 8, true, "closing")], Outcome::Fail),
        (vec![reported(3, 7, true, "closed")], Outcome::Fail),
        (vec![reported(14, 8, true, "closed")], Outcome::Fail),
        (vec![], Outcome::Fail),
    ];
    for (reports, wanted) in cases {
        let mut seen = unheard();
        seen.retained = vec![chosen(0, 7, false)];
        seen.live = [vec![chosen(2, 8, true)], reports.clone()].concat();
        assert_eq!(outcome(&seen, "privacy.closed"), wanted, "{reports:?}");
    }
    // One that was there before the watch began is not timed.
    let mut seen = unheard();
    seen.retained = vec![chosen(0, 8, true)];
    assert_eq!(outcome(&seen, "privacy.closed"), Outcome::NotChecked);
}

#[test]
fn reports_do_not_go_back_and_are_not_applied_before_they_were_issued() {
    let mut seen = unheard();
    seen.retained = vec![chosen(5, 7, true), reported(6, 7, true, "closed")];
    seen.live = vec![reported(7, 7, true, "closed")];
    assert_eq!(outcome(&seen, "reported.versions"), Outcome::Pass);
    assert_eq!(outcome(&seen, "reported.applied-at"), Outcome::Pass);
    seen.live = vec![reported(4, 6, true, "closed")];
    assert_eq!(outcome(&seen, "reported.versions"), Outcome::Fail);
    seen.live = vec![reported(4, 7, true, "closed")];
    assert_eq!(outcome(&seen, "reported.applied-at"), Outcome::Fail);
}

#[test]
fn a_forged_permission_has_to_be_told_and_must_not_be_in_force() {
    let rejected = said(3, "event", &json!({"event": "rejected", "topic": "t", "reason": "bad_signature"}));
    let forged = chosen(2, 1_000_007, false);
    let attempt = Attempt {
        reason: "bad_signature",
        at: seconds(2),
        payload: forged.payload.clone(),
        version: 1_000_007,
    };
    let cases = [
        (vec![forged.clone(), rejected.clone()], Outcome::Pass),
        (vec![forged.clone()], Outcome::Fail),
        (vec![forged, rejected, reported(4, 1_000_007, false, "open")], Outcome::Fail),
    ];
    for (live, wanted) in cases {
        let mut seen = unheard();
        seen.attempts = Ok(vec![attempt.clone()]);
        seen.live = live.clone();
        assert_eq!(outcome(&seen, "rejected.forged"), wanted, "{live:?}");
        assert_eq!(outcome(&seen, "rejected.stale"), Outcome::NotChecked);
        // What was said only to be refused is no command.
        assert_eq!(outcome(&seen, "privacy.opened"), Outcome::NotChecked);
    }
}

#[test]
fn a_session_begins_with_the_choice_that_is_in_force() {
    let online = said(1, "status", &json!({"online": true, "version": "0.1.0"}));
    let offline = said(4, "status", &json!({"online": false}));
    let mut seen = unheard();
    seen.live = vec![reported(1, 7, false, "closed"), online.clone()];
    assert_eq!(outcome(&seen, "publish.first"), Outcome::Pass);
    seen.live = vec![online.clone(), reported(1, 7, false, "closed")];
    assert_eq!(outcome(&seen, "publish.first"), Outcome::Fail);
    // It was there before: what comes first is chance.
    seen.retained = vec![online.clone()];
    assert_eq!(outcome(&seen, "publish.first"), Outcome::NotChecked);
    seen.live.extend([offline, online]);
    assert_eq!(outcome(&seen, "publish.first"), Outcome::Fail);
}

#[test]
fn figures_come_neither_too_often_nor_too_seldom() {
    for (times, wanted) in [
        (vec![0, 60, 120], Outcome::Pass),
        // One that was held up, and the next one right behind it.
        (vec![0, 60, 119, 120], Outcome::Pass),
        (vec![0, 0, 60, 60, 120, 120, 180, 180], Outcome::Fail),
        (vec![0, 400], Outcome::Fail),
        (vec![0], Outcome::NotChecked),
    ] {
        let mut seen = unheard();
        seen.live = times.iter().map(|n| said(*n, "telemetry", &json!({}))).collect();
        assert_eq!(outcome(&seen, "telemetry.rate"), wanted, "{times:?}");
    }
}

#[test]
fn a_payload_is_held_against_its_schema_and_is_not_quoted() {
    let mut seen = unheard();
    seen.live = vec![said(1, "status", &json!({"online": "a secret"}))];
    let rows = camera::rows(&seen);
    let row = rows.iter().find(|row| row.id == "form.status").unwrap();
    assert_eq!(row.outcome, Outcome::Fail);
    assert!(!rows.iter().any(|row| row.seen.contains("a secret")), "{rows:#?}");
}
