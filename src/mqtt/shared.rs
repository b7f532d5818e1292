//! What the agent and the task of the session share.

use super::outbox::Outbox;
use super::payloads::Keys;
use crate::domain::input::AckToken;
use crate::domain::time::Utc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Between the agent and the task.
#[derive(Debug, Default)]
pub(super) struct Shared {
    outbox: Mutex<Outbox>,
    acks: Mutex<Vec<AckToken>>,
    leaving: Mutex<Option<Duration>>,
    since: Mutex<Option<Utc>>,
    pub(super) connected: AtomicBool,
    pub(super) ask_again: AtomicBool,
    pub(super) read_again: AtomicBool,
    pub(super) new_keys: Mutex<Option<Keys>>,
    pub(super) changed: Notify,
}

impl Shared {
    pub(super) fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn acks(&self) -> MutexGuard<'_, Vec<AckToken>> {
        self.acks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long leaving may take, once it has begun.
    pub(super) fn leaving(&self) -> MutexGuard<'_, Option<Duration>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the agent started, once that is known.
    pub(super) fn since(&self) -> MutexGuard<'_, Option<Utc>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// New keys to trust; returned once.
    pub(super) fn takes_new_keys(&self) -> Option<Keys> {
        self.new_keys.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Whether to subscribe again; true once per request.
    pub(super) fn takes_ask_again(&self) -> bool {
        self.ask_again.swap(false, Ordering::Relaxed)
    }

    /// Whether to check certificate, key and roots again; true once per request.
    pub(super) fn takes_read_again(&self) -> bool {
        self.read_again.swap(false, Ordering::Relaxed)
    }

    pub(super) fn set_connected(&self, connected: bool) {
        self.connected.store(connected, Ordering::Relaxed);
    }
}
