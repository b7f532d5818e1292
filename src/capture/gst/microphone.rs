//! The board's microphone: a second pipeline with the same clock as the video. If it fails, stalls or disappears, the
//! video continues, and it is opened again with growing pauses.

use super::build;
use super::bus;
use super::intake::Intake;
use super::shared::{PipelineSlot, Shared};
use crate::capture::pipeline::Stage;
use crate::domain::backoff::{Backoff, Jitter};
use crate::domain::input::Fault;
use crate::domain::time::Mono;
use crate::system::clock::mono;
use gst::prelude::*;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Without audio for this time it has stalled.
const STALL_TIMEOUT: Duration = Duration::from_secs(5);
/// For the first audio.
const FIRST_AUDIO_TIMEOUT: Duration = Duration::from_secs(10);
/// Pauses before it is opened again.
const MIN_PAUSE: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const MAX_PAUSE: Duration = Duration::from_secs(60);

pub(super) struct Microphone {
    stages: Vec<Stage>,
    slot: Arc<Mutex<PipelineSlot>>,
    intake: Arc<Intake>,
    shared: Arc<Shared>,
    base: Option<gst::ClockTime>,
    backoff: Backoff,
    jitter: Jitter,
    /// When it was opened, while it is.
    opened: Option<Mono>,
    /// When it is to be opened again.
    reopen_at: Option<Mono>,
}

impl Microphone {
    pub(super) fn new(
        stages: Vec<Stage>,
        slot: &Arc<Mutex<PipelineSlot>>,
        intake: &Arc<Intake>,
        shared: &Arc<Shared>,
    ) -> Microphone {
        Microphone {
            stages,
            slot: Arc::clone(slot),
            intake: Arc::clone(intake),
            shared: Arc::clone(shared),
            base: None,
            backoff: Backoff::new(MIN_PAUSE, FIRST_PAUSE, MAX_PAUSE),
            jitter: Jitter::new(mono().0),
            opened: None,
            reopen_at: None,
        }
    }

    /// Opens it with the base time of the video pipeline. Returns the reason if it cannot be opened.
    pub(super) fn begin(&mut self, base: Option<gst::ClockTime>) -> Option<String> {
        self.base = base;
        self.open()
    }

    fn open(&mut self) -> Option<String> {
        self.reopen_at = None;
        match self.try_open() {
            Ok(()) => {
                self.opened = Some(mono());
                None
            }
            Err(why) => Some(self.failed(why.message)),
        }
    }

    fn try_open(&self) -> Result<(), Fault> {
        let pipeline = build::clocked();
        let (_elements, sink) = build::branch(&pipeline, &self.stages)?;
        bus::listen_to_microphone(&pipeline, &self.shared);
        self.intake.take_audio(&sink);
        pipeline.set_start_time(gst::ClockTime::NONE);
        if let Some(base) = self.base {
            pipeline.set_base_time(base);
        }
        // Every change of state holds the lock, so that PLAYING never follows NULL.
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.closed {
            return Ok(());
        }
        slot.pipeline = Some(pipeline.clone());
        // An error comes through its bus.
        let _error_comes_by_bus = pipeline.set_state(gst::State::Playing);
        Ok(())
    }

    /// Closes it after a failure; it is opened again later. Returns the reason, for the report.
    pub(super) fn failed(&mut self, why: String) -> String {
        self.opened = None;
        if self.reopen_at.is_none() {
            self.reopen_at = Some(mono() + self.backoff.next(&mut self.jitter));
        }
        let pipeline = {
            let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
            let pipeline = slot.pipeline.take();
            if let Some(pipeline) = &pipeline {
                let _a_device_that_is_gone = pipeline.set_state(gst::State::Null);
            }
            pipeline
        };
        drop(pipeline);
        self.intake.give_up_audio();
        why
    }

    /// Checks it, and opens it again if that is due. Returns a failure, for the report.
    pub(super) fn check(&mut self) -> Option<String> {
        let now = mono();
        if self.reopen_at.is_some_and(|reopen_at| reopen_at <= now) {
            return self.open();
        }
        let opened = self.opened?;
        let last = Mono(self.shared.last_audio.load(Ordering::Acquire));
        let stalled = if last < opened {
            now.since(opened) > FIRST_AUDIO_TIMEOUT
        } else {
            now.since(last) > STALL_TIMEOUT
        };
        if stalled {
            return Some(self.failed(String::from("the microphone is open, but no audio comes from it")));
        }
        None
    }

    /// Notes that audio comes: the pauses start from the shortest again.
    pub(super) fn works(&mut self) {
        self.backoff.reset();
    }

    /// Ends its stream, so that the rest is delivered.
    pub(super) fn drain(&self) {
        let slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pipeline) = &slot.pipeline {
            pipeline.send_event(gst::event::Eos::new());
        }
    }
}
