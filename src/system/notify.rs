//! What systemd is told (`sd_notify(3)`), and the watchdog.
//!
//! The watchdog is fed by progress: by a turn of the agent's loop, never by a timer of its own. A loop that hangs starves
//! it. Flash that collects its garbage may hold up a sync for the better part of a minute, and ending the process would not
//! hurry it: a spool thread that waits for the disk starves the watchdog after [`MAX_STALL`] only.
//!
//! Nothing here waits: a service manager that does not read (its socket holds a handful of datagrams) is told less. What
//! it did not take is told again later, the watchdog first, and the status at most once a second.

use crate::domain::time::Mono;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// A spool thread that has not turned for so long is beyond help from inside.
pub const MAX_STALL: Duration = Duration::from_secs(600);
/// No status is sent sooner after the one before.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// The way to systemd; says nothing where `NOTIFY_SOCKET` is not set.
#[derive(Debug)]
pub struct Notifier {
    /// Connected to the service manager, if there is one.
    socket: Option<UnixDatagram>,
    /// Half of `WatchdogSec`, if there is one.
    feed_every: Option<Duration>,
    fed_at: Mono,
    /// What was told last, and when.
    status: String,
    told_at: Option<Mono>,
    /// `READY=1` was not taken yet.
    owes_ready: bool,
}

impl Notifier {
    /// Takes socket and watchdog's timeout from the environment; `now` counts as its first feeding.
    #[must_use]
    pub fn new(now: Mono) -> Notifier {
        let address = std::env::var("NOTIFY_SOCKET").ok();
        Notifier::to(address.as_deref(), watchdog().map(|timeout| timeout / 2), now)
    }

    fn to(address: Option<&str>, feed_every: Option<Duration>, now: Mono) -> Notifier {
        let socket = address.and_then(connected);
        Notifier { socket, feed_every, fed_at: now, status: String::new(), told_at: None, owes_ready: false }
    }

    /// Sends `READY=1`: the start is over. Where it is not taken, [`Notifier::progress`] sends it again.
    pub fn ready(&mut self) {
        self.owes_ready = !self.send("READY=1");
    }

    /// Sends `STOPPING=1`: an ordered stop has begun.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Sends `STATUS=` where it differs from the last one.
    pub fn status(&mut self, status: String, now: Mono) {
        let soon = self.told_at.is_some_and(|at| now < at + STATUS_INTERVAL);
        if self.status != status && !soon {
            self.told_at = Some(now);
            // A status has one line, or it would be more than a status.
            if self.send(&format!("STATUS={}", status.replace('\n', " "))) {
                self.status = status;
            }
        }
    }

    /// When the loop must turn at the latest for the watchdog to be fed in time.
    #[must_use]
    pub fn due(&self) -> Option<Mono> {
        self.feed_every.map(|every| self.fed_at + every)
    }

    /// The loop turned, and the spool thread last turned at `spool`.
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

    /// Without waiting; whether it was taken, or there is nobody to take it.
    fn send(&self, text: &str) -> bool {
        self.socket.as_ref().is_none_or(|socket| socket.send(text.as_bytes()).is_ok())
    }
}

/// A socket that never waits, to the address of `NOTIFY_SOCKET`: a path, or an abstract name behind `@`.
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

/// `WATCHDOG_USEC`, if it is meant for this process.
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
