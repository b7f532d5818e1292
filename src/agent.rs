//! The composition root: builds every unit, connects them by channels, and runs the event loop.
//!
//! `select -> apply -> perform`: the loop waits for one input, the machine applies it, and the resulting
//! effects are performed before the next input is taken. Nothing in the loop blocks except on the channels
//! from which it selects: the keeper and the spool thread write files, capture's own threads open and close
//! devices, and the network has its own tasks.
//!
//! Shutdown follows the data: first the source (drained, or dropped for privacy), then the spool (sealed),
//! then uploads (until the deadline), then the reports to the cloud, then the broker.

mod granting;
mod journal;
mod keeper;
mod perform;
mod reloading;
mod remembered;
mod snapshots;
mod status;
mod storage;
mod tombstones;

pub use journal::privacy_log;

use crate::capture::{self, FragmentSource};
use crate::config::{ClockTrust, Config, LatchDevice, LatchKind, PrivacyLatch};
use crate::disk::journal::Journal;
use crate::disk::{Fs, RealFs, StoredFacts};
use crate::domain::fragment::Epoch;
use crate::domain::input::Input;
use crate::domain::machine::{Machine, Start, Why};
use crate::domain::privacy::Shutter;
use crate::domain::segment::Serial;
use crate::domain::status::Status;
use crate::domain::time::{Clock, Mono, Now, Utc};
use crate::identity;
use crate::mqtt;
use crate::system::control::{self, Command};
use crate::system::indicator::Indicator;
use crate::system::latch::{self, Latch};
use crate::system::notify::Notifier;
use crate::system::signals::{Request, Signals};
use crate::system::{boot, clock, inputs};
use crate::upload::Uploader;
use remembered::Remembered;
use serde_json::json;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

/// Capacity of the queue of inputs for the machine. Producers wait when it is full; the loop never does.
const INPUT_QUEUE: usize = 1024;
/// Capacity of the queue of chunks for the spool: at least two seconds of them.
const CHUNK_QUEUE: usize = 32;
/// How long the answer to `privacy on` or `off` waits for the device to be closed and the latch to be durable.
const SETTLED_TIMEOUT: Duration = Duration::from_secs(2);
/// Maximum number of privacy commands that wait for their answers.
const MAX_ANSWERS: usize = 8;
/// Timeout for telling the broker that the agent leaves.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// Why [`run`] failed.
#[derive(Debug)]
pub enum Failure {
    /// The configuration asks for something impossible; exit code 2.
    Configuration(String),
    /// An internal fault; exit code 70.
    Internal(String),
}

/// Runs until it is told to stop.
///
/// # Errors
/// See [`Failure`]. What fails later, while the agent runs, is an event and is retried.
pub async fn run(config: Config, path: &Path) -> Result<(), Failure> {
    let mut agent = Agent::start(config, path)?;
    agent.run_loop().await;
    agent.leave().await;
    Ok(())
}

/// Why the loop wakes although nothing has come.
#[derive(Clone, Copy, Debug)]
enum Wake {
    /// The machine has something to do.
    Machine(Why),
    /// The watchdog of the init is to be fed.
    Watchdog,
    /// The spool thread is asked whether it still answers.
    SpoolThread,
    /// A client of the control socket has waited long enough for its answer.
    Answer,
}

struct Agent {
    config: Config,
    path: PathBuf,
    machine: Machine,
    trust: clock::Trust,
    inputs: mpsc::Receiver<Input>,
    requests: mpsc::Receiver<control::Request>,
    reloading: reloading::Reloading,
    /// The keys have changed since the start: messages that were read before are judged again by the new
    /// keys.
    keys_changed: bool,
    signals: mpsc::Receiver<Request>,
    keeper: keeper::Keeper,
    tombstones: tombstones::Tombstones,
    storage: storage::SpoolHandle,
    source: Box<dyn FragmentSource>,
    broker: mqtt::Session,
    /// When the device's certificate ends.
    certificate: watch::Receiver<Option<Utc>>,
    started: Mono,
    /// How long the spool has waited for the disk, once that is worth reporting.
    stalled: Option<Duration>,
    /// The broker was told the civil time of `started`.
    told_since: bool,
    uploader: Arc<Uploader>,
    uploads: JoinSet<Input>,
    upload_handles: HashMap<Serial, AbortHandle>,
    notifier: Notifier,
    indicator: Indicator,
    /// Privacy commands whose answers wait until the command has taken effect, and their deadlines.
    unanswered: Vec<(Mono, control::Request)>,
    snapshots: snapshots::Snapshots,
    leaving: bool,
}

