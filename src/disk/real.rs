//! [`Fs`] implemented with the kernel.

use super::fs::{FileKind, Fs, Handle, Meta};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::libc;
use nix::sys::uio::pwritev;
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, IoSlice};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Slices of one `pwritev(2)`: far below `IOV_MAX`.
const MAX_PARTS: usize = 64;

/// The kernel's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

impl Fs for RealFs {
    fn mkdir(&self, dir: &Path) -> io::Result<()> {
        match DirBuilder::new().recursive(true).mode(0o700).create(dir) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        let meta = fs::symlink_metadata(dir)?;
        if !meta.is_dir() {
            return Err(io::Error::new(io::ErrorKind::NotADirectory, "not a directory"));
        }
        if meta.mode() & 0o077 != 0 {
            fs::set_permissions(dir, Permissions::from_mode(0o700))?;
        }
        Ok(())
    }

    fn create_new(&self, path: &Path) -> io::Result<Handle> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        options.open(path).map(Handle::File)
    }

    fn open_read(&self, path: &Path) -> io::Result<Handle> {
        regular(OpenOptions::new().read(true), path)
    }

    fn open_write(&self, path: &Path) -> io::Result<Handle> {
        regular(OpenOptions::new().write(true), path)
    }

    fn len(&self, file: &Handle) -> io::Result<u64> {
        Ok(descriptor(file)?.metadata()?.len())
    }

    fn read_at(&self, file: &Handle, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let file = descriptor(file)?;
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, offset.saturating_add(done as u64)) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, file: &Handle, offset: u64, bytes: &[u8]) -> io::Result<()> {
        descriptor(file)?.write_all_at(bytes, offset)
    }

    fn write_parts(&self, file: &Handle, offset: u64, parts: &[&[u8]]) -> io::Result<()> {
        let file = descriptor(file)?;
        let mut at = offset;
        for group in parts.chunks(MAX_PARTS) {
            let slices: Vec<IoSlice<'_>> = group.iter().map(|part| IoSlice::new(part)).collect();
            // An offset has 32 bits on 32-bit ARM: behind 2 GiB each part is written separately.
            let mut written = match libc::off_t::try_from(at).map(|at| pwritev(file, &slices, at)) {
                Ok(Ok(written)) => written,
                Ok(Err(Errno::EINTR)) | Err(_) => 0,
                Ok(Err(errno)) => return Err(errno.into()),
            };
            // What it did not take goes by itself.
            for part in group {
                let done = written.min(part.len());
                written -= done;
                let rest = part.get(done..).unwrap_or_default();
                if !rest.is_empty() {
                    file.write_all_at(rest, at.saturating_add(done as u64))?;
                }
                at = at.saturating_add(part.len() as u64);
            }
        }
        Ok(())
    }

    fn truncate(&self, file: &Handle, len: u64) -> io::Result<()> {
        descriptor(file)?.set_len(len)
    }

    fn sync(&self, file: &Handle) -> io::Result<()> {
        // Not fdatasync: every commit changes the size, so fdatasync would omit nothing.
        descriptor(file)?.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        #[expect(clippy::disallowed_methods, reason = "this is the door through which publish renames")]
        fs::rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
            Ok(()) => Ok(()),
            // A file system that cannot do it in one step. Only the agent creates names here.
            Err(Errno::EINVAL | Errno::ENOSYS) => match fs::symlink_metadata(to) {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.rename(from, to),
                Err(error) => Err(error),
            },
            Err(errno) => Err(errno.into()),
        }
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn rmdir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
        OpenOptions::new().read(true).custom_flags(flags).open(dir)?.sync_all()
    }

    fn list(&self, dir: &Path, limit: usize) -> io::Result<Vec<OsString>> {
        fs::read_dir(dir)?.take(limit).map(|entry| entry.map(|entry| entry.file_name())).collect()
    }

    fn stat(&self, path: &Path) -> io::Result<Meta> {
        let meta = fs::symlink_metadata(path)?;
        let kind = match (meta.is_file(), meta.is_dir()) {
            (true, _) => FileKind::File,
            (_, true) => FileKind::Directory,
            (false, false) => FileKind::Other,
        };
        Ok(Meta { kind, len: meta.len(), mode: meta.mode() & 0o7777 })
    }

    fn device(&self, dir: &Path) -> io::Result<u64> {
        Ok(fs::symlink_metadata(dir)?.dev())
    }

    fn free(&self, dir: &Path) -> io::Result<u64> {
        let stat = nix::sys::statvfs::statvfs(dir)?;
        // The widths of these fields differ between 32-bit and 64-bit targets.
        #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
        Ok((stat.blocks_available() as u64).saturating_mul(stat.fragment_size() as u64))
    }
}

/// Opens without following a link and without waiting, as it would for a pipe.
fn regular(options: &mut OpenOptions, path: &Path) -> io::Result<Handle> {
    let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() {
        Ok(Handle::File(file))
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"))
    }
}

fn descriptor(handle: &Handle) -> io::Result<&File> {
    match handle {
        Handle::File(file) => Ok(file),
        Handle::Token(_) => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "a handle of another file system"))
        }
    }
}
