//! The interface to storage, and what is done with any implementation of it.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::path::Path;

/// An open file: a descriptor or, in an [`Fs`] that has none, a number that stands for one. Closed when
/// dropped.
#[derive(Debug)]
pub enum Handle {
    /// A descriptor of the kernel.
    File(File),
    /// The number that an [`Fs`] without descriptors uses.
    Token(u64),
}

/// What a name stands for. Symbolic links are not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, a device, a pipe, a socket.
    Other,
}

/// The result of `lstat` for a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// What the name stands for.
    pub kind: FileKind,
    /// Size in bytes.
    pub len: u64,
    /// The permission bits.
    pub mode: u32,
}

/// The interface to storage. Nothing here follows a symbolic link in the last component of a path.
pub trait Fs: Send + Sync {
    /// Makes a directory, 0700, with its parents. An existing one is kept, and made private. Durable once the
    /// parents are synced: see [`make_dir`].
    fn mkdir(&self, dir: &Path) -> io::Result<()>;
    /// Makes a file, 0600, open for writing; `AlreadyExists` if the name is taken.
    fn create_new(&self, path: &Path) -> io::Result<Handle>;
    /// Opens a regular file for reading; an error for everything else, without waiting for the writer of a
    /// pipe.
    fn open_read(&self, path: &Path) -> io::Result<Handle>;
    /// Opens an existing regular file for writing, without changing it.
    fn open_write(&self, path: &Path) -> io::Result<Handle>;
    /// Size in bytes.
    fn len(&self, file: &Handle) -> io::Result<u64>;
    /// Fills `into` from `offset`, less only at the end of the file; returns how many bytes were read.
    fn read_at(&self, file: &Handle, offset: u64, into: &mut [u8]) -> io::Result<usize>;
    /// Writes all of `bytes` at `offset`. If it fails, any part of them may have been written.
    fn write_at(&self, file: &Handle, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Writes these bytes one after the other, from `offset` on. As [`Fs::write_at`] of all of them, and in one call where
    /// the file system can: an implementation that cannot writes them one by one.
    ///
    /// # Errors
    /// As [`Fs::write_at`]; some of them may be written then.
    fn write_parts(&self, file: &Handle, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        let mut at = offset;
        for part in parts {
            self.write_at(file, at, part)?;
            at = at.saturating_add(part.len() as u64);
        }
        Ok(())
    }
    /// Cuts the file off at `len`.
    fn truncate(&self, file: &Handle, len: u64) -> io::Result<()>;
    /// Makes contents and size durable.
    fn sync(&self, file: &Handle) -> io::Result<()>;
    /// `rename(2)`: replaces `to` atomically; durable only after a [`Fs::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Like [`Fs::rename`], if the name `to` is free; `AlreadyExists` if it is taken.
    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a name that is not a directory.
    fn unlink(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    fn rmdir(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Names in a directory, in no order; at most `limit` of them.
    fn list(&self, dir: &Path, limit: usize) -> io::Result<Vec<OsString>>;
    /// `lstat(2)`: a symbolic link is reported as such.
    fn stat(&self, path: &Path) -> io::Result<Meta>;
    /// The number of the file system that a directory is on (`stat.st_dev`).
    fn device(&self, dir: &Path) -> io::Result<u64>;
    /// Bytes free to an unprivileged user on the file system of `dir`.
    fn free(&self, dir: &Path) -> io::Result<u64>;
}

/// Makes a directory and its parents, private, so that a power cut does not remove them again: its parent is
/// synced, and the parent of each other directory that did not exist. Its own parent is synced each time,
/// because whoever made the directory may have failed to.
///
/// # Errors
/// Those of [`Fs`].
pub fn make_dir(fs: &dyn Fs, dir: &Path) -> io::Result<()> {
    let is_missing = |dir: &&Path| {
        !dir.as_os_str().is_empty()
            && fs.stat(dir).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    };
    let missing: Vec<&Path> = dir.ancestors().take_while(is_missing).collect();
    fs.mkdir(dir)?;
    for made in missing.into_iter().skip(1).rev() {
        sync_parent(fs, made)?;
    }
    sync_parent(fs, dir)
}

/// Makes the name of a file or a directory durable.
///
/// # Errors
/// Those of [`Fs`].
pub fn sync_parent(fs: &dyn Fs, path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => fs.sync_dir(Path::new(".")),
        Some(parent) => fs.sync_dir(parent),
        None => Ok(()),
    }
}

/// Reads a whole regular file of at most `limit` bytes.
///
/// # Errors
/// Those of [`Fs`]; `InvalidData` for a longer file.
pub fn read(fs: &dyn Fs, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = fs.open_read(path)?;
    let len = fs.len(&file)?;
    if len > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("{len} bytes, where {limit} is the most"),
        ));
    }
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let read = fs.read_at(&file, 0, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Whether an error means that the space is used up (`ENOSPC`, `EDQUOT`).
#[must_use]
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
