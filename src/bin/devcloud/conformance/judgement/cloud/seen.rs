//! What `verify` has seen of a cloud.

use super::super::row::Look;
use kasacam::config::VerifyingKey;
use kasacam::domain::grant::Want;
use kasacam::domain::time::Utc;
use kasacam::upload::grant::Allowed;

/// Everything, each with why it was not looked at where it was not.
pub(crate) struct CloudSeen {
    /// In whose name.
    pub(crate) device: String,
    /// When it began, by our clock.
    pub(crate) now: Utc,
    /// The version of TLS, or why there is none.
    pub(crate) tls: Look<Result<String, String>>,
    /// What a client that speaks TLS 1.1 at most was answered.
    pub(crate) old_tls: Look<Door>,
    /// How a client without certificate and name fared.
    pub(crate) nobody: Look<Door>,
    pub(crate) connack: Look<ConnAckSeen>,
    /// A camera's first session; the return to it; one with clean start.
    pub(crate) first: Look<Round>,
    pub(crate) back: Look<Round>,
    pub(crate) anew: Look<Round>,
    pub(crate) privacy_keys: Look<Vec<VerifyingKey>>,
    pub(crate) lease_keys: Look<Vec<VerifyingKey>>,
    /// What was said on topics of our own.
    pub(crate) own: Look<Vec<Said>>,
    /// What was said on a topic of another device.
    pub(crate) to_other: Look<Said>,
    /// A command for another device, and for ourselves.
    pub(crate) command_to_other: Look<Said>,
    pub(crate) command_to_self: Look<Said>,
    /// Topics of another device, of which something came.
    pub(crate) overheard: Look<Vec<String>>,
    pub(crate) will: Look<WillSeen>,
    pub(crate) grants: Look<Asked>,
    /// Keys that are another device's.
    pub(crate) foreign_grants: Look<Asked>,
    /// A size that no segment has.
    pub(crate) large_grants: Look<Asked>,
    /// Whether an answer was given to a new subscription.
    pub(crate) grants_retained: Look<bool>,
    /// Where footage may go.
    pub(crate) allowed: Look<Allowed>,
    pub(crate) store: StoreSeen,
}

/// Whether one was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    Open(String),
    Shut(String),
}

/// CONNACK, as far as it concerns a camera.
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
    /// `Session Expiry Interval`, in seconds, where the broker gives another than was asked for.
    pub(crate) session_expiry: Option<u32>,
}

/// A session, and what was retained for it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Round {
    pub(crate) session_present: bool,
    /// Reason codes of SUBACK: for the choice and for the lease.
    pub(crate) codes: Vec<u8>,
    pub(crate) privacy: Option<Delivered>,
    pub(crate) lease: Option<Delivered>,
    /// It took an UNSUBSCRIBE and a SUBSCRIBE more to be given them.
    pub(crate) asked_twice: bool,
}

/// A command as it came.
#[derive(Clone, Debug)]
pub(crate) struct Delivered {
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
}

/// What became of a message of ours.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    /// Behind `kasacam/v1/{device_id}/`.
    pub(crate) topic: String,
    /// The code of PUBACK; or how the connection ended.
    pub(crate) puback: Result<u8, String>,
    /// Whether somebody who would have heard it did; `None` where nobody listened.
    pub(crate) delivered: Option<bool>,
}

/// The last will of ours, said 3 s after we are gone.
#[derive(Clone, Debug, Default)]
pub(crate) struct WillSeen {
    /// It was heard although we were back in time.
    pub(crate) despite_return: bool,
    /// How long after we were gone for good it was heard, in milliseconds; `None`: not within the time.
    pub(crate) after_ms: Option<u64>,
    /// As it was heard.
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: u8,
    /// Given to a new subscription as retained.
    pub(crate) retained: bool,
}

/// A request for grants.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) id: String,
    pub(crate) wants: Vec<Want>,
    /// `None`: nothing came within the time.
    pub(crate) answer: Option<Answer>,
    /// For so long an answer was waited for, in seconds.
    pub(crate) within_s: u64,
}

/// What came on `R/grant/response`.
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
    /// Status of a PUT: with other bytes than were signed; of more bytes; under another key; once more.
    pub(crate) changed: Option<Look<u16>>,
    pub(crate) longer: Option<Look<u16>>,
    pub(crate) other_key: Option<Look<u16>>,
    pub(crate) again: Option<Look<u16>>,
    /// Status of a GET without a signature.
    pub(crate) anonymous: Option<Look<u16>>,
    pub(crate) head: Option<Look<HeadSeen>>,
    /// Status of what the camera's key should not be able to do: a PUT below another device's prefix, a list, a DELETE.
    pub(crate) key_elsewhere: Option<Look<u16>>,
    pub(crate) key_lists: Option<Look<u16>>,
    pub(crate) key_deletes: Option<Look<u16>>,
    /// Status of a PUT of the same key long after a choice that forbids it was made: 2xx where it was deleted.
    pub(crate) deleted: Option<Look<u16>>,
}

/// The answer to a PUT.
#[derive(Clone, Debug, Default)]
pub(crate) struct PutSeen {
    pub(crate) status: u16,
    /// What the grant says proves it, and what the answer has there.
    pub(crate) proof: String,
    pub(crate) proven: Option<String>,
    /// What it has to be.
    pub(crate) wanted: String,
}

/// The answer to a HEAD.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeadSeen {
    pub(crate) status: u16,
    pub(crate) size: Option<u64>,
    pub(crate) checksum: Option<String>,
    /// Metadata that did not come back as they were sent.
    pub(crate) lost: Vec<String>,
    pub(crate) wanted_size: u64,
    pub(crate) wanted_checksum: String,
}

impl CloudSeen {
    /// Nothing has been looked at yet, and `why`.
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
