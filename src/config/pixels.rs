//! How raw pictures lie in memory, and what their numbers mean.

/// `video.source.pixels`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pixels {
    /// `nv12`: a plane of luma, a plane of both chromas. What encoders in hardware take.
    Nv12,
    /// `i420`: three planes.
    I420,
    /// `yuy2`: packed 4:2:2, also called YUYV.
    Yuy2,
    /// `uyvy`: packed 4:2:2.
    Uyvy,
    /// `mjpeg`: a JPEG image for each picture, decoded by us.
    Mjpeg,
}

/// `video.colorimetry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colorimetry {
    /// `bt601`: ITU-R BT.601, of standard definition.
    Bt601,
    /// `bt709`: ITU-R BT.709, of high definition.
    Bt709,
}
