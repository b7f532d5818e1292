//! The thread that owns the spool: what comes first.

use crate::support::fault_fs::FaultFs;
use crate::support::spool_model::{Options, Rig, spool_dir};
use crate::support::tiny_mp4::{self, CHUNK, Tiny};
use crossbeam_channel::{bounded, unbounded};
use kasacam::domain::fragment::{Captured, Epoch, SpanEnd};
use kasacam::domain::input::Input;
use kasacam::domain::time::{Clock, Mono, Now, Utc};
use kasacam::spool::{self, Command, LiveEpoch};
use std::sync::{Arc, Mutex};
use std::time::Duration;

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
    // What was captured, and nothing of what was forgotten.
    assert!(fs.names(&spool_dir()).len() < 40, "{}", fs.names(&spool_dir()).len());
}
