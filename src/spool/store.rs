//! The files of the spool: what is known of them, and the repair of what is not.

use super::aside::{self, SetAside};
use super::crypt;
use super::glance;
use super::growing::Growing;
use super::order::{LISTED, Scan};
use super::quarantine::{self, Quarantine, printable};
use super::scan;
use super::serials::{MAX_SEEN, Serials};
use super::{Setup, end, tell};
use crate::disk::place::{self, Place};
use crate::disk::{self, Facts, Fs, is_temporary, publish};
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
    known: BTreeMap<Serial, Known>,
    spans: BTreeMap<Arc<str>, Span>,
    bytes: u64,
    /// Files that a failure left behind, and how many of their bytes are known to be on flash.
    pub abandoned: BTreeMap<Serial, u64>,
    /// Sealed files that were found damaged: they are looked at whole.
    pub doubted: BTreeSet<Serial>,
    /// Files that could not be read, or not put right, and were told of: each is tried again whenever order is
    /// restored, and hinders nothing else.
    pub skipped: BTreeSet<Serial>,
    /// Why spans ended whose end could not be written yet.
    reasons: BTreeMap<String, SpanEnd>,
}

/// The span that is under way, and the file that grows.
#[derive(Clone, Copy)]
pub(super) struct Live<'a> {
    pub span: &'a str,
    pub serial: Serial,
}

struct Known {
    kind: SpoolKind,
    bytes: u64,
    span: Arc<str>,
}

