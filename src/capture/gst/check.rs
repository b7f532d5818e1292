//! Before anything is opened: is all there that a board needs?

use super::initialise;
use crate::capture::board::{self, Description, Element, Origin, Stage, Unfit};
use crate::config::{AudioSource, Board, Durability, Problem, Recording, VideoSource};
use crate::domain::effect::CaptureSettings;
use crate::domain::input::{Fault, FaultKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that would keep this board from capturing: elements that are not installed, devices
/// and files that are not there or may not be read. Opens no device. `file` of each problem is
/// empty: it is the board's, which the caller knows.
#[must_use]
pub fn probe(board: &Board) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut found = |key: &str, problem: String| {
        problems.push(Problem {
            file: PathBuf::new(),
            line: 0,
            column: 0,
            key: key.to_owned(),
            problem,
            hint: String::new(),
        });
    };
    if let Err(why) = initialise() {
        found("", why);
        return problems;
    }
    let recording = Recording {
        segment: Duration::from_secs(30),
        fragment: Duration::from_secs(2),
        chunk: Duration::from_millis(500),
        durability: Durability::Fragment,
        audio: true,
    };
    // Scaled, so that what scales is looked for as well.
    let settings = CaptureSettings { audio: true, max_height: board.video.height.saturating_sub(2).max(2) };
    match board::describe(board, &recording, settings) {
        Ok(description) => {
            for why in missing_in(&description.video).into_iter().chain(missing_origin(&description)) {
                found("video", why);
            }
            for why in description.audio.as_deref().map(missing_in).unwrap_or_default() {
                found("audio", why);
            }
        }
        Err(Unfit(why)) => found("video", why),
    }
    match &board.video.source {
        VideoSource::V4l2 { device } => {
            unreadable(device).into_iter().for_each(|why| found("video.source.device", why))
        }
        VideoSource::File { path, .. } => {
            unreadable(path).into_iter().for_each(|why| found("video.source.path", why))
        }
        VideoSource::Libcamera { .. } | VideoSource::Rtsp { .. } | VideoSource::Test => {}
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

fn missing_in(stages: &[Stage]) -> Vec<String> {
    let absent = |element: &Element| gst::ElementFactory::find(element.factory).is_none();
    let mut missing = Vec::new();
    for stage in stages {
        match stage {
            Stage::Element(element) if absent(element) => {
                missing.push(super::build::missing(element.factory).message)
            }
            Stage::FirstOf(chains) if chains.iter().all(|chain| chain.iter().any(absent)) => {
                let names: Vec<&str> =
                    chains.iter().filter_map(|chain| chain.first()).map(|element| element.factory).collect();
                missing.push(format!("none of these GStreamer elements is installed: {}", names.join(", ")));
            }
            Stage::Element(_) | Stage::FirstOf(_) | Stage::Optional(_) | Stage::Caps(_) => {}
        }
    }
    missing
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
            Stage::Element(_) | Stage::FirstOf(_) | Stage::Optional(_) | Stage::Caps(_) => None,
        }),
    };
    match path.as_deref().and_then(unreadable) {
        Some(why) => Err(super::fault(FaultKind::DeviceMissing, why)),
        None => Ok(()),
    }
}
