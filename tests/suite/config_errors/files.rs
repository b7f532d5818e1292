//! Files that are missing, damaged or too large.

use super::{AGENT, Folder};
use kasacam::config;
use std::fs;
use std::path::Path;

#[test]
fn a_missing_file_is_named() {
    let problems = config::load(Path::new("/nonexistent/agent.toml")).unwrap_err();
    assert_eq!(problems.len(), 1);
    assert!(problems.to_string().starts_with("/nonexistent/agent.toml: cannot be read"), "{problems}");
}

#[test]
fn a_folder_or_a_pipe_in_place_of_a_file_does_not_hang() {
    let folder = Folder::new();
    nix::unistd::mkfifo(&folder.path("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for name in ["pipe", "."] {
        let problems = config::load(&folder.path(name)).unwrap_err();
        assert!(problems.to_string().contains("not a regular file"), "{problems}");
    }
}

#[test]
fn a_huge_file_is_refused() {
    let folder = Folder::new();
    folder.write("agent.toml", &"# padding\n".repeat(30_000));
    let problems = config::load(&folder.path("agent.toml")).unwrap_err();
    assert!(problems.to_string().contains("larger than 256 KiB"), "{problems}");
}

#[test]
fn an_empty_file_is_reported_with_every_required_key() {
    let folder = Folder::new();
    folder.write("agent.toml", "");
    let problems = config::load(&folder.path("agent.toml")).unwrap_err();
    let mut keys: Vec<&str> = problems.iter().map(|problem| problem.key.as_str()).collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "device.board",
            "device.id",
            "entitlement.keys",
            "mqtt.ca",
            "mqtt.cert",
            "mqtt.key",
            "mqtt.url",
            "upload.ca",
            "upload.credentials",
            "upload.endpoint",
            "upload.url",
        ]
    );
}

#[test]
fn bad_syntax_is_shown_with_its_line() {
    let folder = Folder::new().agent("id = \"cam-0001\"", "id = \"cam-0001");
    let problems = folder.problems();
    assert_eq!(problems[0].line, 3, "{problems:#?}");
    assert!(problems[0].problem.contains("id = \"cam-0001"), "{}", problems[0]);
}

#[test]
fn bad_syntax_does_not_show_a_password() {
    let folder = Folder::new()
        .board("source = { kind = \"test\" }", "source = { url = \"rtsp://me:hunter2@10.0.0.7/a\" kind }");
    let text = folder.load().unwrap_err().to_string();
    assert!(text.contains("rtsp://***@10.0.0.7"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");
}

/// Whatever a file contains, it is read or refused, and never ends the process.
#[test]
fn any_file_is_read_or_refused() {
    use proptest::prelude::*;
    let folder = Folder::new();
    let path = folder.path("agent.toml");
    let lines: Vec<&str> = AGENT.lines().collect();
    proptest!(ProptestConfig::with_cases(200), |(
        order in proptest::sample::subsequence((0..lines.len()).collect::<Vec<_>>(), 0..lines.len()),
        noise in "[ -~\\n\\x00-\\x1fé]{0,40}",
        cut in 0usize..400,
    )| {
        let mut text: String = order.iter().map(|&line| format!("{}\n", lines[line])).collect();
        text.insert_str(text.len().min(cut), &noise);
        fs::write(&path, &text).unwrap();
        if let Err(problems) = config::load_in(&path, &folder.around()) {
            prop_assert!(!problems.is_empty());
            prop_assert_eq!(problems.to_string().lines().count(), problems.len());
        }
    });
}
