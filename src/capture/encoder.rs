//! H.264 encoders: how each is told its bit rate and the length of a GOP.
//!
//! Every one is told to place an IDR every `gop` pictures and nowhere else: a fragment is one GOP,
//! and a scene cut would make it shorter for nothing. None makes B-frames, which add delay.

use super::board::{Element, Stage};
use crate::config::EncoderKind;

/// What an encoder is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Bits a second.
    pub bitrate: u64,
    /// Pictures from one IDR to the next.
    pub gop: u32,
}

/// The stages of an encoder: the element, and caps behind it where it needs them.
#[must_use]
pub fn stages(kind: EncoderKind, demand: Demand) -> Vec<Stage> {
    let mut stages = vec![Stage::Element(element(kind, demand))];
    if kind == EncoderKind::V4l2H264 {
        // Drivers refuse to start without a level; 4.2 reaches 1080p60 and 2560x1440 at 30.
        stages.push(Stage::Caps(String::from("video/x-h264,level=(string)4.2")));
    }
    stages
}

/// The element of an encoder, with its properties.
#[must_use]
pub fn element(kind: EncoderKind, demand: Demand) -> Element {
    let Demand { bitrate, gop } = demand;
    let kilobits = (bitrate / 1000).max(1);
    match kind {
        EncoderKind::X264 => Element::new("x264enc")
            .with("tune", "zerolatency")
            .with("speed-preset", "ultrafast")
            .with("bitrate", kilobits)
            .with("key-int-max", gop)
            .with("bframes", 0)
            // min-keyint keeps x264 from answering a request for a key frame with a mere I picture.
            .with("option-string", "scenecut=0:open-gop=0"),
        EncoderKind::OpenH264 => Element::new("openh264enc")
            .with("bitrate", bitrate.min(u64::from(u32::MAX)))
            .with("rate-control", "bitrate")
            .with("gop-size", gop)
            .with("scene-change-detection", false)
            // Skipped pictures would be gaps in the recording.
            .with("enable-frame-skip", false)
            .with("complexity", "low"),
        EncoderKind::V4l2H264 => Element::new("v4l2h264enc").with(
            "extra-controls",
            format!(
                "controls,video_bitrate={bitrate},video_gop_size={gop},h264_i_frame_period={gop},\
                 video_b_frames=0,repeat_sequence_header=1"
            ),
        ),
        EncoderKind::MppH264 => Element::new("mpph264enc")
            .with("bps", bitrate)
            .with("gop", gop)
            .with("rc-mode", "vbr")
            .with("header-mode", "each-idr"),
        EncoderKind::VpuencH264 => {
            Element::new("vpuenc_h264").with("bitrate", kilobits).with("gop-size", gop)
        }
        EncoderKind::OmxH264 => Element::new("omxh264enc")
            .with("target-bitrate", bitrate)
            .with("control-rate", "variable")
            .with("interval-intraframes", gop),
    }
}

/// The AAC encoders that are tried, best first.
#[must_use]
pub fn aac(bitrate: u32) -> Stage {
    let with_bitrate = |factory| Element::new(factory).with("bitrate", bitrate);
    Stage::FirstOf(
        ["avenc_aac", "fdkaacenc", "voaacenc", "faac"].map(|name| vec![with_bitrate(name)]).to_vec(),
    )
}
