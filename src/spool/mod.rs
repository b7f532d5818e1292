//! The spool: segments on flash that the cloud does not hold yet.
//!
//! `{state_dir}/spool/` contains these files. Their names are serials, so that the order of names is the
//! order of age:
//! - `0000000042.open`: a segment that is still growing, `ftyp moov uuid(record) { prft moof mdat }*`;
//! - `0000000042.mp4`: a sealed segment, the same followed by an `mfra`;
//! - `0000000042.end`: the end of a span, with its reason;
//! - `quarantine/`: damaged files, limited in number and bytes.
//!
//! Anything else, and what belongs to another device, another key or a later release, is set aside: it stays
//! unchanged.
//!
//! With `spool.encrypt` each of these files is encrypted ([`Encryption`]): what is said here and below of its
//! bytes applies to the bytes before encryption.
//!
//! `docs/spool.md` describes how a file is made durable, step by step, and what a start finds after a power
//! cut at each step.
//!
//! # Invariants
//! 1. A fragment reported by `Input::Committed` is on flash: its bytes are synced, and so is the directory
//!    that names its file. It stays there, in one file, until it is forgotten.
//! 2. Captured data is written only under the live epoch ([`LiveEpoch`]).
//! 3. A file was completely synced before it got a name in `.mp4`.
//! 4. A serial is used only once, ever.
//! 5. A span begins only after the span before it has its end on flash. If a segment of a finished span is in
//!    the spool, so is the end of that span. Therefore the newest segment of the current span, and an end
//!    whose segments are not all gone, are not forgotten yet.
//! 6. After the end of a span, each frame reported by `Input::Arrived` was reported once by
//!    `Input::Committed` or `Input::Dropped`. A frame that is refused because there is no permit both arrives
//!    and is dropped.
//! 7. After a failed write or sync the same writer does not write the file again: the file is cut back to
//!    what an earlier sync covered, stays as `.open`, and is repaired later.
//!
//! # Callers
//! [`begin`] makes the directory; [`Spool::run`] is the thread that owns it from then on. [`open`] does
//! everything at once. [`open_sealed`] may be called from any thread.

mod aside;
mod command;
mod crypt;
mod cut;
mod decrypt;
pub mod end;
mod engine;
mod faults;
mod forget;
mod glance;
mod growing;
mod holdings;
mod live;
mod order;
mod pieces;
mod quarantine;
mod scan;
mod sealed;
mod serials;
mod setup;
mod span;
mod sparse;
mod store;
mod thread;
mod writer;

pub use crate::domain::segmenter::Durability;
pub use command::Command;
pub use crypt::Encryption;
pub use engine::Spool;
pub use live::LiveEpoch;
pub use quarantine::QuarantineLimits;
pub use sealed::{ReadError, Sealed, open_sealed};
pub use setup::{ClockReading, Setup, directory};

use crate::disk::Fs;
use crate::domain::segment::Segment;
use std::io;
use std::sync::Arc;

/// Makes the directory, and reads none of its files. [`Spool::run`] reads them between its other work, the
/// newest first, and reports them by `Input::Found`; `Input::Usage` says when all are known.
///
/// # Errors
/// The directory cannot be made or, if the reserved serial is lost, not be read. The caller may use
/// [`Spool::broken`] instead.
pub fn begin(fs: Arc<dyn Fs>, setup: Setup, live: LiveEpoch, clock: ClockReading) -> io::Result<Spool> {
    Spool::start(fs, setup, live, clock)
}

/// Like [`begin`], but reads every file before it returns the content of the spool, the oldest first. A
/// broken spool that is opened later is then also read at once.
///
/// The content of a file is never an error, however damaged it is. A disk that cannot be written is no error
/// either: the spool then starts as failed, reports this, and begins to work after a [`Command::Probe`].
///
/// # Errors
/// The directory cannot be made or read. The caller may use [`Spool::broken`] instead.
pub fn open(
    fs: Arc<dyn Fs>,
    setup: Setup,
    live: LiveEpoch,
    clock: ClockReading,
) -> io::Result<(Spool, Vec<Segment>)> {
    Spool::open(fs, setup, live, clock)
}
