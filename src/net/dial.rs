//! Connecting by "Happy Eyeballs" (RFC 8305): the addresses of a name are tried with families interleaved,
//! starting 250 ms apart. The first that answers wins, and each has its own timeout. So one dead address, or
//! a whole family that is advertised but unreachable, costs a quarter of a second and not the connection.

use super::fault::{Fault, Names, of_stream};
use super::progress::Watched;
use super::resolve::Resolver;
use super::stream::Stream;
use nix::sys::socket::{setsockopt, sockopt};
use rustls_pki_types::ServerName;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;

/// Maximum number of addresses of one name that are tried.
const MAX_ADDRESSES: usize = 16;
/// "Connection Attempt Delay", RFC 8305, section 5.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// The kernel doubles it. Small, because a camera has little memory and the rate limit must hold on the wire
/// too.
const SEND_BUFFER: u32 = 128 * 1024;

/// How long each step of a connection may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Timeout of each step: resolving the name; then each address; then TLS.
    pub step: Duration,
    /// The connection ends if no byte moves in either direction for this long.
    pub inactivity: Duration,
}

/// Where to connect to.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// A name or an address; an IPv6 address with or without its brackets.
    pub host: &'a str,
    /// Its TCP port.
    pub port: u16,
    /// The names of its configuration keys.
    pub names: Names,
}

impl Target<'_> {
    /// Host and port as text, an IPv6 address in brackets.
    #[must_use]
    pub fn place(&self) -> String {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let port = self.port;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// Opens connections. Clones share one resolver.
#[derive(Clone, Debug)]
pub struct Dialer {
    resolver: Arc<Resolver>,
    limits: Limits,
    opened: Arc<AtomicU64>,
}

impl Dialer {
    /// A dialer with these limits; makes no connection.
    #[must_use]
    pub fn new(limits: Limits) -> Dialer {
        Dialer { resolver: Arc::new(Resolver::default()), limits, opened: Arc::default() }
    }

    /// Connections that were opened so far.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Relaxed)
    }

    /// Connects to `target`. The timeout is [`Limits::step`] each for the name, the last of its addresses,
    /// and TLS. Without `tls` it is plain TCP, and only to loopback addresses.
    ///
    /// # Errors
    /// Which step failed, on what, and what to do about it if that is known.
    pub async fn open(
        &self,
        target: Target<'_>,
        tls: Option<&Arc<rustls::ClientConfig>>,
    ) -> Result<Stream, Fault> {
        let host = target.host.trim_start_matches('[').trim_end_matches(']');
        let place = target.place();
        let step = self.limits.step;
        let found = self.resolver.resolve(host, target.port, step).await;
        let found = found.map_err(|why| Fault(format!("{place}: {why}")))?;
        // A name such as `localhost` counts as loopback only if it resolves to a loopback address.
        let usable: Vec<SocketAddr> =
            found.into_iter().filter(|address| tls.is_some() || address.ip().is_loopback()).collect();
        let tcp = self.first(&place, interleave(&usable)).await?;
        self.opened.fetch_add(1, Ordering::Relaxed);
        let watched = Watched::new(tcp, self.limits.inactivity);
        let Some(tls) = tls else { return Ok(Box::new(watched)) };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Fault(format!("{place}: {}: that is no host name", target.names.url)))?;
        match timeout(step, TlsConnector::from(Arc::clone(tls)).connect(name, watched)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(Fault(format!("{place}: {}", of_stream(&error, target.names)))),
            Err(_) => Err(Fault(format!("{place}: no answer to TLS within {step:?}"))),
        }
    }

    /// The first address that accepts the connection.
    async fn first(&self, place: &str, addresses: Vec<SocketAddr>) -> Result<TcpStream, Fault> {
        let mut last = Fault(format!("{place}: the name has no usable address"));
        let mut waiting = addresses.into_iter().peekable();
        // Dropping it cancels the attempts still under way when one has succeeded.
        let mut under_way = JoinSet::new();
        loop {
            if let Some(address) = waiting.next() {
                let limits = self.limits;
                under_way.spawn(async move { (address, attempt(address, limits).await) });
            }
            let next = Instant::now() + ATTEMPT_DELAY;
            tokio::select! {
                ended = under_way.join_next() => match ended {
                    Some(Ok((_, Ok(tcp)))) => return Ok(tcp),
                    Some(Ok((address, Err(why)))) => last = Fault(format!("{place}: {}: {why}", address.ip())),
                    Some(Err(_)) => {}
                    None => return Err(last),
                },
                () = sleep_until(next), if waiting.peek().is_some() => {}
            }
        }
    }
}

async fn attempt(address: SocketAddr, limits: Limits) -> Result<TcpStream, String> {
    match timeout(limits.step, connect(address, limits.inactivity)).await {
        Ok(Ok(tcp)) => Ok(tcp),
        Ok(Err(error)) => Err(error.kind().to_string()),
        Err(_) => Err(format!("no connection within {:?}", limits.step)),
    }
}

async fn connect(address: SocketAddr, inactivity: Duration) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_send_buffer_size(SEND_BUFFER)?;
    // A report must not be delayed by Nagle's algorithm.
    socket.set_nodelay(true)?;
    // Data that is never acknowledged ends the connection (half-open TCP).
    let millis = u32::try_from(inactivity.as_millis()).unwrap_or(u32::MAX);
    setsockopt(&socket, sockopt::TcpUserTimeout, &millis).map_err(io::Error::from)?;
    socket.connect(address).await
}

/// Alternates the families, starting with that of the first address: the resolver has sorted them (RFC 6724).
fn interleave(found: &[SocketAddr]) -> Vec<SocketAddr> {
    let Some(first) = found.first() else { return Vec::new() };
    let (own, other): (Vec<SocketAddr>, Vec<SocketAddr>) =
        found.iter().partition(|address| address.is_ipv4() == first.is_ipv4());
    let mut sorted = Vec::new();
    for at in 0..own.len().max(other.len()) {
        for address in own.get(at).into_iter().chain(other.get(at)) {
            if !sorted.contains(address) && sorted.len() < MAX_ADDRESSES {
                sorted.push(*address);
            }
        }
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<SocketAddr> {
        text.split(' ').map(|ip| SocketAddr::new(ip.parse().unwrap(), 1)).collect()
    }

    #[test]
    fn families_take_turns_beginning_with_the_first() {
        let sorted = interleave(&addresses("::1 ::2 ::3 10.0.0.1 10.0.0.2"));
        assert_eq!(sorted, addresses("::1 10.0.0.1 ::2 10.0.0.2 ::3"));
        let sorted = interleave(&addresses("10.0.0.1 10.0.0.2 ::1"));
        assert_eq!(sorted, addresses("10.0.0.1 ::1 10.0.0.2"));
    }

    #[test]
    fn an_address_is_tried_once_and_no_more_than_sixteen_are() {
        assert_eq!(
            interleave(&addresses("10.0.0.1 10.0.0.1 10.0.0.1 10.0.0.2")),
            addresses("10.0.0.1 10.0.0.2")
        );
        let many: Vec<String> = (0..40).map(|n| format!("10.0.0.{n}")).collect();
        assert_eq!(interleave(&addresses(&many.join(" "))).len(), MAX_ADDRESSES);
        assert_eq!(interleave(&[]), []);
    }
}
