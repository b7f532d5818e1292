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
mod messages;
mod noting;
mod offsets;
mod passing;
mod pending;
mod reports;
mod start;
mod stopped;
mod storing;
mod transfer;
mod versions;
mod wake;

pub use start::{Seen, Signed, Start, Tombstones};
pub use wake::Why;

use super::backoff::Jitter;
use super::effect::{Effect, Event, Report};
use super::entitlement::{Entitlement, Lease};
use super::input::Input;
use super::policy::{self, Pending, PolicyFacts, TrustedClock, WhenFull};
use super::privacy::{self, Privacy, PrivacyChoice, Recalled, Shutter};
use super::settings::Settings;
use super::storage::{StorageState, Usage};
use super::time::{Clock, Mono, Now, Utc};
use durable::DurableFact;
use figures::Figures;
use messages::CLOCK_INTERVAL;
use passing::KEEP_TIME_INTERVAL;
use std::collections::VecDeque;
use std::time::Duration;
use transfer::SWEEP_INTERVAL;

/// All state of the agent; it has no clock, file or socket of its own.
#[derive(Debug)]
pub struct Machine {
    settings: Settings,
    device: String,
    boot: String,
    choice: DurableFact<PrivacyChoice>,
    latch: DurableFact<bool>,
    shutter: Shutter,
    /// Why the latch's own device cannot be read.
    latch_fault: Option<String>,
    lease: DurableFact<Lease>,
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
    capture: capture::CaptureState,
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
            choice: DurableFact::new(start.privacy, start.signed.privacy),
            latch: DurableFact::new(start.latch, None),
            shutter: start.shutter,
            latch_fault: None,
            lease: DurableFact::new(start.entitlement, start.signed.entitlement),
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
            capture: capture::CaptureState::new(),
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
                    matches!(self.latch.newest(), Some(false)) || *self.latch.live() == Recalled::Missing;
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
    pub fn facts(&self, now: Now) -> PolicyFacts {
        let mut rules = self.settings.rules;
        if self.starved {
            rules.when_full = WhenFull::Stop;
        }
        PolicyFacts {
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

    fn storage(&self) -> StorageState {
        match self.broken {
            Some(_) => StorageState::Broken,
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

    fn tell(&mut self, event: Event) {
        self.effects.push_back(Effect::Publish(Report::Event(event)));
    }
}
