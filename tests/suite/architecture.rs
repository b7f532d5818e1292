//! The structure of the code, compared with the table in `docs/architecture.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Which modules of the crate each module may import. Modules that are not named here may not exist.
pub const IMPORTS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("disk", &["domain"]),
    ("fmp4", &["domain"]),
    ("config", &["domain"]),
    ("system", &["domain"]),
    ("net", &[]),
    ("mqtt", &["domain", "config", "net", "system"]),
    ("upload", &["domain", "config", "fmp4", "net", "system"]),
    ("capture", &["domain", "config", "fmp4", "system"]),
    ("spool", &["domain", "disk", "fmp4"]),
    ("identity", &["domain", "config", "disk", "net", "system"]),
    (
        "agent",
        &["capture", "config", "disk", "domain", "fmp4", "identity", "mqtt", "spool", "system", "upload"],
    ),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every Rust file below `src`, with its path below `src` and its text without comments and tests.
pub fn sources() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![root().join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let name = path.strip_prefix(root().join("src")).unwrap().to_owned();
                found.push((name, code(&text)));
            }
        }
    }
    found.sort();
    assert!(found.len() > 20, "src has more files than that");
    found
}

/// The text up to its tests, without comments. Tests are at the end of a file.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap();
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    lines.map(|line| format!("{line}\n")).collect()
}

