//! Notifications to systemd (`sd_notify(3)`), and the watchdog.
//!
//! The watchdog is fed by progress: by an iteration of the agent's loop, never by a timer of its own. A loop
//! that hangs no longer feeds it. Flash that collects its garbage may delay a sync for most of a minute, and
//! ending the process would not speed it up: so a spool thread that waits for the disk stops the feeding only
//! after [`MAX_STALL`].
//!
//! Nothing here waits: a service manager that does not read (its socket holds only a few datagrams) receives
//! less. What it did not receive is sent again later, the watchdog first, and the status at most once per
//! second.

use crate::domain::time::Mono;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// A spool thread that has made no progress for this long will not recover by itself.
pub const MAX_STALL: Duration = Duration::from_secs(600);
/// Minimum time between two status messages.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// The connection to systemd; does nothing if `NOTIFY_SOCKET` is not set.
#[derive(Debug)]
pub struct Notifier {
    /// Connected to the service manager, if there is one.
    socket: Option<UnixDatagram>,
    /// Half of `WatchdogSec`, if there is one.
    feed_every: Option<Duration>,
    fed_at: Mono,
    /// What was last sent, and when.
    status: String,
    told_at: Option<Mono>,
    /// `READY=1` was not received yet.
    owes_ready: bool,
}

impl Notifier {
    /// Reads socket and watchdog timeout from the environment; `now` counts as the first feeding.
    #[must_use]
    pub fn new(now: Mono) -> Notifier {
        let address = std::env::var("NOTIFY_SOCKET").ok();
        Notifier::to(address.as_deref(), watchdog().map(|timeout| timeout / 2), now)
    }

    fn to(address: Option<&str>, feed_every: Option<Duration>, now: Mono) -> Notifier {
        let socket = address.and_then(connected);
        Notifier { socket, feed_every, fed_at: now, status: String::new(), told_at: None, owes_ready: false }
    }

    /// Sends `READY=1`: the start is over. If it is not received, [`Notifier::progress`] sends it again.
    pub fn ready(&mut self) {
        self.owes_ready = !self.send("READY=1");
    }

    /// Sends `STOPPING=1`: an ordered stop has begun.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Whether somebody listens to whom a status could be told by now: else it need not be put together.
    #[must_use]
    pub fn takes_status(&self, now: Mono) -> bool {
        self.socket.is_some() && self.told_at.is_none_or(|at| now >= at + STATUS_INTERVAL)
    }

    /// Sends `STATUS=` if it differs from the last one.
    pub fn status(&mut self, status: String, now: Mono) {
        if self.status != status && self.takes_status(now) {
            self.told_at = Some(now);
            // A status must be one line; a second line would be another variable.
            if self.send(&format!("STATUS={}", status.replace('\n', " "))) {
                self.status = status;
            }
        }
    }

    /// When the loop must run at the latest, so that the watchdog is fed in time.
    #[must_use]
    pub fn due(&self) -> Option<Mono> {
        self.feed_every.map(|every| self.fed_at + every)
    }

    /// The loop ran, and the spool thread last ran at `spool`.
    pub fn progress(&mut self, now: Mono, spool: Mono) {
        if let Some(every) = self.feed_every {
            if now >= self.fed_at + every && now.since(spool) < MAX_STALL {
                self.fed_at = now;
                self.send("WATCHDOG=1");
            }
        }
        if self.owes_ready {
            self.ready();
        }
    }

    /// Sends without waiting; true if it was received, or if there is no receiver.
    fn send(&self, text: &str) -> bool {
        self.socket.as_ref().is_none_or(|socket| socket.send(text.as_bytes()).is_ok())
    }
}

/// A non-blocking socket, connected to the address of `NOTIFY_SOCKET`: a path, or an abstract name after `@`.
fn connected(address: &str) -> Option<UnixDatagram> {
    let address = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name.as_bytes()),
        None => SocketAddr::from_pathname(address),
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    socket.connect_addr(&address.ok()?).ok()?;
    Some(socket)
}

/// `WATCHDOG_USEC`, if it is for this process.
fn watchdog() -> Option<Duration> {
    let for_us = std::env::var("WATCHDOG_PID").ok().is_none_or(|pid| pid == std::process::id().to_string());
    let micros = std::env::var("WATCHDOG_USEC").ok()?.parse().ok()?;
    (for_us && micros > 0).then(|| Duration::from_micros(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Mono {
        Mono::default() + Duration::from_secs(seconds)
    }

    fn received(socket: &UnixDatagram) -> Vec<String> {
        socket.set_nonblocking(true).unwrap();
        let mut bytes = [0; 256];
        std::iter::from_fn(|| {
            let size = socket.recv(&mut bytes).ok()?;
            Some(String::from_utf8(bytes[..size].to_vec()).unwrap())
        })
        .collect()
    }

    #[test]
    fn a_service_manager_that_does_not_read_holds_up_nothing_and_hears_the_rest_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let (done, waits) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let every = Some(Duration::from_secs(5));
            let mut notifier = Notifier::to(path.to_str(), every, at(0));
            for n in 0..100 {
                notifier.progress(at(n * 10), at(n * 10));
                notifier.status(format!("turn {n}"), at(n * 10));
            }
            notifier.ready();
            done.send(notifier).unwrap();
        });
        let mut notifier = waits.recv_timeout(Duration::from_secs(10)).expect("it does not wait");
        let first = received(&manager);
        assert!(first.contains(&String::from("WATCHDOG=1")), "{first:?}");
        assert!(!first.contains(&String::from("READY=1")), "the queue was full: {first:?}");
        notifier.progress(at(1001), at(1001));
        assert_eq!(received(&manager), ["WATCHDOG=1", "READY=1"]);
    }

    #[test]
    fn a_disk_that_stalls_for_forty_seconds_does_not_starve_the_watchdog_and_one_that_is_stuck_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let mut notifier = Notifier::to(path.to_str(), Some(Duration::from_secs(15)), at(0));
        for now in 1..=40 {
            notifier.progress(at(now), at(0));
        }
        assert_eq!(received(&manager), ["WATCHDOG=1", "WATCHDOG=1"]);
        notifier.progress(at(601), at(0));
        assert_eq!(received(&manager), [""; 0]);
    }

    #[test]
    fn a_status_is_told_at_most_once_a_second_and_the_last_one_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        let mut notifier = Notifier::to(path.to_str(), None, at(0));
        for n in 0..10 {
            notifier.status(format!("turn {n}"), at(1));
        }
        notifier.status(String::from("turn 9"), at(2));
        notifier.status(String::from("turn 9"), at(9));
        assert_eq!(received(&manager), ["STATUS=turn 0", "STATUS=turn 9"]);
    }
}
