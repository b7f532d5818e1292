//! A choice counts from when it was made: nothing captured after "do not record" was chosen is kept, however
//! late the camera heard of it.

use super::Machine;
use super::pending::Stage;
use super::versions::compare;
use crate::domain::effect::{Effect, Event, Rule};
use crate::domain::input::{AckToken, Rejection};
use crate::domain::privacy::PrivacyChoice;
use crate::domain::recovery;
use crate::domain::retention::{Left, Prohibition};
use crate::domain::segment::{Content, Record, Segment, Serial};
use crate::domain::time::{Clock, Mono, Now};
use std::cmp::Ordering;
use std::time::Duration;

/// Prohibitions of this process that are remembered for segments that are sealed late.
const MAX_REMEMBERED: usize = 16;

/// A prohibition of this process, in force or not.
#[derive(Clone, Debug)]
pub(super) struct Forbidden {
    choice: PrivacyChoice,
    prohibition: Prohibition,
    /// When recording was permitted again.
    until: Option<Mono>,
}

/// What the owner forbade, and which consequences are still to come.
#[derive(Debug, Default)]
pub(super) struct Prohibitions {
    all: Vec<Forbidden>,
    sealing: Sealing,
}

/// Whether everything captured before the newest prohibition is sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sealing {
    #[default]
    Done,
    /// Once the devices are closed, the spool must be asked.
    Due,
    Asked,
}

impl Prohibitions {
    /// The spool has sealed everything that was captured.
    pub(super) fn flushed(&mut self) {
        if self.sealing == Sealing::Asked {
            self.sealing = Sealing::Done;
        }
    }

    fn in_force(&self) -> Option<&Forbidden> {
        self.all.last().filter(|forbidden| forbidden.until.is_none())
    }
}

impl Machine {
    pub(super) fn accept_privacy(
        &mut self,
        choice: PrivacyChoice,
        jws: String,
        retained: bool,
        ack: AckToken,
        now: Now,
    ) {
        self.session.another_choice(now.mono);
        let order = compare(self.choice.newest(), self.seen.privacy, &choice, |c| c.version);
        let refused = match order {
            // "Do not record" is accepted whatever the time.
            Ok(Ordering::Greater) if !choice.do_not_record && self.is_ahead(choice.issued_at, now) => {
                self.refuse_ahead(choice.issued_at)
            }
            Ok(Ordering::Greater) => {
                self.session.heard_choice(retained, now.mono);
                self.seen.privacy = choice.version.max(self.seen.privacy);
                return self.choice.accept(choice, jws, Some(ack), now.mono);
            }
            Ok(Ordering::Equal) => {
                if retained {
                    self.session.heard_choice(retained, now.mono);
                }
                let ack = self.choice.again(ack);
                return self.effects.extend(ack.map(Effect::Ack));
            }
            // Queued by the broker while the camera was away, or before it was heard: not an error.
            Ok(Ordering::Less) if !self.session.is_up() => {
                return self.effects.push_back(Effect::Ack(ack));
            }
            Ok(Ordering::Less) => Rejection::StaleVersion,
            Err(refused) => refused,
        };
        let topic = self.topic("privacy/desired");
        if refused == Rejection::ConflictingVersion && self.is_stricter(&choice) {
            self.reject(topic, refused, None);
            self.session.heard_choice(retained, now.mono);
            self.choice.accept(choice, jws, Some(ack), now.mono);
        } else {
            self.reject(topic, refused, Some(ack));
        }
    }

    /// Of two choices with one version, the stricter is in force.
    fn is_stricter(&self, offered: &PrivacyChoice) -> bool {
        self.choice.newest().is_some_and(|known| {
            let since = known.do_not_record && offered.issued_at < known.issued_at;
            offered.do_not_record && (!known.do_not_record || since)
        })
    }

