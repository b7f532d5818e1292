//! The machine in a world where everything takes any length of time: a write, a closing device or an upload
//! is answered when the next step says so, or never. After every step the machine is compared with the
//! [`Model`], and the laws that need no model are checked.

mod asked;
mod happening;
mod laws;
mod step;

use super::model::{Kept, Model};
use super::rig::{HOUR, noon, settings};
use kasacam::domain::effect::{CaptureSettings, Fact, StopManner};
use kasacam::domain::entitlement::{Entitlement, Lease};
use kasacam::domain::fragment::Epoch;
use kasacam::domain::input::{AckToken, FaultKind, Input, Ticket};
use kasacam::domain::machine::{self, Machine, Start, Tombstones};
use kasacam::domain::offset::Offsets;
use kasacam::domain::policy::PrivacyPending;
use kasacam::domain::privacy::{PrivacyChoice, Recalled};
use kasacam::domain::segment::{KeyClock, Segment, Serial};
use kasacam::domain::settings::Settings;
use kasacam::domain::storage::Usage;
use kasacam::domain::time::{Mono, Now, Utc};
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
