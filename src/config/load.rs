//! Reads configurations: the whole, or the part that a command needs.

use super::board::Board;
use super::file;
use super::nearest;
use super::problem::{Place, Problems};
use super::sections::{Device, Enrolment, Places};
use super::settings::Merged;
use super::surroundings::Surroundings;
use super::validated::Config;
use super::{schema, validate};
use std::path::{Path, PathBuf};

/// Reads `agent.toml` and the board file that it names, and checks both, with the keys,
/// certificates and credentials that they name.
///
/// # Errors
/// All problems, in the order of the files.
pub fn load(path: &Path) -> Result<Config, Problems> {
    load_in(path, &Surroundings::here())
}

/// [`load`] in a given environment.
///
/// # Errors
/// As [`load`].
pub fn load_in(path: &Path, around: &Surroundings) -> Result<Config, Problems> {
    read_in(path, around).config
}

/// A configuration, or what could be read of it.
#[derive(Debug)]
pub struct Understood {
    /// The configuration, or all its problems.
    pub config: Result<Config, Problems>,
    /// The board and its file, if they are valid, even if the rest is not.
    pub board: Option<(PathBuf, Board)>,
}

/// Reads a configuration as [`load`] does, and returns the board even if the rest is invalid.
#[must_use]
pub fn read_in(path: &Path, around: &Surroundings) -> Understood {
    let mut problems = Problems::default();
    let mut merged = Merged::default();
    let Some(agent) = file::read(path, &mut problems) else {
        return Understood { config: Err(problems), board: None };
    };
    merged.take(&agent.root, schema::AGENT, agent.complete, &mut problems);
    let board_file = take_board(&mut merged, around, &mut problems);
    let board =
        board_file.and_then(|file| Some((file, validate::board(&merged, around, &mut Problems::default())?)));
    let config = validate::validate(&merged, around, &mut problems);
    problems.sort();
    let config = match config {
        Some(config) if problems.is_empty() => Ok(config),
        Some(_) | None => {
            if problems.is_empty() {
                // Should schema and checks disagree, never refuse without a reason.
                problems.push(&Place::file(path), "", "cannot be used", "a required value is missing");
            }
            Err(problems)
        }
    };
    Understood { config, board }
}

/// The sections that an enrolment needs, from a configuration whose certificate does not exist yet.
///
/// # Errors
/// The problems of the sections `[device]` and `[identity]`; a missing section is one.
pub fn load_enrolment(path: &Path) -> Result<(Device, Enrolment), Problems> {
    let mut problems = Problems::default();
    let merged = agent_alone(path, &mut problems);
    let found = validate::enrolment(&merged, &Surroundings::here(), path, &mut problems);
    sorted(found, problems)
}

/// The [`Places`] of a configuration.
///
/// # Errors
/// The problems of its section `[device]`.
pub fn load_places(path: &Path) -> Result<Places, Problems> {
    let mut problems = Problems::default();
    let merged = agent_alone(path, &mut problems);
    let found = validate::places(&merged, &Surroundings::here(), &mut problems);
    sorted(found, problems)
}

/// `privacy.indicator` of a configuration; the rest may be invalid. `None` if it names no LED.
///
/// # Errors
/// If the file cannot be read, or the path cannot be resolved.
pub fn indicator(path: &Path, around: &Surroundings) -> Result<Option<PathBuf>, Problems> {
    let mut problems = Problems::default();
    let mut merged = Merged::default();
    let Some(agent) = file::read(path, &mut problems) else { return Err(problems) };
    merged.take(&agent.root, schema::AGENT, agent.complete, &mut Problems::default());
    let Some((text, at)) = merged.text("privacy.indicator") else { return Ok(None) };
    match around.resolve(text, at) {
        Ok(folder) => Ok(Some(folder)),
        Err(why) => {
            problems.push(at, "privacy.indicator", why, "");
            Err(problems)
        }
    }
}

/// Reads the text of a board file, as [`load`] reads the file; `path` is its name in messages.
///
/// # Errors
/// All its problems.
pub fn board_of(text: &str, path: &Path) -> Result<Board, Problems> {
    let mut problems = Problems::default();
    let mut merged = Merged::default();
    let board = file::parse(&Place::file(path).file, text, &mut problems);
    merged.take(&board.root, schema::BOARD, board.complete, &mut problems);
    let board = validate::board(&merged, &Surroundings::here(), &mut problems);
    sorted(board, problems)
}

/// The value, if there is no problem; otherwise the problems, sorted.
fn sorted<T>(found: Option<T>, mut problems: Problems) -> Result<T, Problems> {
    problems.sort();
    found.filter(|_| problems.is_empty()).ok_or(problems)
}

/// The settings of an `agent.toml` without its board. `problems` are those of its syntax.
fn agent_alone(path: &Path, problems: &mut Problems) -> Merged {
    let mut merged = Merged::default();
    if let Some(agent) = file::read(path, problems) {
        merged.take(&agent.root, schema::AGENT, agent.complete, &mut Problems::default());
    }
    merged
}

/// Merges the board file, and returns its path.
fn take_board(merged: &mut Merged, around: &Surroundings, problems: &mut Problems) -> Option<PathBuf> {
    let (text, at) = merged.text("device.board").map(|(text, at)| (text.to_owned(), at.clone()))?;
    let path = match around.resolve(&text, &at) {
        Ok(path) => path,
        Err(why) => {
            problems.push(&at, "device.board", why, "");
            return None;
        }
    };
    if !path.exists() {
        let problem = format!("there is no board file {}", path.display());
        problems.push(&at, "device.board", problem, board_hint(&path));
        return None;
    }
    let board = file::read(&path, problems)?;
    merged.take(&board.root, schema::BOARD, board.complete, problems);
    Some(path)
}

/// The board files in the folder of a missing one.
fn board_hint(path: &Path) -> String {
    let entries = path.parent().and_then(|folder| std::fs::read_dir(folder).ok());
    let mut names: Vec<String> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(".toml") && name != "agent.toml")
        .take(32)
        .collect();
    names.sort();
    let wanted = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if names.is_empty() {
        return "give the path of a board file".to_owned();
    }
    nearest::suggestion(wanted, names.iter().map(String::as_str))
}
