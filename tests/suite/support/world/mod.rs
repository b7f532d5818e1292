//! The machine in a world where everything takes any length of time: a write, a closing device or an upload
//! is answered when the next step says so, or never. After every step the machine is compared with the
//! [`Model`], and the laws that need no model are checked.

mod asked;
mod laws;
mod step;

use super::model::{Kept, Model};
use super::rig::{HOUR, choice, lease, noon, settings};
use kasacam::domain::effect::{CaptureSettings, Fact, StopManner};
use kasacam::domain::entitlement::{Entitlement, Lease, Next};
use kasacam::domain::fragment::Epoch;
use kasacam::domain::input::{AckToken, Fault, FaultKind, Input, Ticket};
use kasacam::domain::machine::{self, Machine, Start, Tombstones};
use kasacam::domain::offset::Offsets;
use kasacam::domain::outcome::{Outcome, Scope};
use kasacam::domain::policy::PrivacyPending;
use kasacam::domain::privacy::{Privacy, PrivacyChoice, Recalled};
use kasacam::domain::segment::{KeyClock, RecordClock, Segment, Serial};
use kasacam::domain::settings::Settings;
use kasacam::domain::storage::Usage;
use kasacam::domain::time::{Clock, Mono, Now, Utc};
use kasacam::spool::LiveEpoch;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;
pub use step::{ACTIVE, Answer, Offer, Reading, Step, Stored};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    Closed,
    Open(Epoch, CaptureSettings),
    Closing(Epoch, StopManner),
}

#[derive(Clone, Debug, PartialEq)]
enum Writing {
    Choice(PrivacyChoice),
    Lease(Lease),
    Latch(bool),
    Stopped(Option<Utc>),
    Floor(Utc),
    Offsets(Offsets),
}

pub struct Disk {
    pub choice: Recalled<PrivacyChoice>,
    pub lease: Recalled<Lease>,
    pub latch: Recalled<bool>,
    pub stopped: Option<Utc>,
    pub floor: Utc,
    pub offsets: Offsets,
}

pub struct World {
    pub machine: Machine,
    pub model: Model,
    pub now: Now,
    /// The true time.
    truth: Utc,
    pub reading: Reading,
    pub disk: Disk,
    writes: VecDeque<(Ticket, Writing)>,
    pub device: Device,
    epoch: Epoch,
    revoked: Epoch,
    live: LiveEpoch,
    /// Fragments in the channel, and whether the owner allowed them when they were captured.
    channel: VecDeque<(Epoch, bool)>,
    pub spool: BTreeMap<Serial, Segment>,
    ended: HashMap<Serial, Utc>,
    /// The time under which each was sent.
    pub(super) keys: HashMap<Serial, (Utc, KeyClock)>,
    pub in_flight: BTreeSet<Serial>,
    serial: u64,
    boot: u64,
    usage: Usage,
    proved: Option<Serial>,
    made_full: bool,
    faulted: Option<(Mono, FaultKind, CaptureSettings)>,
    refused: Option<Mono>,
    probing: bool,
    /// Messages that wait for their PUBACK.
    owed: HashMap<AckToken, Writing>,
    delivery: u64,
    pub connected: bool,
    /// The choice has been heard on this session.
    heard: bool,
    /// When it was last heard.
    lost_at: Mono,
    /// Captured while no choice could be heard.
    unheard: BTreeSet<Serial>,
    /// The store is being asked whether it answers, and since when it does.
    asking: bool,
    answers_since: Option<Mono>,
    /// How long before its arrival the next choice is made.
    pub late: Duration,
    /// From when to when the owner forbade recording; the newest last.
    forbidden: Vec<(Utc, Option<Utc>)>,
    /// Prohibitions that the next start of the process would find.
    tombstones: Vec<Fact>,
    light: Option<Light>,
    journal: Journal,
    /// Since when the service has been stopped, as far as the camera could see.
    stopped: Option<Utc>,
    /// All times at which the service stopped.
    stops: BTreeSet<Utc>,
    pub exited: bool,
    /// The effects of the last step.
    pub seen: Vec<Seen>,
    pub steps: u64,
}

/// An LED that answers when a step says so.
#[derive(Default)]
struct Light {
    lit: bool,
    told: VecDeque<(Ticket, bool)>,
    /// When it last failed, or answered late.
    trouble: Option<Mono>,
}

/// The state of the privacy journal.
#[derive(Default)]
struct Journal {
    started: bool,
    open: bool,
    /// Version, do not record, latch.
    choice: Option<(Option<u64>, bool, bool)>,
    /// The device has failed, and has not played since.
    retries: bool,
}

