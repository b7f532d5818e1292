//! "Do Not Record Video or Audio" switched thousands of times on the machine, the live epoch and the spool,
//! with what is between them in the product: a queue of chunks, a queue of commands, a source that is slow to
//! close, and power cuts. `KASACAM_TOGGLES_PURE` says how often (2,000), `KASACAM_SEED` repeats a failure.

use crate::support::budget::Budget;
use crate::support::dice::parameter;
use crate::support::fault_fs::{Coin, Cut, FaultFs};
use crate::support::figures::{at_least, figure};
use crate::support::rig::{self, Asked, allowed, choice};
use crate::support::spool_model::{self, Options, held, spool_dir, state_dir};
use crate::support::tiny_mp4::{CHUNK, Tiny, labels};
use kasacam::disk::StoredFacts;
use kasacam::domain::effect::StopManner;
use kasacam::domain::fragment::{Captured, Epoch, SpanEnd};
use kasacam::domain::machine::Start;
use kasacam::domain::privacy::Recalled;
use kasacam::domain::time::Mono;
use kasacam::spool::{Command, Durability};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// When the frames of a chunk were captured, in nanoseconds: the last one at `end`.
#[derive(Clone, Copy, Debug)]
struct Taken {
    end: u64,
    run: u64,
}

/// A source with its device open.
struct Device {
    epoch: Epoch,
    run: u64,
    chunk: u32,
}

struct Bench {
    coin: Coin,
    machine: rig::Rig,
    spool: spool_model::Rig,
    device: Option<Device>,
    queue: VecDeque<Captured>,
    commands: VecDeque<Command>,
    time: u64,
    fragment: u32,
    sequence: u32,
    version: u64,
    taken: BTreeMap<(u32, u32), Taken>,
    /// How often the device was opened.
    runs: u64,
    /// When the owner forbade it, by run.
    forbidden: BTreeMap<u64, u64>,
    /// Chunks that the source captured although it was told to stop.
    too_late: u64,
    kept: u64,
    what: String,
}

impl Bench {
    fn new(seed: u64, options: Options) -> Bench {
        let mut bench = Bench {
            coin: Coin(seed | 1),
            machine: rig::Rig::new(Start { privacy: Recalled::Is(choice(1, true)), ..allowed() }),
            spool: spool_model::Rig::open(&FaultFs::healthy(), "boot-one", options),
            device: None,
            queue: VecDeque::new(),
            commands: VecDeque::new(),
            time: 5_000_000_000,
            fragment: 0,
            sequence: 1,
            version: 1,
            taken: BTreeMap::new(),
            runs: 0,
            forbidden: BTreeMap::new(),
            too_late: 0,
            kept: 0,
            what: format!("seed {seed}, {:?}", options.durability),
        };
        bench.perform();
        bench
    }

    fn choose(&mut self, do_not_record: bool) {
        self.version += 1;
        self.machine.now.mono = Mono(self.time);
        self.machine.privacy(self.version, do_not_record);
        self.perform();
    }

    /// Performs the effects of the machine, in the agent's order.
    fn perform(&mut self) {
        for asked in self.machine.take() {
            match asked {
                Asked::Open(epoch, _) => {
                    self.spool.live.allow(epoch);
                    self.runs += 1;
                    self.device = Some(Device { epoch, run: self.runs, chunk: 0 });
                    self.fragment += 1;
                }
                Asked::Close(manner, reason) => {
                    assert_eq!((manner, reason), (StopManner::Drop, SpanEnd::Privacy), "{}", self.what);
                    self.spool.live.revoke();
                    let device = self.device.take().expect("what is closed was open");
                    self.forbidden.insert(device.run, self.time);
                    self.is_slow_to_close(device);
                }
                // Onto the disk whose power is cut.
                Asked::Keep(fact) => {
                    StoredFacts::new(self.spool.fs.shared(), &state_dir()).keep(&fact).unwrap()
                }
                _ => {}
            }
        }
    }

    /// A source hands over what it still had, and perhaps what it captures before it is closed.
    fn is_slow_to_close(&mut self, mut device: Device) {
        let epoch = device.epoch;
        let late = self.coin.below(4);
        let told_after = self.coin.below(late + 1);
        for chunk in 0..=late {
            if chunk == told_after {
                self.commands.push_back(Command::Revoke { epoch, reason: SpanEnd::Privacy });
            }
            if chunk == late {
                break;
            }
            self.take_chunk(&mut device);
            self.too_late += 1;
            if self.coin.toss() {
                self.spool_turns();
            }
        }
        self.queue.push_back(Captured::End { epoch, reason: SpanEnd::Privacy, closed: Mono(u64::MAX) });
    }

    fn take_chunk(&mut self, device: &mut Device) {
        let tiny = Tiny {
            epoch: device.epoch,
            init: Arc::clone(&self.spool.init),
            fragment: self.fragment,
            chunk: device.chunk,
            of: self.spool.options.chunks,
            sequence: self.sequence,
            start: self.time,
            size: self.spool.options.size,
            zeros: 0,
        };
        self.time += CHUNK;
        self.sequence += 1;
        self.taken.insert((self.fragment, device.chunk), Taken { end: self.time, run: device.run });
        device.chunk += 1;
        if device.chunk == self.spool.options.chunks {
            device.chunk = 0;
            self.fragment += 1;
        }
        self.queue.push_back(Captured::Chunk(tiny.build()));
    }

