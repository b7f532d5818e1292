//! The privacy journal, read, verified and formatted.

use crate::disk::{RealFs, journal};
use crate::domain::journal::{Missing, Verified, What, verify};
use crate::domain::segment::RecordClock;
use serde_json::json;
use std::fmt::Write;
use std::path::Path;

/// The privacy journal under `state`, as JSON or for people, and whether it is whole: its chain is unbroken,
/// and nothing is missing.
///
/// # Errors
/// If it cannot be read.
pub fn privacy_log(state: &Path, as_json: bool) -> Result<(String, bool), String> {
    let bytes = journal::whole(&RealFs, state).map_err(|why| {
        let at = state.display();
        format!("the privacy journal under {at} cannot be read: {why}; --state names device.state_dir")
    })?;
    let found = verify(&bytes);
    let text = if as_json {
        let broken = found.broken.map(|(line, how)| json!({ "line": line, "how": how }));
        let (entries, head, missing) = (&found.entries, found.head.hash, &found.missing);
        format!("{}\n", json!({ "entries": entries, "head": head, "broken": broken, "missing": missing }))
    } else {
        in_words(&found)
    };
    Ok((text, found.is_whole()))
}

/// For people: one line per entry, and the result of verifying the chain.
fn in_words(found: &Verified) -> String {
    let mut words = String::new();
    for entry in &found.entries {
        let with = |audio: bool| if audio { "with audio" } else { "without audio" };
        let version =
            |version: Option<u64>| version.map_or(String::from("none"), |version| version.to_string());
        let what = match &entry.what {
            What::Started { version } => format!("kasacamd {version} starts"),
            What::Opened { audio, lines, choice, lease } => format!(
                "camera opens   {lines} lines, {}; choice {}, lease {}",
                with(*audio),
                version(*choice),
                version(*lease)
            ),
            What::Closed { reason } => format!("camera closes  {reason}"),
            What::Choice { version: number, do_not_record, latch } => format!(
                "choice {}: {}{}",
                version(*number),
                if *do_not_record { "do not record" } else { "record" },
                if *latch { ", by the camera's own latch" } else { "" }
            ),
            What::CutOff => String::from("camera closed  power was lost, or the agent was killed"),
            What::Began => String::from("a new journal begins"),
            What::Continued { first, .. } => {
                format!("the journal continues in a new file, and now begins with line {first}")
            }
            What::Lost { lines } => format!("{lines} lost"),
        };
        let clock = match entry.clock {
            RecordClock::Trusted => "",
            RecordClock::Plausible | RecordClock::Unset => " (clock not synchronised)",
        };
        let _infallible = writeln!(words, "{:>6}  {}  {what}{clock}", entry.n, entry.time);
    }
    for missing in &found.missing {
        let _infallible = match missing {
            Missing::All => writeln!(words, "MISSING: every line: the journal is empty"),
            Missing::Front { first, last } => {
                writeln!(words, "MISSING: lines {first} to {last}: they were cut off the front")
            }
            Missing::Replaced { first } => {
                writeln!(words, "MISSING: line {first}: another line is in its place")
            }
            Missing::Lost { before, lines } => {
                writeln!(words, "MISSING: {lines} before line {before}: they could not be written")
            }
        };
    }
    let (count, head) = (found.entries.len(), found.head.hash);
    let _infallible = match found.broken {
        None if found.missing.is_empty() => writeln!(words, "unbroken: {count} entries, head {head}"),
        None => writeln!(words, "NOT WHOLE: {count} entries, head {head}"),
        Some((line, how)) => writeln!(words, "BROKEN: line {line} {how}"),
    };
    words
}
