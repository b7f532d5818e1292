//! The last known facts: what the camera was told, so that it knows after a restart.
//!
//! `{state_dir}/state/{privacy,entitlement,latch,floor,serial}`, each a header line with a checksum
//! and a body ([`super::stamp()`]). A file that cannot be believed (damaged, too long, a link, open to
//! other writers) is [`Known::Unreadable`], and **stays where it is**: were it moved away at the
//! first start, the second would find it missing, and for a latch a missing file means that it was
//! never set. Only when something new is published is a copy laid into `state/quarantine/`.

use super::{Fs, Kind, is_temporary, publish, read, stamp, unstamp};
use crate::domain::effect::Fact;
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
    /// The JWS of the lease.
    Entitlement,
    /// `closed` or `open`.
    Latch,
    /// The latest trusted time, in nanoseconds since 1970.
    Floor,
    /// Serials below this one may have been used.
    Serial,
}

impl Name {
    /// The file's name in the state directory, without an extension.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Name::Privacy => "privacy",
            Name::Entitlement => "entitlement",
            Name::Latch => "latch",
            Name::Floor => "floor",
            Name::Serial => "serial",
        }
    }
}

/// Everything that [`Facts::recall`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastKnown {
    /// The JWS of the last choice.
    pub privacy: Known<String>,
    /// The JWS of the last lease.
    pub entitlement: Known<String>,
    /// `true`: the local latch was set.
    pub latch: Known<bool>,
    /// The latest trusted time that was kept.
    pub floor: Known<Utc>,
}

/// The state directory.
#[derive(Clone)]
pub struct Facts {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
}

impl Facts {
    /// The facts under `state_dir`. Touches nothing yet, so that it cannot fail: a directory that
    /// cannot be made shows as unreadable facts and as failing [`Facts::store`].
    #[must_use]
    pub fn new(fs: Arc<dyn Fs>, state_dir: &Path) -> Facts {
        Facts { fs, dir: state_dir.join("state") }
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
        self.fs.mkdir(&self.dir)?;
        if self.load(name) == Known::Unreadable {
            // A copy is for people; that it cannot be made is no reason to refuse what is new.
            let _ = self.lay_aside(name);
        }
        publish(&*self.fs, &self.dir, name.text(), &stamp(KIND, body))
    }

    /// Reads all that the agent needs to begin.
    #[must_use]
    pub fn recall(&self) -> LastKnown {
        let latch = parsed(self.load(Name::Latch), |body| match body {
            "closed" => Some(true),
            "open" => Some(false),
            _ => None,
        });
        let floor = parsed(self.load(Name::Floor), |body| body.parse().ok().map(Utc));
        let (privacy, entitlement) = (self.load(Name::Privacy), self.load(Name::Entitlement));
        LastKnown { privacy, entitlement, latch, floor }
    }

    /// Makes what the machine asks for durable.
    ///
    /// # Errors
    /// As [`Facts::store`].
    pub fn keep(&self, fact: &Fact) -> io::Result<()> {
        match fact {
            Fact::Privacy(jws) => self.store(Name::Privacy, jws),
            Fact::Entitlement(jws) => self.store(Name::Entitlement, jws),
            Fact::Latch(closed) => self.store(Name::Latch, if *closed { "closed" } else { "open" }),
            Fact::Floor(time) => self.store(Name::Floor, &time.0.to_string()),
        }
    }

    /// Copies a file that cannot be read into the quarantine, the oldest copies making room.
    fn lay_aside(&self, name: Name) -> io::Result<()> {
        let bytes = read(&*self.fs, &self.dir.join(name.text()), LIMIT)?;
        let dir = self.dir.join("quarantine");
        self.fs.mkdir(&dir)?;
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

fn parsed<T>(known: Known<String>, parse: impl Fn(&str) -> Option<T>) -> Known<T> {
    match known {
        Known::Is(body) => parse(&body).map_or(Known::Unreadable, Known::Is),
        Known::Missing => Known::Missing,
        Known::Unreadable => Known::Unreadable,
    }
}
