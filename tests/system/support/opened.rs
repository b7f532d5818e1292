//! Whether any process opened a file, as the kernel saw it (inotify(7)).

use super::played::make;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

pub struct Watched {
    inotify: OwnedFd,
}

impl Watched {
    /// From now on, opens of `path` are counted.
    pub fn new(path: &Path) -> Watched {
        let name = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
        Watched::all(&[(&name, libc::IN_OPEN)])
    }

    /// When the first is closed and the second is written: both in one queue, so that the kernel gives their
    /// order.
    pub fn closed_and_written(closed: &Path, written: &Path) -> Watched {
        let name = |path: &Path| std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
        Watched::all(&[(&name(closed), libc::IN_CLOSE), (&name(written), libc::IN_MODIFY)])
    }

    fn all(files: &[(&std::ffi::CStr, u32)]) -> Watched {
        // SAFETY: plain system calls; the descriptor is new and used nowhere else.
        let inotify = unsafe {
            let fd = libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC);
            assert!(fd >= 0, "{}", std::io::Error::last_os_error());
            let inotify = OwnedFd::from_raw_fd(fd);
            for (name, what) in files {
                assert!(libc::inotify_add_watch(fd, name.as_ptr(), *what) >= 0);
            }
            inotify
        };
        Watched { inotify }
    }

    /// What happened since the last call, in order: `'c'` for a file that was closed, `'w'` for one that was written.
    pub fn happened(&self) -> String {
        let mut bytes = [0_u8; 65_536];
        // SAFETY: the buffer is ours and has the given length.
        let read = unsafe {
            libc::read(self.inotify.as_raw_fd(), bytes.as_mut_ptr().cast::<libc::c_void>(), bytes.len())
        };
        // inotify_event without a name: watch, mask, cookie and length, of 4 bytes each.
        let events = bytes[..usize::try_from(read).unwrap_or(0)].chunks_exact(16);
        events
            .map(|event| match u32::from_ne_bytes(event[4..8].try_into().unwrap()) & libc::IN_MODIFY {
                0 => 'c',
                _ => 'w',
            })
            .collect()
    }

    /// A clip that a camera can use as its device, so that the kernel reports who opens it.
    pub fn device(dir: &Path) -> (PathBuf, Watched) {
        let clip = dir.join("device.mp4");
        let source = "testsrc=size=320x180:rate=15:duration=60";
        let arguments =
            ["-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264", "-preset", "ultrafast"];
        let more = ["-g", "15", "-pix_fmt", "yuv420p", clip.to_str().unwrap()];
        make("ffmpeg", &[&arguments[..], &more[..]].concat(), &clip);
        let watched = Watched::new(&clip);
        (clip, watched)
    }

    /// Whether it was opened since the last call.
    pub fn was_opened(&self) -> bool {
        let mut events = [0_u8; 4096];
        // SAFETY: the buffer is ours and has the given length.
        let read = unsafe {
            libc::read(self.inotify.as_raw_fd(), events.as_mut_ptr().cast::<libc::c_void>(), events.len())
        };
        read > 0
    }
}
