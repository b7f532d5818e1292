//! A whole cycle of the spool, with the power cut at every call and with every call failing.

use crate::support::budget::Budget;
use crate::support::dice::parameter;
use crate::support::fault_fs::{Coin, Cut, FaultFs, Mutant, Plan};
use crate::support::figures::{at_least, figure};
use crate::support::spool_model::{Options, Rig, restart_and_check, state_dir};
use crate::support::tiny_mp4::CHUNK;
use kasacam::disk::StoredFacts;
use kasacam::disk::facts::Name;
use kasacam::domain::effect::Fact;
use kasacam::domain::fragment::SpanEnd;
use kasacam::domain::privacy::Recalled;
use kasacam::spool::{Command, Durability};
use std::panic::{AssertUnwindSafe, catch_unwind};

const DURABILITIES: [Durability; 3] = [Durability::Chunk, Durability::Fragment, Durability::Segment];

/// What was published, and which part is known to be durable.
#[derive(Default)]
struct Published {
    tried: Vec<String>,
    durable: Option<String>,
}

impl Published {
    fn publish(&mut self, facts: &StoredFacts, jws: &str) {
        self.tried.push(jws.to_owned());
        if facts.keep(&Fact::Privacy { version: 1, jws: jws.to_owned() }).is_ok() {
            self.durable = Some(jws.to_owned());
            self.tried = vec![jws.to_owned()];
        }
    }

    fn check(&self, facts: &StoredFacts) {
        match facts.load(Name::Privacy) {
            Recalled::Is(found) => assert!(self.tried.contains(&found), "{found} was replaced"),
            Recalled::Missing => assert!(self.durable.is_none(), "a published fact is gone"),
            Recalled::Unreadable => panic!("a published fact cannot be read"),
        }
    }
}

/// Everything that a spool does: spans that end in every way, segments sealed, removed and deferred,
/// permission withdrawn in the middle of a fragment, facts published in between.
fn cycle(fs: &FaultFs, options: Options, published: &mut Published) -> Rig {
    let facts = StoredFacts::new(fs.shared(), &state_dir());
    published.publish(&facts, "record");
    let mut rig = Rig::open(fs, "boot-one", options);
    rig.obey(Command::SetTerms { plan: "plus-monthly".to_owned(), history_hours: 720 });

    rig.allow();
    rig.fragments(5);
    if let Some(first) = rig.footage().first() {
        rig.forget(first.serial);
    }
    rig.fragments(1);
    // Just sealed, and the newest of its span: this one is deferred.
    if let Some(newest) = rig.footage().last() {
        rig.forget(newest.serial);
    }
    rig.chunks(1);
    rig.revoke();
    published.publish(&facts, "do not record");
    // Late: it was under way when permission was withdrawn.
    rig.chunks(1);
    rig.end(SpanEnd::Privacy);

    published.publish(&facts, "record again");
    rig.allow();
    rig.fragments(3);
    rig.chunks(1);
    rig.end(SpanEnd::Entitlement);
    let span = rig.footage().last().map(|segment| segment.record.span.clone());
    let of_span: Vec<_> = rig
        .ledger
        .sealed
        .values()
        .filter(|segment| Some(&segment.record.span) == span.as_ref())
        .cloned()
        .collect();
    // The end first: it must wait for its segments.
    for segment in of_span.iter().rev() {
        rig.forget(segment.serial);
    }

    rig.allow();
    rig.fragments(4);
    rig.chunks(1);
    rig.shut_down();
    rig
}

/// A span that is still under way when the power is cut.
fn under_way(fs: &FaultFs, options: Options, published: &mut Published) -> Rig {
    let mut rig = cycle(fs, options, published);
    rig.allow();
    rig.fragments(3);
    rig.chunks(1);
    rig
}

fn calls(options: Options) -> u64 {
    let fs = FaultFs::healthy();
    let rig = under_way(&fs, options, &mut Published::default());
    assert_eq!(rig.ledger.failures, 0);
    fs.calls()
}

