//! A camera among faults of its store, its broker and its power, at random, for `KASACAM_SOAK` seconds: at the end
//! everything that it told as committed is stored, once, and it has grown in nothing. `make soak SECONDS=600`.

use crate::support::bucket::{Stored, assert_spans_are_whole};
use crate::support::camera::Camera;
use crate::support::cloud::{Cloud, wait_up_to};
use crate::support::pipe::{Pipe, Silence};
use crate::support::proxy::{Fault, Proxy};
use std::time::{Duration, Instant, SystemTime};

const PATIENCE: Duration = Duration::from_secs(120);
const FAULTS: [Fault; 12] = [
    Fault::ResetBeforeTls,
    Fault::ResetWithinBody,
    Fault::ResetAfterBody,
    Fault::CutAnswer,
    Fault::LostAnswer,
    Fault::Slow,
    Fault::Answer(403, ""),
    Fault::Answer(409, ""),
    Fault::Answer(503, "retry-after: 2\r\n"),
    Fault::Header("x-amz-checksum-sha256", "AAAA"),
    Fault::Expired,
    Fault::WrongCa,
];

struct Sample {
    at: f64,
    rss_kib: f64,
    descriptors: f64,
    threads: f64,
}

fn sample(pid: u32, at: Duration) -> Option<Sample> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let field = |name: &str| -> Option<f64> {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    Some(Sample {
        at: at.as_secs_f64(),
        rss_kib: field("VmRSS:")?,
        descriptors: std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as f64,
        threads: field("Threads:")?,
    })
}

/// Least squares: how much it grows in a minute.
fn slope(samples: &[Sample], of: impl Fn(&Sample) -> f64) -> f64 {
    let n = samples.len() as f64;
    let mean = |f: &dyn Fn(&Sample) -> f64| samples.iter().map(f).sum::<f64>() / n;
    let (x, y) = (mean(&|s| s.at), mean(&|s| of(s)));
    let above: f64 = samples.iter().map(|s| (s.at - x) * (of(s) - y)).sum();
    let below: f64 = samples.iter().map(|s| (s.at - x).powi(2)).sum();
    60.0 * above / below.max(f64::MIN_POSITIVE)
}

#[test]
fn a_camera_among_random_faults_loses_nothing_and_does_not_grow() {
    let setting = std::env::var("KASACAM_SOAK").ok().and_then(|seconds| seconds.parse().ok());
    let length = Duration::from_secs(setting.unwrap_or(20).max(10));
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let mut random = seed;
    let mut below = |n: usize| -> usize {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) as usize % n
    };
    let (mut proxy, mut pipe) = (Proxy::bind(), Pipe::bind());
    let (store, broker) = (proxy.setting(), pipe.setting());
    let more = ["--set", &store, "--set", &broker, "--set", "mqtt.keep_alive=\"5s\""];
    let cloud =
        Cloud::start(&[&["--segment", "2s", "--fragment", "500ms", "--chunk", "250ms"], &more[..]].concat());
    proxy.serve(&cloud);
    pipe.serve(cloud.mqtt_port);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);

    let began = Instant::now();
    let (mut camera, mut told, mut killed, mut faults) = (Camera::start(&cloud), 0, 0_u64, 0_u64);
    let mut samples: Vec<Sample> = Vec::new();
    let mut next = Duration::from_secs(3);
    while began.elapsed() < length {
        std::thread::sleep(Duration::from_millis(500));
        samples.extend(sample(camera.pid(), began.elapsed()));
        // The first quarter is for kills; what grows is seen in the life that follows.
        if killed < 3 && began.elapsed() > length * (killed as u32 + 1) / 12 {
            told += camera.status()["capture"]["frames_committed"].as_u64().unwrap_or(0);
            camera.kill();
            camera = Camera::start(&cloud);
            killed += 1;
            samples.clear();
        }
        if began.elapsed() < next {
            continue;
        }
        next = began.elapsed() + Duration::from_millis(2000 + below(4000) as u64);
        faults += 1;
        match below(16) {
            0 => pipe.silence([Silence::Both, Silence::FromBroker, Silence::FromCamera][below(3)]),
            1 => drop(cloud.tell(&["broker", "restart"])),
            2 => {
                cloud.tell(&["store", "down"]);
                std::thread::sleep(Duration::from_secs(2));
                cloud.tell(&["store", "up"]);
            }
            3 => {
                cloud.tell(&["privacy", "on"]);
                std::thread::sleep(Duration::from_millis(below(1500) as u64));
                cloud.tell(&["privacy", "off"]);
            }
            _ => proxy.set(FAULTS[below(FAULTS.len())], 1 + below(2) as u32),
        }
    }

    proxy.heal();
    cloud.tell(&["privacy", "on"]);
    let status = wait_up_to(PATIENCE, "an empty spool", || {
        let status = camera.status();
        (status["privacy"]["do_not_record"] == true && status["spool"]["pending"] == 0).then_some(status)
    });
    told += status["capture"]["frames_committed"].as_u64().unwrap();
    camera.stop();
    let stored = cloud.stored();
    assert_spans_are_whole(&stored, true);
    let footage: Vec<&Stored> = stored.iter().filter(|object| !object.is_end()).collect();
    let pictures: u64 = footage.iter().map(|object| object.pictures()).sum();
    assert!(pictures >= told, "{told} pictures told as committed, {pictures} stored (seed {seed})");

    // It has warmed up by half of the time.
    let settled: Vec<Sample> = samples.into_iter().filter(|s| s.at > length.as_secs_f64() / 2.0).collect();
    let (rss, descriptors, threads) =
        (slope(&settled, |s| s.rss_kib), slope(&settled, |s| s.descriptors), slope(&settled, |s| s.threads));
    let last = settled.last().unwrap();
    println!(
        "{length:?}, seed {seed}: {faults} faults, {killed} kills, {told} pictures told as committed, {pictures} stored in {} segments\n\
         RSS {} KiB {rss:+.1} a minute; {} descriptors {descriptors:+.2}; {} threads {threads:+.2}",
        footage.len(),
        last.rss_kib,
        last.descriptors,
        last.threads
    );
    // In a short run a connection more or less is the whole slope.
    if length >= Duration::from_secs(300) {
        assert!(rss < 300.0, "memory grows by {rss} KiB a minute (seed {seed})");
        assert!(descriptors < 1.0 && threads < 0.5, "{descriptors}, {threads} (seed {seed})");
    }
}
