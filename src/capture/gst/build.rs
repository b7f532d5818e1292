//! Builds the pipeline of a description.

use super::reports::Reports;
use super::{fault, foreign, properties, wrong_codec};
use crate::capture::board::{Description, Element, Origin, Stage, media as media_of};
use crate::capture::packages;
use crate::domain::codec::Codec;
use crate::domain::input::{Fault, FaultKind};
use gst::prelude::*;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

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
    rtsp: Option<(gst::Element, gst::Element)>,
    /// Comes before the audio branch of an RTSP camera; empty until its encoding is known.
    audio_bin: Option<gst::Bin>,
    /// The expected codec.
    codec: Codec,
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
fn fill(bin: &gst::Bin, stages: &[Stage], tail: &gst::Element) -> Result<gst::Pad, Fault> {
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

/// The fault if no chain is installed, with the packages.
pub(super) fn none_of(chains: &[Vec<Element>]) -> Fault {
    let named = |element: &Element| format!("{} ({})", element.factory, packages::advice(element.factory));
    let names: Vec<String> = chains.iter().filter_map(|chain| chain.first()).map(named).collect();
    fault(
        FaultKind::ElementMissing,
        format!("none of these GStreamer elements is installed: {}", names.join(", ")),
    )
}

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

/// Whether it adds its output pads later.
pub(super) fn grows(element: &gst::Element) -> bool {
    element.pad_template_list().iter().any(|template| {
        template.direction() == gst::PadDirection::Src && template.presence() == gst::PadPresence::Sometimes
    })
}

fn link_failed(from: &gst::Element, to: &gst::Element) -> Fault {
    fault(FaultKind::Pipeline, format!("{} does not give what {} takes", name(from), name(to)))
}

impl Built {
    /// The source, where it is an RTSP camera.
    pub(super) fn camera(&self) -> Option<&gst::Element> {
        self.rtsp.as_ref().map(|(source, _)| source)
    }
}

/// Links the streams of an RTSP camera. Audio that is not wanted is not requested. If no usable audio comes, `no_audio`
/// is called, with the reason if there is an error.
pub(super) fn join_rtsp(
    built: &Built,
    description: &Description,
    reports: Reports,
    no_audio: impl Fn(Option<String>) + Send + Sync + 'static,
) {
    let Some((source, video)) = &built.rtsp else { return };
    let wants_audio = built.audio_bin.is_some();
    let codec = built.codec;
    let offers = Arc::clone(&built.offers);
    let known: Vec<&str> = description.audio_paths.iter().map(|path| path.encoding).collect();
    // The numbers of the first video and the first audio stream.
    let chosen = Arc::new(Mutex::new((None::<u32>, None::<u32>)));
    let of_frames = Arc::clone(&chosen);
    source.connect("select-stream", false, move |values| {
        let number = values.get(1).and_then(|value| value.get::<u32>().ok());
        let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok());
        let encoding = encoding(caps.as_ref());
        if let Some(encoding) = encoding.clone() {
            offers.lock().unwrap_or_else(PoisonError::into_inner).insert(encoding);
        }
        let mut chosen = chosen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = |slot: &mut Option<u32>| number.is_none_or(|n| *slot.get_or_insert(n) == n);
        let wanted = match encoding.as_deref() {
            Some(coded) if codec_of(coded).is_some() => {
                codec_of(coded) == Some(codec)
                    && !says(caps.as_ref(), "a-inactive")
                    && is_first(&mut chosen.0)
            }
            Some(other) if wants_audio && known.contains(&other) => {
                !is_back_channel(caps.as_ref()) && is_first(&mut chosen.1)
            }
            Some(_) | None => false,
        };
        Some(wanted.to_value())
    });
    source.connect("new-manager", false, move |values| {
        if let Some(manager) = values.get(1).and_then(|value| value.get::<gst::Element>().ok()) {
            let (reports, of_frames) = (reports.clone(), Arc::clone(&of_frames));
            manager.connect_pad_added(move |_, pad| {
                let frames = of_frames.lock().unwrap_or_else(PoisonError::into_inner).0;
                let name = pad.name();
                let numbered = |kind: &str| name.strip_prefix(kind).and_then(|number| number.parse().ok());
                if let Some(number) = numbered("recv_rtp_sink_") {
                    // Before the SSRC is changed: sender reports have the camera's own.
                    if frames == Some(number) {
                        reports.watch_packets(pad);
                    }
                    super::source::keep_one(pad);
                }
                if frames.is_some() && numbered("recv_rtcp_sink_") == frames {
                    reports.watch_reports(pad);
                }
            });
        }
        None
    });
    let no_audio = Arc::new(no_audio);
    let failed = Arc::clone(&no_audio);
    let video = video.downgrade();
    let bin = built.audio_bin.as_ref().map(gst::Bin::downgrade);
    let tail = built.audio_branch.first().map(gst::Element::downgrade);
    let paths = description.audio_paths.clone();
    source.connect_pad_added(move |_, pad| {
        let caps = pad.current_caps().or_else(|| Some(pad.query_caps(None)));
        let Some(encoding) = encoding(caps.as_ref()) else { return };
        if let Some(coded) = codec_of(&encoding) {
            let head = video.upgrade().filter(|_| coded == codec);
            let Some(sink) = head.and_then(|head| head.static_pad("sink")) else { return };
            if !sink.is_linked() && pad.link(&sink).is_err() {
                tracing::error!("a stream of the RTSP camera cannot be linked");
            }
            return;
        }
        let Some(path) = paths.iter().find(|path| path.encoding == encoding) else { return };
        let bin = bin.as_ref().and_then(gst::glib::WeakRef::upgrade);
        let tail = tail.as_ref().and_then(gst::glib::WeakRef::upgrade);
        let (Some(bin), Some(tail)) = (bin, tail) else { return };
        if bin.static_pad("sink").is_some() || tail.static_pad("sink").is_some_and(|sink| sink.is_linked()) {
            return;
        }
        match fill(&bin, &path.stages, &tail) {
            Ok(sink) if pad.link(&sink).is_ok() => {}
            Ok(_) => failed(Some(format!("the {encoding} audio of the RTSP camera cannot be linked"))),
            Err(why) => failed(Some(why.message)),
        }
    });
    let Some(head) = built.audio_branch.first().filter(|_| wants_audio).map(gst::Element::downgrade) else {
        return;
    };
    source.connect_no_more_pads(move |_| {
        let linked =
            head.upgrade().and_then(|head| head.static_pad("sink")).is_some_and(|sink| sink.is_linked());
        if !linked {
            // The machine reports this once.
            tracing::debug!("the RTSP camera offers no supported audio");
            no_audio(None);
        }
    });
}

