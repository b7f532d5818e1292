//! Values of `nal_unit_type` (table 7-1).

/// The first type of a picture at which decoding can begin; the last is [`LAST_IRAP`].
pub const FIRST_IRAP: u8 = 16;
/// See [`FIRST_IRAP`]. The types after it are reserved.
pub const LAST_IRAP: u8 = 21;
/// A broken link picture (`BLA_N_LP`), the last of three types: pictures that lead it cannot be decoded.
pub const LAST_BLA: u8 = 18;
/// An IDR picture that may have decodable leading pictures.
pub const IDR_W_RADL: u8 = 19;
/// An IDR picture without leading pictures.
pub const IDR_N_LP: u8 = 20;
/// A clean random access picture: pictures that lead it may depend on earlier ones.
pub const CRA: u8 = 21;
/// A skipped leading picture, no reference: it cannot be decoded if decoding begins at the picture it leads.
pub const RASL_N: u8 = 8;
/// The same, a reference.
pub const RASL_R: u8 = 9;
/// A decodable leading picture, no reference.
pub const RADL_N: u8 = 6;
/// A video parameter set.
pub const VPS: u8 = 32;
/// A sequence parameter set.
pub const SPS: u8 = 33;
/// A picture parameter set.
pub const PPS: u8 = 34;
/// An access unit delimiter.
pub const DELIMITER: u8 = 35;
/// The end of a coded video sequence.
pub const END_OF_SEQUENCE: u8 = 36;
/// The end of the bitstream.
pub const END_OF_STREAM: u8 = 37;
/// Supplemental enhancement information before the picture.
pub const PREFIX_SEI: u8 = 39;

/// The type of a NAL unit of the base layer; `None` if it is of another layer, or damaged.
#[must_use]
pub fn kind(nal: &[u8]) -> Option<u8> {
    let (first, second) = (*nal.first()?, *nal.get(1)?);
    // `forbidden_zero_bit`, `nuh_layer_id`, `nuh_temporal_id_plus1`
    let plain = first & 0x81 == 0 && second >> 3 == 0 && second & 0x07 != 0;
    plain.then_some(first >> 1)
}
