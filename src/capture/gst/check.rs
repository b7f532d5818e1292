//! Checks whether everything that a board needs is present. Elements are created with their properties and linked, but not
//! started; no device is opened.

use super::init::initialise;
use crate::capture::board;
use crate::capture::encoder;
use crate::capture::pipeline::{Container, Description, Element, Origin, Stage, Unfit};
use crate::config::{Audio, AudioSource, Board, Durability, Problem, Property, Recording, VideoSource};
use crate::domain::effect::CaptureSettings;
use crate::domain::input::{Fault, FaultKind};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that prevents capture on this board: elements that are not installed, devices and files that are
/// missing or not readable. Opens no device. `file` of each problem is empty: it is the board file, which the caller
/// knows.
#[must_use]
pub fn probe(board: &Board) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut whole = Vec::new();
    let problem = |key: &str, problem: String| Problem {
        file: PathBuf::new(),
        line: 0,
        column: 0,
        key: key.to_owned(),
        problem,
        hint: String::new(),
    };
    if let Err(why) = initialise() {
        return vec![problem("", why)];
    }
    let mut found = |key: &str, why: String| problems.push(problem(key, why));
    let recording = Recording {
        segment: Duration::from_secs(30),
        fragment: Duration::from_secs(2),
        chunk: Duration::from_millis(500),
        durability: Durability::Fragment,
        audio: true,
    };
    for (key, factory, properties) in properties_of(board) {
        for (key, why) in refused(key, factory, properties) {
            found(&key, why);
        }
    }
    // Every stream of the board, as it is and scaled, so that the elements for scaling are checked too.
    let heights = std::iter::once(&board.video).chain(&board.video.profiles).map(|video| video.height);
    let heights: Vec<u32> = heights.flat_map(|lines| [lines.saturating_sub(2).max(2), lines]).collect();
    for max_height in heights {
        match board::describe(board, &recording, CaptureSettings { audio: true, max_height }) {
            Ok(description) => {
                for why in missing_in(&description.video).into_iter().chain(missing_origin(&description)) {
                    found("video", why);
                }
                // Other encodings than AAC are decoded; missing decoders are only a warning.
                let aac = description.audio_paths.iter().find(|path| path.encoding == "MPEG4-GENERIC");
                let aac = aac.map(|path| missing_in(&path.stages)).unwrap_or_default();
                let audio = description.audio.as_deref().map(missing_in).unwrap_or_default();
                for why in audio.into_iter().chain(aac) {
                    found("audio", why);
                }
                whole.push(description);
            }
            Err(Unfit(why)) => found("video", why),
        }
    }
    // Several streams may need the same missing element.
    let mut seen = BTreeSet::new();
    problems.retain(|it| seen.insert((it.key.clone(), it.problem.clone())));
    if problems.is_empty() {
        // All elements exist: can they be linked?
        let unfit = whole.iter().find_map(|it| super::build::build(it, it.audio.is_some()).err());
        problems.extend(unfit.map(|fault| problem("video", fault.message)));
    }
    let mut found = |key: &str, why: String| problems.push(problem(key, why));
    match &board.video.source {
        VideoSource::V4l2 { device } => {
            unreadable(device).into_iter().for_each(|why| found("video.source.device", why))
        }
        VideoSource::File { path, .. } => {
            unreadable(path).into_iter().for_each(|why| found("video.source.path", why))
        }
        VideoSource::Libcamera { .. }
        | VideoSource::Rtsp { .. }
        | VideoSource::Pipeline { .. }
        | VideoSource::Test => {}
    }
    if let VideoSource::Rtsp { access, .. } = &board.video.source {
        if access.trust.is_some() && !super::access::has_tls() {
            found("video.source", super::access::no_tls());
        }
    }
    if let Some(AudioSource::Alsa { device }) = board.audio.as_ref().map(|audio| &audio.source) {
        if !Path::new("/dev/snd").exists() {
            found(
                "audio.source.device",
                format!("there is no sound card for `{device}`: /dev/snd does not exist"),
            );
        }
    }
    problems
}

