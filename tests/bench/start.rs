//! How long a start takes beside a full spool: `make bench-start`. The agent as it ships, with `KASACAM_FILES` (20000)
//! sealed segments of 30 s in its spool, with a warm and with a cold page cache (the latter where we may drop it). Printed
//! are the time to ready (as systemd is told), to the first frame that is committed, and until the last file is known,
//! the resident set, and the reads of the whole process a file. The segments are as long as real ones, and their frames
//! are holes: nothing of a start reads them.

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

use kasacam::domain::fragment::Track;
use kasacam::domain::segment::Record;
use kasacam::domain::time::Utc;
use kasacam::fmp4::{self, MoofEntry};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};
use support::camera::Camera;
use support::cloud::Cloud;
use support::switch::parameter;

/// Nanoseconds of a segment, and chunks in it.
const LONG: u64 = 30_000_000_000;
const CHUNKS: u64 = 60;

/// The parts of a real segment: what stands before the record, and a chunk's `prft`, `moof` and `mdat`.
struct Template {
    head: Vec<u8>,
    front: Vec<u8>,
    mdat: u64,
    record: Record,
    entry: MoofEntry,
    video: Track,
    audio: Option<Track>,
}

impl Template {
    fn read() -> Template {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(root.join("tests/fixtures/spool-0.1.0/spool/0000000001.mp4")).unwrap();
        let layout = fmp4::read_segment(&bytes).unwrap();
        let head = layout.init.bytes.to_vec();
        let (first, second) = (&layout.chunks[0], &layout.chunks[1]);
        let start = usize::try_from(first.moof).unwrap() - 32;
        let moof = u32::from_be_bytes(bytes[start + 32..start + 36].try_into().unwrap()) as usize;
        let front = bytes[start..start + 32 + moof + 8].to_vec();
        let entry = fmp4::index(std::slice::from_ref(first), layout.init.video.id).remove(0);
        Template {
            head,
            front,
            mdat: second.moof - 32 - first.moof - moof as u64 - 8,
            record: layout.record,
            entry,
            video: layout.init.video,
            audio: layout.init.audio,
        }
    }

    /// Segment `n` of a span that began so many segments ago.
    fn write(&self, path: &Path, n: u64, now: Utc, of: u64) {
        let record = Record {
            n,
            start_mono: self.record.start_mono + n * LONG,
            start_utc: now - Duration::from_nanos((of - n) * LONG),
            ..self.record.clone()
        };
        let file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path).unwrap();
        let head = [&self.head[..], &fmp4::record_box(&record)].concat();
        file.write_all_at(&head, 0).unwrap();
        let mut at = head.len() as u64;
        let mut entries = Vec::new();
        for chunk in 0..CHUNKS {
            file.write_all_at(&self.front, at).unwrap();
            // Half a second each, by the clock of the track.
            let later = |(track, time): &(u32, Option<u64>)| {
                let other = self.audio.filter(|audio| audio.id == *track);
                let scale = u64::from(other.unwrap_or(self.video).timescale);
                // A GOP is two seconds.
                let is_sync = other.is_some() || chunk % 4 == 0;
                (*track, time.filter(|_| is_sync).map(|time| time + chunk * scale / 2))
            };
            let tracks = self.entry.tracks.iter().map(later).collect();
            entries.push(MoofEntry { offset: at + 32, tracks });
            at += self.front.len() as u64 + self.mdat;
        }
        file.write_all_at(&fmp4::mfra_box(&entries), at).unwrap();
    }
}

fn number(pid: u32, file: &str, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_start_matches(':').split_whitespace().next().unwrap().parse().unwrap()
}

/// Asked for by ourselves: to start a program each time would take a core from the agent.
fn status(socket: &Path) -> Value {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(b"{\"command\":\"status\"}\n").unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap()
}

fn measure(cloud: &Cloud, cache: &str, files: u64) {
    let address = cloud.dir().join("notify.sock");
    let _ = std::fs::remove_file(&address);
    let notify = UnixDatagram::bind(&address).unwrap();
    let began = Instant::now();
    let setting = format!("NOTIFY_SOCKET={}", address.display());
    let camera = Camera::start_under(cloud, "env", &[&setting]);
    let mut message = [0; 4096];
    let ready = loop {
        let len = notify.recv(&mut message).unwrap();
        if String::from_utf8_lossy(&message[..len]).contains("READY=1") {
            break began.elapsed();
        }
    };
    // Nobody reads it any more, and nothing waits for that.
    drop(notify);
    let reads = number(camera.pid(), "io", "syscr");
    let (mut first, mut known) = (None, None);
    while first.is_none() || known.is_none() {
        let status = status(&cloud.agent_toml.with_file_name("control.sock"));
        let committed = status["capture"]["frames_committed"].as_u64() > Some(0);
        first = first.or(committed.then(|| began.elapsed()));
        let all = status["spool"]["scanning"] == false && status["spool"]["pending"].as_u64() >= Some(files);
        if all && known.is_none() {
            known = Some((began.elapsed(), number(camera.pid(), "io", "syscr") - reads));
        }
        assert!(began.elapsed() < Duration::from_secs(600), "{status}");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (known, reads) = known.unwrap();
    let resident = number(camera.pid(), "status", "VmHWM");
    println!(
        "| {files} | {cache} | {} ms | {} ms | {} ms | {:.1} MiB | {:.2} |",
        ready.as_millis(),
        first.unwrap().as_millis(),
        known.as_millis(),
        resident as f64 / 1024.0,
        reads as f64 / files.max(1) as f64,
    );
    camera.kill();
}

fn main() {
    let files = parameter("KASACAM_FILES", 20_000);
    println!(
        "| segments | cache | ready | first frame committed | all known | resident at most | reads a file |"
    );
    println!("|---:|---|---:|---:|---:|---:|---:|");
    for files in [0, files] {
        let room = "spool.max_bytes=\"1 TiB\"";
        let cloud = Cloud::start(&[
            "--fragment",
            "2s",
            "--set",
            room,
            "--set",
            "spool.min_free=\"0\"",
            "--set",
            "spool.max_files=1000000",
        ]);
        cloud.tell(&["plan", "plus", "--history-hours", "87600"]);
        cloud.tell(&["privacy", "off"]);
        cloud.tell(&["store", "down"]);
        let state = cloud.agent_toml.with_file_name("state");
        let spool = state.join("spool");
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&spool).unwrap();
        let template = Template::read();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let now = Utc(i64::try_from(now.as_nanos()).unwrap());
        for n in 0..files {
            template.write(&spool.join(format!("{:010}.mp4", n + 1)), n, now, files);
        }
        // A camera that has recorded before: it has its facts.
        let camera = Camera::start(&cloud);
        camera.wait_until_it_records(1);
        camera.kill();
        measure(&cloud, "warm", files);
        let synced = std::process::Command::new("sync").status().is_ok_and(|status| status.success());
        if synced && std::fs::write("/proc/sys/vm/drop_caches", "3").is_ok() {
            measure(&cloud, "cold", files);
        } else {
            println!("| {files} | cold | the cache may not be dropped here | | | | |");
        }
    }
}
