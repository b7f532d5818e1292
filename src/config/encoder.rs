//! `video.encoder`: the encoder for raw frames.

use super::properties::Property;

/// `video.encoder` of a board.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoder {
    /// `video.encoder.kind`.
    pub kind: EncoderKind,
    /// `video.encoder.properties`.
    pub properties: Vec<Property>,
}

/// Without properties.
impl From<EncoderKind> for Encoder {
    fn from(kind: EncoderKind) -> Encoder {
        Encoder { kind, properties: Vec::new() }
    }
}

/// The supported encoders. Displayed as in board files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EncoderKind {
    /// `v4l2h264`: V4L2 memory to memory, from the kernel.
    V4l2H264,
    /// `x264`: in software.
    X264,
    /// `openh264`: in software.
    OpenH264,
    /// `mpph264`: Rockchip.
    MppH264,
    /// `vpuenc_h264`: NXP i.MX 8M.
    VpuencH264,
    /// `omxh264`: OpenMAX IL.
    OmxH264,
    /// `v4l2h265`: H.265, as `v4l2h264`.
    V4l2H265,
    /// `x265`: H.265, in software.
    X265,
    /// `mpph265`: H.265, as `mpph264`.
    MppH265,
    /// `vpuenc_hevc`: H.265, as `vpuenc_h264`.
    VpuencHevc,
    /// `omxh265`: H.265, as `omxh264`.
    OmxH265,
}
