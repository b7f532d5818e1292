//! The one way to write a whole small file.

use super::Fs;
use std::io;
use std::path::Path;

/// Makes `dir/name` hold exactly `bytes`, whatever happens: before it returns `Ok`, a power cut
/// leaves the old file or the new one; afterwards the new one.
///
/// 1. `name.tmp` is created, 0600. One that a cut left behind was never acknowledged: it is removed.
/// 2. The bytes are written, and synced. Should that fail, nothing is known of them: the temporary
///    file is removed, and the error returned.
/// 3. It is renamed to `name`, which replaces the old file at one stroke.
/// 4. The directory is synced. Should that fail, either file may come back after a cut: the caller
///    must not act as though the new one were durable, and may publish again.
///
/// What opening finds after a cut: between 1 and 3 a `name.tmp` beside the old file, which whoever
/// owns the directory removes ([`is_temporary`]); after 3 either file under `name`, both whole.
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
        // Best effort: a temporary file that stays is removed by the next publish.
        let _ = fs.unlink(&temporary);
        return Err(error);
    }
    fs.sync_dir(dir).map_err(step("syncing the directory of"))
}

/// Whether a name is that of a file that [`publish`] had not finished.
#[must_use]
pub fn is_temporary(name: &str) -> bool {
    name.ends_with(".tmp")
}
