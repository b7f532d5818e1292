//! The files of the spool: what is known of them, and their repair.

use super::aside::{self, SetAside};
use super::crypt;
use super::end;
use super::glance;
use super::growing::Growing;
use super::holdings::{Holdings, Live};
use super::quarantine::{self, Quarantine, printable, tell};
use super::scan;
use super::serials::{MAX_SEEN, Serials};
use super::setup::Setup;
use crate::disk::place::{self, Place};
use crate::disk::{self, Fs, StoredFacts, is_temporary, publish};
use crate::domain::aside::Aside;
use crate::domain::fragment::SpanEnd;
use crate::domain::input::{AsideFile, Input};
use crate::domain::recovery::{self, Footage, Found, Read, Repair, Whole};
use crate::domain::segment::{Content, Record, Segment, Serial, SpoolKind, SpoolName};
use crate::domain::storage::Usage;
use crate::domain::time::Utc;
use crate::fmp4;
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

pub(super) struct Store {
    pub fs: Arc<dyn Fs>,
    pub setup: Setup,
    place: Place,
    pub serials: Serials,
    quarantine: Quarantine,
    pub aside: SetAside,
    pub scan: Scan,
    pub holdings: Holdings,
    /// Files that a failure left behind, and how many of their bytes are known to be on flash.
    pub abandoned: BTreeMap<Serial, u64>,
    /// Sealed files that were found damaged: they are read completely.
    pub doubted: BTreeSet<Serial>,
    /// Files that could not be read or repaired, which was reported: each is retried at every repair, and
    /// stops nothing else.
    pub skipped: BTreeSet<Serial>,
    /// Why spans ended whose end could not be written yet.
    reasons: BTreeMap<String, SpanEnd>,
}

/// Maximum number of names in the spool directory that are read.
pub(super) const LISTED: usize = 1 << 20;

/// Progress of the scan.
#[derive(Default)]
pub(super) enum Scan {
    /// Nothing is known yet.
    #[default]
    Due,
    /// These files are still to be read.
    Under(BTreeSet<SpoolName>),
    /// Every file is known, set aside, or skipped.
    Done,
}

