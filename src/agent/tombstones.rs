//! The thread that lays down, without the disk, what the disk does not take: the next start of the process finds it.

use crate::disk::{Facts, Fs};
use crate::domain::effect::Fact;
use std::path::Path;
use std::sync::{Arc, mpsc};

/// Tombstones on their way: each is raised and lifted once a choice.
const QUEUE: usize = 64;

enum Job {
    Raise(Fact),
    Lift(Fact),
}

pub(super) struct Tombstones(mpsc::SyncSender<Job>);

impl Tombstones {
    /// # Errors
    /// Where the thread cannot be started.
    pub(super) fn start(store: Facts) -> std::io::Result<Tombstones> {
        let (jobs, queue) = mpsc::sync_channel::<Job>(QUEUE);
        std::thread::Builder::new().name(String::from("tombstones")).spawn(move || {
            for job in queue {
                let done = match job {
                    Job::Raise(fact) => store.raise(&fact),
                    Job::Lift(fact) => store.withdraw(&fact),
                };
                if let Err(why) = done {
                    tracing::error!("what is forbidden cannot be laid down for the next start: {why}");
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
            tracing::error!(
                "what is forbidden cannot be laid down for the next start: its folder does not answer"
            );
        }
    }
}

/// Where they lie.
pub(super) fn store(fs: Arc<dyn Fs>, socket: &Path) -> Facts {
    Facts::tombstones(fs, socket.parent().unwrap_or(Path::new("/run/kasacam")))
}