impl Agent {
    fn start(config: Config, path: &Path) -> Result<Agent, Failure> {
        let trust = match config.clock.trust {
            ClockTrust::Kernel => clock::Trust::Kernel,
            ClockTrust::System => clock::Trust::System,
        };
        let now = clock::now(trust);
        let boot = boot::id().map_err(Failure::Internal)?;
        let (inputs_tx, inputs) = mpsc::channel(INPUT_QUEUE);

        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let facts = StoredFacts::new(Arc::clone(&fs), &config.device.state_dir);
        let tombs = tombstones::store(Arc::clone(&fs), &config.device.socket);
        let known = Remembered::recall(&facts, &tombs, &config);
        let floor = known.floor;
        clock::has_passed(floor);
        let (journal_fs, state_dir) = (Arc::clone(&fs), config.device.state_dir.clone());
        let open_journal = move || Journal::open(Arc::clone(&journal_fs), &state_dir);
        let journal = open_journal();
        let was_cut_off = journal.as_ref().is_ok_and(Journal::ends_open);
        let keeper = keeper::Keeper::start(facts, journal, open_journal, inputs_tx.clone())
            .map_err(|e| Failure::Internal(format!("no thread can be started: {e}")))?;
        let tombstones = tombstones::Tombstones::start(tombs)
            .map_err(|e| Failure::Internal(format!("no thread can be started: {e}")))?;

        let may_record = known.privacy.value().is_some_and(|choice| !choice.do_not_record);
        let (chunks_tx, chunks) = crossbeam_channel::bounded(CHUNK_QUEUE);
        let judge = move || {
            let reading = clock::now(trust);
            (reading, Clock::judge(reading, floor + reading.mono.since(now.mono)))
        };
        let (storage, found) =
            storage::SpoolHandle::open(fs, &config, &boot, may_record, chunks, judge, inputs_tx.clone())
                .map_err(|e| Failure::Internal(format!("no thread can be started: {e}")))?;

        let report = inputs::from_anywhere(inputs_tx.clone());
        let source = capture::source(config.board.clone(), config.recording.clone(), chunks_tx, report);

        let uploader = Uploader::new(&config.upload, &config.device.id).map_err(Failure::Configuration)?;
        let uploader = uploader.with_probe();
        let seed = u64::from_ne_bytes(random().map_err(Failure::Internal)?);
        let on_grants = uploader.grants().map(granting::answers);
        let broker =
            mqtt::start(&config, inputs_tx.clone(), seed, on_grants).map_err(Failure::Configuration)?;
        if let Some(grants) = uploader.grants() {
            tokio::spawn(granting::requests(grants, broker.requester()));
        }
        let certificate = identity::start(&config, trust);
        let server = control::Server::bind(&config.device.socket).map_err(Failure::Configuration)?;
        let (requests_tx, requests) = mpsc::channel(8);
        tokio::spawn(server.serve(requests_tx));
        let indicator = Indicator::start(config.privacy.indicator.as_deref(), inputs_tx.clone())
            .map_err(|e| Failure::Internal(format!("no thread can be started: {e}")))?;
        let shutter = watch_the_latch(&config, &inputs_tx)?;
        let signals = listen_to_signals().map_err(Failure::Internal)?;

        let machine = Machine::new(
            Start {
                settings: config.settings(),
                device: config.device.id.clone(),
                boot,
                privacy: known.privacy,
                entitlement: known.entitlement,
                signed: known.signed,
                latch: known.latch,
                seen: known.seen,
                tombstones: known.tombstones,
                shutter,
                stopped: known.stopped,
                floor,
                offsets: known.offsets,
                spool: found,
                light: config.privacy.indicator.is_some(),
                cut_off: was_cut_off,
                seed,
            },
            now,
        );
        tracing::info!(
            "kasacamd {} for {} on {}",
            env!("CARGO_PKG_VERSION"),
            config.device.id,
            config.board.name,
        );
        Ok(Agent {
            config,
            path: path.to_owned(),
            machine,
            trust,
            inputs,
            requests,
            reloading: reloading::Reloading::new(),
            keys_changed: false,
            signals,
            keeper,
            tombstones,
            storage,
            source,
            broker,
            certificate,
            started: now.mono,
            stalled: None,
            told_since: false,
            uploader: Arc::new(uploader),
            uploads: JoinSet::new(),
            upload_handles: HashMap::new(),
            notifier: Notifier::new(now.mono),
            indicator,
            unanswered: Vec::new(),
            snapshots: snapshots::Snapshots::new(),
            leaving: false,
        })
    }

