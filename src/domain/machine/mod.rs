//! The machine: inputs in, effects out, and between them one set of facts.
//!
//! [`Machine::handle`] records what an input says and then restores all invariants, whatever the input was:
//! capture is open exactly if the policy allows it, nothing is uploaded that the policy forbids, every
//! segment that a rule removes is removed, and what the cloud was told is true. So no branch needs to
//! consider the consequences of another.

mod aside;
mod capture;
mod choice;
mod durable;
mod figures;
mod hearing;
mod keeping;
mod leaving;
mod light;
mod noting;
mod offsets;
mod pending;
mod reports;
mod stopped;
mod storing;
mod transfer;

use super::backoff::Jitter;
use super::effect::{Effect, Event, Fact, Report};
use super::entitlement::{Entitlement, Lease};
use super::input::{AckToken, Input, Rejection};
use super::offset::Offsets;
use super::policy::{self, Facts, Pending, TrustedClock, WhenFull};
use super::privacy::{self, Known, Privacy, PrivacyChoice, Shutter};
use super::segment::Segment;
use super::settings::Settings;
use super::storage::{Storage, Usage};
use super::time::{Clock, Mono, Now, Utc};
use durable::Durable;
use figures::Figures;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::time::Duration;

/// What is known when the agent starts.
#[derive(Debug)]
pub struct Start {
    /// The configuration as it was read at the start.
    pub settings: Settings,
    /// The device id, which is part of the topics.
    pub device: String,
    /// The id of this boot.
    pub boot: String,
    /// The app's last choice, as stored on flash.
    pub privacy: Known<PrivacyChoice>,
    /// The last lease, as stored on flash.
    pub entitlement: Known<Lease>,
    /// The JWS that prove the choice and the lease, where they are known.
    pub signed: Signed,
    /// The local latch, as stored on flash; `true` means set. [`Known::Missing`] if nothing is stored at all:
    /// it is then written as open.
    pub latch: Known<bool>,
    /// The highest versions ever seen, even if the facts themselves were lost.
    pub seen: Seen,
    /// Prohibitions that an earlier process received and could not write.
    pub tombstones: Tombstones,
    /// [`Shutter::Unknown`] if the camera has one: it is read after the start.
    pub shutter: Shutter,
    /// Since when the service is stopped, if an earlier process saw that.
    pub stopped: Option<Utc>,
    /// The latest time known to have passed: the last persisted time or the build time.
    pub floor: Utc,
    /// The offsets of boots whose clock could not be trusted, as far as they were decided.
    pub offsets: Offsets,
    /// What the spool holds, or why it cannot be used.
    pub spool: Result<(Vec<Segment>, Usage), String>,
    /// The camera has a light (`privacy.indicator`): no device is opened before it is lit.
    pub light: bool,
    /// The privacy journal ends with the camera open: the previous process was killed, or power was lost.
    pub cut_off: bool,
    /// Any number that differs between cameras.
    pub seed: u64,
}

/// The highest version of each kind that was ever seen; 0 where there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Of the owner's choice.
    pub privacy: u64,
    /// Of the lease.
    pub entitlement: u64,
}

/// The JWS that prove two facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signed {
    /// Of the owner's choice.
    pub privacy: Option<String>,
    /// Of the lease.
    pub entitlement: Option<String>,
}

/// What a process could not write down and left for the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tombstones {
    /// "Do not record", and the JWS that proves it.
    pub choice: Option<(PrivacyChoice, String)>,
    /// The latch is closed.
    pub latch: bool,
    /// There is one that cannot be read: what it concerns is unreadable until a new value of it is durable.
    pub unreadable: bool,
}

/// Why the machine wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The backoff after a capture fault is over.
    RetryCapture,
    /// A message was refused because it came from the future: the clock may have been set since.
    AskAgain,
    /// A state file that could not be written is retried.
    RetryPersist,
    /// The backoff of an upload, or of the store as a whole, is over.
    RetryUpload,
    /// A spool that could not be written is retried.
    ProbeStorage,
    /// A lease ends, or its `next` is due.
    LeaseChanges,
    /// The times of a boot are decided, or what was decided is written again.
    PinTimes,
    /// A choice counts as heard, a hold of unheard footage is over, or the store is to be asked whether it
    /// answers.
    Hearing,
    /// A device that does not close has reached its timeout.
    CloseDevice,
    /// The light is retried, or has reached its timeout.
    RetryLight,
    /// `mqtt.telemetry` has passed since the last report.
    Telemetry,
    /// The current time is to be made durable.
    KeepTime,
    /// The rules of retention are applied again.
    Sweep,
    /// An ordered stop has used up its time.
    Leave,
}

