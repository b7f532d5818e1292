//! The conformance kit: `verify` compares a cloud with the contract, `watch` a camera. Each has rules ([`judgement`],
//! pure) and probes, which look and judge nothing. Nothing that was read from a file or received is shown, except
//! topics, codes, times and sizes.

mod arguments;
mod client;
pub(crate) mod judgement;
mod output;
mod party;
mod received;
mod verify;
mod watch;

use judgement::report::Report;
use std::process::ExitCode;

/// A side of the contract to check.
#[derive(clap::Subcommand)]
pub(crate) enum Side {
    Verify(Box<verify::Verify>),
    Watch(Box<watch::Watch>),
}

impl Side {
    /// Checks it.
    ///
    /// # Errors
    /// The check could not be run: a file cannot be used, or nobody answers.
    pub(crate) async fn check(&self) -> Result<Report, String> {
        match self {
            Side::Verify(verify) => verify::run(verify).await,
            Side::Watch(watch) => watch::run(watch).await,
        }
    }

    /// Shows the report: 0 if no row failed, 1 if one did, 2 if the check could not be run.
    pub(crate) fn conclude(&self, outcome: Result<Report, String>) -> ExitCode {
        let common = match self {
            Side::Verify(verify) => &verify.common,
            Side::Watch(watch) => &watch.common,
        };
        output::conclude(outcome, &common.output)
    }
}
