//! How frames are coded.

/// A video coding standard that is recorded. Code that depends on it matches both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// ITU-T H.264.
    #[default]
    H264,
    /// ITU-T H.265.
    H265,
}

impl Codec {
    /// Its name, for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Codec::H264 => "H.264",
            Codec::H265 => "H.265",
        }
    }

    /// The other one.
    #[must_use]
    pub fn other(self) -> Codec {
        match self {
            Codec::H264 => Codec::H265,
            Codec::H265 => Codec::H264,
        }
    }
}
