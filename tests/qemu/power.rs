//! The plug is pulled, again and again.

use crate::data::{Files, partition};
use crate::guest::{Guest, Machine};
use crate::recording::{cloud, look_at};
use crate::support::cloud::Cloud;
use crate::support::figures::{at_least, figure};
use crate::support::switch::parameter;
use crate::write_log;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// Within which a scenario begins its last cut, so that it ends in eight minutes.
const ROUNDS: Duration = Duration::from_secs(330);

/// The cuts of a scenario: `KASACAM_POWER_CUTS` (2), or as many as fit its time.
struct Cuts {
    wanted: u64,
    done: u64,
    began: Instant,
}

impl Cuts {
    fn new() -> Cuts {
        Cuts { wanted: parameter("KASACAM_POWER_CUTS", 2), done: 0, began: Instant::now() }
    }

    fn again(&mut self) -> bool {
        let more = self.done < self.wanted && self.began.elapsed() < ROUNDS;
        self.done += u64::from(more);
        more
    }

    /// At the end of a scenario: how many there were of those asked for.
    fn text(&self) -> String {
        at_least(1, "cuts", self.done);
        match self.done == self.wanted {
            true => format!("{} cuts", self.done),
            false => format!("{} cuts ({} were asked for, no more fit the time)", self.done, self.wanted),
        }
    }
}

struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    fn new() -> Random {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
        let seed = parameter("KASACAM_SEED", time);
        println!("seed {seed}");
        Random { seed, state: seed }
    }

    fn below(&mut self, most: u64) -> u64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) % most
    }
}

/// A fragment of the board, in frames.
const FRAGMENT: u64 = 10;

/// What the camera said of its frames, added up over its lives.
#[derive(Default)]
struct Reported {
    committed: u64,
    captured: u64,
    cuts: u64,
}

impl Reported {
    /// Records for a moment of up to 8 s, and is cut. What it said is as last heard.
    fn record_and_cut(&mut self, mut guest: Guest, random: &mut Random) {
        let mut status = guest.wait_until_it_records(1);
        let span = Duration::from_millis(random.below(8000));
        let began = std::time::Instant::now();
        while began.elapsed() < span {
            status = Some(guest.status()).filter(serde_json::Value::is_object).unwrap_or(status);
        }
        guest.cut();
        self.cuts += 1;
        let count = |name: &str| status["capture"][name].as_u64().unwrap();
        self.committed += count("frames_committed");
        self.captured += count("frames_captured");
    }

    /// Nothing that was reported as committed is lost, and of what was captured no more than the fragment under way.
    fn judge(&self, stored: u64) -> String {
        let lost = self.captured.saturating_sub(stored);
        assert!(stored >= self.committed, "{} frames reported as committed, {stored} stored", self.committed);
        assert!(lost <= self.cuts * FRAGMENT, "{} frames captured, {stored} stored", self.captured);
        at_least(self.cuts, "frames reported as committed", self.committed);
        format!(
            "{} frames reported as committed, {stored} stored; {:.1} of those captured before a cut lost, of a fragment's \
             {FRAGMENT}",
            self.committed,
            lost as f64 / self.cuts as f64
        )
    }
}

/// The last start: it may not record, so that the spool empties.
fn deliver(cloud: &Cloud, data: &Path) -> u64 {
    cloud.tell(&["privacy", "on"]);
    let mut guest = Guest::boot(data, &Machine::default());
    let deadline = Duration::from_secs(120);
    guest.wait_for("the owner's choice", deadline, |status| status["privacy"]["do_not_record"] == true);
    let status = guest.wait_until_all_is_stored();
    assert_eq!(status["spool"]["quarantined"], 0, "{status}");
    guest.power_off();
    look_at(cloud, true)
}

/// Killed at random moments; the host keeps what the guest has written.
#[test]
fn power_cut() {
    let cloud = cloud();
    let data = partition(&cloud, Files::Ext4);
    let mut random = Random::new();
    let mut reported = Reported::default();
    let mut cuts = Cuts::new();
    while cuts.again() {
        reported.record_and_cut(Guest::boot(&data, &Machine::default()), &mut random);
    }
    let stored = deliver(&cloud, &data);
    figure(&format!("power_cut: {}, seed {}: {}", cuts.text(), random.seed, reported.judge(stored)));
}

