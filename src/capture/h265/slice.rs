//! The start of a slice segment header (7.3.6.1), and the first slice of an access unit (7.4.2.4.5).

use super::nal;
use super::sets::ParameterSets;
use crate::capture::bits::{Bits, unescape_few};

/// Bytes of a slice segment that are read.
const MAX_READ: usize = 64;

/// The parts of a slice segment header that distinguish its picture from the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// `nal_unit_type`.
    pub kind: u8,
    /// `TemporalId`, 0 to 6.
    pub temporal_id: u8,
    /// `slice_pic_parameter_set_id`.
    pub pps: u32,
    /// `first_slice_segment_in_pic_flag`.
    pub first: bool,
    /// Bits of `slice_pic_order_cnt_lsb`.
    pub order_bits: u32,
    /// `slice_pic_order_cnt_lsb`: 0 for an IDR picture; `None` in a dependent slice segment, which does not have it.
    pub order_lsb: Option<u32>,
    /// `slice_type`: 0 is B, 1 is P, 2 is I; `None` in a dependent slice segment.
    pub slice_type: Option<u32>,
}

impl Slice {
    /// Reads the header of a NAL unit of type 0 to 9 or 16 to 21. `None` if it is damaged, or its sets are not known.
    #[must_use]
    pub fn read(unit: &[u8], sets: &ParameterSets) -> Option<Slice> {
        let kind = nal::kind(unit)?;
        let temporal_id = (unit.get(1)? & 0x07).checked_sub(1)?;
        let (plain, count) = unescape_few::<MAX_READ>(unit.get(2..)?);
        let mut bits = Bits::new(plain.get(..count)?);
        let first = bits.flag()?;
        if (nal::FIRST_IRAP..=23).contains(&kind) {
            // `no_output_of_prior_pics_flag`
            bits.take(1)?;
        }
        let id = bits.ue()?;
        let (sps, pps) = sets.of(id)?;
        let mut dependent = false;
        if !first {
            dependent = pps.dependent_segments && bits.flag()?;
            bits.take(sps.address_bits)?;
        }
        let (mut order_lsb, mut slice_type) = (None, None);
        if !dependent {
            bits.take(pps.extra_bits)?;
            slice_type = Some(bits.ue().filter(|kind| *kind <= 2)?);
            if pps.tells_output {
                bits.take(1)?;
            }
            if sps.separate_planes {
                bits.take(2)?;
            }
            let idr = matches!(kind, nal::IDR_W_RADL | nal::IDR_N_LP);
            order_lsb = Some(if idr { 0 } else { bits.take(sps.order_bits)? });
        }
        Some(Slice { kind, temporal_id, pps: id, first, order_bits: sps.order_bits, order_lsb, slice_type })
    }

    /// Decoding can begin at its picture.
    #[must_use]
    pub fn is_irap(&self) -> bool {
        (nal::FIRST_IRAP..=nal::LAST_IRAP).contains(&self.kind)
    }

    /// Pictures that lead its picture can never be decoded.
    #[must_use]
    pub fn is_broken_link(&self) -> bool {
        (nal::FIRST_IRAP..=nal::LAST_BLA).contains(&self.kind)
    }

    /// It belongs to a clean random access picture.
    #[must_use]
    pub fn is_cra(&self) -> bool {
        self.kind == nal::CRA
    }

    /// Its picture is decoded after one at which decoding can begin, and presented before it.
    #[must_use]
    pub fn leads(&self) -> bool {
        (nal::RADL_N..=nal::RASL_R).contains(&self.kind)
    }

    /// Its picture leads another one, and may depend on pictures before that.
    #[must_use]
    pub fn is_skipped(&self) -> bool {
        matches!(self.kind, nal::RASL_N | nal::RASL_R)
    }

    /// Later picture order counts are relative to that of its picture (8.3.1, `prevTid0Pic`).
    #[must_use]
    pub fn is_anchor(&self) -> bool {
        // Below 16 the even types are pictures that no picture of their sub-layer refers to.
        let is_no_reference = self.kind < 16 && self.kind % 2 == 0;
        self.temporal_id == 0 && !self.leads() && !is_no_reference
    }
}

/// Finds the boundaries of access units.
#[derive(Clone, Copy, Debug, Default)]
pub struct Boundary {
    /// The first slice segment of the current picture.
    picture: Option<Slice>,
}

impl Boundary {
    /// Whether an access unit begins with the next slice segment.
    pub fn begins(&mut self, next: &Slice) -> bool {
        let begins = self.picture.is_none_or(|picture| {
            // The first segment may be lost: compare what all segments of a picture have in common.
            let other_order = next.order_lsb.is_some() && next.order_lsb != picture.order_lsb;
            next.first
                || other_order
                || next.kind != picture.kind
                || next.temporal_id != picture.temporal_id
                || next.pps != picture.pps
        });
        if begins {
            self.picture = Some(*next);
        }
        begins
    }

    /// The next slice segment begins an access unit in any case.
    pub fn reset(&mut self) {
        *self = Boundary::default();
    }
}
