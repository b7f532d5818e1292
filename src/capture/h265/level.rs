//! Levels of H.265 (A.4.1 and A.4.2, tables A.8 and A.9).

use crate::capture::level::{Level, level, lowest};
use crate::config::FrameRate;

/// Tables A.8 and A.9: luma samples a second, luma samples a frame, and kbit/s of the main tier.
const LEVELS: [Level; 13] = [
    level("1", 552_960, 36_864, 128),
    level("2", 3_686_400, 122_880, 1_500),
    level("2.1", 7_372_800, 245_760, 3_000),
    level("3", 16_588_800, 552_960, 6_000),
    level("3.1", 33_177_600, 983_040, 10_000),
    level("4", 66_846_720, 2_228_224, 12_000),
    level("4.1", 133_693_440, 2_228_224, 20_000),
    level("5", 267_386_880, 8_912_896, 25_000),
    level("5.1", 534_773_760, 8_912_896, 40_000),
    level("5.2", 1_069_547_520, 8_912_896, 60_000),
    level("6", 1_069_547_520, 35_651_584, 60_000),
    level("6.1", 2_139_095_040, 35_651_584, 120_000),
    level("6.2", 4_278_190_080, 35_651_584, 240_000),
];

/// The lowest level for frames of this size in pixels, this frame rate and this bit rate in bits a second, as GStreamer
/// writes it: `4`, `4.1`. The highest level if none is sufficient.
#[must_use]
pub fn level_of(width: u32, height: u32, fps: FrameRate, bitrate: u64) -> &'static str {
    lowest(&LEVELS, (width, height), fps, bitrate)
}
