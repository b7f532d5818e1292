//! Files with a secret: their owner, and who else can read them. One rule for all, at the start and whenever one is read
//! again.

use super::surroundings::Surroundings;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Why a file is not protected, and what to do. The content of the file is not quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unguarded {
    /// For people.
    pub problem: String,
    /// A command.
    pub hint: String,
}

impl std::fmt::Display for Unguarded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.problem, self.hint)
    }
}

/// Checks the file at `path`, which the configuration's `key` names, with [`guarded`].
///
/// # Errors
/// Why it cannot be read, or why it is not protected, in one line.
pub fn check(key: &str, path: &Path, around: &Surroundings) -> Result<(), String> {
    let at = path.display();
    let found = std::fs::metadata(path).map_err(|e| format!("{key}: {at}: cannot be read: {}", e.kind()))?;
    guarded(path, &found, around).map_err(|why| format!("{key}: {at}: {why}"))
}

/// A secret must belong to our user or to root, and no one else may read or write it: mode 600 or stricter. systemd gives a
/// service access to its credentials by an access list, whose mask is shown as the group's bits: so below
/// `$CREDENTIALS_DIRECTORY` only the bits of others are checked.
///
/// # Errors
/// Why the file at `path`, with the metadata `found`, is not protected.
pub fn guarded(path: &Path, found: &Metadata, around: &Surroundings) -> Result<(), Unguarded> {
    let (mode, owner, us) = (found.mode(), found.uid(), around.user);
    let is_credential = around.credentials_directory.as_ref().is_some_and(|folder| path.starts_with(folder));
    let forbidden = if is_credential { 0o007 } else { 0o077 };
    if mode & forbidden != 0 {
        return Err(Unguarded {
            problem: format!("can be read or written by others (mode {:03o})", mode & 0o777),
            hint: format!("chmod 600 {}, and issue a new one if it was exposed", path.display()),
        });
    }
    if owner != us && owner != 0 {
        return Err(Unguarded {
            problem: format!("belongs to user {owner}, not to us (user {us}) or root"),
            hint: format!("chown {us} {}", path.display()),
        });
    }
    Ok(())
}
