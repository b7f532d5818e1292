//! Sequence and picture parameter sets (7.3.2.1, 7.3.2.2, E.1).

use super::nal;
use crate::capture::bits::{Bits, unescape};
use crate::capture::sets::{MAX_BELIEVED_REORDERING, SequenceFormat, SetsById, aspect_ratio, cropped};
use crate::fmp4::DecoderSets;
use bytes::Bytes;

/// Bytes of a parameter set that are read; the rest is not needed.
const MAX_READ: usize = 512;
/// The profiles whose sets have the chroma format (7.3.2.1.1).
const HIGH_PROFILES: &[u32] = &[100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];
/// The parts of a sequence parameter set that are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sps {
    /// `seq_parameter_set_id`, 0 to 31.
    pub id: u32,
    /// `chroma_format_idc`, 0 to 3, if the profile has it.
    pub chroma: Option<u8>,
    /// `bit_depth_luma_minus8` and `bit_depth_chroma_minus8`, 0 to 6.
    pub depths: (u8, u8),
    /// Width and height of a frame after cropping, in pixels.
    pub size: (u32, u32),
    /// Sample aspect ratio, width to height; 1 to 1 if it is not stated.
    pub aspect: (u32, u32),
    /// Frames that may precede a frame in decoding order and follow it in output order; `None` if it is not known.
    pub reordering: Option<u32>,
    pub(super) frame_num_bits: u32,
    pub(super) order_type: u32,
    pub(super) order_bits: u32,
    pub(super) order_always_zero: bool,
    pub(super) frames_only: bool,
    pub(super) separate_planes: bool,
}

impl Sps {
    /// Reads the NAL unit. `None` if it is damaged.
    #[must_use]
    pub fn read(nal: &[u8]) -> Option<Sps> {
        let plain = unescape(nal.get(1..)?, MAX_READ);
        let mut bits = Bits::new(&plain);
        let profile = bits.take(8)?;
        let constraints = bits.take(8)?;
        bits.take(8)?;
        let id = bits.ue().filter(|id| *id < 32)?;
        let (mut chroma, mut depths, mut separate_planes) = (None, (0, 0), false);
        if HIGH_PROFILES.contains(&profile) {
            let format = bits.ue().filter(|format| *format <= 3)?;
            chroma = u8::try_from(format).ok();
            separate_planes = format == 3 && bits.flag()?;
            let mut depth = || u8::try_from(bits.ue()?).ok().filter(|depth| *depth <= 6);
            depths = (depth()?, depth()?);
            bits.take(1)?;
            if bits.flag()? {
                for list in 0..if format == 3 { 12 } else { 8 } {
                    if bits.flag()? {
                        skip_scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                    }
                }
            }
        }
        let frame_num_bits = bits.ue()?.checked_add(4).filter(|bits| *bits <= 16)?;
        let order_type = bits.ue()?;
        let (mut order_bits, mut order_always_zero) = (0, false);
        match order_type {
            0 => order_bits = bits.ue()?.checked_add(4).filter(|bits| *bits <= 16)?,
            1 => {
                order_always_zero = bits.flag()?;
                bits.se()?;
                bits.se()?;
                for _ in 0..bits.ue().filter(|count| *count <= 255)? {
                    bits.se()?;
                }
            }
            2 => {}
            _ => return None,
        }
        bits.ue()?;
        bits.take(1)?;
        let columns = bits.ue()?.checked_add(1)?.checked_mul(16)?;
        let map_lines = bits.ue()?.checked_add(1)?.checked_mul(16)?;
        let frames_only = bits.flag()?;
        let lines = map_lines.checked_mul(if frames_only { 1 } else { 2 })?;
        if !frames_only {
            bits.take(1)?;
        }
        bits.take(1)?;
        let mut size = (columns, lines);
        if bits.flag()? {
            let crop = [bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?];
            // Equations 7-19 to 7-22.
            let chroma = if separate_planes { 0 } else { u32::from(chroma.unwrap_or(1)) };
            size = cropped(size, crop, chroma, if frames_only { 1 } else { 2 })?;
        }
        let mut vui = Vui::default();
        if bits.flag()? {
            // A set whose VUI is cut short still has all that decoding needs.
            let _as_far_as_it_goes = vui.read(&mut bits);
        }
        let intra_only = constraints & 0x10 != 0 && matches!(profile, 44 | 86 | 100 | 110 | 122 | 244);
        // Baseline has no B slices, and with order type 2 output order is decoding order (8.2.1.3).
        let never = order_type == 2 || profile == 66 || intra_only;
        let reordering =
            if never { Some(0) } else { vui.reordering.filter(|frames| *frames <= MAX_BELIEVED_REORDERING) };
        Some(Sps {
            id,
            chroma,
            depths,
            size,
            aspect: vui.aspect.unwrap_or((1, 1)),
            reordering,
            frame_num_bits,
            order_type,
            order_bits,
            order_always_zero,
            frames_only,
            separate_planes,
        })
    }
}

fn skip_scaling_list(bits: &mut Bits<'_>, size: u32) -> Option<()> {
    let (mut last, mut next) = (8i64, 8i64);
    for _ in 0..size {
        if next != 0 {
            next = (last + bits.se()?).rem_euclid(256);
        }
        if next != 0 {
            last = next;
        }
    }
    Some(())
}

