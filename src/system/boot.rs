//! The id of this boot, and the time of this build.

use crate::domain::time::Utc;

/// `/proc/sys/kernel/random/boot_id`: a UUID that the kernel draws at each boot.
///
/// # Errors
/// If `/proc` is not mounted. Footage could then not be distinguished from that of another boot.
pub fn id() -> Result<String, String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e} (is /proc mounted?)"))?;
    Ok(text.trim().to_owned())
}

/// When this program was built, as recorded by `build.rs`: the present is never earlier.
#[must_use]
pub fn build_time() -> Utc {
    Utc::from_secs(env!("KASACAM_BUILD_TIME").parse().unwrap_or(0))
}

/// Ends the process at once, without notice; the kernel closes its files. Unlike `abort`, it dumps no core:
/// there are frames in memory.
pub fn end_at_once() -> ! {
    // SAFETY: it does not return, so nothing can be used afterwards.
    unsafe { libc::_exit(70) }
}

/// The peak resident set of this process, in KiB.
#[must_use]
pub fn peak_rss_kib() -> u64 {
    // SAFETY: `rusage` is plain data that the call fills in.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut usage);
        usage
    };
    u64::try_from(usage.ru_maxrss).unwrap_or(0)
}
