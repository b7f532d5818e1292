//! Warnings of `check`: settings that work, but perhaps not as intended.

use super::check;
use super::init::initialise;
use crate::capture::board;
use crate::capture::profile;
use crate::config::{Board, Recording, VideoSource, Warning};
use crate::domain::effect::CaptureSettings;

/// Warnings for a valid board file. Opens no device.
#[must_use]
pub fn doubts(board: &Board, recording: &Recording) -> Vec<Warning> {
    let mut found = Vec::new();
    if let Some(lines) = profile::least_lines(board) {
        let lacks = "give the board a [[video.profile]] with fewer, or name an encoder";
        let warning = match &board.video.source {
            VideoSource::V4l2 { .. } => {
                format!(
                    "a plan of fewer than {lines} lines needs a mode of the device with so few lines: {lacks}"
                )
            }
            VideoSource::Libcamera { .. }
            | VideoSource::Rtsp { .. }
            | VideoSource::File { .. }
            | VideoSource::Pipeline { .. }
            | VideoSource::Test => {
                format!("under a plan of fewer than {lines} lines nothing is recorded: {lacks}")
            }
        };
        found.push(Warning { key: "video.height", warning });
    }
    let all = std::iter::once(&board.video).chain(&board.video.profiles);
    for video in all {
        let VideoSource::Rtsp { access, .. } = &video.source else { continue };
        let Some(path) = access.credentials.as_ref().filter(|path| !path.exists()) else { continue };
        let warning = format!("there is no {} yet: the camera waits for it", path.display());
        found.push(Warning { key: "video.source.credentials", warning });
    }
    found.dedup();
    let settings = CaptureSettings { audio: true, max_height: u32::MAX };
    if let (Ok(()), Ok(description)) = (initialise(), board::describe(board, recording, settings)) {
        let mut lacking: Vec<(Vec<String>, Vec<&str>)> = Vec::new();
        for path in &description.audio_paths {
            let missing = check::missing_in(&path.stages);
            match lacking.iter_mut().find(|(known, _)| *known == missing) {
                _ if missing.is_empty() => {}
                Some((_, encodings)) => encodings.push(path.encoding),
                None => lacking.push((missing, vec![path.encoding])),
            }
        }
        for (missing, encodings) in lacking {
            let (names, why) = (encodings.join(", "), missing.join("; "));
            let warning = format!("a camera whose audio is {names} is recorded without it: {why}");
            found.push(Warning { key: "audio.source", warning });
        }
    }
    found
}
