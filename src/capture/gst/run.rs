//! A run, as its threads share it: the order to end it, what happens to it, and the pipeline that two of them close.

use super::control::Control;
use super::{Describe, Report, flag};
use crate::capture::GiveFrame;
use crate::capture::units::Unit;
use crate::domain::effect::{CaptureSettings, StopManner};
use crate::domain::fragment::{Captured, Epoch, SpanEnd, Timing};
use crate::domain::input::Fault;
use crate::domain::time::Mono;
use crate::system::clock::mono;
use crossbeam_channel::{Receiver, Sender, bounded};
use gst::prelude::*;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// An order to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct StopOrder {
    pub(super) manner: StopManner,
    pub(super) reason: SpanEnd,
}

/// What happens to a pipeline.
#[derive(Debug)]
pub(super) enum Event {
    Playing,
    Latency,
    /// All that was captured has been handed over.
    HandedOver,
    /// What comes cannot be kept, and why; or it can again.
    Trouble(Option<String>),
    /// So many holes are in what came, since this was told last, and about so many frames are missing in them.
    Holes(u64, u64),
    /// Audio is being stored.
    AudioStarted,
    /// Audio is wanted, and none is being stored.
    AudioMissing(String),
    /// The board's microphone gives no more.
    MicrophoneFailed(String),
    Failed(Fault),
}

/// What a run has to do with the outside.
pub(super) struct Outside {
    pub(super) chunks: Sender<Captured>,
    pub(super) report: Report,
    /// The audio of the source itself failed: the next run does without.
    pub(super) audio_failed: Arc<AtomicBool>,
    /// What a pipeline warned of last: a source that is tried again every few seconds says it once.
    pub(super) warned: Arc<Mutex<String>>,
    pub(super) learnt: Arc<super::Learnt>,
    pub(super) refusals: Arc<Mutex<crate::capture::refusals::Refusals>>,
    /// The camera refuses TCP: the next run asks for UDP.
    pub(super) udp: Arc<AtomicBool>,
    pub(super) previous: Option<Receiver<()>>,
    /// Dropped with this: the run has said all.
    pub(super) _done: Sender<()>,
}

/// What the threads of a run share.
pub(super) struct Shared {
    /// Nothing more is handed over.
    quit: AtomicBool,
    /// Disconnected when `quit` is set, to wake whoever waits for room in the channel.
    quit_tx: Mutex<Option<Sender<()>>>,
    pub(super) quit_rx: Receiver<()>,
    events: Sender<Event>,
    /// When the last picture went into the muxer, and when the last chunk came out.
    pub(super) last_frame: AtomicU64,
    pub(super) last_chunk: AtomicU64,
    pub(super) any_chunk: AtomicBool,
    /// When audio came last; 0 before.
    pub(super) last_audio: AtomicU64,
    /// Lines of the picture that is too large for the plan; 0 where none came.
    pub(super) too_many: AtomicU32,
    /// By how much the newest packet came after its capture, in microseconds; [`NO_LAG`] where nothing tells.
    lag: AtomicU32,
    /// Who waits for a frame at which decoding can begin.
    wanted: Mutex<Option<GiveFrame>>,
}

const NO_LAG: u32 = u32::MAX;

impl Shared {
    /// Never blocks: it is called on streaming threads. Should so much happen that there is no
    /// room, what is lost is told again or is not the first fault.
    pub(super) fn tell(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            tracing::debug!("an event of the pipeline was passed over");
        }
    }

    pub(super) fn arrived(&self, at: Mono) {
        self.last_frame.store(at.0, Ordering::Release);
    }

    pub(super) fn handed_over(&self, at: Mono) {
        self.last_chunk.store(at.0, Ordering::Release);
        self.any_chunk.store(true, Ordering::Release);
    }

    /// The newest packet came so long after its capture, where the camera tells.
    pub(super) fn lags(&self, lag: Option<Duration>) {
        let micros = lag.and_then(|lag| u32::try_from(lag.as_micros()).ok());
        self.lag.store(micros.unwrap_or(NO_LAG), Ordering::Release);
    }

    /// How the times of what comes over the network were come by.
    pub(super) fn timing(&self) -> Timing {
        match self.lag.load(Ordering::Acquire) {
            NO_LAG => Timing::Arrival,
            lag_us => Timing::Camera { lag_us },
        }
    }

    pub(super) fn audio_arrived(&self, at: Mono) {
        self.last_audio.store(at.0, Ordering::Release);
    }

    /// Gives a frame at which decoding can begin to whoever waits for one.
    pub(super) fn give_to_waiting(&self, unit: &Unit) {
        let waiting = self.wanted.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(give) = waiting.filter(|_| !self.quits()) {
            give(unit.to_annex_b());
        }
    }

    pub(super) fn quits(&self) -> bool {
        flag(&self.quit)
    }

    pub(super) fn quit(&self) {
        self.quit.store(true, Ordering::Release);
        drop(self.quit_tx.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// The pipeline, where control and closer both find it. Whoever changes its state holds the lock,
/// so that a NULL is never followed by a PLAYING.
#[derive(Default)]
pub(super) struct PipelineSlot {
    pub(super) pipeline: Option<gst::Pipeline>,
    pub(super) closed: bool,
}

/// The caller's end of a run.
pub(super) struct CaptureRun {
    epoch: Epoch,
    shared: Arc<Shared>,
    stops: Sender<StopOrder>,
    close: Sender<()>,
}

impl CaptureRun {
    /// Starts the threads; the rest is up to them.
    pub(super) fn begin(
        epoch: Epoch,
        settings: CaptureSettings,
        describe: Describe,
        outside: Outside,
    ) -> io::Result<CaptureRun> {
        let (events_tx, events) = bounded(64);
        let (stops_tx, stops) = bounded(4);
        let (close_tx, close) = bounded(1);
        let (closed_tx, closed) = bounded(1);
        let (quit_tx, quit_rx) = bounded(0);
        let shared = Arc::new(Shared {
            quit: AtomicBool::new(false),
            quit_tx: Mutex::new(Some(quit_tx)),
            quit_rx,
            events: events_tx,
            last_frame: AtomicU64::new(0),
            last_chunk: AtomicU64::new(0),
            any_chunk: AtomicBool::new(false),
            last_audio: AtomicU64::new(0),
            too_many: AtomicU32::new(0),
            lag: AtomicU32::new(NO_LAG),
            wanted: Mutex::new(None),
        });
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
        *self.shared.wanted.lock().unwrap_or_else(PoisonError::into_inner) = Some(give);
    }

    /// Never blocks. A Drop wakes the closer itself: one change of thread to the device.
    pub(super) fn stop(&self, stop: StopOrder) {
        if stop.manner == StopManner::Drop {
            self.shared.quit();
            let _already_asked = self.close.try_send(());
        }
        let _already_over = self.stops.try_send(stop);
    }
}

/// Closes the devices of a pipeline, for good.
fn to_null(slot: &Mutex<PipelineSlot>) {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    slot.closed = true;
    if let Some(pipeline) = slot.pipeline.take() {
        if pipeline.set_state(gst::State::Null).is_err() {
            tracing::error!("GStreamer could not set the pipeline to NULL");
        }
    }
}
