//! A TCP stream with an inactivity timeout.

use super::fault::Fault;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// Fails when no byte has moved for the limit, in the direction in which it waits. Bytes that leave the
/// kernel's send buffer count as moved: on a link of a few KiB per second, sending the buffer takes longer
/// than any reasonable limit.
///
/// What the peer sent before it reset the connection can still be read (a server that refuses a request, and
/// closes without reading it to its end, does exactly this). So a write that finds the connection reset is
/// ignored, and the next read reports the end.
pub struct Watched {
    tcp: TcpStream,
    limit: Duration,
    idle: Pin<Box<Sleep>>,
    /// Bytes in the send buffer when it was last checked.
    queued: u64,
    /// Bytes moved since the timeout was last restarted.
    moved: bool,
}

impl Watched {
    /// Watches a stream; the limit starts now.
    #[must_use]
    pub fn new(tcp: TcpStream, limit: Duration) -> Watched {
        Watched { tcp, limit, idle: Box::pin(tokio::time::sleep(limit)), queued: 0, moved: false }
    }

    /// If the stream waits, waits for the timeout too, which begins anew if bytes moved since it last waited.
    fn watch<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.moved = true;
            return poll;
        }
        if std::mem::take(&mut self.moved) {
            self.queued = self.in_send_buffer();
            self.restart();
        }
        while self.idle.as_mut().poll(cx).is_ready() {
            let queued = self.in_send_buffer();
            if queued >= self.queued {
                let fault = Fault(format!("no byte moved for {:?}", self.limit));
                return Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, fault)));
            }
            self.queued = queued;
            self.restart();
        }
        Poll::Pending
    }

    fn restart(&mut self) {
        let limit = self.limit;
        self.idle.as_mut().reset(Instant::now() + limit);
    }

    /// Bytes that the peer has not acknowledged; 0 if the kernel does not say.
    fn in_send_buffer(&self) -> u64 {
        let mut bytes: libc::c_int = 0;
        // SAFETY: TIOCOUTQ (`SIOCOUTQ` of a socket, tcp(7)) writes one int to the given address, which is
        // that of a live variable, and the descriptor stays open as long as `self.tcp` exists.
        let told = unsafe { libc::ioctl(self.tcp.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
        if told == 0 { u64::try_from(bytes).unwrap_or(0) } else { 0 }
    }
}

fn let_pass(poll: Poll<io::Result<usize>>, bytes: usize) -> Poll<io::Result<usize>> {
    poll.map(|written| match written {
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => Ok(bytes),
        written => written,
    })
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
        let poll = let_pass(poll, buf.len());
        self.watch(cx, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        let poll = let_pass(poll, bufs.iter().map(|buf| buf.len()).sum());
        self.watch(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    // A flush of TCP moves no byte, so it does not restart the timeout.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
