//! One frame as a JPEG image.

use super::init::initialise;
use crate::capture::packages;
use crate::capture::pipeline::{Element, media};
use crate::domain::codec::Codec;
use gst::prelude::*;

/// The decoders that are tried, the best first.
fn decoders(codec: Codec) -> &'static [&'static str] {
    match codec {
        Codec::H264 => &["avdec_h264", "openh264dec"],
        Codec::H265 => &["avdec_h265", "libde265dec"],
    }
}

/// The codec of a byte stream, by its first parameter set: an SPS of H.264, or a VPS of H.265.
fn codec_of(stream: &[u8]) -> Option<Codec> {
    let header = *stream.get(4)?;
    match (header & 0x1f, header >> 1 & 0x3f) {
        (7, _) => Some(Codec::H264),
        (_, 32) => Some(Codec::H265),
        _ => None,
    }
}

/// For the image to be made.
const IMAGE_TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(10);

/// The JPEG image of a frame at which decoding can begin: H.264 or H.265, Annex B, with its parameter sets before it.
///
/// # Errors
/// For people: the missing element and its packages, or that the frame cannot be decoded.
pub fn jpeg(frame: Vec<u8>) -> Result<Vec<u8>, String> {
    initialise()?;
    let codec = codec_of(&frame).ok_or("the frame that the agent gave has no parameter sets")?;
    let decoders = decoders(codec);
    let decoder = decoders.iter().find(|factory| gst::ElementFactory::find(factory).is_some());
    let decoder = decoder.ok_or_else(|| {
        let advice: Vec<String> =
            decoders.iter().map(|factory| format!("{factory}: {}", packages::advice(factory))).collect();
        format!(
            "no element that decodes {} is installed. One of these is needed:\n{}",
            codec.name(),
            advice.join("\n")
        )
    })?;
    let elements = [
        Element::new("appsrc").with("format", "time"),
        Element::new(match codec {
            Codec::H264 => "h264parse",
            Codec::H265 => "h265parse",
        }),
        Element::new(decoder),
        Element::new("videoconvert"),
        Element::new("jpegenc"),
        Element::new("appsink").with("sync", false).with("max-buffers", 1),
    ];
    let made = elements.iter().map(super::elements::make).collect::<Result<Vec<_>, _>>();
    let made = made.map_err(|fault| fault.message)?;
    let pipeline = gst::Pipeline::new();
    let fits = "the elements that make an image cannot be linked";
    pipeline.add_many(&made).map_err(|_| fits)?;
    gst::Element::link_many(&made).map_err(|_| fits)?;
    let image = pass(&pipeline, &made, media(codec), frame);
    let _closed = pipeline.set_state(gst::State::Null);
    image
}

fn pass(
    pipeline: &gst::Pipeline,
    made: &[gst::Element],
    media: &str,
    frame: Vec<u8>,
) -> Result<Vec<u8>, String> {
    let undecodable = || String::from("the frame that the agent gave cannot be decoded");
    let source = made.first().and_then(|it| it.downcast_ref::<gst_app::AppSrc>()).ok_or_else(undecodable)?;
    let sink = made.last().and_then(|it| it.downcast_ref::<gst_app::AppSink>()).ok_or_else(undecodable)?;
    let caps = gst::Caps::builder(media)
        .field("stream-format", "byte-stream")
        .field("alignment", "au")
        .field("framerate", gst::Fraction::new(1, 1))
        .build();
    source.set_caps(Some(&caps));
    pipeline.set_state(gst::State::Playing).map_err(|_| undecodable())?;
    let mut buffer = gst::Buffer::from_mut_slice(frame);
    if let Some(buffer) = buffer.get_mut() {
        buffer.set_pts(gst::ClockTime::ZERO);
        buffer.set_dts(gst::ClockTime::ZERO);
    }
    source.push_buffer(buffer).map_err(|_| undecodable())?;
    source.end_of_stream().map_err(|_| undecodable())?;
    let sample = sink.try_pull_sample(IMAGE_TIMEOUT).ok_or_else(undecodable)?;
    let map = sample.buffer().and_then(|buffer| buffer.map_readable().ok()).ok_or_else(undecodable)?;
    Ok(map.to_vec())
}
