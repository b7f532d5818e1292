//! What is sent to the store, and what is removed from the spool.

use super::Machine;
use super::pending::Stage;
use crate::domain::backoff::Backoff;
use crate::domain::effect::{Effect, Event, Rule, Share};
use crate::domain::entitlement::{Entitlement, Lease};
use crate::domain::outcome::{Outcome, Scope};
use crate::domain::policy::{Decision, Pending, Upload};
use crate::domain::retention::{self, Sweep};
use crate::domain::segment::{Content, Segment, Serial};
use crate::domain::settings::UploadOrder;
use crate::domain::storage::StorageState;
use crate::domain::storage::Usage;
use crate::domain::time::{Mono, Now};
use std::collections::BTreeSet;
use std::time::Duration;

/// How often the rules of retention are applied without another cause.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// The state of the store as a whole.
#[derive(Debug)]
pub(super) struct StoreHealth {
    backoff: Backoff,
    /// Since when it has stored nothing.
    failing_since: Option<Mono>,
    not_before: Mono,
    /// When the last counted failure was. An upload that had begun before then belongs to the same outage.
    failed_at: Option<Mono>,
    /// Segments that it has refused since it last stored one.
    refused: BTreeSet<Serial>,
    /// The cloud was told that uploads wait.
    told: bool,
    /// Why it has not stored anything since it last did.
    why: Option<String>,
}

/// If this many segments in a row are refused and none is stored in between, the fault is the store's, not
/// that of each segment.
const MAX_REFUSED: usize = 3;
/// One failure may pass: the second in a row is reported.
const REPORTED_FROM: u32 = 2;
/// While the store refuses whatever it is given, a segment waits at most this long beyond the store's own
/// wait.
const MAX_WAIT_REFUSED: Duration = Duration::from_secs(60);

/// An attempt that stored nothing.
struct Refusal {
    why: String,
    /// The minimum wait that the store asked for.
    after: Duration,
    /// Time since the attempt began.
    took: Duration,
}

impl StoreHealth {
    pub(super) fn new() -> StoreHealth {
        let backoff =
            Backoff::new(Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(300));
        StoreHealth {
            backoff,
            failing_since: None,
            not_before: Mono(0),
            failed_at: None,
            refused: BTreeSet::new(),
            told: false,
            why: None,
        }
    }

    /// Why uploads wait, once that was reported.
    pub(super) fn stalled(&self) -> Option<&str> {
        self.why.as_deref().filter(|_| self.told)
    }

    /// The obstacle is gone: nothing waits any longer.
    pub(super) fn try_again(&mut self) {
        self.not_before = Mono(0);
    }

    /// Until when every upload waits.
    pub(super) fn until(&self, now: Mono) -> Option<Mono> {
        (self.not_before > now).then_some(self.not_before)
    }

    /// It refuses one segment after the other.
    fn is_refusing(&self) -> bool {
        self.refused.len() >= MAX_REFUSED
    }

    fn is_failing(&self) -> bool {
        self.backoff.failures() > 0
    }
}

