//! An ordered stop: capture is drained, then the spool is flushed, then uploads get the remaining time.

use super::Machine;
use crate::domain::effect::{Effect, Report};
use crate::domain::time::{Mono, Now};
use std::time::Duration;

/// How long an ordered stop may take; the uploads that remain then are left to the next start.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(4000);

#[derive(Debug)]
pub(super) struct Leaving {
    deadline: Mono,
    stage: LeavingStage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LeavingStage {
    Draining,
    Flushing,
    Uploading,
    Gone,
}

impl Machine {
    pub(super) fn begin_to_leave(&mut self, now: Now) {
        self.leaving
            .get_or_insert(Leaving { deadline: now.mono + FLUSH_TIMEOUT, stage: LeavingStage::Draining });
    }

    /// When an ordered stop has used up its time.
    pub(super) fn leaves_at(&self) -> Option<Mono> {
        self.leaving.as_ref().map(|leaving| leaving.deadline)
    }

    pub(super) fn flushed(&mut self) {
        self.prohibitions.flushed();
        if let Some(leaving) = &mut self.leaving {
            if leaving.stage == LeavingStage::Flushing {
                leaving.stage = LeavingStage::Uploading;
            }
        }
    }

    pub(super) fn leave_if_done(&mut self, now: Now) {
        let Some(leaving) = &mut self.leaving else { return };
        let late = leaving.deadline <= now.mono;
        if leaving.stage == LeavingStage::Draining && (self.capture.is_closed() || late) {
            leaving.stage = LeavingStage::Flushing;
            self.effects.push_back(Effect::FlushSpool);
        }
        // The end of a span is sent once its footage is gone from the spool.
        let idle = self.queue.uploading() == 0 && self.queue.leaving() == (0, 0);
        if leaving.stage == LeavingStage::Uploading && idle || late && leaving.stage != LeavingStage::Gone {
            leaving.stage = LeavingStage::Gone;
            leaving.deadline = now.mono + Duration::from_secs(3600);
            self.write_floor(now);
            let telemetry = self.telemetry(now);
            self.effects.push_back(Effect::Publish(Report::Telemetry(Box::new(telemetry))));
            self.effects.push_back(Effect::Exit);
        }
    }
}
