//! From the devices of a board to a board file that works on it, with the reasons as comments. It is a starting point for
//! the person who knows the product.

use crate::config::{EncoderKind, FrameRate, Pixels};
use std::fmt::Write;
use std::path::PathBuf;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The model name of the board.
    pub model: Option<String>,
    /// Of two cameras that are equally good the first is used.
    pub cameras: Vec<Camera>,
    /// The encoders whose element can be created.
    pub encoders: Vec<EncoderKind>,
    /// The value for `audio.source.device`, and the driver's name.
    pub microphones: Vec<(String, String)>,
    /// More lines for the head of the file.
    pub remarks: Vec<String>,
}

/// A camera.
#[derive(Clone, Debug, PartialEq)]
pub struct Camera {
    /// How the agent opens it.
    pub way: Way,
    /// The driver's name for it.
    pub name: String,
    /// The formats that the agent can use.
    pub offers: Vec<Offer>,
}

/// How the agent opens a camera.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    /// By its device node.
    V4l2(PathBuf),
    /// By its name in libcamera, which scales to any size.
    Libcamera(String),
}

/// One codec or pixel layout, and its modes.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// `None` is H.264.
    pub pixels: Option<Pixels>,
    /// Sizes, with their frame rates.
    pub modes: Vec<Mode>,
}

/// A size and its frame rates.
#[derive(Clone, Debug, PartialEq)]
pub struct Mode {
    /// Pixels.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Empty if the driver does not list them.
    pub rates: Vec<FrameRate>,
}

/// The meaning of a V4L2 four-character code: `Some(None)` is H.264, `None` is a format that the agent cannot use.
#[must_use]
pub fn layout(code: [u8; 4]) -> Option<Option<Pixels>> {
    match &code {
        b"H264" => Some(None),
        b"NV12" | b"NM12" => Some(Some(Pixels::Nv12)),
        b"YU12" | b"YM12" => Some(Some(Pixels::I420)),
        b"YUYV" => Some(Some(Pixels::Yuy2)),
        b"UYVY" => Some(Some(Pixels::Uyvy)),
        b"MJPG" | b"JPEG" => Some(Some(Pixels::Mjpeg)),
        _ => None,
    }
}

/// Largest number of lines that is chosen.
const MAX_LINES: u32 = 1080;
/// Highest frame rate that is chosen.
const MAX_RATE: f64 = 30.0;
/// A larger size is not chosen if its frame rate is lower.
const MIN_RATE: f64 = 10.0;
/// An encoder in software must be this many times faster than the camera.
const MARGIN: f64 = 2.0;
/// Sizes of a test card and of libcamera, which scales to any.
const ANY_SIZE: &[(u32, u32)] = &[(1920, 1080), (1280, 720), (640, 360), (320, 180)];

/// Measures the frames a second of an encoder at a layout and a size; `None` if it does not run.
pub type Speed<'a> = dyn FnMut(EncoderKind, Option<Pixels>, (u32, u32)) -> Option<f64> + 'a;

/// The text of a board file.
///
/// # Errors
/// For people, if no file would work: there is no H.264 encoder.
pub fn board_file(found: &Found, speed: &mut Speed<'_>) -> Result<String, String> {
    let taken = take(found, speed)?;
    let mut text = String::from(
        "# Written by kasacamd probe, from what it found. Each choice has its reason beside it.\n",
    );
    if let Some(model) = &found.model {
        comment(&mut text, &format!("Board: {model}"));
    }
    for line in in_words(found) {
        comment(&mut text, &line);
    }
    let name = name(found.model.as_deref());
    let (width, height, fps) = (taken.mode.0, taken.mode.1, taken.fps);
    let _infallible = write!(text, "name = \"{name}\"\n\n[video]\n");
    for reason in &taken.reasons {
        comment(&mut text, reason);
    }
    let _infallible = write!(text, "source = {}\n{}", taken.source, taken.format);
    let fps = if fps.denominator() == 1 { fps.numerator().to_string() } else { format!("\"{fps}\"") };
    let bitrate = bitrate(width, height, taken.fps) / 1000;
    let _infallible =
        writeln!(text, "width = {width}\nheight = {height}\nfps = {fps}\nbitrate = \"{bitrate} kbit/s\"");
    if let Some((device, name)) = found.microphones.first() {
        text.push_str("\n[audio]\n");
        comment(&mut text, &format!("the first microphone: {name}"));
        let _infallible = writeln!(text, "source = {{ kind = \"alsa\", device = {} }}", quoted(device));
    }
    Ok(text)
}

