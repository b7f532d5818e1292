//! Before anything is opened: is all there that a board needs? Elements are built, with their properties, and linked; none
//! is started.

use super::initialise;
use crate::capture::board::{self, Description, Element, Origin, Stage, Unfit};
use crate::capture::encoder;
use crate::config::{Audio, AudioSource, Board, Durability, Problem, Property, Recording, VideoSource};
use crate::domain::effect::CaptureSettings;
use crate::domain::input::{Fault, FaultKind};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that would keep this board from capturing: elements that are not installed, devices
/// and files that are not there or may not be read. Opens no device. `file` of each problem is
/// empty: it is the board's, which the caller knows.
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
    for (key, factory, properties) in told(board) {
        for (key, why) in untaken(key, factory, properties) {
            found(&key, why);
        }
    }
    // Every picture of the board, and scaled, so that what scales is looked for as well.
    let heights = std::iter::once(&board.video).chain(&board.video.profiles).map(|video| video.height);
    let heights: Vec<u32> = heights.flat_map(|lines| [lines.saturating_sub(2).max(2), lines]).collect();
    for max_height in heights {
        match board::describe(board, &recording, CaptureSettings { audio: true, max_height }) {
            Ok(description) => {
                for why in missing_in(&description.video).into_iter().chain(missing_origin(&description)) {
                    found("video", why);
                }
                // What of a camera is not AAC is decoded; that this cannot be done is a doubt.
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
    // Of several pictures more than one may lack the same.
    let mut told = BTreeSet::new();
    problems.retain(|it| told.insert((it.key.clone(), it.problem.clone())));
    if problems.is_empty() {
        // Each is there by itself: do they fit together?
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
                missing.push(super::build::missing(element.factory).message)
            }
            Stage::FirstOf(chains) if chains.iter().all(|chain| chain.iter().any(absent)) => {
                missing.push(super::build::none_of(chains).message);
            }
            Stage::Foreign(description) => {
                missing.extend(super::foreign::make(description).err().map(|fault| fault.message));
            }
            Stage::Element(_) | Stage::FirstOf(_) | Stage::Optional(_) | Stage::Caps(_) => {}
        }
    }
    missing
}

/// What the board file says of properties: its key, the element, and the properties.
fn told(board: &Board) -> Vec<(&'static str, &'static str, &[Property])> {
    let source = match &board.video.source {
        VideoSource::V4l2 { .. } => Some("v4l2src"),
        VideoSource::Libcamera { .. } => Some("libcamerasrc"),
        VideoSource::Rtsp { .. } => Some("rtspsrc"),
        VideoSource::File { .. } | VideoSource::Pipeline { .. } | VideoSource::Test => None,
    };
    let mut told = Vec::new();
    if let Some(factory) = source {
        told.push(("video.source.properties", factory, board.video.source_properties.as_slice()));
    }
    if let Some(encoder) = &board.video.encoder {
        let factory = encoder::factory(encoder.kind);
        told.push(("video.encoder.properties", factory, encoder.properties.as_slice()));
    }
    if let Some(Audio { source: AudioSource::Alsa { .. }, properties }) = &board.audio {
        told.push(("audio.source.properties", "alsasrc", properties.as_slice()));
    }
    told
}

/// Those that the element does not take, each with its key. That the element is missing is told elsewhere.
fn untaken(key: &str, factory: &'static str, properties: &[Property]) -> Vec<(String, String)> {
    if properties.is_empty() {
        return Vec::new();
    }
    let Ok(element) = super::build::make(&Element::new(factory)) else { return Vec::new() };
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
            board::Container::Mp4 => &["filesrc", "qtdemux"],
            board::Container::Matroska => &["filesrc", "matroskademux"],
            board::Container::ByteStream => &[],
        },
    };
    factories
        .iter()
        .filter(|factory| gst::ElementFactory::find(factory).is_none())
        .map(|factory| super::build::missing(factory).message)
        .collect()
}

fn unreadable(path: &Path) -> Option<String> {
    use nix::unistd::{AccessFlags, access};
    let why = access(path, AccessFlags::R_OK).err()?;
    #[expect(clippy::wildcard_enum_match_arm, reason = "the errors of a system call, not facts of ours")]
    Some(match why {
        nix::errno::Errno::ENOENT => {
            format!("{} does not exist: is the device connected, its driver loaded?", path.display())
        }
        nix::errno::Errno::EACCES => {
            format!(
                "{} may not be read by this user: put the user into the group that owns it",
                path.display()
            )
        }
        other => format!("{} cannot be read: {}", path.display(), other.desc()),
    })
}

/// Whether the source of a run is there, told before GStreamer tells it less well.
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
        Some(why) => Err(super::fault(FaultKind::DeviceMissing, why)),
        None => Ok(()),
    }
}
