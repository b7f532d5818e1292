//! A memory card of the test's own: an ext4 file system in a file, which can be removed and put back.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Removed and released when it is dropped.
pub struct Card {
    at: PathBuf,
    device: String,
}

fn run(program: &str, arguments: &[&str]) -> Option<Output> {
    Command::new(program).args(arguments).output().ok().filter(|done| done.status.success())
}

impl Card {
    /// Creates one of 256 MiB in the file `image`, and mounts it at `at`; `None` if nothing can be mounted
    /// here.
    pub fn insert(image: &Path, at: &Path) -> Option<Card> {
        std::fs::File::create(image).unwrap().set_len(256 << 20).unwrap();
        run("mkfs.ext4", &["-q", "-F", image.to_str()?])?;
        let device = run("losetup", &["--find", "--show", image.to_str()?])?;
        let device = String::from_utf8(device.stdout).unwrap().trim().to_owned();
        std::fs::create_dir_all(at).unwrap();
        std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o700)).unwrap();
        let card = Card { at: at.to_owned(), device };
        card.mount().then(|| {
            std::fs::set_permissions(at, std::fs::Permissions::from_mode(0o700)).unwrap();
            card
        })
    }

    fn mount(&self) -> bool {
        run("mount", &["-t", "ext4", &self.device, self.at.to_str().unwrap()]).is_some()
    }

    /// Detaches it from its mount point at once: processes keep their open files on it.
    pub fn pull(&self) {
        assert!(run("umount", &["--lazy", self.at.to_str().unwrap()]).is_some());
    }

    pub fn put_back(&self) {
        assert!(self.mount(), "the card cannot be put back");
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        // Lazily, in case a camera that failed its test still uses it.
        let _unmounted = Command::new("umount").arg("--lazy").arg(&self.at).output();
        let _let_go = Command::new("losetup").args(["--detach", &self.device]).output();
    }
}