/// What was found, a line for each device.
#[must_use]
pub fn in_words(found: &Found) -> Vec<String> {
    let mut lines = Vec::new();
    for camera in &found.cameras {
        let way = match &camera.way {
            Way::V4l2(path) => path.display().to_string(),
            Way::Libcamera(name) => format!("libcamera {name}"),
        };
        let offers: Vec<String> = camera.offers.iter().map(offer_in_words).collect();
        let offers =
            if offers.is_empty() { String::from("nothing that can be used") } else { offers.join(", ") };
        lines.push(format!("Camera: {way} ({}): {offers}", camera.name));
    }
    if found.cameras.is_empty() {
        lines.push(String::from("Camera: none was found"));
    }
    let encoders: Vec<String> = found.encoders.iter().map(ToString::to_string).collect();
    lines.push(match encoders.as_slice() {
        [] => String::from("Encoders: none"),
        some => format!("Encoders: {}", some.join(", ")),
    });
    for (device, name) in &found.microphones {
        lines.push(format!("Microphone: {device} ({name})"));
    }
    if found.microphones.is_empty() {
        lines.push(String::from("Microphone: none was found"));
    }
    lines.extend(found.remarks.iter().cloned());
    lines
}

fn offer_in_words(offer: &Offer) -> String {
    let name = offer.pixels.map_or("H.264", Pixels::word);
    let largest = offer.modes.iter().max_by_key(|mode| u64::from(mode.width) * u64::from(mode.height));
    match largest {
        Some(mode) => format!("{name} up to {}x{}", mode.width, mode.height),
        None => name.to_owned(),
    }
}

/// The choice for the file, and its reasons.
struct Taken {
    source: String,
    format: String,
    mode: (u32, u32),
    fps: FrameRate,
    reasons: Vec<String>,
}

fn take(found: &Found, speed: &mut Speed<'_>) -> Result<Taken, String> {
    let hardware = found.encoders.iter().copied().find(|kind| is_hardware(*kind));
    let software = found.encoders.iter().copied().find(|kind| !is_hardware(*kind));
    let offers =
        || found.cameras.iter().flat_map(|camera| camera.offers.iter().map(move |offer| (camera, offer)));
    // A camera that encodes needs no processor time.
    for (camera, offer) in offers().filter(|(_, offer)| offer.pixels.is_none()) {
        if let Some((mode, fps)) = best(&offer.modes) {
            let reasons = vec![format!("{} encodes H.264 itself: it is recorded as it is", camera.name)];
            let (source, format) = (source(camera, None), String::from("format = \"h264\"\n"));
            return Ok(Taken { source, format, mode, fps, reasons });
        }
    }
    if let Some(kind) = hardware {
        let raw = offers().filter_map(|(camera, offer)| Some((camera, offer, offer.pixels?)));
        // First what the encoder accepts, then what is cheapest to convert.
        let ranked = raw.min_by_key(|(_, _, pixels)| cost(kind, *pixels));
        if let Some((camera, offer, pixels)) = ranked {
            if let Some((mode, fps)) = best(&offer.modes) {
                let taken = if super::encoder::takes(kind).contains(&pixels) {
                    "as they are"
                } else {
                    "once converted"
                };
                let reasons = vec![
                    format!(
                        "{} delivers {} frames, which the encoder takes {taken}",
                        camera.name,
                        pixels.word()
                    ),
                    format!("{kind} is an encoder in hardware, and can be created here"),
                ];
                let (source, format) = (source(camera, Some(pixels)), encoded(kind));
                return Ok(Taken { source, format, mode, fps, reasons });
            }
        }
    }
    let Some(kind) = software else {
        return Err(no_encoder(found));
    };
    let raw = offers().filter_map(|(camera, offer)| Some((camera, offer, offer.pixels?)));
    if let Some((camera, offer, pixels)) = raw.min_by_key(|(_, _, pixels)| cost(kind, *pixels)) {
        if let Some((mode, fps, measured)) = fast_enough(kind, Some(pixels), &offer.modes, speed) {
            let reasons = vec![
                format!("{} delivers {} frames", camera.name, pixels.word()),
                format!("no encoder in hardware can be created here; {measured}"),
            ];
            let (source, format) = (source(camera, Some(pixels)), encoded(kind));
            return Ok(Taken { source, format, mode, fps, reasons });
        }
    }
    let any: Vec<Mode> = ANY_SIZE.iter().map(|(width, height)| any_rate(*width, *height)).collect();
    let (mode, fps, measured) = fast_enough(kind, None, &any, speed).ok_or_else(|| no_encoder(found))?;
    let reasons = vec![String::from("no usable camera was found: this records a test card"), measured];
    Ok(Taken {
        source: String::from("{ kind = \"test\" }"),
        format: encoded(kind).replace("format = \"raw\"\n", ""),
        mode,
        fps,
        reasons,
    })
}

fn no_encoder(found: &Found) -> String {
    let raw = found.cameras.iter().any(|camera| !camera.offers.is_empty());
    let what = if raw { "the cameras deliver raw frames" } else { "no camera was found that encodes" };
    let advice = super::packages::advice("openh264enc");
    format!("{what}, and no encoder can be created here: {advice}, or the encoder of the board's chip")
}

/// A mode of a source that scales to any size.
#[must_use]
pub fn any_rate(width: u32, height: u32) -> Mode {
    Mode { width, height, rates: [30, 25, 20, 15, 10, 5].map(FrameRate::from).to_vec() }
}