/// Cuts the power at one call, and starts again.
fn cut_at(at: u64, cut: Cut, options: Options, mutant: Mutant) {
    let fs = FaultFs::new(Plan::Crash { at }, mutant);
    let mut published = Published::default();
    let rig = under_way(&fs, options, &mut published);
    let after = fs.after(cut);
    let mut second = restart_and_check(&after, "boot-two", &rig.ledger, options);
    published.check(&StoredFacts::new(after.shared(), &state_dir()));

    // The spool continues, with serials that were never used.
    second.fragment = 10_000;
    second.allow();
    second.fragments(2);
    second.shut_down();
    second.ledger.assert_balanced();
    assert_eq!(second.ledger.committed.len(), 2 * options.chunks as usize);
    for segment in second.footage().iter().filter(|segment| segment.record.boot == "boot-two") {
        assert!(rig.ledger.serials.iter().all(|serial| *serial < segment.serial), "a serial came again");
    }
}

#[test]
fn a_power_cut_at_any_call_loses_nothing_that_was_committed() {
    for durability in DURABILITIES {
        let options = Options { durability, ..Options::default() };
        let calls = calls(options);
        assert!(calls > 100, "the cycle makes only {calls} calls");
        figure(&format!(
            "power cut at each of the {calls} file-system calls of a cycle with {durability:?}, four times each"
        ));
        for at in 1..=calls + 1 {
            for cut in [Cut::LosesAll, Cut::KeepsAll, Cut::Torn(at), Cut::Torn(at + 1_000_000)] {
                let outcome = catch_unwind(AssertUnwindSafe(|| cut_at(at, cut, options, Mutant::None)));
                assert!(outcome.is_ok(), "with {durability:?}, at call {at} of {calls}, {cut:?}");
            }
        }
    }
}

#[test]
fn a_power_cut_within_a_long_gop_loses_no_part_that_was_committed() {
    let (part, segment) = (2 * CHUNK, 8 * CHUNK);
    let options = Options { part, segment, chunks: 6, ..Options::default() };
    let whole = under_way(&FaultFs::healthy(), options, &mut Published::default());
    let cut_short = whole.ledger.committed.iter().filter(|(_, chunk)| *chunk == 1).count();
    assert!(cut_short > 10, "only {cut_short} parts were committed");
    let calls = calls(options);
    figure(&format!(
        "power cut at each of the {calls} calls of a cycle whose GOPs are committed in three parts"
    ));
    for at in 1..=calls + 1 {
        for cut in [Cut::LosesAll, Cut::Torn(at)] {
            let outcome = catch_unwind(AssertUnwindSafe(|| cut_at(at, cut, options, Mutant::None)));
            assert!(outcome.is_ok(), "at call {at} of {calls}, {cut:?}");
        }
    }
}

#[test]
fn a_power_cut_with_leave_to_keep_unfinished_fragments_loses_nothing_that_was_committed() {
    let options = Options { durability: Durability::Chunk, keep_partial_gop: true, ..Options::default() };
    for at in 1..=calls(options) + 1 {
        for cut in [Cut::LosesAll, Cut::KeepsAll, Cut::Torn(at)] {
            let outcome = catch_unwind(AssertUnwindSafe(|| cut_at(at, cut, options, Mutant::None)));
            assert!(outcome.is_ok(), "at call {at}, {cut:?}");
        }
    }
}

/// Cuts the power at a random call of a random life, with random sectors and names kept, and in half of the
/// cases again while the next start repairs what it finds. Returns how many chunks had been committed before
/// the cut.
fn cut_at_random(seed: u64) -> u64 {
    let mut coin = Coin(seed);
    let options = Options {
        durability: DURABILITIES[coin.below(3)],
        keep_partial_gop: false,
        chunks: 1 + coin.below(4) as u32,
        size: [40, 300, 700, 1_600][coin.below(4)],
        ..Options::default()
    };
    let calls = usize::try_from(calls(options)).unwrap();
    let fs = FaultFs::new(Plan::Crash { at: 1 + coin.below(calls) as u64 }, Mutant::None);
    let mut published = Published::default();
    let rig = under_way(&fs, options, &mut published);
    let mut after = fs.after(Cut::Torn(coin.draw()));
    if coin.toss() {
        after.plan(Plan::Crash { at: 1 + coin.below(60) as u64 });
        drop(Rig::open(&after, "boot-two", options));
        after = after.after(Cut::Torn(coin.draw()));
    }
    restart_and_check(&after, "boot-three", &rig.ledger, options);
    published.check(&StoredFacts::new(after.shared(), &state_dir()));
    rig.ledger.committed.len() as u64
}

