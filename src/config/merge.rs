//! From the content of a file to settings: each key of the schema is read, or gets its default.
//! Unknown keys and wrong values become problems.

use super::file::{Entry, Table, Value};
use super::nearest::{choices_hint, nearest, suggestion};
use super::problem::{Place, Problems};
use super::properties;
use super::scalar;
use super::schema::{Absent, Key, Section, ValueKind, Variant};
use super::settings::{Merged, Scalar, Setting};

/// Maximum number of tables, as in `[[video.profile]]`.
const MAX_TABLES: usize = 8;

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
                    self.read(&full, key.kind, &scalar::default(key.kind, text), at);
                }
            }
        }
    }

    /// Reads one value with its type. A wrong type is reported only here.
    fn read(&mut self, key: &str, kind: ValueKind, value: &Value, at: &Place) {
        let scalar = match (kind, value) {
            (ValueKind::Tagged(variants), Value::Table(table)) => {
                return self.tagged(key, variants, table, at);
            }
            (ValueKind::OneOf(keys), Value::Table(table)) => return self.one_of(key, keys, table, at),
            (ValueKind::OneOf([first, ..]), Value::Text(_)) => {
                return self.read(&format!("{key}.{}", first.name), first.kind, value, at);
            }
            (ValueKind::Tables(keys), Value::Array(items)) => return self.tables(key, keys, items, at),
            (ValueKind::Properties, Value::Table(table)) => {
                let Some(properties) = properties::read(key, table, at, self.problems) else {
                    self.merged.bad.insert(key.to_owned());
                    return;
                };
                Ok(Scalar::Properties(properties))
            }
            (kind, value) => scalar::read(kind, value),
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
            if let Value::Table(table) = item {
                self.unknown(&path, table, keys.iter().map(|key| key.name), &[]);
                self.keys(&path, table, keys, at);
            } else {
                self.problems.push(at, &path, format!("is {}, not a table", item.kind()), "");
                self.merged.bad.insert(path);
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

fn example(key: &Key) -> String {
    format!("add {} = …, {}", key.name, scalar::expected(key.kind))
}

/// The section that has a key of this name.
fn home_of(sections: &[Section], name: &str) -> Option<&'static str> {
    let mut homes = sections.iter().filter(|section| section.keys.iter().any(|key| key.name == name));
    let home = homes.next().map(|section| section.name).filter(|name| !name.is_empty());
    // Only if it is the only one.
    if homes.next().is_some() { None } else { home }
}
