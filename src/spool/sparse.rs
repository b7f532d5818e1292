//! Reads a file without its samples: only the boxes around them.

use crate::disk::{Fs, Handle};
use std::io;

/// Maximum size of a box other than `mdat`, in bytes.
const MAX_BOX: u64 = 1024 * 1024;
/// A file of more boxes is read completely.
const MAX_BOXES: u32 = 16_384;
/// Bytes that are read at once outside of samples: enough for the boxes between the samples of two chunks of
/// half a second at 30 frames a second.
const WINDOW: usize = 1024;

/// The file with zeros instead of the content of its `mdat` boxes. A start reads thousands of files: their
/// samples are neither read from flash nor, because untouched zeros have no pages, held in memory.
///
/// # Errors
/// Those of [`Fs`].
pub(super) fn without_samples(fs: &dyn Fs, file: &Handle, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let mut ahead = Ahead::new(fs, file);
    let (mut at, mut boxes) = (0_u64, 0_u32);
    while let Some(header) = header(&mut ahead, at)? {
        let left = len.saturating_sub(at);
        boxes += 1;
        let odd = header.size < header.head || header.size > left || boxes > MAX_BOXES;
        let wanted = if odd {
            left
        } else if header.is_mdat {
            header.head
        } else if header.size > MAX_BOX {
            left
        } else {
            header.size
        };
        fill(&mut ahead, at, wanted, &mut bytes)?;
        at = at.saturating_add(if wanted == left { left } else { header.size });
    }
    Ok(bytes)
}

/// A file that is read in small parts from its front. Each read takes some bytes in advance, so that the boxes
/// around the samples of a chunk need one read together.
struct Ahead<'a> {
    fs: &'a dyn Fs,
    file: &'a Handle,
    /// Offset of `window` in the file, and how many of its bytes were read.
    at: u64,
    held: usize,
    window: Vec<u8>,
}

impl<'a> Ahead<'a> {
    fn new(fs: &'a dyn Fs, file: &'a Handle) -> Ahead<'a> {
        Ahead { fs, file, at: 0, held: 0, window: vec![0; WINDOW] }
    }

    /// As [`Fs::read_at`].
    fn read_at(&mut self, at: u64, into: &mut [u8]) -> io::Result<usize> {
        if into.len() > WINDOW {
            return self.fs.read_at(self.file, at, into);
        }
        if self.behind(at).is_none_or(|held| held.len() < into.len()) {
            self.held = self.fs.read_at(self.file, at, &mut self.window)?;
            self.at = at;
        }
        let held = self.behind(at).unwrap_or_default();
        let count = held.len().min(into.len());
        if let (Some(to), Some(from)) = (into.get_mut(..count), held.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }

    /// The bytes from this offset on that were read already.
    fn behind(&self, at: u64) -> Option<&[u8]> {
        let from = usize::try_from(at.checked_sub(self.at)?).ok()?;
        self.window.get(from..self.held)
    }
}

struct Header {
    size: u64,
    /// Length of the header itself.
    head: u64,
    is_mdat: bool,
}

fn header(ahead: &mut Ahead<'_>, at: u64) -> io::Result<Option<Header>> {
    let mut head = [0_u8; 16];
    let read = ahead.read_at(at, &mut head)?;
    if read == 0 {
        return Ok(None);
    }
    let [a, b, c, d, kind @ .., e, f, g, h, i, j, k, l] = head;
    let long = u64::from_be_bytes([e, f, g, h, i, j, k, l]);
    let (size, head) = match u32::from_be_bytes([a, b, c, d]) {
        1 => (long, 16),
        short => (u64::from(short), 8),
    };
    Ok(Some(Header { size, head, is_mdat: kind == *b"mdat" }))
}

fn fill(ahead: &mut Ahead<'_>, at: u64, len: u64, bytes: &mut [u8]) -> io::Result<()> {
    let range = usize::try_from(at).unwrap_or(usize::MAX)
        ..usize::try_from(at.saturating_add(len)).unwrap_or(usize::MAX);
    match bytes.get_mut(range) {
        Some(into) => ahead.read_at(at, into).map(|_| ()),
        None => Ok(()),
    }
}
