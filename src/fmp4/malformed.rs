//! The error of every reader.

use std::fmt;

/// What is wrong with the bytes, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Offset of the box in question.
    pub offset: u64,
    /// What is wrong with it, fit for a log.
    pub what: String,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {}: {}", self.offset, self.what)
    }
}

impl std::error::Error for Malformed {}
