//! One connection after the other, as long as the agent runs. What must survive a connection is in
//! [`Outbox`].

use super::connection::{self, ConnectionEnd};
use super::deliveries;
use super::exchange::By;
use super::link::{Link, OnGrants, Retains};
use super::payloads::{Keys, SignedReader};
use super::shared::Shared;
use super::tls::Credentials;
use super::topics::Topics;
use super::waits::Waits;
use crate::config::{Config, Mqtt};
use crate::domain::backoff::Jitter;
use crate::domain::effect::Report;
use crate::domain::grant::GrantRequest;
use crate::domain::input::{AckToken, Input};
use crate::domain::time::Utc;
use crate::net::{self, Dialer};
use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Timeout of each step: resolving the name; then each address; then TLS.
const DIAL_STEP: Duration = Duration::from_secs(15);

/// Acknowledgements on their way to the connection: the maximum that can be due.
const MAX_ACKS: usize = deliveries::MAX;

/// The agent's end of the session. Dropping it breaks the connection, and the broker sends the last will.
#[derive(Debug)]
pub struct Session {
    shared: Arc<Shared>,
    topics: Topics,
    task: Option<JoinHandle<()>>,
}

/// Starts the session that `config` describes; see [`open`].
///
/// # Errors
/// As [`open`].
pub fn start(
    config: &Config,
    inputs: Sender<Input>,
    jitter_seed: u64,
    on_grants: Option<OnGrants>,
) -> Result<Session, String> {
    open_with(&config.device.id, &config.mqtt, &Keys::of(config), inputs, jitter_seed, on_grants)
}

/// Starts a session: `Connected`, `Disconnected`, `Privacy`, `Entitlement` and `Rejected` come as `inputs`; a
/// message stays unacknowledged until [`Session::ack`]. Must be called inside a tokio runtime.
///
/// # Errors
/// Which file cannot be used, or that the broker's address cannot be used.
pub fn open(
    device: &str,
    mqtt: &Mqtt,
    keys: &Keys,
    inputs: Sender<Input>,
    jitter_seed: u64,
) -> Result<Session, String> {
    open_with(device, mqtt, keys, inputs, jitter_seed, None)
}

/// [`open`] with a receiver of grants: only then `R/grant/response` is subscribed to.
///
/// # Errors
/// As [`open`].
pub fn open_with(
    device: &str,
    mqtt: &Mqtt,
    keys: &Keys,
    inputs: Sender<Input>,
    jitter_seed: u64,
    on_grants: Option<OnGrants>,
) -> Result<Session, String> {
    let topics = Topics::new(device);
    let shared = Arc::new(Shared::default());
    let link = Link {
        credentials: Credentials::read(mqtt)?,
        login: mqtt.login.clone(),
        host: mqtt.host.clone(),
        port: mqtt.port,
        keep_alive: mqtt.keep_alive,
        dialer: Dialer::new(net::Limits {
            step: DIAL_STEP,
            inactivity: connection::inactivity(mqtt.keep_alive),
        }),
        topics: topics.clone(),
        reader: SignedReader { device: device.to_owned(), keys: keys.clone() },
        shared: Arc::clone(&shared),
        on_grants,
        inputs,
        pending: VecDeque::new(),
        connections: 0,
        retains: Retains::Yes,
        jitter: Jitter::new(jitter_seed),
    };
    let task = tokio::spawn(keep_connected(link, Waits::new(mqtt.reconnect_spread)));
    Ok(Session { shared, topics, task: Some(task) })
}

impl Session {
    /// Puts a report into the outbox. Never waits.
    pub fn publish(&self, report: Report) {
        match self.topics.message(&report) {
            Some(message) => {
                self.shared.outbox().push(message);
                self.shared.changed.notify_one();
            }
            None => tracing::error!("a report over 16 KiB was not sent"),
        }
    }

    /// The handle for requesting grants from the cloud.
    #[must_use]
    pub fn requester(&self) -> Requester {
        Requester { shared: Arc::clone(&self.shared), topics: self.topics.clone() }
    }

    /// When the agent started, by a trusted clock: from then on `R/status` reports it.
    pub fn set_since(&self, since: Utc) {
        let before = self.shared.since().replace(since);
        if before != Some(since) && self.connected() {
            self.shared.outbox().push(self.topics.online(Some(since)));
            self.shared.changed.notify_one();
        }
    }

