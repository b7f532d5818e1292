//! Cameras of the kernel (V4L2), and what they give: asked by ioctl, without filming. A node is opened for that and closed
//! again; no format is set, no buffer asked for, no stream started.

use nix::fcntl::OFlag;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Nodes that are looked at, formats of a node, sizes of a format, rates of a size.
const MAX_NODES: usize = 64;
const MAX_FORMATS: u32 = 32;
const MAX_SIZES: u32 = 64;
const MAX_RATES: u32 = 64;

/// A node of `/dev` that frames come out of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Camera {
    /// Such as `/dev/video0`.
    pub path: PathBuf,
    /// As its driver calls it, in printable characters.
    pub card: String,
    /// In the order in which the driver tells them.
    pub formats: Vec<Format>,
}

/// A layout of pixels, or a coding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// The four characters of `linux/videodev2.h`, such as `YUYV` or `H264`.
    pub code: [u8; 4],
    /// What it comes in.
    pub sizes: Vec<Size>,
}

/// A size, and how often it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Size {
    /// Pixels.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Frames a second as fractions; empty where the driver does not say.
    pub rates: Vec<(u32, u32)>,
}

/// Sizes that are tried where a camera gives any.
const USUAL_SIZES: &[(u32, u32)] =
    &[(2560, 1440), (2304, 1296), (1920, 1080), (1280, 720), (640, 480), (640, 360), (320, 240), (320, 180)];
/// Rates that are told where a camera gives any.
const USUAL_RATES: &[u32] = &[30, 25, 20, 15, 10, 5];

const CAPTURE: u32 = 0x1;
const CAPTURE_MPLANE: u32 = 0x1000;
const M2M: u32 = 0x8000;
const M2M_MPLANE: u32 = 0x4000;
const DEVICE_CAPS: u32 = 0x8000_0000;
const DISCRETE: u32 = 1;

#[repr(C)]
#[derive(Clone, Copy)]
struct Capability {
    driver: [u8; 16],
    card: [u8; 32],
    bus: [u8; 32],
    version: u32,
    capabilities: u32,
    device_caps: u32,
    reserved: [u32; 3],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct FormatDescription {
    index: u32,
    kind: u32,
    flags: u32,
    description: [u8; 32],
    code: u32,
    bus_code: u32,
    reserved: [u32; 3],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct FrameSize {
    index: u32,
    code: u32,
    kind: u32,
    /// Width and height; or of each the least, the most and the step.
    sides: [u32; 6],
    reserved: [u32; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct FrameInterval {
    index: u32,
    code: u32,
    width: u32,
    height: u32,
    kind: u32,
    /// A fraction of a second; or three of them, the least, the most and the step.
    fractions: [u32; 6],
    reserved: [u32; 2],
}

#[repr(C, packed)]
#[derive(Clone, Copy)]
struct Control {
    id: u32,
    size: u32,
    reserved: u32,
    value: i64,
}

#[repr(C)]
struct Controls {
    which: u32,
    count: u32,
    error: u32,
    request: i32,
    reserved: u32,
    controls: *mut Control,
}

/// Controls of codecs, by the names that GStreamer has for them: offsets from `V4L2_CID_CODEC_BASE` of
/// `linux/v4l2-controls.h`.
const CONTROLS: &[(&str, u32)] = &[
    ("video_b_frames", 202),
    ("video_gop_size", 203),
    ("video_bitrate_mode", 206),
    ("video_bitrate", 207),
    ("video_peak_bitrate", 208),
    ("repeat_sequence_header", 226),
    ("h264_i_frame_qp_value", 350),
    ("h264_p_frame_qp_value", 351),
    ("h264_minimum_qp_value", 353),
    ("h264_maximum_qp_value", 354),
    ("h264_entropy_mode", 357),
    ("h264_i_frame_period", 358),
    ("h264_level", 359),
    ("h264_profile", 363),
];
const CODEC_BASE: u32 = 0x0099_0900;

// `linux/videodev2.h`: the size is part of the number of each request.
const _: () = assert!(size_of::<Capability>() == 104);
const _: () = assert!(size_of::<FormatDescription>() == 64);
const _: () = assert!(size_of::<FrameSize>() == 44);
const _: () = assert!(size_of::<FrameInterval>() == 52);
const _: () = assert!(size_of::<Control>() == 20);

nix::ioctl_read!(
    /// `VIDIOC_QUERYCAP`.
    query_capability, b'V', 0, Capability);
nix::ioctl_readwrite!(
    /// `VIDIOC_ENUM_FMT`.
    enumerate_formats, b'V', 2, FormatDescription);
nix::ioctl_readwrite!(
    /// `VIDIOC_ENUM_FRAMESIZES`.
    enumerate_sizes, b'V', 74, FrameSize);
nix::ioctl_readwrite!(
    /// `VIDIOC_ENUM_FRAMEINTERVALS`.
    enumerate_intervals, b'V', 75, FrameInterval);

nix::ioctl_readwrite!(
    /// `VIDIOC_G_EXT_CTRLS`.
    get_controls,
    b'V',
    71,
    Controls
);

/// What a control stands at, by the name that GStreamer has for it; `None` where the device has it not, or it is none of
/// a codec that is known here.
#[must_use]
pub fn control(device: BorrowedFd<'_>, name: &str) -> Option<i64> {
    let (_, offset) = CONTROLS.iter().find(|(known, _)| *known == name)?;
    let mut control = Control { id: CODEC_BASE + offset, size: 0, reserved: 0, value: 0 };
    let mut controls =
        Controls { which: 0, count: 1, error: 0, request: 0, reserved: 0, controls: &raw mut control };
    // SAFETY: the device is open, the structures are the kernel's by layout and size, and both outlive the call.
    unsafe { get_controls(device.as_raw_fd(), &raw mut controls) }.ok()?;
    // Each of these is a 32-bit value: the rest of the field is the kernel's to leave as it is.
    let value = control.value.to_ne_bytes();
    let [a, b, c, d, ..] = value;
    Some(i64::from(i32::from_ne_bytes([a, b, c, d])))
}

/// Every camera of this machine that this user may ask, by the number of its node; and those that may not be asked, with
/// the reason.
#[must_use]
pub fn all() -> (Vec<Camera>, Vec<String>) {
    let mut paths: Vec<(u32, PathBuf)> = std::fs::read_dir("/dev")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((name.strip_prefix("video")?.parse().ok()?, entry.path()))
        })
        .collect();
    paths.sort();
    let (mut cameras, mut refused) = (Vec::new(), Vec::new());
    for (_, path) in paths.into_iter().take(MAX_NODES) {
        match of(&path) {
            Ok(Some(camera)) => cameras.push(camera),
            Ok(None) => {}
            Err(why) => refused.push(format!("{}: {why}", path.display())),
        }
    }
    (cameras, refused)
}

/// What a node gives; `None` where it is no camera.
///
/// # Errors
/// Where it cannot be opened, or is no node of V4L2.
pub fn of(path: &Path) -> std::io::Result<Option<Camera>> {
    let node = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).bits())
        .open(path)?;
    let mut found = Capability {
        driver: [0; 16],
        card: [0; 32],
        bus: [0; 32],
        version: 0,
        capabilities: 0,
        device_caps: 0,
        reserved: [0; 3],
    };
    // SAFETY: the node is open, and the structure is the kernel's by layout and size.
    unsafe { query_capability(node.as_raw_fd(), &raw mut found) }?;
    let able = if found.capabilities & DEVICE_CAPS != 0 { found.device_caps } else { found.capabilities };
    // 1 and 9 of `enum v4l2_buf_type`.
    let kind = match (able & CAPTURE != 0, able & CAPTURE_MPLANE != 0) {
        _ if able & (M2M | M2M_MPLANE) != 0 => return Ok(None),
        (true, _) => 1,
        (false, true) => 9,
        (false, false) => return Ok(None),
    };
    Ok(Some(Camera { path: path.to_owned(), card: text(&found.card), formats: formats(&node, kind) }))
}

