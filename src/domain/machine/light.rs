//! The light that shows the household that the camera is open: no device is opened before it is lit, and it
//! goes out only once every device is closed.

use super::Machine;
use crate::domain::backoff::Backoff;
use crate::domain::effect::{Effect, Event};
use crate::domain::input::{FaultKind, Ticket};
use crate::domain::time::{Mono, Now};
use std::time::Duration;

/// Timeout for the answer of an LED. If its bus hangs, the LED counts as one that cannot be lit.
const LIGHT_TIMEOUT: Duration = Duration::from_secs(2);
/// How often putting out a light is retried.
const PUT_OUT_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Light {
    state: LightState,
    backoff: Backoff,
    /// Why it could not be lit, until it is.
    fault: Option<String>,
    /// A device is to be opened, and waits for the light.
    wanted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LightState {
    /// The camera has none.
    Absent,
    Out,
    /// Being lit under this ticket; the time is the timeout.
    Lighting(Ticket, Mono),
    Lit,
    /// It could not be lit; retried at this time.
    Failed(Mono),
    /// Being put out under this ticket; retried at this time.
    PuttingOut(Ticket, Mono),
}

impl Light {
    pub(super) fn new(present: bool) -> Light {
        Light {
            state: if present { LightState::Out } else { LightState::Absent },
            backoff: Backoff::new(
                Duration::from_millis(500),
                Duration::from_secs(1),
                Duration::from_secs(30),
            ),
            fault: None,
            wanted: false,
        }
    }

    /// Why it keeps the camera closed.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// When the passing of time changes something.
    pub(super) fn due(&self, now: Mono) -> Option<Mono> {
        match self.state {
            LightState::Lighting(_, at) | LightState::PuttingOut(_, at) => Some(at),
            LightState::Failed(at) if at > now => Some(at),
            LightState::Absent | LightState::Out | LightState::Lit | LightState::Failed(_) => None,
        }
    }
}

impl Machine {
    /// No device is about to be opened, unless [`Machine::is_lit`] is called.
    pub(super) fn forget_that_light_is_wanted(&mut self) {
        self.light.wanted = false;
    }

    /// Whether a device may be opened now. If not, the light is being lit, or waits for a retry.
    pub(super) fn is_lit(&mut self, now: Now) -> bool {
        self.light.wanted = true;
        match self.light.state {
            LightState::Absent | LightState::Lit => true,
            LightState::Lighting(..) => false,
            LightState::Failed(at) if at > now.mono => false,
            LightState::Out | LightState::Failed(_) | LightState::PuttingOut(..) => {
                let ticket = self.ticket();
                self.light.state = LightState::Lighting(ticket, now.mono + LIGHT_TIMEOUT);
                self.effects.push_back(Effect::Light { ticket, on: true });
                false
            }
        }
    }

    /// The light goes out once nothing is open and nothing is about to be opened.
    pub(super) fn restore_light(&mut self, now: Now) {
        match self.light.state {
            LightState::Lighting(_, at) if at <= now.mono => {
                self.light_failed(String::from("it does not answer"), now);
            }
            LightState::Absent
            | LightState::Out
            | LightState::Lighting(..)
            | LightState::Lit
            | LightState::Failed(_)
            | LightState::PuttingOut(..) => {}
        }
        let is_used = self.light.wanted || !self.capture.is_closed();
        let put_out = match self.light.state {
            LightState::Lit | LightState::Lighting(..) | LightState::Failed(_) => !is_used,
            LightState::PuttingOut(_, at) => !is_used && at <= now.mono,
            LightState::Absent | LightState::Out => false,
        };
        if put_out {
            let ticket = self.ticket();
            self.light.state = LightState::PuttingOut(ticket, now.mono + PUT_OUT_INTERVAL);
            self.effects.push_back(Effect::Light { ticket, on: false });
        }
    }

    /// The LED was set, or could not be set.
    pub(super) fn light_set(&mut self, set: Ticket, result: Result<(), String>, now: Now) {
        match (self.light.state, result) {
            (LightState::Lighting(ticket, _), Ok(())) if ticket == set => {
                self.light.state = LightState::Lit;
                self.light.backoff.reset();
                self.light.fault = None;
            }
            (LightState::Lighting(ticket, _), Err(why)) if ticket == set => self.light_failed(why, now),
            (LightState::PuttingOut(ticket, _), Ok(())) if ticket == set => {
                self.light.state = LightState::Out
            }
            // Of another ticket: superseded. Otherwise it is retried at its time.
            (
                LightState::Absent
                | LightState::Out
                | LightState::Lighting(..)
                | LightState::Lit
                | LightState::Failed(_)
                | LightState::PuttingOut(..),
                _,
            ) => {}
        }
    }

    fn light_failed(&mut self, why: String, now: Now) {
        let wait = self.light.backoff.next(&mut self.jitter);
        self.light.state = LightState::Failed(now.mono + wait);
        let message = format!(
            "privacy.indicator: the light cannot be lit, and without it the camera stays closed: {why}"
        );
        self.light.fault = Some(message.clone());
        if self.light.backoff.failures() == 1 {
            self.tell(Event::CaptureFailed { kind: FaultKind::LightFailed, message });
        }
    }
}