impl Machine {
    pub(super) fn restore_uploads(&mut self, decision: &Decision, now: Now) {
        match decision.upload {
            Upload::On => {}
            Upload::Heard => self.cancel_uploads(|machine, segment| machine.was_unheard(segment, now)),
            Upload::Off(_) => return self.cancel_uploads(|_, _| true),
        }
        if self.store.until(now.mono).is_some() {
            return;
        }
        let at_once = if self.store.is_failing() { 1 } else { self.settings.concurrency };
        let order = self.settings.order;
        let most_backlog = match order {
            UploadOrder::Newest => at_once.saturating_sub(1).max(1),
            UploadOrder::Oldest => at_once,
        };
        let is_scanning = self.usage.is_scanning;
        // The oldest is found last.
        if is_scanning && order == UploadOrder::Oldest {
            return;
        }
        while self.queue.uploading() < at_once {
            let live_from = self.queue.live_from();
            let from = if self.queue.uploading_backlog() < most_backlog { Serial(0) } else { live_from };
            let goes = |s: &Segment| {
                // The end of a span is the last of it that the cloud receives, and there may be more of the
                // span.
                let may_go = !(is_scanning && s.is_end());
                may_go
                    && self.key_time(s).is_some()
                    && (decision.upload == Upload::On || !self.was_unheard(s, now))
            };
            let refusing = self.store.is_refusing();
            let next = self.queue.next(now.mono, order, from, refusing, goes);
            let Some(entry) = next else { break };
            let Some((utc, key_clock)) = self.key_time(&entry.segment) else { break };
            let segment = entry.segment.clone();
            self.queue.set_stage(segment.serial, Stage::Uploading);
            let share = match order {
                UploadOrder::Newest if segment.serial < live_from => Share::Rest,
                _ if !self.queue.others_wait(segment.serial) => Share::Alone,
                UploadOrder::Newest | UploadOrder::Oldest => Share::Full,
            };
            let time = utc.floor_micros();
            self.effects.push_back(Effect::Upload { segment, time, clock: key_clock, share });
        }
    }

    fn cancel_uploads(&mut self, which: impl Fn(&Machine, &Segment) -> bool) {
        if self.queue.uploading() == 0 {
            return;
        }
        let uploading: Vec<Serial> = self
            .queue
            .iter()
            .filter(|entry| entry.stage == Stage::Uploading && which(self, &entry.segment))
            .map(|entry| entry.segment.serial)
            .collect();
        for serial in uploading {
            self.queue.set_stage(serial, Stage::Waiting(Mono(0)));
            self.effects.push_back(Effect::CancelUpload { serial });
        }
    }

    /// `took` is the time since the attempt began.
    pub(super) fn upload_finished(&mut self, serial: Serial, outcome: Outcome, took: Duration, now: Now) {
        let Some(entry) = self.queue.get(serial) else { return };
        let (segment, stage) = (entry.segment.clone(), entry.stage);
        if let Stage::Leaving(_) = stage {
            return;
        }
        match outcome {
            Outcome::Stored => {
                self.figures.stored += 1;
                self.figures.stored_bytes += segment.bytes;
                if let (Content::Footage { duration, .. }, true) =
                    (&segment.content, segment.record.boot == self.boot)
                {
                    self.figures.last_latency =
                        now.mono.since(segment.start_mono() + Duration::from_nanos(*duration));
                }
                self.store_is_well(now);
                self.let_go(serial, Rule::Stored);
            }
            // Cancelled meanwhile: it is sent again later, without a wait.
            Outcome::KeyTaken | Outcome::Retry { .. } if stage != Stage::Uploading => {}
            Outcome::KeyTaken => {
                self.queue.set_stage(serial, Stage::Waiting(now.mono + Duration::from_secs(1)))
            }
            Outcome::Retry { scope, after, why } => {
                self.figures.retries += 1;
                let refusal = Refusal { why, after: after.unwrap_or_default(), took };
                match scope {
                    Scope::Store => {
                        self.store_failed(refusal, now);
                        self.queue.set_stage(serial, Stage::Waiting(now.mono));
                    }
                    Scope::Segment => self.refused(serial, refusal, now),
                }
            }
        }
    }

    /// The store stored something: whatever it refused may be sent again.
    fn store_is_well(&mut self, now: Now) {
        let was_refusing = self.store.is_refusing();
        self.store.backoff.reset();
        self.store.failing_since = None;
        self.store.not_before = Mono(0);
        self.store.failed_at = None;
        self.store.refused.clear();
        self.store.why = None;
        if was_refusing {
            self.queue.forgive(now.mono);
        }
        if std::mem::take(&mut self.store.told) {
            self.tell(Event::UploadResumed);
        }
    }

