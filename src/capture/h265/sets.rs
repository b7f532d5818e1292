//! Video, sequence and picture parameter sets (7.3.2.1 to 7.3.2.3, E.2.1).

use super::nal;
use super::profile::Profile;
use crate::capture::bits::{Bits, unescape};
use crate::capture::sets::{MAX_BELIEVED_REORDERING, SequenceFormat, SetsById, aspect_ratio, cropped};
use crate::fmp4::DecoderSets;
use bytes::Bytes;

/// Bytes of a parameter set that are read; the rest is not needed.
const MAX_READ: usize = 1024;

/// The parts of a sequence parameter set that are used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sps {
    /// `sps_seq_parameter_set_id`, 0 to 15.
    pub id: u32,
    /// `sps_video_parameter_set_id`, 0 to 15.
    pub vps: u32,
    /// Temporal sub-layers, 1 to 7.
    pub sub_layers: u8,
    /// `sps_temporal_id_nesting_flag`.
    pub nested: bool,
    /// Profile, tier and level.
    pub profile: Profile,
    /// `chroma_format_idc`, 0 to 3.
    pub chroma: u8,
    /// `bit_depth_luma_minus8` and `bit_depth_chroma_minus8`, 0 to 8.
    pub depths: (u8, u8),
    /// Width and height of a frame within the conformance window, in pixels.
    pub size: (u32, u32),
    /// Sample aspect ratio, width to height; 1 to 1 if it is not stated.
    pub aspect: (u32, u32),
    /// Frames that may precede a frame in decoding order and follow it in output order, of all sub-layers.
    pub reordering: u32,
    pub(super) order_bits: u32,
    pub(super) separate_planes: bool,
    /// Bits of `slice_segment_address`.
    pub(super) address_bits: u32,
}

impl Sps {
    /// Reads the NAL unit. `None` if it is damaged.
    #[must_use]
    pub fn read(nal: &[u8]) -> Option<Sps> {
        let plain = unescape(nal.get(2..)?, MAX_READ);
        let mut bits = Bits::new(&plain);
        let vps = bits.take(4)?;
        let sub_layers = bits.take(3)?.checked_add(1).filter(|count| *count <= 7)?;
        let nested = bits.flag()?;
        let profile = Profile::read(&mut bits, sub_layers)?;
        let id = bits.ue().filter(|id| *id < 16)?;
        let chroma = bits.ue().filter(|format| *format <= 3)?;
        let separate_planes = chroma == 3 && bits.flag()?;
        let (columns, lines) = (side(bits.ue()?)?, side(bits.ue()?)?);
        let mut size = (columns, lines);
        if bits.flag()? {
            let window = [bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?];
            size = cropped(size, window, chroma, 1)?;
        }
        let mut depth = || u8::try_from(bits.ue()?).ok().filter(|depth| *depth <= 8);
        let depths = (depth()?, depth()?);
        let order_bits = bits.ue()?.checked_add(4).filter(|bits| *bits <= 16)?;
        let per_sub_layer = bits.flag()?;
        let mut reordering = 0;
        // The last one is valid for the whole stream.
        for _ in 0..if per_sub_layer { sub_layers } else { 1 } {
            bits.ue()?;
            reordering = bits.ue()?;
            bits.ue()?;
        }
        let least_block = bits.ue()?.checked_add(3)?;
        let block = least_block.checked_add(bits.ue()?).filter(|log| (4..=6).contains(log))?;
        let blocks = columns.div_ceil(1 << block).checked_mul(lines.div_ceil(1 << block))?;
        let mut sps = Sps {
            id,
            vps,
            sub_layers: u8::try_from(sub_layers).ok()?,
            nested,
            profile,
            chroma: u8::try_from(chroma).ok()?,
            depths,
            size,
            aspect: (1, 1),
            reordering,
            order_bits,
            separate_planes,
            // Ceil( Log2( PicSizeInCtbsY ) )
            address_bits: u32::BITS - blocks.saturating_sub(1).leading_zeros(),
        };
        // A set that is cut short after this still has all that is needed.
        sps.aspect = aspect(&mut bits, order_bits).unwrap_or((1, 1));
        Some(sps)
    }
}

/// No level allows more columns or lines (annex A.4.1: the square root of eight times the largest picture).
fn side(samples: u32) -> Option<u32> {
    Some(samples).filter(|samples| (1..=16_888).contains(samples))
}

/// Skips to the VUI, and reads its sample aspect ratio.
fn aspect(bits: &mut Bits<'_>, order_bits: u32) -> Option<(u32, u32)> {
    for _ in 0..4 {
        bits.ue()?;
    }
    if bits.flag()? && bits.flag()? {
        skip_scaling_lists(bits)?;
    }
    bits.take(2)?;
    if bits.flag()? {
        bits.take(8)?;
        bits.ue()?;
        bits.ue()?;
        bits.take(1)?;
    }
    skip_reference_sets(bits)?;
    if bits.flag()? {
        for _ in 0..bits.ue().filter(|count| *count <= 32)? {
            bits.take(order_bits + 1)?;
        }
    }
    bits.take(2)?;
    if bits.flag()? && bits.flag()? {
        return aspect_ratio(bits);
    }
    None
}

