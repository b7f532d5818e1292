//! Facts that the agent reads from its operating system.

use kasacam::domain::input::Input;
use kasacam::domain::time::Utc;
use kasacam::system::clock;
use kasacam::system::inputs::from_anywhere;
use kasacam::system::latch::by_name;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

#[test]
fn the_time_services_stamp_holds_as_long_as_the_kernels_word_would() {
    let folder = tempfile::tempdir().unwrap();
    let stamp = folder.path().join("synchronized");
    let touched = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    std::fs::File::create(&stamp).unwrap().set_modified(touched).unwrap();
    let after = |seconds: i64| Utc((1_800_000_000 + seconds) * 1_000_000_000);

    assert!(clock::stamped(&stamp, after(0)));
    assert!(clock::stamped(&stamp, after(32_000)));
    assert!(!clock::stamped(&stamp, after(32_001)), "by then the clock may be 16 s off");
    assert!(!clock::stamped(&stamp, after(-1)), "the clock was put back since");
}

#[test]
fn without_a_stamp_the_clock_is_not_trusted() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = Utc(i64::try_from(now.as_nanos()).unwrap());
    assert!(!clock::stamped(&tempfile::tempdir().unwrap().path().join("synchronized"), now));
}

/// A sysfs tree with these input devices.
fn input_devices(devices: &[(&str, &str)]) -> tempfile::TempDir {
    let sys = tempfile::TempDir::new().unwrap();
    for (node, name) in devices {
        std::fs::create_dir_all(sys.path().join(node).join("device")).unwrap();
        std::fs::write(sys.path().join(node).join("device/name"), format!("{name}\n")).unwrap();
    }
    sys
}

#[test]
fn an_input_device_is_found_by_its_name_and_only_where_that_is_one() {
    let sys =
        input_devices(&[("event0", "gpio-keys"), ("event3", "shutter"), ("event4", "a"), ("event5", "a")]);
    let find = |name: &str| by_name(sys.path(), Path::new("/dev/input"), name);
    assert_eq!(find("shutter").unwrap(), Path::new("/dev/input/event3"));
    assert_eq!(find("gpio").unwrap_err().kind(), ErrorKind::NotFound, "not by a part of it");
    assert_eq!(find("a").unwrap_err().kind(), ErrorKind::InvalidInput, "two are called so");
    let mouse = input_devices(&[("mouse0", "shutter")]);
    assert!(by_name(mouse.path(), Path::new("/dev/input"), "shutter").is_err(), "no evdev node");
}

#[tokio::test]
async fn an_input_from_the_loops_own_thread_waits_for_nobody() {
    let (sender, mut inputs) = mpsc::channel(1);
    let report = from_anywhere(sender);
    // One more than there is room for: a thread would wait, and the loop's own thread would never take it.
    for _ in 0..3 {
        report(Input::Flushed);
    }
    for _ in 0..3 {
        let taken = tokio::time::timeout(Duration::from_secs(10), inputs.recv()).await;
        assert!(matches!(taken, Ok(Some(Input::Flushed))));
    }
    let elsewhere = report.clone();
    let thread = std::thread::spawn(move || (0..3).for_each(|_| elsewhere(Input::Tick)));
    for _ in 0..3 {
        assert!(matches!(inputs.recv().await, Some(Input::Tick)));
    }
    thread.join().unwrap();
}
