//! Whether anybody opened a file, as the kernel saw it (inotify(7)).

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub struct Watched {
    inotify: OwnedFd,
}

impl Watched {
    /// From here on, whoever opens `path` is counted.
    pub fn new(path: &Path) -> Watched {
        let name = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: plain system calls; the descriptor is new and nobody else's.
        let inotify = unsafe {
            let fd = libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC);
            assert!(fd >= 0, "{}", std::io::Error::last_os_error());
            let inotify = OwnedFd::from_raw_fd(fd);
            assert!(libc::inotify_add_watch(fd, name.as_ptr(), libc::IN_OPEN) >= 0);
            inotify
        };
        Watched { inotify }
    }

    /// Whether it was opened since the last call.
    pub fn was_opened(&self) -> bool {
        let mut events = [0_u8; 4096];
        // SAFETY: the buffer is ours and as long as we say.
        let read = unsafe {
            libc::read(self.inotify.as_raw_fd(), events.as_mut_ptr().cast::<libc::c_void>(), events.len())
        };
        read > 0
    }
}
