//! Where what is read from a file goes into the pipeline: on the thread that reads it.
//!
//! There is no queue and no other thread between the two. Whoever pushes waits for the time of a frame, and for room
//! behind it.

use super::fault;
use crate::domain::input::{Fault, FaultKind};
use gst::prelude::*;
use std::sync::{Mutex, PoisonError};

/// The first pad of a branch.
pub(super) struct Head {
    element: gst::Element,
    pad: gst::Pad,
    /// What the frames are, as was told last.
    caps: Mutex<Option<gst::Caps>>,
}

impl Head {
    /// The one of the element of that name, where the pipeline has it.
    pub(super) fn of(pipeline: &gst::Pipeline, name: &str) -> Option<Head> {
        let element = pipeline.by_name(name)?;
        let pad = element.static_pad("sink")?;
        Some(Head { element, pad, caps: Mutex::default() })
    }

    /// Says what the frames from here on are.
    pub(super) fn set_caps(&self, caps: &gst::CapsRef) {
        let mut before = self.caps.lock().unwrap_or_else(PoisonError::into_inner);
        if before.as_deref() == Some(caps) {
            return;
        }
        let caps = caps.to_owned();
        if before.is_none() {
            self.pad.send_event(gst::event::StreamStart::new(&self.element.name()));
        }
        self.pad.send_event(gst::event::Caps::new(&caps));
        if before.is_none() {
            let times = gst::FormattedSegment::<gst::ClockTime>::new();
            self.pad.send_event(gst::event::Segment::new(&times));
        }
        *before = Some(caps);
    }

    /// Pushes a frame through; `false` where no more is taken.
    pub(super) fn push(&self, buffer: gst::Buffer) -> bool {
        match self.pad.chain(buffer) {
            Ok(_) => true,
            Err(gst::FlowError::Flushing | gst::FlowError::Eos) => false,
            Err(why) => {
                // Nobody above it tells, as a source would.
                gst::element_error!(self.element, gst::StreamError::Failed, ["{}", why]);
                false
            }
        }
    }

    /// Nothing follows.
    pub(super) fn end(&self) {
        let caps = self.caps.lock().unwrap_or_else(PoisonError::into_inner);
        if caps.is_none() {
            self.pad.send_event(gst::event::StreamStart::new(&self.element.name()));
        }
        drop(caps);
        self.pad.send_event(gst::event::Eos::new());
    }

    /// The head of the frames, without which there is nothing to do.
    pub(super) fn of_frames(pipeline: &gst::Pipeline, name: &str) -> Result<Head, Fault> {
        Head::of(pipeline, name)
            .ok_or_else(|| fault(FaultKind::Pipeline, String::from("the pipeline takes nothing from a file")))
    }
}
