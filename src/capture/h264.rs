//! What a pass-through must read of H.264 (ITU-T H.264): the parameter sets, the start of a slice
//! header, and where one access unit ends and the next begins.
//!
//! Nothing here trusts a container, a marker bit or the timing of a VUI: all that is known of a
//! frame is what its own slices say.

mod recovery;
mod sets;
mod slice;

pub use sets::{ParameterSets, Pps, Sps};
pub use slice::{Boundary, Slice};

pub(super) use recovery::begins as is_recovery_point;

use super::codec::Role;

/// `nal_unit_type` (table 7-1) of the NAL units that are told apart here.
pub mod nal {
    /// A slice of a picture that is no IDR picture.
    pub const SLICE: u8 = 1;
    /// A slice of an IDR picture: decoding can begin there.
    pub const IDR: u8 = 5;
    /// Supplemental enhancement information.
    pub const SEI: u8 = 6;
    /// A sequence parameter set.
    pub const SPS: u8 = 7;
    /// A picture parameter set.
    pub const PPS: u8 = 8;

    /// An access unit delimiter.
    pub const DELIMITER: u8 = 9;

    /// The type of a NAL unit; 0 where it is empty.
    #[must_use]
    pub fn kind(nal: &[u8]) -> u8 {
        nal.first().map_or(0, |head| head & 0x1f)
    }
}

/// What a NAL unit is to the access units around it (7.4.1.2.3).
pub(super) fn role(unit: &[u8]) -> Role {
    match nal::kind(unit) {
        nal::SLICE | nal::IDR => Role::Slice,
        nal::SPS | nal::PPS => Role::Set,
        // The end of a sequence or of the stream, and what fills up. An IDR picture follows in any case.
        10..=12 => Role::Behind,
        _ => Role::Ahead,
    }
}
