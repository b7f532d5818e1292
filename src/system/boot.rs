//! Which boot this is, and which build.

use crate::domain::time::Utc;

/// `/proc/sys/kernel/random/boot_id`: a UUID that the kernel draws anew at each boot.
///
/// # Errors
/// Where `/proc` is not mounted. Footage could not be told from that of another boot then.
pub fn id() -> Result<String, String> {
    let path = "/proc/sys/kernel/random/boot_id";
    let text = std::fs::read_to_string(path).map_err(|e| format!("{path}: {e} (is /proc mounted?)"))?;
    Ok(text.trim().to_owned())
}

/// When this program was built, as `build.rs` wrote it down: no later time can be before it.
#[must_use]
pub fn build_time() -> Utc {
    Utc::from_secs(env!("KASACAM_BUILD_TIME").parse().unwrap_or(0))
}

/// Ends the process without a word to anybody; the kernel closes what it had open. No core is dumped, as `abort` would:
/// there are pictures in memory.
pub fn end_at_once() -> ! {
    // SAFETY: it does not return, and so leaves nothing behind that could be used.
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
