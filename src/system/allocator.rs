//! How the C library hands out memory.

/// Keeps glibc's allocator small, for a process that lives for months.
///
/// Left to itself it gives every thread an arena of its own, up to eight a core (`mallopt(3)`, `M_ARENA_MAX`), and
/// raises the size from which memory is mapped alone to that of the largest block freed (`M_MMAP_THRESHOLD`). Each time
/// the camera opens, GStreamer starts new threads; their arenas and the holes that pictures left behind add up.
///
/// To be called before the first thread is started. Where the C library is not glibc nothing is to be done.
pub fn keep_small() {
    #[cfg(target_env = "gnu")]
    {
        const ARENAS: i32 = 2;
        /// A block of this many bytes or more is mapped alone, and goes back to the kernel when it is freed. Chunks are
        /// smaller: to map and clear each anew took a tenth of all the time.
        const LARGE: i32 = 1024 * 1024;
        for (parameter, value) in
            [(libc::M_ARENA_MAX, ARENAS), (libc::M_MMAP_THRESHOLD, LARGE), (libc::M_TRIM_THRESHOLD, LARGE)]
        {
            // SAFETY: sets a number within the allocator. One that it refuses (0) changes nothing.
            let _accepted = unsafe { libc::mallopt(parameter, value) };
        }
    }
}
