//! The thread that owns the spool: the order of its work.

use crate::support::fault_fs::FaultFs;
use crate::support::spool_model::{Options, Rig, held, spool_dir};
use crate::support::tiny_mp4::{self, CHUNK, Tiny};
use crossbeam_channel::{TrySendError, bounded, unbounded};
use kasacam::domain::fragment::{Captured, Epoch, SpanEnd};
use kasacam::domain::input::Input;
use kasacam::domain::segment::Content;
use kasacam::domain::time::{Clock, Mono, Now, Utc};
use kasacam::spool::{self, Command, LiveEpoch};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Two thousand files are to be removed, and thirty chunks wait.
#[test]
fn neither_a_chunk_nor_the_watchdog_waits_for_the_disk_to_forget() {
    let fs = FaultFs::healthy();
    let mut rig = Rig::open(&fs, "boot-one", Options { size: 40, ..Options::default() });
    rig.allow();
    rig.fragments(4_000);
    rig.end(SpanEnd::Source);
    let serials: Vec<_> = rig.ledger.sealed.keys().copied().collect();
    assert!(serials.len() > 2_000);
    drop(rig);

    let live = LiveEpoch::new();
    live.allow(Epoch(1));
    let clock = || (Now { mono: Mono(1), system: Utc(1), synchronised: true }, Clock::Trusted);
    let setup = Options::default().setup("boot-two");
    let (spool, found) = spool::open(fs.shared(), setup, live, Box::new(clock)).unwrap();
    assert_eq!(found.len(), serials.len());
    let (chunks, captured) = bounded(64);
    let (commands, orders) = unbounded();
    for serial in serials {
        commands.send(Command::Forget { serial }).unwrap();
    }
    let init = tiny_mp4::init(64);
    for n in 0..30_u32 {
        let tiny = Tiny {
            epoch: Epoch(1),
            init: Arc::clone(&init),
            fragment: 10_000 + n / 2,
            chunk: n % 2,
            of: 2,
            sequence: n + 1,
            start: 9_000_000_000 + u64::from(n) * CHUNK,
            size: 40,
            zeros: 0,
        };
        chunks.send(Captured::Chunk(tiny.build())).unwrap();
    }
    let (asked, answer) = bounded(1);
    commands.send(Command::Drain { done: asked }).unwrap();

    let told = Arc::new(Mutex::new((0_u32, 0_u32)));
    let report = {
        let told = Arc::clone(&told);
        let mut answered = false;
        move |input: Input| {
            let mut told = told.lock().unwrap();
            match input {
                Input::Committed { frames, .. } => told.0 += frames,
                Input::Forgotten { .. } => {
                    told.1 += 1;
                    answered |= answer.try_recv().is_ok();
                    assert!(answered, "the watchdog waits for the disk to forget");
                    assert!(told.0 >= 28 * 2, "chunks wait for the disk to forget: {}", told.0);
                }
                _ => {}
            }
        }
    };
    let thread = std::thread::spawn(move || spool.run(captured, orders, Box::new(report)));
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while told.lock().unwrap().1 < 2_000 {
        assert!(std::time::Instant::now() < until && !thread.is_finished(), "{:?}", told.lock().unwrap());
        std::thread::sleep(Duration::from_millis(5));
    }
    drop(commands);
    thread.join().unwrap();
    // What was captured, and nothing of what was removed.
    assert!(fs.names(&spool_dir()).len() < 40, "{}", fs.names(&spool_dir()).len());
}

/// A camera whose driver has no more buffers once the channel to the spool is full: what it captures then is
/// lost.
struct Source {
    chunks: crossbeam_channel::Sender<Captured>,
    init: Arc<kasacam::domain::fragment::Init>,
    /// `CLOCK_MONOTONIC`, as the spool sees it.
    clock: Arc<AtomicU64>,
    sequence: u32,
    taken: BTreeSet<(u32, u32)>,
    dropped: Vec<(u32, u32)>,
}

