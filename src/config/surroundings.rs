//! The environment of a configuration: user, credentials of systemd, working directory.

use super::problem::Place;
use std::path::{Path, PathBuf};

/// The environment in which a configuration is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surroundings {
    /// The user of this process: secrets must belong to it or to root.
    pub user: u32,
    /// `$CREDENTIALS_DIRECTORY`, where systemd puts credentials.
    pub credentials_directory: Option<PathBuf>,
    /// Base of relative paths from the command line.
    pub working_directory: PathBuf,
}

impl Surroundings {
    /// The environment of this process.
    #[must_use]
    pub fn here() -> Surroundings {
        Surroundings {
            user: nix::unistd::geteuid().as_raw(),
            credentials_directory: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            working_directory: std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        }
    }

    /// Resolves a path against the folder of its file.
    pub(super) fn resolve(&self, text: &str, at: &Place) -> Result<PathBuf, String> {
        let credential = text
            .strip_prefix("$CREDENTIALS_DIRECTORY/")
            .or_else(|| text.strip_prefix("${CREDENTIALS_DIRECTORY}/"));
        if let Some(rest) = credential {
            let folder = self.credentials_directory.as_ref();
            return folder.map(|folder| folder.join(rest)).ok_or(
                "$CREDENTIALS_DIRECTORY is not set: systemd sets it for a unit with LoadCredential="
                    .to_owned(),
            );
        }
        if text.starts_with(['$', '~']) {
            return Err("the only variable in a path is $CREDENTIALS_DIRECTORY/, at its start".to_owned());
        }
        let folder = at.file.parent().unwrap_or(Path::new(""));
        // Joining an absolute path replaces the folder.
        let joined = folder.join(text);
        Ok(if joined.is_absolute() { joined } else { self.working_directory.join(joined) })
    }
}
