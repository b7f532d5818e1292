//! From the content of a file to settings: each key is read with its type, its limits and its default.
//! Unknown keys and wrong values become problems.

use super::file::{Entry, Table, Value};
use super::frame_rate::FrameRate;
use super::nearest::{choices_hint, nearest, suggestion};
use super::problem::{Place, Problems};
use super::properties;
use super::schema::{Absent, Key, Section, ValueKind, Variant};
use super::settings::{Merged, Scalar, Setting};
use super::units;
use std::sync::Arc;

/// Maximum number of paths, as in `entitlement.keys`.
const MAX_PATHS: usize = 16;
/// Maximum number of tables, as in `[[video.profile]]`.
const MAX_TABLES: usize = 8;
/// Maximum bytes of a pipeline's description.
const MAX_DESCRIPTION: usize = 4096;
/// The word for a duration without limit.
pub(super) const FOREVER: &str = "forever";

impl Merged {
    /// Adds a file. `complete`: its syntax is valid, so that missing keys are really missing.
    pub(super) fn take(
        &mut self,
        root: &Table,
        sections: &[Section],
        complete: bool,
        problems: &mut Problems,
    ) {
        let present = sections.iter().map(|section| section.name).filter(|name| root.entry(name).is_some());
        let mut walk = Walk { present: present.collect(), merged: self, problems, complete };
        walk.file(root, sections);
    }
}

struct Walk<'a> {
    merged: &'a mut Merged,
    problems: &'a mut Problems,
    complete: bool,
    /// The sections of the file.
    present: Vec<&'static str>,
}

