//! Performs the effects of the machine.

use super::storage::SegmentReader;
use super::{Agent, status};
use crate::domain::effect::{ClosingStep, Effect, Report, Share};
use crate::domain::input::Input;
use crate::domain::outcome::{Outcome, Scope};
use crate::domain::segment::{Content, KeyClock, Segment, Serial};
use crate::domain::time::Utc;
use crate::system::{boot, clock};
use crate::upload::Body;
use bytes::Bytes;
use std::future::Future;
use std::sync::Arc;
use tokio::sync::{Notify, mpsc};

impl Agent {
    /// Performs effects until the machine has no more. None of them waits.
    pub(super) fn perform_all(&mut self) {
        while let Some(effect) = self.machine.poll_effect() {
            self.perform(effect);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::StartCapture { permit, settings } => {
                tracing::debug!("the camera is to open: {}", status::capture_in_words(settings));
                self.storage.admit(permit.epoch());
                self.source.start(permit, settings);
            }
            Effect::StopCapture { epoch, manner, reason } => {
                for step in manner.steps() {
                    match step {
                        ClosingStep::Invalidate => self.storage.revoke(),
                        ClosingStep::Close => self.source.stop(epoch, manner, reason),
                        ClosingStep::DropRest => self.storage.drop_run(epoch, reason),
                    }
                }
                tracing::info!("the camera closes: {}", reason.text());
            }
            Effect::Light { ticket, on } => {
                if let Err(why) = self.indicator.set(ticket, on) {
                    let now = clock::now(self.trust);
                    self.machine.handle(Input::LightSet { ticket, result: Err(why) }, now);
                }
            }
            Effect::Note { time, clock, what } => self.keeper.note(time, clock, what),
            Effect::RaiseTombstone(fact) => self.tombstones.raise(fact),
            Effect::LiftTombstone(fact) => self.tombstones.lift(fact),
            Effect::Persist { ticket, fact, forbids } => {
                if let Err(why) = self.keeper.keep(ticket, fact, forbids) {
                    let now = clock::now(self.trust);
                    self.machine.handle(Input::Persisted { ticket, result: Err(why) }, now);
                }
            }
            Effect::Ack(token) => self.broker.ack(token),
            Effect::Publish(report) => self.publish(report),
            Effect::Upload { segment, time, clock, share } => self.upload(segment, time, clock, share),
            Effect::CancelUpload { serial } => {
                if let Some(upload) = self.upload_handles.remove(&serial) {
                    upload.abort();
                }
            }
            // The reason was reported as an event.
            Effect::Forget { serial, why: _ } => self.storage.forget(serial),
            Effect::EvictAside => self.storage.evict_aside(),
            Effect::CutBack { serial, keep } => self.storage.cut_back(serial, keep),
            Effect::MoveEnd { serial, record, reason } => self.storage.move_end(serial, record, reason),
            Effect::AskAgain => self.broker.subscribe_again(),
            Effect::AskStore => {
                let uploader = Arc::clone(&self.uploader);
                self.uploads.spawn(async move { Input::StoreAnswered(uploader.store_answers().await) });
            }
            Effect::SetTerms { plan, history_hours } => self.storage.set_terms(plan, history_hours),
            Effect::FlushSpool => self.storage.flush(),
            Effect::ProbeStorage => self.storage.probe(),
            Effect::Exit => self.leaving = true,
            Effect::Abort => {
                // The event has logged the cause.
                tracing::info!("the process ends now");
                boot::end_at_once();
            }
        }
    }

    fn publish(&mut self, mut report: Report) {
        match &mut report {
            Report::Telemetry(telemetry) => {
                telemetry.peak_rss_kib = boot::peak_rss_kib();
                telemetry.certificate_days_left = self.certificate_days_left(clock::utc());
                telemetry.journal = self.keeper.head().into();
                telemetry.dropped_events = self.broker.dropped_events();
            }
            Report::Event(event) => status::log_event(event),
            Report::Privacy(_) | Report::Entitlement(_) => {}
        }
        self.broker.publish(report);
    }

    /// Opens the segment on a separate thread, and sends it from its file in a separate task.
    fn upload(&mut self, mut segment: Segment, time: Utc, key_clock: KeyClock, share: Share) {
        let serial = segment.serial;
        let uploader = Arc::clone(&self.uploader);
        // If the key has another time than was recorded, the times inside the file are shifted by the
        // difference.
        let shift = match key_clock {
            KeyClock::Trusted => 0,
            KeyClock::Corrected | KeyClock::Plausible => time.0.saturating_sub(segment.record.start_utc.0),
        };
        let (reader, inputs) = (self.storage.reader(), self.storage.inputs());
        let task = async move {
            let began = clock::mono();
            let half_sent = Arc::new(Notify::new());
            let outcome = match body(reader, &mut segment, shift).await {
                Ok(body) => {
                    let share = (share, Arc::clone(&half_sent));
                    let upload = uploader.upload(share, &segment, time, key_clock, body);
                    let outcome = telling_of_half(upload, &half_sent, &inputs, serial).await;
                    if uploader.found_replacing() {
                        let _the_agent_has_left = inputs.send(Input::StoreReplaces).await;
                    }
                    outcome
                }
                Err(why) => Outcome::Retry { scope: Scope::Segment, after: None, why },
            };
            Input::UploadFinished { serial, outcome, took: clock::mono().since(began) }
        };
        let handle = self.uploads.spawn(task);
        if let Some(earlier) = self.upload_handles.insert(serial, handle) {
            earlier.abort();
        }
        let running = &self.uploads;
        if self.upload_handles.len() > running.len() {
            self.upload_handles.retain(|_, handle| !handle.is_finished());
        }
    }
}

/// Runs an upload, and tells the loop when more than half of it is sent: from then on it is not evicted to
/// make room.
async fn telling_of_half(
    upload: impl Future<Output = Outcome>,
    half_sent: &Notify,
    inputs: &mpsc::Sender<Input>,
    serial: Serial,
) -> Outcome {
    let mut upload = std::pin::pin!(upload);
    tokio::select! {
        biased;
        outcome = &mut upload => outcome,
        () = half_sent.notified() => {
            // The loop receives it before the end of the upload, which is queued after it.
            let telling = inputs.send(Input::UploadPastHalf { serial });
            let (outcome, _told) = tokio::join!(upload, telling);
            outcome
        }
    }
}

/// The bytes to send for a segment: the end of a span is an empty object.
async fn body(reader: SegmentReader, segment: &mut Segment, shift: i64) -> Result<Arc<dyn Body>, String> {
    if segment.is_end() {
        return Ok(Arc::new(Bytes::new()));
    }
    let serial = segment.serial;
    match tokio::task::spawn_blocking(move || reader.open(serial, shift)).await {
        Ok(Ok(footage)) => {
            if let Content::Footage { duration, .. } = &mut segment.content {
                *duration = footage.duration();
            }
            Ok(Arc::new(footage))
        }
        Ok(Err(e)) => Err(e.to_string()),
        Err(e) => Err(format!("reading it failed: {e}")),
    }
}
