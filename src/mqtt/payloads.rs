//! Converts the bytes that came on a topic into an [`Input`].

use super::topics::{Command, Topics};
use super::{claims, jws};
use crate::config::{Config, VerifyingKey};
use crate::domain::entitlement::Lease;
use crate::domain::grant::GrantAnswer;
use crate::domain::input::{AckToken, Input, Rejection};
use crate::domain::privacy::{PrivacyChoice, Recalled};

/// `typ` of a privacy choice.
pub const PRIVACY_TYP: &str = "kasacam-privacy+jws";
/// `typ` of a lease.
pub const ENTITLEMENT_TYP: &str = "kasacam-entitlement+jws";
/// `typ` of an answer with upload grants.
pub const GRANT_TYP: &str = "kasacam-grant+jws";

/// Maximum length of an unknown topic in a report, in bytes.
const MAX_TOPIC: usize = 128;

/// The device id, and the keys that are trusted.
#[derive(Clone, Debug)]
pub struct SignedReader {
    /// The device id: the claim `device_id` must equal it.
    pub device: String,
    /// The keys that may sign commands, by their `kid`.
    pub keys: Keys,
}

/// The keys that may sign commands, one set for each kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Keys {
    /// The keys of `privacy.keys`: for the owner's choice.
    pub privacy: Vec<VerifyingKey>,
    /// The keys of `entitlement.keys`: for the lease.
    pub entitlement: Vec<VerifyingKey>,
}

impl Keys {
    /// The keys that a configuration names.
    #[must_use]
    pub fn of(config: &Config) -> Keys {
        Keys { privacy: config.privacy.keys.clone(), entitlement: config.entitlement.keys.clone() }
    }

    /// The same keys for both kinds of command.
    #[must_use]
    pub fn for_all(keys: &[VerifyingKey]) -> Keys {
        Keys { privacy: keys.to_vec(), entitlement: keys.to_vec() }
    }
}

impl SignedReader {
    /// The content of the message, or why it is not accepted. `retained`: the broker had kept it and sent it
    /// to a subscriber.
    #[must_use]
    pub fn read(
        &self,
        topics: &Topics,
        topic: &[u8],
        payload: &[u8],
        retained: bool,
        ack: AckToken,
    ) -> Input {
        let Some(command) = topics.command(topic) else {
            return Input::Rejected {
                topic: printable(topic),
                reason: Rejection::UnknownTopic,
                ack: Some(ack),
            };
        };
        let input = match command {
            Command::Privacy => {
                self.privacy(payload).map(|(choice, jws)| Input::Privacy { choice, jws, retained, ack })
            }
            Command::Entitlement => {
                self.entitlement(payload).map(|(lease, jws)| Input::Entitlement { lease, jws, retained, ack })
            }
        };
        input.unwrap_or_else(|reason| Input::Rejected {
            topic: topics.of_command(command).to_owned(),
            reason,
            ack: Some(ack),
        })
    }

    /// The choice, and the JWS that proves it.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn privacy(&self, payload: &[u8]) -> Result<(PrivacyChoice, String), Rejection> {
        let choice = claims::privacy(&jws::verify(&self.keys.privacy, PRIVACY_TYP, payload)?, &self.device)?;
        Ok((choice, text(payload)?))
    }

    /// The lease, and the JWS that proves it.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn entitlement(&self, payload: &[u8]) -> Result<(Lease, String), Rejection> {
        let lease = claims::entitlement(
            &jws::verify(&self.keys.entitlement, ENTITLEMENT_TYP, payload)?,
            &self.device,
        )?;
        Ok((lease, text(payload)?))
    }

    /// The grants of an answer on `R/grant/response`; the keys that may sign the lease may sign them.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn grant(&self, payload: &[u8]) -> Result<GrantAnswer, Rejection> {
        let keys = &self.keys.entitlement;
        claims::grant(&jws::verify_within(jws::MAX_GRANT_BYTES, keys, GRANT_TYP, payload)?, &self.device)
    }
}

/// The choice of a stored JWS, verified again. If its key was removed, it is unreadable.
#[must_use]
pub fn stored_privacy(keys: &[VerifyingKey], device: &str, jws: &str) -> Recalled<PrivacyChoice> {
    let reader = SignedReader { device: device.to_owned(), keys: Keys::for_all(keys) };
    reader.privacy(jws.as_bytes()).map_or(Recalled::Unreadable, |(choice, _)| Recalled::Is(choice))
}

/// The lease of a stored JWS, verified again. If its key was removed, it is unreadable.
#[must_use]
pub fn stored_entitlement(keys: &[VerifyingKey], device: &str, jws: &str) -> Recalled<Lease> {
    let reader = SignedReader { device: device.to_owned(), keys: Keys::for_all(keys) };
    reader.entitlement(jws.as_bytes()).map_or(Recalled::Unreadable, |(lease, _)| Recalled::Is(lease))
}

fn text(payload: &[u8]) -> Result<String, Rejection> {
    String::from_utf8(payload.to_vec()).map_err(|_| Rejection::Malformed)
}

/// An unknown topic, cut short, without anything that could shape a log line.
fn printable(topic: &[u8]) -> String {
    let letter = |b: &u8| if b.is_ascii_graphic() { char::from(*b) } else { '?' };
    topic.iter().take(MAX_TOPIC).map(letter).collect()
}
