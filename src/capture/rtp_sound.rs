//! The sound of an RTSP camera: from what it sends to the AAC that is stored. AAC is kept as it is; all else is decoded and
//! encoded.

use super::board::{Element, Stage, queue};
use super::encoder;

/// How one encoding comes to AAC: by its name in the SDP (RFC 8866, `rtpmap`), in capital letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoundPath {
    /// Such as `PCMU`.
    pub encoding: &'static str,
    /// From RTP packets to AAC of any form.
    pub stages: Vec<Stage>,
}

/// Speech, as telephones have it: so many samples a second, and bits a second of AAC.
const SPEECH: (u32, u32) = (16_000, 32_000);
/// All that the ear hears.
const FULL: (u32, u32) = (48_000, 64_000);

/// All that is understood.
#[must_use]
pub fn sound_paths() -> Vec<SoundPath> {
    let kept = |encoding, depay| SoundPath { encoding, stages: vec![Stage::Element(Element::new(depay))] };
    let coded = |encoding, factories: &[&'static str], quality| SoundPath {
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