    /// The event loop. Ends when the machine says so.
    async fn run_loop(&mut self) {
        self.perform_all();
        self.notifier.ready();
        while !self.leaving {
            let input = self.next_input().await;
            let now = clock::now(self.trust);
            if let Some(input) = input {
                status::log(&input);
                self.machine.handle(input, now);
                self.perform_all();
            }
            self.answer_what_is_settled(now);
            self.snapshots.look(now);
            self.tell_since(now);
            let spool = self.storage.alive_at(now.mono);
            self.notifier.progress(now.mono, spool);
            let stalled = now.mono.since(spool);
            self.tell_of_stall(stalled, now);
            if self.notifier.takes_status(now.mono) {
                self.notifier.status(status::in_a_line(&self.machine, stalled, now), now.mono);
            }
        }
    }

    /// Tells the machine when the disk begins to keep the spool waiting, and when it no longer does.
    fn tell_of_stall(&mut self, stalled: Duration, now: Now) {
        let stalls = stalled >= status::STALLED_FROM;
        let told = match (self.stalled, stalls) {
            (None, false) => return,
            (_, true) => {
                let is_new = self.stalled.is_none();
                self.stalled = Some(stalled);
                if !is_new {
                    return;
                }
                Input::StorageStalled
            }
            (Some(longest), false) => {
                self.stalled = None;
                Input::StorageResumed(longest)
            }
        };
        self.machine.handle(told, now);
        self.perform_all();
    }

    /// Tells the broker when the agent started, once a clock can be trusted.
    fn tell_since(&mut self, now: Now) {
        if !self.told_since && self.machine.clock(now) == Clock::Trusted {
            self.told_since = true;
            self.broker.set_since(now.system - now.mono.since(self.started));
        }
    }

    /// Waits for what comes next. `None` if a request was answered directly.
    async fn next_input(&mut self) -> Option<Input> {
        let now = clock::now(self.trust);
        let (due, why) = self.wakes_at(now);
        tokio::select! {
            biased;
            Some(input) = self.inputs.recv() => Some(self.believed(input)),
            Some(request) = self.signals.recv() => self.requested(request),
            Some(finished) = self.uploads.join_next() => finished.ok(),
            Some(request) = self.requests.recv() => self.answer(request),
            Some(image) = self.snapshots.taken() => self.snapshots.give(image, &self.machine),
            loaded = self.reloading.loaded() => self.take_over(loaded),
            () = tokio::time::sleep(due.since(now.mono)) => {
                match why {
                    Wake::Machine(why) => tracing::trace!(?why, "woken by the time"),
                    Wake::Watchdog | Wake::SpoolThread | Wake::Answer => {
                        tracing::trace!(?why, "woken by the time");
                    }
                }
                Some(Input::Tick)
            }
        }
    }

    /// When to look again although nothing has come, and why.
    fn wakes_at(&self, now: Now) -> (Mono, Wake) {
        let (due, why) = self.machine.poll_timeout(now);
        let answers = self.unanswered.iter().map(|(deadline, _)| *deadline);
        let answer = answers.chain(self.snapshots.due()).min();
        [
            self.notifier.due().map(|at| (at, Wake::Watchdog)),
            self.storage.due(now.mono).map(|at| (at, Wake::SpoolThread)),
            answer.map(|at| (at, Wake::Answer)),
        ]
        .into_iter()
        .flatten()
        .fold((due, Wake::Machine(why)), |first, other| if other.0 < first.0 { other } else { first })
    }

    fn requested(&mut self, request: Request) -> Option<Input> {
        match request {
            Request::Stop => {
                tracing::info!("stopping: sealing what is captured, then leaving");
                self.notifier.stopping();
                Some(Input::Shutdown)
            }
            Request::Reload => {
                self.reloading.begin(&self.path);
                None
            }
        }
    }

