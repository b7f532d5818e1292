//! Builds the pipeline of a description.

use super::elements::{grows, make, name, none_of};
use super::faults::fault;
use super::foreign;
use crate::capture::pipeline::{Description, Element, Origin, Stage, media as media_of};
use crate::domain::codec::Codec;
use crate::domain::input::{Fault, FaultKind};
use gst::prelude::*;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// A pipeline that is built, but not started.
pub(super) struct Built {
    pub(super) pipeline: gst::Pipeline,
    /// The end of the video branch.
    pub(super) frames: gst_app::AppSink,
    /// The end of the audio branch.
    pub(super) audio: Option<gst_app::AppSink>,
    /// The elements of the audio branch, in order.
    pub(super) audio_branch: Vec<gst::Element>,
    /// The source of both branches, and the first element of the video branch.
    pub(super) rtsp: Option<(gst::Element, gst::Element)>,
    /// Comes before the audio branch of an RTSP camera; empty until its encoding is known.
    pub(super) audio_bin: Option<gst::Bin>,
    /// The expected codec.
    pub(super) codec: Codec,
    /// The encodings that the camera offers.
    pub(super) offers: Arc<Mutex<BTreeSet<String>>>,
}

/// Builds a pipeline, with the audio branch of the description if `audio` is set.
pub(super) fn build(description: &Description, audio: bool) -> Result<Built, Fault> {
    let pipeline = clocked();
    let (elements, frames) = branch(&pipeline, &description.video)?;
    let (mut audio_branch, audio) = match description.audio.as_ref().filter(|_| audio) {
        Some(stages) => {
            let (elements, sink) = branch(&pipeline, stages)?;
            (elements, Some(sink))
        }
        None => (Vec::new(), None),
    };
    let rtsp = match &description.origin {
        Origin::Rtsp(element) => {
            let source = make(element)?;
            add(&pipeline, &source)?;
            elements.first().map(|head| (source, head.clone()))
        }
        Origin::Branches | Origin::File { .. } => None,
    };
    let audio_bin = (rtsp.is_some() && !audio_branch.is_empty()).then(gst::Bin::new);
    if let Some(bin) = &audio_bin {
        add(&pipeline, bin.upcast_ref())?;
        audio_branch.push(bin.clone().upcast());
    }
    let codec = description.codec;
    Ok(Built { pipeline, frames, audio, audio_branch, rtsp, codec, audio_bin, offers: Arc::default() })
}

/// An empty pipeline.
pub(super) fn clocked() -> gst::Pipeline {
    let pipeline = gst::Pipeline::new();
    // GStreamer might choose an audio clock; the time of a frame must be CLOCK_MONOTONIC.
    let clock = gst::SystemClock::obtain();
    clock.set_property("clock-type", gst::ClockType::Monotonic);
    pipeline.use_clock(Some(&clock));
    pipeline
}

/// Creates and links a branch; returns its elements and its end.
pub(super) fn branch(
    pipeline: &gst::Pipeline,
    stages: &[Stage],
) -> Result<(Vec<gst::Element>, gst_app::AppSink), Fault> {
    let mut elements = elements_of(stages)?;
    let end = make(&sink())?;
    elements.push(end.clone());
    for element in &elements {
        add(pipeline, element)?;
    }
    for (from, to) in elements.iter().zip(elements.iter().skip(1)) {
        link(from, to)?;
    }
    let sink = end
        .downcast::<gst_app::AppSink>()
        .map_err(|_| fault(FaultKind::Pipeline, String::from("a branch must end in an appsink")))?;
    Ok((elements, sink))
}

fn elements_of(stages: &[Stage]) -> Result<Vec<gst::Element>, Fault> {
    let mut elements = Vec::new();
    for stage in stages {
        match stage {
            Stage::Element(element) => elements.push(make(element)?),
            Stage::FirstOf(chains) => elements.extend(first_of(chains)?),
            Stage::Optional(element) => match make(element) {
                Ok(made) => elements.push(made),
                Err(why) => tracing::debug!("an optional element is left out: {}", why.message),
            },
            Stage::Foreign(description) => elements.push(foreign::make(description)?),
            Stage::Caps(caps) => elements.push(make(&Element::new("capsfilter").with("caps", caps))?),
        }
    }
    Ok(elements)
}

