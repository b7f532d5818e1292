//! A small fleet: many agents with one broker and one store.

use crate::support::clip::Clip;
use std::process::Command;

#[test]
fn a_fleet_is_run_and_judged_and_drawn() {
    let input = ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=2", "-t", "10"];
    let coded = ["-c:v", "libx264", "-profile:v", "baseline", "-g", "4", "-pix_fmt", "yuv420p"];
    let clip = Clip::by_ffmpeg("fleet.mp4", &[&input[..], &coded[..]].concat());
    let plots = tempfile::tempdir().unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_kasacam-devcloud"))
        .args(["fleet", "--cameras", "3", "--phase", "8", "--spread", "2", "--away", "1", "--clip"])
        .arg(&clip.path)
        .arg("--plots")
        .arg(plots.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{said}{}", String::from_utf8_lossy(&ran.stderr));
    let figure = |name: &str| {
        let line =
            said.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {said}"));
        line[name.len()..].split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    assert_eq!(figure("cameras"), 3);
    assert!(figure("objects stored  ") >= 3, "{said}");
    assert!(figure("telemetry a camera-day, steady") > 0, "{said}");
    assert_eq!(said.lines().filter(|line| line.starts_with("ok: ")).count(), 5, "{said}");
    for name in ["connections", "messages", "requests", "backlog"] {
        let svg = std::fs::read_to_string(plots.path().join(format!("fleet-{name}.svg"))).unwrap();
        assert!(svg.contains("<polyline") && svg.contains("store away"), "{name}: {svg}");
    }
}

#[test]
fn a_fleet_fails_if_an_agent_cannot_start() {
    let ran = Command::new(env!("CARGO_BIN_EXE_kasacam-devcloud"))
        .args(["fleet", "--cameras", "2", "--clip", "/nowhere.mp4", "--kasacamd", "/bin/false"])
        .output()
        .unwrap();
    assert!(!ran.status.success());
    let why = String::from_utf8_lossy(&ran.stderr);
    assert!(why.contains("fleet-0000 has ended"), "{why}");
}
