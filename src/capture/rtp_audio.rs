//! The audio of an RTSP camera: from its encoding to the AAC that is stored. AAC is kept as it is; other encodings are
//! decoded, then encoded.

use super::encoder;
use super::pipeline::{AudioPath, Element, Stage, queue};

/// Telephone quality: samples a second, and bits a second of AAC.
const SPEECH: (u32, u32) = (16_000, 32_000);
/// Full quality.
const FULL: (u32, u32) = (48_000, 64_000);

/// All supported encodings.
#[must_use]
pub(super) fn audio_paths() -> Vec<AudioPath> {
    let kept = |encoding, depay| AudioPath { encoding, stages: vec![Stage::Element(Element::new(depay))] };
    let coded = |encoding, factories: &[&'static str], quality| AudioPath {
        encoding,
        stages: encoded(factories, quality),
    };
    let mut paths = vec![
        kept("MPEG4-GENERIC", "rtpmp4gdepay"),
        kept("MP4A-LATM", "rtpmp4adepay"),
        coded("PCMU", &["rtppcmudepay", "mulawdec"], SPEECH),
        coded("PCMA", &["rtppcmadepay", "alawdec"], SPEECH),
        coded("G722", &["rtpg722depay", "avdec_g722"], SPEECH),
        coded("OPUS", &["rtpopusdepay", "opusdec"], FULL),
        coded("L16", &["rtpL16depay"], FULL),
    ];
    let g726 = ["G726-16", "G726-24", "G726-32", "G726-40"];
    paths.extend(g726.map(|encoding| coded(encoding, &["rtpg726depay", "avdec_g726"], SPEECH)));
    paths
}

fn encoded(factories: &[&'static str], (rate, bitrate): (u32, u32)) -> Vec<Stage> {
    let mut stages: Vec<Stage> = factories.iter().map(|name| Stage::Element(Element::new(name))).collect();
    stages.push(Stage::Element(queue()));
    stages.push(Stage::Element(Element::new("audioconvert")));
    stages.push(Stage::Element(Element::new("audioresample")));
    stages.push(Stage::Caps(format!("audio/x-raw,rate={rate},channels=1")));
    stages.push(encoder::aac(bitrate));
    stages
}
