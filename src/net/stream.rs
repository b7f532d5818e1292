//! An open connection.

use tokio::io::{AsyncRead, AsyncWrite};

/// What a [`Stream`] can do.
pub trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// An open connection: TLS, or plain TCP if that was requested.
pub type Stream = Box<dyn Wire>;
