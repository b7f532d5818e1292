//! What systemd is told (`sd_notify(3)`), and the watchdog.
//!
//! The watchdog is fed by progress: by a turn of the agent's loop that finds the spool thread alive,
//! never by a timer of its own. A loop that hangs, or a spool stuck in the kernel, starves it.

use crate::domain::time::Mono;
use sd_notify::NotifyState;
use std::time::Duration;

/// The way to systemd; says nothing where `NOTIFY_SOCKET` is not set.
#[derive(Debug)]
pub struct Notifier {
    /// Half of `WatchdogSec`, if there is one.
    feed_every: Option<Duration>,
    fed_at: Mono,
    status: String,
}

impl Notifier {
    /// Takes the watchdog's timeout from the environment; `now` counts as its first feeding.
    #[must_use]
    pub fn new(now: Mono) -> Notifier {
        Notifier { feed_every: watchdog().map(|timeout| timeout / 2), fed_at: now, status: String::new() }
    }

    /// Sends `READY=1`: the start is over.
    pub fn ready(&self) {
        send(&[NotifyState::Ready]);
    }

    /// Sends `STOPPING=1`: an ordered stop began.
    pub fn stopping(&self) {
        send(&[NotifyState::Stopping]);
    }

    /// Sends `STATUS=` where it differs from the last one.
    pub fn status(&mut self, status: String) {
        if self.status != status {
            send(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }

    /// When the loop must turn at the latest for the watchdog to be fed in time.
    #[must_use]
    pub fn due(&self) -> Option<Mono> {
        self.feed_every.map(|every| self.fed_at + every)
    }

    /// The loop turned, and the spool thread last turned at `spool`.
    pub fn progress(&mut self, now: Mono, spool: Mono) {
        let Some(every) = self.feed_every else { return };
        if now >= self.fed_at + every && now.since(spool) < every.saturating_mul(2) {
            self.fed_at = now;
            send(&[NotifyState::Watchdog]);
        }
    }
}

/// `WATCHDOG_USEC`, if it is meant for this process.
fn watchdog() -> Option<Duration> {
    let for_us = std::env::var("WATCHDOG_PID").ok().is_none_or(|pid| pid == std::process::id().to_string());
    let micros = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (for_us && micros > 0).then(|| Duration::from_micros(micros))
}

fn send(states: &[NotifyState<'_>]) {
    // Without systemd there is nobody to tell, and nothing that we could do about a failure.
    let _nobody_listens = sd_notify::notify(states);
}
