//! `kasacamd snapshot FILE`: one image of what the camera sees, from the running agent.
//!
//! 1. The agent is asked for its next IDR frame. It gives one only while its camera is open under a permit, and says
//!    which run that is. No device is opened here: only the agent knows what the owner allows.
//! 2. The frame is decoded, in this process and in memory.
//! 3. The agent is asked whether that run still goes on. If not, the owner has forbidden recording meanwhile, and nothing is
//!    written.
//! 4. The image is written atomically, with mode 0600.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kasacam::capture::still;
use kasacam::disk::{RealFs, publish};
use kasacam::system::control::{self, Command, Open, Snapshot};
use std::path::Path;

/// Takes it; returns the text to print.
pub(crate) fn snapshot(file: &Path, socket: &Path) -> Result<String, String> {
    let name = file.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| format!("{} is not a file name", file.display()))?;
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    if !folder.is_dir() {
        return Err(format!("{} is not a folder: create it first", folder.display()));
    }
    let taken: Snapshot = control::ask(socket, &Command::Snapshot)?;
    let frame = STANDARD.decode(&taken.h264).map_err(|_| "the agent's answer contains no frame")?;
    let image = still::jpeg(frame)?;
    let now: Open = control::ask(socket, &Command::Open { epoch: taken.epoch })?;
    if !now.open {
        return Err(String::from("the camera was closed meanwhile: nothing was written"));
    }
    publish(&RealFs, folder, name, &image)
        .map_err(|why| format!("{} cannot be written: {why}", file.display()))?;
    Ok(format!("{} is written\n", file.display()))
}
