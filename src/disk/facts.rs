//! The last known facts: what the camera was told, so that it knows after a restart.
//!
//! `{state_dir}/state/{privacy,privacy.seen,entitlement,entitlement.seen,latch,stopped,floor,offsets,serial}`, each a header line with a checksum
//! and a body ([`super::stamp()`]). A file that cannot be believed (damaged, too long, a link, open to
//! other writers) is [`Known::Unreadable`], and **stays where it is**: were it moved away at the
//! first start, the second would find it missing. Only when something new is published is a copy laid into
//! `state/quarantine/`.
//!
//! The latch is written at the first start. One that is missing beside any other fact was lost, with what it said:
//! [`Known::Unreadable`]. The highest version seen of a signed fact is a fact of its own, written first: a file that
//! cannot be read makes no older one good again.
//!
//! [`Facts::tombstones`] are prohibitions that could not be written, on a file system that needs no disk.

use super::place::Place;
use super::{Fs, Kind, is_temporary, make_dir, publish, read, stamp, unstamp};
use crate::domain::effect::Fact;
use crate::domain::offset::Offsets;
use crate::domain::privacy::Known;
use crate::domain::time::Utc;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A fact is a compact JWS at most; nothing near this is ours.
const LIMIT: u64 = 64 * 1024;
/// As the header line names it.
const KIND: &str = "state";
/// Copies of unreadable facts that are kept.
const QUARANTINED: usize = 16;

/// A file of the state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// The JWS of the owner's choice.
    Privacy,
    /// The highest version of a choice that was ever seen.
    PrivacySeen,
    /// The JWS of the lease.
    Entitlement,
    /// The highest version of a lease that was ever seen.
    EntitlementSeen,
    /// `closed` or `open`.
    Latch,
    /// Since when the service stands still, in nanoseconds since 1970, or `no`.
    Stopped,
    /// The latest trusted time, in nanoseconds since 1970.
    Floor,
    /// Where the times of boots lie whose clock could not be trusted; see [`Offsets::text`].
    Offsets,
    /// Serials below this one may have been used.
    Serial,
}

impl Name {
    /// The file's name in the state directory, without an extension.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Name::Privacy => "privacy",
            Name::PrivacySeen => "privacy.seen",
            Name::Entitlement => "entitlement",
            Name::EntitlementSeen => "entitlement.seen",
            Name::Latch => "latch",
            Name::Stopped => "stopped",
            Name::Floor => "floor",
            Name::Offsets => "offsets",
            Name::Serial => "serial",
        }
    }
}

/// Everything that [`Facts::recall`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastKnown {
    /// The JWS of the last choice.
    pub privacy: Known<String>,
    /// The highest version of a choice that was ever seen.
    pub privacy_seen: Known<u64>,
    /// The JWS of the last lease.
    pub entitlement: Known<String>,
    /// The highest version of a lease that was ever seen.
    pub entitlement_seen: Known<u64>,
    /// `true`: the local latch was set.
    pub latch: Known<bool>,
    /// Since when the service stands still, if it does; what cannot be read is not known.
    pub stopped: Option<Utc>,
    /// The latest trusted time that was kept.
    pub floor: Known<Utc>,
    /// Where the times of boots lie whose clock could not be trusted.
    pub offsets: Known<Offsets>,
}

/// The state directory.
#[derive(Clone)]
pub struct Facts {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    /// Where it was when it was first asked for; absent where it was not there yet.
    place: Option<Place>,
}

impl Facts {
    /// The facts under `state_dir`. Touches nothing yet, so that it cannot fail: a directory that
    /// cannot be made shows as unreadable facts and as failing [`Facts::store`].
    #[must_use]
    pub fn new(fs: Arc<dyn Fs>, state_dir: &Path) -> Facts {
        Facts::at(fs, state_dir.join("state"))
    }

    /// The prohibitions that could not be written, under the folder of the control socket: the next start of the
    /// process finds them there, and a start of the machine does not.
    #[must_use]
    pub fn tombstones(fs: Arc<dyn Fs>, runtime_dir: &Path) -> Facts {
        Facts::at(fs, runtime_dir.join("tombstones"))
    }

