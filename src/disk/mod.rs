//! All file access goes through here.
//!
//! [`Fs`] is the interface to storage, small enough that tests can imitate it with its faults: they run the
//! whole spool over an `Fs` that loses whatever was not synced. [`RealFs`] implements it with the kernel.
//! [`publish()`] is the only way to write a whole small file, and [`facts::StoredFacts`] keeps the last known facts
//! with it.
//!
//! What an implementation promises, and no more:
//! - written bytes survive a power cut once `sync` of their file has succeeded;
//! - a name (created, renamed or removed) survives once `sync_dir` of its directory has succeeded;
//! - `rename` is atomic: at any moment the target is the old file or the new one;
//! - after a `sync` that failed, nothing is known of the bytes written since the one before, and a later
//!   success says nothing of them either: the kernel marks the pages clean.

pub mod facts;
pub mod file_system;
mod fs;
pub mod journal;
pub mod place;
mod publish;
mod real;
mod stamp;

pub use facts::StoredFacts;
pub use fs::{FileKind, Fs, Handle, Meta, is_full, make_dir, read, sync_parent};
pub use publish::{is_temporary, publish};
pub use real::RealFs;
pub use stamp::{stamp, stamp_version, unstamp};
