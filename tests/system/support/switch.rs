//! The owner's switch, with the time of each use, and the verdict on what was kept.
//!
//! When a choice left the broker is known only from both sides: not before the development cloud passed it to
//! its client (`sending`), and not after the broker's acknowledgement came back (`acknowledged`), which
//! mosquitto sends after the message itself. A frame captured after `acknowledged` was certainly captured
//! after the choice had left the broker; the test asserts that none of them is kept. A frame between the two
//! moments may have been captured before it; such frames are counted and reported, not judged. The time of a
//! frame is when the source emitted it, written into it by the source. An access unit of audio is judged by
//! its beginning minus the length of a buffer of the test tone: `audiotestsrc` emits 1,024 samples at the
//! time of the first of them, so audio exists before it would have been heard.

use super::camera::Camera;
use super::cloud::Cloud;
use super::oracle::{self, Kept};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

/// 1,024 samples at 48 kHz, in nanoseconds, rounded up.
pub const TONE: u64 = 21_333_334;

/// A time of "do not record", in nanoseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Copy, Debug)]
pub struct Private {
    pub sending: u64,
    pub acknowledged: u64,
    /// When the permission was passed to the cloud's client; the camera cannot know before.
    pub until: u64,
}

pub struct Switch<'a> {
    cloud: &'a Cloud,
    /// What was read from the store before: objects never change.
    read: RefCell<BTreeMap<String, Kept>>,
    pub private: Vec<Private>,
    pub seed: u64,
    random: u64,
}

/// The counts of [`Switch::judge`], if it found no fault.
#[derive(Clone, Copy, Debug, Default)]
pub struct Found {
    pub frames: usize,
    pub audio: usize,
    /// Frames between `sending` and `acknowledged`.
    pub undecided: usize,
}

impl<'a> Switch<'a> {
    /// The seed of the moments is `KASACAM_SEED`, or the time of day.
    pub fn new(cloud: &'a Cloud) -> Switch<'a> {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = parameter("KASACAM_SEED", time);
        Switch { cloud, read: RefCell::default(), private: Vec::new(), seed, random: seed }
    }

    /// "Record"; the version of the choice.
    pub fn allow(&mut self) -> u64 {
        let (version, sending, _) = self.tell("off");
        if let Some(last) = self.private.last_mut() {
            last.until = last.until.min(sending);
        }
        version
    }

    /// "Do not record"; the version of the choice.
    pub fn forbid(&mut self) -> u64 {
        let (version, sending, acknowledged) = self.tell("on");
        self.private.push(Private { sending, acknowledged, until: u64::MAX });
        version
    }

    fn tell(&self, switch: &str) -> (u64, u64, u64) {
        let answer = self.cloud.ask(&format!(r#"{{"command":"privacy","switch":"{switch}"}}"#));
        assert_eq!(answer["ok"], true, "{answer}");
        let number = |name: &str| answer[name].as_u64().unwrap();
        (number("version"), number("sending"), number("acknowledged"))
    }

    pub fn random(&mut self, below: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    /// Lets a random time pass: the moment is the variable, and there is no state to wait for.
    pub fn linger(&mut self, most: Duration) {
        let micros = self.random(u64::try_from(most.as_micros()).unwrap().max(1));
        std::thread::sleep(Duration::from_micros(micros));
    }

    /// Everything in the store, and every byte that is left on the camera.
    pub fn evidence(&self, camera: &std::path::Path) -> Vec<Kept> {
        let mut read = self.read.borrow_mut();
        for object in self.cloud.footage() {
            read.entry(object.key.clone()).or_insert_with(|| {
                let kept = Kept::read(&object.key, &object.body);
                kept.assert_is_whole();
                kept
            });
        }
        let mut kept: Vec<Kept> = read.values().cloned().collect();
        kept.extend(oracle::left_in(camera));
        kept
    }

    /// For each frame captured against a choice: how long after the choice had left the broker it was
    /// captured.
    pub fn late(&self, kept: &[Kept]) -> Vec<Duration> {
        let late = |time: u64| {
            let against = self.private.iter().find(|it| time > it.acknowledged && time < it.until);
            against.map(|it| Duration::from_nanos(time - it.acknowledged))
        };
        kept.iter().flat_map(Kept::all).filter_map(|card| late(card.time)).collect()
    }

    /// Waits until nothing that `look` finds in this folder was captured against a choice, and judges it.
    pub fn wait_until_clean(&self, look: &dyn Fn(&std::path::Path) -> Vec<Kept>, folder: &std::path::Path) {
        super::cloud::wait("a purge", || self.late(&look(folder)).is_empty().then_some(()));
        self.judge(&look(folder));
    }

    /// No frame and no audio captured after a choice had left the broker is among them.
    pub fn judge(&self, kept: &[Kept]) -> Found {
        let mut found = Found::default();
        // Captured between `earliest` and `latest`; recording was forbidden all that time.
        let after = |earliest: u64, latest: u64| {
            self.private.iter().find(|it| earliest > it.acknowledged && latest < it.until).map(|it| {
                format!(
                    "{:.1} ms after the choice had left the broker",
                    (earliest - it.acknowledged) as f64 / 1e6
                )
            })
        };
        let mut wrong = Vec::new();
        for item in kept {
            let cards = item.all();
            let between =
                |time: u64| self.private.iter().any(|it| time > it.sending && time <= it.acknowledged);
            found.frames += cards.len();
            found.audio += item.audio.len();
            found.undecided += cards.iter().filter(|card| between(card.time)).count();
            wrong.extend(cards.iter().filter_map(|card| {
                after(card.time, card.time)
                    .map(|late| format!("{}: frame {} is of {late}", item.name, card.number))
            }));
            wrong.extend(item.audio.iter().filter_map(|time| {
                after(time.saturating_sub(TONE), *time).map(|late| format!("{}: audio of {late}", item.name))
            }));
        }
        assert!(wrong.is_empty(), "kept against the owner's choice (seed {}): {wrong:#?}", self.seed);
        found
    }
}

/// The device is closed, by the camera's own report, and it knows why.
pub fn wait_until_closed(camera: &Camera) {
    camera.wait_for("a closed device", |status| {
        status["capture"]["open"] == false && status["privacy"]["do_not_record"] == true
    });
}

/// How often the threads that serve a source were descheduled, by the kernel's count. A thread whose source
/// is closed stays in a pool under its old name.
pub fn sleeps_of_the_source(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let statuses = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    statuses
        .filter(|status| status.starts_with("Name:\ttest-source"))
        .filter_map(|status| {
            let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
            count.trim().parse::<u64>().ok()
        })
        .sum()
}

pub fn parameter(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}