impl Walk<'_> {
    fn file(&mut self, root: &Table, sections: &[Section]) {
        let top = sections.iter().find(|section| section.name.is_empty()).map_or(&[][..], |top| top.keys);
        for entry in &root.entries {
            let known = sections.iter().any(|section| section.name == entry.key)
                || top.iter().any(|key| key.name == entry.key);
            if !known {
                let home = home_of(sections, &entry.key);
                let names = sections.iter().map(|s| s.name).chain(top.iter().map(|k| k.name));
                let hint = match (&entry.value, home) {
                    (Value::Table(_), _) | (_, None) => {
                        suggestion(&entry.key, names.filter(|n| !n.is_empty()).collect::<Vec<_>>())
                    }
                    (_, Some(home)) => format!("it belongs under [{home}]"),
                };
                let what =
                    if matches!(entry.value, Value::Table(_)) { "unknown section" } else { "unknown key" };
                self.problems.push(&entry.key_at, &entry.key, what, hint);
            }
        }
        for section in sections {
            if section.name.is_empty() {
                self.keys("", root, section.keys, &root.at);
                continue;
            }
            match root.entry(section.name) {
                Some(Entry { value: Value::Table(table), key_at, .. }) => {
                    self.unknown(section.name, table, section.keys.iter().map(|key| key.name), sections);
                    self.keys(section.name, table, section.keys, key_at);
                }
                Some(entry) => {
                    let problem = format!("is {}, not a section", entry.value.kind());
                    self.problems.push(&entry.at, section.name, problem, format!("write [{}]", section.name));
                }
                None if section.optional => {}
                None => {
                    let empty = Table { at: root.at.clone(), entries: Vec::new() };
                    self.keys(section.name, &empty, section.keys, &root.at);
                }
            }
        }
    }

    fn unknown<'k>(
        &mut self,
        path: &str,
        table: &Table,
        known: impl Iterator<Item = &'k str> + Clone,
        sections: &[Section],
    ) {
        for entry in &table.entries {
            if known.clone().any(|name| name == entry.key) {
                continue;
            }
            let full = format!("{path}.{}", entry.key);
            let near = nearest(&entry.key, known.clone()).is_some();
            let hint = match home_of(sections, &entry.key) {
                Some(home) if !near => format!("it belongs under [{home}]"),
                Some(_) | None => suggestion(&entry.key, known.clone().collect::<Vec<_>>()),
            };
            self.problems.push(&entry.key_at, &full, "unknown key", hint);
        }
    }

    fn keys(&mut self, path: &str, table: &Table, keys: &[Key], at: &Place) {
        for key in keys {
            let full = if path.is_empty() { key.name.to_owned() } else { format!("{path}.{}", key.name) };
            match (table.entry(key.name), key.absent) {
                (Some(entry), _) => self.read(&full, key.kind, &entry.value, &entry.at),
                (None, Absent::Refused) if self.complete => {
                    self.problems.push(at, &full, "is missing", example(key));
                }
                (None, Absent::Unless(section)) if self.complete && !self.present.contains(&section) => {
                    self.problems.push(at, &full, "is missing", example(key));
                }
                (None, Absent::Refused | Absent::Unless(_) | Absent::Nothing) => {}
                (None, Absent::Is(text)) => {
                    let value = match key.kind {
                        ValueKind::Flag => Value::Boolean(text == "true"),
                        ValueKind::Number { .. } => Value::Integer(text.parse().ok()),
                        ValueKind::Text
                        | ValueKind::Path
                        | ValueKind::Paths
                        | ValueKind::Description
                        | ValueKind::FrameRate
                        | ValueKind::Properties
                        | ValueKind::Duration { .. }
                        | ValueKind::DurationOrForever { .. }
                        | ValueKind::Bytes { .. }
                        | ValueKind::Rate { .. }
                        | ValueKind::Choice(_)
                        | ValueKind::OneOf(_)
                        | ValueKind::Tagged(_)
                        | ValueKind::Tables(_) => Value::Text(text.to_owned()),
                    };
                    self.read(&full, key.kind, &value, at);
                }
            }
        }
    }

    /// Reads one value with its type. A wrong type is reported only here.
    fn read(&mut self, key: &str, kind: ValueKind, value: &Value, at: &Place) {
        let scalar = match (kind, value) {
            (ValueKind::Text | ValueKind::Path, Value::Text(text)) if text.is_empty() => {
                Err(("is empty".to_owned(), String::new()))
            }
            (ValueKind::Text | ValueKind::Path, Value::Text(text))
                if text.len() > 1024 || text.chars().any(char::is_control) =>
            {
                Err(("is longer than 1024 bytes or has a control character".to_owned(), String::new()))
            }
            (ValueKind::Text | ValueKind::Path, Value::Text(text)) => Ok(Scalar::Text(text.clone())),
            (ValueKind::Description, Value::Text(text)) if text.trim().is_empty() => {
                Err(("is empty".to_owned(), String::new()))
            }
            (ValueKind::Description, Value::Text(text))
                if text.len() > MAX_DESCRIPTION
                    || text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') =>
            {
                let problem = format!("is longer than {MAX_DESCRIPTION} bytes or has a control character");
                Err((problem, String::new()))
            }
            (ValueKind::Description, Value::Text(text)) => Ok(Scalar::Text(text.clone())),
            (ValueKind::FrameRate, Value::Integer(Some(number))) => frame_rate(&number.to_string()),
            (ValueKind::FrameRate, Value::Float(text) | Value::Text(text)) => frame_rate(text),
            (ValueKind::Properties, Value::Table(table)) => {
                match properties::read(key, table, at, self.problems) {
                    Some(properties) => Ok(Scalar::Properties(properties)),
                    None => {
                        self.merged.bad.insert(key.to_owned());
                        return;
                    }
                }
            }
            (ValueKind::Flag, Value::Boolean(flag)) => Ok(Scalar::Flag(*flag)),
            (ValueKind::Number { min, max }, Value::Integer(number)) => {
                let number = number.and_then(|number| u64::try_from(number).ok());
                within(number, min, max, |n| n.to_string()).map(Scalar::Number)
            }
            (ValueKind::DurationOrForever { .. }, Value::Text(text)) if text == FOREVER => {
                Ok(Scalar::Text(text.clone()))
            }
            (
                ValueKind::Duration { min, max } | ValueKind::DurationOrForever { min, max },
                Value::Text(text),
            ) => match units::duration(text) {
                Ok(duration) => within(Some(duration), min, max, units::show_duration).map(Scalar::Duration),
                Err(why) => {
                    Err((format!("\"{text}\" {why}"), "write it like \"30s\", \"500ms\" or \"2m30s\"".into()))
                }
            },
            (ValueKind::Bytes { min, max }, Value::Text(text)) => match units::bytes(text) {
                Ok(bytes) => within(Some(bytes), min, max, units::show_bytes).map(Scalar::Number),
                Err(why) => {
                    Err((format!("\"{text}\" {why}"), "write it like \"2 GiB\" or \"1500 kB\"".into()))
                }
            },
            (ValueKind::Bytes { min, max }, Value::Integer(number)) => {
                let number = number.and_then(|number| u64::try_from(number).ok());
                within(number, min, max, units::show_bytes).map(Scalar::Number)
            }
            (ValueKind::Rate { min, max }, Value::Text(text)) => match units::rate(text) {
                Ok(rate) => within(Some(rate), min, max, units::show_rate).map(Scalar::Number),
                Err(why) => {
                    Err((format!("\"{text}\" {why}"), "write it like \"8 Mbit/s\" or \"500 kbit/s\"".into()))
                }
            },
            (ValueKind::Choice(choices), Value::Text(text)) if choices.contains(&text.as_str()) => {
                Ok(Scalar::Text(text.clone()))
            }
            (ValueKind::Choice(choices), Value::Text(text)) => Err((
                format!("\"{text}\" is not one of its values"),
                choices_hint(text, choices.iter().copied()),
            )),
            (ValueKind::Paths, Value::Array(items)) => paths(items),
            (ValueKind::Tagged(variants), Value::Table(table)) => {
                return self.tagged(key, variants, table, at);
            }
            (ValueKind::OneOf(keys), Value::Table(table)) => return self.one_of(key, keys, table, at),
            (ValueKind::Tables(keys), Value::Array(items)) => return self.tables(key, keys, items, at),
            (ValueKind::OneOf([first, ..]), Value::Text(_)) => {
                return self.read(&format!("{key}.{}", first.name), first.kind, value, at);
            }
            (
                ValueKind::Text
                | ValueKind::Path
                | ValueKind::Paths
                | ValueKind::Description
                | ValueKind::FrameRate
                | ValueKind::Properties
                | ValueKind::Flag
                | ValueKind::Number { .. }
                | ValueKind::Duration { .. }
                | ValueKind::DurationOrForever { .. }
                | ValueKind::Bytes { .. }
                | ValueKind::Rate { .. }
                | ValueKind::Choice(_)
                | ValueKind::OneOf(_)
                | ValueKind::Tagged(_)
                | ValueKind::Tables(_),
                other,
            ) => Err((format!("is {}, but must be {}", other.kind(), expected(kind)), String::new())),
        };
        match scalar {
            Ok(value) => {
                self.merged.settings.insert(key.to_owned(), Setting { at: at.clone(), value });
            }
            Err((problem, hint)) => {
                self.problems.push(at, key, problem, hint);
                self.merged.bad.insert(key.to_owned());
            }
        }
    }

    fn one_of(&mut self, path: &str, keys: &[Key], table: &Table, at: &Place) {
        let before = self.problems.len();
        self.unknown(path, table, keys.iter().map(|key| key.name), &[]);
        self.keys(path, table, keys, at);
        let given = keys.iter().filter(|key| table.entry(key.name).is_some()).count();
        if given != 1 && self.problems.len() == before {
            let names = keys.iter().map(|key| key.name).collect::<Vec<_>>().join(", ");
            self.problems.push(at, path, format!("must be exactly one of {names}"), "");
        }
        if self.problems.len() > before {
            self.merged.bad.insert(path.to_owned());
        }
    }

    /// Reads each table under its own key: `video.profile.0`.
    fn tables(&mut self, path: &str, keys: &[Key], items: &[(Place, Value)], at: &Place) {
        if items.len() > MAX_TABLES {
            let problem = format!("contains {} tables, and may contain {MAX_TABLES}", items.len());
            self.problems.push(at, path, problem, "");
            self.merged.bad.insert(path.to_owned());
        }
        for (number, (at, item)) in items.iter().take(MAX_TABLES).enumerate() {
            let path = format!("{path}.{number}");
            match item {
                Value::Table(table) => {
                    self.unknown(&path, table, keys.iter().map(|key| key.name), &[]);
                    self.keys(&path, table, keys, at);
                }
                Value::Text(_)
                | Value::Integer(_)
                | Value::Float(_)
                | Value::Boolean(_)
                | Value::Datetime
                | Value::Array(_) => {
                    self.problems.push(at, &path, format!("is {}, not a table", item.kind()), "");
                    self.merged.bad.insert(path);
                }
            }
        }
    }

    fn tagged(&mut self, path: &str, variants: &[Variant], table: &Table, at: &Place) {
        let kinds = variants.iter().map(|variant| variant.kind);
        let full = format!("{path}.kind");
        let before = self.problems.len();
        match table.entry("kind") {
            Some(Entry { value: Value::Text(kind), at, .. }) => {
                match variants.iter().find(|variant| variant.kind == kind) {
                    Some(variant) => {
                        let known = variant.keys.iter().map(|key| key.name).chain(std::iter::once("kind"));
                        self.unknown(path, table, known, &[]);
                        self.keys(path, table, variant.keys, at);
                        let value = Scalar::Text(kind.clone());
                        self.merged.settings.insert(full, Setting { at: at.clone(), value });
                    }
                    None => {
                        let hint = choices_hint(kind, kinds.collect::<Vec<_>>());
                        self.problems.push(at, &full, format!("\"{kind}\" is not one of its values"), hint);
                    }
                }
            }
            Some(entry) => {
                self.problems.push(
                    &entry.at,
                    &full,
                    format!("is {}, but must be text", entry.value.kind()),
                    "",
                );
            }
            None => {
                let hint = format!("one of {}", kinds.collect::<Vec<_>>().join(", "));
                self.problems.push(at, &full, "is missing", hint);
            }
        }
        if self.problems.len() > before {
            self.merged.bad.insert(path.to_owned());
        }
    }
}

