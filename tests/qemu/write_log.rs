//! What a disk holds after a cut, if its cache was lost: from QEMU's log of every write (`blklogwrites`, in the format of
//! the kernel's dm-log-writes). What was written before the last flush is there; of what came after, chance says.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

const MAGIC: u64 = 0x6a_736677_736872;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;
/// A log is a sparse file of this size; more would not fit.
const MOST: u64 = 8 << 30;

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    pub flushes: u64,
    pub written: u64,
    /// Writes after the last flush that are gone.
    pub lost: u64,
}

/// Makes an empty log.
pub fn create(path: &Path) {
    File::create(path).unwrap().set_len(MOST).unwrap();
}

struct Write {
    sector: u64,
    at: u64,
    bytes: u64,
    flags: u64,
}

/// Applies a log to the disk as it was before. `keep` says of each write after the last flush whether it is there.
pub fn replay(log: &Path, disk: &Path, mut keep: impl FnMut() -> bool) -> Replayed {
    let log = File::open(log).unwrap();
    let number = |at: u64| {
        let mut bytes = [0; 8];
        log.read_exact_at(&mut bytes, at).unwrap();
        u64::from_le_bytes(bytes)
    };
    assert_eq!(number(0), MAGIC, "not a log of writes");
    let entries = number(16);
    let sector = number(24) & 0xffff_ffff;
    assert!((512..=4096).contains(&sector), "sectors of {sector} bytes");

    let mut writes = Vec::new();
    let mut at = sector;
    for _ in 0..entries {
        let (first, count, flags) = (number(at), number(at + 8), number(at + 16));
        at += sector;
        let bytes = if flags & DISCARD == 0 { count * sector } else { 0 };
        writes.push(Write { sector: first, at, bytes, flags });
        at += bytes;
    }
    let durable = writes.iter().rposition(|write| write.flags & FLUSH != 0).map_or(0, |last| last + 1);

    let disk = OpenOptions::new().write(true).open(disk).unwrap();
    let mut replayed = Replayed::default();
    for (index, write) in writes.iter().enumerate() {
        replayed.flushes += u64::from(write.flags & FLUSH != 0);
        if write.bytes == 0 {
            continue;
        }
        if index >= durable && write.flags & FUA == 0 && !keep() {
            replayed.lost += 1;
            continue;
        }
        let mut bytes = vec![0; usize::try_from(write.bytes).unwrap()];
        log.read_exact_at(&mut bytes, write.at).unwrap();
        disk.write_all_at(&bytes, write.sector * sector).unwrap();
        replayed.written += 1;
    }
    replayed
}