    fn at(fs: Arc<dyn Fs>, dir: PathBuf) -> Facts {
        let place = Place::of(&*fs, &dir).ok();
        Facts { fs, dir, place }
    }

    /// Reads one fact. Never fails: what cannot be read is a fact of its own.
    #[must_use]
    pub fn load(&self, name: Name) -> Known<String> {
        let path = self.dir.join(name.text());
        let meta = match self.fs.stat(&path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Known::Missing,
            Err(_) => return Known::Unreadable,
        };
        // Whoever else may write it may have written it.
        if meta.kind != Kind::File || meta.mode & 0o022 != 0 {
            return Known::Unreadable;
        }
        let Ok(bytes) = read(&*self.fs, &path, LIMIT) else {
            return Known::Unreadable;
        };
        match unstamp(KIND, &bytes) {
            Some(body) => Known::Is(body.to_owned()),
            None => Known::Unreadable,
        }
    }

    /// Makes one fact durable.
    ///
    /// # Errors
    /// Those of [`publish`](super::publish()): the fact must not be acted on as though it were kept.
    pub fn store(&self, name: Name, body: &str) -> io::Result<()> {
        if let Some(place) = &self.place {
            place.is_there(&*self.fs, &self.dir)?;
        }
        make_dir(&*self.fs, &self.dir)?;
        if self.load(name) == Known::Unreadable {
            // A copy is for people; that it cannot be made is no reason to refuse what is new.
            let _ = self.lay_aside(name);
        }
        publish(&*self.fs, &self.dir, name.text(), &stamp(KIND, body))
    }

    /// Reads all that the agent needs to begin.
    #[must_use]
    pub fn recall(&self) -> LastKnown {
        let mut latch = self.latch();
        if latch == Known::Missing && self.holds_anything() {
            latch = Known::Unreadable;
        }
        let floor = parsed(self.load(Name::Floor), |body| body.parse().ok().map(Utc));
        let (privacy, entitlement) = (self.load(Name::Privacy), self.load(Name::Entitlement));
        let seen = |name| parsed(self.load(name), |body| body.parse().ok());
        let (privacy_seen, entitlement_seen) = (seen(Name::PrivacySeen), seen(Name::EntitlementSeen));
        let stopped = parsed(self.load(Name::Stopped), |body| body.parse().ok().map(Utc)).value().copied();
        let offsets = parsed(self.load(Name::Offsets), Offsets::parse);
        LastKnown { privacy, privacy_seen, entitlement, entitlement_seen, latch, stopped, floor, offsets }
    }

    /// The latch, by its own file alone.
    #[must_use]
    pub fn latch(&self) -> Known<bool> {
        parsed(self.load(Name::Latch), |body| match body {
            "closed" => Some(true),
            "open" => Some(false),
            _ => None,
        })
    }

    /// Whether there is any fact but the latch.
    fn holds_anything(&self) -> bool {
        [
            Name::Privacy,
            Name::PrivacySeen,
            Name::Entitlement,
            Name::EntitlementSeen,
            Name::Stopped,
            Name::Floor,
            Name::Offsets,
            Name::Serial,
        ]
        .into_iter()
        .any(|name| self.load(name) != Known::Missing)
    }

    /// Makes what the machine asks for durable; of a signed fact its version first.
    ///
    /// # Errors
    /// As [`Facts::store`].
    pub fn keep(&self, fact: &Fact) -> io::Result<()> {
        match fact {
            Fact::Privacy { version, jws } => {
                self.see(Name::PrivacySeen, *version)?;
                self.store(Name::Privacy, jws)
            }
            Fact::Entitlement { version, jws } => {
                self.see(Name::EntitlementSeen, *version)?;
                self.store(Name::Entitlement, jws)
            }
            Fact::Latch(closed) => self.store(Name::Latch, if *closed { "closed" } else { "open" }),
            Fact::Stopped(since) => {
                let body = since.map_or(String::from("no"), |since| since.0.to_string());
                self.store(Name::Stopped, &body)
            }
            Fact::Floor(time) => self.store(Name::Floor, &time.0.to_string()),
            Fact::Offsets(offsets) => self.store(Name::Offsets, &offsets.text()),
        }
    }

