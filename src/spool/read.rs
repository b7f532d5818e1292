//! Reading a segment to send it.

use super::crypt::Encryption;
use super::decrypt::End;
use super::{MAX_FILE, scan};
use crate::disk::Fs;
use crate::domain::recovery::Read;
use crate::domain::segment::{Serial, SpoolKind, SpoolName};
use crate::fmp4;
use bytes::Bytes;
use std::fmt;
use std::io;
use std::path::Path;

/// Why a segment cannot be sent.
#[derive(Debug)]
pub enum ReadError {
    /// The file is not there: it was forgotten meanwhile.
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
pub fn read_sealed(fs: &dyn Fs, dir: &Path, serial: Serial, shift: i64) -> Result<Bytes, ReadError> {
    read_sealed_with(&Encryption::none(), fs, dir, serial, shift)
}

/// [`read_sealed`] of a spool that may be encrypted.
///
/// # Errors
/// See [`ReadError`].
pub fn read_sealed_with(
    encryption: &Encryption,
    fs: &dyn Fs,
    dir: &Path,
    serial: Serial,
    shift: i64,
) -> Result<Bytes, ReadError> {
    let path = dir.join(SpoolName { serial, kind: SpoolKind::Sealed }.to_string());
    let opened = match scan::read_file(fs, &path, MAX_FILE, encryption) {
        Ok(opened) => opened,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ReadError::Gone),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            return Err(ReadError::Damaged(error.to_string()));
        }
        Err(error) => return Err(ReadError::Io(error)),
    };
    match opened.end {
        End::Plain | End::Whole => {}
        End::Cut => return Err(ReadError::Damaged("it is cut off".to_owned())),
        End::Damaged(why) => return Err(ReadError::Damaged(why.to_owned())),
    }
    let mut bytes = opened.bytes;
    match scan::understand(&bytes, None) {
        Read::Footage(footage) if footage.complete && footage.whole.is_some() => {}
        Read::Footage(_) => return Err(ReadError::Damaged("it is not whole to its last box".to_owned())),
        Read::Unreadable(why) => return Err(ReadError::Damaged(why)),
        Read::End { .. } => return Err(ReadError::Damaged("it is the end of a span".to_owned())),
    }
    if shift != 0 {
        fmp4::shift_prft(&mut bytes, shift);
    }
    Ok(Bytes::from(bytes))
}
