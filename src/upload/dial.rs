//! Connections: opened within a deadline, and ended when no byte moves.

use super::fault::Fault;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, Sleep, timeout};
use tower_service::Service;

/// The kernel doubles it. Small, for three reasons: a camera has little memory, the rate holds on the wire too, and
/// what lies here drains within the inactivity limit at the slowest rate that the deadline allows.
const SEND_BUFFER: u32 = 128 * 1024;
/// Addresses of one name that are tried.
const MOST_ADDRESSES: usize = 4;

/// Opens TCP connections.
#[derive(Clone, Debug)]
pub(super) struct Dial {
    /// For name, TCP and (by [`Within`]) TLS together.
    pub(super) connect: Duration,
    /// With no byte in either direction for so long, the connection ends.
    pub(super) inactivity: Duration,
}

impl Service<Uri> for Dial {
    type Response = TokioIo<Watched>;
    type Error = Fault;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Fault>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move { dial.open(&uri).await })
    }
}

impl Dial {
    async fn open(&self, uri: &Uri) -> Result<TokioIo<Watched>, Fault> {
        let plain = uri.scheme() != Some(&http::uri::Scheme::HTTPS);
        let host = uri.host().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = uri.port_u16().unwrap_or(if plain { 80 } else { 443 });
        let place = format!("{host}:{port}");
        let found = tokio::net::lookup_host((host, port))
            .await
            .map_err(|error| Fault(format!("{place}: the name cannot be resolved: {}", error.kind())))?;
        // A name such as `localhost` is loopback only if it resolves so.
        let addresses: Vec<SocketAddr> =
            found.filter(|address| !plain || address.ip().is_loopback()).take(MOST_ADDRESSES).collect();
        // Shared evenly, so that a dead first address leaves time for the next.
        let share = self.connect / u32::try_from(addresses.len().max(1)).unwrap_or(1);
        let mut last = Fault(format!("{place}: the name has no usable address"));
        for address in addresses {
            match timeout(share, self.open_address(address)).await {
                Ok(Ok(tcp)) => return Ok(TokioIo::new(Watched::new(tcp, self.inactivity))),
                Ok(Err(error)) => last = Fault(format!("{place}: {}", error.kind())),
                Err(_) => last = Fault(format!("{place}: no connection within {share:?}")),
            }
        }
        Err(last)
    }

    async fn open_address(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_send_buffer_size(SEND_BUFFER)?;
        socket.set_nodelay(true)?;
        // What was sent and is never acknowledged ends the connection (half-open TCP).
        let millis = u32::try_from(self.inactivity.as_millis()).unwrap_or(u32::MAX);
        setsockopt(&socket, sockopt::TcpUserTimeout, &millis).map_err(io::Error::from)?;
        socket.connect(address).await
    }
}

/// A TCP stream that fails when no byte has moved for the limit, in whichever direction it waits.
pub(super) struct Watched {
    tcp: TcpStream,
    limit: Duration,
    idle: Pin<Box<Sleep>>,
}

impl Watched {
    fn new(tcp: TcpStream, limit: Duration) -> Watched {
        Watched { tcp, limit, idle: Box::pin(tokio::time::sleep(limit)) }
    }

    /// Restarts the limit where bytes moved; where the stream waits, waits for the limit with it.
    fn watch<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match poll {
            Poll::Ready(result) => {
                let limit = self.limit;
                self.idle.as_mut().reset(Instant::now() + limit);
                Poll::Ready(result)
            }
            Poll::Pending => {
                std::task::ready!(self.idle.as_mut().poll(cx));
                let fault = Fault(format!("no byte moved for {:?}", self.limit));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, fault)))
            }
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.tcp).poll_read(cx, buf);
        self.watch(cx, poll)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.watch(cx, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.watch(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    // A flush of TCP moves no byte, so it does not restart the limit.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}

impl Connection for Watched {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

/// A connector that has to be done within a time: TCP and TLS together.
#[derive(Clone, Debug)]
pub(super) struct Within<C> {
    pub(super) connector: C,
    pub(super) limit: Duration,
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

impl<C> Service<Uri> for Within<C>
where
    C: Service<Uri, Error = BoxError>,
    C::Future: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<C::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let limit = self.limit;
        let opening = self.connector.call(uri);
        Box::pin(async move {
            match timeout(limit, opening).await {
                Ok(result) => result,
                Err(_) => Err(Fault(format!("no connection within {limit:?}")).into()),
            }
        })
    }
}