    /// As [`Facts::keep`], of a fact that forbids: where it cannot be written, the fact before it permits what is
    /// forbidden now, and is withdrawn.
    ///
    /// # Errors
    /// Those of [`Facts::keep`], and what became of the fact before it.
    pub fn forbid(&self, fact: &Fact) -> io::Result<()> {
        let Err(error) = self.keep(fact) else { return Ok(()) };
        let told = match self.withdraw(fact) {
            Ok(()) => format!("{error}; the permission before it is removed"),
            Err(other) => format!("{error}; nor can the permission before it be removed: {other}"),
        };
        Err(io::Error::new(error.kind(), told))
    }

    /// Makes sure that a fact which permits what is forbidden now is not found again: its file is removed, or made
    /// unreadable.
    ///
    /// # Errors
    /// Where neither could be done for sure.
    pub fn withdraw(&self, fact: &Fact) -> io::Result<()> {
        let path = self.dir.join(name_of(fact).text());
        let removed = match self.fs.unlink(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        removed.and_then(|()| self.fs.sync_dir(&self.dir)).or_else(|_| {
            let file = self.fs.open_write(&path)?;
            self.fs.truncate(&file, 0)?;
            self.fs.sync(&file)
        })
    }

    /// Lays a prohibition down as it is, for the next start of the process.
    ///
    /// # Errors
    /// As [`Facts::store`].
    pub fn raise(&self, fact: &Fact) -> io::Result<()> {
        match fact {
            Fact::Privacy { jws, .. } | Fact::Entitlement { jws, .. } => self.store(name_of(fact), jws),
            Fact::Latch(_) | Fact::Stopped(_) | Fact::Floor(_) | Fact::Offsets(_) => self.keep(fact),
        }
    }

    /// The highest version only grows.
    fn see(&self, name: Name, version: u64) -> io::Result<()> {
        let seen = parsed(self.load(name), |body| body.parse::<u64>().ok());
        if seen.value().is_some_and(|seen| *seen >= version) {
            return Ok(());
        }
        self.store(name, &version.to_string())
    }

    /// Copies a file that cannot be read into the quarantine, the oldest copies making room.
    fn lay_aside(&self, name: Name) -> io::Result<()> {
        let bytes = read(&*self.fs, &self.dir.join(name.text()), LIMIT)?;
        let dir = self.dir.join("quarantine");
        make_dir(&*self.fs, &dir)?;
        let mut kept: Vec<String> = self
            .fs
            .list(&dir, 4 * QUARANTINED)?
            .into_iter()
            .filter_map(|name| name.into_string().ok())
            .collect();
        for stray in kept.iter().filter(|name| is_temporary(name)) {
            let _ = self.fs.unlink(&dir.join(stray));
        }
        kept.retain(|name| !is_temporary(name));
        kept.sort_unstable();
        let number = |name: &String| name.split_once('-').and_then(|(number, _)| number.parse::<u64>().ok());
        let next = kept.iter().filter_map(number).max().unwrap_or(0).saturating_add(1);
        let surplus = (kept.len() + 1).saturating_sub(QUARANTINED);
        for oldest in kept.iter().take(surplus) {
            let _ = self.fs.unlink(&dir.join(oldest));
        }
        publish(&*self.fs, &dir, &format!("{next:010}-{}", name.text()), &bytes)
    }
}

fn name_of(fact: &Fact) -> Name {
    match fact {
        Fact::Privacy { .. } => Name::Privacy,
        Fact::Entitlement { .. } => Name::Entitlement,
        Fact::Latch(_) => Name::Latch,
        Fact::Stopped(_) => Name::Stopped,
        Fact::Floor(_) => Name::Floor,
        Fact::Offsets(_) => Name::Offsets,
    }
}

fn parsed<T>(known: Known<String>, parse: impl Fn(&str) -> Option<T>) -> Known<T> {
    match known {
        Known::Is(body) => parse(&body).map_or(Known::Unreadable, Known::Is),
        Known::Missing => Known::Missing,
        Known::Unreadable => Known::Unreadable,
    }
}
