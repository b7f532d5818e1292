//! How long a camera goes on after "do not record": `make bench-privacy`.
//!
//! The agent as it ships, a real mosquitto over TLS with client certificates, test frames with audio. The
//! owner's switch is thrown `KASACAM_TOGGLES` times (500) at random moments of a GOP, under each of three loads;
//! `KASACAM_LOADS` names fewer of them, such as `idle,disk`.
//! Both times are measured from the moment *before* the development cloud hands the choice to its MQTT client, so
//! that what the way to the broker takes is in them:
//!
//! - to the device closed: GStreamer has set the pipeline to NULL, by the camera's report;
//! - to the last frame, and the last audio, that is kept, by the test card in every frame of the store and of
//!   every file in the camera. Below zero it was taken before the choice: the open GOP is dropped.

#![allow(missing_docs, unreachable_pub, reason = "tests are no public API")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::wildcard_enum_match_arm,
    clippy::disallowed_methods,
    dead_code,
    reason = "a measurement that fails says where; of what the system tests share not all is needed"
)]

#[path = "../../src/bin/devcloud/objects.rs"]
mod objects;
#[path = "../system/support/mod.rs"]
mod support;

use kasacam::domain::time::Utc;
use kasacam::system::clock;
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use support::camera::Camera;
use support::cloud::{Cloud, wait};
use support::oracle::Kept;
use support::switch::{Private, Switch, TONE, parameter};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Load {
    Idle,
    /// A thread for each core that does nothing but count.
    Cores,
    /// And one that writes and syncs without a pause, where the camera has its spool.
    CoresAndDisk,
}

impl Load {
    fn name(self) -> &'static str {
        match self {
            Load::Idle => "idle",
            Load::Cores => "all cores busy",
            Load::CoresAndDisk => "cores and disk busy",
        }
    }

    /// What `KASACAM_LOADS` calls it.
    fn key(self) -> &'static str {
        match self {
            Load::Idle => "idle",
            Load::Cores => "cores",
            Load::CoresAndDisk => "disk",
        }
    }

    /// Milliseconds within which the device is to be closed, 99 times of 100.
    fn target(self) -> f64 {
        if self == Load::Idle { 50.0 } else { 150.0 }
    }
}

/// What makes the load; it ends when this is dropped.
struct Burden {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Burden {
    fn of(load: Load, dir: &Path) -> Burden {
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        if load != Load::Idle {
            for _ in 0..std::thread::available_parallelism().unwrap().get() {
                let stop = Arc::clone(&stop);
                threads.push(std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                }));
            }
        }
        if load == Load::CoresAndDisk {
            let (stop, path) = (Arc::clone(&stop), dir.join("burden"));
            threads.push(std::thread::spawn(move || {
                let megabytes = vec![0xa5; 8 << 20];
                while !stop.load(Ordering::Relaxed) {
                    let mut file = File::create(&path).unwrap();
                    file.write_all(&megabytes).unwrap();
                    file.sync_all().unwrap();
                }
            }));
        }
        Burden { stop, threads }
    }
}

impl Drop for Burden {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _it_has_nothing_to_say = thread.join();
        }
    }
}

/// `events.jsonl`, read on from where it was read to.
struct Events {
    file: File,
    pending: String,
}

impl Events {
    fn open(cloud: &Cloud) -> Events {
        Events { file: File::open(cloud.dir().join("events.jsonl")).unwrap(), pending: String::new() }
    }

    fn skip(&mut self) {
        self.file.seek(std::io::SeekFrom::End(0)).unwrap();
        self.pending.clear();
    }

    /// Waits until the camera reports that capture is so, under this version of the choice; since when it is.
    fn reported(&mut self, version: u64, capture: &str) -> Utc {
        wait(&format!("a report that capture is {capture}"), || {
            self.file.read_to_string(&mut self.pending).unwrap();
            let whole = self.pending.rfind('\n').map_or(0, |end| end + 1);
            let lines: String = self.pending.drain(..whole).collect();
            lines.lines().find_map(|line| {
                let line: Value = serde_json::from_str(line).unwrap();
                let ours = line["topic"].as_str().is_some_and(|topic| topic.ends_with("/privacy/reported"))
                    && line["payload"]["version"] == version
                    && line["payload"]["capture"] == capture;
                ours.then(|| Utc::parse(line["payload"]["applied_at"].as_str().unwrap()).unwrap())
            })
        })
    }
}

/// Milliseconds, of one load.
#[derive(Default)]
struct Measured {
    closed: Vec<f64>,
    frame: Vec<f64>,
    audio: Vec<f64>,
    kept: usize,
    undecided: usize,
    after: usize,
}