/// Adds to a running bin the elements from RTP packets to `tail`.
pub(super) fn fill(bin: &gst::Bin, stages: &[Stage], tail: &gst::Element) -> Result<gst::Pad, Fault> {
    let elements = elements_of(stages)?;
    let broken = |what: &str| fault(FaultKind::Pipeline, format!("the audio branch {what}"));
    for element in &elements {
        bin.add(element).map_err(|_| broken("does not take its elements"))?;
    }
    for (from, to) in elements.iter().zip(elements.iter().skip(1)) {
        link(from, to)?;
    }
    let end = |element: Option<&gst::Element>, name: &str| {
        let pad = element.and_then(|element| element.static_pad(name)).ok_or_else(|| broken("has no end"))?;
        let pad = gst::GhostPad::with_target(&pad).map_err(|_| broken("has no way out"))?;
        bin.add_pad(&pad).map_err(|_| broken("has no way out"))?;
        Ok(pad)
    };
    let (into, out) = (end(elements.first(), "sink")?, end(elements.last(), "src")?);
    let next = tail.static_pad("sink").ok_or_else(|| broken("has no end"))?;
    out.link(&next).map_err(|_| broken("does not give AAC"))?;
    into.set_active(true).map_err(|_| broken("does not start"))?;
    out.set_active(true).map_err(|_| broken("does not start"))?;
    bin.sync_children_states().map_err(|_| broken("does not start"))?;
    Ok(into.upcast())
}

/// The end of a branch. It delivers at once, and does not wait for the other branch to start.
fn sink() -> Element {
    Element::new("appsink")
        .with("sync", false)
        .with("async", false)
        .with("drop", false)
        .with("max-buffers", 1)
        .with("wait-on-eos", false)
        .with("enable-last-sample", false)
}

fn first_of(chains: &[Vec<Element>]) -> Result<Vec<gst::Element>, Fault> {
    for chain in chains {
        if chain.iter().all(|element| gst::ElementFactory::find(element.factory).is_some()) {
            return chain.iter().map(make).collect();
        }
    }
    Err(none_of(chains))
}

fn add(pipeline: &gst::Pipeline, element: &gst::Element) -> Result<(), Fault> {
    pipeline
        .add(element)
        .map_err(|_| fault(FaultKind::Pipeline, format!("{} cannot be put into the pipeline", name(element))))
}

/// Links two elements, now or when the first one adds a pad (`decodebin`).
fn link(from: &gst::Element, to: &gst::Element) -> Result<(), Fault> {
    if !grows(from) {
        return from.link(to).map_err(|_| link_failed(from, to));
    }
    let to = to.downgrade();
    from.connect_pad_added(move |_, pad| {
        let Some(sink) = to.upgrade().and_then(|to| to.static_pad("sink")) else { return };
        if !sink.is_linked() && pad.link(&sink).is_err() {
            tracing::error!("frames in this format cannot be encoded");
        }
    });
    Ok(())
}

fn link_failed(from: &gst::Element, to: &gst::Element) -> Fault {
    fault(FaultKind::Pipeline, format!("{} does not give what {} takes", name(from), name(to)))
}

impl Built {
    /// The source, if it is an RTSP camera.
    pub(super) fn camera(&self) -> Option<&gst::Element> {
        self.rtsp.as_ref().map(|(source, _)| source)
    }
}

/// Whether an element before a filter of the pipeline offers the other codec, and not this one: that is the answer of a
/// device that cannot encode what was requested.
pub(super) fn gives_other(pipeline: &gst::Pipeline, wanted: Codec) -> bool {
    let filters = pipeline.iterate_elements().into_iter().flatten().filter(|it| name(it) == "capsfilter");
    let before = filters.filter_map(|filter| filter.static_pad("sink")?.peer());
    let mut offers = before.map(|pad| pad.current_caps().unwrap_or_else(|| pad.query_caps(None)));
    offers.any(|caps| {
        let has = |codec| caps.iter().any(|structure| structure.name() == media_of(codec));
        has(wanted.other()) && !has(wanted)
    })
}
