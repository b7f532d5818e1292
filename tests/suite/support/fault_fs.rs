//! A file system in memory that fails like a real one: unsynced bytes and names are lost in a power cut, or
//! torn by sectors; any call can fail; a failed sync leaves pages that look clean.
//!
//! Deterministic: a seed determines what a power cut leaves.

mod calls;
mod coin;

pub use coin::Coin;

use kasacam::disk::{Fs, Handle};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

const SECTOR: usize = 512;

/// What a power cut leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Nothing.
    LosesAll,
    /// Everything, as after a crash of the process alone.
    KeepsAll,
    /// Each name and each sector at random.
    Torn(u64),
}

/// The fault to inject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    Nothing,
    /// The power is cut at this call: neither it nor any later one is done.
    Crash {
        at: u64,
    },
    /// These calls fail with this errno.
    Fail {
        from: u64,
        until: u64,
        errno: i32,
    },
}

/// The kind of access to one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Opened for reading, and read.
    Read,
    /// Opened for writing.
    Write,
    /// Created, as a file or a directory.
    Create,
    Unlink,
    /// Renamed, under its name before.
    Rename,
    Stat,
}

/// A guarantee that the file system breaks on purpose, to show that the tests would notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    None,
    SyncDoesNothing,
    SyncDirDoesNothing,
}

#[derive(Clone)]
pub struct FaultFs(Arc<Mutex<State>>);

struct State {
    files: Vec<Inode>,
    dirs: BTreeSet<PathBuf>,
    /// Directories whose parent was synced since they were created.
    durable_dirs: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    pending_names: Vec<NameOp>,
    calls: u64,
    reads: u64,
    plan: Plan,
    mutant: Mutant,
    failures: u64,
    /// Paths on which an access always fails, whatever the plan, and with which errno.
    bad_paths: Vec<(PathBuf, Access, i32)>,
    room: Room,
    card: Card,
    /// Flash collects its garbage: syncs wait.
    stalls: bool,
}

/// A separate file system at a directory, which can be removed.
#[derive(Clone, Debug, Default)]
struct Card {
    at: Option<PathBuf>,
    /// Its device number; that of everything else is 1.
    device: u64,
    is_away: bool,
    /// What was created, or attempted to be created, in the empty mount point.
    beneath: Vec<PathBuf>,
}

impl Card {
    fn hides(&self, path: &Path) -> bool {
        self.is_away && self.at.as_ref().is_some_and(|at| path.starts_with(at) && path != at)
    }
}

/// How much space there is.
#[derive(Clone, Copy, Debug)]
struct Room {
    /// Maximum bytes of all files together; a write beyond it fails with ENOSPC.
    capacity: u64,
    /// Bytes that others use.
    others: u64,
    /// The errno of `statvfs`, if that fails.
    free_fails: Option<i32>,
}

/// The free space of an empty file system by default.
const ROOMY: Room = Room { capacity: 1 << 30, others: 0, free_fails: None };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    File(usize),
    Link,
}

