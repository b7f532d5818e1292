//! Closed means closed: a device that does not close.

use crate::support::camera::{Camera, kasacamd};
use crate::support::cloud::Cloud;
use crate::support::kernel;
use crate::support::opened::Watched;
use serde_json::Value;
use std::time::{Duration, Instant};

fn journal(camera: &Camera) -> Vec<String> {
    let told = kasacamd(&["privacy", "log", "--state", camera.state_dir().to_str().unwrap(), "--json"]);
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    let entries = told["entries"].as_array().unwrap();
    entries.iter().map(|entry| entry["event"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_device_that_does_not_close_is_never_said_to_be_closed_and_ends_the_process() {
    let dir = tempfile::TempDir::new().unwrap();
    let (clip, _) = Watched::device(dir.path());
    let led = dir.path().join("led");
    std::fs::create_dir(&led).unwrap();
    std::fs::write(led.join("brightness"), "0").unwrap();
    let lit = || std::fs::read_to_string(led.join("brightness")).unwrap() != "0";
    let indicator = format!("privacy.indicator={led:?}");
    let cloud = Cloud::start(&["--source", clip.to_str().unwrap(), "--segment", "2s", "--set", &indicator]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    let holds = dir.path().join("holds");
    let environment = [
        kernel::preload(dir.path()),
        format!("KERNEL_STUCK={}", clip.display()),
        format!("KERNEL_HOLDS={}", holds.display()),
    ];
    let arguments: Vec<&str> = environment.iter().map(String::as_str).collect();
    let mut camera = Camera::start_under(&cloud, "env", &arguments);
    camera.wait_until_it_records(15);

    std::fs::write(&holds, "").unwrap();
    let began = Instant::now();
    cloud.tell(&["privacy", "on"]);
    camera.wait_for("a closing device", |status| status["privacy"]["capture"] == "closing");
    while began.elapsed() < Duration::from_secs(4) {
        let status = camera.status();
        assert!(status.is_null() || status["privacy"]["capture"] == "closing", "{status}");
        assert!(lit(), "the light says that it is closed");
        std::thread::sleep(Duration::from_millis(50));
    }
    let ended = camera.ended();

    let after = began.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(10)).contains(&after), "{after:?}");
    assert_eq!(ended.code(), Some(70), "{}", camera.log());
    let log = camera.log();
    assert_eq!(log.matches("does not close").count(), 1, "one line for one cause: {log}");
    assert!(lit(), "whoever starts the process puts it out");
    assert_eq!(journal(&camera).last().map(String::as_str), Some("choice"), "{:?}", journal(&camera));
    let events = cloud.events();
    let told = |event: &&Value| event["payload"]["version"] == 2 && event["payload"]["capture"] == "closed";
    assert_eq!(events.iter().find(told), None, "it was never closed");

    // The kernel has closed it. The next start obeys the prohibition, with or without the broker.
    std::fs::remove_file(&holds).unwrap();
    cloud.tell(&["broker", "down"]);
    let watched = Watched::new(&clip);
    let camera = Camera::start(&cloud);
    let status = camera.wait_for("a status", |status| status["privacy"]["do_not_record"] == true);
    assert_eq!((&status["capture"]["starts"], &status["privacy"]["capture"]), (&0.into(), &"closed".into()));
    assert!(!lit() && !watched.was_opened());
    assert!(journal(&camera).iter().any(|event| event == "cut_off"));
    camera.stop();
}