/// An effect, as far as the laws use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Open,
    Close(StopManner),
    Persist,
    Ack,
    Publish,
    Upload,
    Cancel,
    Forget,
    Ask,
    Note,
    Light(bool),
    Other,
}

impl World {
    /// A new camera.
    #[must_use]
    pub fn new(settings: Settings) -> World {
        World::with(settings, None)
    }

    /// The same, with a light.
    #[must_use]
    pub fn lit(settings: Settings) -> World {
        World::with(settings, Some(Light::default()))
    }

    fn with(settings: Settings, light: Option<Light>) -> World {
        let now = Now { mono: Mono(1_000_000_000_000), system: noon(), synchronised: true };
        let disk = Disk {
            choice: Recalled::Missing,
            lease: Recalled::Missing,
            latch: Recalled::Is(false),
            stopped: None,
            floor: noon() - 24 * HOUR,
            offsets: Offsets::default(),
        };
        let usage = Usage { free: Some(1_000_000), ..Usage::default() };
        let (machine, model) = boot(&settings, &disk, now, 0, (Vec::new(), usage), (light.is_some(), false));
        let mut world = World {
            machine,
            model,
            now,
            truth: noon(),
            reading: Reading::Known,
            disk,
            writes: VecDeque::new(),
            device: Device::Closed,
            epoch: Epoch(0),
            revoked: Epoch(0),
            live: LiveEpoch::new(),
            channel: VecDeque::new(),
            spool: BTreeMap::new(),
            ended: HashMap::new(),
            keys: HashMap::new(),
            in_flight: BTreeSet::new(),
            serial: 0,
            boot: 0,
            usage,
            proved: None,
            made_full: false,
            faulted: None,
            refused: None,
            probing: false,
            owed: HashMap::new(),
            delivery: 0,
            connected: false,
            heard: false,
            lost_at: Mono(0),
            unheard: BTreeSet::new(),
            asking: false,
            answers_since: None,
            late: Duration::ZERO,
            forbidden: Vec::new(),
            tombstones: Vec::new(),
            light,
            journal: Journal::default(),
            stopped: None,
            stops: BTreeSet::new(),
            exited: false,
            seen: Vec::new(),
            steps: 0,
        };
        world.perform();
        world.check();
        world
    }

    /// Whether this step can happen now; a step that cannot is not tried.
    #[must_use]
    pub fn can(&self, step: &Step) -> bool {
        match step {
            Step::Written(_) => !self.writes.is_empty(),
            Step::Closed => matches!(self.device, Device::Closing(..)),
            Step::Fault(_) => matches!(self.device, Device::Open(..)),
            Step::Captured => self.device != Device::Closed && self.channel.len() < 4,
            Step::Landed => !self.channel.is_empty(),
            Step::Sealed => self.spool.len() < 6,
            Step::Uploaded(_) => !self.in_flight.is_empty(),
            Step::Probed(_) => self.probing,
            Step::LightSet(_) => self.light.as_ref().is_some_and(|light| !light.told.is_empty()),
            Step::StoreAnswers(_) => self.asking,
            Step::Choice { by, .. } => self.connected && (*by > 0 || self.model.choice.newest().is_some()),
            Step::Lease { by, .. } => self.connected && (*by > 0 || self.model.lease.newest().is_some()),
            Step::Clock(reading) => *reading != self.reading,
            _ => true,
        }
    }

    pub fn step(&mut self, step: Step) {
        self.steps += 1;
        self.seen.clear();
        self.model.broken |= matches!(step, Step::StorageFailed { .. });
        if let Some(input) = self.happen(step) {
            self.give(input);
        }
        self.check();
        match step {
            Step::Connected | Step::Disconnected => {
                let only_told = self.seen.iter().all(|seen| matches!(seen, Seen::Publish | Seen::Ask));
                assert!(only_told, "the network has altered something: {:?}", self.seen);
            }
            Step::Choice { by: ..0, .. } | Step::Lease { by: ..0, .. } => {
                let quiet = self.seen.iter().all(|seen| matches!(seen, Seen::Ack | Seen::Publish));
                assert!(quiet, "an older version had consequences: {:?}", self.seen);
            }
            _ => {}
        }
    }

    /// Whether unheard footage is sent anyway.
    fn hold_is_over(&self) -> bool {
        let hold = self.model.settings.unheard_hold.unwrap_or(Duration::MAX);
        self.answers_since.is_some_and(|since| self.now.mono.since(since) >= hold)
    }

