//! Order among the files that nothing is known of.
//!
//! 1. The directory is synced, so that every name seen from here on is durable.
//! 2. Temporary files of a publish are removed: they were never acknowledged. Names that are not ours are set aside. What
//!    has a name of ours and is no file goes into the quarantine; links are moved, not followed.
//! 3. Each of ours is looked at, the newest first. What the disk refuses to read is left where it is, for another time.
//!    What another device, a later release or another key wrote is set aside: left where it is until the next start.
//! 4. Each is repaired as [`recovery::plan`] says. An unsealed file is cut back to its last whole fragment, given its
//!    `mfra`, synced, renamed to `.mp4`, and the directory synced. A sealed one that is damaged first becomes `.open`
//!    again, and then goes the same way.
//! 5. Once all are known, every span whose end is missing gets one.
//!
//! A start does this piece by piece ([`Store::scan`]), while the camera records; after a failure it is done at once for
//! what the failure left behind ([`Store::settle`]). Interrupted anywhere, it finds the same work or less when it begins
//! again.

use super::scan::{self, Belief};
use super::store::{Live, Store};
use super::tell;
use crate::disk;
use crate::domain::aside::Aside;
use crate::domain::input::Input;
use crate::domain::recovery::{self, Found, Read};
use crate::domain::segment::{Record, Segment, Serial, SpoolName};
use crate::domain::segmenter::Durability;
use std::collections::BTreeSet;
use std::io;

/// Names in the spool directory that are looked at.
pub(super) const LISTED: usize = 1 << 20;

/// How far the first look at the spool has come.
#[derive(Default)]
pub(super) enum Scan {
    /// Nothing is known.
    #[default]
    Due,
    /// These files are still to be looked at.
    Under(BTreeSet<SpoolName>),
    /// Every file is known, set aside, or skipped.
    Done,
}

impl Store {
    /// Whether every file that was there at the start has been looked at, and every span that lacked its end has one.
    pub(super) fn is_scanned(&self) -> bool {
        matches!(self.scan, Scan::Done)
    }

    /// Goes on with the first look, by about so many files. Returns what came to be known, and the first failure.
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
        // Files with one number are judged together.
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

    /// Restores order among what a failure left behind, and what could not be put right before. `live` is what is under
    /// way, and is let alone. Returns what came to be known, and the first failure; the rest was done all the same, where
    /// it could be.
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

    /// The files of which nothing is known, but for those that the first look is still to come to.
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
            match self.kind_of(ours.serial) {
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

    /// Looks at files and repairs them, the newest first: how long a segment is, the next of its span tells. `told` are
    /// those of which is told already that they cannot be put right.
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
            // Files with one number are judged together.
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
        // One file that cannot be put right says nothing of the disk: that is for the probe to find out.
        if has_skipped { self.probe() } else { Ok(()) }
    }

    /// The disk did not give a file. Whether it is skipped for that.
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
        if self.fs.stat(&self.path(name)).is_ok_and(|meta| meta.kind != disk::Kind::File) {
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
        let by_next = |record: &Record| self.until_next(record);
        scan::look(&*self.fs, &self.setup.dir(), name, belief, &self.setup.encryption, &by_next)
    }
}