pub(super) fn missing_in(stages: &[Stage]) -> Vec<String> {
    let absent = |element: &Element| gst::ElementFactory::find(element.factory).is_none();
    let mut missing = Vec::new();
    for stage in stages {
        match stage {
            Stage::Element(element) if absent(element) => {
                missing.push(super::elements::missing(element.factory).message)
            }
            Stage::FirstOf(chains) if chains.iter().all(|chain| chain.iter().any(absent)) => {
                missing.push(super::elements::none_of(chains).message);
            }
            Stage::Foreign(description) => {
                missing.extend(super::foreign::make(description).err().map(|fault| fault.message));
            }
            Stage::Element(_) | Stage::FirstOf(_) | Stage::Optional(_) | Stage::Caps(_) => {}
        }
    }
    missing
}

/// The properties in the board file: their key, the element, and the properties.
fn properties_of(board: &Board) -> Vec<(&'static str, &'static str, &[Property])> {
    let source = match &board.video.source {
        VideoSource::V4l2 { .. } => Some("v4l2src"),
        VideoSource::Libcamera { .. } => Some("libcamerasrc"),
        VideoSource::Rtsp { .. } => Some("rtspsrc"),
        VideoSource::File { .. } | VideoSource::Pipeline { .. } | VideoSource::Test => None,
    };
    let mut found = Vec::new();
    if let Some(factory) = source {
        found.push(("video.source.properties", factory, board.video.source_properties.as_slice()));
    }
    if let Some(encoder) = &board.video.encoder {
        let factory = encoder::factory(encoder.kind);
        found.push(("video.encoder.properties", factory, encoder.properties.as_slice()));
    }
    if let Some(Audio { source: AudioSource::Alsa { .. }, properties }) = &board.audio {
        found.push(("audio.source.properties", "alsasrc", properties.as_slice()));
    }
    found
}

/// The properties that the element refuses, each with its key. A missing element is reported elsewhere.
fn refused(key: &str, factory: &'static str, properties: &[Property]) -> Vec<(String, String)> {
    if properties.is_empty() {
        return Vec::new();
    }
    let Ok(element) = super::elements::make(&Element::new(factory)) else { return Vec::new() };
    let judge = |property: &Property| {
        let why = super::properties::value(&element, &property.name, &property.value).err()?;
        Some((format!("{key}.{}", property.name), format!("{why} (element {factory})")))
    };
    properties.iter().filter_map(judge).collect()
}

fn missing_origin(description: &Description) -> Vec<String> {
    let factories: &[&str] = match &description.origin {
        Origin::Branches => &[],
        Origin::Rtsp(_) => &["rtspsrc"],
        Origin::File { container, .. } => match container {
            Container::Mp4 => &["filesrc", "qtdemux"],
            Container::Matroska => &["filesrc", "matroskademux"],
            Container::ByteStream => &[],
        },
    };
    factories
        .iter()
        .filter(|factory| gst::ElementFactory::find(factory).is_none())
        .map(|factory| super::elements::missing(factory).message)
        .collect()
}

fn unreadable(path: &Path) -> Option<String> {
    use nix::unistd::{AccessFlags, access};
    let why = access(path, AccessFlags::R_OK).err()?;
    #[expect(clippy::wildcard_enum_match_arm, reason = "errors of a system call")]
    Some(match why {
        nix::errno::Errno::ENOENT => {
            format!("{} does not exist: is the device connected, and its driver loaded?", path.display())
        }
        nix::errno::Errno::EACCES => {
            format!("{} may not be read by this user: add the user to the group that owns it", path.display())
        }
        other => format!("{} cannot be read: {}", path.display(), other.desc()),
    })
}

/// Checks the source of a run: the message is clearer than GStreamer's.
pub(super) fn source_is_there(description: &Description) -> Result<(), Fault> {
    let path = match &description.origin {
        Origin::File { path, .. } => Some(path.clone()),
        Origin::Branches | Origin::Rtsp(_) => description.video.iter().find_map(|stage| match stage {
            Stage::Element(element) if element.factory == "v4l2src" => element
                .properties
                .iter()
                .find(|(name, _)| *name == "device")
                .map(|(_, device)| PathBuf::from(device)),
            Stage::Element(_)
            | Stage::FirstOf(_)
            | Stage::Optional(_)
            | Stage::Foreign(_)
            | Stage::Caps(_) => None,
        }),
    };
    match path.as_deref().and_then(unreadable) {
        Some(why) => Err(super::faults::fault(FaultKind::DeviceMissing, why)),
        None => Ok(()),
    }
}
