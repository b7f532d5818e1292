//! The network, for both the broker and the store: one dialer, one kind of stream.
//!
//! [`Dialer::open`] resolves the name each time, tries its addresses as in RFC 8305, runs TLS on the first
//! that answers, and returns a [`Stream`] that ends by itself when nothing moves. If there is none, a
//! [`Fault`] says why, in text that is safe to log.

mod dial;
mod fault;
mod progress;
mod resolve;
mod stream;
pub mod suites;

pub use dial::{Dialer, Limits, Target};
pub use fault::{Fault, Names, of_io, of_stream, of_tls};
pub use progress::Watched;
pub use stream::{Stream, Wire};
