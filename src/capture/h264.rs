//! What a pass-through must read of H.264 (ITU-T H.264): the parameter sets, the start of a slice
//! header, and where one access unit ends and the next begins.
//!
//! Nothing here trusts a container, a marker bit or the timing of a VUI: all that is known of a
//! frame is what its own slices say.

mod bits;
mod recovery;
mod sets;
mod slice;
mod units;

pub use bits::{Nals, Packing};
pub use sets::{ParameterSets, Picture, Pps, Sps};
pub use slice::{Boundary, Slice};
pub use units::{Assembler, Unit};

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
