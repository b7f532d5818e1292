//! Reads one value of a file: its type, its range, its words. Pure.

use super::file::Value;
use super::frame_rate::FrameRate;
use super::nearest::choices_hint;
use super::problem::Place;
use super::schema::ValueKind;
use super::settings::Scalar;
use super::units;
use std::sync::Arc;
use std::time::Duration;

/// Maximum number of paths, as in `entitlement.keys`.
const MAX_PATHS: usize = 16;
/// Maximum bytes of a text or a path.
const MAX_TEXT: usize = 1024;
/// Maximum bytes of a pipeline's description.
const MAX_DESCRIPTION: usize = 4096;
/// The word for a duration without limit.
const FOREVER: &str = "forever";

/// What is wrong, and a hint.
pub(super) type Refusal = (String, String);

/// The default of a key, as it would stand in a file.
pub(super) fn default(kind: ValueKind, text: &str) -> Value {
    if let ValueKind::Flag = kind {
        Value::Boolean(text == "true")
    } else if let ValueKind::Number { .. } = kind {
        Value::Integer(text.parse().ok())
    } else {
        Value::Text(text.to_owned())
    }
}

/// Reads a value of this kind.
///
/// # Errors
/// It has another type, is out of range, or is none of the words.
pub(super) fn read(kind: ValueKind, value: &Value) -> Result<Scalar, Refusal> {
    let read = match kind {
        ValueKind::Text | ValueKind::Path => text_of(value).map(text),
        ValueKind::Paths => {
            if let Value::Array(items) = value {
                Some(paths(items))
            } else {
                None
            }
        }
        ValueKind::Description => text_of(value).map(description),
        ValueKind::FrameRate => frame_rate(value),
        ValueKind::Flag => {
            if let Value::Boolean(flag) = value {
                Some(Ok(Scalar::Flag(*flag)))
            } else {
                None
            }
        }
        ValueKind::Number { min, max } => {
            integer_of(value).map(|number| within(number, min, max, |n| n.to_string()).map(Scalar::Number))
        }
        ValueKind::Duration { min, max } => text_of(value).map(|text| duration(text, min, max)),
        ValueKind::DurationOrForever { min, max } => text_of(value).map(|text| match text {
            FOREVER => Ok(Scalar::Text(text.to_owned())),
            other => duration(other, min, max),
        }),
        ValueKind::Bytes { min, max } => bytes(value, min, max),
        ValueKind::Rate { min, max } => text_of(value).map(|text| rate(text, min, max)),
        ValueKind::Choice(choices) => text_of(value).map(|text| choice(text, choices)),
        // Their values are tables.
        ValueKind::Properties | ValueKind::OneOf(_) | ValueKind::Tagged(_) | ValueKind::Tables(_) => None,
    };
    let wrong_type = || (format!("is {}, but must be {}", value.kind(), expected(kind)), String::new());
    read.unwrap_or_else(|| Err(wrong_type()))
}

fn text_of(value: &Value) -> Option<&str> {
    if let Value::Text(text) = value { Some(text) } else { None }
}

/// A whole number; `Some(None)` if it is negative or too large.
fn integer_of(value: &Value) -> Option<Option<u64>> {
    let Value::Integer(number) = value else { return None };
    Some(number.and_then(|number| u64::try_from(number).ok()))
}

fn text(text: &str) -> Result<Scalar, Refusal> {
    if text.is_empty() {
        return Err(("is empty".to_owned(), String::new()));
    }
    if text.len() > MAX_TEXT || text.chars().any(char::is_control) {
        return Err((format!("is longer than {MAX_TEXT} bytes or has a control character"), String::new()));
    }
    Ok(Scalar::Text(text.to_owned()))
}

/// It may stand on several lines.
fn description(text: &str) -> Result<Scalar, Refusal> {
    if text.trim().is_empty() {
        return Err(("is empty".to_owned(), String::new()));
    }
    if text.len() > MAX_DESCRIPTION || text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        let problem = format!("is longer than {MAX_DESCRIPTION} bytes or has a control character");
        return Err((problem, String::new()));
    }
    Ok(Scalar::Text(text.to_owned()))
}

fn frame_rate(value: &Value) -> Option<Result<Scalar, Refusal>> {
    let rate = match value {
        Value::Integer(Some(number)) => FrameRate::parse(&number.to_string()),
        Value::Float(text) | Value::Text(text) => FrameRate::parse(text),
        Value::Integer(None) | Value::Boolean(_) | Value::Datetime | Value::Array(_) | Value::Table(_) => {
            return None;
        }
    };
    let hint = || String::from("write it like 15, 12.5, 29.97 or \"30000/1001\"");
    Some(rate.map(Scalar::Rate).map_err(|why| (why, hint())))
}

fn duration(text: &str, min: Duration, max: Duration) -> Result<Scalar, Refusal> {
    let duration = unit(text, units::duration(text), "\"30s\", \"500ms\" or \"2m30s\"")?;
    within(Some(duration), min, max, units::show_duration).map(Scalar::Duration)
}

fn bytes(value: &Value, min: u64, max: u64) -> Option<Result<Scalar, Refusal>> {
    let bytes = match text_of(value) {
        Some(text) => unit(text, units::bytes(text), "\"2 GiB\" or \"1500 kB\"").map(Some),
        None => Ok(integer_of(value)?),
    };
    Some(bytes.and_then(|bytes| within(bytes, min, max, units::show_bytes).map(Scalar::Number)))
}

fn rate(text: &str, min: u64, max: u64) -> Result<Scalar, Refusal> {
    let rate = unit(text, units::rate(text), "\"8 Mbit/s\" or \"500 kbit/s\"")?;
    within(Some(rate), min, max, units::show_rate).map(Scalar::Number)
}

fn choice(text: &str, choices: &[&str]) -> Result<Scalar, Refusal> {
    if choices.contains(&text) {
        return Ok(Scalar::Text(text.to_owned()));
    }
    Err((format!("\"{text}\" is not one of its values"), choices_hint(text, choices.iter().copied())))
}

/// A number with its unit; `like`: examples.
fn unit<T>(text: &str, read: Result<T, String>, like: &str) -> Result<T, Refusal> {
    read.map_err(|why| (format!("\"{text}\" {why}"), format!("write it like {like}")))
}

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

fn paths(items: &[(Place, Value)]) -> Result<Scalar, Refusal> {
    let mut paths = Vec::new();
    for (at, item) in items {
        let Some(text) = text_of(item).filter(|text| !text.is_empty()) else {
            return Err(("must contain paths only".to_owned(), String::new()));
        };
        paths.push((Place { file: Arc::clone(&at.file), ..*at }, text.to_owned()));
    }
    if paths.is_empty() || paths.len() > MAX_PATHS {
        return Err((
            format!("must contain 1 to {MAX_PATHS} paths, and contains {}", paths.len()),
            String::new(),
        ));
    }
    Ok(Scalar::Paths(paths))
}

/// What a value of this kind is, for people.
pub(super) fn expected(kind: ValueKind) -> &'static str {
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
