//! Flash that delays the camera: the real agent with a sync of forty seconds.

use crate::support::bucket::{Stored, assert_spans_are_whole};
use crate::support::camera::Camera;
use crate::support::cloud::{Cloud, wait_up_to};
use crate::support::figures::{figure, skip};
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);
const STALL: Duration = Duration::from_secs(40);
/// `WatchdogSec` of the test.
const WATCHDOG: Duration = Duration::from_secs(20);

/// The service manager: the messages that it received, and when.
fn listen(socket: UnixDatagram) -> Arc<Mutex<Vec<(Instant, String)>>> {
    let told: Arc<Mutex<Vec<(Instant, String)>>> = Arc::default();
    let hears = Arc::clone(&told);
    std::thread::spawn(move || {
        let mut bytes = [0; 1024];
        while let Ok(size) = socket.recv(&mut bytes) {
            let text = String::from_utf8_lossy(&bytes[..size]).into_owned();
            hears.lock().unwrap().push((Instant::now(), text));
        }
    });
    told
}

#[test]
fn a_sync_of_forty_seconds_costs_nothing_committed_and_feeds_the_watchdog() {
    if Command::new("strace").arg("-V").output().is_err() {
        return skip(
            "a_sync_of_forty_seconds_costs_nothing_committed_and_feeds_the_watchdog",
            "strace is not installed",
        );
    }
    let cloud = Cloud::start(&["--segment", "2s", "--fragment", "500ms", "--chunk", "250ms"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    let notify = cloud.dir().join("notify");
    let told = listen(UnixDatagram::bind(&notify).unwrap());
    let growing = cloud.agent_toml.with_file_name("state").join("spool/0000000003.open");
    let log = cloud.dir().join("strace.log");
    let inject = format!("inject=fsync:delay_enter={}:when=2", STALL.as_micros());
    let socket = format!("NOTIFY_SOCKET={}", notify.display());
    let watchdog = format!("WATCHDOG_USEC={}", WATCHDOG.as_micros());
    let (path, log) = (growing.to_str().unwrap(), log.to_str().unwrap());
    let arguments = [
        &[&*socket, &watchdog, "strace", "-D", "-f", "-qq", "-e", "trace=fsync", "-e", &inject][..],
        &["-P", path, "-o", log],
    ]
    .concat();
    let camera = Camera::start_under(&cloud, "env", &arguments);
    wait_up_to(PATIENCE, "a sync that stalls", || {
        let told = told.lock().unwrap();
        told.iter().any(|(_, text)| text.contains("storage stalled")).then_some(())
    });
    let before = camera.status()["capture"]["frames_committed"].as_u64().unwrap();
    cloud.wait_for_event("a stall", |it| it["payload"]["event"] == "storage_stalled");
    // Everything else continues: it answers, and is connected.
    let until = Instant::now() + STALL / 2;
    while Instant::now() < until {
        let status = camera.status();
        assert_eq!(status["mqtt"]["connected"], true, "{status}");
        assert_eq!(status["capture"]["frames_committed"], before, "a disk that stalls commits nothing");
        std::thread::sleep(Duration::from_millis(500));
    }
    let resumed = wait_up_to(PATIENCE, "the end of the stall", || {
        let mut events = cloud.events().into_iter();
        events.find(|it| it["payload"]["event"] == "storage_resumed")
    });
    wait_up_to(PATIENCE, "recording again", || {
        (camera.status()["capture"]["frames_committed"].as_u64() >= Some(before + 200)).then_some(())
    });
    let fed: Vec<Instant> = {
        let told = told.lock().unwrap();
        let fed = told.iter().filter(|(_, text)| text.contains("WATCHDOG=1"));
        fed.map(|(at, _)| *at).chain([Instant::now()]).collect()
    };
    camera.wait_until_all_is_stored();
    let committed = camera.status()["capture"]["frames_committed"].as_u64().unwrap();
    camera.stop();

    let stalled = resumed["payload"]["stalled_s"].as_u64().unwrap();
    assert!(stalled + 5 >= STALL.as_secs(), "{resumed}");
    assert!(fed.len() > 3, "fed {} times", fed.len());
    assert!(fed.windows(2).all(|pair| pair[1] - pair[0] < WATCHDOG), "systemd would have ended it");
    let stored = cloud.stored();
    assert_spans_are_whole(&stored, true);
    let frames: u64 = stored.iter().filter(|object| !object.is_end()).map(Stored::frames).sum();
    assert!(frames >= committed, "{frames} of {committed} frames that were reported as committed");
    // The test card waits for the disk, which no camera does; `spool_thread` tests what a camera drops.
    let ends = stored.iter().filter(|object| object.is_end()).map(|object| object.metadata("reason"));
    let ends: Vec<&str> = ends.collect();
    assert!(ends.iter().all(|reason| ["storage", "shutdown"].contains(reason)), "{ends:?}");
    figure(&format!(
        "the real agent with a sync of {} s: the watchdog fed, the stall reported, {committed} frames committed, none lost",
        STALL.as_secs(),
    ));
}
