//! What the store's answer to an upload means.

use std::time::Duration;

/// What is known once an attempt is over. Only [`Attempt::Answered`] says something about the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The store answered the PUT.
    Answered {
        /// HTTP status of the PUT.
        status: u16,
        /// What the store says of the bytes that it holds under the key: from the answer to the PUT, or from
        /// a HEAD afterwards.
        held: Held,
        /// `Retry-After`, where the answer has one.
        retry_after: Option<Duration>,
        /// The S3 error code of the body, such as `RequestTimeTooSkewed`; letters and digits only.
        code: Option<String>,
    },
    /// No answer: refused, reset, stalled, timed out, or TLS failed. The object may or may not be stored.
    Unanswered {
        /// The cause, without URL, token or credential.
        why: String,
    },
    /// The segment could not be read to its end; this says nothing about the store.
    Unreadable {
        /// What was wrong with it.
        why: String,
    },
    /// There is no signed request for this object: the cloud gives no grant, or one that is not accepted.
    Ungranted {
        /// The cloud's reason, or what was wrong with its grant.
        why: String,
    },
}

/// What the store says that it holds under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Its checksum (and size, for a HEAD) equals that of the segment.
    Same,
    /// Its checksum or size differs.
    Different,
    /// Nothing is held.
    Nothing,
    /// The camera may not ask: its key may only put.
    Secret,
    /// The store does not say.
    Untold,
}

/// What follows from an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Proved to be stored: the spool may remove it.
    Stored,
    /// Another segment holds the key: try the next microsecond.
    KeyTaken,
    /// Not stored, or not known to be: retry.
    Retry {
        /// What has to wait.
        scope: Scope,
        /// The minimum wait that the store asked for, at most [`MAX_RETRY_AFTER`].
        after: Option<Duration>,
        /// Why it was not stored, in text that is safe to log.
        why: String,
    },
}

/// What a refusal concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The store as a whole: every upload waits.
    Store,
    /// This segment: others may go on.
    Segment,
}

/// Maximum wait, however long a store asks for: a mistake on its side must not end the uploads of a camera.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(3600);

/// A segment is stored only if a 2xx, or a conflict about its own key, comes with the store's statement that
/// it holds exactly these bytes. Everything else is retried; no segment is given up here.
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
        // A 412 says that the key is taken. If the camera may only put, the PUT under the next key is the
        // proof.
        (409 | 412, Held::Different) | (412, Held::Secret) => Outcome::KeyTaken,
        (200..=299, Held::Different | Held::Nothing | Held::Secret | Held::Untold) => Outcome::Retry {
            scope: Scope::Segment,
            after: retry_after,
            why: format!("HTTP {status} without proof that the object is held as sent: {}", unproved(held)),
        },
        (409 | 412, Held::Nothing | Held::Secret | Held::Untold) => retry(Scope::Segment),
        // The object itself is refused: too long, malformed, or a checksum that the store disputes.
        (400 | 411 | 413 | 414 | 415 | 422, _) if !is_about_us(code.as_deref()) => retry(Scope::Segment),
        _ => retry(Scope::Store),
    }
}

/// What is missing.
fn unproved(held: Held) -> &'static str {
    match held {
        Held::Same | Held::Different => "its checksum or size differs",
        Held::Nothing => "a HEAD finds nothing",
        Held::Secret => "the answer repeats no checksum, and the key may not ask with a HEAD",
        Held::Untold => "neither the answer nor a HEAD contains a proof",
    }
}

/// A 400 with one of these codes says nothing about the object, but is about our clock, credentials,
/// connection or configuration.
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