type Refusal = (String, String);

fn within<T: PartialOrd + Copy>(
    value: Option<T>,
    min: T,
    max: T,
    show: impl Fn(T) -> String,
) -> Result<T, Refusal> {
    let range = format!("from {} to {}", show(min), show(max));
    match value {
        Some(value) if value >= min && value <= max => Ok(value),
        Some(value) => Err((format!("{} is out of range", show(value)), range)),
        None => Err(("is out of range".to_owned(), range)),
    }
}

fn frame_rate(text: &str) -> Result<Scalar, Refusal> {
    let hint = || String::from("write it like 15, 12.5, 29.97 or \"30000/1001\"");
    FrameRate::parse(text).map(Scalar::Rate).map_err(|why| (why, hint()))
}

fn paths(items: &[(Place, Value)]) -> Result<Scalar, Refusal> {
    let mut paths = Vec::new();
    for (at, item) in items {
        match item {
            Value::Text(text) if !text.is_empty() => {
                paths.push((Place { file: Arc::clone(&at.file), ..*at }, text.clone()));
            }
            Value::Text(_)
            | Value::Integer(_)
            | Value::Float(_)
            | Value::Boolean(_)
            | Value::Datetime
            | Value::Array(_)
            | Value::Table(_) => return Err(("must contain paths only".to_owned(), String::new())),
        }
    }
    if paths.is_empty() || paths.len() > MAX_PATHS {
        return Err((
            format!("must contain 1 to {MAX_PATHS} paths, and contains {}", paths.len()),
            String::new(),
        ));
    }
    Ok(Scalar::Paths(paths))
}

