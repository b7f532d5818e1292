//! The parts of H.265 (ITU-T H.265) that must be read to store a stream as it is: parameter sets, the start of a slice
//! segment header, and the boundaries of access units.
//!
//! As with H.264, it does not trust a container or a marker bit. Of a stream with several layers (annex F) only the base
//! layer is kept.

mod level;
pub mod nal;
mod profile;
mod sets;
mod slice;

pub use level::level_of;
pub use profile::Profile;
pub use sets::{ParameterSets, Pps, Sps};
pub use slice::{Boundary, Slice};

use super::role::Role;

/// The role of a NAL unit in its access unit (7.4.2.4.4).
pub(super) fn role(unit: &[u8]) -> Role {
    match nal::kind(unit) {
        Some(0..=9 | nal::FIRST_IRAP..=nal::LAST_IRAP) => Role::Slice,
        Some(nal::VPS..=nal::PPS) => Role::Set,
        Some(nal::END_OF_SEQUENCE | nal::END_OF_STREAM) => Role::End,
        Some(38 | 40 | 45..=47 | 56..=63) => Role::Behind,
        Some(nal::DELIMITER | nal::PREFIX_SEI | 41..=44 | 48..=55) => Role::Ahead,
        // Reserved types of pictures, or another layer.
        Some(_) | None => Role::Foreign,
    }
}