    /// Uploads that fail together count as one failure: only one that began after the last failure counts as
    /// the next.
    fn store_failed(&mut self, Refusal { why, after, took }: Refusal, now: Now) {
        self.store.not_before = self.store.not_before.max(now.mono + after);
        let is_next = self.store.failed_at.is_none_or(|at| now.mono.since(at) > took);
        if !is_next {
            return;
        }
        self.store.failed_at = Some(now.mono);
        let since = *self.store.failing_since.get_or_insert(now.mono);
        let wait = self.store.backoff.next_of(now.mono.since(since), &mut self.jitter);
        self.store.not_before = self.store.not_before.max(now.mono + wait);
        self.store.why = Some(why.clone());
        if self.store.backoff.failures() >= REPORTED_FROM && !std::mem::replace(&mut self.store.told, true) {
            self.tell(Event::UploadStalled { why });
        }
    }

    /// This segment was refused: it waits alone, longer with each refusal. If one segment after the other is
    /// refused, the store is at fault, and all wait.
    fn refused(&mut self, serial: Serial, refusal: Refusal, now: Now) {
        let failures = self.queue.fail(serial);
        let ceiling = Duration::from_secs(2).saturating_mul(1 << failures.min(8));
        let mut wait = self.jitter.between(Duration::from_secs(1), ceiling).max(refusal.after);
        if self.store.refused.len() < MAX_REFUSED {
            self.store.refused.insert(serial);
        }
        if failures == 1 {
            self.tell(Event::UploadRefused { serial: serial.0, why: refusal.why.clone() });
        }
        if self.store.is_refusing() {
            // Reported at once: it took three refusals to find out.
            if !std::mem::replace(&mut self.store.told, true) {
                let why = format!("the store refuses one segment after the other: {}", refusal.why);
                self.tell(Event::UploadStalled { why });
            }
            self.store_failed(refusal, now);
            // After those that were not tried since.
            wait = self.store.not_before.since(now.mono) + wait.min(MAX_WAIT_REFUSED);
        }
        self.queue.set_stage(serial, Stage::Waiting(now.mono + wait));
    }

    /// Files of the spool were found.
    pub(super) fn found(&mut self, segments: Vec<Segment>) {
        for segment in segments {
            self.pins.note(&segment, &self.boot);
            self.queue.insert(segment, &self.boot);
        }
        // What is found while everything must be removed is removed at once, not at the next sweep.
        self.swept_at = None;
    }

    /// Asks the spool to remove a file, by a named rule.
    pub(super) fn let_go(&mut self, serial: Serial, rule: Rule) {
        let Some(entry) = self.queue.get(serial) else { return };
        if let Stage::Leaving(_) = entry.stage {
            return;
        }
        if entry.stage == Stage::Uploading && rule != Rule::Stored {
            self.effects.push_back(Effect::CancelUpload { serial });
        }
        if rule != Rule::Stored {
            let (record, is_end) = (&entry.segment.record, entry.segment.is_end());
            let event = Event::SegmentPurged {
                serial: serial.0,
                span: record.span.clone(),
                n: record.n,
                start: record.start_utc,
                is_end,
                rule,
            };
            if !is_end {
                self.figures.purged += 1;
            }
            self.tell(event);
        }
        self.queue.set_stage(serial, Stage::Leaving(rule));
        self.effects.push_back(Effect::Forget { serial, why: rule });
    }

    pub(super) fn forgotten(&mut self, serial: Serial) {
        if let Some(entry) = self.queue.remove(serial) {
            // Until the spool reports its usage. If it already did, this is counted twice: then too little is
            // evicted for a moment, and never too much.
            let bytes = entry.segment.bytes;
            self.usage.bytes = self.usage.bytes.saturating_sub(bytes);
            self.usage.files = self.usage.files.saturating_sub(1);
            self.usage.free = self.usage.free.map(|free| free.saturating_add(bytes));
        }
    }

    /// Removes again what could not be removed while the storage was broken.
    pub(super) fn forget_again(&mut self) {
        let leaving: Vec<Effect> = self
            .queue
            .iter()
            .filter_map(|entry| match entry.stage {
                Stage::Leaving(why) => Some(Effect::Forget { serial: entry.segment.serial, why }),
                Stage::Cutting(keep) => Some(Effect::CutBack { serial: entry.segment.serial, keep }),
                Stage::Waiting(_) | Stage::Uploading => None,
            })
            .collect();
        self.effects.extend(leaving);
    }

