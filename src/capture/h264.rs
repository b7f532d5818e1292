//! The parts of H.264 (ITU-T H.264) that must be read to store a stream as it is: parameter sets, the start of a
//! slice header, and the boundaries of access units.
//!
//! It does not trust a container, a marker bit or the timing in a VUI. All facts about a frame come from its slices.

mod level;
pub mod nal;
mod recovery;
mod sets;
mod slice;

pub use level::level_of;
pub use sets::{ParameterSets, Pps, Sps};
pub use slice::{Boundary, Slice};

pub(super) use recovery::begins as is_recovery_point;

use super::role::Role;

/// The role of a NAL unit in its access unit (7.4.1.2.3).
pub(super) fn role(unit: &[u8]) -> Role {
    match nal::kind(unit) {
        nal::SLICE | nal::IDR => Role::Slice,
        nal::SPS | nal::PPS => Role::Set,
        // End of sequence, end of stream, filler data. An IDR picture follows an end in any case.
        10..=12 => Role::Behind,
        _ => Role::Ahead,
    }
}
