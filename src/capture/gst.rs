//! Capture through GStreamer. This file and those in its folder are the only ones that name it.
//!
//! A run has three threads of its own, made when it starts, so that nothing has to be made when it
//! is to end: `capture` hears the bus and whoever stops it, `chunks` pulls from the sink and hands
//! on, and `closer` does nothing but wait to set the pipeline to NULL. A streaming thread may never
//! do that, and no one else may be kept waiting by a driver that takes its time.

mod chunks;
mod pipeline;
mod run;

use super::FragmentSource;
use super::board::{AAC_ENCODERS, Container, Installed};
use crate::config::{Board, Recording, VideoSource};
use crate::domain::effect::{CaptureSettings, StopManner};
use crate::domain::fragment::{Captured, Epoch, SpanEnd};
use crate::domain::input::{Fault, FaultKind, Input};
use crate::domain::policy::Permit;
use crossbeam_channel::Sender;
use gst::prelude::*;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

/// Told what happens; may block for as long as the agent is busy.
pub type Report = Arc<dyn Fn(Input) + Send + Sync>;

/// The source of a board.
pub struct GstSource {
    board: Board,
    recording: Recording,
    chunks: Sender<Captured>,
    report: Report,
    run: Option<run::Handle>,
}

impl GstSource {
    #[must_use]
    pub fn new(board: Board, recording: Recording, chunks: Sender<Captured>, report: Report) -> GstSource {
        GstSource { board, recording, chunks, report, run: None }
    }
}

impl FragmentSource for GstSource {
    fn start(&mut self, permit: Permit, settings: CaptureSettings) {
        let order = run::Order {
            epoch: permit.epoch(),
            board: self.board.clone(),
            recording: self.recording.clone(),
            settings,
            chunks: self.chunks.clone(),
            report: Arc::clone(&self.report),
        };
        self.run = Some(run::start(order));
    }

    fn stop(&mut self, epoch: Epoch, manner: StopManner, reason: SpanEnd) {
        if let Some(run) = self.run.as_ref().filter(|run| run.epoch == epoch) {
            run.stop(manner, reason);
        }
    }
}

impl Drop for GstSource {
    fn drop(&mut self) {
        if let Some(run) = &self.run {
            run.stop(StopManner::Drop, SpanEnd::Shutdown);
        }
    }
}

/// Readies GStreamer and the muxer that is linked into this program. Every call after the first is free.
///
/// # Errors
/// What GStreamer says, and what to do.
pub(crate) fn ready() -> Result<(), Fault> {
    let fault = |e: String| Fault {
        kind: FaultKind::Pipeline,
        message: format!("GStreamer does not start: {e} (is libgstreamer1.0-0 whole?)"),
    };
    gst::init().map_err(|e| fault(e.to_string()))?;
    gstfmp4::plugin_register_static().map_err(|e| fault(e.to_string()))
}

/// What is wrong with a board on this machine, before anything is opened: elements that are not
/// installed, a device or file that is not there or may not be read.
#[must_use]
pub fn problems(board: &Board, recording: &Recording, audio: bool) -> Vec<String> {
    if let Err(fault) = ready() {
        return vec![fault.message];
    }
    let mut found = Vec::new();
    let settings = CaptureSettings { audio, max_height: board.video.height };
    match plan(board, recording, settings) {
        Err(fault) => found.push(fault.message),
        Ok(plan) => {
            let elements = plan.shared.iter().chain(&plan.video).chain(plan.audio.iter().flatten());
            for element in elements {
                if gst::ElementFactory::find(&element.factory).is_none() {
                    found.push(pipeline::not_installed(&element.factory));
                }
            }
        }
    }
    match &board.video.source {
        VideoSource::V4l2 { device } => {
            // Non-blocking, and closed again at once: no frame is asked for.
            let opened = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(device);
            if let Err(e) = opened {
                found.push(format!("{}: {e} (board: video.source.device)", device.display()));
            }
        }
        VideoSource::Libcamera { .. } | VideoSource::Rtsp { .. } | VideoSource::File { .. } | VideoSource::Test => {}
    }
    found.sort();
    found.dedup();
    found
}

/// The plan of a board, with what is installed and what is in its file.
pub(super) fn plan(
    board: &Board,
    recording: &Recording,
    settings: CaptureSettings,
) -> Result<super::board::Plan, Fault> {
    let container = match &board.video.source {
        VideoSource::File { path, .. } => container(path)?,
        VideoSource::V4l2 { .. } | VideoSource::Libcamera { .. } | VideoSource::Rtsp { .. } | VideoSource::Test => None,
    };
    super::board::plan(board, recording, settings, &installed(), container)
        .map_err(|message| Fault { kind: FaultKind::DeviceMissing, message })
}

fn installed() -> Installed {
    let is_there = |factory: &str| gst::ElementFactory::find(factory).is_some();
    Installed {
        test_encoder: if is_there("x264enc") { "x264" } else { "openh264" },
        aac_encoder: AAC_ENCODERS.into_iter().find(|factory| is_there(factory)).unwrap_or("avenc_aac"),
    }
}

fn container(path: &Path) -> Result<Option<Container>, Fault> {
    let read = || -> std::io::Result<Vec<u8>> {
        let file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        let mut head = Vec::new();
        file.take(16).read_to_end(&mut head)?;
        Ok(head)
    };
    match read() {
        Ok(head) => Ok(Container::sniff(&head)),
        Err(e) => Err(Fault {
            kind: FaultKind::DeviceMissing,
            message: format!("{}: {e} (board: video.source.path)", path.display()),
        }),
    }
}
