//! The loop's handle of the spool thread: it sends commands and never waits.

use crate::config::{self, Config};
use crate::disk::Fs;
use crate::domain::fragment::{Captured, Epoch, SpanEnd};
use crate::domain::input::Input;
use crate::domain::segment::{Record, Segment, Serial};
use crate::domain::storage::Usage;
use crate::domain::time::{Clock, Mono, Now};
use crate::fmp4;
use crate::spool::{self, Command, Encryption, LiveEpoch, ReadError, Sealed, Setup, Spool};
use crate::upload;
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often the spool thread is asked whether it still runs.
const ASK_INTERVAL: Duration = Duration::from_secs(1);
/// Timeout for the spool thread, and for the keeper, to finish their work.
pub(super) const SETTLE_TIMEOUT: Duration = Duration::from_secs(2);

pub(super) struct SpoolHandle {
    live: LiveEpoch,
    /// Holds at most one removal for each segment of the spool (`spool.max_files` limits their number), and a
    /// few other commands.
    commands: Sender<Command>,
    inputs: mpsc::Sender<Input>,
    reader: SegmentReader,
    thread: JoinHandle<()>,
    /// When the thread was asked whether it runs, and the channel for its answer; at most one question waits.
    asked: Option<(Mono, Receiver<()>)>,
    answered: Mono,
}

/// What was found at the start, in the machine's form.
pub(super) type Found = Result<(Vec<Segment>, Usage), String>;

impl SpoolHandle {
    /// Starts the spool thread, which then reads the existing files. A spool that cannot be opened is a fact
    /// for the machine, which probes it again and again.
    ///
    /// # Errors
    /// If the thread cannot be started.
    pub(super) fn open(
        fs: Arc<dyn Fs>,
        config: &Config,
        boot: &str,
        keep_partial_gop: bool,
        captured: Receiver<Captured>,
        clock: impl Fn() -> (Now, Clock) + Clone + Send + 'static,
        inputs: mpsc::Sender<Input>,
    ) -> std::io::Result<(SpoolHandle, Found)> {
        let live = LiveEpoch::new();
        let encryption = encryption_of(&config.spool);
        let setup = Setup {
            state_dir: config.device.state_dir.clone(),
            device: config.device.id.clone(),
            boot: boot.to_owned(),
            segment: config.recording.segment,
            // A GOP of about the expected length is one commit.
            part: config.recording.fragment.saturating_mul(3) / 2,
            durability: config.recording.durability,
            keep_partial_gop,
            quarantine: quarantine_within(config.spool.max_bytes),
            encryption,
        };
        let (commands, orders) = unbounded();
        let reader = SegmentReader {
            fs: Arc::clone(&fs),
            dir: setup.dir(),
            encryption: setup.encryption.clone(),
            commands: commands.clone(),
        };
        let opened = spool::begin(Arc::clone(&fs), setup.clone(), live.clone(), Box::new(clock.clone()));
        let (mut spool, found) = match opened {
            Ok(spool) => (spool, Ok(Vec::new())),
            Err(e) => {
                let why = format!("{}: {e}", reader.dir.display());
                (Spool::broken(fs, setup, live.clone(), Box::new(clock)), Err(why))
            }
        };
        let early = spool.take_reports();
        let usage = early.iter().rev().find_map(usage_of).unwrap_or_default();
        let found = found.map(|segments| (segments, usage));

        let report_to = inputs.clone();
        let thread = std::thread::Builder::new().name(String::from("spool")).spawn(move || {
            let report = move |input| {
                let _the_agent_has_left = report_to.blocking_send(input);
            };
            early.into_iter().for_each(&report);
            spool.run(captured, orders, Box::new(report));
        })?;
        let storage =
            SpoolHandle { live, commands, inputs, reader, thread, asked: None, answered: Mono::default() };
        Ok((storage, found))
    }

    /// From now on, what this permit captures may be written.
    pub(super) fn admit(&self, epoch: Epoch) {
        self.live.allow(epoch);
    }

    /// From now on, nothing captured is written; takes effect before everything that is queued.
    pub(super) fn revoke(&self) {
        self.live.revoke();
    }

    /// Drops what is not complete of a run, and ends its span.
    pub(super) fn drop_run(&self, epoch: Epoch, reason: SpanEnd) {
        self.tell(Command::Revoke { epoch, reason });
    }

    pub(super) fn forget(&self, serial: Serial) {
        self.tell(Command::Forget { serial });
    }

    pub(super) fn evict_aside(&self) {
        self.tell(Command::EvictAside);
    }

    pub(super) fn cut_back(&self, serial: Serial, keep: Duration) {
        self.tell(Command::CutBack { serial, keep });
    }

    pub(super) fn move_end(&self, serial: Serial, record: Box<Record>, reason: SpanEnd) {
        self.tell(Command::MoveEnd { serial, record, reason });
    }

