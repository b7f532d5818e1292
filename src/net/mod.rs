//! The network, for the broker and for the store alike: one dialer, one kind of stream.
//!
//! [`Dialer::open`] resolves a name anew each time, tries its addresses as RFC 8305 says, speaks TLS on the one that
//! answers first, and hands over a [`Stream`] that ends by itself when nothing moves. Why there is none is a
//! [`Fault`]: words that are safe to log.

mod dial;
mod fault;
mod progress;
mod resolve;

pub use dial::{Dialer, Limits, Target};
pub use fault::{Fault, Names, of_io, of_stream, of_tls};
pub use progress::Watched;

use tokio::io::{AsyncRead, AsyncWrite};

/// What a [`Stream`] can do.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// A connection that is open: TLS, or plain TCP where that was asked for.
pub type Stream = Box<dyn Wire>;