impl Store {
    /// # Errors
    /// The directory cannot be made or read.
    pub(super) fn open(fs: Arc<dyn Fs>, setup: Setup, system: Utc) -> io::Result<Store> {
        let dir = setup.dir();
        let context = |what: &'static str| {
            let dir = dir.clone();
            move |error: io::Error| io::Error::new(error.kind(), format!("{what} {}: {error}", dir.display()))
        };
        disk::make_dir(&*fs, &dir).map_err(context("making the spool directory"))?;
        // The part that made the state directory may have failed before it synced its name.
        match disk::sync_parent(&*fs, &setup.state_dir) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                return Err(context("syncing the parent of the state directory of")(error));
            }
            Ok(()) | Err(_) => {}
        }
        // Only if the fact is lost: a start does not wait until a directory of thousands is listed.
        let highest = || {
            let names = fs.list(&dir, LISTED).map_err(context("reading the spool directory"))?;
            let numbers = names.iter().filter_map(|name| aside::number(name.to_str()?));
            Ok(numbers.filter(|serial| *serial <= MAX_SEEN).max())
        };
        let serials = Serials::new(StoredFacts::new(Arc::clone(&fs), &setup.state_dir), highest, system)?;
        let place = Place::of(&*fs, &dir).map_err(context("looking at the spool directory"))?;
        let quarantine = Quarantine::open(Arc::clone(&fs), &dir, setup.quarantine);
        Ok(Store {
            fs,
            setup,
            place,
            serials,
            quarantine,
            aside: SetAside::default(),
            scan: Scan::default(),
            holdings: Holdings::default(),
            abandoned: BTreeMap::new(),
            doubted: BTreeSet::new(),
            skipped: BTreeSet::new(),
            reasons: BTreeMap::new(),
        })
    }

    pub(super) fn usage(&self, growing: u64) -> Usage {
        let set_aside = self.aside.figures();
        let bytes = [self.quarantine.bytes(), set_aside.bytes, growing];
        let files = [set_aside.files, u64::from(growing > 0)];
        Usage {
            bytes: bytes.into_iter().fold(self.holdings.bytes(), u64::saturating_add),
            files: files.into_iter().fold(self.holdings.len() as u64, u64::saturating_add),
            free: self.fs.free(&self.setup.dir()).ok(),
            quarantined: self.quarantine.files(),
            set_aside,
            is_scanning: !self.is_scanned(),
        }
    }

    pub(super) fn repair(&mut self, repair: Repair, out: &mut Vec<Input>) -> io::Result<Option<Segment>> {
        match repair {
            Repair::Keep(segment) => {
                self.learn(&segment);
                Ok(Some(segment))
            }
            Repair::Remove { name } => {
                self.fs.unlink(&self.path(name))?;
                self.abandoned.remove(&name.serial);
                Ok(None)
            }
            Repair::Seal { name, footage, whole } => {
                if name.kind == SpoolKind::Sealed {
                    tell(out, name.to_string(), "damaged: its whole fragments are kept".to_owned());
                }
                let segment = self.seal(name, footage, whole)?;
                self.abandoned.remove(&name.serial);
                self.learn(&segment);
                Ok(Some(segment))
            }
            Repair::Renumber { name } => self.renumber(name, out),
            Repair::SetAside { name, bytes, why } => {
                self.aside.insert(name.to_string().into(), why, bytes);
                self.abandoned.remove(&name.serial);
                self.doubted.remove(&name.serial);
                Ok(None)
            }
            Repair::Quarantine { name, why } => {
                self.quarantine(name, &why, out);
                Ok(None)
            }
        }
    }

    /// Gives footage a new number, and treats it like any other.
    fn renumber(&mut self, name: SpoolName, out: &mut Vec<Input>) -> io::Result<Option<Segment>> {
        let new = SpoolName { serial: self.serials.next()?, ..name };
        self.fs.rename_new(&self.path(name), &self.path(new))?;
        self.fs.sync_dir(&self.setup.dir())?;
        tell(out, name.to_string(), format!("another file has its number: it is {new} from now on"));
        let (bytes, read) = self.look(new)?;
        match recovery::plan(&[Found { name: new, bytes, read }], &self.setup.device).pop() {
            Some(repair @ (Repair::Keep(_) | Repair::Seal { .. })) => self.repair(repair, out),
            // It was read before, so only the disk can have changed it.
            Some(_) | None => Ok(None),
        }
    }

    pub(super) fn seal(&mut self, name: SpoolName, footage: Footage, whole: Whole) -> io::Result<Segment> {
        let dir = self.setup.dir();
        let open = self.path(SpoolName { kind: SpoolKind::Open, ..name });
        let sealed = self.path(SpoolName { kind: SpoolKind::Sealed, ..name });
        if name.kind == SpoolKind::Sealed {
            self.fs.rename_new(&sealed, &open)?;
            // Otherwise a power cut might leave the changes under the name of a whole file.
            self.fs.sync_dir(&dir)?;
        }
        let mut bytes = self.fs.stat(&open)?.len;
        if !footage.complete {
            let (mut file, contents) = Growing::reopen(Arc::clone(&self.fs), &open, &self.setup.encryption)?;
            let layout = fmp4::read_segment(&contents)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.what))?;
            let mfra = fmp4::mfra_box(&scan::entries(&layout, whole.end));
            let kept = file.cut_back(whole.end)?;
            let range =
                usize::try_from(kept).unwrap_or(usize::MAX)..usize::try_from(whole.end).unwrap_or(usize::MAX);
            let again = contents.get(range).unwrap_or_default();
            file.append_last(&[again, &mfra])?;
            file.sync()?;
            bytes = file.on_flash();
        } else {
            // Another process wrote it: whether that synced it is unknown.
            self.fs.sync(&self.fs.open_write(&open)?)?;
        }
        self.fs.rename_new(&open, &sealed)?;
        self.fs.sync_dir(&dir)?;
        let content = Content::Footage { duration: whole.duration, codecs: footage.codecs };
        Ok(Segment { serial: name.serial, content, record: footage.record, bytes })
    }

    pub(super) fn write_missing_ends(
        &mut self,
        live: Option<Live<'_>>,
        segments: &mut Vec<Segment>,
    ) -> io::Result<()> {
        let goes_on = |name: &str| live.is_some_and(|live| live.span == name);
        // A file that could not be read may be the last of the span before it, or the end of that span.
        let unread = self.skipped.iter().copied().chain(self.aside.unread());
        let uncertain: BTreeSet<Arc<str>> =
            unread.filter_map(|serial| self.holdings.span_before(serial)).collect();
        let lacks = |(name, _): &(Arc<str>, Serial)| !goes_on(name) && !uncertain.contains(name);
        let lacking: Vec<(Arc<str>, Serial)> = self.holdings.without_end().filter(lacks).collect();
        for (span, newest) in lacking {
            // If it can no longer be read, a later repair does this.
            let looked = self.look(SpoolName { serial: newest, kind: SpoolKind::Sealed });
            let Ok((_, Read::Footage(Footage { record, whole: Some(whole), .. }))) = looked else { continue };
            let reason = self.reasons.get(&*span).copied().unwrap_or(SpanEnd::Power);
            let members = self.members(newest);
            segments.push(self.write_end(&recovery::end_of(&record, whole.duration), reason, members)?);
        }
        self.reasons.retain(|span, _| uncertain.contains(span.as_str()));
        Ok(())
    }

    /// The members of the record of a segment, including unknown ones; none if it cannot be read.
    fn members(&self, serial: Serial) -> Map<String, Value> {
        let path = self.path(SpoolName { serial, kind: SpoolKind::Sealed });
        glance::members(&*self.fs, &path, &self.setup.encryption).unwrap_or_default()
    }

    /// Writes the end of a span, with the members that a later release put into the records of its segments.
    /// If this fails, a later [`Store::settle`] does it.
    pub(super) fn write_end(
        &mut self,
        record: &Record,
        reason: SpanEnd,
        members: Map<String, Value>,
    ) -> io::Result<Segment> {
        let written = self.try_write_end(record, reason, members);
        if written.is_err() {
            self.reasons.insert(record.span.clone(), reason);
        }
        written
    }

    fn try_write_end(
        &mut self,
        record: &Record,
        reason: SpanEnd,
        members: Map<String, Value>,
    ) -> io::Result<Segment> {
        self.is_there()?;
        let serial = self.serials.next()?;
        let bytes = end::encode_behind(members, record, reason).map_err(io::Error::other)?;
        let segment = self.publish_end(serial, record, reason, bytes)?;
        self.learn(&segment);
        Ok(segment)
    }

    /// Writes the file of a span's end, in the place of one with this serial; `bytes`: its content, as encoded.
    pub(super) fn publish_end(
        &self,
        serial: Serial,
        record: &Record,
        reason: SpanEnd,
        bytes: Vec<u8>,
    ) -> io::Result<Segment> {
        let name = SpoolName { serial, kind: SpoolKind::End };
        let bytes = crypt::seal_small(&self.setup.encryption, bytes)?;
        publish(&*self.fs, &self.setup.dir(), &name.to_string(), &bytes)?;
        Ok(Segment {
            serial,
            content: Content::End { reason },
            record: record.clone(),
            bytes: bytes.len() as u64,
        })
    }

    /// Remembers a file that was abandoned, for the next repair.
    pub(super) fn abandon(&mut self, serial: Serial, durable: u64) {
        self.abandoned.insert(serial, durable);
    }

    pub(super) fn owe_end(&mut self, span: &str, reason: SpanEnd) {
        self.reasons.insert(span.to_owned(), reason);
    }

    pub(super) fn learn(&mut self, segment: &Segment) {
        self.doubted.remove(&segment.serial);
        self.holdings.insert(segment);
    }

    /// Whether a file may be removed: see [`Holdings::may_go`].
    pub(super) fn may_forget(&self, serial: Serial, growing: Option<&str>) -> bool {
        self.holdings.may_go(serial, growing, self.is_scanned())
    }

    /// Removes a file. The removal is durable once [`Store::sync`] has succeeded.
    pub(super) fn remove(&mut self, serial: Serial) -> io::Result<()> {
        let Some(kind) = self.holdings.kind_of(serial) else { return Ok(()) };
        match self.fs.unlink(&self.path(SpoolName { serial, kind })) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.holdings.remove(serial);
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.fs.sync_dir(&self.setup.dir())
    }

    /// A sealed file was found damaged. It is unknown from now on; [`Store::settle`] recovers what it can.
    pub(super) fn doubt(&mut self, serial: Serial) -> bool {
        let known = self.holdings.kind_of(serial) == Some(SpoolKind::Sealed);
        if known {
            self.holdings.remove(serial);
            self.doubted.insert(serial);
        }
        known
    }

    /// Whether the file of a doubted segment is missing: then there is nothing to recover.
    pub(super) fn is_gone(&mut self, serial: Serial) -> bool {
        let path = self.path(SpoolName { serial, kind: SpoolKind::Sealed });
        let gone = self.fs.stat(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if gone {
            self.doubted.remove(&serial);
        }
        gone
    }

    /// Whether a file waits for its repair.
    pub(super) fn has_skipped(&self) -> bool {
        !self.skipped.is_empty()
    }

    /// The file system that is at the place of the spool now.
    pub(super) fn place(&self) -> io::Result<place::Found> {
        self.place.look(&*self.fs, &self.setup.dir())
    }

    /// Nothing new is written if another file system is there.
    pub(super) fn is_there(&self) -> io::Result<()> {
        self.place.is_there(&*self.fs, &self.setup.dir())
    }

    /// Writes a small file and removes it again.
    pub(super) fn probe(&self) -> io::Result<()> {
        let dir = self.setup.dir();
        self.is_there()?;
        disk::make_dir(&*self.fs, &dir)?;
        publish(&*self.fs, &dir, "probe.tmp", b"probe\n")?;
        self.fs.unlink(&dir.join("probe.tmp"))
    }

    /// A name that is not a name of the spool.
    pub(super) fn put_away(&mut self, name: &OsString, out: &mut Vec<Input>) {
        let path = self.setup.dir().join(name);
        match name.to_str() {
            // Every ext file system has the second one in its root directory.
            Some(quarantine::DIRECTORY | "lost+found") => {}
            Some(text) if is_unfinished(text) => {
                if let Err(error) = self.fs.unlink(&path) {
                    self.set_aside(name, Aside::Name);
                    tell(out, printable(name), format!("a temporary file that cannot be removed: {error}"));
                }
            }
            Some(text) => match aside::number(text) {
                // An unknown kind of file: its number is used.
                Some(serial) => {
                    self.serials.seen(serial);
                    self.set_aside(name, Aside::Format);
                }
                None => self.set_aside(name, Aside::Name),
            },
            None => self.set_aside(name, Aside::Name),
        }
    }

    pub(super) fn set_aside(&mut self, name: &OsString, why: Aside) {
        let meta = self.fs.stat(&self.setup.dir().join(name));
        // The size of a directory says nothing of its content, and a link has none.
        let bytes = meta.map_or(0, |meta| if meta.kind == disk::FileKind::File { meta.len } else { 0 });
        self.aside.insert(name.clone(), why, bytes);
    }

    /// Removes the oldest file of the quarantine or, if that is empty, the oldest that is set aside, to make
    /// room.
    pub(super) fn evict_aside(&mut self) -> io::Result<Option<AsideFile>> {
        let dir = self.setup.dir();
        if let Some((name, bytes)) = self.quarantine.remove_oldest() {
            self.fs.sync_dir(&dir.join(quarantine::DIRECTORY))?;
            return Ok(Some(AsideFile { name, why: None, bytes }));
        }
        let Some((name, why, bytes)) = self.aside.remove_oldest(&*self.fs, &dir) else { return Ok(None) };
        self.fs.sync_dir(&dir)?;
        Ok(Some(AsideFile { name: printable(&name), why: Some(why), bytes }))
    }

    pub(super) fn quarantine(&mut self, name: SpoolName, why: &str, out: &mut Vec<Input>) {
        let text = name.to_string();
        self.quarantine_path(&self.path(name), &OsString::from(&text), why, out);
        self.abandoned.remove(&name.serial);
        self.doubted.remove(&name.serial);
    }

    fn quarantine_path(&mut self, path: &std::path::Path, name: &OsString, why: &str, out: &mut Vec<Input>) {
        let name = printable(name);
        match self.quarantine.take(path) {
            Ok(0) => tell(out, name, why.to_owned()),
            Ok(thrown) => {
                tell(out, name, format!("{why}; {thrown} of the oldest in quarantine were thrown away"))
            }
            Err(error) => tell(out, name, format!("{why}; left in place: {error}")),
        }
    }

    /// If something else has the name of the quarantine, it gets another name.
    pub(super) fn make_way_for_quarantine(&self) -> io::Result<()> {
        let path = self.setup.dir().join(quarantine::DIRECTORY);
        match self.fs.stat(&path) {
            Ok(meta) if meta.kind != disk::FileKind::Directory => {
                self.fs.rename_new(&path, &path.with_extension("foreign"))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    pub(super) fn path(&self, name: SpoolName) -> PathBuf {
        self.setup.dir().join(name.to_string())
    }
}

/// Whether a name is that of a file of the spool whose publishing was interrupted.
fn is_unfinished(name: &str) -> bool {
    is_temporary(name)
        && name.strip_suffix(".tmp").is_some_and(|name| name == "probe" || aside::number(name).is_some())
}