/// How often the clock is checked while it may be the reason why a message was refused.
const CLOCK_INTERVAL: Duration = Duration::from_secs(5);
/// How often the rules of retention are applied without another cause.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// How often the current time is made durable: losing ten minutes of it costs little, wearing out flash costs
/// more.
const KEEP_TIME_INTERVAL: Duration = Duration::from_secs(10 * 60);
/// How far the cloud's clock may be ahead of our trusted one.
const MAX_AHEAD: Duration = Duration::from_secs(24 * 3600);

/// All state of the agent; it has no clock, file or socket of its own.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    device: String,
    boot: String,
    choice: Durable<PrivacyChoice>,
    latch: Durable<bool>,
    shutter: Shutter,
    /// Why the latch's own device cannot be read.
    latch_fault: Option<String>,
    lease: Durable<Lease>,
    session: hearing::Session,
    prohibitions: choice::Prohibitions,
    floor: Utc,
    floor_at: Mono,
    /// The floor that was last written.
    kept_floor: Utc,
    tickets: u64,
    tombstones: keeping::Tombstones,
    /// The highest versions ever seen.
    seen: Seen,
    /// The earliest claimed time of the messages that were refused because they came from the future.
    refused_ahead: Option<Utc>,
    jitter: Jitter,
    effects: VecDeque<Effect>,
    capture: capture::State,
    stopped: stopped::Stopped,
    light: light::Light,
    noted: noting::Noted,
    usage: Usage,
    broken: Option<storing::Broken>,
    /// The spool is full and nothing is left to evict: others used the room.
    starved: bool,
    aside: aside::Eviction,
    queue: pending::Queue,
    pins: offsets::Pins,
    store: transfer::StoreHealth,
    /// The facts that the last sweep used.
    swept_by: Option<(Pending, Entitlement)>,
    swept_at: Option<Mono>,
    reports: reports::Told,
    figures: Figures,
    leaving: Option<leaving::Leaving>,
}

impl Machine {
    /// Takes up what is stored on flash. The first effects wait in [`Machine::poll_effect`].
    #[must_use]
    pub fn new(start: Start, now: Now) -> Machine {
        // From a generator of its own, so that other random draws stay the same.
        let phase = Jitter::new(!start.seed).between(Duration::ZERO, start.settings.telemetry);
        let mut machine = Machine {
            settings: start.settings,
            device: start.device,
            boot: start.boot,
            choice: Durable::new(start.privacy, start.signed.privacy),
            latch: Durable::new(start.latch, None),
            shutter: start.shutter,
            latch_fault: None,
            lease: Durable::new(start.entitlement, start.signed.entitlement),
            session: hearing::Session::default(),
            prohibitions: choice::Prohibitions::default(),
            floor: start.floor,
            floor_at: now.mono,
            kept_floor: start.floor,
            tickets: 0,
            tombstones: keeping::Tombstones::default(),
            seen: start.seen,
            refused_ahead: None,
            jitter: Jitter::new(start.seed),
            effects: VecDeque::new(),
            capture: capture::State::new(),
            stopped: stopped::Stopped::new(start.stopped, now),
            light: light::Light::new(start.light),
            noted: noting::Noted::default(),
            usage: Usage::default(),
            broken: None,
            starved: false,
            aside: aside::Eviction::default(),
            queue: pending::Queue::default(),
            pins: offsets::Pins::new(start.offsets, start.floor, now),
            store: transfer::StoreHealth::new(),
            swept_by: None,
            swept_at: None,
            reports: reports::Told::new(now, phase),
            figures: Figures::default(),
            leaving: None,
        };
        // Before any fact is written: if the journal is missing beside a fact, it was lost.
        machine.note_start(start.cut_off, now);
        machine.take_up(start.tombstones, now);
        match start.spool {
            Ok((segments, usage)) => {
                machine.usage = usage;
                machine.found(segments);
            }
            Err(why) => machine.spool_is_closed(why, now),
        }
        machine.restore(now);
        machine
    }

