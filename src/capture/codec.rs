//! The supported codecs behind one interface: each question about a NAL unit is answered by the parser of H.264 or
//! of H.265.

pub use super::role::Role;
pub use super::sets::SequenceFormat;

use super::{h264, h265};
use crate::domain::codec::Codec;
use bytes::Bytes;

/// The role of this NAL unit.
#[must_use]
pub fn role(codec: Codec, unit: &[u8]) -> Role {
    match codec {
        Codec::H264 => h264::role(unit),
        Codec::H265 => h265::role(unit),
    }
}

/// Whether the NAL unit is an access unit delimiter, which is the first of its access unit.
#[must_use]
pub fn is_delimiter(codec: Codec, unit: &[u8]) -> bool {
    match codec {
        Codec::H264 => h264::nal::kind(unit) == h264::nal::DELIMITER,
        Codec::H265 => h265::nal::kind(unit) == Some(h265::nal::DELIMITER),
    }
}

/// Whether the NAL unit is a sequence parameter set of this codec, and not of another.
#[must_use]
pub fn is_sequence_set(codec: Codec, unit: &[u8]) -> bool {
    match codec {
        Codec::H264 => h264::nal::kind(unit) == h264::nal::SPS && h264::Sps::read(unit).is_some(),
        Codec::H265 => h265::nal::kind(unit) == Some(h265::nal::SPS) && h265::Sps::read(unit).is_some(),
    }
}

/// The parameter sets of a stream so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sets {
    /// Of H.264.
    H264(h264::ParameterSets),
    /// Of H.265.
    H265(h265::ParameterSets),
}

impl Sets {
    /// No parameter sets yet.
    #[must_use]
    pub fn new(codec: Codec) -> Sets {
        match codec {
            Codec::H264 => Sets::H264(h264::ParameterSets::default()),
            Codec::H265 => Sets::H265(h265::ParameterSets::default()),
        }
    }

    /// Their codec.
    #[must_use]
    pub fn codec(&self) -> Codec {
        match self {
            Sets::H264(_) => Codec::H264,
            Sets::H265(_) => Codec::H265,
        }
    }

    /// All of them as NAL units, each after those that it refers to.
    #[must_use]
    pub fn nals(&self) -> Vec<&Bytes> {
        match self {
            Sets::H264(sets) => sets.nals().collect(),
            Sets::H265(sets) => sets.nals().collect(),
        }
    }

    /// Stores a parameter set; returns whether anything changed.
    pub fn learn(&mut self, unit: &Bytes) -> bool {
        match self {
            Sets::H264(sets) => sets.learn(unit),
            Sets::H265(sets) => sets.learn(unit),
        }
    }

    /// Stores the sets of a decoder configuration record (ISO/IEC 14496-15, 5.3.3.1 and 8.3.3.1). Returns the size of
    /// the length before each NAL unit, in bytes; `None` if the record is damaged.
    pub fn learn_record(&mut self, record: &Bytes) -> Option<usize> {
        match self {
            Sets::H264(sets) => sets.learn_record(record),
            Sets::H265(sets) => sets.learn_record(record),
        }
    }

    /// The format of the sequence that this slice belongs to.
    #[must_use]
    pub fn format(&self, slice: &Slice) -> Option<SequenceFormat> {
        match (self, slice) {
            (Sets::H264(sets), Slice::H264(slice)) => sets.format(slice.pps),
            (Sets::H265(sets), Slice::H265(slice)) => sets.format(slice.pps),
            (Sets::H264(_), Slice::H265(_)) | (Sets::H265(_), Slice::H264(_)) => None,
        }
    }

    /// Reads the header of a slice. `None` if it is damaged, or its sets are not known.
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

/// The place of a picture in output order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// After all pictures that were decoded before it.
    AsDecoded,
    /// By its picture order count.
    Counted {
        /// The count restarts here.
        anew: bool,
        /// The least significant bits of the count.
        lsb: u32,
        /// Their number, 4 to 16.
        bits: u32,
        /// Later counts are relative to this one.
        anchor: bool,
    },
    /// By a rule that is not supported.
    Unknown,
}

impl Slice {
    /// Decoding can begin at its picture, and all earlier pictures are presented before it.
    #[must_use]
    pub fn begins_sequence(&self) -> bool {
        match self {
            Slice::H264(slice) => slice.idr,
            Slice::H265(slice) => slice.is_irap(),
        }
    }

    /// Pictures that lead its picture may depend on earlier ones.
    #[must_use]
    pub fn may_open(&self) -> bool {
        match self {
            Slice::H264(_) => false,
            Slice::H265(slice) => slice.is_cra(),
        }
    }

    /// It belongs to one field of a frame; the other field may be in the same sample.
    #[must_use]
    pub fn is_field(&self) -> bool {
        match self {
            Slice::H264(slice) => slice.is_field(),
            // Each field is a picture of its own.
            Slice::H265(_) => false,
        }
    }

    /// Its picture is a leading picture: decoded after one at which decoding can begin, and presented before it.
    #[must_use]
    pub fn leads(&self) -> bool {
        match self {
            Slice::H264(_) => false,
            Slice::H265(slice) => slice.leads(),
        }
    }

    /// The place of its picture in output order.
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

/// Finds the boundaries of samples.
#[derive(Clone, Copy, Debug)]
pub enum Boundary {
    /// Among slices of H.264.
    H264(h264::Boundary),
    /// Among slice segments of H.265.
    H265(h265::Boundary),
}

impl Boundary {
    /// At the start of a stream.
    #[must_use]
    pub fn new(codec: Codec) -> Boundary {
        match codec {
            Codec::H264 => Boundary::H264(h264::Boundary::default()),
            Codec::H265 => Boundary::H265(h265::Boundary::default()),
        }
    }

    /// Whether a sample begins with the next slice.
    pub fn begins(&mut self, next: &Slice) -> bool {
        match (self, next) {
            (Boundary::H264(boundary), Slice::H264(next)) => boundary.begins(next),
            (Boundary::H265(boundary), Slice::H265(next)) => boundary.begins(next),
            (Boundary::H264(_), Slice::H265(_)) | (Boundary::H265(_), Slice::H264(_)) => true,
        }
    }

    /// The next slice begins a sample in any case.
    pub fn reset(&mut self) {
        match self {
            Boundary::H264(boundary) => boundary.reset(),
            Boundary::H265(boundary) => boundary.reset(),
        }
    }
}
