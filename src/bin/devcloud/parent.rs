//! Watches the process that started this one: a cloud that a test or a shell left behind would run for ever.

use nix::sys::signal::{Signal, raise};
use nix::unistd::getppid;
use std::time::Duration;

/// Between two checks.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);

/// Sends this process SIGTERM once the process that started it has ended.
///
/// `PR_SET_PDEATHSIG` would send it already when the *thread* that started us ends, and the threads of a test end before the
/// test. The parent changes only with the process.
pub(crate) async fn stop_when_it_ends() {
    let parent = getppid();
    while getppid() == parent {
        tokio::time::sleep(CHECK_INTERVAL).await;
    }
    let _we_end_by_it = raise(Signal::SIGTERM);
}
