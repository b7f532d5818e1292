//! Capture is open exactly while the policy allows it.

use super::Machine;
use crate::domain::backoff::Backoff;
use crate::domain::effect::{CaptureSettings, Effect, Event, StopManner};
use crate::domain::fragment::{Epoch, SpanEnd};
use crate::domain::input::{Fault, FaultKind};
use crate::domain::policy::{self, Capture, Decision};
use crate::domain::time::{Mono, Now, Utc};
use std::time::Duration;

#[derive(Debug)]
pub(super) struct CaptureState {
    run: CaptureRun,
    epoch: Epoch,
    /// The opening of the newest run was reported, and its end will be too. A retry after a failure is
    /// reported only once it plays: a device may be away for days.
    told: bool,
    backoff: Backoff,
    /// The settings of the newest run.
    settings: Option<CaptureSettings>,
    /// After a fault: do not open again for now.
    wait: Option<Wait>,
    /// Why the newest run failed, until one plays.
    fault: Option<String>,
    /// What the current run is missing.
    trouble: Option<String>,
    /// Why it has no audio, if audio is wanted.
    audio: Option<String>,
    /// What its devices do other than they were told.
    differs: Option<String>,
    /// The missing audio was reported.
    audio_failed: bool,
    /// The process will end because the devices do not close.
    aborts: bool,
    /// When the devices entered their current state.
    pub(super) changed_at: Option<Utc>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CaptureRun {
    Closed,
    Open {
        epoch: Epoch,
        settings: CaptureSettings,
    },
    /// `stuck`: the devices have not closed before their timeout, which expired at that time.
    Closing {
        epoch: Epoch,
        manner: StopManner,
        reason: SpanEnd,
        stuck: Option<Mono>,
    },
}

/// How long a device that does not close delays the abort, so that the prohibition can become durable.
const ABORT_TIMEOUT: Duration = Duration::from_secs(2);

/// A frame that is too large for the plan is looked at again so often: somebody may have set the camera to fewer lines.
const EXCEEDS_INTERVAL: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Until(Mono),
    /// Until then, or until the plan asks for other settings.
    OtherPlan(Mono),
    /// The source has ended: a file that does not repeat.
    Finished,
}

impl CaptureState {
    pub(super) fn new() -> CaptureState {
        CaptureState {
            run: CaptureRun::Closed,
            epoch: Epoch(0),
            told: false,
            // The return of a device is noticed, and the device opened, within five seconds.
            backoff: Backoff::new(
                Duration::from_millis(200),
                Duration::from_secs(1),
                Duration::from_millis(2500),
            ),
            settings: None,
            wait: None,
            fault: None,
            trouble: None,
            audio: None,
            differs: None,
            audio_failed: false,
            aborts: false,
            changed_at: None,
        }
    }

    /// No device is open, none is being opened or closed.
    pub(super) fn is_closed(&self) -> bool {
        self.run == CaptureRun::Closed
    }

    pub(super) fn has_ever_opened(&self) -> bool {
        self.epoch > Epoch(0)
    }

    /// `open`, `closing` or `closed`.
    pub(super) fn text(&self) -> &'static str {
        match self.run {
            CaptureRun::Closed => "closed",
            CaptureRun::Open { .. } => "open",
            CaptureRun::Closing { .. } => "closing",
        }
    }

    /// The latest time at which a device that does not close ends the process.
    pub(super) fn abort_at(&self) -> Option<Mono> {
        match self.run {
            CaptureRun::Closing { stuck, .. } if !self.aborts => stuck.map(|stuck| stuck + ABORT_TIMEOUT),
            CaptureRun::Closed | CaptureRun::Open { .. } | CaptureRun::Closing { .. } => None,
        }
    }

    fn is_run(&self, of: Epoch) -> bool {
        match self.run {
            CaptureRun::Open { epoch, .. } | CaptureRun::Closing { epoch, .. } => epoch == of,
            CaptureRun::Closed => false,
        }
    }

    /// No closing is under way.
    pub(super) fn is_settled(&self) -> bool {
        match self.run {
            CaptureRun::Closed | CaptureRun::Open { .. } => true,
            CaptureRun::Closing { .. } => false,
        }
    }

    /// Its state can be reported: neither a closing nor a retry after a failure is under way.
    pub(super) fn is_certain(&self) -> bool {
        match self.run {
            CaptureRun::Closed => true,
            CaptureRun::Open { .. } => self.told,
            CaptureRun::Closing { stuck, .. } => stuck.is_some(),
        }
    }

    /// When the wait after a fault is over, if that is in the future.
    pub(super) fn retry_at(&self, now: Mono) -> Option<Mono> {
        match (self.run, self.wait) {
            (CaptureRun::Closed, Some(Wait::Until(at) | Wait::OtherPlan(at))) if at > now => Some(at),
            (CaptureRun::Closed | CaptureRun::Open { .. } | CaptureRun::Closing { .. }, _) => None,
        }
    }
}

