//! A camera, a broker and a store with random faults; then everything is compared. `make soak SECONDS=600`
//! runs it for long; `KASACAM_SOAK` says how many seconds (15), `KASACAM_SEED` repeats the moments.
//!
//! A run that is too short for its minimum counts continues, up to [`PATIENCE`] times as long, and then
//! fails.

use crate::support::bucket::{Stored, assert_spans_are_whole};
use crate::support::camera::Camera;
use crate::support::cloud::Cloud;
use crate::support::figures::{at_least, figure};
use crate::support::switch::{Switch, parameter, wait_until_closed};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// How many times longer than requested a run may last until it has seen enough.
const PATIENCE: u32 = 6;
/// Minimum counts of a run.
const MIN_COMMITTED: u64 = 30;
const MIN_CHOICES: usize = 2;
const MIN_KINDS: usize = 6;
/// Kinds of faults; the last one kills the camera.
const KINDS: usize = 9;

/// The resources of a process, as the kernel counts them.
#[derive(Clone, Copy, Debug)]
struct Sample {
    seconds: f64,
    rss_kib: f64,
    files: usize,
    threads: usize,
}

fn sample(pid: u32, since: Instant) -> Sample {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or("0 kB");
    let entries = |name: &str| std::fs::read_dir(format!("/proc/{pid}/{name}")).map_or(0, Iterator::count);
    Sample {
        seconds: since.elapsed().as_secs_f64(),
        rss_kib: rss.trim().trim_end_matches(" kB").parse().unwrap_or(0.0),
        files: entries("fd"),
        threads: entries("task"),
    }
}

/// Least squares; KiB per minute.
fn slope(samples: &[Sample]) -> f64 {
    let n = samples.len() as f64;
    let mean = |of: &dyn Fn(&Sample) -> f64| samples.iter().map(of).sum::<f64>() / n;
    let (x, y) = (mean(&|it| it.seconds), mean(&|it| it.rss_kib));
    let above: f64 = samples.iter().map(|it| (it.seconds - x) * (it.rss_kib - y)).sum();
    let below: f64 = samples.iter().map(|it| (it.seconds - x).powi(2)).sum();
    60.0 * above / below.max(f64::MIN_POSITIVE)
}

struct Soak<'a> {
    cloud: &'a Cloud,
    switch: Switch<'a>,
    camera: Option<Camera>,
    told: u64,
    kills: u32,
    faults: u32,
    private: bool,
    /// Kinds of faults that must still come before any comes again.
    deck: Vec<usize>,
    kinds: BTreeSet<usize>,
}

impl Soak<'_> {
    fn camera(&self) -> &Camera {
        self.camera.as_ref().unwrap()
    }

    fn committed(&self) -> u64 {
        self.camera().status()["capture"]["frames_committed"].as_u64().unwrap_or(0)
    }

    /// A kind of fault; each comes once before any comes again.
    fn draw(&mut self, may_kill: bool) -> usize {
        self.deck.retain(|kind| may_kill || *kind != KINDS - 1);
        if self.deck.is_empty() {
            self.deck = (0..if may_kill { KINDS } else { KINDS - 1 }).collect();
        }
        let at = usize::try_from(self.switch.random(self.deck.len() as u64)).unwrap();
        self.deck.swap_remove(at)
    }

    fn has_seen_enough(&self) -> bool {
        self.kinds.len() >= MIN_KINDS
            && self.switch.private.len() >= MIN_CHOICES
            && self.told + self.committed() >= MIN_COMMITTED
    }

    /// Injects a fault for a while, or a change by the owner or the cloud.
    fn step(&mut self, may_kill: bool) {
        self.faults += 1;
        let most = Duration::from_millis(2_500);
        let kind = self.draw(may_kill);
        self.kinds.insert(kind);
        match kind {
            0 => {
                self.cloud.tell(&["store", "down"]);
                self.switch.linger(most);
                self.cloud.tell(&["store", "up"]);
            }
            1 => {
                let status =
                    ["403", "404", "429", "500", "503"][usize::try_from(self.switch.random(5)).unwrap()];
                self.cloud.tell(&["store", "error", status]);
                self.switch.linger(most);
                self.cloud.tell(&["store", "up"]);
            }
            2 => {
                self.cloud.tell(&["broker", "down"]);
                self.switch.linger(most);
                self.cloud.tell(&["broker", "up"]);
            }
            3 => drop(self.cloud.tell(&["broker", "restart"])),
            4 => {
                self.camera().signal(libc::SIGSTOP);
                self.switch.linger(Duration::from_millis(700));
                self.camera().signal(libc::SIGCONT);
            }
            5 | 6 => {
                // Without the broker a choice waits in the cloud's client, and the command with it.
                self.camera().wait_until_it_is_connected();
                if self.private {
                    self.switch.allow();
                } else {
                    self.switch.forbid();
                    wait_until_closed(self.camera());
                }
                self.private = !self.private;
            }
            7 => {
                let plan = ["free", "plus", "premium"][usize::try_from(self.switch.random(3)).unwrap()];
                self.cloud.tell(&["plan", plan]);
            }
            _ => {
                self.told += self.committed();
                self.camera.take().unwrap().kill();
                self.kills += 1;
                self.camera = Some(Camera::start(self.cloud));
            }
        }
        self.switch.linger(most);
    }
}

