//! Configuration: `agent.toml` (the device) and a board file (the product).
//!
//! Three separate types: `file::Document` is the content of a file, `settings::Merged` holds the settings of both files,
//! and [`Config`] is validated. Only this module uses the first two. All problems of both files are reported at once.

mod address;
mod board;
mod codec;
mod encoder;
mod file;
mod frame_rate;
mod load;
mod material;
mod merge;
mod nearest;
pub mod pem;
mod pixels;
mod privacy;
mod problem;
mod profile;
mod properties;
mod reload;
mod rtsp;
mod scalar;
pub mod schema;
pub mod secret;
mod sections;
mod settings;
mod surroundings;
mod units;
mod upload;
mod validate;
mod validated;
mod warnings;
mod words;

pub use crate::domain::policy::{PrivacyPending, WhenFull};
pub use crate::domain::segmenter::Durability;
pub use crate::domain::settings::UploadOrder;
pub use board::{
    Audio, AudioSource, Board, RtspAccess, RtspTrust, Transport, Video, VideoFormat, VideoSource,
};
pub use encoder::{Encoder, EncoderKind};
pub use frame_rate::FrameRate;
pub use load::{Understood, board_of, indicator, load, load_enrolment, load_in, load_places, read_in};
pub use pixels::{Colorimetry, Pixels};
pub use privacy::{LatchDevice, LatchKind, Privacy, PrivacyLatch};
pub use problem::{Place, Problem, Problems};
pub use properties::Property;
pub use reload::{reload_difference, with_reloadable};
pub use rtsp::RtspLogin;
pub use sections::{
    Claim, Clock, ClockTrust, Device, Enrolment, Entitlement, Mqtt, MqttLogin, Places, Recording, Spool,
    SpoolKey, VerifyingKey,
};
pub use surroundings::Surroundings;
pub use upload::{Addressing, KeyProvider, StoreCredentials, Upload};
pub use validate::IDENTITY_FILE;
pub use validated::Config;
pub use warnings::{Warning, warnings};
