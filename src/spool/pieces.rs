//! Buffers that are filled, passed on, and return once nobody reads them any more.
//!
//! A segment is read in pieces, a few of which are on their way at once. If each were a block of its own, it
//! would be mapped, cleared and returned to the kernel a thousand times a segment.

use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};

/// Maximum number of buffers that are kept: as many as are on their way at once.
const MAX_KEPT: usize = 4;

/// Buffers of one size.
#[derive(Clone, Debug)]
pub(super) struct Pieces {
    size: usize,
    kept: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A buffer, and the list to which it returns.
struct Piece {
    buffer: Vec<u8>,
    len: usize,
    home: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Pieces {
    /// No buffers yet; each will have `size` bytes.
    pub(super) fn new(size: usize) -> Pieces {
        Pieces { size, kept: Arc::default() }
    }

    /// A buffer of `size` bytes, with any content.
    pub(super) fn take(&self) -> Vec<u8> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| vec![0; self.size])
    }

    /// The first `len` bytes of a buffer, which returns when everything made of them is dropped.
    pub(super) fn share(&self, buffer: Vec<u8>, len: usize) -> Bytes {
        Bytes::from_owner(Piece { buffer, len, home: Arc::clone(&self.kept) })
    }
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let mut kept = self.home.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MAX_KEPT {
            kept.push(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_once_the_last_reader_has_dropped_it() {
        let pieces = Pieces::new(8);
        let mut buffer = pieces.take();
        buffer[..3].copy_from_slice(b"abc");
        let address = buffer.as_ptr();
        let shared = pieces.share(buffer, 3);
        let part = shared.slice(1..);
        drop(shared);
        let another = pieces.take();
        assert_ne!(another.as_ptr(), address, "it is still read");
        assert_eq!(&part[..], b"bc");
        drop(part);
        let same = pieces.take();
        assert_eq!(same.as_ptr(), address);
    }

    #[test]
    fn no_more_buffers_are_kept_than_are_on_their_way_at_once() {
        let pieces = Pieces::new(8);
        let taken: Vec<Vec<u8>> = (0..20).map(|_| pieces.take()).collect();
        taken.into_iter().for_each(|buffer| drop(pieces.share(buffer, 8)));
        assert_eq!(pieces.kept.lock().unwrap().len(), MAX_KEPT);
    }
}