    /// Releases the PUBACK. A token of an earlier connection is ignored: the broker sends that message again.
    pub fn ack(&self, token: AckToken) {
        let mut acks = self.shared.acks();
        if acks.len() < MAX_ACKS {
            acks.push(token);
        }
        drop(acks);
        self.shared.changed.notify_one();
    }

    /// Subscribes again to every command, so that the broker sends its retained messages again. Without a
    /// connection nothing happens: the next one subscribes anyway.
    pub fn subscribe_again(&self) {
        self.shared.ask_again.store(true, Ordering::Relaxed);
        self.shared.changed.notify_one();
    }

    /// Checks certificate, key and roots again: if they have changed, the session continues at once with the
    /// new ones, on a new connection. Without a connection nothing happens: the next one reads them anyway.
    pub fn read_again(&self) {
        self.shared.read_again.store(true, Ordering::Relaxed);
        self.shared.changed.notify_one();
    }

    /// Events that were dropped unsent since the start, because there was no room or because the broker does
    /// not accept them.
    #[must_use]
    pub fn dropped_events(&self) -> u64 {
        self.shared.outbox().dropped_events()
    }

    /// From the next message on, only these keys are trusted. What was read before is for the caller to
    /// judge.
    pub fn set_keys(&self, keys: Keys) {
        *self.shared.new_keys.lock().unwrap_or_else(PoisonError::into_inner) = Some(keys);
    }

    /// Connected, and subscribed to every command.
    #[must_use]
    pub fn connected(&self) -> bool {
        self.shared.connected.load(Ordering::Relaxed)
    }

    /// Leaves: sends what waits, then `{"online":false}`, waits for its PUBACK, and disconnects, all before
    /// `deadline`. After that the connection is broken, and the last will says the same.
    pub async fn shutdown(mut self, deadline: Duration) {
        *self.shared.leaving() = Some(deadline);
        self.shared.changed.notify_one();
        if let Some(task) = self.task.as_mut() {
            let _past_the_deadline = tokio::time::timeout(deadline, task).await;
        }
    }
}

/// Puts requests for grants into the outbox, as long as there is a session.
#[derive(Clone, Debug)]
pub struct Requester {
    shared: Arc<Shared>,
    topics: Topics,
}

impl Requester {
    /// Puts a request into the outbox; it replaces one that still waits. Never waits.
    pub fn ask(&self, request: &GrantRequest) {
        match self.topics.grant_request(request) {
            Some(message) => {
                self.shared.outbox().push(message);
                self.shared.changed.notify_one();
            }
            None => tracing::error!("a request for grants over 16 KiB was not sent"),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

async fn keep_connected(mut link: Link, mut waits: Waits) {
    loop {
        let ConnectionEnd::Lost { why, was_stable, by } = connection::run(&mut link).await else { return };
        let now = Instant::now();
        link.shared.set_connected(false);
        let aside = link.shared.outbox().connection_lost(by == By::Broker { blames: true }, now);
        if let Some(message) = aside {
            link.tell_set_aside(&message, "the broker ends the connection over it");
        }
        link.shared.acks().clear();
        let wait = waits.next(was_stable, by != By::Us, now, &mut link.jitter);
        let why = format!("{why}; next try in {} ms", wait.as_millis());
        link.pending.push_back(Input::Disconnected { why });
        let shared = Arc::clone(&link.shared);
        tokio::select! {
            biased;
            () = asked_to_leave(&shared) => return,
            taken = deliver_all(&mut link) => if !taken { return },
        }
        tokio::select! {
            biased;
            () = asked_to_leave(&shared) => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Waits until the agent has taken every input. False if it takes no more.
async fn deliver_all(link: &mut Link) -> bool {
    while !link.pending.is_empty() {
        let Ok(permit) = link.inputs.reserve().await else { return false };
        if let Some(input) = link.pending.pop_front() {
            permit.send(input);
        }
    }
    true
}

async fn asked_to_leave(shared: &Shared) {
    while shared.leaving().is_none() {
        shared.changed.notified().await;
    }
}