    /// Takes one input and restores the invariants. The resulting effects wait in [`Machine::poll_effect`].
    pub fn handle(&mut self, input: Input, now: Now) {
        match input {
            Input::Tick => {}
            Input::Disconnected { .. } => self.session.lost(now.mono),
            Input::Connected => {
                self.session.connected(now.mono);
                if self.settings.granted {
                    self.store.try_again();
                }
                // The retained reports may be those of another process: they are sent again after each
                // connection.
                self.reports.forget();
            }
            Input::Privacy { choice, jws, retained, ack } => {
                self.accept_privacy(choice, jws, retained, ack, now);
            }
            Input::Entitlement { lease, jws, retained, ack } => {
                self.accept_lease(lease, jws, retained, ack, now);
            }
            Input::Rejected { topic, reason, ack } => self.reject(topic, reason, ack),
            Input::Disbelieved { privacy, entitlement } => self.disbelieve(privacy, entitlement, now),
            Input::Latch { closed } => self.set_latch(closed, now),
            // A latch that cannot be read counts as set, and a press on the camera lifts a latch that is set.
            Input::LatchPressed => {
                let lifted =
                    matches!(self.latch.newest(), Some(false)) || *self.latch.live() == Known::Missing;
                self.set_latch(lifted, now);
            }
            Input::Shutter(shutter) => self.shutter = shutter,
            Input::LatchDevice { fault } => self.latch_device(fault),
            Input::Persisted { ticket, result } => self.persisted(ticket, result, now),
            Input::LightSet { ticket, result } => self.light_set(ticket, result, now),
            Input::CaptureStarted { epoch } => self.capture_started(epoch, now),
            Input::CaptureClosed { epoch, at, fault } => self.capture_closed(epoch, at, fault, now),
            Input::CaptureStuck { epoch } => self.capture_stuck(epoch, now),
            Input::CaptureTrouble { epoch, why } => self.capture_trouble(epoch, why),
            Input::CaptureAudio { epoch, wanted, actual, why } => {
                self.capture_audio(epoch, why.filter(|_| wanted && !actual), actual);
            }
            Input::CaptureDiffers { epoch, what } => self.capture_differs(epoch, what),
            Input::CaptureHoles { holes, frames } => {
                self.figures.holes = self.figures.holes.saturating_add(holes);
                self.figures.frames_missing = self.figures.frames_missing.saturating_add(frames);
            }
            Input::Arrived { frames } => self.figures.frames_captured += u64::from(frames),
            Input::Committed { frames, .. } => {
                self.figures.frames_committed += u64::from(frames);
                self.capture_works(now);
            }
            Input::Dropped { frames, .. } => self.figures.frames_dropped += u64::from(frames),
            Input::Sealed(segment) => {
                self.figures.saw_sound(&segment);
                self.found(vec![segment]);
            }
            Input::Found(segments) => self.found(segments),
            Input::Forgotten { serial } => self.forgotten(serial),
            Input::Cut { serial, left } => self.cut(serial, left),
            Input::Quarantined { name, why } => self.tell(Event::Quarantined { name, why }),
            Input::SetAside { why, files, name } => self.set_aside(why, files, name),
            Input::AsideEvicted(file) => self.aside_evicted(file),
            Input::Usage(usage) => self.measured(usage),
            Input::StorageStalled => self.tell(Event::StorageStalled),
            Input::StorageResumed(waited) => {
                self.tell(Event::StorageResumed { stalled_s: waited.as_secs() });
            }
            Input::StorageFailed { full, why } => self.storage_failed(full, why, now),
            Input::StorageProbed { ok, full, away } => self.storage_probed(ok, full, away, now),
            Input::Flushed => self.flushed(),
            Input::UploadFinished { serial, outcome, took } => {
                self.upload_finished(serial, outcome, took, now);
            }
            Input::StoreAnswered(answers) => self.store_answered(answers, now),
            Input::StoreReplaces => self.tell(Event::StoreReplaces),
            Input::UploadPastHalf { serial } => self.queue.past_half(serial),
            Input::Reload(settings) => self.settings = *settings,
            Input::Shutdown => self.begin_to_leave(now),
        }
        self.restore(now);
    }

