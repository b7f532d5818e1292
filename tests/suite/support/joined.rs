//! The real machine and the real spool over the file system in memory, connected only as the agent connects
//! them: commands go one way, reports the other, each in order.

use super::fault_fs::FaultFs;
use super::rig::{allowed, noon};
use super::spool_model::{Options, spool_dir};
use super::tiny_mp4::{self, CHUNK, Tiny};
use kasacam::disk::StoredFacts;
use kasacam::domain::effect::{ClosingStep, Effect, Event, Report, Rule, StopManner};
use kasacam::domain::fragment::{Captured, Epoch, Init};
use kasacam::domain::input::{AckToken, Input};
use kasacam::domain::machine::{Machine, Start};
use kasacam::domain::outcome::{Outcome, Scope};
use kasacam::domain::privacy::PrivacyChoice;
use kasacam::domain::segment::Serial;
use kasacam::domain::storage::Usage;
use kasacam::domain::time::{Clock, Mono, Now, Utc};
use kasacam::spool::{self, ClockReading, Command, LiveEpoch, Spool};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Nanoseconds since boot when every process begins.
const BEGIN: u64 = 1_000_000_000;

/// How the store treats what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreIs {
    Up,
    Down,
    /// It answers, and stores nothing.
    Refusing,
    /// An upload begins and never ends.
    Slow,
}

pub struct Joined {
    pub fs: FaultFs,
    pub machine: Machine,
    pub spool: Spool,
    pub now: Now,
    pub store: StoreIs,
    pub events: Vec<Event>,
    /// What was removed, and why.
    pub forgotten: BTreeMap<Serial, Rule>,
    /// All times under which each segment was requested to be sent.
    pub sent: BTreeMap<Serial, Vec<Utc>>,
    pub uploading: Vec<Serial>,
    /// Removals that the spool has confirmed.
    pub gone: Vec<Serial>,
    pub sealed: Vec<Serial>,
    pub frames_committed: u64,
    pub frames_dropped: u64,
    pub exited: bool,
    live: LiveEpoch,
    clock: Arc<Mutex<(Now, Clock)>>,
    options: Options,
    init: Arc<Init>,
    open: Option<Epoch>,
    /// The number of the fragment that is captured next.
    pub fragment: u32,
    /// When the last frame of each chunk was captured.
    pub taken: BTreeMap<(u32, u32), Utc>,
    sequence: u32,
    commands: VecDeque<Command>,
}

impl Joined {
    /// A camera that may record, with a trusted clock, on this disk.
    pub fn start(fs: &FaultFs, options: Options) -> Joined {
        let now = Now { mono: Mono(BEGIN), system: noon(), synchronised: true };
        Joined::start_at(fs, "boot-1", options, now, allowed())
    }

    /// With a session, on which the choice that it knows has been heard.
    pub fn start_at(fs: &FaultFs, boot: &str, options: Options, now: Now, start: Start) -> Joined {
        let choice = start.privacy.value().cloned();
        let mut joined = Joined::offline_at(fs, boot, options, now, start);
        joined.give(Input::Connected);
        if let Some(choice) = choice {
            joined.hear_choice(choice);
        }
        joined
    }

    /// The broker's retained choice, on a live session.
    pub fn hear_choice(&mut self, choice: PrivacyChoice) {
        let jws = format!("privacy-{}", choice.version);
        let ack = AckToken { connection: 1, delivery: 1 };
        self.give(Input::Privacy { choice, jws, retained: true, ack });
    }

