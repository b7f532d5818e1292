//! The pipeline of every shipped board as text, so that a change of it is visible in a review.
//!
//! `KASACAM_BLESS=1 cargo test --features devcloud --test capture golden` writes the files again.

use kasacam::capture::board::describe;
use kasacam::capture::pipeline::{Description, Element, Origin, Stage};
use kasacam::config::{self, Board, Durability, Recording};
use kasacam::domain::effect::CaptureSettings;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn named(folder: &str, extension: &str) -> BTreeSet<String> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths
        .map(|path| {
            assert_eq!(path.extension().unwrap(), extension, "{}", path.display());
            path.file_stem().unwrap().to_str().unwrap().to_owned()
        })
        .collect()
}

fn element(element: &Element) -> String {
    let mut text = element.factory.to_owned();
    for (name, value) in &element.properties {
        let quoted = if value.contains([' ', ',']) { format!("\"{value}\"") } else { value.clone() };
        write!(text, " {name}={quoted}").unwrap();
    }
    text
}

fn branch(stages: &[Stage]) -> String {
    let chain = |chain: &Vec<Element>| chain.iter().map(element).collect::<Vec<_>>().join(" ! ");
    let line = |stage: &Stage| match stage {
        Stage::Element(it) => format!("  ! {}\n", element(it)),
        Stage::Optional(it) => format!("  ! {}   (where it is installed)\n", element(it)),
        Stage::FirstOf(chains) => {
            let chains: Vec<String> = chains.iter().map(chain).collect();
            format!("  ! the first that is installed of:\n      {}\n", chains.join("\n      "))
        }
        Stage::Caps(caps) => format!("  ! {caps}\n"),
        Stage::Foreign(description) => format!("  ! ( {} )\n", description.trim()),
    };
    stages.iter().map(line).collect()
}

fn in_words(description: &Description) -> String {
    let mut text = match &description.origin {
        Origin::Branches => String::new(),
        Origin::Rtsp(source) => format!("origin\n  {}\n", element(source)),
        Origin::File { path, container, repeat } => {
            format!("origin\n  {} ({container:?}, repeat {repeat})\n", path.display())
        }
    };
    write!(text, "video\n{}", branch(&description.video)).unwrap();
    if let Some(audio) = &description.audio {
        write!(text, "audio\n{}", branch(audio)).unwrap();
    }
    text
}

fn golden(board: &Board) -> String {
    let recording = Recording {
        segment: Duration::from_secs(30),
        fragment: Duration::from_secs(2),
        chunk: Duration::from_millis(500),
        durability: Durability::Fragment,
        audio: true,
    };
    let of = |max_height: u32| {
        in_words(&describe(board, &recording, CaptureSettings { audio: true, max_height }).unwrap())
    };
    let (whole, lower) = (of(u32::MAX), of(720));
    let lower = if whole == lower { String::from("the same\n") } else { lower };
    format!("# {}, whatever the plan allows\n{whole}\n# under a plan of 720 lines\n{lower}", board.name)
}

#[test]
fn every_board_has_its_pipeline_as_text() {
    let boards = named("board-configs", "toml");
    assert!(boards.len() >= 16, "{boards:?}");
    let path =
        |name: &str| -> PathBuf { root().join("tests/fixtures/pipelines").join(format!("{name}.txt")) };
    let mut differ = Vec::new();
    for name in &boards {
        let file = root().join("board-configs").join(format!("{name}.toml"));
        let text = std::fs::read_to_string(&file).unwrap();
        let board = config::board_of(&text, &file).unwrap_or_else(|why| panic!("{why}"));
        let text = golden(&board);
        if std::env::var_os("KASACAM_BLESS").is_some() {
            std::fs::create_dir_all(path(name).parent().unwrap()).unwrap();
            std::fs::write(path(name), &text).unwrap();
        }
        if std::fs::read_to_string(path(name)).unwrap_or_default() != text {
            differ.push(format!("{name}:\n{text}"));
        }
    }
    assert!(differ.is_empty(), "differ from tests/fixtures/pipelines:\n{}", differ.join("\n"));
    assert_eq!(named("tests/fixtures/pipelines", "txt"), boards, "one text for each board");
}
