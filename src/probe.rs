//! `kasacamd probe`: what this board has, and a board file that works on it.
//!
//! It records nothing: it asks the nodes of cameras for their formats and closes them again, reads the list of microphones
//! from /proc, and measures encoders with test frames. `docs/privacy.md` says what is opened.

use kasacam::capture::choose::{self, Camera, Found, Mode, Offer, Way};
use kasacam::capture::{packages, survey};
use kasacam::config::{self, FrameRate};
use kasacam::disk::{RealFs, file_system, publish};
use kasacam::system::{cameras, clock, hardware};
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const MIB: u64 = 1 << 20;

/// Examines the board. Returns what was found as text or, if `board` is a file or `-`, writes the board file that follows.
pub(crate) fn probe(board: Option<&Path>, state_dir: &Path) -> Result<String, String> {
    let found = look(state_dir);
    let Some(path) = board else {
        let mut words = found.model.as_ref().map(|model| format!("Board: {model}\n")).unwrap_or_default();
        for line in choose::in_words(&found) {
            let _infallible = writeln!(words, "{line}");
        }
        return Ok(words);
    };
    let to_stdout = path == Path::new("-");
    if !to_stdout && path.exists() {
        return Err(format!("{} is there already: move it away, or give another name", path.display()));
    }
    let text = choose::board_file(&found, &mut survey::speed)?;
    judge(&text, path)?;
    if to_stdout {
        return Ok(text);
    }
    let (folder, name) =
        (path.parent().unwrap_or(Path::new("")), path.file_name().and_then(|name| name.to_str()));
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let name = name.ok_or_else(|| format!("{} is not a file name", path.display()))?;
    publish(&RealFs, folder, name, text.as_bytes())
        .map_err(|why| format!("{} cannot be written: {why}", path.display()))?;
    // It has no secrets, and the agent runs as another user.
    let readable = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(path, readable).map_err(|why| format!("{}: its mode: {why}", path.display()))?;
    Ok(format!("{} is written\n", path.display()))
}

/// Reads the text as the agent would, and builds the pipeline: a board file that would not work is not written.
fn judge(text: &str, path: &Path) -> Result<(), String> {
    let board = config::board_of(text, path).map_err(|problems| {
        format!("no board file can be made of what was found: please report this\n{problems}\n{text}")
    })?;
    let problems = kasacam::capture::probe(&board);
    if problems.is_empty() {
        return Ok(());
    }
    let problems: Vec<String> = problems.iter().map(|it| format!("{}: {}", it.key, it.problem)).collect();
    Err(format!(
        "the board file that follows from what was found would not work:\n{}\n{text}",
        problems.join("\n")
    ))
}

fn look(state_dir: &Path) -> Found {
    let (nodes, refused) = cameras::all();
    let mut found = Found { model: hardware::model(), encoders: survey::encoders(), ..Found::default() };
    for name in survey::libcamera_cameras() {
        let offer = Offer {
            pixels: Some(config::Pixels::Nv12),
            modes: [(1920, 1080), (1280, 720), (640, 360)].map(|(w, h)| choose::any_rate(w, h)).to_vec(),
        };
        found.cameras.push(Camera { way: Way::Libcamera(name.clone()), name, offers: vec![offer] });
    }
    for node in nodes {
        let offers = node.formats.iter().filter_map(offer).collect();
        found.cameras.push(Camera { way: Way::V4l2(node.path), name: node.card, offers });
    }
    found.microphones = hardware::microphones().into_iter().map(|it| (it.device, it.name)).collect();
    found.remarks = remarks(state_dir);
    found.remarks.extend(refused.into_iter().map(|why| format!("Not examined: {why}")));
    if found.encoders.is_empty() {
        found.remarks.push(format!("A software encoder: {}", packages::advice("openh264enc")));
    }
    found
}

fn offer(format: &cameras::Format) -> Option<Offer> {
    let pixels = choose::layout(format.code)?;
    let mode = |size: &cameras::Size| Mode {
        width: size.width,
        height: size.height,
        rates: size.rates.iter().filter_map(|(frames, seconds)| FrameRate::new(*frames, *seconds)).collect(),
    };
    Some(Offer { pixels, modes: format.sizes.iter().map(mode).collect() })
}

/// Flash, memory and clock: they are not part of a board file, but limit what it can do.
fn remarks(state_dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    let nearest = state_dir.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    if let (Ok(on), Ok(space)) = (file_system::of(nearest), nix::sys::statvfs::statvfs(nearest)) {
        #[allow(clippy::useless_conversion, reason = "its width differs between targets")]
        let free = u64::from(space.blocks_available()).saturating_mul(u64::from(space.fragment_size()));
        let verdict = match on.verdict {
            file_system::Verdict::Supported => String::new(),
            file_system::Verdict::Doubtful(why) | file_system::Verdict::Refused(why) => format!("; {why}"),
        };
        lines.push(format!(
            "Flash: {} is on {}, {} MiB free{verdict}",
            state_dir.display(),
            on.name,
            free / MIB
        ));
    }
    if let Some((all, available)) = hardware::memory() {
        lines.push(format!("Memory: {} MiB, {} MiB of it available", all / MIB, available / MIB));
    }
    let battery = match hardware::battery_clock() {
        Some(name) => format!("an RTC ({name})"),
        None => String::from("no RTC: after a start, the time is unknown until the network gives it"),
    };
    let synchronised =
        if clock::now(clock::Trust::Kernel).synchronised { "synchronised" } else { "not synchronised" };
    lines.push(format!("Clock: {battery}; {synchronised}"));
    lines
}
