//! What GStreamer finds on this board: encoders, cameras of libcamera, and the speed of an encoder.

use super::init::initialise;
use crate::capture::encoder::{self, Demand};
use crate::capture::pipeline::Element;
use crate::config::{EncoderKind, FrameRate, Pixels};
use crate::domain::codec::Codec;
use crate::system::clock::mono;
use gst::prelude::*;

/// Number of frames that are encoded to measure the speed.
const MEASURED_FRAMES: u32 = 60;
const MEASURE_TIMEOUT: gst::ClockTime = gst::ClockTime::from_seconds(4);
/// Maximum number of cameras from libcamera.
const MAX_CAMERAS: usize = 16;

/// The encoders of H.264 whose element can be created: every plan permits H.264, and every player supports it.
#[must_use]
pub fn encoders() -> Vec<EncoderKind> {
    if initialise().is_err() {
        return Vec::new();
    }
    let can_be_created =
        |kind: &EncoderKind| super::elements::make(&Element::new(encoder::factory(*kind))).is_ok();
    let h264 = EncoderKind::all().filter(|kind| kind.codec() == Codec::H264);
    let mut found: Vec<EncoderKind> = h264.filter(can_be_created).collect();
    // Debian's libx264 for 32-bit ARM asks for an executable stack, which the unit refuses
    // (`MemoryDenyWriteExecute=`): it is taken only if there is no other encoder.
    if cfg!(target_arch = "arm") && found.len() > 1 {
        found.retain(|kind| *kind != EncoderKind::X264);
    }
    found
}

/// The names of the cameras that libcamera lists. They are not opened for capture.
#[must_use]
pub fn libcamera_cameras() -> Vec<String> {
    if initialise().is_err() || gst::ElementFactory::find("libcamerasrc").is_none() {
        return Vec::new();
    }
    let Some(provider) = gst::DeviceProviderFactory::by_name("libcameraprovider") else { return Vec::new() };
    provider.devices().iter().take(MAX_CAMERAS).map(|device| device.display_name().to_string()).collect()
}

/// Measures the frames a second of an encoder for a test image of this layout and size, conversion included. No camera is
/// opened. `None` if it does not run, or encodes no frame in four seconds.
#[must_use]
pub fn speed(kind: EncoderKind, pixels: Option<Pixels>, size: (u32, u32)) -> Option<f64> {
    initialise().ok()?;
    let (width, height) = size;
    let demand = Demand { bitrate: 2_000_000, gop: 30, size, fps: FrameRate::from(30) };
    let format = |pixels: Pixels| match pixels {
        Pixels::Nv12 => "NV12",
        Pixels::I420 | Pixels::Mjpeg => "I420",
        Pixels::Yuy2 => "YUY2",
        Pixels::Uyvy => "UYVY",
    };
    let caps = |format: &str| {
        Element::new("capsfilter")
            .with("caps", format!("video/x-raw,format={format},width={width},height={height}"))
    };
    let wanted = encoder::takes(kind).first().copied().unwrap_or(Pixels::I420);
    let elements = [
        Element::new("videotestsrc").with("num-buffers", MEASURED_FRAMES).with("pattern", "ball"),
        caps(format(pixels.unwrap_or(Pixels::Yuy2))),
        Element::new("videoconvert"),
        caps(format(wanted)),
        encoder::element(kind, demand),
        Element::new("fakesink").with("sync", false).with("async", false),
    ];
    let pipeline = gst::Pipeline::new();
    let made: Vec<gst::Element> =
        elements.iter().map(super::elements::make).collect::<Result<_, _>>().ok()?;
    pipeline.add_many(&made).ok()?;
    gst::Element::link_many(&made).ok()?;
    let coded = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let counter = std::sync::Arc::clone(&coded);
    let end = made.last()?.static_pad("sink")?;
    end.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        gst::PadProbeReturn::Ok
    });
    let began = mono();
    let started = pipeline.set_state(gst::State::Playing).is_ok();
    let ended = pipeline.bus().and_then(|bus| {
        bus.timed_pop_filtered(MEASURE_TIMEOUT, &[gst::MessageType::Eos, gst::MessageType::Error])
    });
    let took = mono().0.saturating_sub(began.0);
    let _closed = pipeline.set_state(gst::State::Null);
    let failed = ended.is_some_and(|message| message.type_() == gst::MessageType::Error);
    let coded = coded.load(std::sync::atomic::Ordering::Relaxed);
    (started && !failed && coded > 0 && took > 0).then(|| f64::from(coded) * 1e9 / took as f64)
}