#[test]
fn a_camera_among_random_faults_loses_nothing_and_keeps_nothing_that_is_forbidden() {
    let seconds = parameter("KASACAM_SOAK", 15);
    let arguments = ["--segment", "2s", "--fragment", "1s", "--chunk", "250ms"];
    let cloud = Cloud::start(&arguments);
    cloud.tell(&["plan", "plus"]);
    let mut switch = Switch::new(&cloud);
    switch.allow();
    let camera = Some(Camera::start(&cloud));
    let mut soak = Soak {
        cloud: &cloud,
        switch,
        camera,
        told: 0,
        kills: 0,
        faults: 0,
        private: false,
        deck: Vec::new(),
        kinds: BTreeSet::new(),
    };
    let seed = soak.switch.seed;

    let began = Instant::now();
    let (kills_until, until) = (Duration::from_secs(seconds) / 3, Duration::from_secs(seconds));
    while began.elapsed() < kills_until || (soak.kills == 0 && began.elapsed() < kills_until * PATIENCE) {
        soak.step(true);
    }
    // The rest is one process, whose memory is measured once it has seen every kind of work.
    let mut samples = Vec::new();
    while began.elapsed() < until || (!soak.has_seen_enough() && began.elapsed() < until * PATIENCE) {
        soak.step(false);
        if began.elapsed() > until / 2 {
            samples.push(sample(soak.camera().pid(), began));
        }
    }
    soak.camera().wait_until_it_is_connected();
    if !soak.private {
        soak.switch.forbid();
    }
    wait_until_closed(soak.camera());
    soak.camera().wait_until_all_is_stored();
    let told = soak.told + soak.committed();
    let camera = soak.camera.take().unwrap();
    let (state, log) = (camera.state_dir(), camera.log());
    camera.stop();

    let stored = cloud.stored();
    assert_spans_are_whole(&stored, true);
    let kept: u64 = stored.iter().filter(|object| !object.is_end()).map(Stored::frames).sum();
    assert!(kept >= told, "{told} frames reported as committed, {kept} stored (seed {seed})");
    let found = soak.switch.judge(&soak.switch.evidence(&state));
    at_least(MIN_KINDS as u64, "kinds of faults", soak.kinds.len() as u64);
    at_least(1, "kills", u64::from(soak.kills));
    at_least(
        MIN_CHOICES as u64,
        "choices of the owner to forbid recording",
        soak.switch.private.len() as u64,
    );
    at_least(MIN_COMMITTED, "frames reported as committed", told);
    at_least(kept, "frames looked at, of those stored", found.frames as u64);
    assert!(!log.contains("panicked"), "{log}");
    let most = |of: &dyn Fn(&Sample) -> usize| samples.iter().map(of).max().unwrap_or(0);
    let (files, threads) = (most(&|it| it.files), most(&|it| it.threads));
    assert!(files < 100 && threads < 60, "{files} files and {threads} threads at once (seed {seed})");
    let growth = if samples.len() > 2 { slope(&samples) } else { 0.0 };
    // A short run shows nothing about growth.
    assert!(seconds < 300 || growth < 300.0, "{growth:.0} KiB a minute (seed {seed})");
    figure(&format!(
        "{:.0} s of random faults: {} faults of {} kinds, {} kills, {} choices; {told} frames reported as committed, {kept} stored, {} of \
         them looked at, none forbidden; RSS grows by {growth:.0} KiB a minute over {} samples, at most {files} files, \
         {threads} threads; seed {seed}",
        began.elapsed().as_secs_f64(),
        soak.faults,
        soak.kinds.len(),
        soak.kills,
        soak.switch.private.len(),
        found.frames,
        samples.len()
    ));
}
