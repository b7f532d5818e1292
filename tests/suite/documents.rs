//! Every file that the documents name exists.

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What is in the repository, as paths below its root: folders end with a slash.
fn repository() -> Vec<String> {
    fn walk(folder: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            if name == "target" || name == ".git" {
                continue;
            }
            if path.is_dir() {
                found.push(format!("{name}/"));
                walk(&path, found);
            } else {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    walk(root(), &mut found);
    assert!(found.len() > 400, "the repository has more files than that");
    found
}

/// The documents that a reader follows.
fn documents() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "tests/README.md"]
        .map(|name| root().join(name))
        .into();
    let docs = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    found.extend(docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    found
}

/// The texts between backquotes, outside of blocks of code.
fn quoted(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    for (n, part) in text.split("```").enumerate() {
        if n % 2 == 0 {
            found.extend(part.split('`').skip(1).step_by(2));
        }
    }
    found
}

/// The targets of links and pictures that are files of the repository.
fn linked(text: &str) -> Vec<&str> {
    let markdown = text.match_indices("](").map(|(at, start)| &text[at + start.len()..]);
    let html = text.match_indices("src=\"").map(|(at, start)| &text[at + start.len()..]);
    markdown
        .chain(html)
        .filter_map(|rest| rest.split([')', '"', '#']).next())
        .filter(|target| !target.is_empty() && !target.contains(':'))
        .collect()
}

/// Whether a quoted text is meant as a file or folder of the repository: it begins with one of its folders, or is the
/// name of a source or a script.
fn is_path(text: &str, repository: &[String]) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    if text.is_empty() || !text.chars().all(plain) || text.starts_with('/') || text.contains("NAME") {
        return false;
    }
    let in_a_folder = text.split_once('/').is_some_and(|(first, _)| {
        repository.contains(&format!("{first}/")) || repository.contains(&format!("src/{first}/"))
    });
    in_a_folder || [".rs", ".sh", ".py"].iter().any(|end| text.ends_with(end))
}

/// Whether a path of the repository is this one, or ends with it. A module may be named without `.rs`.
fn exists(name: &str, repository: &[String]) -> bool {
    let forms = [name.to_owned(), format!("{name}/"), format!("{name}.rs")];
    repository.iter().any(|path| {
        forms.iter().any(|form| {
            path == form || path.strip_suffix(form.as_str()).is_some_and(|rest| rest.ends_with('/'))
        })
    })
}

/// What a document names and the repository has not.
fn missing(document: &Path, text: &str, repository: &[String]) -> Vec<String> {
    let folder = document.parent().unwrap();
    let links = linked(text).into_iter().filter(|target| !folder.join(target).exists());
    let paths =
        quoted(text).into_iter().filter(|name| is_path(name, repository) && !exists(name, repository));
    links.chain(paths).map(str::to_owned).collect()
}

#[test]
fn every_file_that_a_document_names_exists() {
    let repository = repository();
    let (mut wrong, mut looked) = (Vec::new(), 0);
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        looked += linked(&text).len() + quoted(&text).iter().filter(|it| is_path(it, &repository)).count();
        let name = document.strip_prefix(root()).unwrap().display();
        wrong.extend(missing(&document, &text, &repository).into_iter().map(|it| format!("{name}: {it}")));
    }
    assert!(wrong.is_empty(), "named, but not there:\n{}", wrong.join("\n"));
    assert!(looked > 300, "the documents name more files than {looked}");
}

/// The items of the lists of CONTRIBUTING.md.
fn items(text: &str) -> Vec<String> {
    let (_, lists) = text.split_once("## Changes, file by file").unwrap();
    let (_, lists) = lists.split_once("### ").unwrap();
    let mut items = Vec::<String>::new();
    for line in lists.lines() {
        if line.starts_with(|c: char| c.is_ascii_digit()) {
            items.push(String::new());
        }
        if let Some(item) = items.last_mut().filter(|_| !line.starts_with('#')) {
            item.push_str(line);
            item.push('\n');
        }
    }
    items
}

/// The paths of an item: a name without a folder is in the folder of the path before it.
fn paths(item: &str, repository: &[String]) -> Vec<String> {
    let (mut found, mut folder) = (Vec::new(), String::new());
    for name in quoted(item).into_iter().filter(|name| is_path(name, repository) || name.ends_with('/')) {
        let top = name.split('/').next().unwrap();
        if name.contains('/') && repository.contains(&format!("{top}/")) {
            folder = name.rsplit_once('/').unwrap().0.to_owned();
            found.push(name.to_owned());
        } else {
            found.push(format!("{folder}/{name}"));
        }
    }
    found
}

#[test]
fn the_lists_for_a_change_name_files_that_exist_and_what_is_in_them() {
    let repository = repository();
    let text = std::fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let (mut wrong, mut files, mut names) = (Vec::new(), 0, 0);
    for item in items(&text) {
        let paths = paths(&item, &repository);
        files += paths.len();
        wrong.extend(paths.iter().filter(|path| !root().join(path).exists()).cloned());
        let code: String =
            paths.iter().filter_map(|path| std::fs::read_to_string(root().join(path)).ok()).collect();
        for name in quoted(&item) {
            if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') && name != "SIGHUP" {
                names += 1;
                let whole = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
                if !code.match_indices(name).any(|(at, _)| whole(&code[at + name.len()..])) {
                    wrong.push(format!("`{name}` in {}", paths.join(", ")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "not there:\n{}", wrong.join("\n"));
    assert!(files > 60 && names > 20, "{files} files and {names} names are too few");
}

#[test]
fn a_file_that_does_not_exist_is_found() {
    let repository = repository();
    let text =
        "see `src/capture/nothing.rs`, `nothing.rs`, `src/capture/`, `main.rs` and [this](nothing.md#top)";
    let found = missing(&root().join("docs/x.md"), text, &repository);
    assert_eq!(found, ["nothing.md", "src/capture/nothing.rs", "nothing.rs"]);
}

/// `make TARGET` of a document is a target of the Makefile.
#[test]
fn every_make_target_that_a_document_names_exists() {
    let makefile = std::fs::read_to_string(root().join("Makefile")).unwrap();
    let (mut wrong, mut looked) = (Vec::new(), 0);
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for command in quoted(&text).into_iter().filter_map(|text| text.strip_prefix("make ")) {
            let target = command.split([' ', '\n']).next().unwrap();
            looked += 1;
            if !makefile.lines().any(|line| line.starts_with(&format!("{target}:"))) {
                wrong.push(format!("{}: make {target}", document.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(looked > 20, "the documents name more targets than {looked}");
}
