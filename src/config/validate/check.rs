//! The settings that are checked, and what all sections need.

use crate::config::material::{self, Examined};
use crate::config::problem::{Place, Problems};
use crate::config::sections::VerifyingKey;
use crate::config::settings::Merged;
use crate::config::surroundings::Surroundings;
use std::path::PathBuf;

/// Checks settings; problems are collected.
pub(super) struct Check<'a> {
    pub(super) merged: &'a Merged,
    pub(super) around: &'a Surroundings,
    pub(super) problems: &'a mut Problems,
}

impl<'a> Check<'a> {
    pub(super) fn path(&mut self, key: &str) -> Option<(PathBuf, &'a Place)> {
        let (text, at) = self.merged.text(key)?;
        match self.around.resolve(text, at) {
            Ok(path) => Some((path, at)),
            Err(why) => {
                self.problems.push(at, key, why, "");
                None
            }
        }
    }

    pub(super) fn authorities(&mut self, key: &str) -> Option<PathBuf> {
        let (path, at) = self.path(key)?;
        material::authorities(&Examined { at, key, path: &path }, self.problems);
        Some(path)
    }

    /// The public keys that may sign commands of one kind.
    pub(super) fn signers(&mut self, key: &str) -> Vec<VerifyingKey> {
        let mut paths = Vec::new();
        for (at, text) in self.merged.paths(key) {
            match self.around.resolve(text, at) {
                Ok(path) => paths.push((at, path)),
                Err(why) => self.problems.push(at, key, why, ""),
            }
        }
        let examined: Vec<Examined<'_>> = paths.iter().map(|(at, path)| Examined { at, key, path }).collect();
        material::verifying_keys(&examined, self.problems)
    }
}
