//! Starts the agent as a child process.

use crate::child::Process;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use tokio::process::Command;

/// Starts `kasacamd run`: the program at `kasacamd`, or the one in the folder of this program. Its output goes to `log`.
///
/// # Errors
/// It does not exist, or cannot be started.
pub(crate) fn start(kasacamd: Option<&Path>, agent_toml: &Path, log: &Path) -> Result<Process, String> {
    let program = match kasacamd {
        Some(program) => program.to_owned(),
        None => std::env::current_exe()
            .map_err(|e| format!("the path of this program: {e}"))?
            .with_file_name("kasacamd"),
    };
    if !program.exists() {
        return Err(format!(
            "{}: is not there: build it, or give its path with --kasacamd",
            program.display()
        ));
    }
    let log = File::create(log).map_err(|e| format!("{}: {e}", log.display()))?;
    let mut command = Command::new(program);
    command.arg("run").arg("--config").arg(agent_toml);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    Process::start("kasacamd", command)
}
