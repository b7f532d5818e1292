//! The thread that stores, without the disk, prohibitions that the disk does not take, so that the next start
//! of the process finds them.

use crate::disk::{Fs, StoredFacts};
use crate::domain::effect::Fact;
use std::path::Path;
use std::sync::{Arc, mpsc};

/// Capacity of the queue: each tombstone is raised and lifted once per choice.
const MAX_QUEUED: usize = 64;

enum Job {
    Raise(Fact),
    Lift(Fact),
}

pub(super) struct Tombstones(mpsc::SyncSender<Job>);

impl Tombstones {
    /// # Errors
    /// If the thread cannot be started.
    pub(super) fn start(store: StoredFacts) -> std::io::Result<Tombstones> {
        let (jobs, queue) = mpsc::sync_channel::<Job>(MAX_QUEUED);
        std::thread::Builder::new().name(String::from("tombstones")).spawn(move || {
            for job in queue {
                let done = match job {
                    Job::Raise(fact) => store.raise(&fact),
                    Job::Lift(fact) => store.withdraw(&fact),
                };
                if let Err(why) = done {
                    tracing::error!("a prohibition cannot be stored for the next start: {why}");
                }
            }
        })?;
        Ok(Tombstones(jobs))
    }

    pub(super) fn raise(&self, fact: Fact) {
        self.hand_over(Job::Raise(fact));
    }

    pub(super) fn lift(&self, fact: Fact) {
        self.hand_over(Job::Lift(fact));
    }

    fn hand_over(&self, job: Job) {
        if self.0.try_send(job).is_err() {
            tracing::error!("a prohibition cannot be stored for the next start: its folder does not answer");
        }
    }
}

/// The place of the tombstones.
pub(super) fn store(fs: Arc<dyn Fs>, socket: &Path) -> StoredFacts {
    StoredFacts::tombstones(fs, socket.parent().unwrap_or(Path::new("/run/kasacam")))
}
