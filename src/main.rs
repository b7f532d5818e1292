//! `kasacamd`: arguments, logging, configuration, the agent, and the exit code.

mod arguments;
mod check;
mod enroll;
mod probe;
mod reset;
mod snapshot;
mod words;

use arguments::{Arguments, PrivacyVerb};
use kasacam::system::{allocator, control, indicator, logging};
use kasacam::{agent, config};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use tracing::level_filters::LevelFilter;

/// Exit code for a wrong configuration or wrong arguments.
const EXIT_CONFIG: u8 = 2;
/// `EX_SOFTWARE` of `sysexits.h`.
const EXIT_FAULT: u8 = 70;

fn main() -> ExitCode {
    let arguments = match arguments::parse(std::env::args_os().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            say(&format!("kasacamd: {problem}\n{}", arguments::USAGE));
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    match arguments {
        Arguments::Help => print(arguments::USAGE),
        Arguments::Version => print(&format!("kasacamd {}\n", env!("CARGO_PKG_VERSION"))),
        Arguments::Run { config, verbose } => run(&config, verbose),
        Arguments::Check { config, json } => {
            let findings = check::check(&config);
            print(&if json { findings.as_json() } else { findings.in_words() });
            if findings.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Arguments::Probe { board, state } => finish(probe::probe(board.as_deref(), &state)),
        Arguments::Enroll { config } => finish(enroll::enroll(&config)),
        Arguments::Reset { config } => finish(reset::reset(&config)),
        // Unchanged as the agent sent it, including members that this release does not know.
        Arguments::Status { socket, json: true } => {
            asked(&socket, &control::Command::Status, |value: &Value| format!("{value}\n"))
        }
        Arguments::Status { socket, json: false } => {
            asked(&socket, &control::Command::Status, words::of_status)
        }
        Arguments::Metrics { socket } => {
            asked(&socket, &control::Command::Metrics, |answer: &control::Metrics| answer.metrics.clone())
        }
        Arguments::Snapshot { file, socket } => finish(snapshot::snapshot(&file, &socket)),
        Arguments::Privacy { socket, verb } => {
            let command = match verb {
                PrivacyVerb::On => control::Command::Privacy { closed: true },
                PrivacyVerb::Off => control::Command::Privacy { closed: false },
                PrivacyVerb::Show => control::Command::Status,
            };
            asked_and_judged(&socket, &command, words::of_privacy, |status| match verb {
                PrivacyVerb::On => words::what_is_not_closed(status),
                PrivacyVerb::Off | PrivacyVerb::Show => None,
            })
        }
        Arguments::PrivacyLog { state, json } => privacy_log(&state, json),
        Arguments::IndicatorOff { config } => indicator_off(&config),
    }
}

/// Prints what was done, or why it was not done.
fn finish(outcome: Result<String, String>) -> ExitCode {
    match outcome {
        Ok(words) => print(&words),
        Err(why) => {
            say(&format!("kasacamd: {}\n", why.trim_end()));
            ExitCode::FAILURE
        }
    }
}

/// Switches off the light that a killed agent left on. Does nothing if there is no light.
fn indicator_off(config: &Path) -> ExitCode {
    finish(match config::indicator(config, &config::Surroundings::here()) {
        Ok(None) => Ok(String::new()),
        Ok(Some(folder)) => indicator::put_out(&folder).map(|()| String::new()),
        Err(problems) => Err(problems.to_string()),
    })
}

/// Prints the privacy journal on flash, and fails if it is not whole.
fn privacy_log(state: &Path, json: bool) -> ExitCode {
    match agent::privacy_log(state, json) {
        Ok((log, whole)) => {
            print(&log);
            if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            say(&format!("kasacamd: {problem}\n"));
            ExitCode::FAILURE
        }
    }
}

fn run(path: &Path, verbose: bool) -> ExitCode {
    allocator::keep_small();
    // Otherwise GStreamer 1.22 abandons its V4L2 buffers instead of freeing them, and the file of a closed
    // camera stays open (docs/privacy.md).
    // SAFETY: no other thread has been started.
    unsafe { std::env::set_var("GST_V4L2_FORCE_DRAIN", "1") };
    let under_systemd = std::env::var_os("JOURNAL_STREAM").is_some();
    logging::start(if verbose { LevelFilter::DEBUG } else { LevelFilter::INFO }, under_systemd);
    let config = match config::load(path) {
        Ok(config) => config,
        Err(problems) => {
            for line in problems.to_string().lines() {
                tracing::error!("{line}");
            }
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let runtime =
        match tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(4).build() {
            Ok(runtime) => runtime,
            Err(e) => {
                tracing::error!("the runtime does not start: {e}");
                return ExitCode::from(EXIT_FAULT);
            }
        };
    let ended = runtime.block_on(agent::run(config, path));
    // Reads of the spool that are still under way must not delay the exit.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(agent::Failure::Configuration(why)) => {
            tracing::error!("{why}");
            ExitCode::from(EXIT_CONFIG)
        }
        Err(agent::Failure::Internal(why)) => {
            tracing::error!("{why}");
            ExitCode::from(EXIT_FAULT)
        }
    }
}

/// Sends a command to the running agent, and prints the answer in the form that `form` gives it.
fn asked<T: DeserializeOwned>(
    socket: &Path,
    command: &control::Command,
    form: impl Fn(&T) -> String,
) -> ExitCode {
    asked_and_judged(socket, command, form, |_| None)
}

/// The same, and fails if the answer is not what was requested.
fn asked_and_judged<T: DeserializeOwned>(
    socket: &Path,
    command: &control::Command,
    form: impl Fn(&T) -> String,
    judge: impl Fn(&T) -> Option<String>,
) -> ExitCode {
    match control::ask::<T>(socket, command) {
        Ok(value) => {
            let printed = print(&form(&value));
            match judge(&value) {
                None => printed,
                Some(problem) => {
                    say(&format!("kasacamd: {problem}\n"));
                    ExitCode::FAILURE
                }
            }
        }
        Err(problem) => {
            say(&format!("kasacamd: {problem}\n"));
            ExitCode::FAILURE
        }
    }
}

/// Prints to stdout; a reader that has gone away is not an error.
fn print(text: &str) -> ExitCode {
    let _reader_went_away = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn say(text: &str) {
    let _reader_went_away = std::io::stderr().write_all(text.as_bytes());
}
