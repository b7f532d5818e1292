//! The command line, and its answers in words.

use kasacam::domain::aside::Aside;
use serde_json::Value;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
usage: kasacamd run --config FILE [--verbose]
       kasacamd check --config FILE [--json]
       kasacamd enroll --config FILE
       kasacamd reset --config FILE --yes
       kasacamd status [--json] [--socket PATH]
       kasacamd metrics [--socket PATH]
       kasacamd privacy on|off|show [--socket PATH]
       kasacamd privacy log [--state DIR] [--json]
       kasacamd indicator off --config FILE
       kasacamd --version

privacy on sets the local latch: the camera closes and stays closed. privacy off lifts the latch
only, never a choice made in the app. privacy log tells when the camera was open and why, whether
anybody has changed that record since, and what is missing of it. indicator off puts the light of the
configuration out: the unit does that for an agent that was killed. enroll gets the device its
certificate from the server of the section [identity]. reset removes what a household left on the
camera: for its next owner.
";

const DEFAULT_SOCKET: &str = "/run/kasacam/control.sock";
const DEFAULT_STATE: &str = "/var/lib/kasacam";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arguments {
    Help,
    Version,
    Run { config: PathBuf, verbose: bool },
    Check { config: PathBuf, json: bool },
    Enroll { config: PathBuf },
    Reset { config: PathBuf },
    Status { socket: PathBuf, json: bool },
    Metrics { socket: PathBuf },
    Privacy { socket: PathBuf, verb: PrivacyVerb },
    PrivacyLog { state: PathBuf, json: bool },
    IndicatorOff { config: PathBuf },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PrivacyVerb {
    On,
    Off,
    Show,
}

/// Reads the arguments behind the program's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, String> {
    use lexopt::prelude::{Long, Short, Value};
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut command, mut verb) = (None, None);
    let (mut config, mut socket, mut state) = (None, None, None);
    let (mut json, mut verbose, mut yes) = (false, false, false);
    while let Some(argument) = parser.next().map_err(|e| e.to_string())? {
        match argument {
            Long("help") | Short('h') => return Ok(Arguments::Help),
            Long("version") | Short('V') => return Ok(Arguments::Version),
            Long("config") => config = Some(PathBuf::from(parser.value().map_err(|e| e.to_string())?)),
            Long("socket") => socket = Some(PathBuf::from(parser.value().map_err(|e| e.to_string())?)),
            Long("state") => state = Some(PathBuf::from(parser.value().map_err(|e| e.to_string())?)),
            Long("json") => json = true,
            Long("verbose") => verbose = true,
            Long("yes") => yes = true,
            Value(word) if command.is_none() => command = Some(word.to_string_lossy().into_owned()),
            Value(word) if matches!(command.as_deref(), Some("privacy" | "indicator")) && verb.is_none() => {
                verb = Some(word.to_string_lossy().into_owned());
            }
            Short(_) | Long(_) | Value(_) => return Err(argument.unexpected().to_string()),
        }
    }
    let socket = socket.unwrap_or_else(|| PathBuf::from(DEFAULT_SOCKET));
    let config = config.ok_or_else(|| String::from("--config FILE is missing"));
    match (command.as_deref(), verb.as_deref()) {
        (Some("run"), _) => Ok(Arguments::Run { config: config?, verbose }),
        (Some("check"), _) => Ok(Arguments::Check { config: config?, json }),
        (Some("enroll"), _) => Ok(Arguments::Enroll { config: config? }),
        (Some("reset"), _) if yes => Ok(Arguments::Reset { config: config? }),
        (Some("reset"), _) => Err(String::from(
            "reset removes all footage that is not stored yet, the owner's choice and the journal: say --yes if that is meant",
        )),
        (Some("status"), _) => Ok(Arguments::Status { socket, json }),
        (Some("metrics"), _) => Ok(Arguments::Metrics { socket }),
        (Some("privacy"), Some("on")) => Ok(Arguments::Privacy { socket, verb: PrivacyVerb::On }),
        (Some("privacy"), Some("off")) => Ok(Arguments::Privacy { socket, verb: PrivacyVerb::Off }),
        (Some("privacy"), Some("show")) => Ok(Arguments::Privacy { socket, verb: PrivacyVerb::Show }),
        (Some("privacy"), Some("log")) => {
            let state = state.unwrap_or_else(|| PathBuf::from(DEFAULT_STATE));
            Ok(Arguments::PrivacyLog { state, json })
        }
        (Some("indicator"), Some("off")) => Ok(Arguments::IndicatorOff { config: config? }),
        (Some("indicator"), _) => Err(String::from("indicator takes off")),
        (Some("privacy"), _) => Err(String::from("privacy takes on, off, show or log")),
        (Some(other), _) => Err(format!("{other:?} is not a command")),
        (None, _) => Err(String::from("a command is missing")),
    }
}

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    value.pointer(path).and_then(Value::as_str).unwrap_or("unknown")
}

