//! `properties = { … }`: properties of an element that have no key in the board file.
//!
//! Only the element knows its properties and their values: `kasacamd check` verifies them.

use super::file::{Table, Value};
use super::problem::{Place, Problems};
use std::fmt;

/// Maximum number of properties of one element.
const MAX_PROPERTIES: usize = 32;
/// Maximum bytes of a name.
const MAX_NAME: usize = 64;
/// Maximum bytes of a value.
const MAX_VALUE: usize = 1024;
/// Properties that have their own key, or that the agent needs.
const RESERVED: &[&str] = &[
    "name",
    "parent",
    "device",
    "location",
    "camera-name",
    "protocols",
    "user-id",
    "user-pw",
    "tls-database",
    "tls-interaction",
    "tls-validation-flags",
];

/// One property of an element. Debug output does not show its value, which may be a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Property {
    /// As `gst-inspect-1.0` shows it, such as `io-mode`.
    pub name: String,
    /// In the syntax of `gst-launch-1.0`.
    pub value: String,
}

impl fmt::Debug for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=…", self.name)
    }
}

/// Reads a table of properties, and reports their problems.
pub(super) fn read(key: &str, table: &Table, at: &Place, problems: &mut Problems) -> Option<Vec<Property>> {
    let before = problems.len();
    if table.entries.len() > MAX_PROPERTIES {
        problems.push(at, key, format!("has more than {MAX_PROPERTIES} properties"), "");
        return None;
    }
    let mut properties = Vec::new();
    for entry in &table.entries {
        let full = format!("{key}.{}", entry.key);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !(1..=MAX_NAME).contains(&entry.key.len()) || !entry.key.bytes().all(plain) {
            let problem = format!("must be 1 to {MAX_NAME} of A-Z a-z 0-9 - _");
            problems.push(&entry.key_at, key, problem, "gst-inspect-1.0 ELEMENT lists them");
            continue;
        }
        if RESERVED.contains(&entry.key.as_str()) {
            let hint = "the board file has a key for it, or the agent needs it";
            problems.push(&entry.key_at, &full, "cannot be set here", hint);
            continue;
        }
        let value = match &entry.value {
            Value::Text(text) if text.len() <= MAX_VALUE && !text.chars().any(char::is_control) => {
                text.clone()
            }
            Value::Integer(Some(number)) => number.to_string(),
            Value::Float(number) => number.clone(),
            Value::Boolean(flag) => flag.to_string(),
            Value::Text(_) => {
                let problem = format!("is longer than {MAX_VALUE} bytes or has a control character");
                problems.push(&entry.at, &full, problem, "");
                continue;
            }
            other @ (Value::Integer(None) | Value::Datetime | Value::Array(_) | Value::Table(_)) => {
                let problem = format!("is {}, but must be text, a number, true or false", other.kind());
                problems.push(&entry.at, &full, problem, "caps and structures are written as text");
                continue;
            }
        };
        properties.push(Property { name: entry.key.clone(), value });
    }
    (problems.len() == before).then_some(properties)
}
