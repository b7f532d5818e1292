//! Limits how often a refused user and password are sent to a camera. Many cameras lock the user out after a few attempts,
//! so a refused login is sent again after ten minutes at the earliest, even if the pipeline restarts meanwhile.

use crate::domain::time::Mono;
use std::time::Duration;

/// Minimum time before a refused login is sent to the same camera again.
pub const REFUSED_INTERVAL: Duration = Duration::from_secs(600);
/// Maximum number of remembered answers.
const MAX_KNOWN: usize = 16;

/// SHA-256 of a user and a password; zeros if there are none.
pub type Shown = [u8; 32];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It was sent, and the camera has not accepted it.
    Refused(Mono),
    Accepted,
}

/// The answers of cameras to logins. Kept in memory only.
#[derive(Debug, Default)]
pub struct Refusals {
    known: Vec<(String, Shown, Verdict)>,
}

impl Refusals {
    /// How long this login must not be sent to that camera; `None`: it may be sent now.
    #[must_use]
    pub fn wait(&self, camera: &str, shown: &Shown, now: Mono) -> Option<Duration> {
        match self.of(camera, shown)? {
            Verdict::Refused(at) => {
                let left = REFUSED_INTERVAL.saturating_sub(now.since(at));
                (left > Duration::ZERO).then_some(left)
            }
            Verdict::Accepted => None,
        }
    }

    /// Notes that the login is being sent. Unless it was accepted before, it counts as refused until the answer is here: so
    /// a run that ends meanwhile allows no second attempt.
    pub fn shown(&mut self, camera: &str, shown: &Shown, now: Mono) {
        if self.of(camera, shown) != Some(Verdict::Accepted) {
            self.note(camera, shown, Verdict::Refused(now));
        }
    }

    /// Notes that the camera has refused it.
    pub fn refused(&mut self, camera: &str, shown: &Shown, now: Mono) {
        self.note(camera, shown, Verdict::Refused(now));
    }

    /// Notes that the camera has accepted it.
    pub fn accepted(&mut self, camera: &str, shown: &Shown) {
        self.note(camera, shown, Verdict::Accepted);
    }

    fn of(&self, camera: &str, shown: &Shown) -> Option<Verdict> {
        let known = self.known.iter().find(|(known, what, _)| known == camera && what == shown);
        known.map(|(_, _, verdict)| *verdict)
    }

    fn note(&mut self, camera: &str, shown: &Shown, verdict: Verdict) {
        self.known.retain(|(known, what, _)| known != camera || what != shown);
        if self.known.len() >= MAX_KNOWN {
            self.known.remove(0);
        }
        self.known.push((camera.to_owned(), *shown, verdict));
    }
}

/// What to do with an RTSP request that is about to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Going {
    /// Send it.
    Plain,
    /// Send it. It contains user and password: the camera has requested them.
    Shows,
    /// Do not send it: it would repeat a refused login, or send it to another host.
    Held,
}

/// Watches the requests of one connection. The second of two equal requests in a row answers a 401, with user and
/// password; a third means that the camera has refused them.
#[derive(Debug)]
pub struct Requests {
    host: String,
    last: Option<(i32, String)>,
    times: u32,
    playing: bool,
}

/// As in `GstRTSPMethod`.
const GET_PARAMETER: i32 = 1 << 2;
const OPTIONS: i32 = 1 << 3;
const PLAY: i32 = 1 << 5;
const SETUP: i32 = 1 << 8;
const SET_PARAMETER: i32 = 1 << 9;

impl Requests {
    /// Of a connection to the host of this URL.
    #[must_use]
    pub fn to(url: &str) -> Requests {
        Requests { host: host(url).to_owned(), last: None, times: 0, playing: false }
    }

    /// What to do with the next request; `method` as in `GstRTSPMethod`.
    pub fn going(&mut self, method: i32, uri: &str) -> Going {
        // The URL of a stream comes from the SDP, and may be an address behind a router.
        let sent_elsewhere =
            method != SETUP && uri.contains("://") && !self.host.eq_ignore_ascii_case(host(uri));
        if sent_elsewhere && !self.playing {
            return Going::Held;
        }
        self.playing |= method == PLAY;
        if self.playing && matches!(method, GET_PARAMETER | OPTIONS | SET_PARAMETER) {
            return Going::Plain;
        }
        if self.last.as_ref().is_some_and(|(last, to)| *last == method && to == uri) {
            self.times += 1;
        } else {
            self.last = Some((method, uri.to_owned()));
            self.times = 1;
        }
        match self.times {
            1 => Going::Plain,
            2 => Going::Shows,
            _ => Going::Held,
        }
    }
}

/// The host of a URL, without port, user and password.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => authority.split(':').next().unwrap_or_default(),
    }
}