    /// Without a session.
    pub fn offline_at(fs: &FaultFs, boot: &str, options: Options, now: Now, start: Start) -> Joined {
        let live = LiveEpoch::new();
        let clock = Arc::new(Mutex::new((now, Clock::judge(now, start.floor))));
        let reading = || -> ClockReading {
            let clock = Arc::clone(&clock);
            Box::new(move || *clock.lock().unwrap())
        };
        let setup = options.setup(boot);
        let (mut spool, found) = match spool::open(fs.shared(), setup.clone(), live.clone(), reading()) {
            Ok((spool, segments)) => (spool, Ok(segments)),
            Err(error) => {
                (Spool::broken(fs.shared(), setup, live.clone(), reading()), Err(error.to_string()))
            }
        };
        let early = spool.take_reports();
        let usage = early.iter().rev().find_map(|input| match input {
            Input::Usage(usage) => Some(*usage),
            _ => None,
        });
        let found = found.map(|segments| (segments, usage.unwrap_or_else(Usage::default)));
        let known = StoredFacts::new(fs.shared(), &super::spool_model::state_dir()).recall();
        let offsets = known.offsets.value().cloned().unwrap_or_default();
        let machine = Machine::new(Start { boot: boot.to_owned(), offsets, spool: found, ..start }, now);
        let mut joined = Joined {
            fs: fs.clone(),
            machine,
            spool,
            now,
            store: StoreIs::Down,
            events: Vec::new(),
            forgotten: BTreeMap::new(),
            sent: BTreeMap::new(),
            uploading: Vec::new(),
            gone: Vec::new(),
            sealed: Vec::new(),
            frames_committed: 0,
            frames_dropped: 0,
            exited: false,
            live,
            clock,
            options,
            init: tiny_mp4::init(64),
            open: None,
            fragment: 0,
            taken: BTreeMap::new(),
            sequence: 1,
            commands: VecDeque::new(),
        };
        joined.hear(early);
        joined
    }

    /// Sends a command to the spool, as the agent does.
    pub fn tell(&mut self, command: Command) {
        self.commands.push_back(command);
        self.hear(Vec::new());
    }

    pub fn give(&mut self, input: Input) {
        self.hear(vec![input]);
    }

    /// The machine receives these inputs, and the inputs that result.
    fn hear(&mut self, inputs: Vec<Input>) {
        let mut inputs = VecDeque::from(inputs);
        for _ in 0..100_000 {
            *self.clock.lock().unwrap() = (self.now, self.machine.clock(self.now));
            if let Some(input) = inputs.pop_front() {
                self.note(&input);
                self.machine.handle(input, self.now);
            }
            while let Some(effect) = self.machine.poll_effect() {
                inputs.extend(self.perform(effect));
            }
            match self.commands.pop_front() {
                Some(command) => self.spool.obey(command),
                // As its thread does, between its other work.
                None if self.spool.is_scanning() => {
                    let _ = self.spool.scan(8);
                }
                None if inputs.is_empty() => return,
                None => {}
            }
            inputs.extend(self.spool.take_reports());
        }
        panic!("the machine and the spool keep each other busy for ever");
    }

    fn note(&mut self, input: &Input) {
        match input {
            Input::Committed { frames, .. } => self.frames_committed += u64::from(*frames),
            Input::Dropped { frames, .. } => self.frames_dropped += u64::from(*frames),
            Input::Sealed(segment) => self.sealed.push(segment.serial),
            Input::Found(segments) => self.sealed.extend(segments.iter().map(|segment| segment.serial)),
            Input::Forgotten { serial } => self.gone.push(*serial),
            _ => {}
        }
    }

