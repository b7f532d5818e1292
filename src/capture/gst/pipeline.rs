//! Making a pipeline from its plan.

use crate::capture::board::{Element, Plan};
use crate::domain::input::{Fault, FaultKind};
use gst::prelude::*;

/// A pipeline that is ready to be started.
pub(super) struct Built {
    pub(super) pipeline: gst::Pipeline,
    pub(super) sink: gst_app::AppSink,
    /// The muxer's sink pad for pictures: every access unit passes it before it can come out.
    pub(super) video_pad: gst::Pad,
    pub(super) repeat: bool,
}

/// Chunks that wait in the sink. More are held back in the pipeline.
const WAITING: u32 = 8;

pub(super) fn build(plan: &Plan) -> Result<Built, Fault> {
    let pipeline = gst::Pipeline::new();
    // The clock of frames is the clock of decisions, and no sound card's.
    pipeline.use_clock(Some(&gst::SystemClock::obtain()));

    let muxer = make(
        &pipeline,
        // Every key frame begins a fragment: the shortest length makes a fragment of every GOP.
        &Element::new("isofmp4mux")
            .set("fragment-duration", 1)
            .set("chunk-duration", plan.chunk)
            .set("send-force-keyunit", false)
            .set("header-update-mode", "caps"),
    )?;
    let sink = make(
        &pipeline,
        &Element::new("appsink")
            .set("sync", false)
            .set("buffer-list", true)
            .set("max-buffers", WAITING)
            .set("drop", false)
            .set("enable-last-sample", false),
    )?;
    muxer.link(&sink).map_err(|e| broken(&e))?;
    let sink = sink.downcast::<gst_app::AppSink>().map_err(|_| broken(&"appsink is none"))?;

    let video_pad = muxer.request_pad_simple("sink_%u").ok_or_else(|| broken(&"no pad for pictures"))?;
    let video = chain(&pipeline, &plan.video)?;
    join(video.last(), &video_pad)?;
    let audio = match &plan.audio {
        None => None,
        Some(elements) => {
            let pad = muxer.request_pad_simple("sink_%u").ok_or_else(|| broken(&"no pad for sound"))?;
            let elements = chain(&pipeline, elements)?;
            join(elements.last(), &pad)?;
            Some(elements)
        }
    };
    let shared = chain(&pipeline, &plan.shared)?;
    if let Some(splitter) = shared.last() {
        let video = video.first().and_then(|element| element.static_pad("sink"));
        let audio = audio.as_ref().and_then(|elements| elements.first()?.static_pad("sink"));
        link_later(splitter, video, audio);
    }
    Ok(Built { pipeline, sink, video_pad, repeat: plan.repeat })
}

/// Makes the elements and links them one behind the other.
fn chain(pipeline: &gst::Pipeline, elements: &[Element]) -> Result<Vec<gst::Element>, Fault> {
    let made: Vec<gst::Element> =
        elements.iter().map(|element| make(pipeline, element)).collect::<Result<_, _>>()?;
    gst::Element::link_many(&made).map_err(|e| broken(&e))?;
    Ok(made)
}

fn join(last: Option<&gst::Element>, pad: &gst::Pad) -> Result<(), Fault> {
    let from = last.and_then(|last| last.static_pad("src")).ok_or_else(|| broken(&"a branch has no end"))?;
    from.link(pad).map(drop).map_err(|e| broken(&e))
}

fn make(pipeline: &gst::Pipeline, element: &Element) -> Result<gst::Element, Fault> {
    let missing = || Fault { kind: FaultKind::ElementMissing, message: not_installed(&element.factory) };
    let made = gst::ElementFactory::make(&element.factory).build().map_err(|_| missing())?;
    for (name, value) in &element.properties {
        if made.find_property(name).is_none() {
            let message = format!("{} has no property {name}: it is of a version that we do not know", element.factory);
            return Err(Fault { kind: FaultKind::ElementMissing, message });
        }
        made.set_property_from_str(name, value);
    }
    pipeline.add(&made).map_err(|e| broken(&e))?;
    Ok(made)
}

/// Links pads that appear once it is known what a file or a stream holds: the first of pictures and
/// the first of sound; what else there is ends in a sink of its own, so that it cannot stop the rest.
fn link_later(splitter: &gst::Element, video: Option<gst::Pad>, audio: Option<gst::Pad>) {
    splitter.connect_pad_added(move |splitter, pad| {
        let caps = pad.current_caps().unwrap_or_else(|| pad.query_caps(None));
        let Some(structure) = caps.structure(0) else { return };
        let media = match structure.get::<&str>("media") {
            Ok(media) => media.to_owned(),
            Err(_) => structure.name().split('/').next().unwrap_or_default().to_owned(),
        };
        let is_h264 = structure.name() == "video/x-h264" || structure.get::<&str>("encoding-name") == Ok("H264");
        let is_aac = structure.name() == "audio/mpeg"
            || matches!(structure.get::<&str>("encoding-name"), Ok("MPEG4-GENERIC"));
        let into = match media.as_str() {
            "video" if is_h264 => video.as_ref(),
            "audio" if is_aac => audio.as_ref(),
            _ => None,
        };
        match into.filter(|into| !into.is_linked()) {
            Some(into) => {
                if let Err(e) = pad.link(into) {
                    gst::element_error!(splitter, gst::StreamError::WrongType, ["{media}: {e}"]);
                }
            }
            None => discard(splitter, pad),
        }
    });
    splitter.connect_no_more_pads(|_| {});
}

fn discard(splitter: &gst::Element, pad: &gst::Pad) {
    let Some(pipeline) = splitter.parent().and_then(|parent| parent.downcast::<gst::Bin>().ok()) else { return };
    let Ok(sink) = gst::ElementFactory::make("fakesink").property("async", false).property("sync", false).build()
    else {
        return;
    };
    if pipeline.add(&sink).is_err() || sink.sync_state_with_parent().is_err() {
        return;
    }
    if let Some(into) = sink.static_pad("sink") {
        let _nothing_to_discard = pad.link(&into);
    }
}

/// Names the Debian package that has an element.
pub(super) fn not_installed(factory: &str) -> String {
    let package = match factory {
        "x264enc" => "gstreamer1.0-plugins-ugly",
        "avenc_aac" => "gstreamer1.0-libav",
        "timeoverlay" | "clockoverlay" => "gstreamer1.0-x",
        "alsasrc" => "gstreamer1.0-alsa",
        "libcamerasrc" => "gstreamer1.0-libcamera",
        "v4l2src" | "v4l2h264enc" | "qtdemux" | "matroskademux" | "rtspsrc" | "rtph264depay" | "rtpmp4gdepay"
        | "aacparse" | "multifilesrc" => "gstreamer1.0-plugins-good",
        "h264parse" | "h264timestamper" | "openh264enc" | "fdkaacenc" | "voaacenc" | "faac" => {
            "gstreamer1.0-plugins-bad"
        }
        "mpph264enc" | "vpuenc_h264" | "omxh264enc" => "the board maker's GStreamer plugins",
        _ => "gstreamer1.0-plugins-base",
    };
    format!("the GStreamer element {factory} is not installed: install {package}")
}

fn broken(e: &dyn std::fmt::Display) -> Fault {
    Fault { kind: FaultKind::Pipeline, message: format!("the pipeline cannot be built: {e}") }
}
