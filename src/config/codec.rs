//! `video.codec`: what is recorded, and what must agree with it.

use super::merge::Merged;
use super::words::VideoKind;
use super::{Encoder, EncoderKind, Place, Problems, Video, VideoFormat};
use crate::domain::codec::Codec;

/// The key.
const KEY: &str = "video.codec";
/// What a test source is encoded with where H.265 is wanted and nothing is named.
const TEST_ENCODER: EncoderKind = EncoderKind::X265;

impl Video {
    /// What is recorded: what the source gives, or what the encoder makes.
    #[must_use]
    pub fn codec(&self) -> Codec {
        let of_encoder = self.encoder.as_ref().map_or(Codec::H264, |encoder| encoder.kind.codec());
        self.format.codec().unwrap_or(of_encoder)
    }
}

impl VideoFormat {
    /// What it is coded in; `None` of raw pictures.
    #[must_use]
    pub fn codec(self) -> Option<Codec> {
        match self {
            VideoFormat::H264 => Some(Codec::H264),
            VideoFormat::H265 => Some(Codec::H265),
            VideoFormat::Raw => None,
        }
    }

    /// What is coded so.
    #[must_use]
    pub fn coded(codec: Codec) -> VideoFormat {
        match codec {
            Codec::H264 => VideoFormat::H264,
            Codec::H265 => VideoFormat::H265,
        }
    }
}

impl EncoderKind {
    /// What it makes.
    #[must_use]
    pub fn codec(self) -> Codec {
        match self {
            EncoderKind::V4l2H264
            | EncoderKind::X264
            | EncoderKind::OpenH264
            | EncoderKind::MppH264
            | EncoderKind::VpuencH264
            | EncoderKind::OmxH264 => Codec::H264,
            EncoderKind::V4l2H265
            | EncoderKind::X265
            | EncoderKind::MppH265
            | EncoderKind::VpuencHevc
            | EncoderKind::OmxH265 => Codec::H265,
        }
    }
}

/// `video.codec`, where it is told.
pub(super) fn told(merged: &Merged) -> Option<(Codec, &Place)> {
    merged.word(KEY)
}

/// The encoder in force: the one that is named, or the one that a test source needs for what is wanted.
pub(super) fn encoder(merged: &Merged, source: VideoKind) -> Option<Encoder> {
    let named = merged.word("video.encoder.kind").map(|(kind, _)| Encoder {
        kind,
        properties: merged.properties("video.encoder.properties").to_vec(),
    });
    let is_needed = source == VideoKind::Test && told(merged).is_some_and(|(codec, _)| codec == Codec::H265);
    named.or_else(|| is_needed.then(|| Encoder::from(TEST_ENCODER)))
}

/// Tells where `video.codec` says another codec than the source gives or the encoder makes.
pub(super) fn agree(
    merged: &Merged,
    format: VideoFormat,
    encoder: Option<&Encoder>,
    problems: &mut Problems,
) {
    let Some((told, at)) = told(merged) else { return };
    let (made, by) = match (format.codec(), encoder) {
        (Some(given), _) => (given, format!("`video.format` says {}", given.word())),
        (None, Some(encoder)) => (
            encoder.kind.codec(),
            format!("the encoder {} makes {}", encoder.kind, encoder.kind.codec().name()),
        ),
        (None, None) => return,
    };
    if made != told {
        let hint = "they name the same codec, or one of them is left out";
        problems.push(at, KEY, format!("says {}, but {by}", told.word()), hint);
    }
}