impl Machine {
    pub(super) fn restore_capture(&mut self, decision: &Decision, now: Now) {
        self.forget_that_light_is_wanted();
        let wanted = match decision.capture() {
            _ if self.leaving.is_some() => Err(SpanEnd::Shutdown),
            Capture::Off(reason) => Err(reason.span_end()),
            Capture::On { audio, max_height } => Ok(CaptureSettings { audio, max_height }),
        };
        // The owner's choice overrides the manner of a stop that is under way.
        let wanted = match decision.capture() {
            Capture::Off(reason) if reason.span_end() == SpanEnd::Privacy => Err(SpanEnd::Privacy),
            Capture::Off(_) | Capture::On { .. } => wanted,
        };
        match (self.capture.run, wanted) {
            (CaptureRun::Open { epoch, .. }, Err(reason)) => self.stop(epoch, reason),
            (CaptureRun::Open { epoch, settings }, Ok(wanted)) if !self.is_as_good(settings, wanted) => {
                self.stop(epoch, SpanEnd::Entitlement);
            }
            (
                CaptureRun::Closing { epoch, manner: StopManner::Drain, stuck: None, .. },
                Err(SpanEnd::Privacy),
            ) => {
                self.stop(epoch, SpanEnd::Privacy);
            }
            (CaptureRun::Closed, Ok(settings)) => self.start(decision, settings, now),
            (CaptureRun::Closed, Err(_))
            | (CaptureRun::Open { .. }, Ok(_))
            | (CaptureRun::Closing { .. }, _) => {}
        }
    }

    /// A run that was started so records what is wanted now: a plan that allows more lines than the board has allows no
    /// other size.
    fn is_as_good(&self, run: CaptureSettings, wanted: CaptureSettings) -> bool {
        let lines = |settings: CaptureSettings| settings.max_height.min(self.settings.board_height);
        run.audio == wanted.audio && lines(run) == lines(wanted)
    }

    fn start(&mut self, decision: &Decision, settings: CaptureSettings, now: Now) {
        match self.capture.wait {
            Some(Wait::Until(at)) if at > now.mono => return,
            Some(Wait::OtherPlan(at))
                if at > now.mono && self.capture.settings.is_some_and(|it| self.is_as_good(it, settings)) =>
            {
                return;
            }
            Some(Wait::Finished) => return,
            Some(Wait::Until(_) | Wait::OtherPlan(_)) | None => self.capture.wait = None,
        }
        if !self.is_lit(now) {
            return;
        }
        let epoch = Epoch(self.capture.epoch.0 + 1);
        let Some(permit) = policy::permit(decision, epoch) else { return };
        self.capture.epoch = epoch;
        self.capture.settings = Some(settings);
        self.capture.run = CaptureRun::Open { epoch, settings };
        self.capture.changed_at = Some(self.best_time(now));
        self.figures.starts += 1;
        self.effects.push_back(Effect::StartCapture { permit, settings });
        self.capture.told = self.capture.backoff.failures() == 0;
        if self.capture.told {
            self.tell_opened(epoch, settings, now);
        }
    }

    /// The pipeline plays: a device is certainly open.
    pub(super) fn capture_started(&mut self, started: Epoch, now: Now) {
        match self.capture.run {
            CaptureRun::Open { epoch, .. } if epoch == started => self.capture.fault = None,
            // It has played, although it is already being closed.
            CaptureRun::Closing { epoch, .. } if epoch == started => {}
            CaptureRun::Closed | CaptureRun::Open { .. } | CaptureRun::Closing { .. } => return,
        }
        if let (false, Some(settings)) = (self.capture.told, self.capture.settings) {
            self.capture.told = true;
            self.tell_opened(started, settings, now);
        }
    }

    fn tell_opened(&mut self, epoch: Epoch, settings: CaptureSettings, now: Now) {
        self.tell(Event::CaptureOpened { epoch: epoch.0 });
        self.note_opened(settings.audio, settings.max_height, now);
    }

    /// Footage has arrived: whatever failed before works again.
    pub(super) fn capture_works(&mut self, now: Now) {
        self.capture.backoff.reset();
        self.capture_started(self.capture.epoch, now);
    }

    /// The run goes on but nothing of it can be stored; or it can be stored again.
    pub(super) fn capture_trouble(&mut self, epoch: Epoch, why: Option<String>) {
        if !self.capture.is_run(epoch) {
            return;
        }
        if let (Some(message), None) = (why.clone(), &self.capture.trouble) {
            self.figures.faults += 1;
            self.tell(Event::CaptureFailed { kind: FaultKind::Stalled, message });
        }
        self.capture.trouble = why;
    }

    /// Audio is missing for the reason `why`, or `heard`. Missing audio is reported once, until it is there
    /// again.
    pub(super) fn capture_audio(&mut self, epoch: Epoch, why: Option<String>, heard: bool) {
        if !self.capture.is_run(epoch) {
            return;
        }
        self.capture.audio = why.clone();
        match why {
            Some(message) if !std::mem::replace(&mut self.capture.audio_failed, true) => {
                self.tell(Event::AudioFailed { message });
            }
            None if heard && std::mem::take(&mut self.capture.audio_failed) => {
                self.tell(Event::AudioRecovered);
            }
            Some(_) | None => {}
        }
    }

