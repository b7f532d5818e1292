//! The thread that makes facts durable, and the privacy journal, so that no fsync is ever waited for by a
//! decision.

use crate::disk::facts::Facts;
use crate::disk::journal::Journal;
use crate::domain::effect::Fact;
use crate::domain::input::{Input, Ticket};
use crate::domain::journal::{Head, What};
use crate::domain::segment::RecordClock;
use crate::domain::time::Utc;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use tokio::sync::mpsc::Sender;

/// Facts and lines under way at once; the machine has at most one fact of each kind.
const QUEUE: usize = 64;

enum Job {
    Keep(Ticket, Fact, bool),
    Note(Utc, RecordClock, What),
}

pub(super) struct Keeper {
    jobs: mpsc::SyncSender<Job>,
    head: Arc<Mutex<Head>>,
    thread: std::thread::JoinHandle<()>,
}

impl Keeper {
    /// A journal that cannot be opened is told of and done without: the camera obeys all the same.
    ///
    /// # Errors
    /// Where the thread cannot be started.
    pub(super) fn start(
        store: Facts,
        journal: std::io::Result<Journal>,
        inputs: Sender<Input>,
    ) -> std::io::Result<Keeper> {
        let (jobs, queue) = mpsc::sync_channel::<Job>(QUEUE);
        let mut journal =
            journal.map_err(|e| tracing::error!("the privacy journal cannot be written: {e}")).ok();
        let head = Arc::new(Mutex::new(journal.as_ref().map(Journal::head).unwrap_or_default()));
        let told = Arc::clone(&head);
        let thread = std::thread::Builder::new().name(String::from("keeper")).spawn(move || {
            for job in queue {
                match job {
                    Job::Keep(ticket, fact, forbids) => {
                        let result = if forbids { store.forbid(&fact) } else { store.keep(&fact) };
                        let result = result.map_err(|e| e.to_string());
                        if inputs.blocking_send(Input::Persisted { ticket, result }).is_err() {
                            return;
                        }
                    }
                    Job::Note(time, clock, what) => {
                        let Some(journal) = journal.as_mut() else { continue };
                        if let Err(why) = journal.append(time, clock, what) {
                            tracing::error!("a line of the privacy journal is lost: {why}");
                        }
                        *told.lock().unwrap_or_else(PoisonError::into_inner) = journal.head();
                    }
                }
            }
        })?;
        Ok(Keeper { jobs, head, thread })
    }

    /// Hands a fact over; one that `forbids` takes the place of what permits, also where it cannot be written. `Err` where the keeper is stuck behind a disk that does not answer.
    pub(super) fn keep(&self, ticket: Ticket, fact: Fact, forbids: bool) -> Result<(), String> {
        let stuck = |_| String::from("the state directory does not answer");
        self.jobs.try_send(Job::Keep(ticket, fact, forbids)).map_err(stuck)
    }

    /// Hands a line of the privacy journal over.
    pub(super) fn note(&self, time: Utc, clock: RecordClock, what: What) {
        if self.jobs.try_send(Job::Note(time, clock, what)).is_err() {
            tracing::error!("a line of the privacy journal is lost: the state directory does not answer");
        }
    }

    /// Where the journal stands.
    pub(super) fn head(&self) -> Head {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets go of the thread; true once all that was handed over is durable.
    pub(super) fn finish(self) -> impl Fn() -> bool {
        drop(self.jobs);
        move || self.thread.is_finished()
    }
}
