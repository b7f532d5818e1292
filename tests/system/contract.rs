//! `docs/asyncapi.yaml` and `docs/schemas/`, checked with their own parser, compared with the contract, and
//! compared with what a real camera and its cloud send to each other.

use crate::support::browser::Browser;
use crate::support::camera::Camera;
use crate::support::clip::run;
use crate::support::cloud::{Cloud, wait};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// The document as its own parser reads it: the parser's messages, and each channel with its address, its
/// sender, and whether it is retained.
fn parsed(document: &str) -> Value {
    let mut files = Map::new();
    for entry in std::fs::read_dir(docs().join("schemas")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        files.insert(name, std::fs::read_to_string(&path).unwrap().into());
    }
    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/asyncapi-parser.js.gz");
    let parser = String::from_utf8(run("gzip", &["-dc", packed.to_str().unwrap()])).unwrap();
    let mut browser = Browser::start();
    browser.eval(&format!("{parser}\n;0"));
    let (files, document) = (Value::Object(files), json!(document));
    let told = browser.eval(&format!(
        "(async () => {{
           const files = {files};
           const read = (uri) => {{ const file = files[uri.toString().split('/').pop()]; if (file === undefined) throw new Error('no such file'); return file; }};
           const parser = new (AsyncAPIParser.default ?? AsyncAPIParser)({{__unstable: {{resolver: {{resolvers: [{{schema: 'https', order: 1, canRead: true, read}}]}}}}}});
           const {{document, diagnostics}} = await parser.parse({document}, {{source: 'https://docs.example/asyncapi.yaml'}});
           return JSON.stringify({{
             complaints: diagnostics.map((d) => [d.severity, d.code, d.message, d.path.join('.')]),
             operations: document?.operations().all().map((o) => ({{
               address: o.channels().all()[0].address(), action: o.action(), ...o.bindings().all()[0].value(),
             }})),
           }});
         }})()"
    ));
    serde_json::from_str(told.as_str().unwrap()).unwrap()
}

fn document() -> String {
    std::fs::read_to_string(docs().join("asyncapi.yaml")).unwrap()
}

#[test]
fn the_document_is_valid_by_its_own_parser_and_says_what_the_contract_says() {
    let told = parsed(&document());

    assert_eq!(told["complaints"], json!([]));
    let mut described: Vec<(String, bool, u64, bool)> = Vec::new();
    for operation in told["operations"].as_array().unwrap() {
        let address = operation["address"].as_str().unwrap().strip_prefix("kasacam/v1/{device_id}/").unwrap();
        let sends = operation["action"] == "send";
        let (qos, retained) = (operation["qos"].as_u64().unwrap(), operation["retain"].as_bool().unwrap());
        described.push((address.to_owned(), sends, qos, retained));
    }
    described.sort();
    assert_eq!(described, of_the_contract());
}

#[test]
fn its_parser_sees_a_wrong_action_and_a_schema_that_is_not_there() {
    for (right, wrong) in [("action: receive", "action: hear"), ("schemas/event.json", "schemas/other.json")]
    {
        let document = document();
        assert!(document.contains(right));
        let told = parsed(&document.replace(right, wrong));
        assert_ne!(told["complaints"], json!([]), "{wrong}");
    }
}

/// The topics of the table in `docs/contract.md`: whether the camera sends, the QoS, and whether it is retained.
fn of_the_contract() -> Vec<(String, bool, u64, bool)> {
    let text = std::fs::read_to_string(docs().join("contract.md")).unwrap();
    let mut rows = Vec::new();
    for line in text.lines().filter(|line| line.starts_with("| `R/")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let topic = cells[1].trim_matches('`').strip_prefix("R/").unwrap();
        let sends = cells[2].starts_with("from the camera");
        rows.push((topic.to_owned(), sends, cells[3].parse().unwrap(), cells[4] == "yes"));
    }
    rows.sort();
    assert!(rows.len() >= 9, "{rows:?}");
    rows
}

#[test]
fn what_is_said_on_a_real_broker_fits_its_schema() {
    let cloud = Cloud::start(&["--segment", "2s", "--telemetry", "1s", "--credentials", "grant"]);
    cloud.tell(&["plan", "plus", "--next-from", "+1h", "--next-plan", "free"]);
    cloud.tell(&["privacy", "off"]);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(1);
    cloud.wait_for_event("an object by a grant", |event| event["event"] == "object_stored");
    cloud.tell(&["privacy", "on"]);
    camera.wait_for("a closed device", |status| status["capture"]["open"] == false);
    let file = cloud.dir().join("nonsense");
    std::fs::write(&file, "nonsense").unwrap();
    let topic = "kasacam/v1/cam-0001/privacy/desired";
    cloud.tell(&["publish-raw", topic, file.to_str().unwrap(), "--passing"]);
    cloud.wait_for_event("the rejection", |event| event["payload"]["event"] == "rejected");
    cloud.tell(&["plan", "free", "--status", "suspended"]);
    cloud.wait_for_event("the plan in force", |event| event["payload"]["status"] == "suspended");
    camera.stop();
    wait("the farewell", || {
        cloud.events().iter().any(|event| event["payload"]["online"] == false).then_some(())
    });

    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut schemas = BTreeMap::new();
    for event in cloud.events().iter().filter(|event| event["event"] == "message") {
        let name = event["topic"].as_str().unwrap().splitn(4, '/').nth(3).unwrap().replace('/', "-");
        let said = if event["claims"].is_null() { &event["payload"] } else { &event["claims"] };
        if said.is_null() {
            continue;
        }
        let schema = schemas.entry(name.clone()).or_insert_with(|| {
            let text = std::fs::read_to_string(docs().join(format!("schemas/{name}.json"))).unwrap();
            jsonschema::draft202012::new(&serde_json::from_str(&text).unwrap()).unwrap()
        });
        let faults: Vec<String> = schema.iter_errors(said).map(|fault| fault.to_string()).collect();
        assert!(faults.is_empty(), "{name}: {said}: {faults:?}");
        *seen.entry(name).or_default() += 1;
    }
    let names: Vec<String> =
        of_the_contract().into_iter().map(|(topic, ..)| topic.replace('/', "-")).collect();
    let heard: Vec<String> = seen.keys().cloned().collect();
    assert_eq!(heard, names, "each topic was heard: {seen:?}");
}
