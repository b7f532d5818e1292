//! Encryption of what lies in the spool: the bytes of a file, and the way back.
//!
//! A file is one or more *runs*. A run is a header (magic and version, salt, nonce prefix, key check) and
//! records; a record is a frame (kind, length, tag) and a ciphertext with its tag. Everything is
//! ChaCha20-Poly1305 (RFC 8439) in the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár (2015):
//! the nonce is the run's prefix, the number of the record, and a byte that says whether it is the last of
//! the file; the header and the kind and length of the record are the associated data.
//!
//! Each run has a key of its own: HKDF-SHA256 (RFC 5869) of the spool's key with the random salt of the
//! header, and with the tag of the record before the run. So whoever goes on with a file that was cut back
//! begins a run, and no nonce comes twice under one key whatever became of the records that were cut off;
//! and no run can be taken out or put elsewhere.
//!
//! [`super::decrypt`] reads such a file.
//!
//! A frame has a tag of its own, so that a length that was changed is not taken for a file that was cut.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;
use std::io;
use std::sync::Arc;

/// The last byte is the version.
const MAGIC: [u8; 8] = *b"kasacam\x01";
/// The highest version that there may ever be.
const MAX_VERSION: u8 = 31;
const SALT: usize = 32;
const PREFIX: usize = 7;
const CHECK: usize = 9;
pub(super) const HEADER: usize = MAGIC.len() + SALT + PREFIX + CHECK;
pub(super) const TAG: usize = 16;
/// Kind and length of a record, without the tag.
pub(super) const SHAPE: usize = 5;
pub(super) const FRAME: usize = SHAPE + TAG;
const INFO: &[u8] = b"kasacam spool run 1";

/// Whether new files are encrypted, and the key for those that are. Shown without the key.
#[derive(Clone, Default)]
pub struct Encryption {
    key: Option<Arc<[u8; 32]>>,
    encrypts: bool,
}

impl Encryption {
    /// No key: what is encrypted cannot be read, and nothing is encrypted.
    #[must_use]
    pub fn none() -> Encryption {
        Encryption::default()
    }

    /// New files are encrypted with this key.
    #[must_use]
    pub fn with(key: [u8; 32]) -> Encryption {
        Encryption { key: Some(Arc::new(key)), encrypts: true }
    }

    /// Files encrypted with this key are read; new ones are not encrypted.
    #[must_use]
    pub fn reading(key: [u8; 32]) -> Encryption {
        Encryption { key: Some(Arc::new(key)), encrypts: false }
    }

    /// The key, where new files are to be encrypted.
    pub(super) fn for_new_files(&self) -> Option<Arc<[u8; 32]>> {
        self.key.clone().filter(|_| self.encrypts)
    }

    pub(super) fn key(&self) -> Option<Arc<[u8; 32]>> {
        self.key.clone()
    }
}

impl fmt::Debug for Encryption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encryption").field("encrypts", &self.encrypts).finish_non_exhaustive()
    }
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The next bytes of the file.
    Data,
    /// An offset (8 bytes, big-endian), and what stands there instead of what stood there.
    Patch,
    /// The next bytes of the file, which are its last.
    Last,
    /// The next bytes of the file: what is in an `mdat`. A start has no need of them.
    Pictures,
}

impl Kind {
    fn code(self) -> u8 {
        match self {
            Kind::Data => 0,
            Kind::Patch => 1,
            Kind::Last => 2,
            Kind::Pictures => 3,
        }
    }

    fn of(code: u8) -> Option<Kind> {
        [Kind::Data, Kind::Patch, Kind::Last, Kind::Pictures].into_iter().find(|kind| kind.code() == code)
    }
}

/// The last byte of a nonce.
#[derive(Clone, Copy)]
enum Place {
    Within = 0,
    Last = 1,
    Frame = 2,
}

/// A tag of a record; zeros before the first of a file.
pub(super) type Tag = [u8; TAG];

/// A run that records are added to, or read from.
pub(super) struct Run {
    key: LessSafeKey,
    header: [u8; HEADER],
    counter: u32,
}