    /// Notes what the owner now forbids, or permits again.
    fn note_prohibition(&mut self) {
        let forbids = self.model.choice.in_force.value().filter(|choice| choice.do_not_record);
        match (forbids.map(|choice| choice.issued_at), self.forbidden.last_mut()) {
            (Some(from), Some((known, None))) => *known = from.min(*known),
            (Some(from), _) => self.forbidden.push((from, None)),
            (None, Some((_, until @ None))) => *until = Some(self.truth),
            (None, _) => {}
        }
    }

    /// Notes since when the service is stopped.
    fn note_stopped(&mut self) {
        match self.model.entitlement() {
            Entitlement::Granted(_) => self.stopped = None,
            Entitlement::Suspended | Entitlement::Lapsed => {
                self.stopped.get_or_insert(self.truth);
                self.stops.extend(self.stopped);
            }
            Entitlement::Terminated | Entitlement::Unknown => {}
        }
    }

    fn give(&mut self, input: Input) {
        self.model.tick(self.now);
        self.note_prohibition();
        self.note_stopped();
        self.machine.handle(input, self.now);
        self.perform();
    }

    /// The effect of the step on the world, and the machine's input from it.
    fn happen(&mut self, step: Step) -> Option<Input> {
        let mono = self.now.mono;
        Some(match step {
            Step::Choice { by, do_not_record } => {
                let newest = self.model.choice.newest().cloned();
                let version = newest.as_ref().map_or(10, |newest| newest.version).saturating_add_signed(by);
                let mut offered = choice(version, do_not_record);
                offered.issued_at = self.truth - self.late;
                let mut again = false;
                if let Some(newest) = &newest {
                    again = (newest.version, newest.do_not_record) == (version, do_not_record);
                    offered.issued_at = if again { newest.issued_at } else { offered.issued_at };
                }
                // If two have one version, the stricter counts.
                let newer = newest.is_none_or(|newest| {
                    newest.version < version
                        || (newest.version == version && do_not_record && !newest.do_not_record)
                });
                if newer {
                    self.model.choice.coming = Some(offered.clone());
                }
                if newer || again {
                    self.heard = true;
                    self.unheard.clear();
                }
                let ack = self.owe(Writing::Choice(offered.clone()));
                Input::Privacy { jws: version.to_string(), choice: offered, retained: true, ack }
            }
            Step::Lease { by, offer } => {
                let newest = self.model.lease.newest().cloned();
                let version = newest.as_ref().map_or(10, |newest| newest.version).saturating_add_signed(by);
                let offered = match newest {
                    Some(newest) if by == 0 => newest,
                    _ => self.lease(version, offer),
                };
                if self.model.lease.newest().is_none_or(|newest| newest.version < version) {
                    self.model.lease.coming = Some(offered.clone());
                }
                let ack = self.owe(Writing::Lease(offered.clone()));
                Input::Entitlement { jws: version.to_string(), lease: offered, retained: false, ack }
            }
            Step::Latch(closed) => {
                if self.model.latch.newest() != Some(&closed) {
                    self.model.latch.coming = Some(closed);
                }
                Input::Latch { closed }
            }
            Step::Written(ok) => {
                let (ticket, writing) = self.writes.pop_front()?;
                if ok {
                    self.write(writing);
                }
                Input::Persisted { ticket, result: if ok { Ok(()) } else { Err(String::from("EIO")) } }
            }
            Step::Closed => {
                let Device::Closing(epoch, _) = self.device else { return None };
                self.device = Device::Closed;
                Input::CaptureClosed { epoch, at: mono, fault: None }
            }
            Step::Fault(kind) => {
                let Device::Open(epoch, settings) = self.device else { return None };
                self.device = Device::Closed;
                self.faulted = Some((mono, kind, settings));
                self.journal.retries = true;
                let fault = Some(Fault { kind, message: String::new() });
                Input::CaptureClosed { epoch, at: mono, fault }
            }
            Step::Captured => {
                let allowed = self.model.privacy() == Privacy::Record;
                self.channel.push_back((self.epoch, allowed));
                return None;
            }
            Step::Landed => {
                let (epoch, allowed) = self.channel.pop_front()?;
                if self.live.is(epoch) {
                    assert!(epoch > self.revoked, "a fragment of a revoked epoch reaches the disk");
                    assert!(allowed, "a fragment that the owner forbade reaches the disk");
                    self.journal.retries = false;
                    Input::Committed { frames: 30, bytes: 1_000 }
                } else {
                    Input::Dropped { epoch, frames: 30 }
                }
            }
            Step::Sealed => Input::Sealed(self.seal()),
            Step::Uploaded(answer) => {
                let serial = self.in_flight.pop_first()?;
                let retry = |scope| Outcome::Retry { scope, after: None, why: String::new() };
                let outcome = match answer {
                    Answer::Stored => Outcome::Stored,
                    Answer::KeyTaken => Outcome::KeyTaken,
                    Answer::RefusedByStore => retry(Scope::Store),
                    Answer::Refused => retry(Scope::Segment),
                };
                self.proved = (answer == Answer::Stored).then_some(serial);
                self.refused = if answer == Answer::Stored { self.refused } else { Some(mono) };
                Input::UploadFinished { serial, outcome, took: Duration::ZERO }
            }
            Step::Connected => {
                self.connected = true;
                Input::Connected
            }
            Step::StoreAnswers(answers) => {
                self.asking = false;
                self.answers_since = answers.then(|| self.answers_since.unwrap_or(mono));
                Input::StoreAnswered(answers)
            }
            Step::Disconnected => {
                if self.heard {
                    (self.lost_at, self.answers_since, self.asking) = (mono, None, false);
                }
                (self.connected, self.heard) = (false, false);
                Input::Disconnected { why: String::new() }
            }
            Step::LightSet(ok) => {
                let light = self.light.as_mut()?;
                let (ticket, on) = light.told.pop_front()?;
                light.lit = if ok { on } else { light.lit };
                light.trouble = if ok { light.trouble } else { Some(mono) };
                Input::LightSet { ticket, result: if ok { Ok(()) } else { Err(String::from("EIO")) } }
            }
            Step::StorageFailed { full } => {
                self.made_full |= full;
                Input::StorageFailed { full, why: String::new() }
            }
            Step::Probed(ok) => {
                self.probing = false;
                self.model.broken &= !ok;
                Input::StorageProbed { ok, full: false, away: false }
            }
            Step::Usage { full } => {
                self.made_full = full;
                self.usage.bytes = if full { 100_000 } else { 10_000 };
                self.model.full = full;
                Input::Usage(self.usage)
            }
            Step::Clock(reading) => {
                self.reading = reading;
                self.read_clock();
                Input::Tick
            }
            Step::Wake => {
                let (at, why) = self.machine.poll_timeout(self.now);
                assert!(at > mono, "the machine would wake for ever: {why:?}");
                self.pass(at.since(mono).min(2 * HOUR));
                Input::Tick
            }
            Step::Sleep(time) => {
                self.pass(time);
                Input::Tick
            }
            Step::Shutdown => {
                self.model.leaving = true;
                Input::Shutdown
            }
            Step::Restart { written, damaged } => {
                self.restart(written, damaged);
                return None;
            }
        })
    }

