//! What the tracks of a file are: the values from which a `moov` is written.

use crate::domain::codec::Codec;
use bytes::Bytes;

/// `track_ID` of the video.
pub const VIDEO_TRACK: u32 = 1;
/// `track_ID` of the audio.
pub const AUDIO_TRACK: u32 = 2;
/// Ticks per second of the video: the clock of RTP, in which one frame of the common frame rates is a whole
/// number of ticks.
pub const VIDEO_TIMESCALE: u32 = 90_000;

/// What the `moov` says of the video.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VideoDescription {
    /// The parameter sets.
    pub sets: DecoderSets,
    /// Width and height of the coded picture after cropping.
    pub size: (u32, u32),
    /// Sample aspect ratio, width to height.
    pub aspect: (u32, u32),
    /// `chroma_format_idc`, if the profile has it.
    pub chroma: Option<u8>,
    /// Bit depth of luma and chroma samples, minus 8.
    pub depths: (u8, u8),
    /// Parameter sets may also be inside the samples (`avc3` instead of `avc1`, `hev1` instead of `hvc1`).
    pub sets_in_band: bool,
    /// Clockwise quarter turns for display, 0 to 3.
    pub turns: u8,
}

/// What the `moov` says of the audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioDescription {
    /// `AudioSpecificConfig` (ISO/IEC 14496-3, 1.6.2.1), at most 100 bytes.
    pub config: Bytes,
    /// Samples per second; also the timescale of the track.
    pub rate: u32,
    /// Channels.
    pub channels: u16,
}

/// The parameter sets of a stream, as NAL units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecoderSets {
    /// Of H.264.
    H264 {
        /// The sequence parameter set.
        sps: Bytes,
        /// The picture parameter sets; 255 at most are written.
        pps: Vec<Bytes>,
    },
    /// Of H.265.
    H265 {
        /// The video parameter set.
        vps: Bytes,
        /// The sequence parameter set.
        sps: Bytes,
        /// The picture parameter sets; 64 at most are written, which is all that there can be.
        pps: Vec<Bytes>,
        /// The general part of `profile_tier_level` (ITU-T H.265, 7.3.3).
        profile: [u8; 12],
        /// Temporal sub-layers, 1 to 7.
        sub_layers: u8,
        /// `sps_temporal_id_nesting_flag`.
        nested: bool,
    },
}

impl DecoderSets {
    /// Whose they are.
    #[must_use]
    pub fn codec(&self) -> Codec {
        match self {
            DecoderSets::H264 { .. } => Codec::H264,
            DecoderSets::H265 { .. } => Codec::H265,
        }
    }

    /// The NAL units, in the order in which they stand before a picture.
    #[must_use]
    pub fn nals(&self) -> Vec<Bytes> {
        match self {
            DecoderSets::H264 { sps, pps } => [std::slice::from_ref(sps), pps].concat(),
            DecoderSets::H265 { vps, sps, pps, .. } => {
                [std::slice::from_ref(vps), std::slice::from_ref(sps), pps].concat()
            }
        }
    }

    /// Profile, tier and level are the same. The `moov` names them.
    #[must_use]
    pub fn has_profile_of(&self, other: &DecoderSets) -> bool {
        match (self, other) {
            (DecoderSets::H264 { sps, .. }, DecoderSets::H264 { sps: other, .. }) => {
                sps.get(1..4) == other.get(1..4)
            }
            (DecoderSets::H265 { profile, .. }, DecoderSets::H265 { profile: other, .. }) => profile == other,
            (DecoderSets::H264 { .. }, DecoderSets::H265 { .. })
            | (DecoderSets::H265 { .. }, DecoderSets::H264 { .. }) => false,
        }
    }

    pub(super) fn entry_kind(&self, sets_in_band: bool) -> &'static [u8; 4] {
        match (self, sets_in_band) {
            (DecoderSets::H264 { .. }, false) => b"avc1",
            (DecoderSets::H264 { .. }, true) => b"avc3",
            (DecoderSets::H265 { .. }, false) => b"hvc1",
            (DecoderSets::H265 { .. }, true) => b"hev1",
        }
    }

    pub(super) fn record_kind(&self) -> &'static [u8; 4] {
        match self {
            DecoderSets::H264 { .. } => b"avcC",
            DecoderSets::H265 { .. } => b"hvcC",
        }
    }
}
