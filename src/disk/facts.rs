//! The last known facts: what the camera was told and must still know after a restart.
//!
//! The files are
//! `{state_dir}/state/{privacy,privacy.seen,entitlement,entitlement.seen,latch,stopped,floor,offsets,serial}`,
//! each a header line with a checksum and a body ([`super::stamp()`]). A file that cannot be trusted
//! (damaged, too long, a link, writable by others) is [`Recalled::Unreadable`], and **stays where it is**: if
//! the first start moved it away, the second would find it missing. Only when a new value is published, a
//! copy goes into `state/quarantine/`.
//!
//! The latch is written at the first start. If it is missing while any other fact exists, it was lost, and
//! its value is [`Recalled::Unreadable`]. The highest version seen of a signed fact is a fact of its own, and is
//! written first: an unreadable file does not make an older version acceptable again.
//!
//! [`StoredFacts::tombstones`] are prohibitions that could not be written; they are kept on a file system that
//! needs no disk.

use super::fs::{FileKind, Fs, make_dir, read};
use super::place::Place;
use super::publish::{is_temporary, publish};
use super::stamp::{stamp, unstamp};
use crate::domain::effect::Fact;
use crate::domain::offset::Offsets;
use crate::domain::privacy::Recalled;
use crate::domain::time::Utc;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Maximum size of a fact's file in bytes. The largest fact is a compact JWS, far smaller than this.
const MAX_BYTES: u64 = 64 * 1024;
/// The kind that the header line names.
const KIND: &str = "state";
/// Maximum number of copies of unreadable facts.
const MAX_QUARANTINED: usize = 16;

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
    /// Since when the service has been stopped, in nanoseconds since 1970, or `no`.
    Stopped,
    /// The latest trusted time, in nanoseconds since 1970.
    Floor,
    /// The offsets of boots whose clock could not be trusted; see [`Offsets::text`].
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

/// Everything that [`StoredFacts::recall`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastKnown {
    /// The JWS of the last choice.
    pub privacy: Recalled<String>,
    /// The highest version of a choice that was ever seen.
    pub privacy_seen: Recalled<u64>,
    /// The JWS of the last lease.
    pub entitlement: Recalled<String>,
    /// The highest version of a lease that was ever seen.
    pub entitlement_seen: Recalled<u64>,
    /// `true`: the local latch was set.
    pub latch: Recalled<bool>,
    /// Since when the service has been stopped, if it is; what cannot be read counts as unknown.
    pub stopped: Option<Utc>,
    /// The latest trusted time that was stored.
    pub floor: Recalled<Utc>,
    /// The offsets of boots whose clock could not be trusted.
    pub offsets: Recalled<Offsets>,
}

/// The state directory.
#[derive(Clone)]
pub struct StoredFacts {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    /// Its place when it was first asked for; absent if it did not exist yet.
    place: Option<Place>,
}

impl StoredFacts {
    /// The facts under `state_dir`. Does no I/O yet, so it cannot fail: a directory that cannot be made
    /// results in unreadable facts and failing [`StoredFacts::store`].
    #[must_use]
    pub fn new(fs: Arc<dyn Fs>, state_dir: &Path) -> StoredFacts {
        StoredFacts::at(fs, state_dir.join("state"))
    }

    /// The prohibitions that could not be written, in the folder of the control socket: the next start of the
    /// process finds them there; a boot of the machine does not.
    #[must_use]
    pub fn tombstones(fs: Arc<dyn Fs>, runtime_dir: &Path) -> StoredFacts {
        StoredFacts::at(fs, runtime_dir.join("tombstones"))
    }

    fn at(fs: Arc<dyn Fs>, dir: PathBuf) -> StoredFacts {
        let place = Place::of(&*fs, &dir).ok();
        StoredFacts { fs, dir, place }
    }

    /// Reads one fact. Never fails: an unreadable file is a value of its own.
    #[must_use]
    pub fn load(&self, name: Name) -> Recalled<String> {
        let path = self.dir.join(name.text());
        let meta = match self.fs.stat(&path) {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Recalled::Missing,
            Err(_) => return Recalled::Unreadable,
        };
        // If others may write it, they may have written it.
        if meta.kind != FileKind::File || meta.mode & 0o022 != 0 {
            return Recalled::Unreadable;
        }
        let Ok(bytes) = read(&*self.fs, &path, MAX_BYTES) else {
            return Recalled::Unreadable;
        };
        match unstamp(KIND, &bytes) {
            Some(body) => Recalled::Is(body.to_owned()),
            None => Recalled::Unreadable,
        }
    }

