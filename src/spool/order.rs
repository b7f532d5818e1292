//! Repair of files of which nothing is known.
//!
//! 1. The directory is synced, so that every name read from now on is durable.
//! 2. Temporary files of a publish are removed: they were never acknowledged. Names that are not names of the
//!    spool are set aside. What has a name of the spool and is not a file goes into the quarantine; links are
//!    moved, not followed.
//! 3. Each remaining file is read, the newest first. A file that the disk fails to read stays where it is,
//!    and is retried. What another device, a later release or another key wrote is set aside: it stays where
//!    it is until the next start.
//! 4. Each is repaired as [`recovery::plan`] says. An unsealed file is cut back to its last whole fragment,
//!    given its `mfra`, synced and renamed to `.mp4`, and the directory is synced. A damaged sealed file is
//!    first renamed to `.open`, and then treated alike.
//! 5. Once all are known, every span without an end gets one.
//!
//! A start does this step by step ([`Store::scan`]) while the camera records; after a failure it is done at
//! once for what the failure left behind ([`Store::settle`]). If it is interrupted, the next attempt finds
//! the same work or less.

use super::holdings::Live;
use super::quarantine::tell;
use super::scan::{self, Belief};
use super::store::{LISTED, Scan, Store};
use crate::disk;
use crate::domain::aside::Aside;
use crate::domain::input::Input;
use crate::domain::recovery::{self, Found, Read};
use crate::domain::segment::{Record, Segment, Serial, SpoolName};
use crate::domain::segmenter::Durability;
use std::collections::BTreeSet;
use std::io;

impl Store {
    /// Whether every file that was there at the start was read, and every span without an end has got one.
    pub(super) fn is_scanned(&self) -> bool {
        matches!(self.scan, Scan::Done)
    }

    /// Continues the scan by about `most` files. Returns what became known, and the first failure.
    pub(super) fn scan(
        &mut self,
        most: usize,
        live: Option<Live<'_>>,
        out: &mut Vec<Input>,
    ) -> (Vec<Segment>, io::Result<()>) {
        let mut segments = Vec::new();
        let result = self.try_scan(most, live, &mut segments, out);
        (segments, result)
    }

    fn try_scan(
        &mut self,
        most: usize,
        live: Option<Live<'_>>,
        segments: &mut Vec<Segment>,
        out: &mut Vec<Input>,
    ) -> io::Result<()> {
        if matches!(self.scan, Scan::Due) {
            self.scan = Scan::Under(self.survey(live, out)?);
        }
        let Scan::Under(names) = &mut self.scan else { return Ok(()) };
        let mut slice: BTreeSet<SpoolName> = BTreeSet::new();
        // Files with the same number are judged together.
        while let Some(name) = names.last().copied() {
            let is_twin = slice.first().is_some_and(|last| last.serial == name.serial);
            if slice.len() >= most && !is_twin {
                break;
            }
            names.pop_last();
            slice.insert(name);
        }
        let is_last = names.is_empty();
        let result = self.take_up(slice, &BTreeSet::new(), segments, out);
        if is_last {
            self.scan = Scan::Done;
        }
        result?;
        if is_last { self.write_missing_ends(live, segments) } else { Ok(()) }
    }

    /// Repairs what a failure left behind, and what could not be repaired before. `live` is the current span,
    /// which is left alone. Returns what became known, and the first failure; everything else was done
    /// nevertheless, if possible.
    pub(super) fn settle(
        &mut self,
        live: Option<Live<'_>>,
        out: &mut Vec<Input>,
    ) -> (Vec<Segment>, io::Result<()>) {
        let mut segments = Vec::new();
        let result = self.try_settle(live, &mut segments, out);
        (segments, result)
    }

    fn try_settle(
        &mut self,
        live: Option<Live<'_>>,
        segments: &mut Vec<Segment>,
        out: &mut Vec<Input>,
    ) -> io::Result<()> {
        if matches!(self.scan, Scan::Due) {
            return Ok(());
        }
        let names = self.survey(live, out)?;
        let told = std::mem::take(&mut self.skipped);
        self.take_up(names, &told, segments, out)?;
        if self.is_scanned() { self.write_missing_ends(live, segments) } else { Ok(()) }
    }