    pub(super) fn set_terms(&self, plan: String, history_hours: u32) {
        self.tell(Command::SetTerms { plan, history_hours });
    }

    pub(super) fn probe(&self) {
        self.tell(Command::Probe);
    }

    /// Takes in and seals everything that was captured; `Input::Flushed` answers, after the reports of what
    /// was sealed. Nothing is captured after it.
    pub(super) fn flush(&self) {
        let (done, flushed) = bounded(1);
        self.tell(Command::Drain { done });
        let inputs = self.inputs.clone();
        tokio::task::spawn_blocking(move || {
            // A thread that has ended has nothing left to flush.
            let _gone = flushed.recv_timeout(SETTLE_TIMEOUT);
            let _the_agent_has_left = inputs.blocking_send(Input::Flushed);
        });
    }

    /// The channel through which the loop receives inputs.
    pub(super) fn inputs(&self) -> mpsc::Sender<Input> {
        self.inputs.clone()
    }

    pub(super) fn reader(&self) -> SegmentReader {
        self.reader.clone()
    }

    /// When the spool thread was last known to run. Asks it again from time to time.
    pub(super) fn alive_at(&mut self, now: Mono) -> Mono {
        if let Some((asked, answer)) = &self.asked {
            if answer.try_recv().is_err() {
                return *asked;
            }
            self.asked = None;
            self.answered = now;
        }
        if now.since(self.answered) >= ASK_INTERVAL {
            let (done, answer) = bounded(1);
            self.tell(Command::Drain { done });
            self.asked = Some((now, answer));
        }
        now
    }

    /// While the thread does not answer: when to check it next.
    pub(super) fn due(&self, now: Mono) -> Option<Mono> {
        self.asked.as_ref().map(|_| now + ASK_INTERVAL)
    }

    /// Tells the thread to take in what waits, to seal, and to end.
    pub(super) fn stop(&self) {
        let (done, _nobody_waits) = bounded(1);
        self.tell(Command::Shutdown { done });
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.thread.is_finished()
    }

    fn tell(&self, command: Command) {
        if self.commands.send(command).is_err() {
            tracing::error!("the spool thread is gone");
        }
    }
}

/// Limits of the quarantine: most of the spool is left to footage.
fn quarantine_within(max_bytes: u64) -> spool::QuarantineLimits {
    let limits = spool::QuarantineLimits::default();
    spool::QuarantineLimits { bytes: limits.bytes.min(max_bytes / 8), ..limits }
}

fn encryption_of(spool: &config::Spool) -> Encryption {
    match &spool.key {
        Some(key) if spool.encrypt => Encryption::with(key.0),
        Some(key) => Encryption::reading(key.0),
        None => Encryption::none(),
    }
}

fn usage_of(input: &Input) -> Option<Usage> {
    if let Input::Usage(usage) = input { Some(*usage) } else { None }
}

/// Reads segments, from any thread.
#[derive(Clone)]
pub(super) struct SegmentReader {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    encryption: Encryption,
    commands: Sender<Command>,
}

impl SegmentReader {
    /// As [`spool::open_sealed`]; blocks. What turns out to be damaged, now or while it is read, is returned
    /// to the spool, which recovers what it can.
    pub(super) fn open(&self, serial: Serial, shift: i64) -> Result<Footage, ReadError> {
        let opened = spool::open_sealed(&self.encryption, Arc::clone(&self.fs), &self.dir, serial, shift);
        let sealed = self.told(serial, opened)?;
        Ok(Footage { sealed, serial, reader: self.clone() })
    }

    fn told<T>(&self, serial: Serial, read: Result<T, ReadError>) -> Result<T, ReadError> {
        if let Err(ReadError::Damaged(_) | ReadError::Gone) = &read {
            let _the_spool_is_gone = self.commands.send(Command::Damaged { serial });
        }
        read
    }
}

/// A segment of the spool, for the uploader.
pub(super) struct Footage {
    sealed: Sealed,
    serial: Serial,
    reader: SegmentReader,
}

impl Footage {
    /// As [`Sealed::duration`].
    pub(super) fn duration(&self) -> u64 {
        self.sealed.duration()
    }
}

impl upload::Body for Footage {
    fn read(&self, take: &mut dyn FnMut(Bytes) -> bool) -> Result<(), String> {
        let read = self.sealed.read(take);
        self.reader.told(self.serial, read).map_err(|e| e.to_string())
    }

    fn attributes(&self) -> Option<&fmp4::Attributes> {
        Some(self.sealed.attributes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_spool_leaves_most_of_its_room_to_footage() {
        assert_eq!(quarantine_within(80_000).bytes, 10_000);
        assert_eq!(quarantine_within(u64::MAX).bytes, spool::QuarantineLimits::default().bytes);
    }
}
