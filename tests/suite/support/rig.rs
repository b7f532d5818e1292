//! The machine on a test bench: a simulated clock, and a record of everything that the machine requests.

use kasacam::domain::codec::Codec;
use kasacam::domain::effect::{CaptureSettings, Effect, Event, Fact, Report, Rule, Share, StopManner};
use kasacam::domain::entitlement::{Features, Lease, Plan, Status, Terms};
use kasacam::domain::fragment::{Epoch, SpanEnd};
use kasacam::domain::input::{AckToken, Fault, FaultKind, Input, Ticket};
use kasacam::domain::journal::What;
use kasacam::domain::machine::{Machine, Seen, Signed, Start, Tombstones};
use kasacam::domain::offset::Offsets;
use kasacam::domain::policy::{PrivacyPending, Rules, WhenFull};
use kasacam::domain::privacy::{PrivacyChoice, Recalled};
use kasacam::domain::segment::{Content, KeyClock, Record, RecordClock, Segment, Serial};
use kasacam::domain::settings::{Settings, UploadOrder};
use kasacam::domain::storage::Budget;
use kasacam::domain::storage::Usage;
use kasacam::domain::time::{Mono, Now, Utc};
use std::collections::BTreeMap;
use std::time::Duration;

pub const HOUR: Duration = Duration::from_secs(3600);
pub const SEGMENT: Duration = Duration::from_secs(30);

pub fn utc(text: &str) -> Utc {
    Utc::parse(text).expect("a time of the test itself")
}

/// Noon of the day on which every bench begins.
pub fn noon() -> Utc {
    utc("2026-11-23T12:00:00Z")
}

/// What the machine requested, in a form that tests can compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    Open(Epoch, CaptureSettings),
    Close(StopManner, SpanEnd),
    Light(bool),
    Keep(Fact),
    Raise(Fact),
    Lift(Fact),
    Ack(AckToken),
    Upload(Serial),
    Cancel(Serial),
    Forget(Serial, Rule),
    EvictAside,
    Cut(Serial, Duration),
    MoveEnd(Serial, Record),
    AskStore,
    AskAgain,
    Probe,
    Flush,
    Exit,
    Abort,
}

/// In which order the spool of the bench reports the results of a removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    ForgottenFirst,
    UsageFirst,
}

pub struct Rig {
    pub machine: Machine,
    pub now: Now,
    pub asked: Vec<Asked>,
    pub events: Vec<Event>,
    pub reports: Vec<Report>,
    pub open: Option<(Epoch, CaptureSettings)>,
    pub tickets: Vec<Ticket>,
    /// The share of the rate with which each upload was last requested.
    pub shares: BTreeMap<Serial, Share>,
    /// All times under which each segment was requested to be sent, and the clock that the object names.
    pub times: BTreeMap<Serial, Vec<(Utc, KeyClock)>>,
    /// The last command to the light; it answers at once unless prevented.
    pub light: Option<bool>,
    pub light_fails: bool,
    pub light_is_away: bool,
    pub lights: Vec<(Ticket, bool)>,
    /// Lines of the privacy journal.
    pub notes: Vec<What>,
    /// Writes succeed at once unless this is set.
    pub disk_is_away: bool,
    /// Removals are answered at once unless this is set.
    pub spool_is_slow: bool,
    /// Devices close at once unless this is set.
    pub device_is_stuck: bool,
    /// What the spool holds, if a test wants it reported: every removal changes it, and is reported in this
    /// order.
    pub usage: Option<(Usage, Answers)>,
    /// The serial of the segment that was sealed last.
    pub serial: u64,
    delivery: u64,
}

pub fn settings() -> Settings {
    Settings {
        rules: Rules {
            audio: true,
            when_full: WhenFull::Evict,
            pending: PrivacyPending::Upload,
            codec: Codec::H264,
        },
        budget: Budget { max_bytes: 100_000, min_free: 1_000, max_files: 1_000 },
        grace: 72 * HOUR,
        hold: 72 * HOUR,
        unheard_hold: Some(HOUR / 4),
        telemetry: Duration::from_secs(60),
        order: UploadOrder::Newest,
        concurrency: 2,
        granted: false,
        board_height: 1080,
    }
}

pub fn features() -> Features {
    Features { record: true, audio: true, max_height: 1080, history_hours: 720, h265: true }
}

pub fn lease(version: u64) -> Lease {
    Lease {
        version,
        issued_at: noon(),
        not_after: noon() + 30 * 24 * HOUR,
        terms: Terms {
            plan: Plan { id: String::from("plus-monthly"), tier: String::from("plus") },
            status: Status::Active,
            features: features(),
        },
        next: None,
    }
}

pub fn choice(version: u64, do_not_record: bool) -> PrivacyChoice {
    PrivacyChoice { version, issued_at: noon(), do_not_record }
}

