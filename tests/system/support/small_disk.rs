//! A small file system of the test's own.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A small tmpfs, unmounted when it is dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts it at `at`; `None` if nothing can be mounted here.
    pub fn mount(at: &Path, options: &str) -> Option<SmallDisk> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(at).unwrap();
        let options = format!("mode=0700,{options}");
        let mut mount = Command::new("mount");
        let done = mount.args(["-t", "tmpfs", "-o", &options, "kasacam-test"]).arg(at).output().ok()?;
        done.status.success().then(|| SmallDisk(at.to_owned()))
    }

    /// Changes its options.
    pub fn remount(&self, options: &str) {
        let done =
            Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, in case a camera that failed its test still uses it.
        let _unmounted = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}
