//! A few seconds of fuzzing of every target for untrusted bytes; `KASACAM_FUZZ_MILLIS` says how long each
//! (1,000; or `KASACAM_BUDGET`, how many seconds for all), `KASACAM_SEED` repeats a run. The corpus is
//! `tests/fuzz/corpus`; with cargo-fuzz and nightly the same targets and corpus run for any length of time
//! (`docs/security.md`).

#[path = "../fuzz/entries.rs"]
mod entries;

use crate::support::dice::{Dice, parameter};
use crate::support::figures::{at_least, figure};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

/// Longer inputs are cut: they would test nothing more.
const LONGEST: usize = 64 * 1024;

fn corpus(entry: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(entry);
    let mut files: Vec<_> =
        std::fs::read_dir(&folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display())).collect();
    files.sort_by_key(|file| file.as_ref().unwrap().path());
    files.into_iter().map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect()
}

/// Uniformly from zero to one less than `sides`.
fn roll(dice: &mut Dice, sides: usize) -> usize {
    usize::try_from(dice.roll(sides as u64)).unwrap()
}

/// One input made from others: bits flipped, bytes set, parts cut out, doubled, or inserted from another.
fn mutate(seeds: &[Vec<u8>], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = seeds[roll(dice, seeds.len())].clone();
    for _ in 0..=roll(dice, 6) {
        let len = bytes.len();
        let at = roll(dice, len + 1);
        let span = roll(dice, 64.min(len - at) + 1);
        match roll(dice, 9) {
            0 | 1 if at < len => bytes[at] ^= 1 << roll(dice, 8),
            2 if at < len => bytes[at] = roll(dice, 256) as u8,
            3 if at + 4 <= len => {
                let odd = [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX, len as u32, 0xffff][roll(dice, 7)];
                bytes[at..at + 4].copy_from_slice(&odd.to_be_bytes());
            }
            4 => drop(bytes.drain(at..at + span)),
            5 => {
                let part = bytes[at..at + span].to_vec();
                let to = roll(dice, bytes.len() + 1);
                bytes.splice(to..to, part);
            }
            6 => {
                let other = &seeds[roll(dice, seeds.len())];
                let from = roll(dice, other.len() + 1);
                bytes.truncate(at);
                bytes.extend(&other[from..]);
            }
            7 => bytes.truncate(at),
            _ => {
                let odd = [
                    &b"\""[..],
                    b"}",
                    b"{",
                    b"[",
                    b"\\u0000",
                    b".",
                    b"=",
                    b"\n",
                    b"\0",
                    b"9999999999",
                    b"-1",
                    b"\xff",
                ];
                bytes.splice(at..at, odd[roll(dice, odd.len())].iter().copied());
            }
        }
    }
    bytes.truncate(LONGEST);
    bytes
}

/// Minimum for each target.
const MIN_EXECUTIONS: u64 = 100;

#[test]
fn no_untrusted_bytes_panic_or_break_a_promise() {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = parameter("KASACAM_SEED", time);
    let entries = entries::ENTRIES.len() as u64;
    let budget = parameter("KASACAM_BUDGET", 0) * 1_000 / entries;
    let millis = parameter("KASACAM_FUZZ_MILLIS", budget.max(1_000));
    let mut all = 0;
    for (name, entry) in entries::ENTRIES {
        let seeds = corpus(name);
        assert!(!seeds.is_empty(), "no corpus for {name}");
        seeds.iter().for_each(|seed| entry(seed));
        let mut dice = Dice::new(seed);
        let until = Instant::now() + Duration::from_millis(millis);
        let mut executions = 0_u64;
        // A busy machine takes longer instead of testing less.
        while Instant::now() < until || millis > 0 && executions < MIN_EXECUTIONS {
            let input = mutate(&seeds, &mut dice);
            let outcome = catch_unwind(AssertUnwindSafe(|| entry(&input)));
            assert!(outcome.is_ok(), "{name}, KASACAM_SEED={seed}: {}", input.escape_ascii());
            executions += 1;
        }
        at_least(MIN_EXECUTIONS, &format!("executions of {name}"), executions);
        all += executions;
        println!("fuzzed {name}: {executions} executions over {} seeds", seeds.len());
    }
    figure(&format!("fuzzed {} entries: {all} executions, KASACAM_SEED={seed}", entries::ENTRIES.len()));
}
