//! What the parameter sets of both codecs have in common.

use super::bits::Bits;
use crate::fmp4::DecoderSets;
use bytes::Bytes;
use std::collections::BTreeMap;

/// No camera reorders more frames than this: a larger number in the stream is ignored.
pub(super) const MAX_BELIEVED_REORDERING: u32 = 4;

/// Sample aspect ratios by `aspect_ratio_idc` (ITU-T H.264, table E-1; ITU-T H.265, table E.1), from 1 on.
const ASPECTS: &[(u32, u32)] = &[
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

/// `aspect_ratio_idc` and its values; 1 to 1 if it states none. `None` if it is cut short.
pub(super) fn aspect_ratio(bits: &mut Bits<'_>) -> Option<(u32, u32)> {
    let ratio = match usize::try_from(bits.take(8)?).ok()? {
        255 => (bits.take(16)?, bits.take(16)?),
        known => known.checked_sub(1).and_then(|at| ASPECTS.get(at)).copied().unwrap_or((1, 1)),
    };
    Some(if ratio.0 > 0 && ratio.1 > 0 { ratio } else { (1, 1) })
}

/// The size of a frame after cropping: `window` is left, right, top and bottom, in chroma samples. `lines` is 2 if a line of
/// the window stands for two lines of a frame, otherwise 1. `None` if nothing is left.
pub(super) fn cropped(
    (columns, rows): (u32, u32),
    [left, right, top, bottom]: [u32; 4],
    chroma: u32,
    lines: u32,
) -> Option<(u32, u32)> {
    let (across, down) = match chroma {
        1 => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let columns = columns.checked_sub(left.checked_add(right)?.checked_mul(across)?)?;
    let rows = rows.checked_sub(top.checked_add(bottom)?.checked_mul(down * lines)?)?;
    (columns > 0 && rows > 0).then_some((columns, rows))
}

/// The format of a coded video sequence, for the `moov`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SequenceFormat {
    /// The parameter sets in force.
    pub sets: DecoderSets,
    /// Width and height of a frame after cropping, in pixels.
    pub size: (u32, u32),
    /// Sample aspect ratio, width to height.
    pub aspect: (u32, u32),
    /// `chroma_format_idc`, 0 to 3, if it is stated.
    pub chroma: Option<u8>,
    /// Bits of a luma and of a chroma sample, minus 8.
    pub depths: (u8, u8),
    /// Frames that may precede a frame in decoding order and follow it in output order; `None` if it is not known.
    pub reordering: Option<u32>,
}

/// The parameter sets of one kind, by their number: the NAL unit, and what was read of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SetsById<T>(BTreeMap<u32, (Bytes, T)>);

impl<T> Default for SetsById<T> {
    fn default() -> SetsById<T> {
        SetsById(BTreeMap::new())
    }
}

impl<T> SetsById<T> {
    /// Stores a set; returns whether anything changed. `read` is its number and content; `None` if it is damaged.
    pub(super) fn learn(&mut self, unit: &Bytes, read: Option<(u32, T)>) -> bool {
        let Some((id, set)) = read else { return false };
        if self.0.get(&id).is_some_and(|(known, _)| known == unit) {
            return false;
        }
        self.0.insert(id, (unit.clone(), set));
        true
    }

    pub(super) fn get(&self, id: u32) -> Option<&(Bytes, T)> {
        self.0.get(&id)
    }

    /// The content of a set.
    pub(super) fn set(&self, id: u32) -> Option<&T> {
        self.0.get(&id).map(|(_, set)| set)
    }

    /// The NAL units of the sets for which `wanted` is true.
    pub(super) fn nals_of(&self, wanted: impl Fn(&T) -> bool) -> Vec<Bytes> {
        self.0.values().filter(|(_, set)| wanted(set)).map(|(unit, _)| unit.clone()).collect()
    }

    /// All NAL units.
    pub(super) fn nals(&self) -> impl Iterator<Item = &Bytes> {
        self.0.values().map(|(unit, _)| unit)
    }
}