/// Video usability information (E.1.1). Its timing is not read: it is often wrong.
#[derive(Default)]
struct Vui {
    aspect: Option<(u32, u32)>,
    reordering: Option<u32>,
}

impl Vui {
    fn read(&mut self, bits: &mut Bits<'_>) -> Option<()> {
        if bits.flag()? {
            self.aspect = Some(aspect_ratio(bits)?);
        }
        if bits.flag()? {
            bits.take(1)?;
        }
        if bits.flag()? {
            bits.take(4)?;
            if bits.flag()? {
                bits.take(24)?;
            }
        }
        if bits.flag()? {
            bits.ue()?;
            bits.ue()?;
        }
        if bits.flag()? {
            bits.take(32)?;
            bits.take(32)?;
            bits.take(1)?;
        }
        let by_nal = bits.flag()?;
        if by_nal {
            skip_hrd(bits)?;
        }
        let by_vcl = bits.flag()?;
        if by_vcl {
            skip_hrd(bits)?;
        }
        if by_nal || by_vcl {
            bits.take(1)?;
        }
        bits.take(1)?;
        if bits.flag()? {
            bits.take(1)?;
            for _ in 0..4 {
                bits.ue()?;
            }
            self.reordering = Some(bits.ue()?);
        }
        Some(())
    }
}

/// Hypothetical reference decoder parameters (E.1.2).
fn skip_hrd(bits: &mut Bits<'_>) -> Option<()> {
    let count = bits.ue().filter(|count| *count < 32)? + 1;
    bits.take(8)?;
    for _ in 0..count {
        bits.ue()?;
        bits.ue()?;
        bits.take(1)?;
    }
    bits.take(20)?;
    Some(())
}

/// The parts of a picture parameter set that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pps {
    /// `pic_parameter_set_id`, 0 to 255.
    pub id: u32,
    /// `seq_parameter_set_id` of the set that it refers to.
    pub sps: u32,
    /// `bottom_field_pic_order_in_frame_present_flag`.
    pub(super) bottom_order: bool,
}

impl Pps {
    /// Reads the NAL unit. `None` if it is damaged.
    #[must_use]
    pub fn read(nal: &[u8]) -> Option<Pps> {
        let plain = unescape(nal.get(1..)?, 16);
        let mut bits = Bits::new(&plain);
        let id = bits.ue().filter(|id| *id < 256)?;
        let sps = bits.ue().filter(|sps| *sps < 32)?;
        bits.take(1)?;
        Some(Pps { id, sps, bottom_order: bits.flag()? })
    }
}

/// The parameter sets of a stream so far. At most 32 and 256 of them, as their numbers allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterSets {
    sps: SetsById<Sps>,
    pps: SetsById<Pps>,
}

impl ParameterSets {
    /// Stores a parameter set; returns whether anything changed. Damaged sets and other NAL units change nothing.
    pub fn learn(&mut self, nal: &Bytes) -> bool {
        match nal::kind(nal) {
            nal::SPS => self.sps.learn(nal, Sps::read(nal).map(|sps| (sps.id, sps))),
            nal::PPS => self.pps.learn(nal, Pps::read(nal).map(|pps| (pps.id, pps))),
            _ => false,
        }
    }

    /// Stores the sets of an `AVCDecoderConfigurationRecord` (ISO/IEC 14496-15, 5.3.3.1). Returns the size of the length
    /// before each NAL unit, in bytes; `None` if the record is damaged.
    pub fn learn_record(&mut self, record: &Bytes) -> Option<usize> {
        let size = usize::from(record.get(4)? & 3) + 1;
        let count = record.get(5)? & 0x1f;
        let behind = self.learn_list(record, 6, count)?;
        let count = *record.get(behind)?;
        self.learn_list(record, behind + 1, count)?;
        Some(size)
    }

    /// Stores the list of `count` sets at `at`; returns its end.
    fn learn_list(&mut self, record: &Bytes, mut at: usize, count: u8) -> Option<usize> {
        for _ in 0..count {
            let [high, low] = *record.get(at..at + 2)? else { return None };
            let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
            record.get(at + 2..end)?;
            self.learn(&record.slice(at + 2..end));
            at = end;
        }
        Some(at)
    }

    /// All of them as NAL units, the sequence parameter sets first.
    pub fn nals(&self) -> impl Iterator<Item = &Bytes> {
        self.sps.nals().chain(self.pps.nals())
    }

    /// The two sets that a slice with this `pic_parameter_set_id` refers to.
    pub(super) fn of(&self, pps: u32) -> Option<(&Sps, &Pps)> {
        let pps = self.pps.set(pps)?;
        Some((self.sps.set(pps.sps)?, pps))
    }

    /// The format of a sequence that uses this picture parameter set.
    #[must_use]
    pub fn format(&self, pps: u32) -> Option<SequenceFormat> {
        let active = self.pps.set(pps)?.sps;
        let (unit, sps) = self.sps.get(active)?;
        Some(SequenceFormat {
            size: sps.size,
            aspect: sps.aspect,
            chroma: sps.chroma,
            depths: sps.depths,
            reordering: sps.reordering,
            sets: DecoderSets::H264 { sps: unit.clone(), pps: self.pps.nals_of(|pps| pps.sps == active) },
        })
    }
}
