//! Video, sequence and picture parameter sets (7.3.2.1 to 7.3.2.3, E.2.1).

use super::nal;
use super::profile::Profile;
use crate::capture::bits::{Bits, unescape};
use crate::capture::codec::{MAX_BELIEVED_REORDERING, SequenceFormat, aspect_ratio};
use crate::fmp4::DecoderSets;
use bytes::Bytes;
use std::collections::BTreeMap;

/// Bytes of a parameter set that are read; what lies behind is of no interest here.
const MAX_READ: usize = 1024;

/// What is read of a sequence parameter set.
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
    /// Columns and lines of the picture, within the conformance window.
    pub size: (u32, u32),
    /// Width to height of a sample; 1 to 1 where it is not told.
    pub aspect: (u32, u32),
    /// Frames that may precede one in decoding order and follow it in output order, of all sub-layers.
    pub reordering: u32,
    pub(super) order_bits: u32,
    pub(super) separate_planes: bool,
    /// Bits of `slice_segment_address`.
    pub(super) address_bits: u32,
}

impl Sps {
    /// Reads the NAL unit. `None` where it is damaged.
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
            size = within(size, window, chroma)?;
        }
        let mut depth = || u8::try_from(bits.ue()?).ok().filter(|depth| *depth <= 8);
        let depths = (depth()?, depth()?);
        let order_bits = bits.ue()?.checked_add(4).filter(|bits| *bits <= 16)?;
        let told_of_each = bits.flag()?;
        let mut reordering = 0;
        // The last one holds for all of the stream.
        for _ in 0..if told_of_each { sub_layers } else { 1 } {
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
        // A set that is cut short behind this still says all that decoding needs of us.
        sps.aspect = aspect(&mut bits, order_bits).unwrap_or((1, 1));
        Some(sps)
    }
}

/// More columns or lines are of no level (annex A.4.1: the square root of eight times the largest picture).
fn side(samples: u32) -> Option<u32> {
    Some(samples).filter(|samples| (1..=16_888).contains(samples))
}

/// Equations 7-3 and following: the window is told in chroma samples.
fn within(
    (columns, lines): (u32, u32),
    [left, right, top, bottom]: [u32; 4],
    chroma: u32,
) -> Option<(u32, u32)> {
    let (across, down) = match chroma {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let columns = columns.checked_sub(left.checked_add(right)?.checked_mul(across)?)?;
    let lines = lines.checked_sub(top.checked_add(bottom)?.checked_mul(down)?)?;
    (columns > 0 && lines > 0).then_some((columns, lines))
}

/// The sample aspect ratio of the VUI, and all that stands before it.
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

/// What is read of a picture parameter set.
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
    /// Reads the NAL unit. `None` where it is damaged.
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

/// The parameter sets that a stream has told so far. At most 16, 16 and 64 of them, as their numbers allow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ParameterSets {
    vps: BTreeMap<u32, Bytes>,
    sps: BTreeMap<u32, (Bytes, Sps)>,
    pps: BTreeMap<u32, (Bytes, Pps)>,
}

/// Whether anything changed.
fn put<V>(map: &mut BTreeMap<u32, V>, id: u32, new: V, is_known: impl Fn(&V) -> bool) -> bool {
    if map.get(&id).is_some_and(is_known) {
        return false;
    }
    map.insert(id, new);
    true
}

impl ParameterSets {
    /// All of them, as NAL units: those of video first, then those of sequences.
    pub fn nals(&self) -> impl Iterator<Item = &Bytes> {
        let (sps, pps) = (self.sps.values().map(|(nal, _)| nal), self.pps.values().map(|(nal, _)| nal));
        self.vps.values().chain(sps).chain(pps)
    }

    /// Takes in a NAL unit; whether that changed anything. Damaged sets and other NAL units change nothing.
    pub fn learn(&mut self, unit: &Bytes) -> bool {
        match nal::kind(unit) {
            Some(nal::VPS) => {
                // `vps_video_parameter_set_id`
                let Some(id) = unit.get(2).map(|byte| u32::from(byte >> 4)) else { return false };
                put(&mut self.vps, id, unit.clone(), |known| known == unit)
            }
            Some(nal::SPS) => Sps::read(unit).is_some_and(|sps| {
                put(&mut self.sps, sps.id, (unit.clone(), sps), |(known, _)| known == unit)
            }),
            Some(nal::PPS) => Pps::read(unit).is_some_and(|pps| {
                put(&mut self.pps, pps.id, (unit.clone(), pps), |(known, _)| known == unit)
            }),
            Some(_) | None => false,
        }
    }

    /// Takes in the sets of an `HEVCDecoderConfigurationRecord` (ISO/IEC 14496-15, 8.3.3.1); the bytes of a length
    /// before each NAL unit of its stream. `None` where it is damaged.
    pub fn learn_record(&mut self, record: &Bytes) -> Option<usize> {
        let size = usize::from(record.get(21)? & 3) + 1;
        let arrays = *record.get(22)?;
        let mut at = 23;
        let number = |at: usize| match record.get(at..at + 2)? {
            [high, low] => Some(u16::from_be_bytes([*high, *low])),
            _ => None,
        };
        for _ in 0..arrays {
            // Its type: the sets tell that themselves.
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

    /// The two sets that a slice segment with this `slice_pic_parameter_set_id` refers to, where the third is there as well.
    pub(super) fn of(&self, pps: u32) -> Option<(&Sps, &Pps)> {
        let (_, pps) = self.pps.get(&pps)?;
        let (_, sps) = self.sps.get(&pps.sps)?;
        self.vps.get(&sps.vps)?;
        Some((sps, pps))
    }

    /// What the `moov` must say where this picture parameter set is in use.
    #[must_use]
    pub fn format(&self, pps: u32) -> Option<SequenceFormat> {
        let (_, active) = self.pps.get(&pps)?;
        let (sps, facts) = self.sps.get(&active.sps)?;
        let pps = self.pps.values().filter(|(_, pps)| pps.sps == active.sps);
        Some(SequenceFormat {
            size: facts.size,
            aspect: facts.aspect,
            chroma: Some(facts.chroma),
            depths: facts.depths,
            reordering: Some(facts.reordering).filter(|frames| *frames <= MAX_BELIEVED_REORDERING),
            sets: DecoderSets::H265 {
                vps: self.vps.get(&facts.vps)?.clone(),
                sps: sps.clone(),
                pps: pps.map(|(unit, _)| unit.clone()).collect(),
                profile: facts.profile.0,
                sub_layers: facts.sub_layers,
                nested: facts.nested,
            },
        })
    }
}
