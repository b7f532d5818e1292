//! GStreamer: only this module and those below use its API.
//!
//! The agent adds these threads to a run: *control* builds the pipeline, waits for its events, and ends the run;
//! *closer* waits from the start and only sets the pipeline to NULL, so that a privacy stop creates no thread and waits
//! for none. A file source also has *readers*. All other threads are GStreamer's: they mux the frames and deliver the
//! chunks.

mod access;
mod basket;
mod build;
mod bus;
mod card;
mod check;
mod control;
mod demux;
mod doubts;
mod feed;
mod foreign;
mod head;
mod intake;
mod keys;
mod microphone;
mod properties;
mod readback;
mod reports;
mod run;
mod source;
pub mod still;
pub mod survey;

pub use check::probe;
pub use doubts::doubts;

use super::board::{self, Description, Unfit};
use super::refusals::Refusals;
use super::{FragmentSource, GiveFrame};
use crate::config::{Board, FrameRate, Recording};
use crate::domain::codec::Codec;
use crate::domain::effect::{CaptureSettings, StopManner};
use crate::domain::fragment::{Captured, Epoch, SpanEnd};
use crate::domain::input::{Fault, FaultKind, Input};
use crate::domain::policy::Permit;
use crate::system::clock::mono;
use crossbeam_channel::{Receiver, Sender, bounded};
use run::{CaptureRun, Outside, StopOrder};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Receives inputs for the machine.
pub type Report = Arc<dyn Fn(Input) + Send + Sync>;
/// Describes the pipeline of a run.
pub type Describe = Arc<dyn Fn(CaptureSettings) -> Result<Description, Unfit> + Send + Sync>;

/// Captures with GStreamer.
///
/// `Input::CaptureStarted` comes when the pipeline has reached PLAYING: from then on the devices are open and running,
/// even if no frame has come yet.
pub struct GstSource {
    describe: Describe,
    chunks: Sender<Captured>,
    report: Report,
    current: Option<CaptureRun>,
    /// Disconnected when the previous run has sent all its reports.
    previous: Option<Receiver<()>>,
    /// The audio of the source failed in the last run: the next run has no audio.
    audio_failed: Arc<AtomicBool>,
    /// The camera refuses TCP.
    udp: Arc<AtomicBool>,
    /// The last warning of a pipeline.
    warned: Arc<Mutex<String>>,
    /// Lines that the streams of the board were seen to have.
    learnt: Arc<Learnt>,
    /// The answers of network cameras to logins.
    refusals: Arc<Mutex<Refusals>>,
}

/// Lines of a stream of the board, by its profile, if they are not as in the board file.
type Learnt = Mutex<BTreeMap<usize, u32>>;

impl GstSource {
    /// Chunks go to `chunks`, which is bounded; inputs for the machine go to `report`, which may block.
    #[must_use]
    pub fn new(board: Board, recording: Recording, chunks: Sender<Captured>, report: Report) -> GstSource {
        let learnt = Arc::<Learnt>::default();
        let known = Arc::clone(&learnt);
        let describe = move |settings| {
            let learnt =
                |profile: usize| known.lock().unwrap_or_else(PoisonError::into_inner).get(&profile).copied();
            board::describe_learnt(&board, &recording, settings, learnt)
        };
        let mut source = GstSource::described(Arc::new(describe), chunks, report);
        source.learnt = learnt;
        source
    }

    /// Captures with a pipeline that the caller describes.
    #[must_use]
    pub fn described(describe: Describe, chunks: Sender<Captured>, report: Report) -> GstSource {
        GstSource {
            describe,
            chunks,
            report,
            current: None,
            previous: None,
            audio_failed: Arc::default(),
            udp: Arc::default(),
            warned: Arc::default(),
            learnt: Arc::default(),
            refusals: Arc::default(),
        }
    }
}

impl FragmentSource for GstSource {
    fn start(&mut self, permit: Permit, settings: CaptureSettings) {
        let epoch = permit.epoch();
        if let Some(run) = self.current.take() {
            // The machine never does that. Two runs must never hold a device at the same time.
            run.stop(StopOrder { manner: StopManner::Drain, reason: SpanEnd::Source });
        }
        let (done_tx, done) = bounded::<()>(0);
        let outside = Outside {
            chunks: self.chunks.clone(),
            report: Arc::clone(&self.report),
            audio_failed: Arc::clone(&self.audio_failed),
            udp: Arc::clone(&self.udp),
            warned: Arc::clone(&self.warned),
            learnt: Arc::clone(&self.learnt),
            refusals: Arc::clone(&self.refusals),
            previous: self.previous.replace(done),
            _done: done_tx,
        };
        match CaptureRun::begin(epoch, settings, Arc::clone(&self.describe), outside) {
            Ok(run) => self.current = Some(run),
            Err(why) => (self.report)(Input::CaptureClosed {
                epoch,
                at: mono(),
                fault: Some(fault(FaultKind::Pipeline, format!("no thread for capture: {why}"))),
            }),
        }
    }

    fn give_frame(&mut self, epoch: Epoch, give: GiveFrame) {
        if let Some(run) = self.current.as_ref().filter(|run| run.epoch() == epoch) {
            run.give_frame(give);
        }
    }

    fn stop(&mut self, epoch: Epoch, manner: StopManner, reason: SpanEnd) {
        if let Some(run) = self.current.as_ref().filter(|run| run.epoch() == epoch) {
            run.stop(StopOrder { manner, reason });
        }
    }
}

/// Closes the devices.
impl Drop for GstSource {
    fn drop(&mut self) {
        if let Some(run) = self.current.take() {
            run.stop(StopOrder { manner: StopManner::Drop, reason: SpanEnd::Shutdown });
        }
    }
}

fn fault(kind: FaultKind, message: String) -> Fault {
    Fault { kind, message }
}

/// The codec of `source` is not that of the board file.
fn wrong_codec(source: &str, wanted: Codec, given: Codec) -> Fault {
    let message = format!(
        "{source} gives {}, and the board says {}: set it to {}, or write video.codec = \"{}\" in the board file",
        given.name(),
        wanted.name(),
        wanted.name(),
        given.word()
    );
    fault(FaultKind::WrongCodec, message)
}

/// Initialises GStreamer once; later calls return the first result.
fn initialise() -> Result<(), String> {
    static DONE: OnceLock<Result<(), String>> = OnceLock::new();
    DONE.get_or_init(|| gst::init().map_err(|why| format!("GStreamer does not start: {}", why.message())))
        .clone()
}

fn fraction(rate: FrameRate) -> gst::Fraction {
    let part = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    gst::Fraction::new(part(rate.numerator()), part(rate.denominator()))
}

fn flag(value: &AtomicBool) -> bool {
    value.load(Ordering::Acquire)
}
