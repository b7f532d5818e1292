//! `video.codec`: the codec that is recorded, and the keys that must agree with it.

use super::board::{Video, VideoFormat};
use super::encoder::{Encoder, EncoderKind};
use super::problem::{Place, Problems};
use super::settings::Merged;
use super::words::VideoKind;
use crate::domain::codec::Codec;

/// The key.
const KEY: &str = "video.codec";
/// The encoder of a test source for H.265, if none is named.
const TEST_ENCODER: EncoderKind = EncoderKind::X265;

impl Video {
    /// The codec that is recorded: of the source, or of the encoder.
    #[must_use]
    pub fn codec(&self) -> Codec {
        let of_encoder = self.encoder.as_ref().map_or(Codec::H264, |encoder| encoder.kind.codec());
        self.format.codec().unwrap_or(of_encoder)
    }
}

impl VideoFormat {
    /// The codec; `None` for raw frames.
    #[must_use]
    pub fn codec(self) -> Option<Codec> {
        match self {
            VideoFormat::H264 => Some(Codec::H264),
            VideoFormat::H265 => Some(Codec::H265),
            VideoFormat::Raw => None,
        }
    }

    /// The format of this codec.
    #[must_use]
    pub fn coded(codec: Codec) -> VideoFormat {
        match codec {
            Codec::H264 => VideoFormat::H264,
            Codec::H265 => VideoFormat::H265,
        }
    }
}

impl EncoderKind {
    /// Its codec.
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

/// `video.codec`, if it is set.
pub(super) fn configured(merged: &Merged) -> Option<(Codec, &Place)> {
    merged.word(KEY)
}

/// The encoder: the one that is named, or the default of a test source.
pub(super) fn encoder(merged: &Merged, source: VideoKind) -> Option<Encoder> {
    let named = merged.word("video.encoder.kind").map(|(kind, _)| Encoder {
        kind,
        properties: merged.properties("video.encoder.properties").to_vec(),
    });
    let is_needed =
        source == VideoKind::Test && configured(merged).is_some_and(|(codec, _)| codec == Codec::H265);
    named.or_else(|| is_needed.then(|| Encoder::from(TEST_ENCODER)))
}

/// Reports a `video.codec` that differs from the codec of the source or of the encoder.
pub(super) fn agree(
    merged: &Merged,
    format: VideoFormat,
    encoder: Option<&Encoder>,
    problems: &mut Problems,
) {
    let Some((wanted, at)) = configured(merged) else { return };
    let (made, by) = match (format.codec(), encoder) {
        (Some(given), _) => (given, format!("`video.format` says {}", given.word())),
        (None, Some(encoder)) => (
            encoder.kind.codec(),
            format!("the encoder {} makes {}", encoder.kind, encoder.kind.codec().name()),
        ),
        (None, None) => return,
    };
    if made != wanted {
        let hint = "both must name the same codec; or remove one";
        problems.push(at, KEY, format!("says {}, but {by}", wanted.word()), hint);
    }
}
