//! What the spool does with captured chunks and with commands. No thread, no channel: each call does its work
//! and leaves its reports in [`Spool::take_reports`].

use super::command::Command;
use super::live::LiveEpoch;
use super::setup::{ClockReading, Setup};
use super::store::Store;
use super::writer::Writer;
use crate::disk::Fs;
use crate::domain::fragment::{Captured, Chunk, Epoch, Init, SpanEnd};
use crate::domain::input::Input;
use crate::domain::segment::{Record, Segment, Serial};
use crate::domain::segmenter::{ChunkFacts, Durability, Limits, Segmenter, Step};
use crate::domain::time::Mono;
use crate::fmp4::{self, ChunkInfo};
use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

/// A segment with more bytes is sealed at the next fragment.
const SEGMENT_BYTES: u64 = 48 * 1024 * 1024;
/// A segment of one long GOP is sealed before it has more bytes.
const MAX_SEGMENT: u64 = 80 * 1024 * 1024;
/// An open fragment with this many bytes is committed up to there.
const PART_BYTES: u64 = 8 * 1024 * 1024;

/// The spool, and the current span.
pub struct Spool {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) setup: Setup,
    pub(super) live: LiveEpoch,
    pub(super) clock: ClockReading,
    /// `None` if the directory could not be opened.
    pub(super) store: Option<Store>,
    pub(super) health: Health,
    pub(super) segmenter: Segmenter,
    pub(super) terms: (String, u32),
    pub(super) span: Option<OpenSpan>,
    pub(super) writer: Option<Writer>,
    /// The `moov` of the last chunk.
    pub(super) init: Option<Arc<Init>>,
    /// The last chunk.
    pub(super) last: Option<ChunkInfo>,
    /// When the devices were closed, while the end of their run is processed.
    pub(super) closed: Option<Mono>,
    /// Chunks of this epoch and of earlier ones are refused.
    pub(super) revoked: Epoch,
    /// Unlinked, but the directory has not been synced since.
    pub(super) removed: Vec<Serial>,
    /// Files that are to be removed as soon as [`Store::may_forget`] allows it.
    pub(super) deferred: BTreeSet<Serial>,
    /// Those of `deferred` that could not be removed, which was reported: retried whenever something is
    /// removed.
    pub(super) unremovable: BTreeSet<Serial>,
    /// Found by the scan, and not reported yet.
    pub(super) found: Vec<Segment>,
    /// The scan failed: a probe continues it.
    pub(super) scan_fails: bool,
    /// Scan at once instead of between other work: see [`super::open`].
    pub(super) at_once: bool,
    pub(super) reports: Vec<Input>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    Well,
    /// A write failed. If `full`, the next fragment is tried; otherwise a probe is.
    Failed {
        full: bool,
    },
}

/// The current span.
pub(super) struct OpenSpan {
    pub(super) epoch: Epoch,
    pub(super) name: String,
    /// Its newest sealed segment, and the duration of that in nanoseconds.
    pub(super) last: Option<(Record, u64)>,
    /// Duration of its last frame, in nanoseconds.
    pub(super) frame: u64,
}

impl Spool {
    pub(super) fn start(
        fs: Arc<dyn Fs>,
        setup: Setup,
        live: LiveEpoch,
        clock: ClockReading,
    ) -> io::Result<Spool> {
        let mut spool = Spool::broken(fs, setup, live, clock);
        spool.open_store()?;
        Ok(spool)
    }

    pub(super) fn open(
        fs: Arc<dyn Fs>,
        setup: Setup,
        live: LiveEpoch,
        clock: ClockReading,
    ) -> io::Result<(Spool, Vec<Segment>)> {
        let mut spool = Spool::start(fs, setup, live, clock)?;
        spool.at_once = true;
        while spool.is_scanning() {
            // A failure is reported, and a probe retries it.
            let _ = spool.scan(usize::MAX);
        }
        let mut segments = Vec::new();
        spool.reports.retain_mut(|input| {
            let is_found = matches!(input, Input::Found(_));
            if let Input::Found(found) = input {
                segments.append(found);
            }
            !is_found
        });
        segments.sort_by_key(|segment| segment.serial);
        Ok((spool, segments))
    }

    /// A spool whose directory cannot be opened: captured chunks are dropped and counted until a
    /// [`Command::Probe`] can open it.
    #[must_use]
    pub fn broken(fs: Arc<dyn Fs>, setup: Setup, live: LiveEpoch, clock: ClockReading) -> Spool {
        let limits = Limits {
            segment: setup.segment,
            segment_bytes: SEGMENT_BYTES,
            part: setup.part,
            part_bytes: PART_BYTES,
            max_bytes: MAX_SEGMENT,
        };
        Spool {
            fs,
            live,
            clock,
            store: None,
            health: Health::Failed { full: false },
            segmenter: Segmenter::new(limits),
            terms: (String::new(), 0),
            span: None,
            writer: None,
            init: None,
            last: None,
            closed: None,
            revoked: Epoch(0),
            removed: Vec::new(),
            deferred: BTreeSet::new(),
            unremovable: BTreeSet::new(),
            found: Vec::new(),
            scan_fails: false,
            at_once: false,
            reports: Vec::new(),
            setup,
        }
    }

