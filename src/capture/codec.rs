//! The coding standards that are passed through, as values: what is asked of a NAL unit is answered by the one or the
//! other, and whoever asks need not know which.

use super::bits::Bits;
use super::{h264, h265};
use crate::domain::codec::Codec;
use crate::fmp4::DecoderSets;
use bytes::Bytes;

/// More frames than this are reordered by nothing that a camera makes: such a number is not believed.
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

/// `aspect_ratio_idc`, and what follows it; 1 to 1 where that says nothing. `None` where it is cut short.
pub(super) fn aspect_ratio(bits: &mut Bits<'_>) -> Option<(u32, u32)> {
    let told = match usize::try_from(bits.take(8)?).ok()? {
        255 => (bits.take(16)?, bits.take(16)?),
        known => known.checked_sub(1).and_then(|at| ASPECTS.get(at)).copied().unwrap_or((1, 1)),
    };
    Some(if told.0 > 0 && told.1 > 0 { told } else { (1, 1) })
}

/// What a NAL unit is to the access units around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Of a picture.
    Slice,
    /// A parameter set. It stands before the picture that follows.
    Set,
    /// It belongs to what follows it.
    Ahead,
    /// It belongs to what stands before it.
    Behind,
    /// So does this, and a sequence ends with it: the next picture depends on nothing before.
    End,
    /// It is not kept.
    Foreign,
}

/// What this NAL unit is.
#[must_use]
pub fn role(codec: Codec, unit: &[u8]) -> Role {
    match codec {
        Codec::H264 => h264::role(unit),
        Codec::H265 => h265::role(unit),
    }
}

/// The NAL unit is an access unit delimiter, which stands before all else of its picture.
#[must_use]
pub fn is_delimiter(codec: Codec, unit: &[u8]) -> bool {
    match codec {
        Codec::H264 => h264::nal::kind(unit) == h264::nal::DELIMITER,
        Codec::H265 => h265::nal::kind(unit) == Some(h265::nal::DELIMITER),
    }
}

/// The NAL unit is a sequence parameter set of this standard, and of no other.
#[must_use]
pub fn is_sequence_set(codec: Codec, unit: &[u8]) -> bool {
    match codec {
        Codec::H264 => h264::nal::kind(unit) == h264::nal::SPS && h264::Sps::read(unit).is_some(),
        Codec::H265 => h265::nal::kind(unit) == Some(h265::nal::SPS) && h265::Sps::read(unit).is_some(),
    }
}

/// The parameter sets that a stream has told so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sets {
    /// Of H.264.
    H264(h264::ParameterSets),
    /// Of H.265.
    H265(h265::ParameterSets),
}

/// What the `moov` must say of the pictures of a coded video sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// The parameter sets in force.
    pub sets: DecoderSets,
    /// Columns and lines of the picture, cropped.
    pub size: (u32, u32),
    /// Width to height of a sample.
    pub aspect: (u32, u32),
    /// `chroma_format_idc`, 0 to 3, where it is told.
    pub chroma: Option<u8>,
    /// Bits of a luma and of a chroma sample, less 8.
    pub depths: (u8, u8),
    /// Frames that may precede one in decoding order and follow it in output order, as far as that is known and believed.
    pub reordering: Option<u32>,
}

impl Sets {
    /// None yet.
    #[must_use]
    pub fn new(codec: Codec) -> Sets {
        match codec {
            Codec::H264 => Sets::H264(h264::ParameterSets::default()),
            Codec::H265 => Sets::H265(h265::ParameterSets::default()),
        }
    }

    /// Whose they are.
    #[must_use]
    pub fn codec(&self) -> Codec {
        match self {
            Sets::H264(_) => Codec::H264,
            Sets::H265(_) => Codec::H265,
        }
    }

    /// All of them, as NAL units, each behind those that it refers to.
    #[must_use]
    pub fn nals(&self) -> Vec<&Bytes> {
        match self {
            Sets::H264(sets) => sets.nals().collect(),
            Sets::H265(sets) => sets.nals().collect(),
        }
    }

    /// Takes in a NAL unit; whether that changed anything.
    pub fn learn(&mut self, unit: &Bytes) -> bool {
        match self {
            Sets::H264(sets) => sets.learn(unit),
            Sets::H265(sets) => sets.learn(unit),
        }
    }

    /// Takes in a decoder configuration record (ISO/IEC 14496-15, 5.3.3.1 and 8.3.3.1); the bytes of a length before
    /// each NAL unit of its stream. `None` where it is damaged.
    pub fn learn_record(&mut self, record: &Bytes) -> Option<usize> {
        match self {
            Sets::H264(sets) => sets.learn_record(record),
            Sets::H265(sets) => sets.learn_record(record),
        }
    }