/// Whether an audio stream is one for us to send (`a=sendonly`, seen from our side), or inactive. Some cameras mark their
/// video `a=sendonly`, seen from their side: there it is ignored.
fn is_back_channel(caps: Option<&gst::Caps>) -> bool {
    says(caps, "a-sendonly") || says(caps, "a-inactive")
}

/// Whether the SDP has this attribute for the stream.
fn says(caps: Option<&gst::Caps>, attribute: &str) -> bool {
    caps.and_then(|caps| caps.structure(0)).is_some_and(|structure| structure.has_field(attribute))
}

/// The codec of a name in the SDP.
fn codec_of(encoding: &str) -> Option<Codec> {
    match encoding {
        "H264" => Some(Codec::H264),
        "H265" => Some(Codec::H265),
        _ => None,
    }
}

fn encoding(caps: Option<&gst::Caps>) -> Option<String> {
    let structure = caps?.structure(0)?;
    structure.get::<&str>("encoding-name").ok().map(str::to_ascii_uppercase)
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

/// The fault if an RTSP camera does not offer the expected codec.
pub(super) fn unfit_offers(offers: &Mutex<BTreeSet<String>>, source: &str, wanted: Codec) -> Option<Fault> {
    let offers = offers.lock().unwrap_or_else(PoisonError::into_inner);
    if offers.is_empty() || offers.contains(encoding_of(wanted)) {
        return None;
    }
    if offers.contains(encoding_of(wanted.other())) {
        return Some(wrong_codec(source, wanted, wanted.other()));
    }
    // From the network: only letters and digits of a few names.
    let printable =
        |name: &String| name.chars().filter(char::is_ascii_alphanumeric).take(16).collect::<String>();
    let names: Vec<String> = offers.iter().take(4).map(printable).collect();
    let (names, wanted) = (names.join(", "), wanted.name());
    let why = format!("{source}: it offers {names} and no {wanted}: set it to {wanted}");
    Some(fault(FaultKind::Pipeline, why))
}

/// The name of a codec in SDP (RFC 6184, RFC 7798).
fn encoding_of(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => "H264",
        Codec::H265 => "H265",
    }
}

/// An element in messages: its factory, since element names are generated.
pub(super) fn name(element: &gst::Element) -> String {
    element.factory().map_or_else(|| element.name().to_string(), |factory| factory.name().to_string())
}