    /// The next thing to do. Effects are performed in the order in which they come.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When to call [`Machine::handle`] with [`Input::Tick`] at the latest, and why.
    #[must_use]
    pub fn poll_timeout(&self, now: Now) -> (Mono, Why) {
        let lease_changes = self.standing_until(now);
        let decision = policy::decide(&self.facts(now));
        let waiting_for_store = self.store.until(now.mono).or_else(|| self.queue.next_try(now.mono));
        [
            self.capture.retry_at(now.mono).map(|at| (at, Why::RetryCapture)),
            self.refused_ahead.map(|_| (now.mono + CLOCK_INTERVAL, Why::AskAgain)),
            self.choice.retry_at().filter(|_| self.choice_may_be_written()).map(|at| (at, Why::RetryPersist)),
            self.hearing_changes_at(&decision, now).map(|at| (at, Why::Hearing)),
            self.capture.abort_at().map(|at| (at, Why::CloseDevice)),
            self.light.due(now.mono).map(|at| (at, Why::RetryLight)),
            self.lease.retry_at().map(|at| (at, Why::RetryPersist)),
            self.latch.retry_at().map(|at| (at, Why::RetryPersist)),
            waiting_for_store.map(|at| (at, Why::RetryUpload)),
            self.probe_at().map(|at| (at, Why::ProbeStorage)),
            lease_changes.map(|at| (at, Why::LeaseChanges)),
            self.pins.due(now.mono).map(|at| (at, Why::PinTimes)),
            self.leaves_at().map(|at| (at, Why::Leave)),
            Some((self.reports.telemetry_at(self.settings.telemetry), Why::Telemetry)),
            Some((now.mono + KEEP_TIME_INTERVAL.saturating_sub(self.time_unkept(now)), Why::KeepTime)),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or((now.mono + SWEEP_INTERVAL, Why::Sweep))
        .min((now.mono + SWEEP_INTERVAL, Why::Sweep))
    }

    // ---- the invariants --------------------------------------------------------------------

    fn restore(&mut self, now: Now) {
        self.note_time(now);
        self.enforce_what_restricts(now);
        self.note_prohibition(now);
        let decision = policy::decide(&self.facts(now));
        if self.privacy() == Privacy::Record {
            // A permission is noted before the opening that follows from it.
            self.restore_journal(now);
        }
        // First of all: the device is closed without waiting for the disk or the network.
        self.restore_capture(&decision, now);
        self.write_what_is_due(now);
        self.restore_stopped(now);
        self.ask_again_if_due(now);
        self.abort_if_stuck(now);
        self.seal_what_is_forbidden();
        self.keep_time(now);
        let by = (decision.pending, self.entitlement(now));
        if self.swept_by.replace(by) != Some(by) || self.sweep_is_due(now) {
            self.sweep(&decision, now);
        }
        if self.make_room(&decision) {
            let decision = policy::decide(&self.facts(now));
            self.restore_capture(&decision, now);
        }
        self.restore_light(now);
        self.restore_offsets(&decision, now);
        self.restore_uploads(&decision, now);
        self.restore_hearing(&decision, now);
        self.probe_if_due(now);
        self.restore_reports(&decision, now);
        self.restore_journal(now);
        self.leave_if_done(now);
    }

    /// The facts of the policy, as they are now.
    #[must_use]
    pub fn facts(&self, now: Now) -> Facts {
        let mut rules = self.settings.rules;
        if self.starved {
            rules.when_full = WhenFull::Stop;
        }
        Facts {
            privacy: self.privacy(),
            entitlement: self.entitlement(now),
            clock: match self.clock(now) {
                Clock::Trusted => TrustedClock::Trusted,
                Clock::Plausible | Clock::Unset => TrustedClock::Untrusted,
            },
            storage: self.storage(),
            hearing: self.hearing(now),
            rules,
        }
    }

    /// The strictest of the app's choice, the local latch and the shutter.
    #[must_use]
    pub fn privacy(&self) -> Privacy {
        self.shutter.restrict(privacy::strictest(self.choice.live(), self.latch.live()))
    }

    fn storage(&self) -> Storage {
        match self.broken {
            Some(_) => Storage::Broken,
            None => self.settings.budget.judge(self.usage),
        }
    }

    /// A restriction does not wait for the disk.
    fn enforce_what_restricts(&mut self, now: Now) {
        let (at, grace) = (self.lease_time(now), self.settings.grace);
        self.choice.enforce(|choice| choice.do_not_record);
        self.latch.enforce(|closed| *closed);
        self.lease.enforce(|lease| match lease.standing(at, grace).entitlement {
            Entitlement::Granted(_) => false,
            Entitlement::Suspended | Entitlement::Terminated | Entitlement::Lapsed | Entitlement::Unknown => {
                true
            }
        });
    }

    // ---- time ------------------------------------------------------------------------------

    /// The latest time that must have passed by now, whatever the system clock says.
    #[must_use]
    pub fn floor(&self, now: Now) -> Utc {
        self.floor + now.mono.since(self.floor_at)
    }

    /// How far the system clock may be believed at `now`.
    #[must_use]
    pub fn clock(&self, now: Now) -> Clock {
        Clock::judge(now, self.floor(now))
    }

    /// The time with which leases are compared.
    fn lease_time(&self, now: Now) -> Utc {
        match self.clock(now) {
            Clock::Trusted => now.system,
            Clock::Plausible | Clock::Unset => now.system.max(self.floor(now)),
        }
    }

    /// A time that a trusted clock has shown has passed, whatever any clock says later.
    fn note_time(&mut self, now: Now) {
        if self.clock(now) == Clock::Trusted && now.system > self.floor(now) {
            (self.floor, self.floor_at) = (now.system, now.mono);
        }
    }

    fn keep_time(&mut self, now: Now) {
        if self.time_unkept(now) >= KEEP_TIME_INTERVAL {
            self.write_floor(now);
        }
    }

    /// How much time has passed that would be lost in a power cut.
    fn time_unkept(&self, now: Now) -> Duration {
        self.floor(now).since(self.kept_floor)
    }

    /// Makes the current time durable. A failed write is not retried: the next one follows anyway.
    fn write_floor(&mut self, now: Now) {
        let passed = self.floor(now);
        if passed > self.kept_floor {
            self.kept_floor = passed;
            self.persist(Fact::Floor(passed), false);
        }
    }

    // ---- commands --------------------------------------------------------------------------

    fn accept_lease(&mut self, lease: Lease, jws: String, retained: bool, ack: AckToken, now: Now) {
        let refused = match compare(self.lease.newest(), self.seen.entitlement, &lease, |l| l.version) {
            Ok(Ordering::Greater) if self.is_ahead(lease.issued_at, now) => {
                self.refuse_ahead(lease.issued_at)
            }
            Ok(Ordering::Greater) => {
                self.session.heard_lease();
                self.seen.entitlement = lease.version.max(self.seen.entitlement);
                return self.lease.accept(lease, jws, Some(ack), now.mono);
            }
            Ok(Ordering::Equal) => {
                if retained {
                    self.session.heard_lease();
                }
                let ack = self.lease.again(ack);
                return self.effects.extend(ack.map(Effect::Ack));
            }
            Ok(Ordering::Less) if !self.session.is_up() => return self.effects.push_back(Effect::Ack(ack)),
            Ok(Ordering::Less) => Rejection::StaleVersion,
            Err(refused) => refused,
        };
        self.reject(self.topic("entitlement/desired"), refused, Some(ack));
    }

    fn topic(&self, name: &str) -> String {
        format!("kasacam/v1/{}/{name}", self.device)
    }

    /// Whether a message claims to be from the future. Without a trusted clock this cannot be told, and the
    /// clocks of the cloud and the camera may differ.
    fn is_ahead(&self, issued_at: Utc, now: Now) -> bool {
        self.clock(now) == Clock::Trusted && issued_at > now.system + MAX_AHEAD
    }

    /// A message that was refused because it came from the future is asked for again once its time has come.
    fn ask_again_if_due(&mut self, now: Now) {
        if self.refused_ahead.is_some_and(|issued_at| !self.is_ahead(issued_at, now)) {
            self.refused_ahead = None;
            self.effects.push_back(Effect::AskAgain);
        }
    }

    fn refuse_ahead(&mut self, issued_at: Utc) -> Rejection {
        self.refused_ahead = Some(self.refused_ahead.map_or(issued_at, |known| known.min(issued_at)));
        Rejection::IssuedAhead
    }

    /// Changes no state except the count.
    fn reject(&mut self, topic: String, reason: Rejection, ack: Option<AckToken>) {
        self.figures.rejected += 1;
        self.tell(Event::Rejected { topic, reason: reason.text() });
        self.effects.extend(ack.map(Effect::Ack));
    }

    // ---- figures ---------------------------------------------------------------------------

    fn tell(&mut self, event: Event) {
        self.effects.push_back(Effect::Publish(Report::Event(event)));
    }
}

/// Versions only grow: `seen` is the highest one that ever came; it counts even if its message is lost.
///
/// # Errors
/// A version that is known must say what it said before.
fn compare<T: PartialEq>(
    newest: Option<&T>,
    seen: u64,
    offered: &T,
    version: impl Fn(&T) -> u64,
) -> Result<Ordering, Rejection> {
    let newest = newest.filter(|newest| version(newest) >= version(offered));
    if newest.is_none() && version(offered) < seen {
        return Ok(Ordering::Less);
    }
    let Some(newest) = newest else { return Ok(Ordering::Greater) };
    let order = version(offered).cmp(&version(newest));
    let conflicts = order == Ordering::Equal && offered != newest;
    if conflicts { Err(Rejection::ConflictingVersion) } else { Ok(order) }
}
