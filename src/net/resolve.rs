//! Resolves names to addresses with the system's resolver, each time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Maximum number of resolutions at once. One that timed out continues in its thread until the system's
/// resolver gives up.
const MAX_AT_ONCE: usize = 4;

#[derive(Debug)]
pub(super) struct Resolver {
    free: Arc<Semaphore>,
}

impl Default for Resolver {
    fn default() -> Resolver {
        Resolver { free: Arc::new(Semaphore::new(MAX_AT_ONCE)) }
    }
}

impl Resolver {
    /// The addresses of `host`, in the resolver's order. An address resolves to itself.
    ///
    /// # Errors
    /// Why there are none, as text.
    pub(super) async fn resolve(
        &self,
        host: &str,
        port: u16,
        within: Duration,
    ) -> Result<Vec<SocketAddr>, String> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let slow = || format!("the name is not resolved within {within:?}");
        let looking = async {
            let Ok(permit) = Arc::clone(&self.free).acquire_owned().await else { return Err(slow()) };
            let host = host.to_owned();
            let found = tokio::task::spawn_blocking(move || {
                let found = std::net::ToSocketAddrs::to_socket_addrs(&(host.as_str(), port));
                drop(permit);
                found.map(Iterator::collect)
            });
            match found.await {
                Ok(Ok(found)) => Ok(found),
                // The resolver's own text says which: no such name, or no answer for now.
                Ok(Err(error)) => Err(format!("the name cannot be resolved: {}", words(&error))),
                Err(_) => Err(slow()),
            }
        };
        timeout(within, looking).await.unwrap_or_else(|_| Err(slow()))
    }
}

/// The error of `getaddrinfo` without the prefix of the standard library.
fn words(error: &std::io::Error) -> String {
    let text = error.to_string();
    text.rsplit(": ").next().unwrap_or(&text).to_owned()
}
