//! H.264 encoders by the name that board files use, and how each is told of GOP and bit rate.

use super::board::Element;

/// How the coded picture is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coding {
    /// Pictures from one IDR to the next.
    pub gop: u32,
    /// Bits a second.
    pub bitrate: u64,
}

/// The names that [`element`] knows, in the order in which the test source tries them.
pub const KINDS: [&str; 6] = ["x264", "openh264", "v4l2h264", "mpph264", "vpuenc_h264", "omxh264"];

/// The element for a board's encoder: closed GOPs of a fixed length, no cut at a change of scene and
/// no B-frames, so that a fragment is as long as the configuration says and nothing waits for the
/// future. `None` for a name that is not known.
#[must_use]
pub fn element(kind: &str, coding: Coding) -> Option<Element> {
    let (gop, bits, kilobits) = (coding.gop, coding.bitrate, coding.bitrate / 1000);
    Some(match kind {
        "x264" => Element::new("x264enc")
            .set("tune", "zerolatency")
            .set("speed-preset", "ultrafast")
            .set("bframes", 0)
            .set("key-int-max", gop)
            .set("bitrate", kilobits.max(1))
            .set("option-string", "scenecut=0"),
        "openh264" => Element::new("openh264enc")
            .set("gop-size", gop)
            .set("bitrate", bits)
            .set("rate-control", "bitrate")
            .set("scene-change-detection", "false"),
        "v4l2h264" => Element::new("v4l2h264enc").set(
            "extra-controls",
            format!("controls,h264_i_frame_period={gop},video_gop_size={gop},video_bitrate={bits},repeat_sequence_header=1"),
        ),
        "mpph264" => Element::new("mpph264enc").set("gop", gop).set("bps", bits),
        "vpuenc_h264" => Element::new("vpuenc_h264").set("gop-size", gop).set("bitrate", kilobits),
        "omxh264" => Element::new("omxh264enc")
            .set("interval-intraframes", gop)
            .set("target-bitrate", bits)
            .set("control-rate", "variable"),
        _ => return None,
    })
}
