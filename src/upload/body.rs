//! The bytes of an object being sent: read from their place, piece by piece, on a separate thread.
//!
//! No body is ever kept in memory as a whole. Reading and decrypting block, and hashing takes long: none of
//! it happens on the network thread, where it would delay a privacy command.

use super::fault::Fault;
use crate::fmp4::Attributes;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use md5::{Digest as _, Md5};
use ring::digest::{Context as Hash, SHA256};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Maximum size of a piece, in bytes.
pub const MAX_PIECE: usize = 64 * 1024;
/// Maximum number of pieces between the reading thread and the network.
const MAX_PIECES: usize = 2;

/// The bytes of an object. They can be read from the start any number of times, and are the same each time.
pub trait Body: Send + Sync + 'static {
    /// Hands all bytes to `take`, in order, in pieces; stops early if `take` returns false. Blocks: called on
    /// its own thread.
    ///
    /// # Errors
    /// Why they cannot be read, as text.
    fn read(&self, take: &mut dyn FnMut(Bytes) -> bool) -> Result<(), String>;

    /// The attributes of the object, if it is a segment.
    fn attributes(&self) -> Option<&Attributes> {
        None
    }
}

impl Body for Bytes {
    fn read(&self, take: &mut dyn FnMut(Bytes) -> bool) -> Result<(), String> {
        take(self.clone());
        Ok(())
    }
}

/// The result of reading a body to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// Size in bytes.
    pub size: u64,
    /// SHA-256 of all bytes.
    pub sha256: [u8; 32],
}

/// Reads the body to its end, once.
///
/// # Errors
/// Why it cannot be read.
pub async fn digest(body: Arc<dyn Body>) -> Result<Digest, String> {
    // If the future is dropped, the thread stops reading.
    let wanted = Arc::new(AtomicBool::new(true));
    let _withdraws = Withdraws(Arc::clone(&wanted));
    let reading = tokio::task::spawn_blocking(move || {
        let (mut hash, mut size) = (Hash::new(&SHA256), 0_u64);
        body.read(&mut |piece| {
            hash.update(&piece);
            size = size.saturating_add(piece.len() as u64);
            wanted.load(Ordering::Relaxed)
        })?;
        let sha256 = hash.finish().as_ref().try_into().map_err(|_| String::from("no SHA-256"))?;
        Ok(Digest { size, sha256 })
    });
    reading.await.unwrap_or_else(|_| Err(String::from("reading it failed")))
}

/// The MD5 of a body, for stores that prove with it what they hold. This reads the body once more: most
/// stores never need it.
///
/// # Errors
/// Why it cannot be read.
pub(super) async fn md5(body: Arc<dyn Body>) -> Result<[u8; 16], String> {
    let wanted = Arc::new(AtomicBool::new(true));
    let _withdraws = Withdraws(Arc::clone(&wanted));
    let reading = tokio::task::spawn_blocking(move || {
        let mut hash = Md5::new();
        body.read(&mut |piece| {
            hash.update(&piece);
            wanted.load(Ordering::Relaxed)
        })?;
        Ok(hash.finalize().into())
    });
    reading.await.unwrap_or_else(|_| Err(String::from("reading it failed")))
}

struct Withdraws(Arc<AtomicBool>);

impl Drop for Withdraws {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// A body as HTTP sends it. The reading thread ends when this is dropped.
pub(super) struct Streamed {
    pieces: mpsc::Receiver<Result<Bytes, String>>,
    left: u64,
    spoilt: Arc<AtomicBool>,
}

impl Streamed {
    /// Starts to read `size` bytes; sets `spoilt` if that fails on the camera's side.
    pub(super) fn begin(body: Arc<dyn Body>, size: u64, spoilt: Arc<AtomicBool>) -> Streamed {
        let (sender, pieces) = mpsc::channel(MAX_PIECES);
        if size > 0 {
            tokio::task::spawn_blocking(move || {
                let read = body.read(&mut |mut bytes| {
                    while !bytes.is_empty() {
                        let piece = bytes.split_to(bytes.len().min(MAX_PIECE));
                        if sender.blocking_send(Ok(piece)).is_err() {
                            return false;
                        }
                    }
                    true
                });
                if let Err(why) = read {
                    let _nobody_listens = sender.blocking_send(Err(why));
                }
            });
        }
        Streamed { pieces, left: size, spoilt }
    }

    fn fail(&mut self, why: &str) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        self.spoilt.store(true, Ordering::Relaxed);
        Poll::Ready(Some(Err(Fault(why.to_owned()))))
    }
}

impl HttpBody for Streamed {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        match std::task::ready!(self.pieces.poll_recv(cx)) {
            Some(Ok(piece)) => {
                let size = piece.len() as u64;
                if size > self.left {
                    return self.fail("the segment is longer than it was");
                }
                self.left -= size;
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
            Some(Err(why)) => self.fail(&why),
            None => self.fail("the segment is shorter than it was"),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
