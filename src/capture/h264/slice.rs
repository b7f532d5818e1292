//! The start of a slice header (7.3.3), and the first slice of an access unit (7.4.1.2.4).

use super::nal;
use super::sets::ParameterSets;
use crate::capture::bits::{Bits, unescape_few};

/// Bytes of a slice that are read.
const MAX_READ: usize = 64;

/// The parts of a slice header that distinguish its picture from the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    /// It belongs to an IDR picture.
    pub idr: bool,
    /// Other pictures refer to its picture.
    pub reference: bool,
    /// `pic_parameter_set_id`.
    pub pps: u32,
    /// `pic_order_cnt_type`.
    pub order_type: u32,
    /// Bits of `pic_order_cnt_lsb`.
    pub order_bits: u32,
    /// `pic_order_cnt_lsb`; 0 if the type is not 0.
    pub order_lsb: u32,
    /// The slice is of type B.
    pub b: bool,
    /// The slice is of type I.
    pub i: bool,
    first_macroblock: u32,
    frame_num: u32,
    idr_id: u32,
    order_deltas: (i64, i64),
    field: bool,
    bottom: bool,
}

impl Slice {
    /// Reads the header of a NAL unit of type 1 or 5. `None` if it is damaged, or its sets are not known.
    #[must_use]
    pub fn read(nal: &[u8], sets: &ParameterSets) -> Option<Slice> {
        let head = *nal.first()?;
        let idr = nal::kind(nal) == nal::IDR;
        let (plain, count) = unescape_few::<MAX_READ>(nal.get(1..)?);
        let mut bits = Bits::new(plain.get(..count)?);
        let first_macroblock = bits.ue()?;
        let kind = bits.ue()?;
        let pps = bits.ue()?;
        let (sps, set) = sets.of(pps)?;
        if sps.separate_planes {
            bits.take(2)?;
        }
        let frame_num = bits.take(sps.frame_num_bits)?;
        let (mut field, mut bottom) = (false, false);
        if !sps.frames_only {
            field = bits.flag()?;
            bottom = field && bits.flag()?;
        }
        let idr_id = if idr { bits.ue()? } else { 0 };
        let (mut order_lsb, mut order_deltas) = (0, (0, 0));
        match sps.order_type {
            0 => {
                order_lsb = bits.take(sps.order_bits)?;
                if set.bottom_order && !field {
                    order_deltas.0 = bits.se()?;
                }
            }
            1 if !sps.order_always_zero => {
                order_deltas.0 = bits.se()?;
                if set.bottom_order && !field {
                    order_deltas.1 = bits.se()?;
                }
            }
            _ => {}
        }
        Some(Slice {
            idr,
            reference: head & 0x60 != 0,
            pps,
            order_type: sps.order_type,
            order_bits: sps.order_bits,
            order_lsb,
            b: kind % 5 == 1,
            i: kind % 5 == 2,
            first_macroblock,
            frame_num,
            idr_id,
            order_deltas,
            field,
            bottom,
        })
    }

    /// It belongs to one field of a frame.
    #[must_use]
    pub fn is_field(&self) -> bool {
        self.field
    }

    fn of_another_picture(&self, next: &Slice) -> bool {
        self.frame_num != next.frame_num
            || self.pps != next.pps
            || self.field != next.field
            || self.bottom != next.bottom
            || self.reference != next.reference
            || self.idr != next.idr
            || (self.idr && self.idr_id != next.idr_id)
            || self.order_lsb != next.order_lsb
            || self.order_deltas != next.order_deltas
            // Some encoders number two pictures alike: then only this shows the difference.
            || (self.first_macroblock == 0 && next.first_macroblock == 0)
    }

    fn is_second_field_of(&self, first: &Slice) -> bool {
        first.field
            && self.field
            && first.bottom != self.bottom
            && first.frame_num == self.frame_num
            && !self.idr
    }
}

/// Finds the boundaries of samples. Two fields of opposite parity are one frame and one sample
/// (ISO/IEC 14496-15, 5.2.2).
#[derive(Clone, Copy, Debug, Default)]
pub struct Boundary {
    /// The first slice of the current picture.
    picture: Option<Slice>,
    /// It is the second field of its frame.
    second: bool,
}

impl Boundary {
    /// Whether a sample begins with the next slice.
    pub fn begins(&mut self, next: &Slice) -> bool {
        let Some(picture) = self.picture else {
            *self = Boundary { picture: Some(*next), second: false };
            return true;
        };
        if !picture.of_another_picture(next) {
            return false;
        }
        let second = !self.second && next.is_second_field_of(&picture);
        *self = Boundary { picture: Some(*next), second };
        !second
    }

    /// The next slice begins a sample in any case.
    pub fn reset(&mut self) {
        *self = Boundary::default();
    }
}