    fn records(&mut self) {
        if let Some(mut device) = self.device.take() {
            self.take_chunk(&mut device);
            self.device = Some(device);
        }
    }

    /// One iteration of the spool thread: a command, or else what was captured. False if there is neither.
    fn spool_turns(&mut self) -> bool {
        if let Some(command) = self.commands.pop_front() {
            self.spool.obey(command);
            return true;
        }
        let Some(item) = self.queue.pop_front() else { return false };
        if let Captured::Chunk(chunk) = &item {
            self.spool.ledger.undecided.extend(labels(&chunk.bytes));
        }
        self.spool.spool.take(item);
        self.spool.absorb(false);
        true
    }

    /// Checks every byte of every file, whatever its name.
    fn judge(&self) {
        for name in self.spool.fs.names(&spool_dir()) {
            let bytes = self.spool.fs.peek(&spool_dir().join(&name)).unwrap_or_default();
            for label in labels(&bytes) {
                let taken = self.taken[&label];
                let forbidden = self.forbidden.get(&taken.run);
                assert!(
                    forbidden.is_none_or(|forbidden| taken.end <= *forbidden),
                    "{}: {name} has {label:?}, taken {} ms after the owner forbade it",
                    self.what,
                    (taken.end - forbidden.unwrap_or(&0)) / 1_000_000
                );
            }
        }
    }

    /// The power is cut; the camera starts again, with what it knew of the owner's choice, and with empty
    /// queues.
    fn power_fails(&mut self) {
        let cut = if self.coin.toss() { Cut::LosesAll } else { Cut::KeepsAll };
        let fs = self.spool.fs.after(cut);
        self.queue.clear();
        self.commands.clear();
        self.device = None;
        self.spool = spool_model::Rig::open(&fs, "boot-two", self.spool.options);
        // It knows only what the disk holds.
        let privacy = match StoredFacts::new(fs.shared(), &state_dir()).recall().privacy {
            Recalled::Is(jws) => {
                let version: u64 = jws.strip_prefix("privacy-").unwrap().parse().unwrap();
                // Every other choice forbids: see `toggle`.
                Recalled::Is(choice(version, version % 2 == 1))
            }
            Recalled::Missing => Recalled::Missing,
            Recalled::Unreadable => Recalled::Unreadable,
        };
        self.machine = rig::Rig::at(Start { privacy, ..allowed() }, self.machine.now);
        self.perform();
        assert!(self.device.is_none(), "{}: it opened against the owner's choice", self.what);
    }

    /// Finishes all that waits; checks that only whole fragments captured with permission are there; then
    /// removes them.
    fn settle(&mut self) {
        while self.spool_turns() {}
        self.judge();
        for (serial, labels) in held(&self.spool.fs) {
            let chunks = self.spool.options.chunks as usize;
            assert!(labels.len() % chunks == 0, "{}: {serial} has half a fragment: {labels:?}", self.what);
            self.kept += labels.len() as u64;
        }
        let sealed: Vec<_> = self.spool.ledger.sealed.keys().copied().collect();
        for serial in sealed {
            self.spool.obey(Command::Forget { serial });
        }
        self.spool.ledger.assert_balanced();
    }
}

fn toggle(toggles: u64, durability: Durability, seed: u64) -> (u64, u64) {
    let options = Options { durability, chunks: 3, segment: 6 * CHUNK, size: 100, ..Options::default() };
    let mut bench = Bench::new(seed, options);
    for _ in 0..toggles {
        bench.choose(false);
        for _ in 0..bench.coin.below(14) {
            bench.records();
            for _ in 0..bench.coin.below(3) {
                bench.spool_turns();
            }
        }
        // Between two chunks, or in the middle of one that is never finished.
        bench.time += bench.coin.below(CHUNK as usize) as u64;
        bench.choose(true);
        bench.judge();
        for _ in 0..bench.coin.below(4) {
            bench.spool_turns();
            bench.judge();
        }
        match bench.coin.below(20) {
            0 => {
                bench.power_fails();
                bench.settle();
            }
            // The owner decides again before the spool has caught up.
            1..=6 => {}
            _ => bench.settle(),
        }
        bench.time += Duration::from_secs(3).as_nanos() as u64;
    }
    bench.settle();
    (bench.kept, bench.too_late)
}

#[test]
fn k11_no_chunk_taken_after_the_choice_is_ever_written() {
    const ROUND: u64 = 100;
    let mut rounds = Budget::scaled("KASACAM_TOGGLES_PURE", 2_000, (1, ROUND));
    let first = parameter("KASACAM_SEED", 11);
    let (mut kept, mut refused) = (0, 0);

    while rounds.again() {
        let seed = first + (rounds.done - 1) / 3;
        let durability = match rounds.done % 3 {
            0 => Durability::Chunk,
            1 => Durability::Fragment,
            _ => Durability::Segment,
        };
        let (some, late) = toggle(ROUND, durability, seed);
        kept += some;
        refused += late;
    }

    let toggles = rounds.done * ROUND;
    let seed = format!("{first} to {}", first + rounds.done.saturating_sub(1) / 3);
    at_least(1_000, "toggles", toggles);
    at_least(toggles, "chunks kept from before a choice", kept);
    at_least(toggles / 2, "chunks that came after a choice", refused);
    figure(&format!(
        "{toggles} toggles against the machine and the spool: {kept} chunks kept, {refused} that came too late refused, seed {seed}"
    ));
}