    fn answer(&mut self, request: control::Request) -> Option<Input> {
        let now = clock::now(self.trust);
        let answer = match request.command {
            Command::Status => json!(self.status(now)),
            Command::Metrics => {
                let days_left = self.certificate_days_left(now.system);
                status::metrics(&self.machine, self.broker.connected(), days_left, now)
            }
            Command::Open { epoch } => {
                json!(control::Open { open: self.machine.open_run() == Some(Epoch(epoch)) })
            }
            Command::Snapshot => {
                match self.snapshots.ask(&self.machine, self.source.as_mut(), request, now) {
                    Some((request, refused)) => {
                        let _client_went_away = request.reply.send(refused);
                        return None;
                    }
                    None => return None,
                }
            }
            Command::Privacy { closed } => {
                if self.unanswered.len() < MAX_ANSWERS {
                    self.unanswered.push((now.mono + SETTLED_TIMEOUT, request));
                }
                return Some(Input::Latch { closed });
            }
        };
        let _client_went_away = request.reply.send(answer);
        None
    }

    /// Whoever set the latch must be told that the device *is* closed, not that it will be.
    fn answer_what_is_settled(&mut self, now: Now) {
        let settled = self.machine.privacy_report(now).is_some();
        let (due, wait) = std::mem::take(&mut self.unanswered)
            .into_iter()
            .partition(|(deadline, _)| settled || *deadline <= now.mono);
        self.unanswered = wait;
        for (_, request) in due {
            let answer = json!(self.status(now));
            let _client_went_away = request.reply.send(answer);
        }
    }

    fn status(&self, now: Now) -> Status {
        let days_left = self.certificate_days_left(now.system);
        status::full(&self.machine, &self.config, &self.broker, self.keeper.head(), days_left, now)
    }

    fn certificate_days_left(&self, now: Utc) -> Option<u64> {
        self.certificate.borrow().map(|until| until.since(now).as_secs() / 86_400)
    }

    /// Ends what the loop has left: the spool and the keeper finish, then the broker is told.
    async fn leave(mut self) {
        self.uploads.abort_all();
        self.storage.stop();
        let keeper_is_done = self.keeper.finish();
        let indicator_is_out = self.indicator.finish();
        let deadline = clock::mono() + storage::SETTLE_TIMEOUT;
        while !(keeper_is_done() && indicator_is_out() && self.storage.is_stopped())
            && clock::mono() < deadline
        {
            // Threads that still report must not wait for a loop that has ended.
            let _report = tokio::time::timeout(Duration::from_millis(10), self.inputs.recv()).await;
        }
        self.broker.shutdown(FAREWELL_TIMEOUT).await;
        tracing::info!("stopped");
    }
}

/// Watches the camera's own switch or button, if it has one; returns what is known of a shutter until it has
/// been read.
fn watch_the_latch(config: &Config, inputs: &mpsc::Sender<Input>) -> Result<Shutter, Failure> {
    let Some(latch) = config.privacy.latch.clone().map(latch_of) else {
        return Ok(Shutter::Absent);
    };
    let shutter = match latch.kind {
        latch::DeviceKind::Switch => Shutter::Unknown,
        latch::DeviceKind::Button => Shutter::Absent,
    };
    latch.watch(inputs.clone()).map_err(|e| Failure::Internal(format!("no thread can be started: {e}")))?;
    Ok(shutter)
}

/// The latch that the configuration describes.
#[must_use]
pub fn latch_of(latch: PrivacyLatch) -> Latch {
    let device = match latch.device {
        LatchDevice::Path(path) => latch::Device::Path(path),
        LatchDevice::Named(name) => latch::Device::Named(name),
    };
    let kind = match latch.kind {
        LatchKind::Switch => latch::DeviceKind::Switch,
        LatchKind::Button => latch::DeviceKind::Button,
    };
    Latch { device, kind, code: latch.code }
}

/// A separate task receives the signals, so that the second one ends the process whatever the loop does.
fn listen_to_signals() -> Result<mpsc::Receiver<Request>, String> {
    let mut signals = Signals::new().map_err(|e| format!("no signal can be received: {e}"))?;
    let (tx, rx) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut stopping = false;
        loop {
            let request = signals.next().await;
            if request == Request::Stop {
                if stopping {
                    tracing::warn!("stopped at once by a second signal");
                    std::process::exit(1);
                }
                stopping = true;
            }
            let _loop_has_ended = tx.try_send(request);
        }
    });
    Ok(rx)
}

fn random() -> Result<[u8; 8], String> {
    use ring::rand::SecureRandom;
    let mut bytes = [0; 8];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| String::from("the kernel gives no random numbers"))?;
    Ok(bytes)
}
