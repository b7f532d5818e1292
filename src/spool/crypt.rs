//! Encryption of the files of the spool, and decryption of a record.
//!
//! A file is one or more *runs*. A run is a header (magic and version, salt, nonce prefix, key check) and
//! records; a record is a frame (kind, length, tag) and a ciphertext with its tag. Everything is
//! ChaCha20-Poly1305 (RFC 8439) in the STREAM construction of Hoang, Reyhanitabar, Rogaway and Vizár (2015):
//! the nonce is the run's prefix, the number of the record, and a byte that says whether it is the last of
//! the file; the header and the kind and length of the record are the associated data.
//!
//! Each run has its own key: HKDF-SHA256 (RFC 5869) of the spool's key, with the random salt of the header,
//! and with the tag of the record before the run. A writer that continues a file that was cut back begins a
//! new run, so no nonce is used twice under one key, whatever happened to the records that were cut off; and
//! no run can be removed or moved.
//!
//! [`super::decrypt`] reads such a file.
//!
//! A frame has its own tag, so that a changed length is not mistaken for the end of a file that was cut off.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf;
use ring::rand::{SecureRandom, SystemRandom};
use std::fmt;
use std::io;
use std::sync::Arc;

/// The last byte is the version.
const MAGIC: [u8; 8] = *b"kasacam\x01";
/// The highest version that there will ever be.
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

/// Whether new files are encrypted, and the key. `Debug` does not show the key.
#[derive(Clone, Default)]
pub struct Encryption {
    key: Option<Arc<[u8; 32]>>,
    encrypts: bool,
}

impl Encryption {
    /// No key: encrypted files cannot be read, and new ones are not encrypted.
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

    /// The key, if new files are to be encrypted.
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

/// The kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordKind {
    /// The next bytes of the file.
    Data,
    /// An offset (8 bytes, big-endian), and the bytes that replace those at that offset.
    Patch,
    /// The last bytes of the file.
    Last,
    /// The next bytes of the file: the content of an `mdat`. A start does not need them.
    Samples,
}

impl RecordKind {
    fn code(self) -> u8 {
        match self {
            RecordKind::Data => 0,
            RecordKind::Patch => 1,
            RecordKind::Last => 2,
            RecordKind::Samples => 3,
        }
    }

    fn of(code: u8) -> Option<RecordKind> {
        [RecordKind::Data, RecordKind::Patch, RecordKind::Last, RecordKind::Samples]
            .into_iter()
            .find(|kind| kind.code() == code)
    }
}

/// The last byte of a nonce.
#[derive(Clone, Copy)]
enum Place {
    Within = 0,
    Last = 1,
    Frame = 2,
}

/// The tag of a record; zeros before the first of a file.
pub(super) type Tag = [u8; TAG];

/// A run to which records are added, or from which they are read.
pub(super) struct RecordRun {
    key: LessSafeKey,
    header: [u8; HEADER],
    counter: u32,
}

impl RecordRun {
    /// A new run after the record with that tag.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(super) fn begin(key: &[u8; 32], before: &Tag) -> io::Result<RecordRun> {
        let mut random = [0; SALT + PREFIX];
        SystemRandom::new().fill(&mut random).map_err(|_| io::Error::other("no random bytes"))?;
        let (own, check) = derive(key, random.get(..SALT).unwrap_or_default(), before)
            .ok_or_else(|| io::Error::other("a key could not be derived"))?;
        let mut header = [0; HEADER];
        for (to, from) in header.iter_mut().zip(MAGIC.iter().chain(&random).chain(&check)) {
            *to = *from;
        }
        Ok(RecordRun { key: own, header, counter: 0 })
    }

    /// The run with this header, if it has this key and follows the record with that tag.
    pub(super) fn resume(key: &[u8; 32], before: &Tag, header: &[u8]) -> Option<RecordRun> {
        let header: [u8; HEADER] = header.try_into().ok()?;
        let (own, check) = derive(key, header.get(MAGIC.len()..MAGIC.len() + SALT)?, before)?;
        (header.get(HEADER - CHECK..)? == check).then_some(RecordRun { key: own, header, counter: 0 })
    }

    /// The header of the run.
    pub(super) fn header(&self) -> &[u8] {
        &self.header
    }

    /// Adds the next record, made of these parts, to `out`. Returns its tag.
    pub(super) fn seal(&mut self, kind: RecordKind, parts: &[&[u8]], out: &mut Vec<u8>) -> io::Result<Tag> {
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

    /// Kind and length of the ciphertext of the next record, if its frame is authentic; no kind if it is
    /// unknown.
    pub(super) fn frame(&self, frame: &[u8]) -> Option<(Option<RecordKind>, usize)> {
        let (shape, tag) = frame.split_at_checked(SHAPE)?;
        let mut tag: Tag = tag.try_into().ok()?;
        let nonce = self.nonce(self.counter, Place::Frame);
        self.key.open_in_place(nonce, Aad::from(&self.aad(shape)), &mut tag).ok()?;
        let [code, len @ ..] = shape.try_into().ok().map(|shape: [u8; SHAPE]| shape)?;
        Some((RecordKind::of(code), usize::try_from(u32::from_be_bytes(len)).ok()?))
    }

    /// Decrypts the next record in place, if it is authentic. Returns its length without the tag.
    pub(super) fn open(&mut self, shape: &[u8], kind: RecordKind, text: &mut [u8]) -> Option<usize> {
        let nonce = self.nonce(self.counter, place(kind));
        let aad = self.aad(shape);
        let len = self.key.open_in_place(nonce, Aad::from(&aad), text).ok()?.len();
        self.counter = self.counter.checked_add(1)?;
        Some(len)
    }

    /// Skips the next record.
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

fn place(kind: RecordKind) -> Place {
    match kind {
        RecordKind::Data | RecordKind::Patch | RecordKind::Samples => Place::Within,
        RecordKind::Last => Place::Last,
    }
}

/// The key of a run, and the check of the key in its header.
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

/// Whether a file that begins so is encrypted, as far as these bytes show it.
pub(super) fn is_encrypted(front: &[u8]) -> bool {
    let seen = front.len().min(MAGIC.len());
    seen > 0 && front.get(..seen) == MAGIC.get(..seen)
}

/// Whether a file that begins so was encrypted by a later release: its version is higher than ours, and at
/// most [`MAX_VERSION`]. An unencrypted stamped file begins alike, with a letter in that place.
pub(super) fn is_newer(front: &[u8]) -> bool {
    let (Some(own), Some(version)) = (MAGIC.split_last(), front.get(MAGIC.len() - 1)) else { return false };
    front.starts_with(own.1) && (own.0 + 1..=MAX_VERSION).contains(version)
}

/// A small file of one record.
///
/// # Errors
/// As [`RecordRun::begin`].
pub(super) fn seal_small(encryption: &Encryption, bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let Some(key) = encryption.for_new_files() else { return Ok(bytes) };
    let mut run = RecordRun::begin(&key, &Tag::default())?;
    let mut out = run.header().to_vec();
    run.seal(RecordKind::Last, &[&bytes], &mut out)?;
    Ok(out)
}