#[derive(Default)]
struct Span {
    footage: BTreeSet<Serial>,
    end: Option<Serial>,
    /// Of what was known of it, the earliest: its counter and start.
    earliest: Option<(u64, u64)>,
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
        // Whoever made the state directory may not have come to sync its name.
        match disk::sync_parent(&*fs, &setup.state_dir) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => {
                return Err(context("syncing the parent of the state directory of")(error));
            }
            Ok(()) | Err(_) => {}
        }
        // Only where the fact is lost: a start does not wait for a directory of thousands to be read.
        let highest = || {
            let names = fs.list(&dir, LISTED).map_err(context("reading the spool directory"))?;
            let numbers = names.iter().filter_map(|name| aside::number(name.to_str()?));
            Ok(numbers.filter(|serial| *serial <= MAX_SEEN).max())
        };
        let serials = Serials::new(Facts::new(Arc::clone(&fs), &setup.state_dir), highest, system)?;
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
            known: BTreeMap::new(),
            spans: BTreeMap::new(),
            bytes: 0,
            abandoned: BTreeMap::new(),
            doubted: BTreeSet::new(),
            skipped: BTreeSet::new(),
            reasons: BTreeMap::new(),
        })
    }

    /// Files that are known.
    pub(super) fn known(&self) -> usize {
        self.known.len()
    }

    pub(super) fn usage(&self, growing: u64) -> Usage {
        let set_aside = self.aside.figures();
        let bytes = [self.quarantine.bytes(), set_aside.bytes, growing];
        let files = [set_aside.files, u64::from(growing > 0)];
        Usage {
            bytes: bytes.into_iter().fold(self.bytes, u64::saturating_add),
            files: files.into_iter().fold(self.known.len() as u64, u64::saturating_add),
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

    /// Gives footage a number of its own, and takes it up like any other.
    fn renumber(&mut self, name: SpoolName, out: &mut Vec<Input>) -> io::Result<Option<Segment>> {
        let new = SpoolName { serial: self.serials.next()?, ..name };
        self.fs.rename_new(&self.path(name), &self.path(new))?;
        self.fs.sync_dir(&self.setup.dir())?;
        tell(out, name.to_string(), format!("another file has its number: it is {new} from now on"));
        let (bytes, read) = self.look(new)?;
        match recovery::plan(&[Found { name: new, bytes, read }], &self.setup.device).pop() {
            Some(repair @ (Repair::Keep(_) | Repair::Seal { .. })) => self.repair(repair, out),
            // It has been read before: only the disk can have changed its mind.
            Some(_) | None => Ok(None),
        }
    }

    pub(super) fn seal(&mut self, name: SpoolName, footage: Footage, whole: Whole) -> io::Result<Segment> {
        let dir = self.setup.dir();
        let open = self.path(SpoolName { kind: SpoolKind::Open, ..name });
        let sealed = self.path(SpoolName { kind: SpoolKind::Sealed, ..name });
        if name.kind == SpoolKind::Sealed {
            self.fs.rename_new(&sealed, &open)?;
            // Else a cut might leave what is changed from here on under the name of what is whole.
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
            // It was written by another process: whether it came to sync it, nobody knows.
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
        // A file that could not be read may be the last of the span before it, or its end.
        let before = |serial: Serial| {
            let mut earlier = self.known.range(..serial).rev();
            earlier.find(|(_, known)| known.kind != SpoolKind::End).map(|(_, known)| Arc::clone(&known.span))
        };
        let unread = self.skipped.iter().copied().chain(self.aside.unread());
        let uncertain: BTreeSet<Arc<str>> = unread.filter_map(before).collect();
        let lacking: Vec<(Arc<str>, Serial)> = self
            .spans
            .iter()
            .filter(|(name, span)| span.end.is_none() && !goes_on(name) && !uncertain.contains(*name))
            .filter_map(|(name, span)| Some((Arc::clone(name), *span.footage.last()?)))
            .collect();
        for (span, newest) in lacking {
            // One that cannot be read any more waits for another time.
            let looked = self.look(SpoolName { serial: newest, kind: SpoolKind::Sealed });
            let Ok((_, Read::Footage(Footage { record, whole: Some(whole), .. }))) = looked else { continue };
            let reason = self.reasons.get(&*span).copied().unwrap_or(SpanEnd::Power);
            let members = self.members(newest);
            segments.push(self.write_end(&recovery::end_of(&record, whole.duration), reason, members)?);
        }
        self.reasons.retain(|span, _| uncertain.contains(span.as_str()));
        Ok(())
    }

    /// What the record of a segment has, members that we do not know included; nothing where it cannot be read.
    fn members(&self, serial: Serial) -> Map<String, Value> {
        let path = self.path(SpoolName { serial, kind: SpoolKind::Sealed });
        glance::members(&*self.fs, &path, &self.setup.encryption).unwrap_or_default()
    }

    /// Writes the end of a span, with members that a later release put into the records of its segments. Where that
    /// fails, a later [`Store::settle`] does it.
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
        let name = SpoolName { serial, kind: SpoolKind::End };
        let bytes = end::encode_behind(members, record, reason).map_err(io::Error::other)?;
        let bytes = crypt::seal_small(&self.setup.encryption, bytes)?;
        publish(&*self.fs, &self.setup.dir(), &name.to_string(), &bytes)?;
        let segment = Segment {
            serial,
            content: Content::End { reason },
            record: record.clone(),
            bytes: bytes.len() as u64,
        };
        self.learn(&segment);
        Ok(segment)
    }

    /// A file was abandoned, or a span could not be ended: what is to be known when order is restored.
    pub(super) fn abandon(&mut self, serial: Serial, durable: u64) {
        self.abandoned.insert(serial, durable);
    }

    pub(super) fn owe_end(&mut self, span: &str, reason: SpanEnd) {
        self.reasons.insert(span.to_owned(), reason);
    }

    pub(super) fn learn(&mut self, segment: &Segment) {
        self.doubted.remove(&segment.serial);
        let kind = if segment.is_end() { SpoolKind::End } else { SpoolKind::Sealed };
        let name: Arc<str> = match self.spans.get_key_value(segment.record.span.as_str()) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(segment.record.span.as_str()),
        };
        let span = self.spans.entry(Arc::clone(&name)).or_default();
        match kind {
            SpoolKind::End => span.end = Some(segment.serial),
            SpoolKind::Open | SpoolKind::Sealed => {
                span.footage.insert(segment.serial);
            }
        }
        let this = (segment.record.n, segment.record.start_mono);
        if span.earliest.is_none_or(|(n, _)| this.0 < n) {
            span.earliest = Some(this);
        }
        self.bytes = self.bytes.saturating_add(segment.bytes);
        self.known.insert(segment.serial, Known { kind, bytes: segment.bytes, span: name });
    }

    pub(super) fn unlearn(&mut self, serial: Serial) {
        let Some(known) = self.known.remove(&serial) else { return };
        self.bytes = self.bytes.saturating_sub(known.bytes);
        let Some(span) = self.spans.get_mut(&known.span) else { return };
        match known.kind {
            SpoolKind::End => span.end = None,
            SpoolKind::Open | SpoolKind::Sealed => {
                span.footage.remove(&serial);
            }
        }
        if span.footage.is_empty() && span.end.is_none() {
            self.spans.remove(&known.span);
        }
    }

    /// How long a segment is, where the next of its span, or its end, is known: that begins where it ends.
    pub(super) fn until_next(&self, record: &Record) -> Option<u64> {
        let (n, start) = self.spans.get(record.span.as_str())?.earliest?;
        (record.n.checked_add(1) == Some(n)).then(|| start.checked_sub(record.start_mono))?
    }

    pub(super) fn kind_of(&self, serial: Serial) -> Option<SpoolKind> {
        self.known.get(&serial).map(|known| known.kind)
    }

    /// Whether this file is one of ours, whole and known.
    pub(super) fn holds(&self, name: SpoolName) -> bool {
        self.known.get(&name.serial).is_some_and(|known| known.kind == name.kind)
    }

    /// Whether a file may go. The newest segment of a span stays until its successor (`growing`: the
    /// span of a file under way with something durable in it) or the span's end is durable, else a
    /// cut in between would leave nothing to tell where the span ended; and an end stays as long as
    /// any segment of its span, else a start would miss it and write another.
    pub(super) fn may_forget(&self, serial: Serial, growing: Option<&str>) -> bool {
        let Some(known) = self.known.get(&serial) else { return true };
        let Some(span) = self.spans.get(&known.span) else { return true };
        match known.kind {
            // As long as not all are known, there may be more.
            SpoolKind::End => self.is_scanned() && span.footage.is_empty(),
            SpoolKind::Open | SpoolKind::Sealed => {
                span.end.is_some() || span.footage.last() != Some(&serial) || growing == Some(&*known.span)
            }
        }
    }

    /// Removes a file. The name is gone for good once [`Store::sync`] has succeeded.
    pub(super) fn remove(&mut self, serial: Serial) -> io::Result<()> {
        let Some(known) = self.known.get(&serial) else { return Ok(()) };
        match self.fs.unlink(&self.path(SpoolName { serial, kind: known.kind })) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        self.unlearn(serial);
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.fs.sync_dir(&self.setup.dir())
    }

    /// A sealed file was found damaged. It is unknown from here on; [`Store::settle`] salvages it.
    pub(super) fn doubt(&mut self, serial: Serial) -> bool {
        let known = self.known.get(&serial).is_some_and(|known| known.kind == SpoolKind::Sealed);
        if known {
            self.unlearn(serial);
            self.doubted.insert(serial);
        }
        known
    }

    /// Whether the file of a doubted segment is not there: then nothing is left to doubt.
    pub(super) fn is_gone(&mut self, serial: Serial) -> bool {
        let path = self.path(SpoolName { serial, kind: SpoolKind::Sealed });
        let gone = self.fs.stat(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if gone {
            self.doubted.remove(&serial);
        }
        gone
    }

    /// Whether something waits to be put right.
    pub(super) fn has_skipped(&self) -> bool {
        !self.skipped.is_empty()
    }

    /// What stands where the spool was.
    pub(super) fn place(&self) -> io::Result<place::Found> {
        self.place.look(&*self.fs, &self.setup.dir())
    }

    /// Nothing new is written where the file system is not the one that it was.
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

    /// A name that is none of ours.
    pub(super) fn put_away(&mut self, name: &OsString, out: &mut Vec<Input>) {
        let path = self.setup.dir().join(name);
        match name.to_str() {
            // Every ext file system has the second one at its root.
            Some(quarantine::DIRECTORY | "lost+found") => {}
            Some(text) if is_unfinished(text) => {
                if let Err(error) = self.fs.unlink(&path) {
                    self.set_aside(name, Aside::Name);
                    tell(out, printable(name), format!("a temporary file that cannot be removed: {error}"));
                }
            }
            Some(text) => match aside::number(text) {
                // A kind of file that we do not know: its number is taken.
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
        // A directory's size says nothing of what is in it, and a link has none of its own.
        let bytes = meta.map_or(0, |meta| if meta.kind == disk::Kind::File { meta.len } else { 0 });
        self.aside.insert(name.clone(), why, bytes);
    }

    /// Removes the oldest file of the quarantine, or else of those set aside, for want of room.
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

    /// Something else may stand where the quarantine belongs: it becomes a foreign name.
    pub(super) fn make_way_for_quarantine(&self) -> io::Result<()> {
        let path = self.setup.dir().join(quarantine::DIRECTORY);
        match self.fs.stat(&path) {
            Ok(meta) if meta.kind != disk::Kind::Directory => {
                self.fs.rename_new(&path, &path.with_extension("foreign"))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    pub(super) fn path(&self, name: SpoolName) -> PathBuf {
        self.setup.dir().join(name.to_string())
    }
}

/// Whether a name is that of a file of ours that was being published.
fn is_unfinished(name: &str) -> bool {
    is_temporary(name)
        && name.strip_suffix(".tmp").is_some_and(|name| name == "probe" || aside::number(name).is_some())
}
