//! Which file system the spool is on, and whether it gives the guarantees that the spool needs: a file that
//! was synced, and a rename that is done or not done, survive a power cut as they are; and private files stay
//! private.

use nix::sys::statfs::statfs;
use std::io;
use std::path::Path;

/// The result of the check of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its journal or its log gives the guarantees.
    Supported,
    /// It may give them, with this caveat.
    Doubtful(&'static str),
    /// It does not give them, for this reason.
    Refused(&'static str),
}

/// The file system that a path is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSystem {
    /// The name that `mount` uses; `unknown` for an unknown one.
    pub name: &'static str,
    /// The result of the check.
    pub verdict: Verdict,
}

const FAT: &str = "files on it have no modes, so that others can read the footage, and a power cut in a rename may leave \
                   neither file";
const NO_FLASH: &str = "it is held in memory: a power cut takes all footage that was not uploaded";
const PROGRAM: &str = "a program serves it (FUSE), and decides whether a sync reaches the flash";
const NETWORK: &str = "it is on another machine: recording stops whenever that is away";

/// By `f_type` of `statfs(2)`, as in `linux/magic.h` and the sources of Linux.
const KNOWN: &[(u32, &str, Verdict)] = &[
    // One number for all three. ext2 has no journal, and is not used on flash.
    (0xef53, "ext4", Verdict::Supported),
    (0xf2f5_2010, "f2fs", Verdict::Supported),
    (0x2405_1905, "ubifs", Verdict::Supported),
    (0x9123_683e, "btrfs", Verdict::Supported),
    (0x5846_5342, "xfs", Verdict::Supported),
    (
        0x794c_7630,
        "overlay",
        Verdict::Doubtful("what is written to it is stored on the file system of its upper layer"),
    ),
    (0x0102_1994, "tmpfs", Verdict::Doubtful(NO_FLASH)),
    (0x8584_58f6, "ramfs", Verdict::Doubtful(NO_FLASH)),
    (0x6573_5546, "fuse", Verdict::Doubtful(PROGRAM)),
    (0x6969, "nfs", Verdict::Doubtful(NETWORK)),
    (0xff53_4d42, "cifs", Verdict::Doubtful(NETWORK)),
    (0xfe53_4d42, "smb", Verdict::Doubtful(NETWORK)),
    (0x4d44, "vfat", Verdict::Refused(FAT)),
    (0x2011_bab0, "exfat", Verdict::Refused(FAT)),
];

/// The file system of an existing path.
///
/// # Errors
/// Those of `statfs(2)`.
pub fn of(path: &Path) -> io::Result<FileSystem> {
    let kind = statfs(path)?.filesystem_type();
    // Its width differs between targets; the number has 32 bits, whatever happens to the highest bit.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::unnecessary_cast)]
    Ok(known_as(kind.0 as u32))
}

fn known_as(number: u32) -> FileSystem {
    let found = KNOWN.iter().find(|(known, ..)| *known == number);
    found.map_or(
        FileSystem {
            name: "unknown",
            verdict: Verdict::Doubtful("nobody has looked at what it keeps over a power cut"),
        },
        |(_, name, verdict)| FileSystem { name, verdict: *verdict },
    )
}