    fn restart(&mut self, written: bool, damaged: Option<Stored>) {
        for (_, writing) in std::mem::take(&mut self.writes) {
            if written {
                self.write(writing);
            }
        }
        match damaged {
            Some(Stored::Choice) => self.disk.choice = Recalled::Unreadable,
            Some(Stored::Lease) => self.disk.lease = Recalled::Unreadable,
            Some(Stored::Latch) => self.disk.latch = Recalled::Unreadable,
            None => {}
        }
        self.boot += 1;
        self.now.mono = Mono(1_000_000_000_000);
        self.read_clock();
        (self.device, self.live) = (Device::Closed, LiveEpoch::new());
        (self.epoch, self.revoked) = (Epoch(0), Epoch(0));
        (self.faulted, self.refused, self.probing) = (None, None, false);
        (self.connected, self.exited, self.made_full) = (false, false, false);
        (self.heard, self.asking, self.answers_since) = (false, false, None);
        self.unheard = self.spool.keys().copied().collect();
        self.forbidden.clear();
        self.tombstones.clear();
        self.lost_at = Mono(0);
        self.channel.clear();
        self.in_flight.clear();
        self.owed.clear();
        self.usage.bytes = 1_000 * self.spool.len() as u64;
        let held = (self.spool.values().cloned().collect(), self.usage);
        let settings = self.model.settings.clone();
        let cut_off = std::mem::take(&mut self.journal.open);
        (self.journal.started, self.journal.retries) = (false, false);
        if let Some(light) = &mut self.light {
            // Whatever starts the process puts out a light that was left lit.
            *light = Light::default();
        }
        let light = self.light.is_some();
        (self.machine, self.model) = boot(&settings, &self.disk, self.now, self.boot, held, (light, cut_off));
        self.stopped = self.disk.stopped;
        self.note_prohibition();
        self.note_stopped();
        self.perform();
    }

