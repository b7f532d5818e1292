//! Renewal while the agent runs: a task that waits until two thirds of the certificate's life are over.

use super::enrolment::enroll;
use super::est::Est;
use super::server::{Failure, Right};
use super::store;
use crate::config::{Config, Enrolment};
use crate::disk::{Fs, RealFs};
use crate::domain::time::Utc;
use crate::system::clock;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often the clock is checked: it may step, and a sleep of months would not notice.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);
/// Minimum wait: a server that issues certificates which are due at once must not be asked in a tight loop.
const MIN_WAIT: Duration = Duration::from_secs(1);
/// Wait after a failure; a third of the certificate's life remains for retries.
const RETRY_INTERVAL: Duration = Duration::from_secs(3600);

/// When a certificate that is valid `from` … `until` is to be renewed: after two thirds of its life.
#[must_use]
pub fn renew_at(from: Utc, until: Utc) -> Utc {
    from + until.since(from) / 3 * 2
}

/// Watches the certificate that the agent uses, and renews it if `config` says how. Publishes its end as soon
/// as that is known and after each renewal.
///
/// The new identity is used from the next connection on. Nothing else is affected: the current session goes
/// on, and so does recording.
#[must_use]
pub fn start(config: &Config, trust: clock::Trust) -> watch::Receiver<Option<Utc>> {
    let (tell, until) = watch::channel(None);
    let watched = Watched {
        file: config.mqtt.cert.clone(),
        dir: config.device.state_dir.clone(),
        device: config.device.id.clone(),
        enrolment: config.identity.clone(),
        trust,
    };
    tokio::spawn(watched.run(tell));
    until
}

struct Watched {
    file: PathBuf,
    dir: PathBuf,
    device: String,
    enrolment: Option<Enrolment>,
    trust: clock::Trust,
}

impl Watched {
    async fn run(self, tell: watch::Sender<Option<Utc>>) {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        loop {
            let current = self.current().await;
            tell.send_if_modified(|told| {
                let until = current.as_ref().map(|it| it.until);
                std::mem::replace(told, until) != until
            });
            let mut wait = CHECK_INTERVAL;
            let now = clock::now(self.trust);
            if let (Some(enrolment), Some(current), true) = (&self.enrolment, current, now.synchronised) {
                let due = renew_at(current.from, current.until);
                wait = wait.min(due.since(now.system).max(MIN_WAIT));
                if now.system >= due {
                    wait = match self.renew(Arc::clone(&fs), enrolment.clone(), now.system).await {
                        Ok(until) => {
                            tracing::info!("the device's certificate was renewed, and is good until {until}");
                            MIN_WAIT
                        }
                        Err(failure) => {
                            tracing::warn!(
                                "the device's certificate, good until {}, could not be renewed: {failure}",
                                current.until
                            );
                            match failure {
                                Failure::Later(Some(wait)) => wait.max(CHECK_INTERVAL),
                                Failure::Later(None) | Failure::Refused(_) | Failure::Disk(_) => {
                                    RETRY_INTERVAL
                                }
                            }
                        }
                    };
                }
            }
            tokio::time::sleep(wait).await;
        }
    }

    /// Reads the certificate that is in use, off the network thread.
    async fn current(&self) -> Option<store::Identity> {
        let file = self.file.clone();
        let read = move || store::parse(&std::fs::read(file).ok()?);
        tokio::task::spawn_blocking(read).await.ok().flatten()
    }

    async fn renew(&self, fs: Arc<dyn Fs>, enrolment: Enrolment, now: Utc) -> Result<Utc, Failure> {
        let server = Est::new(enrolment, self.file.clone());
        let issued = enroll(&*fs, &self.dir, &self.device, Right::Identity, &server, now).await?;
        Ok(issued.until)
    }
}
