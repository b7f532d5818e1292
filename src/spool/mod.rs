//! The spool: segments on flash that the cloud does not hold yet.
//!
//! `{state_dir}/spool/` holds, by serial, so that name order is age order:
//! - `0000000042.open`: a segment that grows, `ftyp moov uuid(record) { prft moof mdat }*`;
//! - `0000000042.mp4`: a sealed one, the same with an `mfra` behind it;
//! - `0000000042.end`: the end of a span, with its reason;
//! - `quarantine/`: what is damaged, bounded.
//!
//! Whatever else lies there, or is another device's, another key's or a later release's, is set aside: left as it is.
//!
//! With `spool.encrypt` each of these files is encrypted ([`Encryption`]): what holds of its bytes here and
//! below holds of those that were encrypted.
//!
//! The protocol by which a file is made durable, step by step, and what a start finds after a cut at each
//! of them: `docs/spool.md`.
//!
//! # Invariants
//! 1. A fragment reported by `Input::Committed` is on flash: its bytes are synced, and so is the
//!    directory that names its file. It stays there, in one file, until it is forgotten.
//! 2. Nothing captured is written but under the live epoch ([`LiveEpoch`]).
//! 3. A file named `.mp4` was synced whole before it was named so.
//! 4. A serial is given out once, ever.
//! 5. A span begins only where the one before it has its end; a span of which any segment is held,
//!    and that is not under way, has its end held too. Hence forgetting is put off for the newest
//!    segment of a span under way, and for an end whose segments are not all gone.
//! 6. Once a span is over, every picture reported by `Input::Arrived` was reported by
//!    `Input::Committed` or by `Input::Dropped`, once. A picture refused for want of a permit is both
//!    arrived and dropped.
//! 7. After a failed write or sync the file is not written again by the same hand: it is cut back to
//!    what an earlier sync covered, left as `.open`, and taken up when order is restored.
//!
//! # Who calls what
//! [`begin`] makes the directory; [`Spool::run`] is the thread that owns it from then on. [`open`] does all at once. [`open_sealed`] may be called from anywhere.

mod aside;
mod crypt;
mod cut;
mod decrypt;
pub mod end;
mod engine;
mod faults;
mod forget;
mod glance;
mod growing;
mod live;
mod order;
mod pieces;
mod quarantine;
mod read;
mod scan;
mod sealed;
mod serials;
mod span;
mod store;
mod thread;
mod writer;

pub use crate::domain::segmenter::Durability;
pub use crypt::Encryption;
pub use engine::Spool;
pub use live::LiveEpoch;
pub use quarantine::QuarantineLimits;
pub use read::{ReadError, read_sealed, read_sealed_with};
pub use sealed::{Sealed, open_sealed};

use crate::disk::Fs;
use crate::domain::fragment::{Epoch, SpanEnd};
use crate::domain::input::Input;
use crate::domain::segment::{Record, Segment, Serial};
use crate::domain::time::{Clock, Now};
use crossbeam_channel::Sender;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// No segment file is longer, in bytes. A file that is repaired is read into memory.
pub(crate) const MAX_FILE: u64 = 96 * 1024 * 1024;
/// A segment of more bytes is sealed at the next fragment.
const SEGMENT_BYTES: u64 = 48 * 1024 * 1024;
/// A segment that no IDR has ended is sealed before it has more bytes.
const MAX_SEGMENT: u64 = 80 * 1024 * 1024;
/// A fragment is committed up to there when it has so many bytes, whole or not.
const PART_BYTES: u64 = 8 * 1024 * 1024;

/// What the spool is to be like.
#[derive(Clone, Debug)]
pub struct Setup {
    /// `device.state_dir`; the spool is `spool/` below it, its counter a fact in `state/`.
    pub state_dir: PathBuf,
    /// `device.id`.
    pub device: String,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot: String,
    /// `recording.segment`.
    pub segment: Duration,
    /// A fragment that goes on for longer is committed up to there: one and a half times `recording.fragment`.
    pub part: Duration,
    /// `recording.durability`.
    pub durability: Durability,
    /// With durability `chunk`, keep the whole chunks of a fragment that a cut left unfinished. Only
    /// where the stored privacy choice is to record: else nobody knows whether it was to be dropped.
    pub keep_partial_gop: bool,
    /// What files that cannot be read may take.
    pub quarantine: QuarantineLimits,
    /// `spool.encrypt` and `spool.key`.
    pub encryption: Encryption,
}

