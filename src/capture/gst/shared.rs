//! The state that the threads of a run share: orders to stop, events, and the pipelines that control and closer use.

use crate::capture::fragment_source::GiveFrame;
use crate::capture::pipeline::{Description, Unfit};
use crate::capture::refusals::Refusals;
use crate::capture::units::Unit;
use crate::domain::effect::{CaptureSettings, StopManner};
use crate::domain::fragment::{Captured, SpanEnd, Timing};
use crate::domain::input::{Fault, Input};
use crate::domain::time::Mono;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Receives inputs for the machine.
pub type Report = Arc<dyn Fn(Input) + Send + Sync>;
/// Describes the pipeline of a run.
pub(super) type Describe = Arc<dyn Fn(CaptureSettings) -> Result<Description, Unfit> + Send + Sync>;
/// Lines of a stream of the board, by its profile, if they are not as in the board file.
pub(super) type Learnt = Mutex<BTreeMap<usize, u32>>;

/// An order to stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct StopOrder {
    pub(super) manner: StopManner,
    pub(super) reason: SpanEnd,
}

/// Events of a pipeline.
#[derive(Debug)]
pub(super) enum Event {
    Playing,
    Latency,
    /// All captured frames have been delivered.
    HandedOver,
    /// Why frames cannot be stored; `None`: they can again.
    Trouble(Option<String>),
    /// Holes since the last report, and an estimate of the frames missing in them.
    Holes(u64, u64),
    /// Audio is stored.
    AudioStarted,
    /// Audio is wanted, but none is stored.
    AudioMissing(String),
    /// The board's microphone has failed.
    MicrophoneFailed(String),
    Failed(Fault),
}

/// What a run shares with the source and with other runs.
pub(super) struct Outside {
    pub(super) chunks: Sender<Captured>,
    pub(super) report: Report,
    /// The audio of the source failed: the next run has no audio.
    pub(super) audio_failed: Arc<AtomicBool>,
    /// The last warning of a pipeline: a source that is restarted every few seconds logs it once.
    pub(super) warned: Arc<Mutex<String>>,
    pub(super) learnt: Arc<Learnt>,
    pub(super) refusals: Arc<Mutex<Refusals>>,
    /// The camera refuses TCP: the next run uses UDP.
    pub(super) udp: Arc<AtomicBool>,
    pub(super) previous: Option<Receiver<()>>,
    /// Dropped with this, when the run has sent all its reports.
    pub(super) _done: Sender<()>,
}

/// The state that the threads of a run share.
pub(super) struct Shared {
    /// No more chunks are sent.
    quit: AtomicBool,
    /// Disconnected when `quit` is set, to wake a thread that waits for room in the channel.
    quit_tx: Mutex<Option<Sender<()>>>,
    pub(super) quit_rx: Receiver<()>,
    events: Sender<Event>,
    /// When the last frame came.
    pub(super) last_frame: AtomicU64,
    /// When the last chunk was made.
    pub(super) last_chunk: AtomicU64,
    pub(super) any_chunk: AtomicBool,
    /// When the last audio came; 0 before the first.
    pub(super) last_audio: AtomicU64,
    /// Lines of the frame that is too large for the plan; 0 if none came.
    pub(super) too_many: AtomicU32,
    /// Time from capture to arrival of the newest packet, in microseconds; [`NO_LAG`] if it is not known.
    lag: AtomicU32,
    /// The request for a frame at which decoding can begin.
    wanted: Mutex<Option<GiveFrame>>,
}

const NO_LAG: u32 = u32::MAX;

impl Shared {
    /// The state of a run that begins, and the receiver of its events.
    pub(super) fn new() -> (Shared, Receiver<Event>) {
        let (events, received) = bounded(64);
        let (quit_tx, quit_rx) = bounded(0);
        let shared = Shared {
            quit: AtomicBool::new(false),
            quit_tx: Mutex::new(Some(quit_tx)),
            quit_rx,
            events,
            last_frame: AtomicU64::new(0),
            last_chunk: AtomicU64::new(0),
            any_chunk: AtomicBool::new(false),
            last_audio: AtomicU64::new(0),
            too_many: AtomicU32::new(0),
            lag: AtomicU32::new(NO_LAG),
            wanted: Mutex::new(None),
        };
        (shared, received)
    }

    /// Requests the next frame at which decoding can begin.
    pub(super) fn want_frame(&self, give: GiveFrame) {
        *self.wanted.lock().unwrap_or_else(PoisonError::into_inner) = Some(give);
    }

    /// Sends an event. Never blocks: it is called on streaming threads. If the channel is full the event is lost;
    /// it will come again, or an earlier fault is in the channel.
    pub(super) fn send(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            tracing::debug!("an event of the pipeline was dropped");
        }
    }

    pub(super) fn arrived(&self, at: Mono) {
        self.last_frame.store(at.0, Ordering::Release);
    }

    pub(super) fn handed_over(&self, at: Mono) {
        self.last_chunk.store(at.0, Ordering::Release);
        self.any_chunk.store(true, Ordering::Release);
    }

    /// Notes the time from capture to arrival of the newest packet.
    pub(super) fn lags(&self, lag: Option<Duration>) {
        let micros = lag.and_then(|lag| u32::try_from(lag.as_micros()).ok());
        self.lag.store(micros.unwrap_or(NO_LAG), Ordering::Release);
    }

    /// The origin of the times of frames from the network.
    pub(super) fn timing(&self) -> Timing {
        match self.lag.load(Ordering::Acquire) {
            NO_LAG => Timing::Arrival,
            lag_us => Timing::Camera { lag_us },
        }
    }

    pub(super) fn audio_arrived(&self, at: Mono) {
        self.last_audio.store(at.0, Ordering::Release);
    }

    /// Gives a frame at which decoding can begin to the request that waits for one.
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

/// The pipeline, shared by control and closer. Every change of its state holds the lock, so that PLAYING never follows
/// NULL.
#[derive(Default)]
pub(super) struct PipelineSlot {
    pub(super) pipeline: Option<gst::Pipeline>,
    pub(super) closed: bool,
}

pub(super) fn flag(value: &AtomicBool) -> bool {
    value.load(Ordering::Acquire)
}
