//! Reading a segment to send it.

use super::crypt::Encryption;
use super::sealed::open_sealed;
use crate::disk::Fs;
use crate::domain::segment::Serial;
use bytes::Bytes;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Why a segment cannot be sent.
#[derive(Debug)]
pub enum ReadError {
    /// The file is not there: it was forgotten meanwhile, or somebody removed it. Tell the spool by
    /// [`super::Command::Damaged`].
    Gone,
    /// It is not the segment that was sealed: give it to the spool with [`super::Command::Damaged`].
    Damaged(String),
    /// The disk did not give it: try again later.
    Io(io::Error),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Gone => write!(f, "the segment is gone from the spool"),
            ReadError::Damaged(why) => write!(f, "the segment is damaged: {why}"),
            ReadError::Io(error) => write!(f, "the segment cannot be read: {error}"),
        }
    }
}

impl std::error::Error for ReadError {}

/// Reads a sealed segment from the spool directory `dir`, checks that it is whole, and moves the
/// UTC of its `prft` boxes by `shift` nanoseconds, for a clock that was set right since. Blocks.
///
/// # Errors
/// See [`ReadError`].
pub fn read_sealed(fs: Arc<dyn Fs>, dir: &Path, serial: Serial, shift: i64) -> Result<Bytes, ReadError> {
    read_sealed_with(&Encryption::none(), fs, dir, serial, shift)
}

/// [`read_sealed`] of a spool that may be encrypted.
///
/// # Errors
/// See [`ReadError`].
pub fn read_sealed_with(
    encryption: &Encryption,
    fs: Arc<dyn Fs>,
    dir: &Path,
    serial: Serial,
    shift: i64,
) -> Result<Bytes, ReadError> {
    let sealed = open_sealed(encryption, fs, dir, serial, shift)?;
    let mut bytes = Vec::new();
    sealed.read(&mut |piece| {
        bytes.extend_from_slice(&piece);
        true
    })?;
    Ok(Bytes::from(bytes))
}