impl Setup {
    /// The spool directory.
    #[must_use]
    pub fn dir(&self) -> PathBuf {
        directory(&self.state_dir)
    }
}

/// The spool directory of a state directory.
#[must_use]
pub fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("spool")
}

/// How the spool learns what time it is, and how far that is believed.
pub type ClockReading = Box<dyn Fn() -> (Now, Clock) + Send>;

/// What the spool thread is asked to do, ahead of whatever is captured.
#[derive(Debug)]
pub enum Command {
    /// Permission to capture was withdrawn: drop the open fragment, also what of it is on flash; seal what
    /// is complete; end the span. Chunks of this epoch, and of all before it, are refused from here on.
    /// `reason` goes into the end of the span.
    #[allow(missing_docs, reason = "its fields are told of above")]
    Revoke { epoch: Epoch, reason: SpanEnd },
    /// Remove a file. Answered by `Input::Forgotten` once it is gone for good; put off where invariant
    /// 5 wants it.
    /// `serial` is the file's number.
    #[allow(missing_docs, reason = "its fields are told of above")]
    Forget { serial: Serial },
    /// Remove the oldest file of the quarantine, or, where that is empty, of those that are set aside. Answered by
    /// `Input::AsideEvicted`.
    EvictAside,
    /// Keep of a sealed segment the whole fragments that end within so much of its first picture. Answered by
    /// `Input::Cut`, with nothing left where no fragment does: the file is then to be forgotten.
    #[allow(missing_docs, reason = "its fields are told of above")]
    CutBack { serial: Serial, keep: Duration },
    /// Give the end of a span this record. Answered by `Input::Cut`.
    #[allow(missing_docs, reason = "its fields are told of above")]
    MoveEnd { serial: Serial, record: Box<Record>, reason: SpanEnd },
    /// Look whether the spool can be written again, and take up what a failure left behind. Answered
    /// by `Input::StorageProbed`, behind `Input::Sealed` for what was saved.
    Probe,
    /// Goes into the record of segments that begin from here on.
    /// `plan` is `plan.id` of the lease, `history_hours` its history in hours.
    #[allow(missing_docs, reason = "its fields are told of above")]
    SetTerms { plan: String, history_hours: u32 },
    /// A sealed segment was found damaged, or gone, when it was to be sent: salvage or quarantine it. Answered
    /// by `Input::Forgotten`, then by `Input::Sealed` for what could be saved of it.
    /// `serial` is the segment's number.
    #[allow(missing_docs, reason = "its fields are told of above")]
    Damaged { serial: Serial },
    /// Take in all that waits to be taken in, then answer.
    /// The answer goes to `done`.
    #[allow(missing_docs, reason = "its fields are told of above")]
    Drain { done: Sender<()> },
    /// Take in all that waits, seal, end the span, answer, and leave.
    /// The answer goes to `done`.
    #[allow(missing_docs, reason = "its fields are told of above")]
    Shutdown { done: Sender<()> },
}

/// Begins with the spool: makes the directory, and looks at none of its files. [`Spool::run`] does that between whatever
/// else it has to do, the newest first, and tells of them by `Input::Found`; `Input::Usage` says when it is through.
///
/// # Errors
/// The directory cannot be made, or has to be read and cannot. The caller may go on with [`Spool::broken`].
pub fn begin(fs: Arc<dyn Fs>, setup: Setup, live: LiveEpoch, clock: ClockReading) -> io::Result<Spool> {
    Spool::start(fs, setup, live, clock)
}

/// As [`begin`], and looks at every file before it returns: what the spool holds, in the order of age. The same is then
/// done at once wherever a spool that was broken is opened.
///
/// Contents never are an error, however damaged. Nor is a disk that cannot be written: the spool then begins
/// as failed, reports so, and takes up its work at a [`Command::Probe`].
///
/// # Errors
/// The directory cannot be made or read. The caller may go on with [`Spool::broken`].
pub fn open(
    fs: Arc<dyn Fs>,
    setup: Setup,
    live: LiveEpoch,
    clock: ClockReading,
) -> io::Result<(Spool, Vec<Segment>)> {
    Spool::open(fs, setup, live, clock)
}

/// Tells of a file that was moved aside, or of what else was wrong with it.
fn tell(out: &mut Vec<Input>, name: String, why: String) {
    tracing::warn!(name, why, "spool file put right");
    // A directory full of garbage is told of by its count, not by its every name.
    if out.len() < 256 {
        out.push(Input::Quarantined { name, why });
    }
}
