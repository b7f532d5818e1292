//! The roots of `upload.ca`, as they are in the file when a connection is made: replaced roots count from the
//! next connection on.

use super::stamp::Stamp;
use super::tls;
use rustls::ClientConfig;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub(super) struct Roots {
    ca: PathBuf,
    last: Mutex<Read>,
}

#[derive(Clone)]
struct Read {
    stamp: Option<Stamp>,
    config: Arc<ClientConfig>,
}

impl Roots {
    /// Reads them for the first time.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(super) fn read(ca: &Path) -> Result<Roots, String> {
        // Before it is read: if the file changes in between, it is read again the next time.
        let stamp = stamp(ca);
        let config = Arc::new(tls::client_config(ca)?);
        Ok(Roots { ca: ca.to_owned(), last: Mutex::new(Read { stamp, config }) })
    }

    /// The configuration for a new connection, looked up on a thread that may wait for a disk. If the file
    /// cannot be used, the previous roots stay in use, and this is logged once.
    pub(super) async fn current(self: &Arc<Roots>) -> Arc<ClientConfig> {
        let roots = Arc::clone(self);
        let looked = tokio::task::spawn_blocking(move || roots.look()).await;
        looked.unwrap_or_else(|_| self.last().config)
    }

    fn last(&self) -> Read {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn look(&self) -> Arc<ClientConfig> {
        let (before, stamp) = (self.last(), stamp(&self.ca));
        if before.stamp == stamp {
            return before.config;
        }
        let config = match tls::client_config(&self.ca) {
            Ok(config) => Arc::new(config),
            Err(why) => {
                tracing::error!("{why}; connecting with the roots that were read before");
                before.config
            }
        };
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) =
            Read { stamp, config: Arc::clone(&config) };
        config
    }
}

fn stamp(ca: &Path) -> Option<Stamp> {
    std::fs::metadata(ca).ok().as_ref().map(Stamp::of)
}
