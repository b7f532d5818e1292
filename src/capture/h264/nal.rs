//! Values of `nal_unit_type` (table 7-1).

/// A slice of a picture that is not an IDR picture.
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

/// The type of a NAL unit; 0 if it is empty.
#[must_use]
pub fn kind(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |head| head & 0x1f)
}
