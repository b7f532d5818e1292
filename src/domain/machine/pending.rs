//! The segments that the cloud does not hold yet, and which of them is next.

use crate::domain::effect::Rule;
use crate::domain::segment::{Record, Segment, Serial};
use crate::domain::settings::UploadOrder;
use crate::domain::time::Mono;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) segment: Segment,
    pub(super) stage: Stage,
    pub(super) failures: u32,
    /// It was cut back to this duration.
    pub(super) cut: Option<Duration>,
    /// More than half of it is sent; only true of an upload under way.
    past_half: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Not to be sent before this time.
    Waiting(Mono),
    Uploading,
    /// Handed to the spool, to be cut back to this duration.
    Cutting(Duration),
    /// Handed to the spool, to be removed.
    Leaving(Rule),
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    entries: BTreeMap<Serial, Entry>,
    /// How many segments of footage of each span are still here: a span's end is sent last.
    footage: HashMap<String, u64>,
    uploading: BTreeSet<Serial>,
    /// The newest two segments of footage of this boot, the older one first.
    live: Option<(Serial, Serial)>,
    leaving_bytes: u64,
    leaving_files: u64,
    /// The earliest segment of each span that was removed because it was captured after the choice.
    pub(super) gone: HashMap<String, Record>,
}

impl Queue {
    /// `boot` is the id of this boot.
    pub(super) fn insert(&mut self, segment: Segment, boot: &str) {
        if self.entries.contains_key(&segment.serial) {
            return;
        }
        if !segment.is_end() {
            *self.footage.entry(segment.record.span.clone()).or_default() += 1;
            if segment.record.boot == boot {
                self.live = Some(match self.live {
                    None => (segment.serial, segment.serial),
                    Some((_, newest)) if segment.serial > newest => (newest, segment.serial),
                    Some((older, newest)) => (older.max(segment.serial), newest),
                });
            }
        }
        let serial = segment.serial;
        let stage = Stage::Waiting(Mono(0));
        self.entries.insert(serial, Entry { segment, stage, failures: 0, cut: None, past_half: false });
    }

