//! A pipeline from the board file, as one element with one pad.
//!
//! The board file is trusted: its author decides what the camera is. The checks here prevent mistakes; they are no
//! security boundary. They refuse a sink: its frames would bypass the spool, the quota and the journal.

use super::faults::fault;
use crate::capture::packages;
use crate::capture::pipeline::{AUDIO_FEED, NUMBER_OVERLAY, TEST_SOURCE, VIDEO_FEED};
use crate::domain::input::{Fault, FaultKind};
use gst::prelude::*;

/// Maximum number of elements, including those in bins.
const MAX_ELEMENTS: usize = 64;
/// Names of elements that the agent looks up.
const OUR_NAMES: &[&str] = &[VIDEO_FEED, AUDIO_FEED, NUMBER_OVERLAY, TEST_SOURCE];

/// Builds it. It is closed with the pipeline that contains it.
pub(super) fn make(description: &str) -> Result<gst::Element, Fault> {
    let bad = |what: String| fault(FaultKind::Pipeline, format!("the board's pipeline {what}"));
    let mut context = gst::ParseContext::new();
    let flags = gst::ParseFlags::FATAL_ERRORS;
    let one_line = description.replace(['\n', '\t'], " ");
    let made = gst::parse::bin_from_description_full(&one_line, false, Some(&mut context), flags);
    let made = match made {
        Ok(made) => made,
        Err(why) => {
            let unknown = why.kind::<gst::ParseError>() == Some(gst::ParseError::NoSuchElement);
            if let (Some(factory), true) = (context.missing_elements().first(), unknown) {
                let hint = packages::advice(factory);
                return Err(fault(
                    FaultKind::ElementMissing,
                    format!(
                        "the GStreamer element {factory} of the board's pipeline is not installed: {hint}"
                    ),
                ));
            }
            return Err(bad(unreadable(&why)));
        }
    };
    let bin = made.downcast::<gst::Bin>().map_err(|_| bad(String::from("is no bin")))?;
    let elements: Vec<gst::Element> =
        bin.iterate_recurse().into_iter().flatten().take(MAX_ELEMENTS + 1).collect();
    if elements.len() > MAX_ELEMENTS {
        return Err(bad(format!("has more than {MAX_ELEMENTS} elements")));
    }
    if let Some(sink) = elements.iter().find(|element| gives_away(element)) {
        let name = super::elements::name(sink);
        return Err(bad(format!("has the sink {name}: its frames may go only to the agent")));
    }
    if let Some(taken) = elements.iter().find(|element| OUR_NAMES.contains(&element.name().as_str())) {
        return Err(bad(format!("has an element named {}, which the agent needs", taken.name())));
    }
    let outer: Vec<gst::Element> = bin.iterate_elements().into_iter().flatten().collect();
    let open = |pads: Vec<gst::Pad>| pads.into_iter().filter(|pad| !pad.is_linked()).collect::<Vec<_>>();
    let waiting = outer.iter().any(|element| !open(element.sink_pads()).is_empty());
    if waiting && !outer.iter().any(super::elements::grows) {
        return Err(bad(String::from("begins with an element that needs input: a source is missing")));
    }
    let ends: Vec<gst::Pad> = outer.iter().flat_map(|element| open(element.src_pads())).collect();
    let end = match ends.as_slice() {
        [end] => end,
        [] => return Err(bad(String::from("has no open end that delivers frames"))),
        several => return Err(bad(format!("has {} open ends: one is needed", several.len()))),
    };
    let ghost = gst::GhostPad::builder_with_target(end).map(|ghost| ghost.name("src").build());
    match ghost {
        Ok(ghost) if bin.add_pad(&ghost).is_ok() => Ok(bin.upcast()),
        Ok(_) | Err(_) => Err(bad(String::from("has an end that cannot be linked"))),
    }
}

fn gives_away(element: &gst::Element) -> bool {
    let class = element.factory().and_then(|factory| factory.metadata("klass").map(str::to_owned));
    element.element_flags().contains(gst::ElementFlags::SINK)
        || class.is_some_and(|class| class.split('/').any(|part| part == "Sink"))
}

/// The error, without the values of the description: they may be secrets.
fn unreadable(why: &gst::glib::Error) -> String {
    match why.kind::<gst::ParseError>() {
        Some(gst::ParseError::NoSuchElement | gst::ParseError::NoSuchProperty | gst::ParseError::Link) => {
            format!("cannot be built: {}", why.message())
        }
        Some(gst::ParseError::CouldNotSetProperty) => {
            let message = why.message();
            let before = message.split_once(" to \"").map_or(message, |(before, _)| before);
            format!("cannot be built: {before}")
        }
        Some(gst::ParseError::EmptyBin | gst::ParseError::Empty) => String::from("is empty"),
        Some(_) | None => String::from("cannot be read: it must be written as for gst-launch-1.0"),
    }
}