    pub(super) fn sweep_is_due(&self, now: Now) -> bool {
        self.swept_at.is_none_or(|at| now.mono >= at + SWEEP_INTERVAL)
    }

    pub(super) fn sweep(&mut self, decision: &Decision, now: Now) {
        self.swept_at = Some(now.mono);
        self.purge_after_choice(now);
        let sweep = Sweep {
            now,
            clock: self.clock(now),
            boot: &self.boot,
            pending: decision.pending,
            entitlement: self.entitlement(now),
            since: self.stopped.since(),
            hold: self.settings.hold,
            is_certain: self.stands_still_for_certain(now),
        };
        let due: Vec<(Serial, Rule)> = self
            .queue
            .iter()
            .filter_map(|entry| {
                retention::due(&entry.segment, &sweep).map(|rule| (entry.segment.serial, rule))
            })
            .collect();
        for (serial, rule) in due {
            self.let_go(serial, rule);
        }
    }

    /// Evicts the oldest until the rest fits; what is already being removed counts as gone. True if this
    /// changed whether anything is left to evict.
    pub(super) fn make_room(&mut self, decision: &Decision) -> bool {
        let starved = match (self.storage(), decision.pending) {
            // The oldest is not known before all files are known.
            _ if self.usage.is_scanning => false,
            (StorageState::Full, Pending::EvictOldest) => self.evict_until_it_fits(),
            // Once starved, the decision is no longer to evict: only free room ends it.
            (StorageState::Full, Pending::Keep | Pending::Hold | Pending::Purge) => self.starved,
            (StorageState::Roomy | StorageState::Tight | StorageState::Broken, _) => false,
        };
        std::mem::replace(&mut self.starved, starved) != starved
    }

    /// True if it does not fit although nothing is left to evict.
    fn evict_until_it_fits(&mut self) -> bool {
        loop {
            let (bytes, files) = self.queue.leaving();
            let after = Usage {
                bytes: self.usage.bytes.saturating_sub(bytes),
                files: self.usage.files.saturating_sub(files),
                free: self.usage.free.map(|free| free.saturating_add(bytes)),
                ..self.usage
            };
            if self.settings.budget.judge(after) != StorageState::Full {
                return false;
            }
            if self.evict_aside() {
                return false;
            }
            if !self.evict_one() {
                return files == 0;
            }
        }
    }

    /// False if nothing is left that may be evicted.
    pub(super) fn evict_one(&mut self) -> bool {
        let Some(serial) = self.queue.evictable() else { return false };
        self.let_go(serial, Rule::Evicted);
        true
    }

    // ---- the lease, as it stands -----------------------------------------------------------

    /// What is permitted is the minimum of what is durable and what is not durable yet.
    #[must_use]
    pub fn entitlement(&self, now: Now) -> Entitlement {
        let (at, grace) = (self.lease_time(now), self.settings.grace);
        let stands = |lease: &Lease| lease.standing(at, grace).entitlement;
        match (self.lease.live().value().map(stands), self.lease.coming().map(stands)) {
            (None, _) => Entitlement::Unknown,
            // It restricted when it came, and permits now: that counts once it is durable.
            (Some(Entitlement::Granted(_)), _) if !self.lease.is_kept() => Entitlement::Unknown,
            (Some(Entitlement::Granted(kept)), Some(Entitlement::Granted(coming))) => {
                Entitlement::Granted(kept.least(coming))
            }
            (Some(standing), _) => standing,
        }
    }

    /// When the lease changes because time passes, on the monotonic clock.
    pub(super) fn standing_until(&self, now: Now) -> Option<Mono> {
        let at = self.lease_time(now);
        [self.lease.live().value(), self.lease.coming()]
            .into_iter()
            .filter_map(|lease| lease?.standing(at, self.settings.grace).until)
            .min()
            .map(|until| now.mono + until.since(at))
    }
}
