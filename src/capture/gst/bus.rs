//! Messages of the elements of a running pipeline.

use super::access::Access;
use super::build::Built;
use super::elements;
use super::faults::fault;
use super::shared::{Event, Outside, Shared};
use crate::capture::pipeline::Description;
use crate::domain::input::{Fault, FaultKind};
use gst::prelude::*;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};

/// Handles the messages of a pipeline, on the threads that post them. An error of the audio branch sets `audio_failed`; a
/// camera that refuses TCP sets `udp`, if that is allowed.
pub(super) fn listen(
    built: &Built,
    description: &Description,
    access: Option<Arc<Access>>,
    shared: &Arc<Shared>,
    outside: &Outside,
) {
    let pipeline = &built.pipeline;
    let Some(bus) = pipeline.bus() else { return };
    let audio_branch: Vec<_> = built.audio_branch.iter().map(gst::Element::downgrade).collect();
    let (audio_failed, udp) = (Arc::clone(&outside.audio_failed), Arc::clone(&outside.udp));
    let may_use_udp = description.may_use_udp;
    let warned = Arc::clone(&outside.warned);
    let shared = Arc::clone(shared);
    let source = description.source.clone();
    let offers = Arc::clone(&built.offers);
    let codec = description.codec;
    let own = pipeline.downgrade();
    let first = AtomicBool::new(true);
    #[expect(clippy::wildcard_enum_match_arm, reason = "of GStreamer's messages only four are used")]
    bus.set_sync_handler(move |_, message| {
        match message.view() {
            gst::MessageView::Error(error) => {
                let of_audio_branch = |src: &gst::Object| {
                    let mut audio_branch = audio_branch.iter().filter_map(gst::glib::WeakRef::upgrade);
                    audio_branch.any(|element| {
                        src == element.upcast_ref::<gst::Object>() || src.has_as_ancestor(&element)
                    })
                };
                if error.src().is_some_and(of_audio_branch) {
                    audio_failed.store(true, Ordering::Release);
                }
                if let Some(why) = access.as_ref().and_then(|access| access.judge(error)) {
                    shared.send(Event::Failed(why));
                    return gst::BusSyncReply::Drop;
                }
                let why = super::rtsp::unfit_offers(&offers, &source, codec);
                shared.send(Event::Failed(match why {
                    Some(why) => why,
                    None if is_refused(error) => {
                        // If UDP is refused too, TCP is tried again.
                        let other = may_use_udp && !udp.fetch_xor(true, Ordering::AcqRel);
                        let next = if other { "; UDP is tried next" } else { "" };
                        let why = "it refuses the transport that was requested";
                        fault(FaultKind::Pipeline, format!("{source}: {why}{next}"))
                    }
                    None => bus_fault(error, &source),
                }));
            }
            gst::MessageView::Warning(warning) => {
                let element = warning.src().map(gst::glib::object::ObjectExt::type_);
                let element = element.map_or("the pipeline", |kind| kind.name());
                let text = format!("{element}: {}", without_addresses(warning.error().message()));
                let mut warned = warned.lock().unwrap_or_else(PoisonError::into_inner);
                if *warned != text {
                    tracing::warn!("{text}");
                    *warned = text;
                }
            }
            gst::MessageView::Latency(_) => shared.send(Event::Latency),
            gst::MessageView::StateChanged(change) => {
                let ours = own.upgrade().is_some_and(|own| change.src() == Some(own.upcast_ref()));
                if ours && change.current() == gst::State::Playing && first.swap(false, Ordering::AcqRel) {
                    shared.send(Event::Playing);
                }
            }
            _ => {}
        }
        gst::BusSyncReply::Drop
    });
}

/// Handles the messages of the microphone's pipeline.
pub(super) fn listen_to_microphone(pipeline: &gst::Pipeline, shared: &Arc<Shared>) {
    let Some(bus) = pipeline.bus() else { return };
    let shared = Arc::clone(shared);
    #[expect(clippy::wildcard_enum_match_arm, reason = "of GStreamer's messages only two are used")]
    bus.set_sync_handler(move |_, message| {
        match message.view() {
            gst::MessageView::Error(error) => {
                shared.send(Event::MicrophoneFailed(bus_fault(error, "the microphone").message));
            }
            gst::MessageView::Eos(_) => {
                shared.send(Event::MicrophoneFailed(String::from("the microphone has ended its stream")));
            }
            _ => {}
        }
        gst::BusSyncReply::Drop
    });
}

/// Whether the camera refuses to set up all its streams (RFC 2326, 11.3.12). Other causes of this error were excluded.
fn is_refused(error: &gst::message::Error) -> bool {
    let what = error.error();
    let of_source = error.src().and_then(|object| object.downcast_ref::<gst::Element>()).map(elements::name);
    let of_source = of_source.is_some_and(|name| name == "rtspsrc");
    of_source && what.matches(gst::StreamError::CodecNotFound)
}

/// The fault of an error message. Its debug text is left out: it may quote URLs with passwords.
fn bus_fault(error: &gst::message::Error, source: &str) -> Fault {
    let what = error.error();
    let element = error
        .src()
        .and_then(|object| object.downcast_ref::<gst::Element>())
        .map_or_else(|| String::from("the pipeline"), elements::name);
    let kind = if let Some(resource) = what.kind::<gst::ResourceError>() {
        let device = matches!(
            resource,
            gst::ResourceError::NotFound
                | gst::ResourceError::OpenRead
                | gst::ResourceError::OpenReadWrite
                | gst::ResourceError::Busy
                | gst::ResourceError::NotAuthorized
        );
        if device { FaultKind::DeviceMissing } else { FaultKind::Pipeline }
    } else if what.matches(gst::CoreError::MissingPlugin) {
        FaultKind::ElementMissing
    } else {
        FaultKind::Pipeline
    };
    let said = if source.starts_with("the RTSP") {
        without_addresses(what.message())
    } else {
        what.message().to_owned()
    };
    fault(kind, format!("{element} ({source}): {said}"))
}

fn without_addresses(text: &str) -> String {
    text.split_whitespace()
        .map(|word| if word.contains("://") { "(address)" } else { word })
        .collect::<Vec<_>>()
        .join(" ")
}
