//! `kasacamd check`: everything that keeps this configuration from working on this machine, at once.

use kasacam::config::{self, Config, Problem, Surroundings};
use kasacam::disk::file_system::{self, FileSystem, Verdict};
use kasacam::system::{clock, indicator};
use kasacam::{agent, capture};
use nix::unistd::{AccessFlags, access};
use serde_json::json;
use std::path::{Path, PathBuf};

/// What was found.
pub(crate) struct Findings {
    pub(crate) problems: Vec<Problem>,
    /// Allowed, but perhaps not intended.
    warnings: Vec<config::Warning>,
    /// The file systems for footage and facts; one entry if both are on the same.
    file_systems: Vec<(PathBuf, FileSystem)>,
    config: PathBuf,
}

/// Checks the configuration, the files that it names, and what the board needs. Opens no camera and no microphone.
pub(crate) fn check(path: &Path) -> Findings {
    let understood = config::read_in(path, &Surroundings::here());
    let mut file_systems = Vec::new();
    let (mut problems, warnings) = match &understood.config {
        Ok(config) => {
            let mut problems = places(path, config);
            problems.extend(household(path, config));
            let mut warnings = config::warnings(config, clock::utc());
            warnings.extend(capture::doubts(&config.board, &config.recording));
            file_systems = file_systems_of(&config.device.state_dir);
            judge(path, &file_systems, &mut problems, &mut warnings);
            (problems, warnings)
        }
        Err(problems) => (problems.iter().cloned().collect(), Vec::new()),
    };
    if let Some((file, board)) = &understood.board {
        problems.extend(capture::probe(board).into_iter().map(|it| Problem { file: file.clone(), ..it }));
    }
    Findings { problems, warnings, file_systems, config: path.to_owned() }
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
        for (path, FileSystem { name, .. }) in &self.file_systems {
            words += &format!("{} is on {name}\n", path.display());
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
        let file_systems: Vec<_> =
            self.file_systems.iter().map(|(path, it)| json!({"path": path, "name": it.name})).collect();
        let findings =
            json!({ "problems": self.problems, "warnings": warnings, "file_systems": file_systems });
        format!("{findings}\n")
    }
}

/// The file systems of the spool and of the state directory, or of the folders in which they will be made.
fn file_systems_of(state_dir: &Path) -> Vec<(PathBuf, FileSystem)> {
    let mut found: Vec<(PathBuf, FileSystem)> = Vec::new();
    for folder in [state_dir.join("spool"), state_dir.to_owned()] {
        let nearest = folder.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
        // A folder that cannot be examined is reported by `places`, as one that is not writable.
        if let Ok(on) = file_system::of(nearest) {
            if found.iter().all(|(_, known)| *known != on) {
                found.push((folder, on));
            }
        }
    }
    found
}

/// Problems and warnings about file systems.
fn judge(
    config: &Path,
    file_systems: &[(PathBuf, FileSystem)],
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<config::Warning>,
) {
    for (folder, FileSystem { name, verdict }) in file_systems {
        let folder = folder.display();
        match verdict {
            Verdict::Supported => {}
            Verdict::Doubtful(why) => warnings.push(config::Warning {
                key: "device.state_dir",
                warning: format!("{folder} is on {name}: {why}"),
            }),
            Verdict::Refused(why) => problems.push(Problem {
                file: config.to_owned(),
                line: 0,
                column: 0,
                key: "device.state_dir".into(),
                problem: format!("{folder} is on {name}: {why}"),
                hint: String::from("make it ext4 or f2fs"),
            }),
        }
    }
}

/// The folders that the agent writes to: each must exist and be writable, or it must be possible to make it.
fn places(path: &Path, config: &Config) -> Vec<Problem> {
    let socket = config.device.socket.parent().unwrap_or(Path::new("/"));
    let folders = [("device.state_dir", config.device.state_dir.as_path()), ("device.socket", socket)];
    let mut problems = Vec::new();
    for (key, folder) in folders {
        let nearest = folder.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
        let problem = if !nearest.is_dir() {
            format!("{} is not a folder", nearest.display())
        } else if access(nearest, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
            format!("this user may not write to {}", nearest.display())
        } else {
            continue;
        };
        let hint = String::from("run kasacamd check as the user of the agent");
        problems.push(Problem { file: path.to_owned(), line: 0, column: 0, key: key.into(), problem, hint });
    }
    problems
}

/// The latch and the light: the latch must be readable and have its switch or key, the light must be writable. The light is
/// not switched on.
fn household(path: &Path, config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut report = |key: &str, problem: String, hint: &str| {
        let (file, key, hint) = (path.to_owned(), key.to_owned(), hint.to_owned());
        problems.push(Problem { file, line: 0, column: 0, key, problem, hint });
    };
    if let Some(latch) = config.privacy.latch.clone().map(agent::latch_of) {
        if let Err(why) = latch.test() {
            let problem = format!("{} cannot be read: {why}", latch.device);
            report(
                "privacy.latch",
                problem,
                "give the user of the agent access to it: examples/board.conf has the lines",
            );
        }
    }
    if let Some(Err(problem)) = config.privacy.indicator.as_deref().map(indicator::test) {
        report(
            "privacy.indicator",
            problem,
            "give the user of the agent access to it: examples/board.conf has the lines",
        );
    }
    problems
}