fn expected(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Text => "text",
        ValueKind::Path => "a path in quotes",
        ValueKind::Paths => "a list of paths",
        ValueKind::Description => "text",
        ValueKind::FrameRate => "a number such as 15, 12.5 or \"30000/1001\"",
        ValueKind::Properties => "a table such as { io-mode = \"dmabuf\" }",
        ValueKind::Flag => "true or false",
        ValueKind::Number { .. } => "a whole number",
        ValueKind::Duration { .. } => "a duration in quotes such as \"30s\"",
        ValueKind::DurationOrForever { .. } => "a duration in quotes such as \"30s\", or \"forever\"",
        ValueKind::Bytes { .. } => "a size in quotes such as \"2 GiB\"",
        ValueKind::Rate { .. } => "a rate in quotes such as \"8 Mbit/s\"",
        ValueKind::Choice(_) => "text",
        ValueKind::OneOf(_) => "a table such as { file = \"…\" }",
        ValueKind::Tagged(_) => "a table such as { kind = \"…\" }",
        ValueKind::Tables(_) => "tables, each under its own [[…]]",
    }
}

fn example(key: &Key) -> String {
    format!("add {} = …, {}", key.name, expected(key.kind))
}

/// The section that has a key of this name.
fn home_of(sections: &[Section], name: &str) -> Option<&'static str> {
    let mut homes = sections.iter().filter(|section| section.keys.iter().any(|key| key.name == name));
    let home = homes.next().map(|section| section.name).filter(|name| !name.is_empty());
    // Only if it is the only one.
    if homes.next().is_some() { None } else { home }
}
