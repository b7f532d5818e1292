//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
usage: kasacamd run --config FILE [--verbose]
       kasacamd check --config FILE [--json]
       kasacamd probe [--board FILE|-] [--state DIR]
       kasacamd enroll --config FILE
       kasacamd reset --config FILE --yes
       kasacamd status [--json] [--socket PATH]
       kasacamd metrics [--socket PATH]
       kasacamd snapshot FILE [--socket PATH]
       kasacamd privacy on|off|show [--socket PATH]
       kasacamd privacy log [--state DIR] [--json]
       kasacamd indicator off --config FILE
       kasacamd --version

run            runs the agent
check          reports every problem of the configuration, the files that it names, and the board
probe          finds video sources, encoders and microphones, and with --board writes a board file
               that works with them; records nothing
enroll         gets the certificate of the device from the server of the section [identity]
reset          removes the footage, choices and keys of a household, for the next owner
status         what the agent does, and why
metrics        figures as OpenMetrics text
snapshot       writes one JPEG image of what the camera sees; only while the camera is open
privacy on     sets the local latch: the camera closes, and stays closed
privacy off    removes the latch; a choice made in the app stays in force
privacy show   the choice, the latch, and whether the camera is open
privacy log    when the camera was open and why, whether anybody has changed that record, and what
               is missing in it
indicator off  switches the light off that a killed agent left on; the unit runs this
";

const DEFAULT_SOCKET: &str = "/run/kasacam/control.sock";
const DEFAULT_STATE: &str = "/var/lib/kasacam";

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arguments {
    Help,
    Version,
    Run { config: PathBuf, verbose: bool },
    Check { config: PathBuf, json: bool },
    Probe { board: Option<PathBuf>, state: PathBuf },
    Enroll { config: PathBuf },
    Reset { config: PathBuf },
    Status { socket: PathBuf, json: bool },
    Metrics { socket: PathBuf },
    Snapshot { file: PathBuf, socket: PathBuf },
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

/// Reads the arguments that follow the program's name.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Arguments, String> {
    use lexopt::prelude::{Long, Short, Value};
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut command, mut verb, mut file) = (None, None, None);
    let (mut config, mut socket, mut state, mut board) = (None, None, None, None);
    let (mut json, mut verbose, mut yes) = (false, false, false);
    while let Some(argument) = parser.next().map_err(|e| e.to_string())? {
        match argument {
            Long("help") | Short('h') => return Ok(Arguments::Help),
            Long("version") | Short('V') => return Ok(Arguments::Version),
            Long("config") => config = Some(PathBuf::from(parser.value().map_err(|e| e.to_string())?)),
            Long("socket") => socket = Some(PathBuf::from(parser.value().map_err(|e| e.to_string())?)),
            Long("state") => state = Some(PathBuf::from(parser.value().map_err(|e| e.to_string())?)),
            Long("board") => board = Some(PathBuf::from(parser.value().map_err(|e| e.to_string())?)),
            Long("json") => json = true,
            Long("verbose") => verbose = true,
            Long("yes") => yes = true,
            Value(word) if command.is_none() => command = Some(word.to_string_lossy().into_owned()),
            Value(word) if command.as_deref() == Some("snapshot") && file.is_none() => {
                file = Some(PathBuf::from(word));
            }
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
        (Some("probe"), _) => {
            Ok(Arguments::Probe { board, state: state.unwrap_or_else(|| PathBuf::from(DEFAULT_STATE)) })
        }
        (Some("enroll"), _) => Ok(Arguments::Enroll { config: config? }),
        (Some("reset"), _) if yes => Ok(Arguments::Reset { config: config? }),
        (Some("reset"), _) => Err(String::from(
            "reset removes all footage that is not stored yet, the owner's choice and the journal: add --yes to confirm",
        )),
        (Some("status"), _) => Ok(Arguments::Status { socket, json }),
        (Some("metrics"), _) => Ok(Arguments::Metrics { socket }),
        (Some("snapshot"), _) => {
            let file = file.ok_or("snapshot needs the name of the file to write")?;
            Ok(Arguments::Snapshot { file, socket })
        }
        (Some("privacy"), Some("on")) => Ok(Arguments::Privacy { socket, verb: PrivacyVerb::On }),
        (Some("privacy"), Some("off")) => Ok(Arguments::Privacy { socket, verb: PrivacyVerb::Off }),
        (Some("privacy"), Some("show")) => Ok(Arguments::Privacy { socket, verb: PrivacyVerb::Show }),
        (Some("privacy"), Some("log")) => {
            let state = state.unwrap_or_else(|| PathBuf::from(DEFAULT_STATE));
            Ok(Arguments::PrivacyLog { state, json })
        }
        (Some("indicator"), Some("off")) => Ok(Arguments::IndicatorOff { config: config? }),
        (Some("indicator"), _) => Err(String::from("the only form is: indicator off")),
        (Some("privacy"), _) => Err(String::from("privacy needs on, off, show or log")),
        (Some(other), _) => Err(format!("{other:?} is not a command")),
        (None, _) => Err(String::from("a command is missing")),
    }
}