/// 7.3.4
fn skip_scaling_lists(bits: &mut Bits<'_>) -> Option<()> {
    for size in 0..4 {
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if !bits.flag()? {
                bits.ue()?;
                continue;
            }
            if size > 1 {
                bits.se()?;
            }
            for _ in 0..if size == 0 { 16 } else { 64 } {
                bits.se()?;
            }
        }
    }
    Some(())
}

/// Short-term reference picture sets (7.3.7).
fn skip_reference_sets(bits: &mut Bits<'_>) -> Option<()> {
    let mut pictures = 0_u32;
    for index in 0..bits.ue().filter(|count| *count <= 64)? {
        if index > 0 && bits.flag()? {
            bits.take(1)?;
            bits.ue()?;
            let mut kept = 0;
            for _ in 0..=pictures {
                let used = bits.flag()?;
                kept += u32::from(used || bits.flag()?);
            }
            pictures = kept;
        } else {
            let (before, behind) = (bits.ue()?, bits.ue()?);
            pictures = before.checked_add(behind).filter(|pictures| *pictures <= 16)?;
            for _ in 0..pictures {
                bits.ue()?;
                bits.take(1)?;
            }
        }
    }
    Some(())
}

/// The parts of a picture parameter set that are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pps {
    /// `pps_pic_parameter_set_id`, 0 to 63.
    pub id: u32,
    /// `pps_seq_parameter_set_id` of the set that it refers to.
    pub sps: u32,
    pub(super) dependent_segments: bool,
    pub(super) tells_output: bool,
    /// `num_extra_slice_header_bits`
    pub(super) extra_bits: u32,
}

impl Pps {
    /// Reads the NAL unit. `None` if it is damaged.
    #[must_use]
    pub fn read(nal: &[u8]) -> Option<Pps> {
        let plain = unescape(nal.get(2..)?, 16);
        let mut bits = Bits::new(&plain);
        Some(Pps {
            id: bits.ue().filter(|id| *id < 64)?,
            sps: bits.ue().filter(|sps| *sps < 16)?,
            dependent_segments: bits.flag()?,
            tells_output: bits.flag()?,
            extra_bits: bits.take(3)?,
        })
    }
}

/// The parameter sets of a stream so far. At most 16, 16 and 64 of them, as their numbers allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterSets {
    vps: SetsById<()>,
    sps: SetsById<Sps>,
    pps: SetsById<Pps>,
}

impl ParameterSets {
    /// All of them as NAL units: video, sequence and picture parameter sets.
    pub fn nals(&self) -> impl Iterator<Item = &Bytes> {
        self.vps.nals().chain(self.sps.nals()).chain(self.pps.nals())
    }

    /// Stores a parameter set; returns whether anything changed. Damaged sets and other NAL units change nothing.
    pub fn learn(&mut self, unit: &Bytes) -> bool {
        match nal::kind(unit) {
            // `vps_video_parameter_set_id`
            Some(nal::VPS) => self.vps.learn(unit, unit.get(2).map(|byte| (u32::from(byte >> 4), ()))),
            Some(nal::SPS) => self.sps.learn(unit, Sps::read(unit).map(|sps| (sps.id, sps))),
            Some(nal::PPS) => self.pps.learn(unit, Pps::read(unit).map(|pps| (pps.id, pps))),
            Some(_) | None => false,
        }
    }

    /// Stores the sets of an `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15, 8.3.3.1). Returns the size of the length
    /// before each NAL unit, in bytes; `None` if the record is damaged.
    pub fn learn_record(&mut self, record: &Bytes) -> Option<usize> {
        let size = usize::from(record.get(21)? & 3) + 1;
        let arrays = *record.get(22)?;
        let mut at = 23;
        let number = |at: usize| match record.get(at..at + 2)? {
            [high, low] => Some(u16::from_be_bytes([*high, *low])),
            _ => None,
        };
        for _ in 0..arrays {
            // The type of the array: the NAL units have it too.
            at += 1;
            let count = number(at)?;
            at += 2;
            for _ in 0..count {
                let end = at + 2 + usize::from(number(at)?);
                record.get(at + 2..end)?;
                self.learn(&record.slice(at + 2..end));
                at = end;
            }
        }
        Some(size)
    }

    /// The two sets that a slice segment with this `slice_pic_parameter_set_id` refers to, if the third is known too.
    pub(super) fn of(&self, pps: u32) -> Option<(&Sps, &Pps)> {
        let pps = self.pps.set(pps)?;
        let sps = self.sps.set(pps.sps)?;
        self.vps.get(sps.vps)?;
        Some((sps, pps))
    }

    /// The format of a sequence that uses this picture parameter set.
    #[must_use]
    pub fn format(&self, pps: u32) -> Option<SequenceFormat> {
        let active = self.pps.set(pps)?.sps;
        let (unit, sps) = self.sps.get(active)?;
        let (vps, ()) = self.vps.get(sps.vps)?;
        Some(SequenceFormat {
            size: sps.size,
            aspect: sps.aspect,
            chroma: Some(sps.chroma),
            depths: sps.depths,
            reordering: Some(sps.reordering).filter(|frames| *frames <= MAX_BELIEVED_REORDERING),
            sets: DecoderSets::H265 {
                vps: vps.clone(),
                sps: unit.clone(),
                pps: self.pps.nals_of(|pps| pps.sps == active),
                profile: sps.profile.0,
                sub_layers: sps.sub_layers,
                nested: sps.nested,
            },
        })
    }
}
