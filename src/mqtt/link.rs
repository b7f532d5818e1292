//! What every connection needs, and the state that passes from one to the next.

use super::payloads::SignedReader;
use super::shared::Shared;
use super::tls::Credentials;
use super::topics::{Message, MessageKind, Topics};
use crate::config::MqttLogin;
use crate::domain::backoff::Jitter;
use crate::domain::effect::{Event, Report};
use crate::domain::grant::GrantAnswer;
use crate::domain::input::Input;
use crate::net::Dialer;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::Sender;

/// Takes the verified answers with grants. Called on the network thread: it must not wait.
pub type OnGrants = Arc<dyn Fn(GrantAnswer) + Send + Sync>;

/// Whether the broker keeps messages for later subscribers. Each connection finds out anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retains {
    /// It does, as far as known.
    Yes,
    /// It said so in the CONNACK of a connection that it accepted.
    No,
    /// It refused a CONNECT because of its retained will: the next one has none.
    Refused,
}

/// What every connection needs, and the state that passes from one to the next.
pub(super) struct Link {
    pub(super) credentials: Credentials,
    pub(super) login: Option<MqttLogin>,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) keep_alive: Duration,
    pub(super) dialer: Dialer,
    pub(super) topics: Topics,
    pub(super) reader: SignedReader,
    pub(super) shared: Arc<Shared>,
    pub(super) on_grants: Option<OnGrants>,
    pub(super) inputs: Sender<Input>,
    /// Inputs that the agent has not yet taken. They are of one connection, because the next one begins only
    /// after they are delivered.
    pub(super) pending: VecDeque<Input>,
    /// Connections so far.
    pub(super) connections: u64,
    /// What the broker last said about retaining.
    pub(super) retains: Retains,
    pub(super) jitter: Jitter,
}

impl Link {
    /// What is subscribed to, each with QoS 1.
    pub(super) fn subscriptions(&self) -> Vec<&str> {
        let mut topics = self.topics.subscriptions().to_vec();
        if self.on_grants.is_some() {
            topics.push(self.topics.grant_response());
        }
        topics
    }

    /// Reports that the broker does not accept a message: in the log, and on `R/event` unless it is an event
    /// itself.
    pub(super) fn tell_set_aside(&self, message: &Message, why: &str) {
        tracing::error!(
            "{message:?} is set aside: {why}. Check what the broker permits this device to publish"
        );
        if message.kind != MessageKind::Event {
            let (topic, why) = (String::from(&*message.topic), String::from(why));
            let event = Report::Event(Event::MessageSetAside { topic, why });
            if let Some(event) = self.topics.message(&event) {
                self.shared.outbox().push(event);
            }
        }
    }
}
