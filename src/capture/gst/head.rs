//! Pushes samples from a file into the pipeline, on the thread that reads the file.
//!
//! There is no queue and no other thread between the two. A push waits for the time of the frame, and for room in the
//! next element.

use super::faults::fault;
use crate::domain::input::{Fault, FaultKind};
use gst::prelude::*;
use std::sync::{Mutex, PoisonError};

/// The first pad of a branch.
pub(super) struct Head {
    element: gst::Element,
    pad: gst::Pad,
    /// The last caps.
    caps: Mutex<Option<gst::Caps>>,
}

impl Head {
    /// The head of the element with this name, if the pipeline has it.
    pub(super) fn of(pipeline: &gst::Pipeline, name: &str) -> Option<Head> {
        let element = pipeline.by_name(name)?;
        let pad = element.static_pad("sink")?;
        Some(Head { element, pad, caps: Mutex::default() })
    }

    /// Sets the caps of the next samples.
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

    /// Pushes a sample; `false` if no more are taken.
    pub(super) fn push(&self, buffer: gst::Buffer) -> bool {
        match self.pad.chain(buffer) {
            Ok(_) => true,
            Err(gst::FlowError::Flushing | gst::FlowError::Eos) => false,
            Err(why) => {
                // A source would report this; here no source is above it.
                gst::element_error!(self.element, gst::StreamError::Failed, ["{}", why]);
                false
            }
        }
    }

    /// Ends the stream.
    pub(super) fn end(&self) {
        let caps = self.caps.lock().unwrap_or_else(PoisonError::into_inner);
        if caps.is_none() {
            self.pad.send_event(gst::event::StreamStart::new(&self.element.name()));
        }
        drop(caps);
        self.pad.send_event(gst::event::Eos::new());
    }

    /// The head of the video branch, which must exist.
    pub(super) fn of_frames(pipeline: &gst::Pipeline, name: &str) -> Result<Head, Fault> {
        Head::of(pipeline, name)
            .ok_or_else(|| fault(FaultKind::Pipeline, String::from("the pipeline has no input for a file")))
    }
}
