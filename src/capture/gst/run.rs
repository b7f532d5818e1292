//! A run: its control thread, and the closer that closes its devices.

use super::control::Control;
use super::shared::{Describe, Outside, PipelineSlot, Shared, StopOrder};
use crate::capture::fragment_source::GiveFrame;
use crate::domain::effect::{CaptureSettings, StopManner};
use crate::domain::fragment::Epoch;
use crate::system::clock::mono;
use crossbeam_channel::{Sender, bounded};
use gst::prelude::*;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// The caller's end of a run.
pub(super) struct CaptureRun {
    epoch: Epoch,
    shared: Arc<Shared>,
    stops: Sender<StopOrder>,
    close: Sender<()>,
}

impl CaptureRun {
    /// Starts the threads of the run.
    pub(super) fn begin(
        epoch: Epoch,
        settings: CaptureSettings,
        describe: Describe,
        outside: Outside,
    ) -> io::Result<CaptureRun> {
        let (stops_tx, stops) = bounded(4);
        let (close_tx, close) = bounded(1);
        let (closed_tx, closed) = bounded(1);
        let (shared, events) = Shared::new();
        let shared = Arc::new(shared);
        let slot = Arc::new(Mutex::new(PipelineSlot::default()));
        let microphone = Arc::new(Mutex::new(PipelineSlot::default()));
        {
            let (slot, microphone) = (Arc::clone(&slot), Arc::clone(&microphone));
            thread::Builder::new().name(String::from("capture-closer")).spawn(move || {
                if close.recv().is_ok() {
                    to_null(&slot);
                    to_null(&microphone);
                    let _control_is_gone = closed_tx.send(mono());
                }
            })?;
        }
        let control = Control {
            epoch,
            outside,
            shared: Arc::clone(&shared),
            slot,
            microphone,
            events,
            stops,
            close: close_tx.clone(),
            closed,
        };
        thread::Builder::new()
            .name(String::from("capture-control"))
            .spawn(move || control.run(settings, &describe))?;
        Ok(CaptureRun { epoch, shared, stops: stops_tx, close: close_tx })
    }

    pub(super) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(super) fn give_frame(&self, give: GiveFrame) {
        self.shared.want_frame(give);
    }

    /// Never blocks. A Drop wakes the closer directly, without the control thread.
    pub(super) fn stop(&self, stop: StopOrder) {
        if stop.manner == StopManner::Drop {
            self.shared.quit();
            let _already_asked = self.close.try_send(());
        }
        let _already_over = self.stops.try_send(stop);
    }
}

/// Closes the devices of a pipeline, permanently.
fn to_null(slot: &Mutex<PipelineSlot>) {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    slot.closed = true;
    if let Some(pipeline) = slot.pipeline.take() {
        if pipeline.set_state(gst::State::Null).is_err() {
            tracing::error!("GStreamer could not set the pipeline to NULL");
        }
    }
}
