//! The validated configuration.

use super::board::{Board, VideoFormat};
use super::privacy::Privacy;
use super::sections::{Clock, Device, Enrolment, Entitlement, Mqtt, Recording, Spool};
use super::upload::{StoreCredentials, Upload};
use crate::domain::policy::Rules;
use crate::domain::settings::Settings;
use crate::domain::storage::Budget;

/// A validated configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[device]`: the identity of this camera.
    pub device: Device,
    /// `[identity]`: how it gets its certificate; `None` if it is provided in another way.
    pub identity: Option<Enrolment>,
    /// `[mqtt]`: the broker.
    pub mqtt: Mqtt,
    /// `[entitlement]`: the keys that sign commands, and the grace period.
    pub entitlement: Entitlement,
    /// `[clock]`: when the system clock is trusted.
    pub clock: Clock,
    /// `[recording]`: the lengths of segments, fragments and chunks.
    pub recording: Recording,
    /// `[spool]`: the budget on flash.
    pub spool: Spool,
    /// `[upload]`: the object store.
    pub upload: Upload,
    /// `[privacy]`: what closes the camera, and its effects.
    pub privacy: Privacy,
    /// The board file that `device.board` names.
    pub board: Board,
}

impl Config {
    /// The settings for the machine.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            rules: Rules {
                audio: self.recording.audio && self.board.audio.is_some(),
                when_full: self.spool.when_full,
                pending: self.privacy.pending,
                codec: self.board.video.codec(),
            },
            budget: Budget {
                max_bytes: self.spool.max_bytes,
                min_free: self.spool.min_free,
                max_files: self.spool.max_files,
            },
            grace: self.entitlement.offline_grace,
            hold: self.spool.hold,
            unheard_hold: self.privacy.unheard_hold,
            telemetry: self.mqtt.telemetry,
            order: self.upload.order,
            concurrency: self.upload.concurrency,
            granted: self.upload.credentials == StoreCredentials::Grant,
            board_height: match self.board.video.format {
                VideoFormat::Raw => self.board.video.height,
                // The source decides; the size in the board file is only what is requested from it.
                VideoFormat::H264 | VideoFormat::H265 => u32::MAX,
            },
        }
    }
}