    /// The unknown files, without those that the scan has not reached yet.
    fn survey(&mut self, live: Option<Live<'_>>, out: &mut Vec<Input>) -> io::Result<BTreeSet<SpoolName>> {
        let dir = self.setup.dir();
        self.fs.sync_dir(&dir)?;
        self.make_way_for_quarantine()?;
        let mut unknown = BTreeSet::new();
        for name in self.fs.list(&dir, LISTED)? {
            if self.aside.contains(&name) {
                continue;
            }
            let Some(ours) = name.to_str().and_then(SpoolName::parse) else {
                self.put_away(&name, out);
                continue;
            };
            let is_coming = match &self.scan {
                Scan::Under(names) => names.contains(&ours),
                Scan::Due | Scan::Done => false,
            };
            let is_live = live.is_some_and(|live| live.serial == ours.serial);
            match self.holdings.kind_of(ours.serial) {
                Some(kind) if kind != ours.kind => self.set_aside(&name, Aside::Name),
                None if !is_coming && !is_live => {
                    self.serials.seen(ours.serial);
                    unknown.insert(ours);
                }
                Some(_) | None => {}
            }
        }
        self.aside.tell(out);
        Ok(unknown)
    }

    /// Reads files and repairs them, the newest first, because the next segment of a span shows how long a
    /// segment is. `told`: it was already reported that these cannot be repaired.
    fn take_up(
        &mut self,
        names: BTreeSet<SpoolName>,
        told: &BTreeSet<Serial>,
        segments: &mut Vec<Segment>,
        out: &mut Vec<Input>,
    ) -> io::Result<()> {
        let mut has_skipped = false;
        let mut left = names.into_iter().rev().peekable();
        while let Some(name) = left.next() {
            // Files with the same number are judged together.
            let mut found = Vec::new();
            let twins = std::iter::from_fn(|| left.next_if(|next| next.serial == name.serial));
            for name in std::iter::once(name).chain(twins).collect::<Vec<_>>() {
                match self.look(name) {
                    Ok((bytes, read)) => found.push(Found { name, bytes, read }),
                    Err(error) => has_skipped |= self.unread(name, &error, told, out),
                }
            }
            for repair in recovery::plan(&found, &self.setup.device) {
                match self.repair(repair, out) {
                    Ok(Some(segment)) => segments.push(segment),
                    Ok(None) => {}
                    Err(error) => {
                        has_skipped = true;
                        let why = format!("left in place, it cannot be put right: {error}");
                        self.skip(name, told, why, out);
                    }
                }
            }
        }
        self.aside.tell(out);
        // One file that cannot be repaired says nothing of the disk: the probe finds out.
        if has_skipped { self.probe() } else { Ok(()) }
    }

    /// The disk failed to read a file. Returns whether the file is skipped.
    fn unread(
        &mut self,
        name: SpoolName,
        error: &io::Error,
        told: &BTreeSet<Serial>,
        out: &mut Vec<Input>,
    ) -> bool {
        if error.kind() == io::ErrorKind::NotFound {
            return false;
        }
        if self.fs.stat(&self.path(name)).is_ok_and(|meta| meta.kind != disk::FileKind::File) {
            self.quarantine(name, "not a regular file", out);
            return false;
        }
        self.skip(name, told, format!("left in place, it cannot be read: {error}"), out);
        true
    }

    fn skip(&mut self, name: SpoolName, told: &BTreeSet<Serial>, why: String, out: &mut Vec<Input>) {
        self.skipped.insert(name.serial);
        if !told.contains(&name.serial) {
            tell(out, name.to_string(), why);
        }
    }

    pub(super) fn look(&self, name: SpoolName) -> io::Result<(u64, Read)> {
        let belief = Belief {
            boot: &self.setup.boot,
            keep_partial: self.setup.keep_partial_gop,
            durable: self.abandoned.get(&name.serial).copied().unwrap_or(u64::MAX),
            doubted: self.doubted.contains(&name.serial),
            genuine: false,
            late_sync: self.setup.durability == Durability::Segment,
        };
        let by_next = |record: &Record| self.holdings.until_next(record);
        scan::look(&*self.fs, &self.setup.dir(), name, belief, &self.setup.encryption, &by_next)
    }
}
