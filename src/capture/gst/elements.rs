//! Creates single elements and names them in messages.

use super::faults::fault;
use super::properties;
use crate::capture::packages;
use crate::capture::pipeline::Element;
use crate::domain::input::{Fault, FaultKind};
use gst::prelude::*;

/// Creates an element. The fault names a missing element and its packages.
pub(super) fn make(element: &Element) -> Result<gst::Element, Fault> {
    let factory = gst::ElementFactory::find(element.factory).ok_or_else(|| missing(element.factory))?;
    let mut builder = factory.create();
    if let Some(name) = element.name {
        builder = builder.name(name);
    }
    let made = builder.build().map_err(|_| {
        fault(
            FaultKind::ElementMissing,
            format!("the GStreamer element {} cannot be created", element.factory),
        )
    })?;
    for (property, text) in &element.properties {
        set(&made, element.factory, property, text)?;
    }
    Ok(made)
}

pub(super) fn missing(factory: &str) -> Fault {
    let hint = packages::advice(factory);
    fault(FaultKind::ElementMissing, format!("the GStreamer element {factory} is not installed: {hint}"))
}

/// Values are not quoted: a URL may contain a password.
fn set(element: &gst::Element, factory: &str, property: &str, text: &str) -> Result<(), Fault> {
    properties::set(element, property, text)
        .map_err(|why| fault(FaultKind::Pipeline, format!("{factory}: the property {property} {why}")))
}

/// The fault if no chain is installed, with the packages.
pub(super) fn none_of(chains: &[Vec<Element>]) -> Fault {
    let named = |element: &Element| format!("{} ({})", element.factory, packages::advice(element.factory));
    let names: Vec<String> = chains.iter().filter_map(|chain| chain.first()).map(named).collect();
    fault(
        FaultKind::ElementMissing,
        format!("none of these GStreamer elements is installed: {}", names.join(", ")),
    )
}

/// Whether it adds its output pads later.
pub(super) fn grows(element: &gst::Element) -> bool {
    element.pad_template_list().iter().any(|template| {
        template.direction() == gst::PadDirection::Src && template.presence() == gst::PadPresence::Sometimes
    })
}

/// An element in messages: its factory, since element names are generated.
pub(super) fn name(element: &gst::Element) -> String {
    element.factory().map_or_else(|| element.name().to_string(), |factory| factory.name().to_string())
}