fn number(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or(0)
}

fn yes(value: &Value, path: &str) -> bool {
    value.pointer(path).and_then(Value::as_bool).unwrap_or(false)
}

/// The status for people.
pub(crate) fn in_words(status: &Value) -> String {
    let mut words = String::new();
    let open = if yes(status, "/capture/open") { "open" } else { "closed" };
    let broker = if yes(status, "/mqtt/connected") { "connected" } else { "not connected" };
    let _infallible = write!(
        words,
        "device       {}\n\
         camera       {open} ({})\n\
         entitlement  {}, plan {}, status {}\n\
         broker       {broker}\n\
         clock        {}\n\
         frames       {} captured, {} kept, {} dropped\n\
         spool        {}: {} waiting, {} bytes, {} quarantined, {} purged\n\
         upload       {} stored, {} under way, {} retries\n",
        text(status, "/device"),
        text(status, "/capture/reason"),
        text(status, "/entitlement/state"),
        text(status, "/entitlement/plan"),
        text(status, "/entitlement/status"),
        text(status, "/clock"),
        number(status, "/capture/frames_captured"),
        number(status, "/capture/frames_committed"),
        number(status, "/capture/frames_dropped"),
        text(status, "/spool/state"),
        number(status, "/spool/pending"),
        number(status, "/spool/bytes"),
        number(status, "/spool/quarantined"),
        number(status, "/spool/purged"),
        number(status, "/upload/stored"),
        number(status, "/upload/in_flight"),
        number(status, "/upload/retries"),
    );
    if number(status, "/spool/set_aside/files") > 0 {
        let _infallible = writeln!(words, "set aside    {}", set_aside_in_words(status));
    }
    if let Some(fault) = status.pointer("/capture/fault").and_then(Value::as_str) {
        let _infallible = writeln!(words, "fault        {fault}");
    }
    if let Some(fault) = status.pointer("/household/latch_fault").and_then(Value::as_str) {
        let _infallible = writeln!(words, "latch        {fault}");
    }
    words + &privacy_in_words(status)
}

/// How many files are left unsent in the spool, and what mends it.
fn set_aside_in_words(status: &Value) -> String {
    let count = |why: Aside| number(status, &format!("/spool/set_aside/{}", why.text()));
    let told = Aside::ALL.into_iter().filter(|why| count(*why) > 0);
    told.map(|why| format!("{} {}", count(why), why.words())).collect::<Vec<_>>().join("; ")
}

/// Why the latch that was set does not do what it is set for.
pub(crate) fn what_is_not_closed(status: &Value) -> Option<String> {
    if text(status, "/privacy/capture") != "closed" {
        return Some(format!("the camera is not closed: it is {}", text(status, "/privacy/capture")));
    }
    (!yes(status, "/privacy/durable")).then(|| {
        String::from(
            "the camera is closed, but the latch could not be made durable: a cut of the power may open it again; \
             look at the state directory's disk",
        )
    })
}

/// What stands between the camera and recording, as far as privacy goes.
pub(crate) fn privacy_in_words(status: &Value) -> String {
    let latch = if yes(status, "/privacy/latch") { "set" } else { "not set" };
    let choice = match status.pointer("/privacy/do_not_record").and_then(Value::as_bool) {
        Some(false) => "recording is allowed",
        Some(true) | None => "do not record",
    };
    format!("privacy      {choice}; local latch {latch}; camera {}\n", text(status, "/privacy/capture"))
}