    /// Why the current run has no audio, if audio is wanted.
    #[must_use]
    pub fn audio_fault(&self) -> Option<&str> {
        self.capture.audio.as_deref()
    }

    pub(super) fn capture_differs(&mut self, epoch: Epoch, what: String) {
        if self.capture.is_run(epoch) {
            self.capture.differs = Some(what);
        }
    }

    /// The run that is open and may go on, where there is one: its devices are not being closed.
    #[must_use]
    pub fn open_run(&self) -> Option<Epoch> {
        match self.capture.run {
            CaptureRun::Open { epoch, .. } => Some(epoch),
            CaptureRun::Closed | CaptureRun::Closing { .. } => None,
        }
    }

    /// What the devices of the run under way do other than they were told.
    #[must_use]
    pub fn capture_differences(&self) -> Option<&str> {
        self.capture.differs.as_deref()
    }

    fn stop(&mut self, epoch: Epoch, reason: SpanEnd) {
        let manner = if reason == SpanEnd::Privacy { StopManner::Drop } else { StopManner::Drain };
        self.capture.run = CaptureRun::Closing { epoch, manner, reason, stuck: None };
        self.effects.push_back(Effect::StopCapture { epoch, manner, reason });
    }

    /// The devices do not close. They are not reported as closed, and are still shown as open. The kernel
    /// closes them when the process ends, which it does as soon as the prohibition is durable.
    pub(super) fn capture_stuck(&mut self, epoch: Epoch, now: Now) {
        let (manner, reason) = match self.capture.run {
            CaptureRun::Closing { epoch: closing, manner, reason, .. } if closing == epoch => {
                (manner, reason)
            }
            CaptureRun::Open { epoch: open, .. } if open == epoch => (StopManner::Drop, SpanEnd::Source),
            CaptureRun::Closed | CaptureRun::Open { .. } | CaptureRun::Closing { .. } => return,
        };
        self.capture.run = CaptureRun::Closing { epoch, manner, reason, stuck: Some(now.mono) };
        self.capture.changed_at = Some(self.best_time(now));
        self.figures.faults += 1;
        let message =
            String::from("the device does not close: the agent ends itself, so that the kernel closes it");
        self.capture.fault = Some(message.clone());
        self.tell(Event::CaptureFailed { kind: FaultKind::CloseTimeout, message });
    }

    pub(super) fn abort_if_stuck(&mut self, now: Now) {
        let Some(at) = self.capture.abort_at() else { return };
        let durable = self.choice.is_settled() && self.latch.is_settled();
        if durable || at <= now.mono {
            self.capture.aborts = true;
            self.effects.push_back(Effect::Abort);
        }
    }

    pub(super) fn capture_closed(&mut self, epoch: Epoch, at: Mono, fault: Option<Fault>, now: Now) {
        let reason = match self.capture.run {
            CaptureRun::Open { epoch: open, .. } if open == epoch => SpanEnd::Source,
            CaptureRun::Closing { epoch: closing, reason, .. } if closing == epoch => reason,
            CaptureRun::Closed | CaptureRun::Open { .. } | CaptureRun::Closing { .. } => return,
        };
        self.capture.run = CaptureRun::Closed;
        self.capture.trouble = None;
        self.capture.audio = None;
        self.capture.differs = None;
        self.capture.changed_at = Some(self.best_time(now) - now.mono.since(at));
        if self.capture.told {
            self.tell(Event::CaptureClosed { epoch: epoch.0, reason: reason.text() });
            self.note_closed(reason, now);
        }
        let Some(fault) = fault else { return };
        let try_again = now.mono + self.capture.backoff.next(&mut self.jitter);
        let wait = match fault.kind {
            FaultKind::EndOfStream => Wait::Finished,
            // Only another plan or another board solves it.
            FaultKind::ExceedsPlan => Wait::OtherPlan(now.mono + EXCEEDS_INTERVAL),
            // Only who sets the source, or the board, mends it.
            FaultKind::WrongCodec => Wait::Until(now.mono + Duration::from_secs(60)),
            FaultKind::ElementMissing
            | FaultKind::DeviceMissing
            | FaultKind::Pipeline
            | FaultKind::Stalled
            | FaultKind::CloseTimeout
            | FaultKind::CredentialsRefused
            | FaultKind::LightFailed => Wait::Until(try_again),
        };
        self.capture.wait = Some(wait);
        self.figures.faults += 1;
        self.capture.fault = Some(fault.message.clone());
        // A device that is away is retried every few seconds for days: the cloud is told once.
        if self.capture.backoff.failures() <= 1 {
            self.tell(Event::CaptureFailed { kind: fault.kind, message: fault.message });
        }
    }

    /// Why a camera that may record does not record: the fault of the newest run, until one plays.
    #[must_use]
    pub fn capture_fault(&self) -> Option<&str> {
        self.light.fault().or(self.capture.fault.as_deref()).or(self.capture.trouble.as_deref())
    }

    /// The best estimate of civil time, for reports.
    pub(super) fn best_time(&self, now: Now) -> Utc {
        self.lease_time(now)
    }
}
