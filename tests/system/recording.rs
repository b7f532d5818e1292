//! A camera in normal operation.

use crate::support::bucket::assert_spans_are_whole;
use crate::support::camera::Camera;
use crate::support::cloud::{Cloud, wait};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

#[test]
fn what_is_captured_is_stored_and_a_stop_leaves_nothing_behind() {
    let cloud = Cloud::start(&["--segment", "2s"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);

    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(60);
    let state = camera.state_dir();
    camera.stop();

    let stored = cloud.stored();
    assert_spans_are_whole(&stored, true);
    assert!(stored.last().unwrap().is_end(), "{:?}", stored.last());
    assert_eq!(stored.last().unwrap().metadata("reason"), "shutdown");
    let frames: u64 = cloud.footage().iter().map(|segment| segment.frames()).sum();
    assert!(frames >= 60, "{frames} frames");
    let left: Vec<_> = std::fs::read_dir(state.join("spool")).unwrap().flatten().collect();
    let left: Vec<_> = left.iter().filter(|entry| entry.path().is_file()).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn an_encrypted_spool_survives_a_kill_and_is_stored_in_the_clear() {
    let cloud = Cloud::start(&["--segment", "2s", "--fragment", "500ms", "--chunk", "250ms"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    let key = cloud.agent_toml.with_file_name("spool.key");
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&key).unwrap();
    file.write_all(&std::array::from_fn::<u8, 32, _>(|n| n as u8 * 7)).unwrap();
    let config = std::fs::read_to_string(&cloud.agent_toml).unwrap();
    assert!(!config.contains("[spool]"));
    let config = format!("{config}\n[spool]\nencrypt = true\nkey = {key:?}\n");
    std::fs::write(&cloud.agent_toml, config).unwrap();
    let files = |spool: &std::path::Path| {
        let files = std::fs::read_dir(spool).unwrap().flatten().map(|entry| entry.path());
        let read = files.filter_map(|path| Some((path.clone(), std::fs::read(&path).ok()?)));
        read.filter(|(path, bytes)| path.extension().is_none_or(|it| it != "tmp") && !bytes.is_empty())
            .collect::<Vec<_>>()
    };

    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(30);
    let spool = camera.state_dir().join("spool");
    let seen = wait("a file of the spool", || Some(files(&spool)).filter(|files| !files.is_empty()));
    let committed = camera.status()["capture"]["frames_committed"].as_u64().unwrap();
    camera.kill();
    let left = files(&spool);
    for (path, bytes) in seen.iter().chain(&left) {
        assert!(bytes.starts_with(b"kasacam\x01"), "{} is not encrypted", path.display());
        let in_the_clear = |word: &[u8]| bytes.windows(word.len()).any(|part| part == word);
        assert!(!in_the_clear(b"moof") && !in_the_clear(b"avcC"), "{} shows", path.display());
    }
    assert!(!left.is_empty());

    cloud.tell(&["privacy", "on"]);
    let camera = Camera::start(&cloud);
    camera.wait_for("the owner's choice", |status| status["privacy"]["do_not_record"] == true);
    camera.wait_until_all_is_stored();
    camera.stop();
    assert_spans_are_whole(&cloud.stored(), true);
    let footage = cloud.footage();
    assert!(footage.iter().all(|segment| segment.body[4..8] == *b"ftyp"));
    let frames: u64 = footage.iter().map(|segment| segment.frames()).sum();
    assert!(frames >= committed, "{frames} stored, {committed} reported as committed");
}
