//! How much memory the agent needs to send a backlog: `make bench-memory`. A camera that may not record comes up with
//! `KASACAM_SEGMENTS` (20) segments in its spool, each as large as the spool makes one, and sends them all to a store on
//! this machine. Printed is its peak (`VmHWM` of proc_pid_status(5)) before the first and after the last; the peak has
//! to stay under 24 MiB, and an upload is to take less than 8 MiB of it.

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
#[path = "../suite/support/tiny_mp4.rs"]
mod tiny_mp4;

use kasacam::disk::RealFs;
use kasacam::domain::fragment::{Captured, Epoch};
use kasacam::domain::time::{Clock, Mono, Now, Utc};
use kasacam::spool::{self, Command, Durability, Encryption, LiveEpoch, QuarantineLimits, Setup};
use kasacam::system::clock;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::camera::Camera;
use support::cloud::{Cloud, wait_up_to};
use support::switch::parameter;
use tiny_mp4::{CHUNK, Tiny};

const MAX_PEAK_KIB: u64 = 24 * 1024;
const MAX_RISE_KIB: u64 = 8 * 1024;
const PATIENCE: Duration = Duration::from_secs(1200);
/// Bytes of a frame; there are two in a chunk.
const PICTURE_BYTES: usize = 1024 * 1024;
/// Chunks of the fragments of a segment. A segment of more than 48 MiB is sealed at its next fragment, and no fragment is
/// larger than 32 MiB: these make nearly the largest segment that there can be.
const FRAGMENTS: [u32; 4] = [7, 8, 8, 15];

/// `VmHWM`, in KiB.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse().unwrap()
}

/// A spool as an earlier boot has left it. The bytes of its files.
fn fill(state_dir: &Path, segments: u64) -> u64 {
    // Before the choice that closes the camera, which lets go of what is captured after it.
    let began = Utc(clock::utc().0 - 7_200_000_000_000);
    let reading = move || {
        let now = Now { mono: Mono(0), system: began, synchronised: true };
        (now, Clock::judge(now, Utc(0)))
    };
    let setup = Setup {
        state_dir: state_dir.to_owned(),
        device: String::from("cam-0001"),
        boot: String::from("the-boot-before"),
        segment: Duration::from_secs(600),
        part: Duration::from_secs(3),
        durability: Durability::Segment,
        keep_partial_gop: true,
        quarantine: QuarantineLimits::default(),
        encryption: Encryption::none(),
    };
    let live = LiveEpoch::new();
    let dir = setup.dir();
    let (mut spool, _) = spool::open(Arc::new(RealFs), setup, live.clone(), Box::new(reading)).unwrap();
    spool.obey(Command::SetTerms { plan: String::from("plus-monthly"), history_hours: 720 });
    let epoch = Epoch(1);
    live.allow(epoch);
    let init = tiny_mp4::init(64);
    let (mut fragment, mut sequence) = (0, 0);
    for _ in 0..segments {
        for of in FRAGMENTS {
            for chunk in 0..of {
                sequence += 1;
                let start = u64::from(sequence) * CHUNK;
                let tiny = Tiny {
                    zeros: 0,
                    epoch,
                    init: Arc::clone(&init),
                    fragment,
                    chunk,
                    of,
                    sequence,
                    start,
                    size: PICTURE_BYTES,
                };
                spool.take(Captured::Chunk(tiny.build()));
            }
            fragment += 1;
        }
    }
    spool.shut_down();
    let files = std::fs::read_dir(dir).unwrap().flatten();
    files.map(|file| file.metadata().unwrap().len()).sum()
}

fn main() {
    let segments = parameter("KASACAM_SEGMENTS", 20);
    let cloud = Cloud::start(&["--set", "spool.max_bytes=\"8GiB\"", "--set", "spool.min_free=\"64MiB\""]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "on"]);
    cloud.tell(&["store", "down"]);
    let bytes = fill(&cloud.agent_toml.with_file_name("state"), segments);
    let camera = Camera::start(&cloud);
    let waits =
        camera.wait_for("its backlog", |status| status["spool"]["pending"].as_u64() >= Some(segments));
    let idle = peak(camera.pid());

    assert_eq!(waits["capture"]["open"], false, "{waits}");
    let began = Instant::now();
    cloud.tell(&["store", "up"]);
    wait_up_to(PATIENCE, "an empty spool", || (camera.status()["spool"]["pending"] == 0).then_some(()));
    let took = began.elapsed().as_secs_f64();
    let after = peak(camera.pid());
    let stored = cloud.footage();
    assert_eq!(stored.len() as u64, segments, "{waits}");
    let sent: u64 = stored.iter().map(|object| object.facts.bytes).sum();
    println!(
        "{segments} segments of {:.1} MB ({:.1} MB in all, {:.1} MB on disk) in {took:.0} s: VmHWM {:.1} MiB before, {:.1} MiB after",
        sent as f64 / 1e6 / segments as f64,
        sent as f64 / 1e6,
        bytes as f64 / 1e6,
        idle as f64 / 1024.0,
        after as f64 / 1024.0
    );
    assert!(after < MAX_PEAK_KIB, "its peak is {after} KiB");
    assert!(after - idle < MAX_RISE_KIB, "sending takes {} KiB", after - idle);
    camera.stop();
}