#[test]
fn power_cuts_at_random_lose_nothing_that_was_committed() {
    let mut cuts = Budget::new("KASACAM_CUTS", 300);
    let first = parameter("KASACAM_SEED", 0);
    let mut committed = 0;
    while cuts.again() {
        let seed = first + cuts.done - 1;
        let outcome = catch_unwind(AssertUnwindSafe(|| cut_at_random(seed)));
        committed += outcome.unwrap_or_else(|_| panic!("with seed {seed}"));
    }
    let cuts = cuts.done;
    at_least(100, "power cuts", cuts);
    at_least(cuts, "chunks that were committed before a cut", committed);
    figure(&format!(
        "{cuts} power cuts at random, seeds from {first}, half of them followed by another while the start repaired: of \
         {committed} chunks that were committed before a cut none was lost"
    ));
}

#[test]
fn a_power_cut_at_any_call_loses_nothing_that_was_committed_and_encrypted() {
    for (durability, keep_partial_gop) in [
        (Durability::Chunk, false),
        (Durability::Chunk, true),
        (Durability::Fragment, false),
        (Durability::Segment, false),
    ] {
        let options = Options { durability, keep_partial_gop, encrypt: true, ..Options::default() };
        let calls = calls(options);
        for at in 1..=calls + 1 {
            for cut in [Cut::LosesAll, Cut::KeepsAll, Cut::Torn(at)] {
                let outcome = catch_unwind(AssertUnwindSafe(|| cut_at(at, cut, options, Mutant::None)));
                assert!(outcome.is_ok(), "with {durability:?}, at call {at} of {calls}, {cut:?}");
            }
        }
    }
}

#[test]
fn any_call_may_fail_and_nothing_that_was_committed_and_encrypted_is_lost() {
    for durability in DURABILITIES {
        let options = Options { durability, encrypt: true, ..Options::default() };
        let calls = calls(options);
        for from in 1..=calls {
            for (length, errno) in [(1, libc::EIO), (7, libc::ENOSPC)] {
                let outcome = catch_unwind(AssertUnwindSafe(|| fail_at(from, from + length, errno, options)));
                assert!(
                    outcome.is_ok(),
                    "with {durability:?}, {length} calls from {from} of {calls}, errno {errno}"
                );
            }
        }
    }
}

#[test]
fn the_explorer_notices_a_sync_that_does_nothing() {
    assert!(some_cut_fails(Mutant::SyncDoesNothing));
}

#[test]
fn the_explorer_notices_a_directory_sync_that_does_nothing() {
    assert!(some_cut_fails(Mutant::SyncDirDoesNothing));
}

fn some_cut_fails(mutant: Mutant) -> bool {
    let options = Options::default();
    let fails = |at| catch_unwind(AssertUnwindSafe(|| cut_at(at, Cut::LosesAll, options, mutant))).is_err();
    (1..=calls(options)).any(fails)
}

/// Lets calls fail, repairs the disk, and continues.
fn fail_at(from: u64, until: u64, errno: i32, options: Options) {
    let fs = FaultFs::new(Plan::Fail { from, until, errno }, Mutant::None);
    let mut published = Published::default();
    let mut rig = cycle(&fs, options, &mut published);
    rig.ledger.assert_balanced();

    fs.plan(Plan::Nothing);
    rig.obey(Command::Probe);
    assert_eq!(rig.ledger.probes.last(), Some(&true), "the spool does not recover");
    let before = rig.ledger.committed.len();
    rig.allow();
    rig.fragments(3);
    rig.shut_down();
    rig.ledger.assert_balanced();
    assert_eq!(rig.ledger.committed.len() - before, 3 * options.chunks as usize, "it does not record again");

    for cut in [Cut::LosesAll, Cut::KeepsAll] {
        let after = fs.after(cut);
        let boot = if cut == Cut::LosesAll { "boot-two" } else { "boot-one" };
        restart_and_check(&after, boot, &rig.ledger, options);
        published.check(&StoredFacts::new(after.shared(), &state_dir()));
    }
}

#[test]
fn any_call_may_fail_and_nothing_that_was_committed_is_lost() {
    for durability in DURABILITIES {
        let options = Options { durability, ..Options::default() };
        let calls = calls(options);
        for from in 1..=calls {
            for (length, errno) in [(1, libc::EIO), (1, libc::ENOSPC), (7, libc::EIO), (40, libc::ENOSPC)] {
                let outcome = catch_unwind(AssertUnwindSafe(|| fail_at(from, from + length, errno, options)));
                assert!(
                    outcome.is_ok(),
                    "with {durability:?}, {length} calls from {from} of {calls}, errno {errno}"
                );
            }
        }
    }
}