    pub(super) fn open_store(&mut self) -> io::Result<()> {
        let mut setup = self.setup.clone();
        setup.keep_partial_gop &= setup.durability == Durability::Chunk;
        self.store = Some(Store::open(Arc::clone(&self.fs), setup, (self.clock)().0.system)?);
        self.health = Health::Well;
        self.report_usage();
        Ok(())
    }

    /// The reports since the last call, in order.
    pub fn take_reports(&mut self) -> Vec<Input> {
        std::mem::take(&mut self.reports)
    }

    /// Takes a captured chunk, or the end of a capture run.
    pub fn take(&mut self, captured: Captured) {
        match captured {
            Captured::Chunk(chunk) => self.chunk(&chunk),
            Captured::End { epoch, reason, closed } => {
                self.closed = Some(closed);
                let steps = self.segmenter.end(epoch, reason);
                self.perform(&steps, None);
                self.closed = None;
                self.revoked = self.revoked.max(epoch);
            }
        }
    }

    /// Performs a command. [`Command::Drain`] and [`Command::Shutdown`] concern the queue: the thread answers
    /// them.
    pub fn obey(&mut self, command: Command) {
        match command {
            Command::Revoke { epoch, reason } => {
                self.revoked = self.revoked.max(epoch);
                let steps = self.segmenter.revoke(epoch, reason);
                self.perform(&steps, None);
            }
            Command::Forget { serial } => self.forget(&[serial]),
            Command::EvictAside => self.evict_aside(),
            Command::CutBack { serial, keep } => self.cut_back(serial, keep),
            Command::MoveEnd { serial, record, reason } => self.move_end(serial, &record, reason),
            Command::Probe => self.probe(),
            Command::SetTerms { plan, history_hours } => self.terms = (plan, history_hours),
            Command::Damaged { serial } => self.damaged(serial),
            Command::Drain { .. } | Command::Shutdown { .. } => {}
        }
    }

    /// Seals the open segment and ends the span.
    pub fn shut_down(&mut self) {
        let steps = self.segmenter.shut_down();
        self.perform(&steps, None);
    }

    fn chunk(&mut self, chunk: &Chunk) {
        self.reports.push(Input::Arrived { frames: chunk.frames });
        if !self.may_write(chunk.epoch) {
            self.dropped(chunk.epoch, chunk.frames);
            return;
        }
        if self.health == (Health::Failed { full: true }) && chunk.starts_fragment {
            let _ = self.settle();
        }
        if self.health != Health::Well {
            self.dropped(chunk.epoch, chunk.frames);
            return;
        }
        let info = match fmp4::read_chunk(&chunk.init, &chunk.bytes) {
            Ok(info) => info,
            Err(error) => {
                tracing::warn!(what = error.what, offset = error.offset, "malformed chunk from the source");
                self.dropped(chunk.epoch, chunk.frames);
                let steps = self.segmenter.end(chunk.epoch, SpanEnd::Source);
                self.perform(&steps, None);
                return;
            }
        };
        let same_format =
            self.init.as_ref().is_none_or(|init| Arc::ptr_eq(init, &chunk.init) || **init == *chunk.init);
        self.init = Some(Arc::clone(&chunk.init));
        let facts = ChunkFacts {
            epoch: chunk.epoch,
            same_format,
            follows: self.last.as_ref().is_none_or(|last| fmp4::follows(last, &info)),
            starts_fragment: chunk.starts_fragment,
            ends_fragment: chunk.ends_fragment,
            start: chunk.start,
            duration: chunk.duration,
            frames: chunk.frames,
            bytes: chunk.bytes.len() as u64,
        };
        let (now, clock) = (self.clock)();
        let steps = self.segmenter.chunk(&facts, now, clock);
        self.perform(&steps, Some((chunk, &info)));
        self.last = Some(info);
    }

    /// Performs the steps in order. If one fails, the spool has failed, and the rest are skipped; the chunk
    /// is then counted as dropped, unless the abandoned file counts it.
    fn perform(&mut self, steps: &[Step], chunk: Option<(&Chunk, &ChunkInfo)>) {
        let mut accounted = chunk.is_none();
        for step in steps {
            accounted |= matches!(step, Step::Append);
            if let Err(error) = self.step(*step, chunk) {
                let reason = steps.iter().find_map(|step| match step {
                    Step::End { reason } => Some(*reason),
                    Step::Open { .. }
                    | Step::Append
                    | Step::Refuse
                    | Step::Complete
                    | Step::Discard
                    | Step::Seal => None,
                });
                self.give_up(reason.unwrap_or(SpanEnd::Storage), &error);
                break;
            }
            accounted |= matches!(step, Step::Refuse);
        }
        if let (false, Some((chunk, _))) = (accounted, chunk) {
            self.dropped(chunk.epoch, chunk.frames);
        }
    }

    fn step(&mut self, step: Step, chunk: Option<(&Chunk, &ChunkInfo)>) -> io::Result<()> {
        match step {
            Step::Open { n, start, time } => match chunk {
                Some((chunk, _)) => self.begin(chunk, n, start, time),
                None => Ok(()),
            },
            Step::Append => match chunk {
                Some((chunk, info)) => self.append(chunk, info),
                None => Ok(()),
            },
            Step::Refuse => {
                if let Some((chunk, _)) = chunk {
                    self.dropped(chunk.epoch, chunk.frames);
                }
                Ok(())
            }
            Step::Complete => self.complete(),
            Step::Discard => self.discard(),
            Step::Seal => self.seal(),
            Step::End { reason } => self.end_span(reason),
        }
    }
}
