//! The imports between the files of a module form no circle: what two files share stands below both.

use crate::architecture::{IMPORTS, sources};
use std::collections::{BTreeMap, BTreeSet};

/// A file of the crate as a path of modules: `["spool", "store"]`.
type Module = Vec<String>;

/// The imports of each file within its own top-level module.
type Imports = BTreeMap<Module, BTreeSet<Module>>;

fn module(file: &str) -> Module {
    let name = file.trim_end_matches(".rs").trim_end_matches("/mod");
    name.split('/').map(str::to_owned).collect()
}

/// Every path that the code names, with the groups of `use` written out: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = String::new();
    let mut statement: Option<String> = None;
    for line in code.lines() {
        let start = line.trim_start();
        let tree = ["use ", "pub use ", "pub(super) use ", "pub(crate) use "];
        if statement.is_none() {
            statement = tree.iter().find_map(|word| start.strip_prefix(word)).map(|_| String::new());
        }
        match &mut statement {
            Some(text) => text.push_str(start),
            None => rest.push_str(&format!("{line}\n")),
        }
        if statement.as_ref().is_some_and(|text| text.contains(';')) {
            let text = statement.take().unwrap();
            let tree = text.split_once("use ").unwrap().1.split(';').next().unwrap();
            written_out("", tree, &mut found);
        }
    }
    // A visibility is no import.
    let rest = rest.replace("pub(in crate::", "pub(");
    let is_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    found.extend(rest.split(|c| !is_path(c)).filter(|word| word.contains("::")).map(str::to_owned));
    found
}

fn written_out(before: &str, tree: &str, found: &mut Vec<String>) {
    let Some((head, group)) = tree.split_once('{') else {
        let name = tree.split(" as ").next().unwrap().trim();
        return found.push(format!("{before}{name}"));
    };
    let group = group.rsplit_once('}').unwrap().0;
    let (mut depth, mut from) = (0, 0);
    for (at, letter) in group.char_indices().chain([(group.len(), ',')]) {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = group[from..at].trim();
                if !part.is_empty() {
                    written_out(&format!("{before}{}", head.trim()), part, found);
                }
                from = at + 1;
            }
            _ => {}
        }
    }
}

/// The file that a path leads to from `here`, and the name in it.
fn target(here: &Module, path: &str, files: &BTreeSet<Module>) -> Option<(Module, String)> {
    let mut parts: Vec<&str> = path.split("::").collect();
    let mut at = match *parts.first()? {
        "crate" => Vec::new(),
        "self" | "super" => here.clone(),
        child => {
            let below: Module = here.iter().cloned().chain([child.to_owned()]).collect();
            files.contains(&below).then(|| here.clone())?
        }
    };
    while parts.first().is_some_and(|part| matches!(*part, "crate" | "self" | "super")) {
        if parts.remove(0) == "super" {
            at.pop();
        }
    }
    while let Some(part) = parts.first() {
        let below: Module = at.iter().cloned().chain([(*part).to_owned()]).collect();
        if !files.contains(&below) {
            break;
        }
        at = below;
        parts.remove(0);
    }
    Some((at, (*parts.first().unwrap_or(&"")).to_owned()))
}

/// The imports of all files. A file that adds methods to a type of its own parent is a part of that type, and
/// may name it.
fn imports(sources: &[(String, String)]) -> Imports {
    let files: BTreeSet<Module> = sources.iter().map(|(file, _)| module(file)).collect();
    let mut all = Imports::new();
    for (file, code) in sources {
        let here = module(file);
        let mut edges = BTreeSet::new();
        for path in paths(code) {
            let Some((there, name)) = target(&here, &path, &files) else { continue };
            let adds_to = |end: &str| code.contains(&format!("impl {name}{end}"));
            let is_part = here.starts_with(&there) && (adds_to(" {") || adds_to("<"));
            if files.contains(&there) && there != here && there[0] == here[0] && !is_part {
                edges.insert(there);
            }
        }
        all.insert(here, edges);
    }
    all
}

/// The files that are left when those that import no other are taken away, again and again.
fn circle(mut imports: Imports) -> Vec<String> {
    loop {
        let left: BTreeSet<Module> = imports.keys().cloned().collect();
        let is_used = |file: &Module| imports.values().any(|edges| edges.contains(file));
        let of_a_circle: BTreeSet<Module> = left
            .iter()
            .filter(|file| imports[*file].iter().any(|other| left.contains(other)) && is_used(file))
            .cloned()
            .collect();
        if of_a_circle == left {
            break;
        }
        imports.retain(|file, _| of_a_circle.contains(file));
    }
    let arrows = |(file, edges): (&Module, &BTreeSet<Module>)| {
        let there: Vec<String> =
            edges.iter().filter(|other| imports.contains_key(*other)).map(|other| other.join("/")).collect();
        format!("{} -> {}", file.join("/"), there.join(", "))
    };
    imports.iter().map(arrows).collect()
}

#[test]
fn the_files_of_a_module_form_no_circle() {
    let all: Vec<(String, String)> =
        sources().into_iter().map(|(file, code)| (file.to_str().unwrap().to_owned(), code)).collect();
    for (part, _) in IMPORTS {
        let own: Vec<(String, String)> =
            all.iter().filter(|(file, _)| module(file)[0] == *part).cloned().collect();
        assert!(own.len() > 4, "{part} has more files than {}", own.len());
        let imports = imports(&own);
        assert!(imports.values().any(|edges| !edges.is_empty()), "{part} has imports");
        assert_eq!(circle(imports), [""; 0], "{part}");
    }
}

#[test]
fn a_circle_is_seen_in_every_form_of_import() {
    let of = |files: &[(&str, &str)]| {
        let files: Vec<(String, String)> =
            files.iter().map(|(file, code)| ((*file).to_owned(), (*code).to_owned())).collect();
        circle(imports(&files))
    };
    let store = ("spool/store.rs", "use super::order::{LISTED,\n    Scan};\npub struct Store;");
    for back in [
        "use super::store::Live;",
        "use crate::{disk, spool::store::{Live, Store}};",
        "fn f() { super::store::go() }",
        "pub(super) use super::store;",
    ] {
        let circle =
            of(&[("spool/mod.rs", "mod order;\npub use store::Store;"), store, ("spool/order.rs", back)]);
        assert_eq!(circle, ["spool/order -> spool/store", "spool/store -> spool/order"], "{back}");
    }
    let parent = "use child::Child;\npub struct Setup;\npub struct Spool { child: Child }";
    let vocabulary = [("spool/mod.rs", parent), ("spool/child.rs", "use super::Setup;\npub struct Child;")];
    assert_eq!(of(&vocabulary), ["spool -> spool/child", "spool/child -> spool"]);
    let methods = [("spool/mod.rs", parent), ("spool/child.rs", "use super::Spool;\nimpl Spool { }")];
    assert_eq!(of(&methods), [""; 0]);
    assert_eq!(
        of(&[store, ("spool/order.rs", "use crate::disk;\npub(in crate::spool) const LISTED: u8 = 1;")]),
        [""; 0]
    );
}
