//! Programs that never outlive this one: the kernel ends them if it is killed.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::{Child, Command};

/// A running program. It is killed when this is dropped.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
}

impl Process {
    /// Starts `command`. Call this on the main thread: the kernel ends the child when the thread that started it ends.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(name: &'static str, mut command: Command) -> Result<Process, String> {
        let parent = nix::unistd::getpid();
        // Ctrl-C in a terminal goes to a whole process group: in other groups, the children end in our order.
        command.kill_on_drop(true).process_group(0);
        // SAFETY: between fork and exec only `prctl` and `getppid` are called. Both are async-signal-safe, and nothing is
        // allocated.
        unsafe {
            command.pre_exec(move || {
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                    return Err(std::io::Error::last_os_error());
                }
                // This process may have been killed before the line above.
                if nix::unistd::getppid() != parent {
                    return Err(std::io::Error::from_raw_os_error(libc::ECHILD));
                }
                Ok(())
            });
        }
        let child = command.spawn().map_err(|e| format!("{name} cannot be started: {e}"))?;
        Ok(Process { name, child })
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits for its end.
    pub(crate) async fn wait(&mut self) -> Option<ExitStatus> {
        self.child.wait().await.ok()
    }

    /// Sends SIGTERM and waits for the end; kills the program after `within`.
    ///
    /// # Errors
    /// It had to be killed.
    pub(crate) async fn stop(&mut self, within: Duration) -> Result<ExitStatus, String> {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            let _already_gone = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        match tokio::time::timeout(within, self.child.wait()).await {
            Ok(ended) => ended.map_err(|e| format!("{}: {e}", self.name)),
            Err(_) => {
                let _already_gone = self.child.kill().await;
                Err(format!("{} did not end within {within:?} after SIGTERM and was killed", self.name))
            }
        }
    }
}
