//! Levels of H.264 (A.3, table A-1).

use crate::capture::level::{Level, level, lowest};
use crate::config::FrameRate;

/// Table A-1: macroblocks a second, macroblocks a frame, and kbit/s of Baseline and Main (High allows a quarter more, which
/// is not used). Without level 1b, which drivers name differently.
const LEVELS: [Level; 19] = [
    level("1", 1_485, 99, 64),
    level("1.1", 3_000, 396, 192),
    level("1.2", 6_000, 396, 384),
    level("1.3", 11_880, 396, 768),
    level("2", 11_880, 396, 2_000),
    level("2.1", 19_800, 792, 4_000),
    level("2.2", 20_250, 1_620, 4_000),
    level("3", 40_500, 1_620, 10_000),
    level("3.1", 108_000, 3_600, 14_000),
    level("3.2", 216_000, 5_120, 20_000),
    level("4", 245_760, 8_192, 20_000),
    level("4.1", 245_760, 8_192, 50_000),
    level("4.2", 522_240, 8_704, 50_000),
    level("5", 589_824, 22_080, 135_000),
    level("5.1", 983_040, 36_864, 240_000),
    level("5.2", 2_073_600, 36_864, 240_000),
    level("6", 4_177_920, 139_264, 240_000),
    level("6.1", 8_355_840, 139_264, 480_000),
    level("6.2", 16_711_680, 139_264, 800_000),
];

/// The lowest level for frames of this size in pixels, this frame rate and this bit rate in bits a second, as GStreamer
/// writes it: `4`, `4.1`. The highest level if none is sufficient.
#[must_use]
pub fn level_of(width: u32, height: u32, fps: FrameRate, bitrate: u64) -> &'static str {
    lowest(&LEVELS, (width.div_ceil(16), height.div_ceil(16)), fps, bitrate)
}
