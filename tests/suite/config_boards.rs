//! Every shipped board file loads, and every key that a file may have is documented.

use kasacam::config::schema::{AGENT, Absent, BOARD, Key, ValueKind};
use kasacam::config::{self, AudioSource, Board, VideoFormat, VideoSource};
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn boards() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(root().join("board-configs")).unwrap();
    let mut boards: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    boards.sort();
    boards
}

fn board(path: &Path) -> Board {
    let text = std::fs::read_to_string(path).unwrap();
    config::board_of(&text, path).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn every_board_loads_and_has_the_name_of_its_file() {
    let boards = boards();
    assert!(boards.len() >= 16, "{boards:?}");
    for path in boards {
        let board = board(&path);
        assert_eq!(Some(board.name.as_str()), path.file_stem().and_then(|stem| stem.to_str()));
        assert_eq!(board.video.encoder.is_some(), board.video.format == VideoFormat::Raw, "{}", board.name);
    }
}

#[test]
fn the_development_board_needs_no_device() {
    let board = board(&root().join("board-configs/dev-test.toml"));
    assert_eq!(board.video.source, VideoSource::Test);
    assert_eq!((board.video.width, board.video.height, board.video.fps), (640, 360, 15.into()));
    assert_eq!(board.audio.map(|audio| audio.source), Some(AudioSource::Test));
}

#[test]
fn every_board_has_a_comment_that_says_what_was_tried() {
    for path in boards() {
        let text = std::fs::read_to_string(&path).unwrap();
        let head: Vec<&str> = text.lines().take_while(|line| line.starts_with("# ")).collect();
        for what in ["# Tried here: ", "# From documents: "] {
            assert!(head.iter().any(|line| line.starts_with(what)), "{} lacks {what}", path.display());
        }
    }
}

#[test]
fn every_key_is_documented_with_its_default() {
    let text = std::fs::read_to_string(root().join("docs/configuration.md")).unwrap();
    let mut missing = Vec::new();
    for section in AGENT.iter().chain(BOARD) {
        for key in section.keys {
            check_row(&text, section.name, key, &mut missing);
        }
    }
    assert!(missing.is_empty(), "docs/configuration.md lacks {missing:#?}");
}

/// A row of a table: `| `section.key` | … | `default` | …`.
fn check_row(text: &str, path: &str, key: &Key, missing: &mut Vec<String>) {
    let full = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
    let row = text.lines().find(|line| line.starts_with(&format!("| `{full}` |")));
    let default = match key.absent {
        Absent::Refused => "required".to_owned(),
        Absent::Nothing => "none".to_owned(),
        Absent::Is(text) => format!("`{text}`"),
        Absent::Unless(section) => format!("required, unless there is `[{section}]`"),
    };
    match row {
        Some(row) if row.split('|').nth(3).is_some_and(|cell| cell.trim() == default) => {}
        Some(row) => missing.push(format!("default {default} in: {row}")),
        None => missing.push(full.clone()),
    }
    if let ValueKind::Choice(choices) = key.kind {
        for choice in choices {
            if !row.is_some_and(|row| row.contains(&format!("`{choice}`"))) {
                missing.push(format!("{full} = {choice}"));
            }
        }
    }
    if let ValueKind::Tables(keys) = key.kind {
        for key in keys {
            // The variants of a tagged table are those of the section.
            let kind = if matches!(key.kind, ValueKind::Tagged(_)) { ValueKind::Text } else { key.kind };
            check_row(text, &full, &Key { kind, ..*key }, missing);
        }
    }
    if let ValueKind::OneOf(keys) = key.kind {
        for key in keys {
            check_row(text, &full, key, missing);
        }
    }
    if let ValueKind::Tagged(variants) = key.kind {
        for variant in variants {
            if !row.is_some_and(|row| row.contains(&format!("`{}`", variant.kind))) {
                missing.push(format!("{full} kind {}", variant.kind));
            }
            for key in variant.keys {
                check_row(text, &full, key, missing);
            }
        }
    }
}
