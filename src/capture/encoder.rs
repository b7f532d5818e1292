//! Encoders: how to set the bit rate and the length of a GOP of each.
//!
//! Every encoder places an IDR frame every `gop` frames and nowhere else: a fragment is one GOP, and an IDR frame at a
//! scene cut would make it shorter without need. None makes B-frames, which add delay.

use super::pipeline::{Element, Stage, media};
use super::{controls, h264, h265};
use crate::config::{EncoderKind, FrameRate, Pixels};

/// The settings of an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Bits a second.
    pub bitrate: u64,
    /// Frames from one IDR frame to the next.
    pub gop: u32,
    /// Width and height of a frame, in pixels.
    pub size: (u32, u32),
    /// Frames a second.
    pub fps: FrameRate,
}

/// How an encoder reads from memory that it shares with the source (dmabuf).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// Without a setting.
    AsItIs,
    /// With this property and value.
    By(&'static str, &'static str),
}

/// The pixel layouts that an encoder accepts, the best first.
#[must_use]
pub fn takes(kind: EncoderKind) -> &'static [Pixels] {
    match kind {
        EncoderKind::X264 => &[Pixels::I420, Pixels::Nv12],
        EncoderKind::OpenH264 | EncoderKind::X265 => &[Pixels::I420],
        EncoderKind::V4l2H264
        | EncoderKind::MppH264
        | EncoderKind::VpuencH264
        | EncoderKind::OmxH264
        | EncoderKind::V4l2H265
        | EncoderKind::MppH265
        | EncoderKind::VpuencHevc
        | EncoderKind::OmxH265 => &[Pixels::Nv12],
    }
}

/// How an encoder shares memory with the source, if it can.
#[must_use]
pub fn sharing(kind: EncoderKind) -> Option<Sharing> {
    match kind {
        EncoderKind::V4l2H264 | EncoderKind::V4l2H265 => Some(Sharing::By("output-io-mode", "dmabuf-import")),
        EncoderKind::MppH264 | EncoderKind::VpuencH264 | EncoderKind::MppH265 | EncoderKind::VpuencHevc => {
            Some(Sharing::AsItIs)
        }
        EncoderKind::X264
        | EncoderKind::OpenH264
        | EncoderKind::OmxH264
        | EncoderKind::X265
        | EncoderKind::OmxH265 => None,
    }
}

/// The GStreamer element of an encoder.
#[must_use]
pub fn factory(kind: EncoderKind) -> &'static str {
    match kind {
        EncoderKind::X264 => "x264enc",
        EncoderKind::OpenH264 => "openh264enc",
        EncoderKind::V4l2H264 => "v4l2h264enc",
        EncoderKind::MppH264 => "mpph264enc",
        EncoderKind::VpuencH264 => "vpuenc_h264",
        EncoderKind::OmxH264 => "omxh264enc",
        EncoderKind::X265 => "x265enc",
        EncoderKind::V4l2H265 => "v4l2h265enc",
        EncoderKind::MppH265 => "mpph265enc",
        EncoderKind::VpuencHevc => "vpuenc_hevc",
        EncoderKind::OmxH265 => "omxh265enc",
    }
}

/// The stages of an encoder: the element, and caps after it if it needs them.
#[must_use]
pub fn stages(kind: EncoderKind, demand: Demand) -> Vec<Stage> {
    let mut stages = vec![Stage::Element(element(kind, demand))];
    let (width, height) = demand.size;
    // Drivers refuse to start without a level.
    let level = match kind {
        EncoderKind::V4l2H264 => Some(h264::level_of(width, height, demand.fps, demand.bitrate)),
        EncoderKind::V4l2H265 => Some(h265::level_of(width, height, demand.fps, demand.bitrate)),
        EncoderKind::X264
        | EncoderKind::OpenH264
        | EncoderKind::MppH264
        | EncoderKind::VpuencH264
        | EncoderKind::OmxH264
        | EncoderKind::X265
        | EncoderKind::MppH265
        | EncoderKind::VpuencHevc
        | EncoderKind::OmxH265 => None,
    };
    stages.extend(level.map(|level| Stage::Caps(format!("{},level=(string){level}", media(kind.codec())))));
    stages
}

/// The element of an encoder, with its properties.
#[must_use]
pub fn element(kind: EncoderKind, demand: Demand) -> Element {
    let Demand { bitrate, gop, .. } = demand;
    let kilobits = (bitrate / 1000).max(1);
    let element = Element::new(factory(kind));
    match kind {
        EncoderKind::X264 => element
            .with("tune", "zerolatency")
            .with("speed-preset", "ultrafast")
            .with("bitrate", kilobits)
            .with("key-int-max", gop)
            .with("bframes", 0)
            // Without these x264 may answer a request for an IDR frame with an I frame.
            .with("option-string", "scenecut=0:open-gop=0"),
        EncoderKind::OpenH264 => element
            .with("bitrate", bitrate.min(u64::from(u32::MAX)))
            .with("rate-control", "bitrate")
            .with("gop-size", gop)
            .with("scene-change-detection", false)
            // Skipped frames would be holes in the recording.
            .with("enable-frame-skip", false)
            .with("complexity", "low"),
        EncoderKind::V4l2H264 => element.with("extra-controls", controls::requested(demand.bitrate, demand.gop)),
        EncoderKind::MppH264 | EncoderKind::MppH265 => element
            .with("bps", bitrate)
            .with("gop", gop)
            .with("rc-mode", "vbr")
            .with("header-mode", "each-idr"),
        EncoderKind::VpuencH264 | EncoderKind::VpuencHevc => element.with("bitrate", kilobits).with("gop-size", gop),
        EncoderKind::OmxH264 | EncoderKind::OmxH265 => element
            .with("target-bitrate", bitrate)
            .with("control-rate", "variable")
            .with("interval-intraframes", gop),
        EncoderKind::X265 => element
            .with("tune", "zerolatency")
            .with("speed-preset", "ultrafast")
            .with("bitrate", kilobits)
            .with("key-int-max", gop)
            // Each IDR frame with its parameter sets, also a requested one; at most four threads.
            .with(
                "option-string",
                format!(
                    "bframes=0:scenecut=0:open-gop=0:min-keyint={gop}:repeat-headers=1:frame-threads=1:pools=4"
                ),
            ),
        EncoderKind::V4l2H265 => element.with(
            "extra-controls",
            format!(
                "controls,video_bitrate={bitrate},video_gop_size={gop},video_b_frames=0,repeat_sequence_header=1"
            ),
        ),
    }
}

/// The AAC encoders that are tried, the best first.
#[must_use]
pub fn aac(bitrate: u32) -> Stage {
    let with_bitrate = |factory| Element::new(factory).with("bitrate", bitrate);
    Stage::FirstOf(
        ["avenc_aac", "fdkaacenc", "voaacenc", "faac"].map(|name| vec![with_bitrate(name)]).to_vec(),
    )
}