/// A camera that knows nothing yet.
pub fn blank() -> Start {
    Start {
        settings: settings(),
        device: String::from("cam-0001"),
        shutter: kasacam::domain::privacy::Shutter::Absent,
        boot: String::from("boot-1"),
        privacy: Recalled::Missing,
        entitlement: Recalled::Missing,
        signed: Signed::default(),
        latch: Recalled::Is(false),
        seen: Seen::default(),
        tombstones: Tombstones::default(),
        stopped: None,
        floor: noon() - 24 * HOUR,
        offsets: Offsets::default(),
        spool: Ok((Vec::new(), Usage { free: Some(1_000_000), ..Usage::default() })),
        light: false,
        cut_off: false,
        seed: 7,
    }
}

/// A camera that may record and knows it.
pub fn allowed() -> Start {
    Start { privacy: Recalled::Is(choice(1, false)), entitlement: Recalled::Is(lease(1)), ..blank() }
}

impl Rig {
    pub fn new(start: Start) -> Rig {
        let now = Now { mono: Mono(1_000_000_000_000), system: noon(), synchronised: true };
        Rig::at(start, now)
    }

    /// With a session, on which the broker's retained choice has been heard, if there is one.
    pub fn at(start: Start, now: Now) -> Rig {
        let choice = start.privacy.value().cloned();
        let mut rig = Rig::offline(start, now);
        rig.connect(choice);
        rig
    }

    pub fn connect(&mut self, retained: Option<PrivacyChoice>) {
        self.give(Input::Connected);
        if let Some(choice) = retained {
            let ack = self.ack();
            let jws = format!("privacy-{}", choice.version);
            self.give(Input::Privacy { choice, jws, retained: true, ack });
            self.asked.retain(|asked| *asked != Asked::Ack(ack));
        }
    }

    pub fn disconnect(&mut self) {
        self.give(Input::Disconnected { why: String::from("as the test asks") });
    }

    /// Without a session.
    pub fn offline(start: Start, now: Now) -> Rig {
        let mut rig = Rig {
            machine: Machine::new(start, now),
            now,
            asked: Vec::new(),
            events: Vec::new(),
            reports: Vec::new(),
            open: None,
            tickets: Vec::new(),
            shares: BTreeMap::new(),
            times: BTreeMap::new(),
            light: None,
            light_fails: false,
            light_is_away: false,
            lights: Vec::new(),
            notes: Vec::new(),
            disk_is_away: false,
            spool_is_slow: false,
            device_is_stuck: false,
            usage: None,
            serial: 100,
            delivery: 0,
        };
        rig.perform();
        rig
    }

    pub fn give(&mut self, input: Input) {
        self.machine.handle(input, self.now);
        self.perform();
    }

    /// Performs the requests, as a well-behaved outside would, without letting time pass.
    fn perform(&mut self) {
        while let Some(effect) = self.machine.poll_effect() {
            match effect {
                Effect::StartCapture { permit, settings } => {
                    assert!(self.open.is_none(), "capture is opened twice");
                    self.open = Some((permit.epoch(), settings));
                    self.asked.push(Asked::Open(permit.epoch(), settings));
                }
                Effect::StopCapture { epoch, manner, reason } => {
                    self.asked.push(Asked::Close(manner, reason));
                    if self.device_is_stuck {
                        self.machine.handle(Input::CaptureStuck { epoch }, self.now);
                    } else if self.open.take().is_some_and(|(open, _)| open == epoch) {
                        let closed = Input::CaptureClosed { epoch, at: self.now.mono, fault: None };
                        self.machine.handle(closed, self.now);
                    }
                }
                Effect::Light { ticket, on } => {
                    self.asked.push(Asked::Light(on));
                    self.lights.push((ticket, on));
                    if !self.light_is_away {
                        self.answer_lights();
                    }
                }
                Effect::Note { what, .. } => self.notes.push(what),
                Effect::RaiseTombstone(fact) => self.asked.push(Asked::Raise(fact)),
                Effect::LiftTombstone(fact) => self.asked.push(Asked::Lift(fact)),
                Effect::Persist { ticket, fact, .. } => {
                    self.asked.push(Asked::Keep(fact));
                    if self.disk_is_away {
                        self.tickets.push(ticket);
                    } else {
                        self.machine.handle(Input::Persisted { ticket, result: Ok(()) }, self.now);
                    }
                }
                Effect::Ack(ack) => self.asked.push(Asked::Ack(ack)),
                Effect::Publish(Report::Event(event)) => self.events.push(event),
                Effect::Publish(report) => self.reports.push(report),
                Effect::Upload { segment, share, time, clock } => {
                    self.times.entry(segment.serial).or_default().push((time, clock));
                    self.shares.insert(segment.serial, share);
                    self.asked.push(Asked::Upload(segment.serial));
                }
                Effect::CancelUpload { serial } => self.asked.push(Asked::Cancel(serial)),
                Effect::Forget { serial, why } => {
                    self.asked.push(Asked::Forget(serial, why));
                    if !self.spool_is_slow {
                        self.forgotten(serial);
                    }
                }
                Effect::EvictAside => self.asked.push(Asked::EvictAside),
                Effect::CutBack { serial, keep } => self.asked.push(Asked::Cut(serial, keep)),
                Effect::MoveEnd { serial, record, .. } => self.asked.push(Asked::MoveEnd(serial, *record)),
                Effect::AskStore => self.asked.push(Asked::AskStore),
                Effect::AskAgain => self.asked.push(Asked::AskAgain),
                Effect::SetTerms { .. } => {}
                Effect::FlushSpool => {
                    self.asked.push(Asked::Flush);
                    self.machine.handle(Input::Flushed, self.now);
                }
                Effect::ProbeStorage => self.asked.push(Asked::Probe),
                Effect::Exit => self.asked.push(Asked::Exit),
                Effect::Abort => self.asked.push(Asked::Abort),
            }
        }
    }

