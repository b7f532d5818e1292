//! What the privacy journal records: when the camera was open, why it opened and closed, and what the owner
//! allowed.

use super::Machine;
use crate::domain::effect::Effect;
use crate::domain::fragment::SpanEnd;
use crate::domain::journal::What;
use crate::domain::segment::RecordClock;
use crate::domain::time::Now;

/// What the journal last recorded of the owner's choice: version, do not record, latch.
#[derive(Debug, Default)]
pub(super) struct Noted(Option<(Option<u64>, bool, bool)>);

impl Machine {
    /// Writes a line of the privacy journal, with the current time.
    pub(super) fn note(&mut self, what: What, now: Now) {
        let clock = RecordClock::from(self.clock(now));
        self.effects.push_back(Effect::Note { time: now.system, clock, what });
    }

    /// The first lines of this process. `cut_off`: the previous process ended with the camera open.
    pub(super) fn note_start(&mut self, cut_off: bool, now: Now) {
        if cut_off {
            self.note(What::CutOff, now);
        }
        self.note(What::Started { version: String::from(env!("CARGO_PKG_VERSION")) }, now);
    }

    /// The devices of the newest run are being opened, or have been opened.
    pub(super) fn note_opened(&mut self, audio: bool, lines: u32, now: Now) {
        let choice = self.choice.live().value().map(|choice| choice.version);
        let lease = self.lease.live().value().map(|lease| lease.version);
        self.note(What::Opened { audio, lines, choice, lease }, now);
    }

    /// No file of a device is open any more.
    pub(super) fn note_closed(&mut self, reason: SpanEnd, now: Now) {
        self.note(What::Closed { reason: String::from(reason.text()) }, now);
    }

    /// Writes a line if what the owner allows has changed. It comes after all other effects: nothing waits
    /// for it.
    pub(super) fn restore_journal(&mut self, now: Now) {
        let standing = self.privacy_standing(now);
        let choice = (standing.version, standing.do_not_record, standing.latch);
        if self.noted.0 != Some(choice) {
            self.noted.0 = Some(choice);
            let (version, do_not_record, latch) = choice;
            self.note(What::Choice { version, do_not_record, latch }, now);
        }
    }
}
