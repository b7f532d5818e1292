//! Whether a directory is still on the same file system. A card that is removed leaves its mount point
//! behind, an empty directory of the underlying file system: a write there fills that file system, and is
//! hidden once the card is back.

use super::fs::Fs;
use std::fmt;
use std::io;
use std::path::Path;

/// The place of a directory, by device numbers (`stat.st_dev`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    device: u64,
    /// The device number of the nearest directory above on another file system.
    beneath: Option<u64>,
}

/// What is there now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The same file system.
    Same,
    /// The underlying one: the file system is not mounted.
    Away,
    /// A different one.
    Other,
}

/// The error of writing to a file system that is not there.
#[derive(Clone, Copy, Debug)]
pub struct IsAway;

impl fmt::Display for IsAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("its file system is away, and the mount point is empty")
    }
}

impl std::error::Error for IsAway {}

impl Place {
    /// The current place of `dir`.
    ///
    /// # Errors
    /// Those of [`Fs::device`].
    pub fn of(fs: &dyn Fs, dir: &Path) -> io::Result<Place> {
        let device = fs.device(dir)?;
        let above = dir.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
        let beneath = above.map_while(|above| fs.device(above).ok()).find(|other| *other != device);
        Ok(Place { device, beneath })
    }

    /// Compares the current file system of `dir` with the place.
    ///
    /// # Errors
    /// Those of [`Fs::device`].
    pub fn look(&self, fs: &dyn Fs, dir: &Path) -> io::Result<Found> {
        let mut device = Err(io::Error::from(io::ErrorKind::NotFound));
        for above in dir.ancestors().filter(|above| !above.as_os_str().is_empty()) {
            device = fs.device(above);
            if !device.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
                break;
            }
        }
        Ok(match device? {
            same if same == self.device => Found::Same,
            beneath if Some(beneath) == self.beneath => Found::Away,
            _ => Found::Other,
        })
    }

    /// # Errors
    /// [`IsAway`] if the file system is away; those of [`Fs::device`].
    pub fn is_there(&self, fs: &dyn Fs, dir: &Path) -> io::Result<()> {
        match self.look(fs, dir)? {
            Found::Same => Ok(()),
            Found::Away => Err(io::Error::other(IsAway)),
            Found::Other => Err(io::Error::other("another file system is mounted there")),
        }
    }
}

/// Whether an error means that a file system is away.
#[must_use]
pub fn is_away(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<IsAway>())
}
