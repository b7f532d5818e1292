//! The files of the spool: what is known of them, and the repair of what is not.

use super::aside::{self, SetAside};
use super::crypt;
use super::growing::Growing;
use super::quarantine::{self, Quarantine, printable};
use super::scan::{self, Belief};
use super::serials::{MAX_SEEN, Serials};
use super::{Setup, end, tell};
use crate::disk::{self, Facts, Fs, is_temporary, publish};
use crate::domain::aside::Aside;
use crate::domain::fragment::SpanEnd;
use crate::domain::input::{AsideFile, Input, Usage};
use crate::domain::recovery::{self, Footage, Found, Read, Repair, Whole};
use crate::domain::segment::{Content, Record, Segment, Serial, SpoolKind, SpoolName};
use crate::domain::segmenter::Durability;
use crate::domain::time::Utc;
use crate::fmp4;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Names in the spool directory that a start looks at.
const LISTED: usize = 1 << 20;

pub(super) struct Store {
    pub fs: Arc<dyn Fs>,
    pub setup: Setup,
    pub serials: Serials,
    quarantine: Quarantine,
    aside: SetAside,
    known: BTreeMap<Serial, Known>,
    spans: BTreeMap<Arc<str>, Span>,
    bytes: u64,
    /// Files that a failure left behind, and how many of their bytes are known to be on flash.
    abandoned: BTreeMap<Serial, u64>,
    /// Sealed files that were found damaged: they are looked at whole.
    doubted: BTreeSet<Serial>,
    /// Files that could not be read, or not put right, and were told of: each is tried again whenever order is
    /// restored, and hinders nothing else.
    skipped: BTreeSet<Serial>,
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
        let names = fs.list(&dir, LISTED).map_err(context("reading the spool directory"))?;
        let numbers = names.iter().filter_map(|name| aside::number(name.to_str()?));
        let highest = numbers.filter(|serial| *serial <= MAX_SEEN).max();
        let serials = Serials::new(Facts::new(Arc::clone(&fs), &setup.state_dir), highest, system);
        let quarantine = Quarantine::open(Arc::clone(&fs), &dir, setup.quarantine);
        Ok(Store {
            fs,
            setup,
            serials,
            quarantine,
            aside: SetAside::default(),
            known: BTreeMap::new(),
            spans: BTreeMap::new(),
            bytes: 0,
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
            bytes: bytes.into_iter().fold(self.bytes, u64::saturating_add),
            files: files.into_iter().fold(self.known.len() as u64, u64::saturating_add),
            free: self.fs.free(&self.setup.dir()).ok(),
            quarantined: self.quarantine.files(),
            set_aside,
        }
    }

