//! The privacy journal for whoever asks: read, verified, in words.

use crate::disk::{RealFs, journal};
use crate::domain::journal::{Verified, What, verify};
use crate::domain::segment::RecordClock;
use serde_json::json;
use std::fmt::Write;
use std::path::Path;

/// The privacy journal under `state`, as JSON or for people, and whether its chain is unbroken.
///
/// # Errors
/// Where it cannot be read.
pub fn privacy_log(state: &Path, as_json: bool) -> Result<(String, bool), String> {
    let bytes = journal::whole(&RealFs, state).map_err(|why| {
        let at = state.display();
        format!("the privacy journal under {at} cannot be read: {why}; --state names device.state_dir")
    })?;
    let found = verify(&bytes);
    let told = if as_json {
        let broken = found.broken.map(|(line, how)| json!({ "line": line, "how": how }));
        format!("{}\n", json!({ "entries": found.entries, "head": found.head.hash, "broken": broken }))
    } else {
        in_words(&found)
    };
    Ok((told, found.broken.is_none()))
}

/// For people: a line an entry, and what the look at its chain has told.
fn in_words(found: &Verified) -> String {
    let mut words = String::new();
    for entry in &found.entries {
        let sound = |sound: bool| if sound { "with sound" } else { "without sound" };
        let version =
            |version: Option<u64>| version.map_or(String::from("none"), |version| version.to_string());
        let what = match &entry.what {
            What::Started { version } => format!("kasacamd {version} starts"),
            What::Opened { sound: on, lines, choice, lease } => format!(
                "camera opens   {lines} lines, {}; choice {}, lease {}",
                sound(*on),
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
            What::Began => String::from("the journal begins anew"),
        };
        let clock = match entry.clock {
            RecordClock::Trusted => "",
            RecordClock::Plausible | RecordClock::Unset => " (by a clock that nobody vouched for)",
        };
        let _infallible = writeln!(words, "{:>6}  {}  {what}{clock}", entry.n, entry.time);
    }
    let _infallible = match found.broken {
        None => writeln!(words, "unbroken: {} entries, head {}", found.entries.len(), found.head.hash),
        Some((line, how)) => writeln!(words, "BROKEN: line {line} {how}"),
    };
    words
}
