//! What the store's answer to an upload means.

use std::time::Duration;

/// What is known once an attempt is over. Only [`Attempt::Answered`] says anything of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The store answered the PUT.
    Answered {
        /// HTTP status of the PUT.
        status: u16,
        /// What the store says of the bytes that it holds under the key: from the PUT's own answer,
        /// or from a HEAD afterwards.
        held: Held,
        /// `Retry-After`, where the answer has one.
        retry_after: Option<Duration>,
        /// The S3 error code of the body, such as `RequestTimeTooSkewed`; letters and digits only.
        code: Option<String>,
    },
    /// No answer: refused, reset, stalled, timed out, or TLS failed. The object may be stored or not.
    Unanswered {
        /// What was seen, without URL, token or credential.
        why: String,
    },
    /// The segment could not be read to its end: that says nothing of the store.
    Unreadable {
        /// What was wrong with it.
        why: String,
    },
    /// Nobody signs a request for this object: the cloud grants none, or one that is not taken.
    Ungranted {
        /// The cloud's reason, or what was wrong with its grant.
        why: String,
    },
}

/// The store's own word on what it holds under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Its checksum (and size, for a HEAD) is that of the segment.
    Same,
    /// Its checksum or size is another.
    Different,
    /// Nothing is held.
    Nothing,
    /// We may not ask: the key may put and nothing else.
    Secret,
    /// The store does not say.
    Untold,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Proved to be stored: the spool may forget it.
    Stored,
    /// Another segment holds the key: try the next microsecond.
    KeyTaken,
    /// Not stored, or not known to be: try again.
    /// `after` is the least wait the store asked for, at most [`MAX_RETRY_AFTER`]; `why` is fit for a log.
    #[allow(missing_docs, reason = "its fields are told of above")]
    Retry { scope: Scope, after: Option<Duration>, why: String },
}

/// Whom a refusal concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The store as a whole: every upload waits.
    Store,
    /// This segment: others may go on.
    Segment,
}

/// However long a store says to wait, it is asked again after this: a mistake on its side must not
/// end the uploads of a camera.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// A segment is stored only where a 2xx, or a conflict about its own key, comes with the store's
/// word that it holds these very bytes. All else is tried again; nothing here gives a segment up.
#[must_use]
pub fn classify(attempt: Attempt) -> Outcome {
    let (status, held, retry_after, code) = match attempt {
        Attempt::Answered { status, held, retry_after, code } => (status, held, retry_after, code),
        Attempt::Unanswered { why } => return Outcome::Retry { scope: Scope::Store, after: None, why },
        Attempt::Unreadable { why } | Attempt::Ungranted { why } => {
            return Outcome::Retry { scope: Scope::Segment, after: None, why };
        }
    };
    let retry_after = retry_after.map(|wait| wait.min(MAX_RETRY_AFTER));
    let retry = |scope| Outcome::Retry {
        scope,
        after: retry_after,
        why: match &code {
            Some(code) => format!("HTTP {status} {code}"),
            None => format!("HTTP {status}"),
        },
    };
    match (status, held) {
        (200..=299 | 409 | 412, Held::Same) => Outcome::Stored,
        // A 412 says that something is there: with a key that may only put, the PUT under the next one is the proof.
        (409 | 412, Held::Different) | (412, Held::Secret) => Outcome::KeyTaken,
        (200..=299, Held::Different | Held::Nothing | Held::Secret | Held::Untold) => Outcome::Retry {
            scope: Scope::Segment,
            after: retry_after,
            why: format!("HTTP {status} without proof that the object is held as sent: {}", unproved(held)),
        },
        (409 | 412, Held::Nothing | Held::Secret | Held::Untold) => retry(Scope::Segment),
        // The object itself is refused: too long, malformed, a checksum that the store disputes.
        (400 | 411 | 413 | 414 | 415 | 422, _) if !is_about_us(code.as_deref()) => retry(Scope::Segment),
        _ => retry(Scope::Store),
    }
}

/// What is missing.
fn unproved(held: Held) -> &'static str {
    match held {
        Held::Same | Held::Different => "its checksum or size is another",
        Held::Nothing => "a HEAD finds nothing",
        Held::Secret => "the answer repeats no checksum, and the key may not ask with a HEAD",
        Held::Untold => "neither the answer nor a HEAD has what proves it",
    }
}

/// 400s that say nothing about the object but everything about our clock, credentials, connection
/// or configuration.
fn is_about_us(code: Option<&str>) -> bool {
    matches!(
        code,
        Some(
            "RequestTimeTooSkewed"
                | "ExpiredToken"
                | "InvalidToken"
                | "TokenRefreshRequired"
                | "InvalidAccessKeyId"
                | "AuthorizationHeaderMalformed"
                | "IllegalLocationConstraintException"
                | "InvalidBucketName"
                | "RequestTimeout"
        )
    )
}
