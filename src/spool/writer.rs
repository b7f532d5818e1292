//! One segment file while it grows.

use super::crypt::Encryption;
use super::growing::{Growing, Held};
use super::scan::{self, PRFT};
use super::setup::Setup;
use crate::disk::Fs;
use crate::domain::fragment::{Chunk, Init};
use crate::domain::recovery::Whole;
use crate::domain::segment::{Content, Record, Segment, Serial, SpoolKind, SpoolName};
use crate::domain::segmenter::Durability;
use crate::domain::time::{Mono, Utc};
use crate::fmp4::{self, ChunkInfo, MoofEntry, Origin};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// More bytes of an open fragment than this are written to the file before the fragment is complete.
const HELD: u64 = 8 * 1024 * 1024;

/// A segment file that grows as `docs/spool.md` describes.
pub(super) struct Writer {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    durability: Durability,
    encryption: Encryption,
    pub serial: Serial,
    pub record: Record,
    init: Arc<Init>,
    /// `Utc = Mono + offset`.
    offset: i64,
    /// Where the media times of the file begin, once its first chunk is there.
    origin: Option<Origin>,
    file: Option<Growing>,
    /// The name of the file is durable.
    named: bool,
    /// Bytes of the segment in the file.
    written: u64,
    /// Entries of the complete fragments, then of the open one.
    moofs: Vec<MoofEntry>,
    /// The complete fragments, and those of them that a sync has covered.
    complete: Extent,
    durable: Extent,
    /// The open fragment.
    open: Fragment,
    /// Frames that are synced, but whose file name is not known to be durable.
    unnamed: u32,
}

/// The front of the file, up to the end of a whole fragment.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    bytes: u64,
    moofs: usize,
    frames: u32,
    end: Mono,
}

#[derive(Default)]
struct Fragment {
    /// Not yet in the file.
    held: Vec<Held>,
    held_bytes: u64,
    frames: u32,
    end: Mono,
    /// Offset and content of the last `prft` in the file.
    last_prft: Option<(u64, Vec<u8>)>,
}

/// What became durable since the sync before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NewlyDurable {
    pub frames: u32,
    pub bytes: u64,
}

/// The result of closing a file.
pub(super) enum Sealed {
    /// A segment, and what its last sync made durable.
    Segment(Segment, NewlyDurable),
    /// It had no complete fragment, and is removed.
    Nothing,
}

impl Writer {
    pub(super) fn new(
        fs: Arc<dyn Fs>,
        setup: &Setup,
        serial: Serial,
        record: Record,
        init: Arc<Init>,
        offset: i64,
        start: Mono,
    ) -> Writer {
        let from = Extent { end: start, ..Extent::default() };
        Writer {
            fs,
            dir: setup.dir(),
            durability: setup.durability,
            encryption: setup.encryption.clone(),
            serial,
            record,
            init,
            offset,
            origin: None,
            file: None,
            named: false,
            written: 0,
            moofs: Vec::new(),
            complete: from,
            durable: from,
            open: Fragment { end: start, ..Fragment::default() },
            unnamed: 0,
        }
    }

    /// Frames of the open fragment.
    pub(super) fn open_frames(&self) -> u32 {
        self.open.frames
    }

    /// Frames that no sync has covered, including the open fragment.
    pub(super) fn frames_at_risk(&self) -> u32 {
        let complete = self.complete.frames.saturating_sub(self.durable.frames);
        self.open.frames.saturating_add(complete).saturating_add(self.unnamed)
    }

    /// Whether part of the file is durable, so that a start after a power cut would find it.
    pub(super) fn has_durable(&self) -> bool {
        self.durable.moofs > 0
    }