/// Lets the cache of the disk fill between two flushes: what is dirty goes to the disk within a tenth of a second, without a
/// flush, and another program writes to the same file system without ever asking for one.
const FILL_THE_CACHE: &str = "echo 5 >/proc/sys/vm/dirty_writeback_centisecs; echo 5 >/proc/sys/vm/dirty_expire_centisecs; \
     (while :; do for at in 11 48 85 122 159 196 233 270; do \
     dd if=/dev/urandom of=/data/other bs=4k count=1 seek=$at conv=notrunc 2>/dev/null; done; done) \
     >/dev/null 2>&1 </dev/null &";

/// The same, and what the disk had not been told to flush is lost, but for what chance keeps of it.
fn lose_writes(files: Files) {
    let cloud = cloud();
    let data = partition(&cloud, files);
    let log = cloud.dir().join("writes.log");
    let before = cloud.dir().join("before.img");
    let mut random = Random::new();
    let mut reported = Reported::default();
    let (mut lost, mut flushes, mut with_losses) = (0, 0, 0);
    let mut cuts = Cuts::new();
    while cuts.again() {
        write_log::create(&log);
        std::fs::copy(&data, &before).unwrap();
        let machine = Machine { write_log: Some(log.clone()), ..Machine::default() };
        let mut guest = Guest::boot(&data, &machine);
        guest.tell(FILL_THE_CACHE);
        reported.record_and_cut(guest, &mut random);
        let replayed = write_log::replay(&log, &before, || random.below(2) == 0);
        std::fs::rename(&before, &data).unwrap();
        lost += replayed.lost;
        flushes += replayed.flushes;
        with_losses += u64::from(replayed.lost > 0);
    }
    let stored = deliver(&cloud, &data);
    let said = format!(
        "lost_writes on {files:?}: {}, seed {}: {}; {flushes} flushes, {lost} writes lost in {with_losses} of the cuts",
        cuts.text(),
        random.seed,
        reported.judge(stored)
    );
    // A cut right after a flush loses nothing. Most do not come there.
    at_least(cuts.done.div_ceil(2), "cuts that lost writes", with_losses);
    figure(&said);
}

#[test]
fn lost_writes_on_ext4() {
    lose_writes(Files::Ext4);
}

#[test]
fn lost_writes_on_f2fs() {
    lose_writes(Files::F2fs);
}

/// What the camera says is in force, it knows after a cut and without a broker. The file system is at rest when the
/// plan comes, so that nothing else takes its rename to the disk.
#[test]
fn lost_writes_keep_what_was_reported() {
    let rounds = parameter("KASACAM_POWER_CUTS", 2).div_ceil(10).max(1);
    for _ in 0..rounds {
        let cloud = cloud();
        cloud.tell(&["privacy", "on"]);
        let data = partition(&cloud, Files::Ext4);
        let log = cloud.dir().join("writes.log");
        let before = cloud.dir().join("before.img");
        write_log::create(&log);
        std::fs::copy(&data, &before).unwrap();
        let machine = Machine { write_log: Some(log.clone()), ..Machine::default() };
        let mut guest = Guest::boot(&data, &machine);
        let deadline = Duration::from_secs(60);
        guest.wait_for("the owner's choice", deadline, |status| status["privacy"]["do_not_record"] == true);
        // ext4 writes what it holds back every 5 s (its option commit).
        std::thread::sleep(Duration::from_secs(12));
        cloud.tell(&["plan", "premium"]);
        cloud.wait_for_event("the report", |event| {
            event["topic"].as_str().is_some_and(|topic| topic.ends_with("/entitlement/reported"))
                && event["payload"]["plan"].as_str().is_some_and(|plan| plan.starts_with("premium"))
        });
        guest.cut();
        write_log::replay(&log, &before, || false);
        std::fs::rename(&before, &data).unwrap();

        cloud.tell(&["broker", "down"]);
        let mut guest = Guest::boot(&data, &Machine::default());
        let status = guest.wait_for("a start", deadline, |status| status["privacy"].is_object());
        let plan = status["entitlement"]["plan"].as_str().unwrap_or_default();
        assert!(plan.starts_with("premium"), "{status}");
        assert_eq!(status["privacy"]["do_not_record"], true, "{status}");
        guest.power_off();
    }
    figure(&format!(
        "{rounds} cuts with lost writes right after a plan was reported: it is known without a broker"
    ));
}
