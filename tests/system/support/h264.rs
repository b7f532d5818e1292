//! Coded pictures, told apart by what is in them: `ffmpeg` takes the file apart, so that nothing of ours judges itself.

use ring::digest::{SHA256, digest};
use std::path::Path;
use std::process::Command;

/// SHA-256 of every slice NAL unit (types 1 and 5 of ITU-T H.264, 7.4.1) of a file, in order of decoding.
pub fn slices_of(path: &Path) -> Vec<String> {
    let is = |extension: &str| path.extension().is_some_and(|it| it == extension);
    let stream = is("h264");
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error"]);
    if is("mp4") {
        command.args(["-ignore_editlist", "1"]);
    }
    command.arg("-i").arg(path).args(["-map", "0:v:0", "-c", "copy"]);
    if !stream {
        // Times are none of this comparison.
        command.args(["-bsf:v", "h264_mp4toannexb,setts=ts=N"]);
    }
    let output = command.args(["-f", "h264", "pipe:1"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", path.display());
    slices(&output.stdout)
}

/// As [`slices_of`], of a byte stream (Annex B).
fn slices(stream: &[u8]) -> Vec<String> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at + 3 <= stream.len() {
        if stream[at..].starts_with(&[0, 0, 1]) {
            starts.push(at + 3);
            at += 3;
        } else {
            at += 1;
        }
    }
    let mut hashes = Vec::new();
    for (index, start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).map_or(stream.len(), |next| next - 3);
        // Zeros behind a unit belong to the next start code, or pad.
        let unit = &stream[*start..end];
        let unit = &unit[..unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)];
        if unit.first().is_some_and(|header| matches!(header & 0x1f, 1 | 5)) {
            hashes.push(hex(digest(&SHA256, unit).as_ref()));
        }
    }
    hashes
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Pictures as `ffprobe` counts them by decoding.
pub fn frames_of(path: &Path) -> u64 {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-select_streams", "v:0"])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"])
        .arg(path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{}: {said}", path.display());
    String::from_utf8_lossy(&output.stdout).trim().trim_end_matches(',').parse().unwrap()
}

/// Runs a tool that makes a clip.
pub fn make(program: &str, arguments: &[&str], into: &Path) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}");
    assert!(into.exists(), "{} was not made", into.display());
}