fn formats(node: &File, kind: u32) -> Vec<Format> {
    let described = (0..MAX_FORMATS).map_while(|index| {
        let mut described = FormatDescription { index, kind, ..FormatDescription::default() };
        // SAFETY: as above.
        unsafe { enumerate_formats(node.as_raw_fd(), &raw mut described) }.ok()?;
        Some(described.code)
    });
    described.map(|code| Format { code: code.to_le_bytes(), sizes: sizes(node, code) }).collect()
}

fn sizes(node: &File, code: u32) -> Vec<Size> {
    let mut sizes = Vec::new();
    for index in 0..MAX_SIZES {
        let mut found = FrameSize { index, code, ..FrameSize::default() };
        // SAFETY: as above.
        if unsafe { enumerate_sizes(node.as_raw_fd(), &raw mut found) }.is_err() {
            break;
        }
        let [width, height, ..] = found.sides;
        if found.kind == DISCRETE {
            sizes.push((width, height));
            continue;
        }
        let [least, most, step, lowest, highest, rise] = found.sides;
        let fits = |side: u32, least: u32, most: u32, step: u32| {
            side >= least && side <= most && (side - least) % step.max(1) == 0
        };
        let fit = |(width, height): &&(u32, u32)| {
            fits(*width, least, most, step) && fits(*height, lowest, highest, rise)
        };
        sizes.extend(USUAL_SIZES.iter().filter(fit));
        break;
    }
    let with_rates = |(width, height)| Size { width, height, rates: rates(node, code, width, height) };
    sizes.into_iter().map(with_rates).collect()
}

fn rates(node: &File, code: u32, width: u32, height: u32) -> Vec<(u32, u32)> {
    let mut rates = Vec::new();
    for index in 0..MAX_RATES {
        let mut found = FrameInterval { index, code, width, height, ..FrameInterval::default() };
        // SAFETY: as above.
        if unsafe { enumerate_intervals(node.as_raw_fd(), &raw mut found) }.is_err() {
            break;
        }
        // A rate is one over an interval.
        let [seconds, of, longest, of_longest, ..] = found.fractions;
        if found.kind == DISCRETE {
            rates.push((of, seconds));
            continue;
        }
        let within = |rate: &&u32| {
            let (rate, times) = (u64::from(**rate), |a: u32, b: u64| u64::from(a) * b);
            times(seconds, rate) <= u64::from(of) && times(longest, rate) >= u64::from(of_longest)
        };
        rates.extend(USUAL_RATES.iter().filter(within).map(|rate| (*rate, 1)));
        break;
    }
    rates
}

/// What a driver says, without control characters.
fn text(bytes: &[u8]) -> String {
    let bytes = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_camera_is_told_apart() {
        assert!(of(Path::new("/dev/null")).is_err(), "no node of V4L2");
        assert!(of(Path::new("/dev/video-that-is-not-there")).is_err());
    }

    #[test]
    fn what_a_driver_says_ends_at_its_zero() {
        assert_eq!(text(b"vivid\0\0rest"), "vivid");
        assert_eq!(text(b"a\nb"), "ab");
    }
}