    /// Bytes of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.file.as_ref().map_or(0, Growing::on_flash)
    }

    /// Takes a chunk into the open fragment. With durability `chunk` it is on flash afterwards; otherwise it
    /// is kept in memory up to a limit.
    pub(super) fn append(&mut self, chunk: &Chunk, info: &ChunkInfo) -> io::Result<()> {
        let mut info = info.clone();
        let origin = *self.origin.get_or_insert_with(|| Origin::of(&self.init, &info));
        let move_times = |moof: &mut [u8]| fmp4::rebase(&self.init, moof, &mut info, origin);
        let mut held = Held::new(Vec::new(), &chunk.bytes, move_times).map_err(io::Error::other)?;
        self.open.frames = self.open.frames.saturating_add(chunk.frames);
        let video = self.init.video.id;
        let media_time =
            info.runs.iter().find(|run| run.track == video).map_or(0, |run| run.earliest_presentation);
        let utc = Utc(i64::try_from(chunk.start.0).unwrap_or(i64::MAX).saturating_add(self.offset));
        let mut prft = fmp4::prft_box(video, utc, u64::try_from(media_time).unwrap_or(0));
        if prft.len() as u64 != PRFT {
            return Err(io::Error::other("a prft of unexpected length"));
        }
        scan::mark(&mut prft, chunk.ends_fragment);
        let header = if self.written == 0 { self.header().len() as u64 } else { 0 };
        let at = self.written.saturating_add(header).saturating_add(self.open.held_bytes);
        self.moofs.push(fmp4::entry(&info, video, at.saturating_add(PRFT)));
        held.prft = prft;
        self.open.held_bytes = self.open.held_bytes.saturating_add(held.len());
        self.open.held.push(held);
        self.open.end = chunk.start + Duration::from_nanos(chunk.duration);
        match self.durability {
            Durability::Chunk => {
                self.write_held()?;
                self.sync()
            }
            Durability::Fragment | Durability::Segment if self.open.held_bytes > HELD => self.write_held(),
            Durability::Fragment | Durability::Segment => Ok(()),
        }
    }

    /// The commit point: the open fragment is complete. Returns what became durable, if anything did.
    ///
    /// 1. The `prft` of the last chunk is marked, so that a reader of the file knows that the fragment is
    ///    whole.
    /// 2. The chunks in memory are written.
    /// 3. The file is synced, and the first time the directory too. With durability `segment` both wait for
    ///    the seal.
    pub(super) fn complete(&mut self) -> io::Result<Option<NewlyDurable>> {
        if let Some(last) = self.open.held.last_mut() {
            scan::mark(&mut last.prft, true);
        } else if let (Some((at, prft)), Some(file)) = (&mut self.open.last_prft, &mut self.file) {
            let before = prft.clone();
            scan::mark(prft, true);
            if *prft != before {
                file.patch(*at, prft)?;
                if self.durability == Durability::Chunk {
                    file.sync()?;
                }
            }
        }
        let synced_as_it_came = self.durability == Durability::Chunk && self.open.held.is_empty();
        self.write_held()?;
        self.complete = Extent {
            bytes: self.written,
            moofs: self.moofs.len(),
            frames: self.complete.frames.saturating_add(self.open.frames),
            end: self.open.end,
        };
        self.open = Fragment { end: self.complete.end, ..Fragment::default() };
        match self.durability {
            Durability::Segment => Ok(None),
            Durability::Chunk if synced_as_it_came => Ok(Some(self.covered())),
            Durability::Chunk | Durability::Fragment => {
                self.sync()?;
                Ok(Some(self.covered()))
            }
        }
    }

    /// Drops the open fragment, from memory and from flash.
    pub(super) fn discard(&mut self) -> io::Result<()> {
        self.open = Fragment { end: self.complete.end, ..Fragment::default() };
        self.moofs.truncate(self.complete.moofs);
        let Some(file) = &mut self.file else { return Ok(()) };
        if self.written > self.complete.bytes {
            self.written = self.complete.bytes;
            file.cut_back(self.complete.bytes)?;
            file.sync()?;
        }
        Ok(())
    }

    /// Closes the file. The open fragment must have been completed or dropped.
    ///
    /// 1. The `mfra` is written, and the file synced: it is complete under its old name.
    /// 2. It is renamed to `.mp4`, and the directory synced.
    ///
    /// What a start finds after a power cut: before 1 is durable, an `.open` that is cut back and sealed;
    /// before 2 is durable, a complete `.open` that is sealed as it is, or the `.mp4`.
    pub(super) fn seal(&mut self) -> io::Result<Sealed> {
        let open = self.path(SpoolKind::Open);
        let Some(file) = &mut self.file else { return Ok(Sealed::Nothing) };
        if self.complete.moofs == 0 {
            self.fs.unlink(&open)?;
            self.fs.sync_dir(&self.dir)?;
            self.file = None;
            return Ok(Sealed::Nothing);
        }
        let mfra = fmp4::mfra_box(self.moofs.get(..self.complete.moofs).unwrap_or_default());
        file.append_last(&[&mfra])?;
        file.sync()?;
        let on_flash = file.on_flash();
        self.written = self.complete.bytes.saturating_add(mfra.len() as u64);
        let durable = self.covered();
        self.durable.bytes = self.written;
        self.unnamed = durable.frames;
        self.fs.rename_new(&open, &self.path(SpoolKind::Sealed))?;
        self.fs.sync_dir(&self.dir)?;
        self.unnamed = 0;
        let whole = self.whole();
        Ok(Sealed::Segment(
            Segment {
                serial: self.serial,
                content: Content::Footage { duration: whole.duration, codecs: self.init.codecs.clone() },
                record: self.record.clone(),
                bytes: on_flash,
            },
            durable,
        ))
    }

    /// Abandons the file after a failure, and returns how many bytes of the segment are known to be on flash.
    ///
    /// What the failed call touched is not trusted, and not retried: the page cache may show bytes as clean
    /// that never reached the flash. What earlier syncs covered stays. The file is cut back to that, in case
    /// this process ends before it can seal it, and left as `.open`.
    pub(super) fn abandon(mut self) -> u64 {
        if let Some(file) = &mut self.file {
            let _ = file.cut_back(self.durable.bytes);
        }
        self.durable.bytes
    }

    fn whole(&self) -> Whole {
        let start = Mono(self.record.start_mono);
        let duration = u64::try_from(self.complete.end.since(start).as_nanos()).unwrap_or(u64::MAX);
        Whole { end: self.complete.bytes, duration }
    }

    fn covered(&mut self) -> NewlyDurable {
        let durable = NewlyDurable {
            frames: self.complete.frames.saturating_sub(self.durable.frames),
            bytes: self.complete.bytes.saturating_sub(self.durable.bytes),
        };
        self.durable = self.complete;
        durable
    }

    fn write_held(&mut self) -> io::Result<()> {
        if self.open.held.is_empty() {
            return Ok(());
        }
        if self.file.is_none() {
            let path = self.path(SpoolKind::Open);
            self.file = Some(Growing::create(Arc::clone(&self.fs), &path, &self.encryption)?);
        }
        let header = if self.written == 0 { self.header() } else { Vec::new() };
        let Some(file) = &mut self.file else { return Ok(()) };
        let held = std::mem::take(&mut self.open.held);
        file.append_chunks(&header, &held)?;
        let bytes = held.iter().map(Held::len).sum::<u64>();
        self.written = self.written.saturating_add(header.len() as u64).saturating_add(bytes);
        if let Some(last) = held.last() {
            self.open.last_prft = Some((self.written.saturating_sub(last.len()), last.prft.clone()));
        }
        self.open.held_bytes = 0;
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        file.sync()?;
        if !self.named {
            self.fs.sync_dir(&self.dir)?;
            self.named = true;
        }
        Ok(())
    }

    fn header(&self) -> Vec<u8> {
        let mut header = self.init.bytes.to_vec();
        header.extend_from_slice(&fmp4::record_box(&self.record));
        header
    }

    fn path(&self, kind: SpoolKind) -> PathBuf {
        self.dir.join(SpoolName { serial: self.serial, kind }.to_string())
    }
}
