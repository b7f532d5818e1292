//! What `verify` has seen of a cloud.

use super::super::row::Look;
use kasacam::config::VerifyingKey;
use kasacam::domain::grant::Want;
use kasacam::domain::time::Utc;
use kasacam::upload::grant::Allowed;

/// Everything that was seen; for what was not looked at, the reason.
pub(crate) struct CloudSeen {
    /// Id of the device.
    pub(crate) device: String,
    /// When the check began, by this machine's clock.
    pub(crate) now: Utc,
    /// The version of TLS, or why there is none.
    pub(crate) tls: Look<Result<String, String>>,
    /// The answer to a client with TLS 1.1 at most.
    pub(crate) old_tls: Look<Door>,
    /// The answer to a client without certificate and name.
    pub(crate) nobody: Look<Door>,
    pub(crate) connack: Look<ConnAckSeen>,
    /// The first session of a camera; the return to it; a session with clean start.
    pub(crate) first: Look<Round>,
    pub(crate) back: Look<Round>,
    pub(crate) anew: Look<Round>,
    pub(crate) privacy_keys: Look<Vec<VerifyingKey>>,
    pub(crate) lease_keys: Look<Vec<VerifyingKey>>,
    /// What was published on the device's own topics.
    pub(crate) own: Look<Vec<Said>>,
    /// What was published on a topic of another device.
    pub(crate) to_other: Look<Said>,
    /// A command for another device, and for this one.
    pub(crate) command_to_other: Look<Said>,
    pub(crate) command_to_self: Look<Said>,
    /// Topics of another device on which something was received.
    pub(crate) overheard: Look<Vec<String>>,
    pub(crate) will: Look<WillSeen>,
    pub(crate) grants: Look<Asked>,
    /// A request for keys of another device.
    pub(crate) foreign_grants: Look<Asked>,
    /// A request for an object that is larger than any segment.
    pub(crate) large_grants: Look<Asked>,
    /// Whether a new subscription received an answer.
    pub(crate) grants_retained: Look<bool>,
    /// Where footage may be stored.
    pub(crate) allowed: Look<Allowed>,
    pub(crate) store: StoreSeen,
}

/// Whether a client was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Open(String),
    Shut(String),
}

/// The parts of CONNACK that concern a camera.
#[derive(Clone, Debug, Default)]
pub(crate) struct ConnAckSeen {
    pub(crate) success: bool,
    pub(crate) code: String,
    /// `Maximum Packet Size`, in bytes.
    pub(crate) max_packet: Option<u32>,
    /// `Maximum QoS`.
    pub(crate) max_qos: Option<u8>,
    /// `Retain Available`.
    pub(crate) retain: Option<u8>,
    /// `Session Expiry Interval` in seconds, if the broker changes the requested one.
    pub(crate) session_expiry: Option<u32>,
}

/// A session, and the retained messages that it received.
#[derive(Clone, Debug, Default)]
pub(crate) struct Round {
    pub(crate) session_present: bool,
    /// Reason codes of SUBACK: for the choice and for the lease.
    pub(crate) codes: Vec<u8>,
    pub(crate) privacy: Option<Delivered>,
    pub(crate) lease: Option<Delivered>,
    /// They were received only after an UNSUBSCRIBE and another SUBSCRIBE.
    pub(crate) asked_twice: bool,
}

/// A command, as it was delivered.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
}

/// What became of a published message.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// The part after `kasacam/v1/{device_id}/`.
    pub(crate) topic: String,
    /// The code of PUBACK; or how the connection ended.
    pub(crate) puback: Result<u8, String>,
    /// Whether a subscriber received it; `None` if there was none.
    pub(crate) delivered: Option<bool>,
}

/// The last will, published 3 s after the client is gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct WillSeen {
    /// It was received although the client was back in time.
    pub(crate) despite_return: bool,
    /// From the end of the connection until it was received, in milliseconds; `None` if it was not in time.
    pub(crate) after_ms: Option<u64>,
    /// As received.
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    /// A new subscription received it as retained.
    pub(crate) retained: bool,
}

/// A request for grants.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) id: String,
    pub(crate) wants: Vec<Want>,
    /// `None` if there was none in time.
    pub(crate) answer: Option<Answer>,
    /// The longest wait for an answer, in seconds.
    pub(crate) within_s: u64,
}

/// A message on `R/grant/response`.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) payload: Vec<u8>,
    pub(crate) correlation: Option<Vec<u8>>,
    pub(crate) after_ms: u64,
}

/// What the store did.
#[derive(Default)]
pub(crate) struct StoreSeen {
    /// The PUT of a grant, or of the key.
    pub(crate) put: Option<Look<PutSeen>>,
    /// Status of a PUT: with other bytes than signed; with more bytes; under another key; repeated.
    pub(crate) changed: Option<Look<u16>>,
    pub(crate) longer: Option<Look<u16>>,
    pub(crate) other_key: Option<Look<u16>>,
    pub(crate) again: Option<Look<u16>>,
    /// Status of a GET without a signature.
    pub(crate) anonymous: Option<Look<u16>>,
    pub(crate) head: Option<Look<HeadSeen>>,
    /// Status of requests that the camera's key should not allow: a PUT below another device's prefix, a list, a DELETE.
    pub(crate) key_elsewhere: Option<Look<u16>>,
    pub(crate) key_lists: Option<Look<u16>>,
    pub(crate) key_deletes: Option<Look<u16>>,
    /// Status of a PUT of the same key long after the choice that forbids it: 2xx if the object was deleted.
    pub(crate) deleted: Option<Look<u16>>,
}

/// The answer to a PUT.
#[derive(Clone, Debug, Default)]
pub(crate) struct PutSeen {
    pub(crate) status: u16,
    /// The header that proves it, and its value in the answer.
    pub(crate) proof: String,
    pub(crate) proven: Option<String>,
    /// The right value.
    pub(crate) wanted: String,
}

/// The answer to a HEAD.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeadSeen {
    pub(crate) status: u16,
    pub(crate) size: Option<u64>,
    pub(crate) checksum: Option<String>,
    /// Metadata that were not returned as they were sent.
    pub(crate) lost: Vec<String>,
    pub(crate) wanted_size: u64,
    pub(crate) wanted_checksum: String,
}

impl CloudSeen {
    /// Nothing has been looked at; `why` is the reason.
    pub(crate) fn nothing(device: &str, now: Utc, why: &str) -> CloudSeen {
        fn unseen<T>(why: &str) -> Look<T> {
            Err(why.to_owned())
        }
        CloudSeen {
            device: device.to_owned(),
            now,
            tls: unseen(why),
            old_tls: unseen(why),
            nobody: unseen(why),
            connack: unseen(why),
            first: unseen(why),
            back: unseen(why),
            anew: unseen(why),
            privacy_keys: unseen(why),
            lease_keys: unseen(why),
            own: unseen(why),
            to_other: unseen(why),
            command_to_other: unseen(why),
            command_to_self: unseen(why),
            overheard: unseen(why),
            will: unseen(why),
            grants: unseen(why),
            foreign_grants: unseen(why),
            large_grants: unseen(why),
            grants_retained: unseen(why),
            allowed: unseen(why),
            store: StoreSeen::default(),
        }
    }
}