    pub(super) fn remove(&mut self, serial: Serial) -> Option<Entry> {
        self.set_stage(serial, Stage::Waiting(Mono(0)));
        let entry = self.entries.remove(&serial)?;
        if entry.segment.is_end() {
            self.gone.remove(&entry.segment.record.span);
        } else {
            if let Some(count) = self.footage.get_mut(&entry.segment.record.span) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.footage.remove(&entry.segment.record.span);
                }
            }
        }
        Some(entry)
    }

    pub(super) fn get(&self, serial: Serial) -> Option<&Entry> {
        self.entries.get(&serial)
    }

    pub(super) fn set_stage(&mut self, serial: Serial, stage: Stage) {
        let Some(entry) = self.entries.get_mut(&serial) else { return };
        match entry.stage {
            Stage::Uploading => {
                self.uploading.remove(&serial);
            }
            Stage::Leaving(_) => {
                self.leaving_bytes = self.leaving_bytes.saturating_sub(entry.segment.bytes);
                self.leaving_files = self.leaving_files.saturating_sub(1);
            }
            Stage::Waiting(_) | Stage::Cutting(_) => {}
        }
        match stage {
            Stage::Uploading => {
                self.uploading.insert(serial);
            }
            Stage::Leaving(_) => {
                self.leaving_bytes += entry.segment.bytes;
                self.leaving_files += 1;
            }
            Stage::Waiting(_) | Stage::Cutting(_) => {}
        }
        entry.stage = stage;
        entry.past_half = false;
    }

    /// What is left of a segment that was cut back.
    pub(super) fn replace(&mut self, segment: Segment) {
        let serial = segment.serial;
        self.set_stage(serial, Stage::Waiting(Mono(0)));
        if let Some(entry) = self.entries.get_mut(&serial) {
            entry.segment = segment;
        }
    }

    /// Notes that a file was cut back to this duration.
    pub(super) fn was_cut(&mut self, serial: Serial, to: Duration) {
        if let Some(entry) = self.entries.get_mut(&serial) {
            entry.cut = Some(to);
        }
    }

    /// Counts one more failure of this segment and returns the total.
    pub(super) fn fail(&mut self, serial: Serial) -> u32 {
        self.entries.get_mut(&serial).map_or(0, |entry| {
            entry.failures = entry.failures.saturating_add(1);
            entry.failures
        })
    }

    /// Forgets every failure: what waits because of one may be sent now.
    pub(super) fn forgive(&mut self, now: Mono) {
        for entry in self.entries.values_mut().filter(|entry| entry.failures > 0) {
            entry.failures = 0;
            if let Stage::Waiting(at) = &mut entry.stage {
                *at = (*at).min(now);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn uploading(&self) -> usize {
        self.uploading.len()
    }

    /// Live footage begins with this serial: the segment that was sealed last and the one before it, with the
    /// ends of their spans. What is older is backlog; without live footage everything is.
    pub(super) fn live_from(&self) -> Serial {
        self.live.map_or(Serial(u64::MAX), |(older, _)| older)
    }

    /// Number of uploads under way that are backlog.
    pub(super) fn uploading_backlog(&self) -> usize {
        self.uploading.range(..self.live_from()).count()
    }

    /// Bytes and files that are being removed from the spool.
    pub(super) fn leaving(&self) -> (u64, u64) {
        (self.leaving_bytes, self.leaving_files)
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.entries.values()
    }

    /// What is removed next to make room: the oldest footage that is not being sent; then the end of a span;
    /// then what is being sent and is not past half. `order = "oldest"` sends exactly the oldest: if that
    /// were evicted first, a store that is slightly too slow would never receive anything.
    pub(super) fn evictable(&self) -> Option<Serial> {
        let waits = |entry: &&Entry| matches!(entry.stage, Stage::Waiting(_));
        let begun = |entry: &&Entry| entry.stage == Stage::Uploading && !entry.past_half;
        let footage = self.iter().filter(|entry| !entry.segment.is_end()).find(waits);
        let found = footage.or_else(|| self.iter().find(waits)).or_else(|| self.iter().find(begun));
        found.map(|entry| entry.segment.serial)
    }

    /// More than half of it is sent.
    pub(super) fn past_half(&mut self, serial: Serial) {
        if let Some(entry) = self.entries.get_mut(&serial) {
            entry.past_half = entry.stage == Stage::Uploading;
        }
    }

    /// The next segment to upload, among those from the serial `from` on. `keyed` says whether a time for its
    /// key is known. The end of a span waits until no footage of the span is here: it is the last that the
    /// cloud receives. If `untried_first`, the segments that were refused least often come first.
    pub(super) fn next(
        &self,
        now: Mono,
        order: UploadOrder,
        from: Serial,
        untried_first: bool,
        keyed: impl Fn(&Segment) -> bool,
    ) -> Option<&Entry> {
        let ready = |entry: &&Entry| match entry.stage {
            Stage::Waiting(at) => at <= now && self.may_go(&entry.segment) && keyed(&entry.segment),
            Stage::Uploading | Stage::Cutting(_) | Stage::Leaving(_) => false,
        };
        let waiting = || self.entries.range(from..).map(|(_, entry)| entry).filter(ready);
        let most = if untried_first { waiting().map(|entry| entry.failures).min()? } else { u32::MAX };
        let ready = |entry: &&Entry| ready(entry) && entry.failures <= most;
        match order {
            UploadOrder::Oldest => self.entries.range(from..).map(|(_, entry)| entry).find(ready),
            UploadOrder::Newest => self.entries.range(from..).rev().map(|(_, entry)| entry).find(ready),
        }
    }

    /// Whether the store has more to receive than this segment.
    pub(super) fn others_wait(&self, serial: Serial) -> bool {
        let waits = |entry: &Entry| !matches!(entry.stage, Stage::Leaving(_));
        self.entries.iter().any(|(other, entry)| *other != serial && waits(entry))
    }

    fn may_go(&self, segment: &Segment) -> bool {
        !segment.is_end() || !self.footage.contains_key(&segment.record.span)
    }

    /// The next time at which a waiting segment may be sent, if that is in the future.
    pub(super) fn next_try(&self, now: Mono) -> Option<Mono> {
        self.iter()
            .filter_map(|entry| match entry.stage {
                Stage::Waiting(at) if at > now => Some(at),
                Stage::Waiting(_) | Stage::Uploading | Stage::Cutting(_) | Stage::Leaving(_) => None,
            })
            .min()
    }
}
