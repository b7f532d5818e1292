//! The JSON Schemas in `docs/schemas/`: those of what the camera sends are generated from its types; those of
//! what it receives are compared with the reader that decides. `KASACAM_BLESS=1` writes the former again.

use jsonschema::Validator;
use kasacam::domain::effect::{EntitlementReport, Event, PrivacyReport, Report, Rule, Telemetry};
use kasacam::domain::grant::GrantRequest;
use kasacam::domain::input::FaultKind;
use kasacam::domain::status::{MqttStanding, PrivacyStanding, Status};
use kasacam::domain::time::Utc;
use kasacam::mqtt::claims;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};
use std::path::PathBuf;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("docs/schemas/{name}.json"))
}

fn read(name: &str) -> Value {
    let path = path(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn validator(name: &str) -> Validator {
    jsonschema::draft202012::new(&read(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

pub fn assert_made_from<T: JsonSchema>(name: &str, title: &str) {
    let mut schema =
        SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<T>();
    schema.insert("title".into(), title.into());
    let made = schema.to_value();
    if std::env::var_os("KASACAM_BLESS").is_some() {
        std::fs::write(path(name), format!("{}\n", serde_json::to_string_pretty(&made).unwrap())).unwrap();
    }
    assert_eq!(
        read(name),
        made,
        "docs/schemas/{name}.json is not of the type: KASACAM_BLESS=1 writes it anew"
    );
}

#[test]
fn the_schemas_of_what_the_camera_says_are_made_from_its_types() {
    assert_made_from::<PrivacyReport>("privacy-reported", "R/privacy/reported");
    assert_made_from::<EntitlementReport>("entitlement-reported", "R/entitlement/reported");
    assert_made_from::<Telemetry>("telemetry", "R/telemetry");
    assert_made_from::<Event>("event", "R/event");
    assert_made_from::<Status>("control-status", "The answer of `kasacamd status --json`");
    assert_made_from::<GrantRequest>("grant-request", "R/grant/request");
}

/// As the camera serialises it, and with each member replaced by another type.
fn assert_fits(name: &str, said: &Value) {
    let validator = validator(name);
    let faults: Vec<String> = validator.iter_errors(said).map(|e| e.to_string()).collect();
    assert!(faults.is_empty(), "{name}: {said}: {faults:?}");
    for member in said.as_object().unwrap().keys() {
        let mut other = said.clone();
        other[member] = json!([{}]);
        assert!(!validator.is_valid(&other), "{name} takes anything for {member}");
    }
}

#[test]
fn what_the_camera_says_fits_its_schema_and_another_type_does_not() {
    let at = Utc::parse("2026-11-26T12:00:00.25Z").unwrap();
    let events = [
        Event::Rejected { topic: "t".into(), reason: "stale_version" },
        Event::SegmentPurged {
            serial: 1,
            span: "s".into(),
            n: 2,
            start: at,
            is_end: false,
            rule: Rule::AfterChoice,
        },
        Event::SegmentCut {
            serial: 1,
            span: "s".into(),
            n: 2,
            start: at,
            kept_ms: 3,
            rule: Rule::AfterChoice,
        },
        Event::Unheard,
        Event::UnheardOver { by: "choice" },
        Event::CaptureFailed { kind: FaultKind::DeviceMissing, message: "m".into() },
        Event::CaptureOpened { epoch: 1 },
        Event::StorageFailed { full: true, why: "w".into() },
        Event::UploadStalled { why: "w".into() },
    ];
    for event in events {
        assert_fits("event", &json!(Report::Event(event)));
    }
    assert_fits(
        "telemetry",
        &json!(Report::Telemetry(Box::new(Telemetry { clock: "trusted".into(), ..Telemetry::default() }))),
    );
    assert!(!validator("event").is_valid(&json!({"event": "unknown"})));
    assert_fits("control-status", &json!(status(at)));
}

fn status(at: Utc) -> Status {
    Status {
        device: "cam-0001".into(),
        version: "0.1.0".into(),
        telemetry: Telemetry { clock: "trusted".into(), ..Telemetry::default() },
        privacy: PrivacyStanding {
            report: PrivacyReport {
                version: Some(17),
                do_not_record: false,
                latch: false,
                capture: "open".into(),
                applied_at: at,
            },
            durable: true,
        },
        entitlement: EntitlementReport {
            version: Some(42),
            state: "granted".into(),
            plan: Some("plus-monthly".into()),
            status: Some("active".into()),
            not_after: Some(at),
            reason: "allowed".into(),
        },
        mqtt: MqttStanding { connected: true },
    }
}

#[test]
fn a_status_is_read_as_it_was_said_by_this_release_and_those_around_it() {
    let said = status(Utc::parse("2026-11-26T12:00:00.25Z").unwrap());
    let mut json = json!(said);
    assert_eq!(serde_json::from_value::<Status>(json.clone()).unwrap(), said);
    // A later release says more, an earlier one less.
    json["later"] = json!([1]);
    json["capture"]["later"] = json!({"more": true});
    json["spool"].as_object_mut().unwrap().remove("scanning");
    assert_eq!(serde_json::from_value::<Status>(json).unwrap(), said);
}

/// Valid claims.
fn commands() -> [(&'static str, Value); 3] {
    let privacy = json!({"device_id": "cam-0001", "version": 17, "issued_at": "2026-11-26T12:00:00Z",
        "do_not_record": true});
    let features = json!({"record": true, "audio": true, "max_height": 1080, "history_hours": 720});
    let plan = json!({"id": "plus-monthly", "tier": "plus"});
    let entitlement = json!({"device_id": "cam-0001", "version": 42, "issued_at": "2026-11-26T12:00:00Z",
        "not_after": "2026-12-26T12:00:00Z", "plan": plan, "status": "active", "features": features,
        "next": {"from": "2026-12-01T00:00:00Z", "not_after": "2027-01-01T00:00:00Z", "plan": plan, "status": "suspended", "features": features}});
    let grant = json!({"key": "v1/cam-0001/a.mp4", "method": "PUT", "url": "https://store.example/b/a.mp4?s=1",
        "headers": {"content-length": "1", "if-none-match": "*"}, "expires_at": "2026-11-26T12:15:00Z",
        "proof": "x-amz-checksum-sha256"});
    let refused = json!({"key": "v1/cam-0001/b.mp4", "reason": "over_quota"});
    let answer = json!({"device_id": "cam-0001", "version": 1, "issued_at": "2026-11-26T12:00:00Z",
        "id": "0123456789abcdef0123456789abcdef", "grants": [grant], "refused": [refused]});
    [("privacy-desired", privacy), ("entitlement-desired", entitlement), ("grant-response", answer)]
}

/// Whether the camera accepts these claims.
fn takes(name: &str, claims: &Value) -> bool {
    let bytes = claims.to_string();
    match name {
        "privacy-desired" => claims::privacy(bytes.as_bytes(), "cam-0001").is_ok(),
        "grant-response" => claims::grant(bytes.as_bytes(), "cam-0001").is_ok(),
        _ => claims::entitlement(bytes.as_bytes(), "cam-0001").is_ok(),
    }
}

/// Every JSON pointer into the value, including nested members.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    if let Some(items) = value.as_array() {
        for (n, item) in items.iter().enumerate() {
            pointers(item, &format!("{at}/{n}"), found);
        }
    }
    if let Some(members) = value.as_object() {
        for (name, member) in members {
            let here = format!("{at}/{name}");
            pointers(member, &here, found);
            found.push(here);
        }
    }
}

/// The claims without one member, or with another value in its place.
fn changed(claims: &Value, pointer: &str, to: Option<&Value>) -> Value {
    let mut changed = claims.clone();
    match to {
        Some(to) => *changed.pointer_mut(pointer).unwrap() = to.clone(),
        None => {
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            changed.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
        }
    }
    changed
}

#[test]
fn the_schemas_of_commands_take_what_the_camera_takes_and_nothing_else() {
    let others = [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(720),
        json!(4320),
        json!(4321),
        json!(87_600),
        json!(87_601),
        json!((1_u64 << 53) - 1),
        json!(1_u64 << 53),
        json!(""),
        json!("plus"),
        json!("a b"),
        json!("x".repeat(64)),
        json!("x".repeat(65)),
        json!("active"),
        json!("past_due"),
        json!("terminated"),
        json!("2026-11-26T12:00:00Z"),
        json!("2026-11-26T12:00:00.123456Z"),
        json!("2026-11-26T12:00:00+01:00"),
        json!("2026-11-26 12:00:00Z"),
        json!("1969-11-26T12:00:00Z"),
        json!([]),
        json!({}),
    ];
    let mut looked = 0;
    for (name, claims) in commands() {
        let validator = validator(name);
        let mut every = vec![claims.clone()];
        let mut places = Vec::new();
        pointers(&claims, "", &mut places);
        for place in &places {
            every.push(changed(&claims, place, None));
            // A schema cannot know to which camera a message belongs.
            let others = others.iter().filter(|to| place != "/device_id" || !to.is_string());
            every.extend(others.map(|to| changed(&claims, place, Some(to))));
        }
        let mut more = claims.clone();
        more["later"] = json!("a claim of a newer cloud");
        every.push(more);
        for claims in every {
            looked += 1;
            let (schema, camera) = (validator.is_valid(&claims), takes(name, &claims));
            assert_eq!(schema, camera, "{name}: the schema says {schema}, the camera {camera}: {claims}");
        }
    }
    assert!(looked > 500, "{looked} claims");
}

#[test]
fn the_schema_of_the_status_tells_a_camera_that_is_there_from_one_that_is_not() {
    let validator = validator("status");
    assert!(validator.is_valid(&json!({"online": false})));
    let here = json!({"online": true, "version": "0.1.0", "since": "2026-11-26T12:00:00Z"});
    assert!(validator.is_valid(&here));
    assert!(
        validator.is_valid(&json!({"online": true, "version": "0.1.0"})),
        "before the clock can be trusted"
    );
    assert!(!validator.is_valid(&json!({"online": true})));
    assert!(!validator.is_valid(&json!({"online": "yes"})));
}