    fn pass(&mut self, time: Duration) {
        if let Some(light) = &mut self.light {
            if !light.told.is_empty() {
                light.trouble = Some(self.now.mono + time);
            }
        }
        self.now.mono = self.now.mono + time;
        self.now.system = self.now.system + time;
        self.truth = self.truth + time;
    }

    fn read_clock(&mut self) {
        self.now.synchronised = self.reading == Reading::Known;
        self.now.system = match self.reading {
            Reading::Known | Reading::Unsynchronised => self.truth,
            Reading::Lost => Utc(i64::try_from(self.now.mono.0).unwrap_or(i64::MAX)),
            Reading::Back => self.truth - 40 * 24 * HOUR,
        };
    }

    fn owe(&mut self, what: Writing) -> AckToken {
        self.delivery += 1;
        let ack = AckToken { connection: 1, delivery: self.delivery };
        self.owed.insert(ack, what);
        ack
    }

    fn lease(&self, version: u64, offer: Offer) -> Lease {
        let mut lease = lease(version);
        lease.issued_at = self.truth;
        lease.not_after = self.truth + HOUR * offer.hours;
        lease.terms.status = offer.status;
        lease.terms.features.record = offer.record;
        lease.terms.features.audio = offer.audio;
        lease.terms.features.history_hours = offer.history_hours;
        lease.next = offer.next.map(|(hours, status)| {
            let mut terms = lease.terms.clone();
            terms.status = status;
            Next { from: self.truth + HOUR * hours, not_after: None, terms }
        });
        lease
    }

    fn write(&mut self, writing: Writing) {
        match writing {
            Writing::Choice(choice) => {
                self.model.choice.stored(&choice);
                self.disk.choice = Recalled::Is(choice);
            }
            Writing::Lease(lease) => {
                self.model.lease.stored(&lease);
                self.disk.lease = Recalled::Is(lease);
            }
            Writing::Latch(closed) => {
                // If another write is under way, this one has no effect.
                if !self.writes.iter().any(|(_, later)| matches!(later, Writing::Latch(_))) {
                    self.model.latch.stored(&closed);
                }
                self.disk.latch = Recalled::Is(closed);
            }
            Writing::Stopped(since) => {
                let seen = since.is_none_or(|since| self.stops.contains(&since));
                assert!(seen, "another time than it was seen: {since:?}");
                self.disk.stopped = since;
            }
            Writing::Floor(time) => {
                assert!(time >= self.disk.floor, "the floor sinks");
                self.disk.floor = time;
            }
            Writing::Offsets(offsets) => self.disk.offsets = offsets,
        }
    }

    fn seal(&mut self) -> Segment {
        self.serial += 1;
        let mut segment = super::rig::segment(self.serial, self.now);
        segment.record.boot = format!("boot-{}", self.boot);
        segment.record.clock = RecordClock::from(Clock::judge(self.now, self.model.passed));
        self.ended.insert(segment.serial, self.truth);
        self.spool.insert(segment.serial, segment.clone());
        if !self.heard && self.now.mono > self.lost_at {
            self.unheard.insert(segment.serial);
        }
        segment
    }
}

fn boot(
    settings: &Settings,
    disk: &Disk,
    now: Now,
    boot: u64,
    held: (Vec<Segment>, Usage),
    (light, cut_off): (bool, bool),
) -> (Machine, Model) {
    let start = Start {
        settings: settings.clone(),
        device: String::from("cam-0001"),
        shutter: kasacam::domain::privacy::Shutter::Absent,
        boot: format!("boot-{boot}"),
        privacy: disk.choice.clone(),
        entitlement: disk.lease.clone(),
        signed: machine::Signed::default(),
        latch: disk.latch.clone(),
        seen: machine::Seen::default(),
        tombstones: Tombstones::default(),
        stopped: disk.stopped,
        floor: disk.floor,
        offsets: disk.offsets.clone(),
        spool: Ok(held),
        light,
        cut_off,
        seed: 7,
    };
    let mut model = Model {
        settings: settings.clone(),
        choice: Kept::from_disk(disk.choice.clone()),
        latch: Kept::from_disk(disk.latch.clone()),
        lease: Kept::from_disk(disk.lease.clone()),
        passed: disk.floor,
        now,
        broken: false,
        full: false,
        leaving: false,
    };
    model.tick(now);
    (Machine::new(start, now), model)
}

/// The settings of a bench, with other rules.
#[must_use]
pub fn with_pending(pending: PrivacyPending) -> Settings {
    let mut settings = settings();
    settings.rules.pending = pending;
    settings
}
