//! The thread that makes facts and the privacy journal durable, so that no decision ever waits for an fsync.

use crate::disk::facts::StoredFacts;
use crate::disk::journal::Journal;
use crate::domain::effect::Fact;
use crate::domain::input::{Input, Ticket};
use crate::domain::journal::{Head, What};
use crate::domain::segment::RecordClock;
use crate::domain::time::Utc;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use tokio::sync::mpsc::Sender;

/// Maximum number of facts and lines under way; the machine has at most one fact of each kind.
const MAX_QUEUED: usize = 64;

enum Job {
    Keep(Ticket, Fact, bool),
    Note(Utc, RecordClock, What),
}

pub(super) struct Keeper {
    jobs: mpsc::SyncSender<Job>,
    head: Arc<Mutex<Head>>,
    /// Lines of the journal that could not be written since the last one that was written.
    lost: Arc<AtomicU64>,
    thread: std::thread::JoinHandle<()>,
}

impl Keeper {
    /// A journal that cannot be opened is logged, and opening is retried with each line: the camera still
    /// obeys.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(super) fn start(
        store: StoredFacts,
        journal: io::Result<Journal>,
        open: impl Fn() -> io::Result<Journal> + Send + 'static,
        inputs: Sender<Input>,
    ) -> io::Result<Keeper> {
        let (jobs, queue) = mpsc::sync_channel::<Job>(MAX_QUEUED);
        let head = Arc::new(Mutex::new(journal.as_ref().map(Journal::head).unwrap_or_default()));
        let lost = Arc::new(AtomicU64::new(0));
        let journal = journal.map_err(|e| tracing::error!("the privacy journal cannot be written: {e}")).ok();
        let mut writer = Writer { journal, open, lost: Arc::clone(&lost), head: Arc::clone(&head) };
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
                    Job::Note(time, clock, what) => writer.note(time, clock, what),
                }
            }
        })?;
        Ok(Keeper { jobs, head, lost, thread })
    }

    /// Hands a fact over. If it `forbids`, it replaces a fact that permits, even if it cannot be written.
    /// `Err` if the keeper is stuck behind a disk that does not answer.
    pub(super) fn keep(&self, ticket: Ticket, fact: Fact, forbids: bool) -> Result<(), String> {
        let stuck = |_| String::from("the state directory does not answer");
        self.jobs.try_send(Job::Keep(ticket, fact, forbids)).map_err(stuck)
    }

    /// Hands a line of the privacy journal over. If there is no room, it is counted as lost, and the journal
    /// will say so.
    pub(super) fn note(&self, time: Utc, clock: RecordClock, what: What) {
        if self.jobs.try_send(Job::Note(time, clock, what)).is_err() {
            self.lost.fetch_add(1, Ordering::AcqRel);
            tracing::error!("a line of the privacy journal is lost: the state directory does not answer");
        }
    }

    /// The state of the journal.
    pub(super) fn head(&self) -> Head {
        *self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Releases the thread; the returned function is true once everything handed over is durable.
    pub(super) fn finish(self) -> impl Fn() -> bool {
        drop(self.jobs);
        move || self.thread.is_finished()
    }
}

/// Writes the journal, and records in it what it could not write.
struct Writer<O> {
    journal: Option<Journal>,
    open: O,
    lost: Arc<AtomicU64>,
    head: Arc<Mutex<Head>>,
}

impl<O: Fn() -> io::Result<Journal>> Writer<O> {
    fn note(&mut self, time: Utc, clock: RecordClock, what: What) {
        let lost = self.lost.swap(0, Ordering::AcqRel);
        let written = self.append_with(lost, time, clock, what);
        if let Some(journal) = &self.journal {
            *self.head.lock().unwrap_or_else(PoisonError::into_inner) = journal.head();
        }
        if let Err((lost, why)) = written {
            self.lost.fetch_add(lost, Ordering::AcqRel);
            tracing::error!("a line of the privacy journal is lost: {why}");
        }
    }

    /// Writes one line, after a line about those that were lost before it, if any. `Err`: how many are lost
    /// now.
    fn append_with(
        &mut self,
        lost: u64,
        time: Utc,
        clock: RecordClock,
        what: What,
    ) -> Result<(), (u64, io::Error)> {
        let journal = match self.journal.take() {
            Some(journal) => journal,
            None => (self.open)().map_err(|why| (lost.saturating_add(1), why))?,
        };
        let journal = self.journal.insert(journal);
        if lost > 0 {
            let line = journal.append(time, clock, What::Lost { lines: lost });
            line.map_err(|why| (lost.saturating_add(1), why))?;
        }
        journal.append(time, clock, what).map_err(|why| (1, why))
    }
}
