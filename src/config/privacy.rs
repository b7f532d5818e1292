//! The section `[privacy]`: what closes the camera, and its effects.

use super::sections::VerifyingKey;
use crate::domain::policy::PrivacyPending;
use std::path::PathBuf;
use std::time::Duration;

/// The section `[privacy]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Privacy {
    /// The keys that may sign the owner's choice: 1 to 16, each with its own `kid`; default `entitlement.keys`.
    pub keys: Vec<VerifyingKey>,
    /// What happens to footage from before a "do not record"; default `upload`.
    pub pending: PrivacyPending,
    /// How long unheard footage waits while the store answers and the broker does not. `None`: without limit.
    pub unheard_hold: Option<Duration>,
    /// The folder of an LED (`/sys/class/leds/…`) that is on while the camera is open.
    pub indicator: Option<PathBuf>,
    /// The shutter, switch or button on the camera, if it has one.
    pub latch: Option<PrivacyLatch>,
}

/// A shutter, switch or button with which the household closes the camera; an input device of the kernel (evdev).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivacyLatch {
    /// Which input device.
    pub device: LatchDevice,
    /// How the input is read.
    pub kind: LatchKind,
    /// `SW_…` or `KEY_…` of `linux/input-event-codes.h`.
    pub code: u16,
}

/// How `privacy.latch` names its input device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LatchDevice {
    /// `device`: a node, or a link to one.
    Path(PathBuf),
    /// `name`: its name in the kernel.
    Named(String),
}

/// What kind of input closes the camera.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatchKind {
    /// A shutter or a switch with two positions; in one of them the camera is closed.
    Switch,
    /// Each press sets or clears the latch.
    Button,
}