    /// Notes what the owner now forbids, or permits again.
    pub(super) fn note_prohibition(&mut self, now: Now) {
        let live = self.choice.live().value().filter(|choice| choice.do_not_record).cloned();
        let Some(choice) = live else {
            if let Some(last) = self.prohibitions.all.last_mut() {
                last.until.get_or_insert(now.mono);
            }
            return;
        };
        let before = self.prohibitions.in_force().cloned();
        if before.as_ref().is_some_and(|before| before.choice == choice) {
            return;
        }
        // Not a time in the future.
        let mut from = match self.clock(now) {
            Clock::Trusted => choice.issued_at.min(now.system),
            Clock::Plausible | Clock::Unset => choice.issued_at,
        };
        let mut known_to = self.session.known_to();
        if let Some(before) = before {
            // Recording stays forbidden: what was forbidden before is not permitted by the new choice.
            from = from.min(before.prohibition.from);
            known_to = before.prohibition.known_to;
            self.prohibitions.all.pop();
        }
        if self.prohibitions.all.len() == MAX_REMEMBERED {
            self.prohibitions.all.remove(0);
        }
        let prohibition = Prohibition { from, known_to };
        self.prohibitions.all.push(Forbidden { choice, prohibition, until: None });
        if self.capture.has_ever_opened() {
            self.prohibitions.sealing = Sealing::Due;
        }
        self.swept_at = None;
    }

    /// Asks the spool to seal what was captured, once capture has ended.
    pub(super) fn seal_what_is_forbidden(&mut self) {
        if self.prohibitions.sealing == Sealing::Due && self.capture.is_closed() {
            self.prohibitions.sealing = Sealing::Asked;
            self.effects.push_back(Effect::FlushSpool);
        }
    }

    /// What the prohibitions of this process leave of a segment; the strictest counts.
    fn leaves(&self, segment: &Segment, now: Now) -> Left {
        let concerned = self.prohibitions.all.iter().filter(|forbidden| {
            let captured_later = |until| segment.record.boot == self.boot && segment.start_mono() >= until;
            !forbidden.until.is_some_and(captured_later)
        });
        let clock = self.clock(now);
        concerned
            .map(|forbidden| forbidden.prohibition.leaves(segment, now, clock, &self.boot))
            .min()
            .unwrap_or(Left::All)
    }

    /// Removes what was captured after the choice, whole segments and parts of them.
    pub(super) fn purge_after_choice(&mut self, now: Now) {
        if self.prohibitions.all.is_empty() {
            return;
        }
        let due: Vec<(Serial, Left)> = self
            .queue
            .iter()
            .filter(|entry| match entry.stage {
                Stage::Waiting(_) | Stage::Uploading => !entry.segment.is_end(),
                Stage::Cutting(_) | Stage::Leaving(_) => false,
            })
            .filter_map(|entry| match self.leaves(&entry.segment, now) {
                Left::All => None,
                Left::Until(keep) if entry.cut.is_some_and(|cut| cut <= keep) => None,
                left @ (Left::Nothing | Left::Until(_)) => Some((entry.segment.serial, left)),
            })
            .collect();
        for (serial, left) in due {
            match left {
                Left::All => {}
                Left::Nothing => {
                    self.first_gone(serial);
                    self.let_go(serial, Rule::AfterChoice);
                }
                Left::Until(keep) => self.cut_back(serial, keep),
            }
        }
        self.move_ends(now);
    }

    fn cut_back(&mut self, serial: Serial, keep: Duration) {
        let uploading = self.queue.get(serial).is_some_and(|entry| entry.stage == Stage::Uploading);
        if uploading {
            self.effects.push_back(Effect::CancelUpload { serial });
        }
        self.queue.set_stage(serial, Stage::Cutting(keep));
        self.effects.push_back(Effect::CutBack { serial, keep });
    }

