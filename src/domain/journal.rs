//! The privacy journal: when the camera was open, and why it opened and closed. Each line carries the SHA-256
//! of the line before it. A changed, removed or inserted line breaks the chain. Lines cut off the end are
//! detected by the head, which the cloud is told. Lines cut off the front are detected by what the journal
//! says of its beginning: line 1, or the line that its last [`What::Continued`] names.

use super::segment::RecordClock;
use super::time::Utc;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest line, in bytes.
pub const LONGEST: usize = 1024;

/// One line of the journal, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts from 1 and has no gaps.
    pub n: u64,
    /// UTC by the system clock when the line was written.
    pub time: Utc,
    /// How far that time is believed.
    pub clock: RecordClock,
    /// What happened.
    #[serde(flatten)]
    pub what: What,
    /// SHA-256 of the line before, without its line feed, in hexadecimal; zeros before the first.
    pub prev: Hash,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum What {
    /// The agent began.
    Started {
        /// The version of the agent.
        version: String,
    },
    /// The devices are opened.
    Opened {
        /// With audio. `sound` is its name in the file.
        #[serde(rename = "sound")]
        audio: bool,
        /// The largest frame height, in lines.
        lines: u32,
        /// Version of the owner's choice that permits it.
        choice: Option<u64>,
        /// Version of the lease that permits it.
        lease: Option<u64>,
    },
    /// The devices are closed.
    Closed {
        /// A stable text, as in the `capture_closed` event.
        reason: String,
    },
    /// What the owner allows has changed, through the app or the latch on the camera.
    Choice {
        /// Version of the app's choice.
        version: Option<u64>,
        /// Whether recording is forbidden now, by the choice or by the latch.
        do_not_record: bool,
        /// Whether the latch is set.
        latch: bool,
    },
    /// The previous process ended with the camera open: power was lost, or the process was killed.
    CutOff,
    /// The journal before this line could not be continued, or was missing; `prev` is the SHA-256 of all its
    /// bytes.
    Began,
    /// A new file begins. Older lines were removed to make room.
    Continued {
        /// Number of the line with which the journal begins now.
        first: u64,
        /// SHA-256 of that line.
        hash: Hash,
    },
    /// Lines before this one could not be written.
    Lost {
        /// Their number.
        lines: u64,
    },
}

impl What {
    /// Whether the camera is open from this line on; `None` if the line does not say.
    #[must_use]
    pub fn opens(&self) -> Option<bool> {
        match self {
            What::Opened { .. } => Some(true),
            What::Closed { .. } | What::CutOff => Some(false),
            What::Started { .. }
            | What::Choice { .. }
            | What::Began
            | What::Continued { .. }
            | What::Lost { .. } => None,
        }
    }
}

/// SHA-256, as hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hash([u8; 32]);

impl Hash {
    /// The `prev` of the first line.
    pub const ZERO: Hash = Hash([0; 32]);

    /// SHA-256 (FIPS 180-4) of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Hash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
        Hash(hash)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Hash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Hash, D::Error> {
        let text = String::deserialize(from)?;
        let wrong = || serde::de::Error::custom("expected 64 digits of lower-case hexadecimal");
        let mut hash = [0; 32];
        if text.len() != 64 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        for (at, byte) in hash.iter_mut().enumerate() {
            let digits = text.get(2 * at..2 * at + 2).ok_or_else(wrong)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| wrong())?;
        }
        Ok(Hash(hash))
    }
}

/// The state of a journal: its last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of the last line; 0 if there is none.
    pub n: u64,
    /// Its hash.
    pub hash: Hash,
}

impl Default for Head {
    fn default() -> Head {
        Head { n: 0, hash: Hash::ZERO }
    }
}

impl Head {
    /// The next line, with its line feed, and the head that results.
    #[must_use]
    pub fn next(self, time: Utc, clock: RecordClock, what: What) -> (Vec<u8>, Head) {
        let entry = Entry { n: self.n.saturating_add(1), time, clock, what, prev: self.hash };
        // Only strings and numbers: JSON can hold all of it.
        let mut line = serde_json::to_vec(&entry).unwrap_or_default();
        let head = Head { n: entry.n, hash: Hash::of(&line) };
        line.push(b'\n');
        (line, head)
    }
}

