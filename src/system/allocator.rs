//! The memory allocator of the C library.

/// Keeps glibc's allocator small, for a process that runs for months.
///
/// By default it gives every thread its own arena, up to eight per core (`mallopt(3)`, `M_ARENA_MAX`), and
/// raises the size from which memory is mapped separately to that of the largest block freed
/// (`M_MMAP_THRESHOLD`). Each time the camera opens, GStreamer starts new threads; their arenas and the holes
/// that frames left behind add up.
///
/// To be called before the first thread is started. Does nothing if the C library is not glibc.
pub fn keep_small() {
    #[cfg(target_env = "gnu")]
    {
        const ARENAS: i32 = 2;
        /// A block of this many bytes or more is mapped separately, and is returned to the kernel when it is freed. Chunks
        /// are smaller: mapping and clearing each of them took a tenth of all the time.
        const LARGE: i32 = 1024 * 1024;
        for (parameter, value) in
            [(libc::M_ARENA_MAX, ARENAS), (libc::M_MMAP_THRESHOLD, LARGE), (libc::M_TRIM_THRESHOLD, LARGE)]
        {
            // SAFETY: sets a number inside the allocator. A value that it refuses (result 0) changes nothing.
            let _accepted = unsafe { libc::mallopt(parameter, value) };
        }
    }
}
