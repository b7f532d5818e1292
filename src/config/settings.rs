//! The settings of both files under their full keys.

use super::frame_rate::FrameRate;
use super::problem::Place;
use super::properties::Property;
use super::words::Word;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Every setting of both files under its full key, such as `recording.segment`.
#[derive(Default)]
pub(super) struct Merged {
    pub(super) settings: BTreeMap<String, Setting>,
    /// Keys with invalid values: they were reported, and are not reported as missing.
    pub(super) bad: BTreeSet<String>,
}

/// A value and its place.
#[derive(Clone)]
pub(super) struct Setting {
    pub(super) at: Place,
    pub(super) value: Scalar,
}

/// A value of any type.
#[derive(Clone)]
pub(super) enum Scalar {
    Text(String),
    Flag(bool),
    Number(u64),
    Duration(Duration),
    Paths(Vec<(Place, String)>),
    Rate(FrameRate),
    Properties(Vec<Property>),
}

/// A value and its place; for a default, the place of its section.
pub(super) type Placed<'a, T> = (T, &'a Place);

impl Merged {
    fn value(&self, key: &str) -> Option<Placed<'_, &Scalar>> {
        self.settings.get(key).map(|setting| (&setting.value, &setting.at))
    }

    pub(super) fn text(&self, key: &str) -> Option<Placed<'_, &str>> {
        let (value, at) = self.value(key)?;
        if let Scalar::Text(text) = value { Some((text.as_str(), at)) } else { None }
    }

    /// The value of a key whose words are those of `T`.
    pub(super) fn word<T: Word>(&self, key: &str) -> Option<Placed<'_, T>> {
        self.text(key).and_then(|(text, at)| Some((T::of(text)?, at)))
    }

    pub(super) fn flag(&self, key: &str) -> Option<Placed<'_, bool>> {
        let (value, at) = self.value(key)?;
        if let Scalar::Flag(flag) = value { Some((*flag, at)) } else { None }
    }

    /// A number, a size in bytes, or a rate in bits a second.
    pub(super) fn number(&self, key: &str) -> Option<Placed<'_, u64>> {
        let (value, at) = self.value(key)?;
        if let Scalar::Number(number) = value { Some((*number, at)) } else { None }
    }

    pub(super) fn duration(&self, key: &str) -> Option<Placed<'_, Duration>> {
        let (value, at) = self.value(key)?;
        if let Scalar::Duration(duration) = value { Some((*duration, at)) } else { None }
    }

    pub(super) fn frame_rate(&self, key: &str) -> Option<Placed<'_, FrameRate>> {
        let (value, at) = self.value(key)?;
        if let Scalar::Rate(rate) = value { Some((*rate, at)) } else { None }
    }

    /// Empty if the key is missing.
    pub(super) fn paths(&self, key: &str) -> &[(Place, String)] {
        if let Some((Scalar::Paths(paths), _)) = self.value(key) { paths } else { &[] }
    }

    /// Empty if the key is missing.
    pub(super) fn properties(&self, key: &str) -> &[Property] {
        if let Some((Scalar::Properties(properties), _)) = self.value(key) { properties } else { &[] }
    }

    /// Whether the key is in a file with an invalid value.
    pub(super) fn is_bad(&self, key: &str) -> bool {
        self.bad.contains(key)
    }

    /// The settings below `part`, overridden by those below `over`. Keys below `part` for which `dropped` is true are left
    /// out.
    pub(super) fn overlaid(&self, part: &str, over: &str, dropped: impl Fn(&str) -> bool) -> Merged {
        let mut laid = Merged::default();
        for (key, setting) in &self.settings {
            let below = |of: &str| key.strip_prefix(of).and_then(|rest| rest.strip_prefix('.'));
            if let Some(own) = below(over) {
                laid.settings.insert(format!("{part}.{own}"), setting.clone());
            } else if below(part).is_some_and(|own| !dropped(own)) {
                laid.settings.entry(key.clone()).or_insert_with(|| setting.clone());
            }
        }
        for key in &self.bad {
            let own = key.strip_prefix(over).and_then(|rest| rest.strip_prefix('.'));
            laid.bad.insert(own.map_or_else(|| key.clone(), |own| format!("{part}.{own}")));
        }
        laid
    }

    /// Moves a value to another key.
    pub(super) fn rename(&mut self, from: &str, to: &str) {
        if let Some(setting) = self.settings.remove(from) {
            self.settings.insert(to.to_owned(), setting);
        }
    }

    /// Whether there is any key below this one.
    pub(super) fn has_below(&self, key: &str) -> bool {
        let below = |known: &String| known.strip_prefix(key).is_some_and(|rest| rest.starts_with('.'));
        self.settings.keys().any(below) || self.bad.iter().any(below)
    }
}
