//! Whoever started us: a cloud that a test or a shell has left behind would run for ever.

use nix::sys::signal::{Signal, raise};
use nix::unistd::getppid;
use std::time::Duration;

/// How often we look.
const LOOK: Duration = Duration::from_millis(250);

/// Asks us to stop, as SIGTERM does, once the process that started us has ended.
///
/// The kernel's own signal (`PR_SET_PDEATHSIG`) would come when the *thread* that started us ends, and
/// the threads of a test end before the test does; a change of parent is about the process.
pub(crate) async fn stop_when_it_ends() {
    let parent = getppid();
    while getppid() == parent {
        tokio::time::sleep(LOOK).await;
    }
    let _we_end_by_it = raise(Signal::SIGTERM);
}