#[derive(Clone)]
enum NameOp {
    Set(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

#[derive(Clone, Default)]
struct Inode {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<DataOp>,
    mode: u32,
}

#[derive(Clone)]
enum DataOp {
    Write(usize, Vec<u8>),
    Truncate(usize),
}

impl FaultFs {
    pub fn new(plan: Plan, mutant: Mutant) -> FaultFs {
        FaultFs(Arc::new(Mutex::new(State {
            files: Vec::new(),
            dirs: BTreeSet::new(),
            durable_dirs: BTreeSet::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            pending_names: Vec::new(),
            calls: 0,
            reads: 0,
            plan,
            mutant,
            failures: 0,
            bad_paths: Vec::new(),
            room: ROOMY,
            card: Card::default(),
            stalls: false,
        })))
    }

    /// A file system without faults.
    pub fn healthy() -> FaultFs {
        FaultFs::new(Plan::Nothing, Mutant::None)
    }

    pub fn shared(&self) -> Arc<dyn Fs> {
        Arc::new(self.clone())
    }

    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// How many of the calls read from a file.
    pub fn reads(&self) -> u64 {
        self.state().reads
    }

    /// How many calls were made to fail.
    pub fn failures(&self) -> u64 {
        self.state().failures
    }

    /// With `true` every sync waits, until this is called with `false`.
    pub fn stall(&self, stalls: bool) {
        self.state().stalls = stalls;
    }

    pub fn plan(&self, plan: Plan) {
        self.state().plan = plan;
    }

    /// From now on this access to this path fails with this errno, each time. Counts as a failure.
    pub fn fail_always(&self, path: &Path, access: Access, errno: i32) {
        self.state().bad_paths.push((path.to_path_buf(), access, errno));
    }

    /// Ends what [`FaultFs::fail_always`] began.
    pub fn heal(&self, path: &Path) {
        self.state().bad_paths.retain(|(bad, ..)| bad != path);
    }

    /// How many bytes fit, of others and of the spool together.
    pub fn set_capacity(&self, capacity: u64) {
        self.state().room.capacity = capacity;
    }

    /// How many bytes others use.
    pub fn set_others(&self, others: u64) {
        self.state().room.others = others;
    }

    /// Makes `statvfs` fail with this errno, or succeed again.
    pub fn fail_free(&self, errno: Option<i32>) {
        self.state().room.free_fails = errno;
    }

    /// From now on a separate card is mounted at a directory.
    pub fn mount(&self, at: &Path) {
        self.state().card = Card { at: Some(at.to_path_buf()), device: 2, ..Card::default() };
    }

    /// Removes it: access to open files on it fails, and its mount point is empty.
    pub fn pull(&self) {
        self.state().card.is_away = true;
    }

    /// Puts it back, under this device number.
    pub fn put_back(&self, device: u64) {
        let mut state = self.state();
        (state.card.is_away, state.card.device) = (false, device);
    }

    /// What was attempted to be created in the mount point while the card was away.
    pub fn made_beneath(&self) -> Vec<PathBuf> {
        self.state().card.beneath.clone()
    }

    /// Bytes free, without counting as a call.
    pub fn room(&self) -> u64 {
        self.state().free()
    }

    /// The same disk after a power cut.
    pub fn after(&self, cut: Cut) -> FaultFs {
        let state = self.state();
        let mut coin = Coin(match cut {
            Cut::Torn(seed) => seed,
            Cut::LosesAll | Cut::KeepsAll => 0,
        });
        let mut names = state.durable_names.clone();
        let mut dirs = state.durable_dirs.clone();
        match cut {
            Cut::LosesAll => {}
            Cut::KeepsAll => {
                names = state.names.clone();
                dirs = state.dirs.clone();
            }
            Cut::Torn(_) => {
                dirs.extend(state.dirs.difference(&state.durable_dirs).filter(|_| coin.toss()).cloned());
                for op in &state.pending_names {
                    if coin.toss() {
                        apply(&mut names, op);
                    }
                }
            }
        }
        // What was in a directory that is lost is lost with it.
        let reached = |path: &Path| path.ancestors().skip(1).all(|dir| dirs.contains(dir));
        names.retain(|path, _| reached(path));
        let dirs: BTreeSet<PathBuf> = dirs.iter().filter(|dir| reached(dir)).cloned().collect();
        let files = state
            .files
            .iter()
            .map(|file| {
                let bytes = match cut {
                    Cut::LosesAll => file.durable.clone(),
                    Cut::KeepsAll => file.bytes.clone(),
                    Cut::Torn(_) => file.torn(&mut coin),
                };
                Inode { durable: bytes.clone(), bytes, pending: Vec::new(), mode: file.mode }
            })
            .collect();
        FaultFs(Arc::new(Mutex::new(State {
            files,
            durable_dirs: dirs.clone(),
            dirs,
            durable_names: names.clone(),
            names,
            pending_names: Vec::new(),
            calls: 0,
            reads: 0,
            plan: Plan::Nothing,
            mutant: Mutant::None,
            failures: 0,
            bad_paths: Vec::new(),
            room: state.room,
            card: state.card.clone(),
            stalls: false,
        })))
    }

    /// Puts a file there as if it had always been there.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        state.stand(path.parent().unwrap_or(path));
        let file = Inode { bytes: bytes.to_vec(), durable: bytes.to_vec(), pending: Vec::new(), mode: 0o600 };
        state.files.push(file);
        let node = Node::File(state.files.len() - 1);
        state.names.insert(path.to_path_buf(), node);
        state.durable_names.insert(path.to_path_buf(), node);
    }

    pub fn put_link(&self, path: &Path) {
        let mut state = self.state();
        state.stand(path.parent().unwrap_or(path));
        state.names.insert(path.to_path_buf(), Node::Link);
        state.durable_names.insert(path.to_path_buf(), Node::Link);
    }

    pub fn put_dir(&self, path: &Path) {
        self.state().stand(path);
    }

    /// The content of a file, without counting as a call.
    pub fn peek(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        match state.names.get(path)? {
            Node::File(at) => Some(state.files[*at].bytes.clone()),
            Node::Link => None,
        }
    }

    /// Names of files and links directly in a directory.
    pub fn names(&self, dir: &Path) -> Vec<String> {
        let state = self.state();
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        inside.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Counts a call, and fails if the plan says so.
    fn call(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        match state.trouble() {
            Some(error) => Err(error),
            None => Ok(state),
        }
    }

    /// [`FaultFs::call`] for one path.
    fn call_on(&self, path: &Path, access: Access) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.call()?;
        if state.card.hides(path) {
            if access == Access::Create {
                state.card.beneath.push(path.to_path_buf());
            }
            return Err(io::ErrorKind::NotFound.into());
        }
        match state.bad_path(path, access) {
            Some(error) => Err(error),
            None => Ok(state),
        }
    }
}

impl State {
    /// Makes a directory and its ancestors exist as if they had always existed.
    fn stand(&mut self, dir: &Path) {
        for dir in dir.ancestors() {
            self.dirs.insert(dir.to_path_buf());
            self.durable_dirs.insert(dir.to_path_buf());
        }
    }