    fn perform(&mut self, effect: Effect) -> Option<Input> {
        match effect {
            Effect::StartCapture { permit, .. } => {
                self.open = Some(permit.epoch());
                self.live.allow(permit.epoch());
                None
            }
            Effect::StopCapture { epoch, reason, .. } => {
                // However it ends: there is no pipeline here from which anything could be drained.
                for step in StopManner::Drop.steps() {
                    match step {
                        ClosingStep::Invalidate => self.live.revoke(),
                        ClosingStep::Close => self.open = None,
                        ClosingStep::DropRest => self.commands.push_back(Command::Revoke { epoch, reason }),
                    }
                }
                Some(Input::CaptureClosed { epoch, at: self.now.mono, fault: None })
            }
            Effect::Persist { ticket, fact, .. } => {
                let kept = StoredFacts::new(self.fs.shared(), &super::spool_model::state_dir()).keep(&fact);
                Some(Input::Persisted { ticket, result: kept.map_err(|error| error.to_string()) })
            }
            Effect::Publish(Report::Event(event)) => {
                self.events.push(event);
                None
            }
            Effect::Upload { segment, time, .. } => {
                self.sent.entry(segment.serial).or_default().push(time);
                self.uploading.push(segment.serial);
                let outcome = match self.store {
                    StoreIs::Slow => return None,
                    StoreIs::Up => Outcome::Stored,
                    StoreIs::Refusing => {
                        Outcome::Retry { scope: Scope::Segment, after: None, why: String::from("HTTP 400") }
                    }
                    StoreIs::Down => Outcome::Retry {
                        scope: Scope::Store,
                        after: None,
                        why: String::from("connection refused"),
                    },
                };
                self.uploading.retain(|serial| *serial != segment.serial);
                Some(Input::UploadFinished { serial: segment.serial, outcome, took: Duration::ZERO })
            }
            Effect::CancelUpload { serial } => {
                self.uploading.retain(|uploading| *uploading != serial);
                None
            }
            Effect::Forget { serial, why } => {
                self.forgotten.insert(serial, why);
                self.commands.push_back(Command::Forget { serial });
                None
            }
            Effect::EvictAside => {
                self.commands.push_back(Command::EvictAside);
                None
            }
            Effect::CutBack { serial, keep } => {
                self.commands.push_back(Command::CutBack { serial, keep });
                None
            }
            Effect::MoveEnd { serial, record, reason } => {
                self.commands.push_back(Command::MoveEnd { serial, record, reason });
                None
            }
            Effect::AskStore => Some(Input::StoreAnswered(self.store == StoreIs::Up)),
            Effect::Abort => panic!("every device closes here"),
            Effect::SetTerms { plan, history_hours } => {
                self.commands.push_back(Command::SetTerms { plan, history_hours });
                None
            }
            Effect::FlushSpool => {
                self.spool.shut_down();
                Some(Input::Flushed)
            }
            Effect::ProbeStorage => {
                self.commands.push_back(Command::Probe);
                None
            }
            Effect::Exit => {
                self.exited = true;
                None
            }
            // These tests do not use the latch.
            Effect::RaiseTombstone(_) | Effect::LiftTombstone(_) | Effect::AskAgain => None,
            Effect::Light { ticket, .. } => Some(Input::LightSet { ticket, result: Ok(()) }),
            Effect::Note { .. } => None,
            Effect::Ack(_) | Effect::Publish(_) => None,
        }
    }

    /// Lets time pass, and wakes the machine whenever it asks for it.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        while self.now.mono < end {
            let (at, why) = self.machine.poll_timeout(self.now);
            assert!(at > self.now.mono, "the machine would wake for ever: {why:?}");
            self.advance(at.min(end).since(self.now.mono));
            self.give(Input::Tick);
        }
    }

    fn advance(&mut self, time: Duration) {
        self.now.mono = self.now.mono + time;
        self.now.system = self.now.system + time;
    }

    pub fn is_recording(&self) -> bool {
        self.open.is_some()
    }

    /// Captures fragments as long as the device is open; time passes with them.
    pub fn record(&mut self, fragments: u32) {
        for _ in 0..fragments {
            for chunk in 0..self.options.chunks {
                self.advance(Duration::from_nanos(CHUNK));
                let Some(epoch) = self.open else { continue };
                self.taken.insert((self.fragment, chunk), self.now.system);
                let tiny = Tiny {
                    epoch,
                    init: Arc::clone(&self.init),
                    fragment: self.fragment,
                    chunk,
                    of: self.options.chunks,
                    sequence: self.sequence,
                    start: self.now.mono.0 - CHUNK,
                    size: self.options.size,
                    zeros: self.options.zeros,
                };
                self.sequence += 1;
                self.spool.take(Captured::Chunk(tiny.build()));
                let reports = self.spool.take_reports();
                self.hear(reports);
            }
            self.fragment += 1;
        }
        self.give(Input::Tick);
    }

    /// Names of the sealed segments with footage that are on flash.
    pub fn held(&self) -> Vec<String> {
        self.fs.names(&spool_dir()).into_iter().filter(|name| name.ends_with(".mp4")).collect()
    }

    pub fn evicted(&self) -> usize {
        self.forgotten.values().filter(|rule| **rule == Rule::Evicted).count()
    }
}