impl Source {
    /// The chunk of this number, at its time.
    fn capture(&mut self, n: u32) {
        let start = 1_000_000_000 + u64::from(n) * CHUNK;
        self.clock.store(start + CHUNK, Ordering::SeqCst);
        let (epoch, init, label) = (Epoch(1), Arc::clone(&self.init), (n / 4, n % 4));
        let (fragment, chunk) = label;
        let (of, size, zeros, sequence) = (4, 40, 0, self.sequence);
        let tiny = Tiny { epoch, init, fragment, chunk, of, sequence, start, size, zeros };
        match self.chunks.try_send(Captured::Chunk(tiny.build())) {
            Ok(()) => {
                self.sequence += 1;
                self.taken.insert(label);
            }
            Err(TrySendError::Full(_)) => self.dropped.push(label),
            Err(TrySendError::Disconnected(_)) => panic!("the spool is gone"),
        }
    }
}

#[test]
fn a_sync_that_stalls_holds_chunks_up_to_the_bound_and_what_is_dropped_then_has_a_name() {
    let fs = FaultFs::healthy();
    let live = LiveEpoch::new();
    live.allow(Epoch(1));
    let clock = Arc::new(AtomicU64::new(0));
    let reading = {
        let clock = Arc::clone(&clock);
        move || {
            let mono = Mono(clock.load(Ordering::SeqCst));
            (Now { mono, system: Utc(i64::try_from(mono.0).unwrap()), synchronised: true }, Clock::Trusted)
        }
    };
    let setup = Options::default().setup("boot-one");
    let (spool, _) = spool::open(fs.shared(), setup, live, Box::new(reading)).unwrap();
    // As between the agent's source and its spool.
    let (chunks, captured) = bounded(32);
    let (commands, orders) = unbounded();
    let (told, hears) = unbounded();
    let report = move |input: Input| drop(told.send(input));
    let thread = std::thread::spawn(move || spool.run(captured, orders, Box::new(report)));
    let drained = || {
        let (done, answer) = bounded(1);
        commands.send(Command::Drain { done }).unwrap();
        answer.recv_timeout(Duration::from_secs(60)).expect("the spool thread turns");
    };
    let init = tiny_mp4::init(64);
    let (taken, dropped) = (BTreeSet::new(), Vec::new());
    let mut source = Source { chunks, init, clock, sequence: 1, taken, dropped };
    for n in 0..40 {
        source.capture(n);
        drained();
    }
    let before = source.taken.len();

    // Forty seconds of flash that collects its garbage.
    fs.stall(true);
    let stalled = u32::try_from(40_000_000_000 / CHUNK).unwrap();
    for n in 40..40 + stalled {
        source.capture(n);
        let until = Instant::now() + Duration::from_secs(60);
        // It waits in its first commit, holding the chunks up to there.
        while n < 44 && !source.chunks.is_empty() {
            assert!(Instant::now() < until, "chunk {n} is not taken");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    let held_up = source.taken.len() - before;
    assert_eq!(held_up, 4 + 32, "what is in its hands, and what the channel holds");
    assert_eq!(source.dropped.len(), stalled as usize - held_up);
    fs.stall(false);
    drained();
    // Running again; the next fragment begins at a multiple of four.
    let next = (40 + stalled).next_multiple_of(4);
    for n in next..next + 40 {
        source.capture(n);
        drained();
    }
    drop(commands);
    thread.join().unwrap();

    let inputs: Vec<Input> = hears.try_iter().collect();
    let ends: Vec<_> = inputs
        .iter()
        .filter_map(|input| match input {
            Input::Sealed(segment) => match segment.content {
                Content::End { reason } => Some((reason, segment.start_mono())),
                Content::Footage { .. } => None,
            },
            _ => None,
        })
        .collect();
    let gap = Mono(1_000_000_000 + (40 + 36) * CHUNK);
    assert_eq!(ends.first(), Some(&(SpanEnd::Storage, gap)), "{ends:?}");
    assert_eq!(
        ends.iter().map(|(reason, _)| *reason).collect::<Vec<_>>(),
        [SpanEnd::Storage, SpanEnd::Shutdown]
    );
    assert!(!inputs.iter().any(|input| matches!(input, Input::StorageFailed { .. } | Input::Dropped { .. })));
    let on_flash: BTreeSet<_> = held(&fs).into_values().flatten().collect();
    assert_eq!(on_flash, source.taken, "all that was taken is committed");
}
