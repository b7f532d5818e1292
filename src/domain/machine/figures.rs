//! What the machine counts, and the report of it.

use super::{Machine, reports};
use crate::domain::effect::{
    CaptureFigures, HouseholdFigures, JournalFigures, SpoolFigures, Telemetry, UploadFigures,
};
use crate::domain::policy;
use crate::domain::segment::{Content, Segment};
use crate::domain::time::{Clock, Now};
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) starts: u64,
    pub(super) faults: u64,
    pub(super) frames_captured: u64,
    pub(super) frames_committed: u64,
    pub(super) frames_dropped: u64,
    pub(super) holes: u64,
    pub(super) frames_missing: u64,
    pub(super) purged: u64,
    pub(super) rejected: u64,
    pub(super) stored: u64,
    pub(super) stored_bytes: u64,
    pub(super) retries: u64,
    pub(super) last_latency: Duration,
    /// Whether the footage that was sealed last has audio.
    audio: Option<bool>,
}

impl Figures {
    /// Notes a segment that was sealed.
    pub(super) fn saw_sound(&mut self, segment: &Segment) {
        if let Content::Footage { codecs, .. } = &segment.content {
            // RFC 6381: AAC is `mp4a`, Opus `Opus`.
            let is_audio = |codec: &str| codec.starts_with("mp4a") || codec.starts_with("Opus");
            self.audio = Some(codecs.split(',').any(|codec| is_audio(codec.trim())));
        }
    }
}

impl Machine {
    /// The figures, as in `status` and `R/telemetry`.
    #[must_use]
    pub fn telemetry(&self, now: Now) -> Telemetry {
        let decision = policy::decide(&self.facts(now));
        let permitted = matches!(decision.capture(), policy::Capture::On { .. });
        Telemetry {
            capture: CaptureFigures {
                open: !self.capture.is_closed(),
                reason: reports::capture_reason(&decision).into(),
                starts: self.figures.starts,
                faults: self.figures.faults,
                frames_captured: self.figures.frames_captured,
                frames_committed: self.figures.frames_committed,
                frames_dropped: self.figures.frames_dropped,
                holes: self.figures.holes,
                frames_missing: self.figures.frames_missing,
                max_height: match decision.capture() {
                    policy::Capture::On { max_height, .. } => Some(max_height),
                    policy::Capture::Off(_) => None,
                },
                audio_wanted: matches!(decision.capture(), policy::Capture::On { audio: true, .. }),
                audio: self.figures.audio,
                // Of no interest if capture is closed on purpose.
                fault: self.capture_fault().filter(|_| permitted).map(String::from),
                audio_fault: self.audio_fault().map(String::from),
                differs: self.capture_differences().map(String::from),
            },
            spool: SpoolFigures {
                state: self.storage().text().into(),
                bytes: self.usage.bytes,
                files: self.usage.files,
                free: self.usage.free,
                quarantined: self.usage.quarantined,
                set_aside: self.usage.set_aside,
                scanning: self.usage.is_scanning,
                fault: self.storage_fault().map(String::from),
                pending: self.queue.len() as u64,
                purged: self.figures.purged,
            },
            upload: UploadFigures {
                on: matches!(decision.upload, policy::Upload::On | policy::Upload::Heard),
                unheard: self.unheard(&decision, now),
                in_flight: self.queue.uploading() as u64,
                stored: self.figures.stored,
                stored_bytes: self.figures.stored_bytes,
                retries: self.figures.retries,
                oldest_pending_s: self.oldest_pending(now).map(|age| age.as_secs()),
                stalled: self.store.stalled().map(String::from),
                last_latency_ms: u64::try_from(self.figures.last_latency.as_millis()).unwrap_or(u64::MAX),
            },
            clock: match self.clock(now) {
                Clock::Trusted => "trusted",
                Clock::Plausible => "plausible",
                Clock::Unset => "unset",
            }
            .into(),
            rejected: self.figures.rejected,
            dropped_events: 0,
            household: HouseholdFigures {
                latch_fault: self.latch_fault.clone(),
                light_fault: self.light.fault().map(String::from),
            },
            peak_rss_kib: 0,
            certificate_days_left: None,
            journal: JournalFigures::default(),
        }
    }

    /// How long ago the oldest footage that the cloud does not hold yet was captured, by the best time
    /// available.
    fn oldest_pending(&self, now: Now) -> Option<Duration> {
        let oldest = self.queue.iter().find(|entry| !entry.segment.is_end())?;
        match self.key_time(&oldest.segment) {
            Some((captured, _)) => Some(self.best_time(now).since(captured)),
            // No time is decided yet: only its own boot can tell.
            None if oldest.segment.record.boot == self.boot => {
                Some(now.mono.since(oldest.segment.start_mono()))
            }
            None => None,
        }
    }
}