    /// Makes one fact durable.
    ///
    /// # Errors
    /// Those of [`publish`](super::publish()): the fact must then not be treated as stored.
    pub fn store(&self, name: Name, body: &str) -> io::Result<()> {
        if let Some(place) = &self.place {
            place.is_there(&*self.fs, &self.dir)?;
        }
        make_dir(&*self.fs, &self.dir)?;
        if self.load(name) == Recalled::Unreadable {
            // The copy is for people; if it fails, the new value is still written.
            let _ = self.lay_aside(name);
        }
        publish(&*self.fs, &self.dir, name.text(), &stamp(KIND, body))
    }

    /// Reads everything that the agent needs at the start.
    #[must_use]
    pub fn recall(&self) -> LastKnown {
        let mut latch = self.latch();
        if latch == Recalled::Missing && self.holds_anything() {
            latch = Recalled::Unreadable;
        }
        let floor = parsed(self.load(Name::Floor), |body| body.parse().ok().map(Utc));
        let (privacy, entitlement) = (self.load(Name::Privacy), self.load(Name::Entitlement));
        let seen = |name| parsed(self.load(name), |body| body.parse().ok());
        let (privacy_seen, entitlement_seen) = (seen(Name::PrivacySeen), seen(Name::EntitlementSeen));
        let stopped = parsed(self.load(Name::Stopped), |body| body.parse().ok().map(Utc)).value().copied();
        let offsets = parsed(self.load(Name::Offsets), Offsets::parse);
        LastKnown { privacy, privacy_seen, entitlement, entitlement_seen, latch, stopped, floor, offsets }
    }

    /// The latch, from its own file only.
    #[must_use]
    pub fn latch(&self) -> Recalled<bool> {
        parsed(self.load(Name::Latch), |body| match body {
            "closed" => Some(true),
            "open" => Some(false),
            _ => None,
        })
    }

    /// Whether any fact other than the latch exists.
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
        .any(|name| self.load(name) != Recalled::Missing)
    }

    /// Makes durable what the machine asks for; of a signed fact its version first.
    ///
    /// # Errors
    /// As [`StoredFacts::store`].
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

    /// Like [`StoredFacts::keep`], for a fact that forbids: if it cannot be written, the fact before it permits
    /// what is now forbidden, and is withdrawn.
    ///
    /// # Errors
    /// Those of [`StoredFacts::keep`], and what happened to the fact before it.
    pub fn forbid(&self, fact: &Fact) -> io::Result<()> {
        let Err(error) = self.keep(fact) else { return Ok(()) };
        let told = match self.withdraw(fact) {
            Ok(()) => format!("{error}; the permission before it is removed"),
            Err(other) => format!("{error}; nor can the permission before it be removed: {other}"),
        };
        Err(io::Error::new(error.kind(), told))
    }

    /// Ensures that a fact which permits what is now forbidden is not found again: its file is removed, or
    /// made unreadable.
    ///
    /// # Errors
    /// If it is not certain that either was done.
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

    /// Stores a prohibition unchanged, for the next start of the process.
    ///
    /// # Errors
    /// As [`StoredFacts::store`].
    pub fn raise(&self, fact: &Fact) -> io::Result<()> {
        match fact {
            Fact::Privacy { jws, .. } | Fact::Entitlement { jws, .. } => self.store(name_of(fact), jws),
            Fact::Latch(_) | Fact::Stopped(_) | Fact::Floor(_) | Fact::Offsets(_) => self.keep(fact),
        }
    }

    /// Raises the highest version; it only grows.
    fn see(&self, name: Name, version: u64) -> io::Result<()> {
        let seen = parsed(self.load(name), |body| body.parse::<u64>().ok());
        if seen.value().is_some_and(|seen| *seen >= version) {
            return Ok(());
        }
        self.store(name, &version.to_string())
    }

    /// Copies an unreadable file into the quarantine; the oldest copies are removed to make room.
    fn lay_aside(&self, name: Name) -> io::Result<()> {
        let bytes = read(&*self.fs, &self.dir.join(name.text()), MAX_BYTES)?;
        let dir = self.dir.join("quarantine");
        make_dir(&*self.fs, &dir)?;
        let mut kept: Vec<String> = self
            .fs
            .list(&dir, 4 * MAX_QUARANTINED)?
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
        let surplus = (kept.len() + 1).saturating_sub(MAX_QUARANTINED);
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

fn parsed<T>(known: Recalled<String>, parse: impl Fn(&str) -> Option<T>) -> Recalled<T> {
    match known {
        Recalled::Is(body) => parse(&body).map_or(Recalled::Unreadable, Recalled::Is),
        Recalled::Missing => Recalled::Missing,
        Recalled::Unreadable => Recalled::Unreadable,
    }
}
