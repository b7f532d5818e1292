//! The calls of the file system.

use super::{Access, DataOp, FaultFs, Inode, Mutant, NameOp, Node, Plan, apply};
use kasacam::disk::{FileKind, Fs, Handle, Meta};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

impl Fs for FaultFs {
    fn mkdir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.call_on(dir, Access::Create)?;
        if state.names.contains_key(dir) {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        // The root has no parent to sync.
        state.stand(Path::new("/"));
        for dir in dir.ancestors() {
            state.dirs.insert(dir.to_path_buf());
        }
        Ok(())
    }

    fn create_new(&self, path: &Path) -> io::Result<Handle> {
        let mut state = self.call_on(path, Access::Create)?;
        if state.names.contains_key(path) || state.dirs.contains(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.files.push(Inode { mode: 0o600, ..Inode::default() });
        let at = state.files.len() - 1;
        state.name(NameOp::Set(path.to_path_buf(), Node::File(at)));
        Ok(Handle::Token(at as u64))
    }

    fn open_read(&self, path: &Path) -> io::Result<Handle> {
        self.call_on(path, Access::Read)?.file(path).map(|at| Handle::Token(at as u64))
    }

    fn open_write(&self, path: &Path) -> io::Result<Handle> {
        self.call_on(path, Access::Write)?.file(path).map(|at| Handle::Token(at as u64))
    }

    fn len(&self, file: &Handle) -> io::Result<u64> {
        Ok(self.call()?.of(file).bytes.len() as u64)
    }

    fn read_at(&self, file: &Handle, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        let mut state = self.call()?;
        if state.is_away(file) {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        state.reads += 1;
        let bytes = &state.of(file).bytes;
        let from = (offset as usize).min(bytes.len());
        let to = (from + into.len()).min(bytes.len());
        into[..to - from].copy_from_slice(&bytes[from..to]);
        Ok(to - from)
    }

    fn write_at(&self, file: &Handle, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let mut trouble = state.trouble_on(file);
        let crashed = matches!(state.plan, Plan::Crash { .. });
        // A write that fails may have been done in part.
        let mut bytes = match (&trouble, crashed) {
            (Some(_), true) => &[],
            (Some(_), false) => &bytes[..bytes.len() / 2],
            (None, _) => bytes,
        };
        let at = offset as usize;
        let free = state.free() as usize;
        let grows = (at + bytes.len()).saturating_sub(state.of(file).bytes.len());
        if grows > free {
            bytes = &bytes[..bytes.len().saturating_sub(grows - free)];
            if trouble.is_none() {
                state.failures += 1;
                trouble = Some(io::Error::from_raw_os_error(libc::ENOSPC));
            }
        }
        let inode = state.of(file);
        if inode.bytes.len() < at + bytes.len() {
            inode.bytes.resize(at + bytes.len(), 0);
        }
        inode.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        inode.pending.push(DataOp::Write(at, bytes.to_vec()));
        trouble.map_or(Ok(()), Err)
    }

    fn truncate(&self, file: &Handle, len: u64) -> io::Result<()> {
        let mut state = self.call()?;
        let inode = state.of(file);
        inode.bytes.resize(len as usize, 0);
        inode.pending.push(DataOp::Truncate(len as usize));
        Ok(())
    }

    fn sync(&self, file: &Handle) -> io::Result<()> {
        while self.state().stalls {
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        let mut state = self.state();
        let trouble = state.trouble_on(file);
        let crashed = matches!(state.plan, Plan::Crash { .. });
        let mutant = state.mutant;
        let inode = state.of(file);
        match trouble {
            Some(error) => {
                if !crashed {
                    // The pages are marked clean and will never be written: later syncs succeed without them.
                    inode.pending.clear();
                }
                Err(error)
            }
            None if mutant == Mutant::SyncDoesNothing => Ok(()),
            None => {
                for op in std::mem::take(&mut inode.pending) {
                    match op {
                        DataOp::Truncate(len) => inode.durable.resize(len, 0),
                        DataOp::Write(at, data) => {
                            if inode.durable.len() < at + data.len() {
                                inode.durable.resize(at + data.len(), 0);
                            }
                            inode.durable[at..at + data.len()].copy_from_slice(&data);
                        }
                    }
                }
                Ok(())
            }
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.call_on(from, Access::Rename)?;
        if state.dirs.remove(from) {
            state.dirs.insert(to.to_path_buf());
            if state.durable_dirs.remove(from) {
                state.durable_dirs.insert(to.to_path_buf());
            }
            return Ok(());
        }
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.name(NameOp::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let taken = {
            let state = self.state();
            state.names.contains_key(to) || state.dirs.contains(to)
        };
        if taken { self.call().and(Err(io::ErrorKind::AlreadyExists.into())) } else { self.rename(from, to) }
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        let mut state = self.call_on(path, Access::Unlink)?;
        if state.dirs.contains(path) {
            return Err(io::Error::from_raw_os_error(libc::EISDIR));
        }
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.name(NameOp::Remove(path.to_path_buf()));
        Ok(())
    }

    fn rmdir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.call()?;
        if state.names.keys().any(|name| name.parent() == Some(path)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        state.durable_dirs.remove(path);
        if state.dirs.remove(path) { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.call()?;
        if !state.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        if state.mutant == Mutant::SyncDirDoesNothing {
            return Ok(());
        }
        let (now, later): (Vec<NameOp>, Vec<NameOp>) =
            std::mem::take(&mut state.pending_names).into_iter().partition(|op| op.touches(dir));
        for op in &now {
            apply(&mut state.durable_names, op);
        }
        state.pending_names = later;
        let made: Vec<PathBuf> =
            state.dirs.iter().filter(|made| made.parent() == Some(dir)).cloned().collect();
        state.durable_dirs.extend(made);
        Ok(())
    }

    fn list(&self, dir: &Path, limit: usize) -> io::Result<Vec<OsString>> {
        let state = self.call()?;
        if !state.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let names = state.names.keys().chain(state.dirs.iter());
        let inside = names.filter(|path| path.parent() == Some(dir) && !state.card.hides(path));
        Ok(inside.filter_map(|path| path.file_name()).map(OsString::from).take(limit).collect())
    }

    fn stat(&self, path: &Path) -> io::Result<Meta> {
        let state = self.call_on(path, Access::Stat)?;
        match state.names.get(path) {
            Some(Node::File(at)) => {
                let file = &state.files[*at];
                Ok(Meta { kind: FileKind::File, len: file.bytes.len() as u64, mode: file.mode })
            }
            Some(Node::Link) => Ok(Meta { kind: FileKind::Other, len: 0, mode: 0o777 }),
            None if state.dirs.contains(path) => Ok(Meta { kind: FileKind::Directory, len: 0, mode: 0o700 }),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn device(&self, dir: &Path) -> io::Result<u64> {
        let state = self.call_on(dir, Access::Stat)?;
        if !state.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let is_on_card = state.card.at.as_ref().is_some_and(|at| dir.starts_with(at));
        Ok(if is_on_card && !state.card.is_away { state.card.device } else { 1 })
    }

    fn free(&self, _dir: &Path) -> io::Result<u64> {
        let state = self.call()?;
        match state.room.free_fails {
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => Ok(state.free()),
        }
    }
}
