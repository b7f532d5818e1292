//! The owner's choice: may the camera record at all?

use super::time::Utc;

/// The claims of a `kasacam-privacy+jws`, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivacyChoice {
    /// Only grows.
    pub version: u64,
    /// When the cloud signed it.
    pub issued_at: Utc,
    /// The owner's wish: `true` closes the camera.
    pub do_not_record: bool,
}

/// The fact that the policy sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Privacy {
    /// The owner allows recording, and nothing on the camera forbids it.
    Record,
    /// The app, the latch or the shutter forbids it.
    DoNotRecord,
    /// No choice is known, or it cannot be read. Treated as private.
    Unknown,
}

/// A fact read back from flash at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recalled<T> {
    /// As it was written.
    Is(T),
    /// Never written.
    Missing,
    /// It exists, but is damaged, belongs to another device, or is signed by an unknown key.
    Unreadable,
}

impl<T> Recalled<T> {
    /// The value, if it was read.
    #[must_use]
    pub fn value(&self) -> Option<&T> {
        match self {
            Recalled::Is(value) => Some(value),
            Recalled::Missing | Recalled::Unreadable => None,
        }
    }
}

/// A shutter, or a switch with two positions, on the camera itself. It is read, never persisted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Shutter {
    /// The camera has none.
    #[default]
    Absent,
    /// The shutter is open: it restricts nothing.
    Open,
    /// The camera was closed by hand, whatever the app says.
    Closed,
    /// The camera has a shutter and cannot read it. Treated as private.
    Unknown,
}

impl Shutter {
    /// Combines the shutter with what the owner allows.
    #[must_use]
    pub fn restrict(self, privacy: Privacy) -> Privacy {
        match (self, privacy) {
            (Shutter::Closed, _) | (_, Privacy::DoNotRecord) => Privacy::DoNotRecord,
            (Shutter::Unknown, _) => Privacy::Unknown,
            (Shutter::Absent | Shutter::Open, privacy) => privacy,
        }
    }
}

/// The stricter of the app's choice and the local latch.
///
/// A latch that was never set restricts nothing; one that cannot be read makes the result unknown.
#[must_use]
pub fn strictest(choice: &Recalled<PrivacyChoice>, latch: &Recalled<bool>) -> Privacy {
    let app = match choice {
        Recalled::Is(choice) if choice.do_not_record => Privacy::DoNotRecord,
        Recalled::Is(_) => Privacy::Record,
        Recalled::Missing | Recalled::Unreadable => Privacy::Unknown,
    };
    match (app, latch) {
        (_, Recalled::Is(true)) => Privacy::DoNotRecord,
        (Privacy::Record, Recalled::Unreadable) => Privacy::Unknown,
        (app, Recalled::Is(false) | Recalled::Missing | Recalled::Unreadable) => app,
    }
}