/// Reads one line, without its line feed. `None` if it is not a line of the journal.
#[must_use]
pub fn read(line: &[u8]) -> Option<(Entry, Head)> {
    if line.len() > LONGEST {
        return None;
    }
    let entry: Entry = serde_json::from_slice(line).ok()?;
    let head = Head { n: entry.n, hash: Hash::of(line) };
    Some((entry, head))
}

/// The result of reading a whole journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The entries up to the first break of the chain.
    pub entries: Vec<Entry>,
    /// The head that the next entry would continue.
    pub head: Head,
    /// The number of the line (from 1, as an editor counts) at which the chain breaks, and how.
    pub broken: Option<(usize, &'static str)>,
    /// What is missing, the oldest first.
    pub missing: Vec<Missing>,
}

/// Something that a journal lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "missing", rename_all = "snake_case")]
pub enum Missing {
    /// There is no line at all. An agent writes one before anything else.
    All,
    /// The journal begins later than it says: lines were removed from its front.
    Front {
        /// Number of the first removed line.
        first: u64,
        /// Number of the last removed line.
        last: u64,
    },
    /// The first line is not the one that was there.
    Replaced {
        /// Its number.
        first: u64,
    },
    /// Lines could not be written.
    Lost {
        /// Number of the line that follows them.
        before: u64,
        /// Their number.
        lines: u64,
    },
}

impl Verified {
    /// The chain is unbroken, and nothing is missing.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.broken.is_none() && self.missing.is_empty()
    }
}

/// Follows the chain from the first of these lines to the last, and compares the first with where the journal
/// says that it begins. A last line without a line feed was cut off while it was being written.
#[must_use]
pub fn verify(bytes: &[u8]) -> Verified {
    let mut found =
        Verified { entries: Vec::new(), head: Head::default(), broken: None, missing: Vec::new() };
    let mut first = None;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    for (at, line) in
        bytes.get(..whole).unwrap_or_default().split_inclusive(|byte| *byte == b'\n').enumerate()
    {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let wrong = match read(line) {
            None => Some("is not a line of a privacy journal"),
            Some((entry, head)) => {
                let wrong = wrong(&found, &entry);
                first.get_or_insert(head);
                found.entries.push(entry);
                found.head = head;
                wrong
            }
        };
        if let Some(how) = wrong {
            found.broken.get_or_insert((at + 1, how));
        }
    }
    found.missing = missing(&found.entries, first);
    found
}

fn missing(entries: &[Entry], first: Option<Head>) -> Vec<Missing> {
    let Some(first) = first else { return vec![Missing::All] };
    let begins = entries.iter().rev().find_map(|entry| match entry.what {
        What::Continued { first, hash } => Some(Head { n: first, hash }),
        What::Started { .. }
        | What::Opened { .. }
        | What::Closed { .. }
        | What::Choice { .. }
        | What::CutOff
        | What::Began
        | What::Lost { .. } => None,
    });
    let front = match begins {
        Some(begins) if begins.n == first.n => {
            (begins.hash != first.hash).then_some(Missing::Replaced { first: first.n })
        }
        Some(begins) => front(begins.n, first.n),
        None => front(1, first.n),
    };
    let lost = entries.iter().filter_map(|entry| match entry.what {
        What::Lost { lines } => Some(Missing::Lost { before: entry.n, lines }),
        What::Started { .. }
        | What::Opened { .. }
        | What::Closed { .. }
        | What::Choice { .. }
        | What::CutOff
        | What::Began
        | What::Continued { .. } => None,
    });
    front.into_iter().chain(lost).collect()
}

/// What is missing if a journal should begin with line `is_to` and begins with line `does`.
fn front(is_to: u64, does: u64) -> Option<Missing> {
    (does > is_to).then(|| Missing::Front { first: is_to, last: does - 1 })
}

fn wrong(found: &Verified, entry: &Entry) -> Option<&'static str> {
    if entry.what == What::Began {
        return Some("begins a new journal: the one before could not be continued");
    }
    if found.entries.is_empty() {
        let first = entry.n == 1;
        return (first && entry.prev != Hash::ZERO).then_some("is the first but refers to a line before it");
    }
    if entry.prev != found.head.hash {
        return Some("does not follow the line before it: a line was changed, removed or inserted");
    }
    (entry.n != found.head.n.saturating_add(1)).then_some("has a number that does not follow")
}
