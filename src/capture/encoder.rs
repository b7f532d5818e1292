//! H.264 encoders: how each is told its bit rate and the length of a GOP.
//!
//! Every one is told to place an IDR every `gop` pictures and nowhere else: a fragment is one GOP,
//! and a scene cut would make it shorter for nothing. None makes B-frames, which add delay.

use super::board::{Element, Stage};

/// What an encoder is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Bits a second.
    pub bitrate: u64,
    /// Pictures from one IDR to the next.
    pub gop: u32,
}

/// The names that board files use.
pub const KINDS: &[&str] = &["x264", "openh264", "v4l2h264", "mpph264", "vpuenc_h264", "omxh264"];

/// The stages of the encoder of this name: the element, and caps behind it where it needs them.
/// `None` where the name is none of [`KINDS`].
#[must_use]
pub fn stages(kind: &str, demand: Demand) -> Option<Vec<Stage>> {
    let element = element(kind, demand)?;
    let mut stages = vec![Stage::Element(element)];
    if kind == "v4l2h264" {
        // Drivers refuse to start without a level; 4.2 reaches 1080p60 and 2560x1440 at 30.
        stages.push(Stage::Caps(String::from("video/x-h264,level=(string)4.2")));
    }
    Some(stages)
}

fn element(kind: &str, demand: Demand) -> Option<Element> {
    let Demand { bitrate, gop } = demand;
    let kilobits = (bitrate / 1000).max(1);
    let element = match kind {
        "x264" => Element::new("x264enc")
            .with("tune", "zerolatency")
            .with("speed-preset", "ultrafast")
            .with("bitrate", kilobits)
            .with("key-int-max", gop)
            .with("bframes", 0)
            // min-keyint keeps x264 from answering a request for a key frame with a mere I picture.
            .with("option-string", "scenecut=0:open-gop=0"),
        "openh264" => Element::new("openh264enc")
            .with("bitrate", bitrate.min(u64::from(u32::MAX)))
            .with("rate-control", "bitrate")
            .with("gop-size", gop)
            .with("scene-change-detection", false)
            // Skipped pictures would be gaps in the recording.
            .with("enable-frame-skip", false)
            .with("complexity", "low"),
        "v4l2h264" => Element::new("v4l2h264enc").with(
            "extra-controls",
            format!(
                "controls,video_bitrate={bitrate},video_gop_size={gop},h264_i_frame_period={gop},\
                 video_b_frames=0,repeat_sequence_header=1"
            ),
        ),
        "mpph264" => Element::new("mpph264enc")
            .with("bps", bitrate)
            .with("gop", gop)
            .with("rc-mode", "vbr")
            .with("header-mode", "each-idr"),
        "vpuenc_h264" => Element::new("vpuenc_h264").with("bitrate", kilobits).with("gop-size", gop),
        "omxh264" => Element::new("omxh264enc")
            .with("target-bitrate", bitrate)
            .with("control-rate", "variable")
            .with("interval-intraframes", gop),
        _ => return None,
    };
    Some(element)
}

/// The AAC encoders that are tried, best first.
#[must_use]
pub fn aac(bitrate: u32) -> Stage {
    let with_bitrate = |factory| Element::new(factory).with("bitrate", bitrate);
    Stage::FirstOf(
        ["avenc_aac", "fdkaacenc", "voaacenc", "faac"].map(|name| vec![with_bitrate(name)]).to_vec(),
    )
}