    /// What the `moov` must say where the sets of this slice are in force.
    #[must_use]
    pub fn picture(&self, slice: &Slice) -> Option<Picture> {
        match (self, slice) {
            (Sets::H264(sets), Slice::H264(slice)) => sets.picture(slice.pps),
            (Sets::H265(sets), Slice::H265(slice)) => sets.picture(slice.pps),
            (Sets::H264(_), Slice::H265(_)) | (Sets::H265(_), Slice::H264(_)) => None,
        }
    }

    /// Reads the header of a slice. `None` where it is damaged, or its sets are not known.
    #[must_use]
    pub fn slice(&self, unit: &[u8]) -> Option<Slice> {
        match self {
            Sets::H264(sets) => h264::Slice::read(unit, sets).map(Slice::H264),
            Sets::H265(sets) => h265::Slice::read(unit, sets).map(Slice::H265),
        }
    }
}

/// The start of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slice {
    /// Of H.264.
    H264(h264::Slice),
    /// Of H.265.
    H265(h265::Slice),
}

/// Where the picture of a slice stands in the order of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Behind all that was decoded before it.
    AsDecoded,
    /// By its picture order count.
    Counted {
        /// Counting begins anew here.
        anew: bool,
        /// Its least significant bits,
        lsb: u32,
        /// of which there are so many, 4 to 16.
        bits: u32,
        /// Counts that follow are told from this one.
        anchor: bool,
    },
    /// By what we do not work out.
    Unknown,
}

impl Slice {
    /// Decoding can begin at its picture, and all before it is shown before it.
    #[must_use]
    pub fn begins_sequence(&self) -> bool {
        match self {
            Slice::H264(slice) => slice.idr,
            Slice::H265(slice) => slice.is_irap(),
        }
    }

    /// Pictures that lead its picture may depend on what stands before it.
    #[must_use]
    pub fn may_open(&self) -> bool {
        match self {
            Slice::H264(_) => false,
            Slice::H265(slice) => slice.is_cra(),
        }
    }

    /// It is of one field of a frame, whose other field may be in the same sample.
    #[must_use]
    pub fn is_field(&self) -> bool {
        match self {
            Slice::H264(slice) => slice.is_field(),
            // Each field is a picture of its own.
            Slice::H265(_) => false,
        }
    }

    /// Its picture follows in decoding order one at which decoding can begin, and is shown before it.
    #[must_use]
    pub fn leads(&self) -> bool {
        match self {
            Slice::H264(_) => false,
            Slice::H265(slice) => slice.leads(),
        }
    }

    /// Where its picture is shown.
    #[must_use]
    pub fn order(&self) -> Order {
        match self {
            Slice::H264(slice) => match slice.order_type {
                0 => Order::Counted {
                    anew: slice.idr,
                    lsb: slice.order_lsb,
                    bits: slice.order_bits,
                    anchor: slice.reference,
                },
                1 => Order::Unknown,
                _ => Order::AsDecoded,
            },
            Slice::H265(slice) => Order::Counted {
                anew: slice.is_irap() && !slice.is_cra(),
                lsb: slice.order_lsb.unwrap_or(0),
                bits: slice.order_bits,
                anchor: slice.is_anchor(),
            },
        }
    }
}

/// Tells where one sample ends.
#[derive(Clone, Copy, Debug)]
pub enum Boundary {
    /// Among slices of H.264.
    H264(h264::Boundary),
    /// Among slice segments of H.265.
    H265(h265::Boundary),
}

impl Boundary {
    /// Nothing is under way.
    #[must_use]
    pub fn new(codec: Codec) -> Boundary {
        match codec {
            Codec::H264 => Boundary::H264(h264::Boundary::default()),
            Codec::H265 => Boundary::H265(h265::Boundary::default()),
        }
    }

    /// Whether a sample begins with this slice, which comes next.
    pub fn begins(&mut self, next: &Slice) -> bool {
        match (self, next) {
            (Boundary::H264(boundary), Slice::H264(next)) => boundary.begins(next),
            (Boundary::H265(boundary), Slice::H265(next)) => boundary.begins(next),
            (Boundary::H264(_), Slice::H265(_)) | (Boundary::H265(_), Slice::H264(_)) => true,
        }
    }

    /// The next slice begins a sample, whatever it is.
    pub fn reset(&mut self) {
        match self {
            Boundary::H264(boundary) => boundary.reset(),
            Boundary::H265(boundary) => boundary.reset(),
        }
    }
}
