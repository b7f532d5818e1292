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
mod contents;
mod control;
mod demux;
mod doubts;
mod elements;
mod faults;
mod feed;
mod foreign;
mod head;
mod init;
mod intake;
mod keys;
mod microphone;
mod properties;
mod readback;
mod reports;
mod rtsp;
mod run;
mod samples;
mod shared;
mod source;
pub mod still;
pub mod survey;

pub use check::probe;
pub use doubts::doubts;
pub use shared::Report;

use super::board;
use super::fragment_source::{FragmentSource, GiveFrame};
use super::refusals::Refusals;
use crate::config::{Board, Recording};
use crate::domain::effect::{CaptureSettings, StopManner};
use crate::domain::fragment::{Captured, Epoch, SpanEnd};
use crate::domain::input::{FaultKind, Input};
use crate::domain::policy::Permit;
use crate::system::clock::mono;
use crossbeam_channel::{Receiver, Sender, bounded};
use faults::fault;
use run::CaptureRun;
use shared::{Describe, Learnt, Outside, StopOrder};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

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
