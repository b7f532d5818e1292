//! `[[video.profile]]`: other streams of the same camera. Keys that a profile does not have are taken from `[video]`, so it
//! is validated like that section.

use super::board::{Video, VideoFormat, VideoSource};
use super::problem::{Place, Problem, Problems};
use super::settings::Merged;

/// Reads every profile of `merged`. `read` validates a section `[video]`; `own` is the one of the board.
pub(super) fn profiles(
    merged: &Merged,
    problems: &mut Problems,
    own: Option<&Video>,
    read: impl Fn(&Merged, &mut Problems) -> Option<Video>,
) -> Vec<Video> {
    let mut found: Vec<Video> = Vec::new();
    // What each source delivers as it is, and where the board file says so.
    let mut delivered: Vec<(String, Video)> = Vec::new();
    delivered.extend(own.map(|own| (String::from("[video]"), own.clone())));
    for number in 0.. {
        let path = format!("video.profile.{number}");
        if !merged.has_below(&path) {
            break;
        }
        let own_source = merged.has_below(&format!("{path}.source"));
        let own_encoder = merged.has_below(&format!("{path}.encoder"));
        let is_other = |key: &str| {
            let below =
                |of: &str| key.strip_prefix(of).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            below("profile")
                // Another source has its own format and encoder.
                || own_source && (below("source") || below("format") || below("encoder"))
                || own_encoder && below("encoder")
        };
        let mut laid = merged.overlaid("video", &path, is_other);
        let url = merged.text(&format!("{path}.url"));
        if let Some((_, at)) = url {
            let rtsp = laid.text("video.source.kind").is_none_or(|(kind, _)| kind == "rtsp");
            if rtsp && !own_source {
                laid.rename("video.url", "video.source.url");
            } else {
                let problem =
                    "is not used: the profile names another source, or the board has no RTSP source";
                problems.push(
                    at,
                    &format!("{path}.url"),
                    problem,
                    "give source = { kind = \"rtsp\", url = … } alone",
                );
            }
        }
        let mut found_in_profile = Problems::default();
        let video = read(&laid, &mut found_in_profile);
        for problem in &found_in_profile {
            report(problems, problem, &path);
        }
        let Some(video) = video else { continue };
        if let Some((_, at)) = merged.number(&format!("{path}.height")) {
            if has_one_size(&video) {
                if let Some((first, _)) = delivered.iter().find(|(_, other)| is_one_stream(other, &video)) {
                    let problem =
                        format!("has the source of {first}, and nothing that changes the size of its frames");
                    let hint = "give it its own url or source, or an encoder";
                    problems.push(at, &path, problem, hint);
                } else {
                    delivered.push((path.clone(), video.clone()));
                }
            }
            if let Some(own) = own.filter(|own| own.codec() != video.codec()) {
                let problem = format!("records {}, and [video] {}", video.codec().name(), own.codec().name());
                problems.push(at, &path, problem, "all streams of one camera need the same codec");
            }
        }
        found.push(video);
    }
    found
}

/// Whether the source alone decides the size of the frames: it encodes them, whatever the codec, no size can be requested
/// from it, and they are not encoded again.
fn has_one_size(profile: &Video) -> bool {
    let encodes = match profile.format {
        VideoFormat::H264 | VideoFormat::H265 => true,
        VideoFormat::Raw => false,
    };
    encodes && profile.encoder.is_none() && !matches!(profile.source, VideoSource::V4l2 { .. })
}

/// Whether both are one stream of one source, however it is transported or read.
fn is_one_stream(one: &Video, other: &Video) -> bool {
    let is_one_address = match (&one.source, &other.source) {
        (VideoSource::Rtsp { url: one, .. }, VideoSource::Rtsp { url: other, .. }) => one == other,
        (VideoSource::File { path: one, .. }, VideoSource::File { path: other, .. }) => one == other,
        (one, other) => one == other,
    };
    is_one_address && one.format == other.format && one.source_properties == other.source_properties
}

/// Reports a problem under the key of the profile, unless it was reported for `[video]`.
fn report(problems: &mut Problems, problem: &Problem, path: &str) {
    let same = |other: &Problem| {
        (&other.file, other.line, other.column, &other.problem)
            == (&problem.file, problem.line, problem.column, &problem.problem)
    };
    if problems.iter().any(same) {
        return;
    }
    let key =
        problem.key.strip_prefix("video").map_or_else(|| problem.key.clone(), |own| format!("{path}{own}"));
    let at = Place { line: problem.line, column: problem.column, ..Place::file(&problem.file) };
    problems.push(&at, &key, problem.problem.clone(), problem.hint.clone());
}
