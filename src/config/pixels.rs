//! The layout of raw frames in memory, and the meaning of their values.

/// `video.source.pixels`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pixels {
    /// `nv12`: a luma plane and a plane of both chromas. Accepted by most encoders in hardware.
    Nv12,
    /// `i420`: three planes.
    I420,
    /// `yuy2`: packed 4:2:2, also called YUYV.
    Yuy2,
    /// `uyvy`: packed 4:2:2.
    Uyvy,
    /// `mjpeg`: a JPEG image for each frame, decoded by the agent.
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
