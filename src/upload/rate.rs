//! `upload.max_rate`: a token bucket on the bytes of bodies, shared by all uploads.

use crate::domain::effect::Share;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// How much may be sent at once after a pause: little, so that the rate holds over every second.
const BURST: Duration = Duration::from_millis(100);
/// Maximum size of a piece of a body that is handed on at once, at a rate.
const MAX_PIECE: u64 = 16 * 1024;
const MIN_PIECE: u64 = 256;
/// The pieces of two uploads alternate. Beside an upload with a full share, the pieces of one with
/// `Share::Rest` are smaller by this factor.
const REST_DIVISOR: u64 = 8;
/// A lower rate would be a stall. 8 kbit/s, in bytes.
const MIN_RATE: u64 = 1000;

/// The bucket's arithmetic, without a clock.
#[derive(Debug, Default)]
pub struct Bucket {
    /// Bytes per second; `None` means unlimited.
    rate: Option<u64>,
    /// When the bytes that were let through so far would have been sent at exactly the rate.
    even: Duration,
}

impl Bucket {
    /// Sets the rate, in bytes per second, and forgets what was scheduled at the old one.
    pub fn set(&mut self, rate: Option<u64>, now: Duration) {
        self.rate = rate.map(|rate| rate.max(MIN_RATE));
        self.even = now;
    }

    /// Lets `bytes` through, after the wait that is returned. `now` counts from any fixed moment.
    pub fn take(&mut self, bytes: u64, now: Duration) -> Duration {
        let Some(rate) = self.rate else { return Duration::ZERO };
        let start = self.even.max(now.saturating_sub(BURST));
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate);
        self.even = start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        start.saturating_sub(now)
    }

    /// A piece takes at most a twentieth of a second (at 64 kbit/s, a quarter), so that the pieces of two
    /// uploads interleave and a new rate takes effect at once. Without a rate it is whatever the connection
    /// takes.
    fn piece(&self, share: Share) -> u64 {
        let Some(rate) = self.rate else { return u64::MAX };
        let piece = (rate / 20).clamp(MIN_PIECE * REST_DIVISOR, MAX_PIECE);
        match share {
            Share::Alone | Share::Full => piece,
            Share::Rest => piece / REST_DIVISOR,
        }
    }
}

/// The rate that all uploads share. It may be changed while they run.
#[derive(Debug)]
pub struct Rate {
    bucket: Mutex<Bucket>,
    /// The fixed moment from which the bucket counts.
    origin: Instant,
    /// Number of bodies with more than the rest that are being sent.
    full: AtomicUsize,
}

impl Rate {
    /// `bits` per second, or unlimited. Less than 8 kbit/s counts as 8 kbit/s.
    #[must_use]
    pub fn new(bits: Option<u64>) -> Rate {
        let rate = Rate { bucket: Mutex::default(), origin: Instant::now(), full: AtomicUsize::new(0) };
        rate.set(bits);
        rate
    }

    /// Changes the rate, also for uploads under way.
    pub fn set(&self, bits: Option<u64>) {
        let now = self.origin.elapsed();
        self.with(|bucket| bucket.set(bits.map(|bits| bits / 8), now));
    }

    fn take(&self, most: usize, share: Share) -> (usize, Duration) {
        let now = self.origin.elapsed();
        // If no other body is being sent, the rest is all of it.
        let share = if self.full.load(Ordering::Relaxed) == 0 { Share::Full } else { share };
        self.with(|bucket| {
            let bytes = u64::try_from(most).unwrap_or(u64::MAX).min(bucket.piece(share));
            // At most `most`, so it fits.
            (usize::try_from(bytes).unwrap_or(most), bucket.take(bytes, now))
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Bucket) -> T) -> T {
        f(&mut self.bucket.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A body that is handed on in pieces, at most at the rate.
pub(super) struct Throttled<E> {
    body: BoxBody<Bytes, E>,
    rate: Arc<Rate>,
    /// Read from `body`, not yet handed on.
    rest: Bytes,
    /// A piece that is due when the time comes.
    turn: Option<(usize, Pin<Box<Sleep>>)>,
    /// Bytes still to come, including `rest`.
    left: u64,
    share: Share,
}

impl<E> Throttled<E> {
    /// `size` is the exact length of `body` in bytes.
    pub(super) fn new<B>(body: B, size: u64, rate: Arc<Rate>, share: Share) -> Throttled<E>
    where
        B: Body<Data = Bytes, Error = E> + Send + Sync + 'static,
    {
        if share != Share::Rest {
            rate.full.fetch_add(1, Ordering::Relaxed);
        }
        Throttled { body: BoxBody::new(body), rate, rest: Bytes::new(), turn: None, left: size, share }
    }

    fn hand_on(&mut self, bytes: usize) -> Frame<Bytes> {
        let piece = self.rest.split_to(bytes.min(self.rest.len()));
        self.left = self.left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        Frame::data(piece)
    }
}

impl<E> Drop for Throttled<E> {
    fn drop(&mut self) {
        if self.share != Share::Rest {
            self.rate.full.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl<E> Body for Throttled<E> {
    type Data = Bytes;
    type Error = E;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, E>>> {
        loop {
            if let Some((bytes, turn)) = &mut self.turn {
                let bytes = *bytes;
                std::task::ready!(turn.as_mut().poll(cx));
                self.turn = None;
                return Poll::Ready(Some(Ok(self.hand_on(bytes))));
            }
            if self.rest.is_empty() {
                match std::task::ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => self.rest = data,
                        Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                    },
                    end => return Poll::Ready(end),
                }
                continue;
            }
            let (bytes, wait) = self.rate.take(self.rest.len(), self.share);
            if wait.is_zero() {
                return Poll::Ready(Some(Ok(self.hand_on(bytes))));
            }
            self.turn = Some((bytes, Box::pin(tokio::time::sleep(wait))));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_live_footage_the_rest_gets_one_part_in_nine() {
        for rate in [8000, 64_000, 1 << 20, 50 << 20] {
            let mut bucket = Bucket::default();
            bucket.set(Some(rate), Duration::ZERO);
            assert_eq!(bucket.piece(Share::Full), 8 * bucket.piece(Share::Rest), "{rate} bytes a second");
        }
    }
}
