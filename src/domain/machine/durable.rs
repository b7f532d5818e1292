//! A fact that is acted on and stored, in the order that privacy requires.
//!
//! A fact that restricts takes effect at once and is then written; a fact that permits is written first and
//! takes effect once it is durable. Either is acknowledged only when it is durable. Only the newest value is
//! ever being written: writes go to one thread in order, so an older one cannot arrive later.

use crate::domain::backoff::{Backoff, Jitter};
use crate::domain::input::{AckToken, Ticket};
use crate::domain::privacy::Recalled;
use crate::domain::time::Mono;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct DurableFact<T> {
    live: Recalled<T>,
    /// Its stored form.
    text: Option<String>,
    /// What is in force would be in force after a power cut as well.
    kept: bool,
    writing: Option<Writing<T>>,
    backoff: Backoff,
}

#[derive(Debug)]
struct Writing<T> {
    /// `None` while it waits for the next retry.
    ticket: Option<Ticket>,
    retry_at: Option<Mono>,
    value: T,
    text: String,
    acks: Vec<AckToken>,
}

impl<T: Clone + PartialEq> DurableFact<T> {
    pub(super) fn new(live: Recalled<T>, text: Option<String>) -> DurableFact<T> {
        let backoff =
            Backoff::new(Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(30));
        DurableFact { live, text, kept: true, writing: None, backoff }
    }

    /// What is in force.
    pub(super) fn live(&self) -> &Recalled<T> {
        &self.live
    }

    /// The newest value seen, in force or not.
    pub(super) fn newest(&self) -> Option<&T> {
        self.writing.as_ref().map(|writing| &writing.value).or(self.live.value())
    }

    /// The newest value, while it is not durable.
    pub(super) fn coming(&self) -> Option<&T> {
        self.writing.as_ref().map(|writing| &writing.value)
    }

    /// The stored form of the newest value, while it is not durable.
    pub(super) fn coming_text(&self) -> Option<&str> {
        self.writing.as_ref().map(|writing| writing.text.as_str())
    }

    /// What is in force but would be lost in a power cut.
    pub(super) fn unkept(&self) -> Option<&T> {
        self.live.value().filter(|_| !self.kept)
    }

    /// Whether what is in force is durable: a permission counts only then.
    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }

    pub(super) fn is_settled(&self) -> bool {
        self.writing.is_none()
    }

    /// Takes a new value. It is in force once it is durable, or as soon as it restricts.
    pub(super) fn accept(&mut self, value: T, text: String, ack: Option<AckToken>, now: Mono) {
        let mut acks = self.writing.take().map(|writing| writing.acks).unwrap_or_default();
        acks.extend(ack);
        self.writing = Some(Writing { ticket: None, retry_at: Some(now), value, text, acks });
    }

    /// Puts the newest value in force at once if it `restricts`, durable or not. A value may begin to
    /// restrict because time passes, so this is checked at every step.
    pub(super) fn enforce(&mut self, restricts: impl Fn(&T) -> bool) {
        let Some(writing) = self.writing.as_ref().filter(|writing| restricts(&writing.value)) else { return };
        if self.live.value() != Some(&writing.value) {
            self.live = Recalled::Is(writing.value.clone());
            self.text = Some(writing.text.clone());
            self.kept = false;
        }
    }

    /// The stored forms of what is in force and of what is not in force yet.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        self.text.as_deref().into_iter().chain(self.coming_text())
    }

    /// Neither what is in force nor what is not in force yet is believed any more; the returned tokens may be
    /// acknowledged.
    pub(super) fn disbelieve(&mut self) -> Vec<AckToken> {
        (self.live, self.text, self.kept) = (Recalled::Unreadable, None, true);
        self.writing.take().map(|writing| writing.acks).unwrap_or_default()
    }

    /// The same value came again: acknowledged with the first, or at once if that is durable.
    pub(super) fn again(&mut self, ack: AckToken) -> Option<AckToken> {
        match &mut self.writing {
            Some(writing) => {
                writing.acks.push(ack);
                None
            }
            None => Some(ack),
        }
    }

    /// The text to write now under `ticket`, if a write is due.
    pub(super) fn poll_write(&mut self, now: Mono, ticket: Ticket) -> Option<&str> {
        let writing = self.writing.as_mut()?;
        writing.retry_at.take_if(|at| *at <= now)?;
        writing.ticket = Some(ticket);
        Some(&writing.text)
    }

    /// The result of a write, of this fact or of another. `Some` if the value is durable and in force now: what
    /// may be acknowledged. A failed write is retried.
    pub(super) fn settle(
        &mut self,
        ticket: Ticket,
        ok: bool,
        now: Mono,
        jitter: &mut Jitter,
    ) -> Option<Vec<AckToken>> {
        let mut writing = self.writing.take_if(|writing| writing.ticket == Some(ticket))?;
        if ok {
            self.backoff.reset();
            self.live = Recalled::Is(writing.value);
            self.text = Some(writing.text);
            self.kept = true;
            return Some(writing.acks);
        }
        writing.ticket = None;
        writing.retry_at = Some(now + self.backoff.next(jitter));
        self.writing = Some(writing);
        None
    }

    /// When a write is to be retried.
    pub(super) fn retry_at(&self) -> Option<Mono> {
        self.writing.as_ref().and_then(|writing| writing.retry_at)
    }
}
