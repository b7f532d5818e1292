//! The thread that makes facts durable, so that no fsync is ever waited for by a decision.

use crate::disk::facts::Facts;
use crate::domain::effect::Fact;
use crate::domain::input::{Input, Ticket};
use std::sync::mpsc;
use tokio::sync::mpsc::Sender;

/// Facts under way at once; the machine has at most one of each kind.
const QUEUE: usize = 16;

pub(super) struct Keeper {
    facts: mpsc::SyncSender<(Ticket, Fact)>,
    thread: std::thread::JoinHandle<()>,
}

impl Keeper {
    /// # Errors
    /// Where the thread cannot be started.
    pub(super) fn start(store: Facts, inputs: Sender<Input>) -> std::io::Result<Keeper> {
        let (facts, queue) = mpsc::sync_channel::<(Ticket, Fact)>(QUEUE);
        let thread = std::thread::Builder::new().name(String::from("keeper")).spawn(move || {
            for (ticket, fact) in queue {
                let result = store.keep(&fact).map_err(|e| e.to_string());
                if inputs.blocking_send(Input::Persisted { ticket, result }).is_err() {
                    return;
                }
            }
        })?;
        Ok(Keeper { facts, thread })
    }

    /// Hands a fact over. `Err` where the keeper is stuck behind a disk that does not answer.
    pub(super) fn keep(&self, ticket: Ticket, fact: Fact) -> Result<(), String> {
        self.facts.try_send((ticket, fact)).map_err(|_| String::from("the state directory does not answer"))
    }

    /// Lets go of the thread; true once all that was handed over is durable.
    pub(super) fn finish(self) -> impl Fn() -> bool {
        drop(self.facts);
        move || self.thread.is_finished()
    }
}
