//! Files that are set aside: they stay where they are, are neither read nor sent before the next start, and
//! are counted.

use crate::disk::{FileKind, Fs};
use crate::domain::aside::{Aside, AsideFigures};
use crate::domain::input::Input;
use crate::domain::segment::{MAX_SERIAL, Serial};
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::quarantine::printable;

/// By name: the order of age for numbered files.
#[derive(Default)]
pub(super) struct SetAside {
    files: BTreeMap<OsString, (Aside, u64)>,
    figures: AsideFigures,
    /// New ones by reason, with the name of the first of them: reported together.
    untold: BTreeMap<Aside, (u64, String)>,
}

impl SetAside {
    pub(super) fn figures(&self) -> AsideFigures {
        self.figures
    }

    pub(super) fn contains(&self, name: &OsStr) -> bool {
        self.files.contains_key(name)
    }

    pub(super) fn insert(&mut self, name: OsString, why: Aside, bytes: u64) {
        let shown = printable(&name);
        if let Some((before, bytes)) = self.files.insert(name, (why, bytes)) {
            self.figures.remove(before, bytes);
        } else {
            let (count, _) = self.untold.entry(why).or_insert((0, shown));
            *count += 1;
        }
        self.figures.add(why, bytes);
    }

    /// Numbers of those that cannot be read: each may belong to the span of the footage before it.
    pub(super) fn unread(&self) -> impl Iterator<Item = Serial> {
        let unread = self.files.iter().filter(|(_, (why, _))| matches!(why, Aside::Key | Aside::Format));
        unread.filter_map(|(name, _)| number(name.to_str()?))
    }

    /// Reports the new ones.
    pub(super) fn tell(&mut self, out: &mut Vec<Input>) {
        for (why, (files, name)) in std::mem::take(&mut self.untold) {
            tracing::warn!(files, name, "set aside, {}", why.words());
            out.push(Input::SetAside { why, files, name });
        }
    }

    /// Removes the oldest that can be removed. A directory that is not empty was not made by the spool, and
    /// stays.
    pub(super) fn remove_oldest(&mut self, fs: &dyn Fs, dir: &Path) -> Option<(OsString, Aside, u64)> {
        let removed = self.files.iter().find(|(name, _)| {
            let path = dir.join(name);
            let is_directory = fs.stat(&path).is_ok_and(|meta| meta.kind == FileKind::Directory);
            if is_directory { fs.rmdir(&path).is_ok() } else { fs.unlink(&path).is_ok() }
        });
        let name = removed?.0.clone();
        let (why, bytes) = self.files.remove(&name)?;
        self.figures.remove(why, bytes);
        Some((name, why, bytes))
    }
}

/// The number of a file of a kind that a later release may have: `0000000042.idx`.
pub(super) fn number(name: &str) -> Option<Serial> {
    let (digits, extension) = name.split_once('.')?;
    let is_kind = !extension.is_empty()
        && extension.len() <= 12
        && extension.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let is_number = digits.len() == 10 && digits.bytes().all(|b| b.is_ascii_digit());
    let serial = Serial(digits.parse().ok()?);
    (is_kind && is_number && serial <= MAX_SERIAL).then_some(serial)
}
