//! What a release says of itself, in the files that say it.

use std::path::Path;

use kasacam::domain::time::Utc;

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn text(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The headings `## [version] - date` of a changelog, newest first, without `[Unreleased]`.
fn releases(changelog: &str) -> Vec<(&str, &str)> {
    let headings = changelog.lines().filter_map(|line| line.strip_prefix("## ["));
    let headings = headings.filter(|heading| *heading != "Unreleased]");
    headings.map(|heading| heading.split_once("] - ").expect("a heading is `## [version] - date`")).collect()
}

fn midnight(date: &str) -> Utc {
    Utc::parse(&format!("{date}T00:00:00Z")).unwrap_or_else(|| panic!("{date} is no date"))
}

#[test]
fn the_newest_entry_of_the_changelog_is_the_version_of_the_agent() {
    let changelog = text("CHANGELOG.md");
    let releases = releases(&changelog);
    assert_eq!(releases.first().map(|(version, _)| *version), Some(VERSION));
    let days: Vec<Utc> = releases.iter().map(|(_, date)| midnight(date)).collect();
    assert!(days.is_sorted_by(|newer, older| newer > older), "{days:?}");
}

#[test]
fn each_part_of_the_changelog_has_a_name_of_keep_a_changelog() {
    let known = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"];
    let changelog = text("CHANGELOG.md");
    let parts: Vec<&str> = changelog.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert!(parts.len() >= releases(&changelog).len());
    for part in parts {
        assert!(known.contains(&part), "CHANGELOG.md: {part}");
    }
}

#[test]
fn the_description_for_machines_has_the_version_of_the_agent() {
    let description = text("docs/asyncapi.yaml");
    let version = description.lines().find_map(|line| line.strip_prefix("  version: "));
    assert_eq!(version, Some(VERSION));
}