/// The module of a file: its folder, or its own name.
fn part(file: &Path) -> String {
    let first = file.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// The modules that `crate::…` paths name, including `use crate::{a, b}`.
fn imported(code: &str, root: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices(root) {
        let rest = &code[at + root.len()..];
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        match rest.strip_prefix('{') {
            Some(group) => {
                let (mut depth, mut word) = (0, String::new());
                for letter in group.chars() {
                    match letter {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => {
                            found.insert(std::mem::take(&mut word));
                        }
                        _ if depth == 0 && !letter.is_whitespace() => word.push(letter),
                        _ => {}
                    }
                }
                found.insert(word);
            }
            None => {
                found.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
            }
        }
    }
    let mut parts: BTreeSet<String> =
        found.iter().map(|path| path.split("::").next().unwrap().to_owned()).collect();
    parts.remove("");
    parts
}

#[test]
fn imports_point_down_only() {
    let table: BTreeMap<&str, &[&str]> = IMPORTS.iter().copied().collect();
    let mut wrong = Vec::new();
    for (file, code) in sources() {
        let part = part(&file);
        if matches!(
            part.as_str(),
            "lib"
                | "main"
                | "arguments"
                | "check"
                | "enroll"
                | "probe"
                | "reset"
                | "snapshot"
                | "words"
                | "bin"
        ) {
            continue;
        }
        let Some(allowed) = table.get(part.as_str()) else {
            wrong.push(format!("{}: {part} is not in the table", file.display()));
            continue;
        };
        for other in imported(&code, "crate::") {
            if other != part && !allowed.contains(&other.as_str()) {
                wrong.push(format!("{}: {part} imports {other}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_scan_sees_every_form_of_import() {
    let code = "use crate::domain::time::Utc;\nuse crate::{config, mqtt::session::{A, B}, spool};\nfn f() { crate::upload::go() }\nuse mycrate::disk;";
    let found = imported(code, "crate::");
    let expected: BTreeSet<String> =
        ["config", "domain", "mqtt", "spool", "upload"].into_iter().map(str::to_owned).collect();
    assert_eq!(found, expected);
}

#[test]
fn main_sees_config_agent_and_system() {
    for (file, code) in sources() {
        if matches!(
            file.to_str(),
            Some(
                "main.rs"
                    | "arguments.rs"
                    | "check.rs"
                    | "enroll.rs"
                    | "probe.rs"
                    | "reset.rs"
                    | "snapshot.rs"
                    | "words.rs"
            )
        ) {
            let seen = imported(&code, "kasacam::");
            let allowed = ["agent", "capture", "config", "disk", "domain", "identity", "system"];
            let name = file.display();
            assert!(seen.iter().all(|part| allowed.contains(&part.as_str())), "{name} imports {seen:?}");
        }
    }
}

#[test]
fn the_table_stands_in_the_documentation() {
    let text = std::fs::read_to_string(root().join("docs/architecture.md")).unwrap();
    for (part, allowed) in IMPORTS {
        let allowed: Vec<String> = allowed.iter().map(|part| format!("`{part}`")).collect();
        let cell = if allowed.is_empty() { "nothing".to_owned() } else { allowed.join(", ") };
        let row = format!("| `{part}` | {cell} |");
        assert!(text.contains(&row), "docs/architecture.md lacks {row}");
    }
}

/// The parts that are functions of values. Clippy holds their types, clocks and macros (`clippy.toml`); this
/// holds what it cannot say of one part alone: which modules of the standard library and which crates.
const PURE: &[&str] = &["domain", "fmp4"];

/// Modules of the standard library that neither ask the system nor share state.
const PURE_STD: &[&str] =
    &["borrow", "cmp", "collections", "error", "fmt", "mem", "ops", "slice", "sync", "time"];

/// Crates that only compute.
const PURE_CRATES: &[&str] = &["bytes", "ring", "schemars", "serde", "serde_json"];

/// What in the code of a pure part is not pure.
fn impure(code: &str, crates: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    let std = imported(code, "std::").into_iter().filter(|name| !PURE_STD.contains(&name.as_str()));
    wrong.extend(std.map(|name| format!("std::{name}")));
    for other in crates.iter().filter(|name| !PURE_CRATES.contains(&name.as_str())) {
        if !imported(code, &format!("{other}::")).is_empty() {
            wrong.push(other.clone());
        }
    }
    for word in ["async ", ".await", "extern ", "std as "] {
        if code.contains(word) {
            wrong.push(word.trim().to_owned());
        }
    }
    wrong
}

/// The crates that the agent may name.
fn dependencies() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = text.parse().unwrap();
    let all = manifest["dependencies"].as_table().unwrap();
    let shipped = all.iter().filter(|(_, it)| it.get("optional").is_none());
    shipped.map(|(name, _)| name.replace('-', "_")).collect()
}

#[test]
fn the_domain_and_fmp4_are_pure() {
    let crates = dependencies();
    assert!(crates.iter().any(|name| name == "tokio"), "{crates:?}");
    let mut seen = BTreeSet::new();
    for (file, code) in sources() {
        let part = part(&file);
        if PURE.contains(&part.as_str()) {
            assert_eq!(impure(&code, &crates), [""; 0], "{}", file.display());
            seen.insert(part);
        }
    }
    assert_eq!(seen.len(), PURE.len(), "{seen:?}");
}

#[test]
fn each_way_to_be_impure_is_seen() {
    let crates = dependencies();
    for (code, found) in [
        ("use std::{fmt, fs};", "std::fs"),
        ("fn f() { std::env::var(\"A\") }", "std::env"),
        ("use std::thread;", "std::thread"),
        ("fn f() { tokio::spawn(g()); }", "tokio"),
        ("use nix::{sys, unistd};", "nix"),
        ("async fn f() {}", "async"),
        ("use std as s;", "std as"),
    ] {
        assert_eq!(impure(code, &crates), [found], "{code}");
    }
    assert_eq!(impure("use std::{cmp, fmt};\nuse super::time::Now;", &crates), [""; 0]);
}

/// Clippy denies in a pure part what `clippy.toml` lists, and only there.
#[test]
fn the_pure_parts_deny_what_clippy_lists() {
    for part in PURE {
        let text = std::fs::read_to_string(root().join("src").join(part).join("mod.rs")).unwrap();
        let lints =
            "#![deny(clippy::disallowed_types, clippy::disallowed_methods, clippy::disallowed_macros)]";
        assert!(text.contains(lints), "{part} does not deny them");
        for (file, code) in sources() {
            let allows =
                code.contains("allow(clippy::disallowed") || code.contains("expect(clippy::disallowed");
            assert!(!(file.starts_with(part) && allows), "{} allows one", file.display());
        }
    }
}

#[test]
fn nothing_in_the_agent_unwraps() {
    for (file, code) in sources() {
        if part(&file) == "bin" {
            continue;
        }
        for word in [".unwrap()", ".expect(", "panic!(", "todo!(", "unimplemented!(", "unreachable!("] {
            assert!(!code.contains(word), "{} has {word}", file.display());
        }
    }
}

#[test]
fn only_the_clock_asks_what_time_it_is() {
    for (file, code) in sources() {
        if file == Path::new("system/clock.rs") || part(&file) == "bin" {
            continue;
        }
        for word in ["SystemTime::now", "std::time::Instant", "clock_gettime"] {
            assert!(!code.contains(word), "{} has {word}", file.display());
        }
        // The clock of tokio's timers is for waiting; it does not give the time of day.
        let waits = code.contains("tokio::time");
        assert!(waits || !code.contains("Instant::now"), "{} has Instant::now", file.display());
    }
}

#[test]
fn only_the_gst_files_of_capture_name_gstreamer() {
    for (file, code) in sources() {
        let own = file == Path::new("capture/gst.rs") || file.starts_with("capture/gst");
        let names = ["gst_app::", "gstfmp4::", "gstreamer::", "gstreamer_app::"];
        // `capture::gst::` is our own module, `gst::` is the library.
        let library = code.match_indices("gst::").any(|(at, _)| {
            let before = code[..at].chars().next_back().unwrap_or(' ');
            !(before == ':' || before == '_' || before.is_alphanumeric())
        });
        let named = library || names.iter().any(|name| code.contains(name));
        assert!(own || !named, "{} names GStreamer", file.display());
    }
}

#[test]
fn a_file_holds_one_idea() {
    for (file, _) in sources() {
        let lines = std::fs::read_to_string(root().join("src").join(&file)).unwrap().lines().count();
        assert!(lines <= 700, "{} has {lines} lines", file.display());
    }
}

#[test]
fn there_is_one_crypto_provider() {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["tree", "--offline", "--locked", "--prefix", "none", "--edges", "normal", "--format", "{p}"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.lines().any(|line| line.starts_with("ring v")), "{tree}");
    // The machine's own roots are not used, and of the certificate verifiers only the one of rustls is.
    for foreign in [
        "rustls-native-certs",
        "rustls-webpki v0.102",
        "aws-lc",
        "openssl v",
        "openssl-sys",
        "native-tls",
        "rsa v",
        "ed25519-dalek",
    ] {
        assert!(!tree.lines().any(|line| line.starts_with(foreign)), "the agent depends on {foreign}");
    }
}

/// The order of the cipher suites is of the CPU: nobody takes a provider past `net::suites`. A key is loaded without one.
#[test]
fn tls_has_one_provider() {
    let wrong: Vec<String> = sources()
        .iter()
        .filter(|(file, _)| !file.starts_with("bin"))
        .flat_map(|(file, code)| {
            let uses = code.matches("default_provider()").count()
                - code.matches("default_provider().key_provider").count();
            let allowed = usize::from(file == Path::new("net/suites.rs"));
            (uses != allowed).then(|| format!("{}: {uses}", file.display()))
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}
