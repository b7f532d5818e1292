//! The role of a NAL unit, for both codecs.

/// The role of a NAL unit in its access unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A slice of a picture.
    Slice,
    /// A parameter set. It belongs to the next picture.
    Set,
    /// It belongs to the next picture.
    Ahead,
    /// It belongs to the picture before it.
    Behind,
    /// The same, and it ends a sequence: the next picture depends on no earlier one.
    End,
    /// It is dropped.
    Foreign,
}