    /// Restores order among the files that nothing is known of: all of them at a start, and after a
    /// failure those that it left behind. `live` is what is under way, and is let alone.
    ///
    /// 1. The directory is synced, so that every name seen from here on is durable.
    /// 2. Temporary files of a publish are removed: they were never acknowledged. Names that are not
    ///    ours are set aside. What has a name of ours and is no file goes into the quarantine; links are moved, not
    ///    followed.
    /// 3. Each of ours is read. What the disk refuses to read is left where it is, for another time. What another
    ///    device, a later release or another key wrote is set aside: left where it is until the next start.
    /// 4. Each is repaired as [`recovery::plan`] says. An unsealed file is cut back to its last whole
    ///    fragment, given its `mfra`, synced, renamed to `.mp4`, and the directory synced. A sealed one
    ///    that is damaged first becomes `.open` again, and then goes the same way.
    /// 5. Every span whose end is missing gets one.
    ///
    /// Interrupted anywhere, it finds the same work or less when it is called again. Returns what came
    /// to be known, and the first failure; the rest was done all the same, where it could be.
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
        let dir = self.setup.dir();
        self.fs.sync_dir(&dir)?;
        self.make_way_for_quarantine()?;
        let mut found = Vec::new();
        let mut skipped = BTreeSet::new();
        for name in self.fs.list(&dir, LISTED)? {
            if self.aside.contains(&name) {
                continue;
            }
            let ours = name.to_str().and_then(SpoolName::parse);
            let Some(ours) = ours else {
                self.put_away(&name, out);
                continue;
            };
            match self.known.get(&ours.serial) {
                Some(known) if known.kind == ours.kind => continue,
                Some(_) => {
                    self.set_aside(&name, Aside::Name);
                    continue;
                }
                None if live.is_some_and(|live| live.serial == ours.serial) => continue,
                None => self.serials.seen(ours.serial),
            }
            if self.fs.stat(&dir.join(ours.to_string())).is_ok_and(|meta| meta.kind != disk::Kind::File) {
                self.quarantine(ours, "not a regular file", out);
                continue;
            }
            match self.look(ours) {
                Ok((bytes, read)) => found.push(Found { name: ours, bytes, read }),
                Err(error) => {
                    skipped.insert(ours.serial);
                    if !self.skipped.contains(&ours.serial) {
                        tell(out, ours.to_string(), format!("left in place, it cannot be read: {error}"));
                    }
                }
            }
        }
        for repair in recovery::plan(&found, &self.setup.device) {
            let name = match &repair {
                Repair::Keep(_) | Repair::SetAside { .. } => None,
                Repair::Remove { name }
                | Repair::Seal { name, .. }
                | Repair::Renumber { name }
                | Repair::Quarantine { name, .. } => Some(*name),
            };
            match (self.repair(repair, out), name) {
                (Ok(Some(segment)), _) => segments.push(segment),
                (Ok(None), _) => {}
                (Err(error), None) => return Err(error),
                (Err(error), Some(name)) => {
                    skipped.insert(name.serial);
                    if !self.skipped.contains(&name.serial) {
                        tell(
                            out,
                            name.to_string(),
                            format!("left in place, it cannot be put right: {error}"),
                        );
                    }
                }
            }
        }
        self.aside.tell(out);
        // One file that cannot be put right says nothing of the disk: that is for the probe to find out.
        let health = if skipped.is_empty() { Ok(()) } else { self.probe() };
        self.skipped = skipped;
        health?;
        self.write_missing_ends(live, segments)
    }

    fn look(&self, name: SpoolName) -> io::Result<(u64, Read)> {
        let belief = Belief {
            boot: &self.setup.boot,
            keep_partial: self.setup.keep_partial_gop,
            durable: self.abandoned.get(&name.serial).copied().unwrap_or(u64::MAX),
            doubted: self.doubted.contains(&name.serial),
            genuine: false,
            late_sync: self.setup.durability == Durability::Segment,
        };
        scan::look(&*self.fs, &self.setup.dir(), name, belief, &self.setup.encryption)
    }

    fn repair(&mut self, repair: Repair, out: &mut Vec<Input>) -> io::Result<Option<Segment>> {
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
        let content =
            Content::Footage { duration: whole.duration, frames: whole.frames, codecs: footage.codecs };
        Ok(Segment { serial: name.serial, content, record: footage.record, bytes })
    }

    fn write_missing_ends(&mut self, live: Option<Live<'_>>, segments: &mut Vec<Segment>) -> io::Result<()> {
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
            segments.push(self.write_end(&recovery::end_of(&record, whole.duration), reason)?);
        }
        self.reasons.retain(|span, _| uncertain.contains(span.as_str()));
        Ok(())
    }

    /// Writes the end of a span. Where that fails, a later [`Store::settle`] does it.
    pub(super) fn write_end(&mut self, record: &Record, reason: SpanEnd) -> io::Result<Segment> {
        let written = self.try_write_end(record, reason);
        if written.is_err() {
            self.reasons.insert(record.span.clone(), reason);
        }
        written
    }

    fn try_write_end(&mut self, record: &Record, reason: SpanEnd) -> io::Result<Segment> {
        let serial = self.serials.next()?;
        let name = SpoolName { serial, kind: SpoolKind::End };
        let bytes = end::encode(record, reason).map_err(io::Error::other)?;
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
            SpoolKind::End => span.footage.is_empty(),
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

    /// Whether something waits to be put right.
    pub(super) fn has_skipped(&self) -> bool {
        !self.skipped.is_empty()
    }

    /// Writes a small file and removes it again.
    pub(super) fn probe(&self) -> io::Result<()> {
        let dir = self.setup.dir();
        disk::make_dir(&*self.fs, &dir)?;
        publish(&*self.fs, &dir, "probe.tmp", b"probe\n")?;
        self.fs.unlink(&dir.join("probe.tmp"))
    }

    /// A name that is none of ours.
    fn put_away(&mut self, name: &OsString, out: &mut Vec<Input>) {
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

    fn set_aside(&mut self, name: &OsString, why: Aside) {
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

    fn quarantine(&mut self, name: SpoolName, why: &str, out: &mut Vec<Input>) {
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
    fn make_way_for_quarantine(&self) -> io::Result<()> {
        let path = self.setup.dir().join(quarantine::DIRECTORY);
        match self.fs.stat(&path) {
            Ok(meta) if meta.kind != disk::Kind::Directory => {
                self.fs.rename_new(&path, &path.with_extension("foreign"))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn path(&self, name: SpoolName) -> PathBuf {
        self.setup.dir().join(name.to_string())
    }
}

/// Whether a name is that of a file of ours that was being published.
fn is_unfinished(name: &str) -> bool {
    is_temporary(name)
        && name.strip_suffix(".tmp").is_some_and(|name| name == "probe" || aside::number(name).is_some())
}
