//! `kasacamd check`: everything that would keep this configuration from working on this machine, at once.

use kasacam::config::{self, Config, Problem, Surroundings};
use kasacam::system::{clock, indicator};
use kasacam::{agent, capture};
use nix::unistd::{AccessFlags, access};
use serde_json::json;
use std::path::{Path, PathBuf};

/// What was found.
pub(crate) struct Findings {
    pub(crate) problems: Vec<Problem>,
    /// Allowed, and yet perhaps not meant.
    warnings: Vec<config::Warning>,
    config: PathBuf,
}

/// Looks at the configuration, at what it names, and at what the board needs. Opens no camera and no microphone.
pub(crate) fn check(path: &Path) -> Findings {
    let understood = config::read_in(path, &Surroundings::here());
    let (mut problems, warnings) = match &understood.config {
        Ok(config) => {
            let mut problems = places(path, config);
            problems.extend(household(path, config));
            (problems, config::warnings(config, clock::utc()))
        }
        Err(problems) => (problems.iter().cloned().collect(), Vec::new()),
    };
    if let Some((file, board)) = &understood.board {
        problems.extend(capture::probe(board).into_iter().map(|it| Problem { file: file.clone(), ..it }));
    }
    Findings { problems, warnings, config: path.to_owned() }
}

impl Findings {
    pub(crate) fn in_words(&self) -> String {
        let mut words = String::new();
        for problem in &self.problems {
            words += &format!("{problem}\n");
        }
        for config::Warning { key, warning } in &self.warnings {
            words += &format!("{}: warning: {key}: {warning}\n", self.config.display());
        }
        words += &match self.problems.len() {
            0 => format!("{}: nothing is wrong\n", self.config.display()),
            1 => String::from("1 problem\n"),
            many => format!("{many} problems\n"),
        };
        words
    }

    pub(crate) fn as_json(&self) -> String {
        let warnings: Vec<_> =
            self.warnings.iter().map(|it| json!({"key": it.key, "warning": it.warning})).collect();
        format!("{}\n", json!({ "problems": self.problems, "warnings": warnings }))
    }
}

/// The folders that the agent writes to: each must be there, or be possible to make, and be writable.
fn places(path: &Path, config: &Config) -> Vec<Problem> {
    let socket = config.device.socket.parent().unwrap_or(Path::new("/"));
    let folders = [("device.state_dir", config.device.state_dir.as_path()), ("device.socket", socket)];
    let mut problems = Vec::new();
    for (key, folder) in folders {
        let nearest = folder.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
        let problem = if !nearest.is_dir() {
            format!("{} is no folder", nearest.display())
        } else if access(nearest, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
            format!("{} may not be written to by this user", nearest.display())
        } else {
            continue;
        };
        let hint = String::from("run this as the user that kasacamd runs as");
        problems.push(Problem { file: path.to_owned(), line: 0, column: 0, key: key.into(), problem, hint });
    }
    problems
}

/// What is to be in the household's hands and before its eyes: the latch is opened and asked for its switch or key, the
/// light must be there and be writable. It is not lit.
fn household(path: &Path, config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut tell = |key: &str, problem: String, hint: &str| {
        let (file, key, hint) = (path.to_owned(), key.to_owned(), hint.to_owned());
        problems.push(Problem { file, line: 0, column: 0, key, problem, hint });
    };
    if let Some(latch) = config.privacy.latch.clone().map(agent::latch_of) {
        if let Err(why) = latch.test() {
            let problem = format!("{} cannot be read: {why}", latch.device);
            tell(
                "privacy.latch",
                problem,
                "the unit's user must be let to it: examples/board.conf has the lines",
            );
        }
    }
    if let Some(Err(problem)) = config.privacy.indicator.as_deref().map(indicator::test) {
        tell(
            "privacy.indicator",
            problem,
            "the unit's user must be let to it: examples/board.conf has the lines",
        );
    }
    problems
}