fn measure(load: Load, toggles: u64) -> Measured {
    let cloud = Cloud::start(&["--segment", "2s", "--fragment", "500ms", "--chunk", "250ms"]);
    cloud.tell(&["plan", "plus"]);
    let camera = Camera::start(&cloud);
    let mut events = Events::open(&cloud);
    let mut switch = Switch::new(&cloud);
    let mut measured = Measured::default();
    let burden = Burden::of(load, cloud.dir());
    for toggle in 1..=toggles {
        let version = switch.allow();
        events.reported(version, "open");
        switch.linger(Duration::from_millis(1500));
        events.skip();
        let version = switch.forbid();
        let closed = events.reported(version, "closed");
        // Both clocks are read now: neither may have been set meanwhile.
        let offset = i128::from(clock::utc().0) - i128::from(clock::mono().0);
        let sending = switch.private.last().unwrap().sending;
        measured.closed.push((i128::from(closed.0) - offset - i128::from(sending)) as f64 / 1e6);
        if toggle % 50 == 0 {
            eprintln!("{}: {toggle} of {toggles}", load.name());
        }
    }
    drop(burden);
    let state: PathBuf = camera.state_dir();
    camera.wait_until_all_is_stored();
    camera.stop();
    look(&switch.private, &switch.evidence(&state), &mut measured);
    measured
}

fn look(private: &[Private], kept: &[Kept], measured: &mut Measured) {
    let mut frames: Vec<u64> = kept.iter().flat_map(Kept::all).map(|card| card.time).collect();
    let mut audio: Vec<u64> = kept.iter().flat_map(|it| &it.audio).copied().collect();
    frames.sort_unstable();
    audio.sort_unstable();
    measured.kept = frames.len();
    let mut allowed_from = 0;
    for it in private {
        let last = |times: &[u64]| {
            let last = times.iter().rfind(|time| (allowed_from..it.until).contains(*time))?;
            Some((i128::from(*last) - i128::from(it.sending)) as f64 / 1e6)
        };
        measured.frame.extend(last(&frames));
        measured.audio.extend(last(&audio));
        let within = |from: u64, to: u64| {
            frames.iter().chain(&audio).filter(|time| (from + 1..to).contains(*time)).count()
        };
        measured.undecided += within(it.sending, it.acknowledged);
        // The test tone is given out up to a buffer before its time.
        measured.after +=
            frames.iter().filter(|time| (it.acknowledged + 1..it.until).contains(*time)).count()
                + audio.iter().filter(|time| (it.acknowledged + TONE + 1..it.until).contains(*time)).count();
        allowed_from = it.until;
    }
}

/// p50, p99 and the greatest: the smallest value that is not exceeded by so many of a hundred.
fn spread(values: &mut [f64]) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    let rank = |percent: usize| {
        values.get((values.len() * percent).div_ceil(100).saturating_sub(1)).copied().unwrap_or(f64::NAN)
    };
    [rank(50), rank(99), rank(100)]
}

fn main() -> ExitCode {
    let toggles = parameter("KASACAM_TOGGLES", 500);
    let mut after = 0;
    println!("| load | from the PUBLISH to | n | p50 ms | p99 ms | max ms |");
    println!("|---|---|---:|---:|---:|---:|");
    let mut notes = Vec::new();
    let wanted = std::env::var("KASACAM_LOADS").unwrap_or_else(|_| "idle,cores,disk".to_owned());
    let all = [Load::Idle, Load::Cores, Load::CoresAndDisk];
    let loads: Vec<Load> =
        all.into_iter().filter(|load| wanted.split(',').any(|it| it == load.key())).collect();
    for &load in &loads {
        let mut measured = measure(load, toggles);
        let closed = spread(&mut measured.closed);
        for (what, values) in [
            ("the device closed", &mut measured.closed),
            ("the last frame kept", &mut measured.frame),
            ("the last audio kept", &mut measured.audio),
        ] {
            let [p50, p99, max] = spread(values);
            println!("| {} | {what} | {} | {p50:.1} | {p99:.1} | {max:.1} |", load.name(), values.len());
        }
        after += measured.after;
        notes.push(format!(
            "{}: {} frames kept; {} frames and audio taken while the choice was leaving the broker, {} after; \
             p99 of closing {} the target of {} ms",
            load.name(),
            measured.kept,
            measured.undecided,
            measured.after,
            if closed[1] < load.target() { "meets" } else { "misses" },
            load.target()
        ));
    }
    notes.iter().for_each(|note| println!("{note}"));
    let trials = loads.len() as u64 * toggles;
    println!(
        "{after} frames or audio kept against the choice in {trials} toggles: where it is none, fewer than one in {} (95 %)",
        trials / 3
    );
    if after == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
