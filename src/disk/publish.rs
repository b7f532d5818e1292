//! The only way to write a whole small file.

use super::fs::Fs;
use std::io;
use std::path::Path;

/// Makes `dir/name` contain exactly `bytes`, whatever happens: before it returns `Ok`, a power cut leaves the
/// old file or the new one; afterwards the new one.
///
/// 1. `name.tmp` is created, 0600. One that a power cut left behind was never acknowledged: it is removed.
/// 2. The bytes are written and synced. If this fails, their state is unknown: the temporary file is removed,
///    and the error returned.
/// 3. It is renamed to `name`, which replaces the old file atomically.
/// 4. The directory is synced. If this fails, either file may appear after a power cut: the caller must not
///    treat the new one as durable, and may publish again.
///
/// What opening finds after a power cut: between 1 and 3 a `name.tmp` beside the old file, which the owner of
/// the directory removes ([`is_temporary`]); after 3 either file under `name`, both whole.
///
/// # Errors
/// Those of [`Fs`], with the step that failed.
pub fn publish(fs: &dyn Fs, dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let path = dir.join(name);
    let temporary = dir.join(format!("{name}.tmp"));
    let step = |what: &'static str| {
        let path = path.clone();
        move |error: io::Error| io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()))
    };

    let file = match fs.create_new(&temporary) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs.unlink(&temporary).map_err(step("clearing the way for"))?;
            fs.create_new(&temporary)
        }
        other => other,
    }
    .map_err(step("creating"))?;

    let written = fs
        .write_at(&file, 0, bytes)
        .map_err(step("writing"))
        .and_then(|()| fs.sync(&file).map_err(step("syncing")))
        .and_then(|()| fs.rename(&temporary, &path).map_err(step("renaming")));
    if let Err(error) = written {
        // Best effort: a temporary file that remains is removed by the next publish.
        let _ = fs.unlink(&temporary);
        return Err(error);
    }
    fs.sync_dir(dir).map_err(step("syncing the directory of"))
}

/// Whether a name is that of a file that [`publish`] did not finish.
#[must_use]
pub fn is_temporary(name: &str) -> bool {
    name.ends_with(".tmp")
}