    /// The spool has cut a segment back, or moved an end.
    pub(super) fn cut(&mut self, serial: Serial, left: Option<Segment>) {
        let Some(entry) = self.queue.get(serial) else { return };
        let Stage::Cutting(keep) = entry.stage else { return };
        let (before, bytes) = (entry.segment.clone(), entry.segment.bytes);
        let kept = left.as_ref().map_or(Duration::ZERO, length);
        if !before.is_end() && left.as_ref().is_some_and(|left| left.bytes != before.bytes) {
            let record = &before.record;
            let (span, n, start, rule) = (record.span.clone(), record.n, record.start_utc, Rule::AfterChoice);
            let kept_ms = u64::try_from(kept.as_millis()).unwrap_or(u64::MAX);
            self.tell(Event::SegmentCut { serial: serial.0, span, n, start, kept_ms, rule });
        }
        match left {
            Some(left) => {
                self.usage.bytes = self.usage.bytes.saturating_sub(bytes).saturating_add(left.bytes);
                self.queue.replace(left);
                self.queue.was_cut(serial, keep);
            }
            None => {
                self.first_gone(serial);
                self.queue.set_stage(serial, Stage::Waiting(Mono(0)));
                self.let_go(serial, Rule::AfterChoice);
            }
        }
        self.swept_at = None;
    }

    /// Whether forbidden footage may still be on flash.
    pub(super) fn is_purging(&self) -> bool {
        self.prohibitions.sealing != Sealing::Done
            || self.queue.iter().any(|entry| match entry.stage {
                Stage::Cutting(_) | Stage::Leaving(Rule::AfterChoice) => true,
                Stage::Waiting(_) | Stage::Uploading | Stage::Leaving(_) => false,
            })
    }

    /// Whether there may be forbidden footage that has not been checked yet.
    pub(super) fn may_find_forbidden(&self) -> bool {
        self.usage.is_scanning && !self.prohibitions.all.is_empty()
    }

    /// A segment is removed: if nothing of its span before it is left, the end of the span moves to where the
    /// segment began.
    fn first_gone(&mut self, serial: Serial) {
        let Some(entry) = self.queue.get(serial) else { return };
        let record = entry.segment.record.clone();
        match self.queue.gone.get(&record.span) {
            Some(known) if known.n <= record.n => {}
            Some(_) | None => {
                self.queue.gone.insert(record.span.clone(), record);
            }
        }
    }

    /// The end of a span is where its footage ends, also if that was cut back.
    fn move_ends(&mut self, now: Now) {
        let due: Vec<(Serial, Record)> = self
            .queue
            .iter()
            .filter(|entry| match entry.stage {
                Stage::Waiting(_) | Stage::Uploading => entry.segment.is_end() && entry.cut.is_none(),
                Stage::Cutting(_) | Stage::Leaving(_) => false,
            })
            .filter(|entry| self.leaves(&entry.segment, now) != Left::All)
            .filter_map(|entry| Some((entry.segment.serial, self.moved_end(&entry.segment.record)?)))
            .collect();
        for (serial, record) in due {
            let Some(entry) = self.queue.get(serial) else { continue };
            let Content::End { reason } = entry.segment.content else { continue };
            if entry.stage == Stage::Uploading {
                self.effects.push_back(Effect::CancelUpload { serial });
            }
            self.queue.set_stage(serial, Stage::Cutting(Duration::ZERO));
            self.effects.push_back(Effect::MoveEnd { serial, record: Box::new(record), reason });
        }
    }

    /// Where the end of a span belongs; `None` while its footage is being cut back.
    fn moved_end(&self, end: &Record) -> Option<Record> {
        let mut last: Option<&Segment> = None;
        for entry in self.queue.iter().filter(|e| !e.segment.is_end() && e.segment.record.span == end.span) {
            match entry.stage {
                Stage::Cutting(_) => return None,
                Stage::Leaving(Rule::AfterChoice) => {}
                Stage::Waiting(_) | Stage::Uploading | Stage::Leaving(_) => last = Some(&entry.segment),
            }
        }
        let gone = self.queue.gone.get(&end.span);
        let record = match (last, gone) {
            (Some(last), _) => {
                recovery::end_of(&last.record, u64::try_from(length(last).as_nanos()).unwrap_or(u64::MAX))
            }
            (None, Some(gone)) => gone.clone(),
            (None, None) => return None,
        };
        (record != *end).then_some(record)
    }
}

fn length(segment: &Segment) -> Duration {
    match segment.content {
        Content::Footage { duration, .. } => Duration::from_nanos(duration),
        Content::End { .. } => Duration::ZERO,
    }
}
