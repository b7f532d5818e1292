//! Writes a report, and chooses the exit code.

use super::judgement::report::Report;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// The check could not be run.
const NOT_RUN: u8 = 2;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Output {
    /// Write the report as JSON to this file; with `-`, print it instead of the table.
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
}

/// Shows the report: 0 if no row failed, 1 if one did, 2 if the check could not be run.
pub(crate) fn conclude(outcome: Result<Report, String>, output: &Output) -> ExitCode {
    let shown = outcome.and_then(|report| show(&report, output).map(|()| report.exit_code()));
    match shown {
        Ok(code) => ExitCode::from(code),
        Err(why) => {
            eprintln!("kasacam-devcloud: {why}");
            ExitCode::from(NOT_RUN)
        }
    }
}

fn show(report: &Report, output: &Output) -> Result<(), String> {
    let json = serde_json::to_string_pretty(report).map_err(|e| format!("the report: {e}"))? + "\n";
    let to_stdout = output.json.as_ref().is_some_and(|path| path.as_os_str() == "-");
    let text = if to_stdout { json.clone() } else { report.table() };
    std::io::stdout().write_all(text.as_bytes()).map_err(|e| format!("standard output: {e}"))?;
    match &output.json {
        Some(path) if !to_stdout => crate::certificates::write_new(path, json.as_bytes(), 0o644),
        Some(_) | None => Ok(()),
    }
}
