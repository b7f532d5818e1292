//! `kasacamd`'s commands, as a person enters them.

use crate::support::camera::{Camera, kasacamd};
use crate::support::cloud::Cloud;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::process::Output;

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn check(config: &std::path::Path, more: &[&str]) -> Output {
    kasacamd(&[&["check", "--config", config.to_str().unwrap()], more].concat())
}

#[test]
fn a_good_configuration_has_nothing_wrong() {
    let cloud = Cloud::start(&[]);
    let output = check(&cloud.agent_toml, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", words(&output.stdout));
    assert!(words(&output.stdout).contains("nothing is wrong"));
}

#[test]
fn eight_mistakes_are_named_at_once() {
    let cloud = Cloud::start(&["--device", "cam-0001"]);
    let board = cloud.dir().join("bad-board.toml");
    std::fs::write(
        &board,
        "name = \"bad\"\n[video]\nsource = { kind = \"v4l2\", device = \"/dev/no-such-camera\" }\n\
         format = \"h264\"\nwidth = 640\nheight = 360\nfps = 15\nbitrate = \"600 kbit/s\"\n",
    )
    .unwrap();
    let key = cloud.agent_toml.with_file_name("device.key");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o644)).unwrap();
    let good = std::fs::read_to_string(&cloud.agent_toml).unwrap();
    let value = |key: &str| good.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
    let bad = good
        .replace("id = \"cam-0001\"", "id = \"cam-0002\"")
        .replace(&value("board ="), &format!("board = {board:?}"))
        .replace("segment = \"4s\"", "segment = \"4 parsecs\"\ncolour = \"red\"")
        .replace(&value("credentials ="), "credentials = { grant = false }")
        .replace(&value("keys ="), "keys = [\"/no/such/key.pem\"]")
        .replace("url = \"s3://kasa-care/v1/\"", "url = \"ftp://kasa-care/v1/\"");
    std::fs::write(&cloud.agent_toml, bad).unwrap();

    let output = check(&cloud.agent_toml, &[]);
    let told = words(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}");
    let mistakes = [
        ("cam-0002", "the certificate is another camera's"),
        ("device.key", "others can read the key"),
        ("parsecs", "no duration"),
        ("colour", "an unknown key"),
        ("grant = false", "no credentials"),
        ("/no/such/key.pem", "no verifying key"),
        ("upload.url", "no S3 address"),
        ("/dev/no-such-camera", "no device"),
    ];
    for (word, what) in mistakes {
        assert!(told.contains(word), "{what} is not told:\n{told}");
    }
    let json: Value = serde_json::from_slice(&check(&cloud.agent_toml, &["--json"]).stdout).unwrap();
    assert!(json["problems"].as_array().unwrap().len() >= mistakes.len(), "{json}");
    let run = kasacamd(&["run", "--config", cloud.agent_toml.to_str().unwrap()]);
    assert_eq!(run.status.code(), Some(2), "{}", words(&run.stderr));
    assert!(words(&run.stderr).contains("parsecs"));
}

#[test]
fn an_unknown_command_is_refused_with_the_usage() {
    for arguments in
        [&["fly"][..], &["run"], &["run", "--config", "/no/such/file.toml"], &["status", "--nonsense"], &[]]
    {
        let output = kasacamd(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", words(&output.stderr));
        assert!(!output.stderr.is_empty(), "{arguments:?} says why");
    }
    assert!(words(&kasacamd(&["--version"]).stdout).starts_with("kasacamd "));
    assert!(words(&kasacamd(&["--help"]).stdout).contains("privacy on|off|show"));
}

#[test]
fn a_command_without_a_running_agent_says_so() {
    for command in ["status", "metrics"] {
        let output = kasacamd(&[command, "--socket", "/tmp/no-such-kasacam.sock"]);
        assert_eq!(output.status.code(), Some(1));
        assert!(words(&output.stderr).contains("is kasacamd running?"), "{}", words(&output.stderr));
    }
}

#[test]
fn a_running_agent_answers_and_a_second_one_is_refused() {
    let cloud = Cloud::start(&[]);
    let camera = Camera::start(&cloud);
    camera.wait_for("a connection", |status| status["mqtt"]["connected"] == true);
    let metrics = words(&camera.command(&["metrics"]).stdout);
    assert!(metrics.ends_with("# EOF\n") && metrics.contains("kasacam_frames_captured_total"), "{metrics}");
    assert!(words(&camera.command(&["status"]).stdout).contains("entitlement"));
    assert!(words(&camera.command(&["privacy", "show"]).stdout).contains("do not record"));

    let second = kasacamd(&["run", "--config", cloud.agent_toml.to_str().unwrap()]);
    assert_eq!(second.status.code(), Some(2));
    assert!(words(&second.stderr).contains("another agent answers there"), "{}", words(&second.stderr));
    assert_eq!(camera.status()["mqtt"]["connected"], true, "the first one goes on");
}

#[test]
fn the_privacy_journal_tells_when_the_camera_was_open_and_whether_anybody_changed_it() {
    let cloud = Cloud::start(&["--segment", "2s"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(1);
    let state = camera.state_dir();
    camera.kill();
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(1);
    cloud.tell(&["privacy", "on"]);
    let status = camera.wait_for("a closed device", |status| {
        status["capture"]["open"] == false && status["privacy"]["capture"] == "closed"
    });
    let head = |status: &Value| status["journal"]["lines"].as_u64().unwrap();
    let status = camera.wait_for("the last line", |now| head(now) > head(&status) || head(now) >= 9);
    let log =
        |more: &[&str]| kasacamd(&[&["privacy", "log", "--state", state.to_str().unwrap()], more].concat());

    let told = log(&["--json"]);
    assert_eq!(told.status.code(), Some(0), "{}", words(&told.stderr));
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let entries = told["entries"].as_array().unwrap();
    let events: Vec<&str> = entries.iter().map(|entry| entry["event"].as_str().unwrap()).collect();
    let wanted = ["started", "choice", "choice", "opened", "cut_off", "started", "choice", "opened"];
    assert_eq!(events[..8], wanted, "{told}");
    assert!(events[8..].contains(&"choice") && events[8..].contains(&"closed"), "{told}");
    assert_eq!(status["journal"]["head"], told["head"], "the cloud is told the head: {status}");
    assert!(words(&log(&[]).stdout).contains("unbroken: 10 entries"), "{}", words(&log(&[]).stdout));

    let file = state.join("journal/privacy.log");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(
        &file,
        text.replacen("\"reason\":\"privacy\"", "\"reason\":\"source\"", 1).replacen("opened", "closed", 1),
    )
    .unwrap();
    let told = log(&[]);
    assert_eq!(told.status.code(), Some(1));
    assert!(words(&told.stdout).contains("BROKEN: line "), "{}", words(&told.stdout));

    let nowhere = kasacamd(&["privacy", "log", "--state", "/no/such/place"]);
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(words(&nowhere.stderr).contains("--state"), "{}", words(&nowhere.stderr));
}