fn source(camera: &Camera, pixels: Option<Pixels>) -> String {
    let pixels = pixels.map(|pixels| format!(", pixels = \"{}\"", pixels.word())).unwrap_or_default();
    match &camera.way {
        Way::V4l2(path) => {
            format!("{{ kind = \"v4l2\", device = {}{pixels} }}", quoted(&path.display().to_string()))
        }
        Way::Libcamera(name) => format!("{{ kind = \"libcamera\", camera = {} }}", quoted(name)),
    }
}

fn encoded(kind: EncoderKind) -> String {
    format!("format = \"raw\"\nencoder = {{ kind = \"{kind}\" }}\n")
}

fn is_hardware(kind: EncoderKind) -> bool {
    match kind {
        EncoderKind::V4l2H264
        | EncoderKind::MppH264
        | EncoderKind::VpuencH264
        | EncoderKind::OmxH264
        | EncoderKind::V4l2H265
        | EncoderKind::MppH265
        | EncoderKind::VpuencHevc
        | EncoderKind::OmxH265 => true,
        EncoderKind::X264 | EncoderKind::OpenH264 | EncoderKind::X265 => false,
    }
}

/// The cost of converting a frame for the encoder.
fn cost(kind: EncoderKind, pixels: Pixels) -> u32 {
    if super::encoder::takes(kind).contains(&pixels) {
        return 0;
    }
    match pixels {
        Pixels::Nv12 | Pixels::I420 => 1,
        Pixels::Yuy2 | Pixels::Uyvy => 2,
        Pixels::Mjpeg => 3,
    }
}

fn value(rate: FrameRate) -> f64 {
    f64::from(rate.numerator()) / f64::from(rate.denominator())
}

/// The highest frame rate of a mode within a limit.
fn rate(mode: &Mode, limit: f64) -> Option<FrameRate> {
    let rates: &[FrameRate] = if mode.rates.is_empty() { &[] } else { &mode.rates };
    let within = rates.iter().copied().filter(|rate| value(*rate) <= limit + 0.01);
    within.max_by(|a, b| value(*a).total_cmp(&value(*b)))
}

/// Modes that may be chosen, the largest first.
fn by_size(modes: &[Mode]) -> Vec<&Mode> {
    let usable = |mode: &&Mode| {
        mode.height <= MAX_LINES
            && mode.width >= 16
            && mode.height >= 16
            && (mode.width | mode.height) % 2 == 0
    };
    let mut modes: Vec<&Mode> = modes.iter().filter(usable).collect();
    modes.sort_by_key(|mode| std::cmp::Reverse(u64::from(mode.width) * u64::from(mode.height)));
    modes
}

/// The largest size with a sufficient frame rate; otherwise the one with the highest rate.
fn best(modes: &[Mode]) -> Option<((u32, u32), FrameRate)> {
    let with_rate = |mode: &&Mode| {
        let listed = rate(mode, MAX_RATE);
        // A driver that lists no rates accepts the requested one, or fails when it is opened.
        let rate = if mode.rates.is_empty() { Some(FrameRate::from(15)) } else { listed };
        Some(((mode.width, mode.height), rate?))
    };
    let modes = by_size(modes);
    let all: Vec<_> = modes.iter().filter_map(with_rate).collect();
    let often = all.iter().find(|(_, rate)| value(*rate) >= MIN_RATE);
    often.or_else(|| all.iter().max_by(|a, b| value(a.1).total_cmp(&value(b.1)))).copied()
}

/// The largest size for which an encoder in software is fast enough, and the measurement.
fn fast_enough(
    kind: EncoderKind,
    pixels: Option<Pixels>,
    modes: &[Mode],
    speed: &mut Speed<'_>,
) -> Option<((u32, u32), FrameRate, String)> {
    let mut slow = None;
    for mode in by_size(modes) {
        let size = (mode.width, mode.height);
        let Some(measured) = speed(kind, pixels, size) else { continue };
        let unknown = Mode { rates: vec![FrameRate::from(15)], ..mode.clone() };
        let mode = if mode.rates.is_empty() { &unknown } else { mode };
        let Some(fps) = rate(mode, MAX_RATE.min(measured / MARGIN)) else { continue };
        let measurement = format!(
            "{kind} encoded {measured:.0} frames a second of {}x{} here; at most half of that is used",
            size.0, size.1
        );
        if value(fps) >= MIN_RATE {
            return Some((size, fps, measurement));
        }
        slow = Some((size, fps, measurement));
    }
    slow
}

/// Bits a second: about a tenth of a bit a pixel, from 200 kbit/s to 8 Mbit/s, in steps of 100 kbit/s.
fn bitrate(width: u32, height: u32, fps: FrameRate) -> u64 {
    let pixels =
        u64::from(width) * u64::from(height) * u64::from(fps.numerator()) / u64::from(fps.denominator());
    (pixels / 10).next_multiple_of(100_000).clamp(200_000, 8_000_000)
}

fn name(model: Option<&str>) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let name: String = model.unwrap_or_default().chars().map(plain).take(64).collect();
    let parts: Vec<&str> = name.split('-').filter(|part| !part.is_empty()).collect();
    if parts.is_empty() { String::from("probed") } else { parts.join("-") }
}

/// A string of TOML.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn comment(text: &mut String, line: &str) {
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).take(240).collect();
    let _infallible = writeln!(text, "# {line}");
}
