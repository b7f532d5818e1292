//! Board files of the product's own: one that the program wrote itself, and one with a pipeline.

use crate::support::bucket::assert_spans_are_whole;
use crate::support::camera::{Camera, kasacamd};
use crate::support::cloud::{Cloud, wait};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

fn with_board(cloud: &Cloud, board: &Path) {
    let text = std::fs::read_to_string(&cloud.agent_toml).unwrap();
    let lines = text.lines().map(|line| match line.starts_with("board =") {
        true => format!("board = {board:?}\n"),
        false => format!("{line}\n"),
    });
    std::fs::write(&cloud.agent_toml, lines.collect::<String>()).unwrap();
}

fn words(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// There is no camera here: the board that is found films a test card, and says so.
#[test]
fn a_board_that_was_probed_passes_its_check_and_records() {
    let cloud = Cloud::start(&["--segment", "2s"]);
    let board = cloud.dir().join("probed.toml");
    let arguments = ["probe", "--board", board.to_str().unwrap(), "--state", cloud.dir().to_str().unwrap()];

    let written = kasacamd(&arguments);

    assert_eq!(written.status.code(), Some(0), "{}", words(&written.stderr));
    let text = std::fs::read_to_string(&board).unwrap();
    for line in ["# Camera: ", "# Encoders: ", "# Microphone: ", "# Flash: ", "# Memory: ", "# Clock: "] {
        assert!(text.lines().any(|it| it.starts_with(line)), "{text} lacks {line}");
    }
    assert_eq!(std::fs::metadata(&board).unwrap().permissions().mode() & 0o777, 0o644);
    let again = kasacamd(&arguments);
    assert_eq!(again.status.code(), Some(1));
    assert!(words(&again.stderr).contains("is there already"), "{}", words(&again.stderr));
    assert_eq!(std::fs::read_to_string(&board).unwrap(), text, "and it stays as it was");

    with_board(&cloud, &board);
    let checked = kasacamd(&["check", "--config", cloud.agent_toml.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(0), "{}", words(&checked.stdout));
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(30);
    camera.stop();
    assert_spans_are_whole(&cloud.stored(), true);
    assert!(cloud.footage().iter().map(|segment| segment.frames()).sum::<u64>() >= 30);
}

#[test]
fn probe_prints_what_was_found_and_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let told = kasacamd(&["probe", "--state", folder.path().to_str().unwrap()]);
    assert_eq!(told.status.code(), Some(0), "{}", words(&told.stderr));
    assert!(words(&told.stdout).contains("Encoders: "), "{}", words(&told.stdout));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    let shown = kasacamd(&["probe", "--board", "-"]);
    assert!(words(&shown.stdout).contains("\n[video]\n"), "{}", words(&shown.stdout));
}

/// The pipeline stands for a device: what it holds open is closed with the camera.
#[test]
fn a_pipeline_of_the_board_records_and_closes() {
    let cloud = Cloud::start(&["--segment", "2s", "--fragment", "1s"]);
    let device = cloud.dir().canonicalize().unwrap().join("device.mkv");
    let source = ["-v", "error", "-f", "lavfi", "-i", "testsrc=size=320x180:rate=10", "-t", "600"];
    let coded = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-bf", "0", "-pix_fmt", "yuv420p"];
    let made = Command::new("ffmpeg").args(source).args(coded).arg(&device).output().unwrap();
    assert!(made.status.success(), "{}", words(&made.stderr));
    let board = cloud.dir().join("pipeline.toml");
    let text = format!(
        "name = \"pipeline\"\n[video]\nformat = \"h264\"\nwidth = 320\nheight = 180\nfps = 10\n\
         bitrate = \"200 kbit/s\"\n[video.source]\nkind = \"pipeline\"\ndescription = \"\"\"\n\
         filesrc location={}\n! matroskademux ! queue ! h264parse ! clocksync\n\"\"\"\n",
        device.display()
    );
    std::fs::write(&board, text).unwrap();
    with_board(&cloud, &board);
    let checked = kasacamd(&["check", "--config", cloud.agent_toml.to_str().unwrap()]);
    assert_eq!(checked.status.code(), Some(0), "{}", words(&checked.stdout));
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);

    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(30);
    let holds = || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", camera.pid())).unwrap().flatten();
        open.filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| to == device)).count()
    };
    assert!(holds() > 0, "the device is open while it films");
    cloud.tell(&["privacy", "on"]);
    camera.wait_for("the camera to close", |status| status["capture"]["open"] == false);
    assert_eq!(holds(), 0, "closed is closed, all of it");
    cloud.tell(&["privacy", "off"]);
    wait("the camera to open again", || (holds() > 0).then_some(()));

    camera.wait_until_it_records(40);
    camera.stop();
    assert_spans_are_whole(&cloud.stored(), true);
}
