//! Why there was no answer, in text that is safe to log.
//!
//! The text is composed from the kinds of the errors in the chain. An error of an unknown type adds nothing,
//! because its text might quote the request.

use std::error::Error;
use std::io;

pub(super) use crate::net::Fault;

/// Maximum length of a chain: only a cycle would be longer.
const MAX_LINKS: usize = 16;
/// Maximum length of the text: a peer's certificate may contain long names.
const MAX_CHARACTERS: usize = 200;

/// The chain of errors as text, from what failed to why.
pub(super) fn describe(error: &(dyn Error + 'static)) -> Fault {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    for _ in 0..MAX_LINKS {
        let Some(error) = next else { break };
        if let Some(word) = kind(error) {
            if words.last() != Some(&word) {
                words.push(word);
            }
        }
        next = cause(error);
    }
    if words.is_empty() {
        words.push("the request failed".into());
    }
    Fault(words.join(": "))
}

/// The next error of the chain. `io::Error::source` skips the error that it wraps, so that one is asked for
/// first.
fn cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        return Some(inner);
    }
    error.source()
}

fn kind(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(fault) = error.downcast_ref::<Fault>() {
        return Some(fault.0.clone());
    }
    if let Some(error) = error.downcast_ref::<io::Error>() {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            // The connection ended before TLS did: what this error wraps is unknown here.
            return Some(String::from("the connection closed"));
        }
        let words = match error.kind() == io::ErrorKind::TimedOut {
            // `TCP_USER_TIMEOUT`: sent data was not acknowledged.
            true => String::from("no byte moved for the allowed time"),
            false => error.kind().to_string(),
        };
        // One that wraps another error only says `other error`: the wrapped one is described instead.
        return error.get_ref().is_none().then_some(words);
    }
    if let Some(error) = error.downcast_ref::<rustls::Error>() {
        return Some(printable(&format!("TLS: {error}")));
    }
    if let Some(error) = error.downcast_ref::<hyper::Error>() {
        return hyper_kind(error).map(str::to_owned);
    }
    if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
        return error.is_connect().then(|| "cannot connect".to_owned());
    }
    None
}

fn hyper_kind(error: &hyper::Error) -> Option<&'static str> {
    if error.is_parse() {
        Some("the answer is not HTTP")
    } else if error.is_incomplete_message() {
        Some("the connection closed before the answer was complete")
    } else if error.is_body_write_aborted() {
        Some("the body was not sent to its end")
    } else if error.is_canceled() {
        Some("the connection closed before the request was sent")
    } else if error.is_closed() {
        Some("the connection is closed")
    } else if error.is_timeout() {
        Some("timed out")
    } else {
        None
    }
}

/// Without control characters, and cut short.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_CHARACTERS).collect()
}

/// Whether the peer ended the connection, rather than stalling or refusing it.
pub(super) fn broke_off(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    for _ in 0..MAX_LINKS {
        let Some(error) = next else { return false };
        if let Some(error) = error.downcast_ref::<hyper_util::client::legacy::Error>() {
            if error.is_connect() {
                return false;
            }
        }
        if let Some(error) = error.downcast_ref::<hyper::Error>() {
            if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
                return true;
            }
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            use io::ErrorKind::{
                BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof,
            };
            if matches!(
                error.kind(),
                BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof
            ) {
                return true;
            }
        }
        next = cause(error);
    }
    false
}
