//! The content of a file: TOML as a tree in which every key and value has its place.
//!
//! Derived deserialisation stops at the first error. Here the whole file is read first and validated afterwards.

use super::problem::{Place, Problems};
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use toml::de::{DeTable, DeValue};

/// Maximum bytes of a configuration file.
const MAX_BYTES: u64 = 256 * 1024;
/// Maximum number of syntax errors: the first one usually explains the others.
const MAX_SYNTAX_ERRORS: usize = 8;

pub(super) struct Table {
    pub(super) at: Place,
    pub(super) entries: Vec<Entry>,
}

pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_at: Place,
    pub(super) value: Value,
    pub(super) at: Place,
}

pub(super) enum Value {
    Text(String),
    /// `None` if it is out of range.
    Integer(Option<i64>),
    /// As written.
    Float(String),
    Boolean(bool),
    Datetime,
    Array(Vec<(Place, Value)>),
    Table(Table),
}

impl Value {
    /// Its type, for people.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Value::Text(_) => "text",
            Value::Integer(_) => "a whole number",
            Value::Float(_) => "a decimal number",
            Value::Boolean(_) => "true or false",
            Value::Datetime => "a date",
            Value::Array(_) => "a list",
            Value::Table(_) => "a table",
        }
    }
}

impl Table {
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }
}

/// The content of a file.
pub(super) struct Document {
    pub(super) root: Table,
    /// The syntax is valid, so that missing keys are really missing.
    pub(super) complete: bool,
}

/// Reads a regular file of at most `max` bytes. The error is for people.
pub(super) fn read_bounded(path: &Path, max: u64) -> Result<Vec<u8>, String> {
    let explain = |error: std::io::Error| {
        if error.kind() == std::io::ErrorKind::NotFound {
            "there is no such file".to_owned()
        } else {
            error.to_string()
        }
    };
    // Before it is opened: opening a pipe waits for a writer.
    if !std::fs::metadata(path).map_err(explain)?.is_file() {
        return Err("it is not a regular file".into());
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(explain)?;
    file.take(max + 1).read_to_end(&mut bytes).map_err(explain)?;
    if bytes.len() as u64 > max {
        return Err(format!("it is larger than {}", super::units::show_bytes(max)));
    }
    Ok(bytes)
}

/// Reads a TOML file; syntax errors go to `problems`.
pub(super) fn read(path: &Path, problems: &mut Problems) -> Option<Document> {
    let whole = Place::file(path);
    let text = match read_bounded(path, MAX_BYTES) {
        Ok(bytes) => String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned()),
        Err(why) => Err(why),
    };
    match text {
        Ok(text) => Some(parse(&whole.file, &text, problems)),
        Err(why) => {
            problems.push(&whole, "", format!("cannot be read: {why}"), "check the path and its permissions");
            None
        }
    }
}

pub(super) fn parse(file: &Arc<Path>, text: &str, problems: &mut Problems) -> Document {
    let lines = Lines::new(file, text);
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in errors.iter().take(MAX_SYNTAX_ERRORS) {
        let at = lines.place(error.span());
        let line = text.lines().nth((at.line as usize).saturating_sub(1)).unwrap_or_default();
        let shown: String = without_passwords(line.trim()).chars().take(120).collect();
        problems.push(&at, "", format!("TOML syntax: {}: {shown}", error.message()), "");
    }
    let at = Place { file: Arc::clone(file), line: 1, column: 1 };
    Document { root: Table { at, entries: lines.entries(root.get_ref()) }, complete: errors.is_empty() }
}

/// Removes user and password from URLs, for logs.
pub(super) fn without_passwords(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("://") {
        shown.push_str(before);
        shown.push_str("://");
        let end =
            after.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '/')).unwrap_or(after.len());
        let (authority, behind) = after.split_at(end);
        match authority.rsplit_once('@') {
            Some((_, host)) => {
                shown.push_str("***@");
                shown.push_str(host);
            }
            None => shown.push_str(authority),
        }
        rest = behind;
    }
    shown.push_str(rest);
    shown
}

/// Converts offsets to lines and columns.
struct Lines<'a> {
    file: &'a Arc<Path>,
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn new(file: &'a Arc<Path>, text: &'a str) -> Lines<'a> {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Lines { file, text, starts }
    }

    fn place(&self, span: Option<Range<usize>>) -> Place {
        let offset = span.map_or(0, |span| span.start).min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset).max(1);
        let start = self.starts.get(line - 1).copied().unwrap_or(0);
        let column = self.text.get(start..offset).map_or(0, |before| before.chars().count()) + 1;
        let number = |n| u32::try_from(n).unwrap_or(u32::MAX);
        Place { file: Arc::clone(self.file), line: number(line), column: number(column) }
    }

    fn entries(&self, table: &DeTable<'_>) -> Vec<Entry> {
        let mut entries: Vec<Entry> = table
            .iter()
            .map(|(key, value)| Entry {
                key: key.get_ref().to_string(),
                key_at: self.place(Some(key.span())),
                value: self.value(value.get_ref(), value.span()),
                at: self.place(Some(value.span())),
            })
            .collect();
        entries.sort_by_key(|entry| (entry.key_at.line, entry.key_at.column));
        entries
    }

    fn value(&self, value: &DeValue<'_>, span: Range<usize>) -> Value {
        match value {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => {
                Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok())
            }
            DeValue::Float(number) => Value::Float(number.as_str().to_owned()),
            DeValue::Boolean(flag) => Value::Boolean(*flag),
            DeValue::Datetime(_) => Value::Datetime,
            DeValue::Array(items) => Value::Array(
                items
                    .iter()
                    .map(|item| (self.place(Some(item.span())), self.value(item.get_ref(), item.span())))
                    .collect(),
            ),
            DeValue::Table(table) => {
                Value::Table(Table { at: self.place(Some(span)), entries: self.entries(table) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_addresses_are_masked() {
        assert_eq!(
            without_passwords(r#"url = "rtsp://me:secret@10.0.0.1/live" x"#),
            r#"url = "rtsp://***@10.0.0.1/live" x"#
        );
        assert_eq!(without_passwords("mqtts://broker:8883"), "mqtts://broker:8883");
        assert_eq!(without_passwords("rtsp://a:p@s@h"), "rtsp://***@h");
    }
}