impl Run {
    /// A new run behind the record of that tag.
    ///
    /// # Errors
    /// The system has no random bytes to give.
    pub(super) fn begin(key: &[u8; 32], before: &Tag) -> io::Result<Run> {
        let mut random = [0; SALT + PREFIX];
        SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("no random bytes"))?;
        let (own, check) = derive(key, random.get(..SALT).unwrap_or_default(), before)
            .ok_or_else(|| io::Error::other("a key could not be derived"))?;
        let mut header = [0; HEADER];
        for (to, from) in header.iter_mut().zip(MAGIC.iter().chain(&random).chain(&check)) {
            *to = *from;
        }
        Ok(Run { key: own, header, counter: 0 })
    }

    /// The run with this header, if it is of this key and stands behind the record of that tag.
    pub(super) fn resume(key: &[u8; 32], before: &Tag, header: &[u8]) -> Option<Run> {
        let header: [u8; HEADER] = header.try_into().ok()?;
        let (own, check) = derive(key, header.get(MAGIC.len()..MAGIC.len() + SALT)?, before)?;
        (header.get(HEADER - CHECK..)? == check).then_some(Run { key: own, header, counter: 0 })
    }

    /// As it stands before the first record.
    pub(super) fn header(&self) -> &[u8] {
        &self.header
    }

    /// Adds the next record, of these parts, to `out`; its tag.
    pub(super) fn seal(&mut self, kind: Kind, parts: &[&[u8]], out: &mut Vec<u8>) -> io::Result<Tag> {
        let fault = || io::Error::other("a record could not be encrypted");
        let mut text = parts.concat();
        let len = u32::try_from(text.len().saturating_add(TAG)).map_err(|_| fault())?;
        let [a, b, c, d] = len.to_be_bytes();
        let shape = [kind.code(), a, b, c, d];
        let counter = self.counter;
        self.counter = counter.checked_add(1).ok_or_else(fault)?;
        let aad = self.aad(&shape);
        let frame = self
            .key
            .seal_in_place_separate_tag(self.nonce(counter, Place::Frame), Aad::from(&aad), &mut [])
            .map_err(|_| fault())?;
        let tag = self
            .key
            .seal_in_place_separate_tag(self.nonce(counter, place(kind)), Aad::from(&aad), &mut text)
            .map_err(|_| fault())?;
        out.extend_from_slice(&shape);
        out.extend_from_slice(frame.as_ref());
        out.extend_from_slice(&text);
        out.extend_from_slice(tag.as_ref());
        tag.as_ref().try_into().map_err(|_| fault())
    }

    /// Kind and length of the ciphertext of the next record, if its frame is genuine; no kind where it is none of ours.
    pub(super) fn frame(&self, frame: &[u8]) -> Option<(Option<Kind>, usize)> {
        let (shape, tag) = frame.split_at_checked(SHAPE)?;
        let mut tag: Tag = tag.try_into().ok()?;
        let nonce = self.nonce(self.counter, Place::Frame);
        self.key.open_in_place(nonce, Aad::from(&self.aad(shape)), &mut tag).ok()?;
        let [code, len @ ..] = shape.try_into().ok().map(|shape: [u8; SHAPE]| shape)?;
        Some((Kind::of(code), usize::try_from(u32::from_be_bytes(len)).ok()?))
    }

    /// Decrypts the next record in place, if it is genuine; its length without the tag.
    pub(super) fn open(&mut self, shape: &[u8], kind: Kind, text: &mut [u8]) -> Option<usize> {
        let nonce = self.nonce(self.counter, place(kind));
        let aad = self.aad(shape);
        let len = self.key.open_in_place(nonce, Aad::from(&aad), text).ok()?.len();
        self.counter = self.counter.checked_add(1)?;
        Some(len)
    }

    /// Leaves the next record out.
    pub(super) fn skip(&mut self) -> Option<()> {
        self.counter = self.counter.checked_add(1)?;
        Some(())
    }

    fn aad(&self, shape: &[u8]) -> Vec<u8> {
        [self.header.as_slice(), shape].concat()
    }

    fn nonce(&self, counter: u32, place: Place) -> Nonce {
        let prefix = self.header.iter().skip(MAGIC.len() + SALT).take(PREFIX);
        let mut nonce = [0; NONCE_LEN];
        let parts = prefix.copied().chain(counter.to_be_bytes()).chain([place as u8]);
        for (to, from) in nonce.iter_mut().zip(parts) {
            *to = from;
        }
        Nonce::assume_unique_for_key(nonce)
    }
}

fn place(kind: Kind) -> Place {
    match kind {
        Kind::Data | Kind::Patch | Kind::Pictures => Place::Within,
        Kind::Last => Place::Last,
    }
}

/// The key of a run, and what its header says of the key.
fn derive(key: &[u8; 32], salt: &[u8], before: &Tag) -> Option<(LessSafeKey, [u8; CHECK])> {
    struct Length;
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            32 + CHECK
        }
    }
    let mut out = [0; 32 + CHECK];
    let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(key);
    secret.expand(&[INFO, before], Length).ok()?.fill(&mut out).ok()?;
    let (own, check) = out.split_at_checked(32)?;
    let own = UnboundKey::new(&CHACHA20_POLY1305, own).ok()?;
    Some((LessSafeKey::new(own), check.try_into().ok()?))
}

/// Whether a file that begins so is encrypted, as far as that can be seen.
pub(super) fn is_encrypted(front: &[u8]) -> bool {
    let seen = front.len().min(MAGIC.len());
    seen > 0 && front.get(..seen) == MAGIC.get(..seen)
}

/// Whether a file that begins so is encrypted in a way of a later release: the version is higher than ours. A higher one
/// than [`MAX_VERSION`] will never be; a stamped file in the clear begins alike, with a letter there.
pub(super) fn is_newer(front: &[u8]) -> bool {
    let (Some(own), Some(version)) = (MAGIC.split_last(), front.get(MAGIC.len() - 1)) else { return false };
    front.starts_with(own.1) && (own.0 + 1..=MAX_VERSION).contains(version)
}

/// A small file of one record.
///
/// # Errors
/// As [`Run::begin`].
pub(super) fn seal_small(encryption: &Encryption, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let Some(key) = encryption.for_new_files() else { return Ok(bytes) };
    let mut run = Run::begin(&key, &Tag::default())?;
    let mut out = run.header().to_vec();
    run.seal(Kind::Last, &[&bytes], &mut out)?;
    Ok(out)
}