    /// Whether an open file is on a card that is away.
    fn is_away(&self, handle: &Handle) -> bool {
        let Handle::Token(at) = handle else { return false };
        let node = Node::File(*at as usize);
        self.card.is_away && self.names.iter().any(|(path, other)| *other == node && self.card.hides(path))
    }

    /// [`State::trouble`] for an open file.
    fn trouble_on(&mut self, handle: &Handle) -> Option<io::Error> {
        let away = self.is_away(handle).then(|| io::Error::from_raw_os_error(libc::EIO));
        self.trouble().or(away)
    }

    fn bad_path(&mut self, path: &Path, access: Access) -> Option<io::Error> {
        let bad = self.bad_paths.iter().find(|(bad, what, _)| bad == path && *what == access)?;
        let error = io::Error::from_raw_os_error(bad.2);
        self.failures += 1;
        Some(error)
    }

    /// Bytes of the files that have a name.
    fn held(&self) -> u64 {
        let bytes = |node: &Node| match node {
            Node::File(at) => self.files[*at].bytes.len() as u64,
            Node::Link => 0,
        };
        self.names.values().map(bytes).sum()
    }

    fn free(&self) -> u64 {
        self.room.capacity.saturating_sub(self.room.others).saturating_sub(self.held())
    }

    fn trouble(&mut self) -> Option<io::Error> {
        self.calls += 1;
        let now = self.calls;
        let error = match self.plan {
            Plan::Nothing => None,
            Plan::Crash { at } => (now >= at).then(|| io::Error::other("the power is gone")),
            Plan::Fail { from, until, errno } => {
                (from..until).contains(&now).then(|| io::Error::from_raw_os_error(errno))
            }
        };
        self.failures += u64::from(error.is_some());
        error
    }

    fn file(&mut self, path: &Path) -> io::Result<usize> {
        match self.names.get(path) {
            Some(Node::File(at)) => Ok(*at),
            Some(Node::Link) => Err(io::Error::from_raw_os_error(libc::ELOOP)),
            None if self.dirs.contains(path) => Err(io::Error::from_raw_os_error(libc::EISDIR)),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn name(&mut self, op: NameOp) {
        apply(&mut self.names, &op);
        self.pending_names.push(op);
    }

    fn of(&mut self, handle: &Handle) -> &mut Inode {
        match handle {
            Handle::Token(at) => &mut self.files[*at as usize],
            Handle::File(_) => unreachable!("a handle of another file system"),
        }
    }
}

fn apply(names: &mut BTreeMap<PathBuf, Node>, op: &NameOp) {
    match op {
        NameOp::Set(path, node) => {
            names.insert(path.clone(), *node);
        }
        NameOp::Remove(path) => {
            names.remove(path);
        }
        NameOp::Rename(from, to) => {
            if let Some(node) = names.remove(from) {
                names.insert(to.clone(), node);
            }
        }
    }
}

impl NameOp {
    fn touches(&self, dir: &Path) -> bool {
        let inside = |path: &PathBuf| path.parent() == Some(dir);
        match self {
            NameOp::Set(path, _) | NameOp::Remove(path) => inside(path),
            NameOp::Rename(from, to) => inside(from) || inside(to),
        }
    }
}

impl Inode {
    fn torn(&self, coin: &mut Coin) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for op in &self.pending {
            match op {
                DataOp::Truncate(len) => {
                    if coin.toss() {
                        bytes.resize(*len, 0);
                    }
                }
                DataOp::Write(at, data) => {
                    // The size may have been written although no sector was.
                    if coin.toss() && bytes.len() < at + data.len() {
                        bytes.resize(at + data.len(), 0);
                    }
                    let mut from = *at;
                    while from < at + data.len() {
                        let to = ((from / SECTOR + 1) * SECTOR).min(at + data.len());
                        if coin.toss() {
                            if bytes.len() < to {
                                bytes.resize(to, 0);
                            }
                            bytes[from..to].copy_from_slice(&data[from - at..to - at]);
                        }
                        from = to;
                    }
                }
            }
        }
        bytes
    }
}