    /// The light does what it was told, or fails to, and reports it.
    pub fn answer_lights(&mut self) {
        for (ticket, on) in std::mem::take(&mut self.lights) {
            let result = if self.light_fails { Err(String::from("EIO")) } else { Ok(()) };
            self.light = result.is_ok().then_some(on).or(self.light);
            self.machine.handle(Input::LightSet { ticket, result }, self.now);
        }
    }

    /// The spool has removed a segment of 1,000 bytes.
    fn forgotten(&mut self, serial: Serial) {
        let Some((usage, answers)) = &mut self.usage else {
            self.machine.handle(Input::Forgotten { serial }, self.now);
            return;
        };
        usage.bytes -= 1_000;
        usage.files -= 1;
        usage.free = usage.free.map(|free| free + 1_000);
        let told = Input::Usage(*usage);
        let (first, second) = match answers {
            Answers::ForgottenFirst => (Input::Forgotten { serial }, told),
            Answers::UsageFirst => (told, Input::Forgotten { serial }),
        };
        self.machine.handle(first, self.now);
        self.machine.handle(second, self.now);
    }

    /// Lets time pass, and wakes the machine whenever it asks for it.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.mono + time;
        for _ in 0..10_000_000 {
            let (at, why) = self.machine.poll_timeout(self.now);
            let at = at.min(end);
            assert!(at > self.now.mono, "the machine would wake for ever: {why:?}");
            self.now.system = self.now.system + at.since(self.now.mono);
            self.now.mono = at;
            self.give(Input::Tick);
            if at >= end {
                return;
            }
        }
        panic!("the machine wakes without end");
    }

    pub fn ack(&mut self) -> AckToken {
        self.delivery += 1;
        AckToken { connection: 1, delivery: self.delivery }
    }

    pub fn privacy(&mut self, version: u64, do_not_record: bool) -> AckToken {
        let ack = self.ack();
        let jws = format!("privacy-{version}");
        let choice = PrivacyChoice { issued_at: self.now.system, ..choice(version, do_not_record) };
        self.give(Input::Privacy { choice, jws, retained: false, ack });
        ack
    }

    pub fn lease(&mut self, lease: Lease) -> AckToken {
        let ack = self.ack();
        self.give(Input::Entitlement {
            jws: format!("lease-{}", lease.version),
            lease,
            retained: false,
            ack,
        });
        ack
    }

    pub fn fault(&mut self, kind: FaultKind) {
        let (epoch, _) = self.open.take().expect("capture is open");
        let fault = Some(Fault { kind, message: String::from("as the test asks") });
        self.give(Input::CaptureClosed { epoch, at: self.now.mono, fault });
    }

    /// A segment of 1,000 bytes that ends now is sealed.
    pub fn seal(&mut self) -> Serial {
        let segment = self.segment();
        let serial = segment.serial;
        self.give(Input::Sealed(segment));
        serial
    }

    pub fn segment(&mut self) -> Segment {
        self.serial += 1;
        segment(self.serial, self.now)
    }

    pub fn take(&mut self) -> Vec<Asked> {
        std::mem::take(&mut self.asked)
    }

    pub fn uploads(&self) -> usize {
        self.asked.iter().filter(|asked| matches!(asked, Asked::Upload(_))).count()
    }
}

pub fn segment(serial: u64, now: Now) -> Segment {
    let start = Mono(now.mono.0.saturating_sub(SEGMENT.as_nanos() as u64));
    Segment {
        serial: Serial(serial),
        content: Content::Footage {
            duration: SEGMENT.as_nanos() as u64,
            codecs: String::from("avc1.64001f"),
        },
        record: Record {
            device: String::from("cam-0001"),
            span: String::from("span-1"),
            n: serial,
            boot: String::from("boot-1"),
            start_mono: start.0,
            start_utc: now.system - SEGMENT,
            clock: RecordClock::Trusted,
            plan: String::from("plus-monthly"),
            history_hours: 720,
            late_sync: false,
            timing: kasacam::domain::fragment::Timing::Device,
        },
        bytes: 1_000,
    }
}
