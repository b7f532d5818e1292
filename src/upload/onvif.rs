//! The named attributes of a segment's object (ONVIF Recording Control Service Specification 26.06, Annex B,
//! "Object attributes"), as user metadata. They are added to the camera's own, for readers of that standard.
//! Names are in lower case, because HTTP headers are compared so and stores return them so.

use crate::fmp4::Attributes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Attribute and value. `device` is fit for a header; `content_type` is that of the object.
///
/// Left out are `EventTopic` (nothing triggers a recording), and `VideoChannel` and `AudioChannel` (there is
/// one of each). `Timescale` and `SeekTable` are present if the movie and all tracks have one timescale, as
/// the standard requires.
pub(super) fn pairs(
    attributes: &Attributes,
    device: &str,
    content_type: &str,
) -> Vec<(&'static str, String)> {
    let Attributes { duration, frames, video_bytes, width, height, audio, timescale, seek_table } =
        attributes;
    let mut pairs = vec![
        ("version", "1.0".to_owned()),
        ("source", device.to_owned()),
        ("duration", iso_duration(*duration)),
        // Some servers fold the spaces of a header; the signature would then be wrong.
        ("fullcontenttype", content_type.replace(' ', "")),
        ("videowidth", width.to_string()),
        ("videoheight", height.to_string()),
        ("videoframerate", thousandths(rate(*frames, 1000, *duration))),
        ("videobitrate", kilobits(*video_bytes, *duration).to_string()),
    ];
    if let Some(audio) = audio {
        pairs.push(("audiobitrate", kilobits(audio.bytes, *duration).to_string()));
        pairs.push(("audiosamplerate", ((audio.rate + 500) / 1000).to_string()));
    }
    if let Some(timescale) = timescale {
        pairs.push(("timescale", timescale.to_string()));
        pairs.push(("seektable", STANDARD.encode(seek_table)));
    }
    pairs
}

/// `PT30.066667S` (ISO 8601-1, 5.5.2.2), to the microsecond.
fn iso_duration(nanos: u64) -> String {
    let micros = nanos.saturating_add(500) / 1000;
    format!("PT{}.{:06}S", micros / 1_000_000, micros % 1_000_000)
}

fn kilobits(bytes: u64, nanos: u64) -> u64 {
    rate(bytes, 8, nanos) / 1000
}

/// `count * scale` per second, rounded.
fn rate(count: u64, scale: u64, nanos: u64) -> u64 {
    let nanos = u128::from(nanos.max(1));
    let scaled = u128::from(count) * u128::from(scale) * 1_000_000_000;
    u64::try_from((scaled + nanos / 2) / nanos).unwrap_or(u64::MAX)
}

fn thousandths(value: u64) -> String {
    format!("{}.{:03}", value / 1000, value % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fmp4::AudioAttributes;

    #[test]
    fn the_attributes_have_the_forms_of_the_standard() {
        let attributes = Attributes {
            duration: 30_066_666_667,
            frames: 451,
            video_bytes: 7_516_667,
            width: 1920,
            height: 1080,
            audio: Some(AudioAttributes { bytes: 240_533, rate: 44_100 }),
            timescale: Some(90_000),
            seek_table: b"\0\0\0\x08mfra".to_vec(),
        };
        let expected = [
            ("version", "1.0"),
            ("source", "cam-0001"),
            ("duration", "PT30.066667S"),
            ("fullcontenttype", "video/mp4;codecs=\"avc1.64001f,mp4a.40.2\""),
            ("videowidth", "1920"),
            ("videoheight", "1080"),
            ("videoframerate", "15.000"),
            ("videobitrate", "2000"),
            ("audiobitrate", "64"),
            ("audiosamplerate", "44"),
            ("timescale", "90000"),
            ("seektable", "AAAACG1mcmE="),
        ];
        let said = pairs(&attributes, "cam-0001", "video/mp4; codecs=\"avc1.64001f,mp4a.40.2\"");
        assert_eq!(said, expected.map(|(key, value)| (key, value.to_owned())));

        let silent = Attributes { audio: None, timescale: None, duration: 0, frames: 0, ..attributes };
        let said = pairs(&silent, "cam-0001", "video/mp4; codecs=\"avc1.64001f\"");
        assert!(said.iter().all(|(key, _)| !key.starts_with("audio") && *key != "seektable"), "{said:?}");
        assert!(said.contains(&("duration", "PT0.000000S".to_owned())));
    }
}
