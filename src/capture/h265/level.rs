//! Levels (A.4.1 and A.4.2, tables A.8 and A.9): the lowest that a picture size, a rate and a bit rate fit into.

use crate::config::FrameRate;

/// A row of the tables.
struct Level {
    name: &'static str,
    /// `MaxLumaPs`: samples a picture.
    size: u64,
    /// `MaxLumaSr`: samples a second.
    rate: u64,
    /// `MaxBR` of the main tier: kbit/s.
    kilobits: u64,
}

const fn level(name: &'static str, size: u64, rate: u64, kilobits: u64) -> Level {
    Level { name, size, rate, kilobits }
}

const LEVELS: [Level; 13] = [
    level("1", 36_864, 552_960, 128),
    level("2", 122_880, 3_686_400, 1_500),
    level("2.1", 245_760, 7_372_800, 3_000),
    level("3", 552_960, 16_588_800, 6_000),
    level("3.1", 983_040, 33_177_600, 10_000),
    level("4", 2_228_224, 66_846_720, 12_000),
    level("4.1", 2_228_224, 133_693_440, 20_000),
    level("5", 8_912_896, 267_386_880, 25_000),
    level("5.1", 8_912_896, 534_773_760, 40_000),
    level("5.2", 8_912_896, 1_069_547_520, 60_000),
    level("6", 35_651_584, 1_069_547_520, 60_000),
    level("6.1", 35_651_584, 2_139_095_040, 120_000),
    level("6.2", 35_651_584, 4_278_190_080, 240_000),
];

/// The lowest level of pictures of this size in pixels, this rate and this bit rate in bits a second, as GStreamer writes
/// it: `4`, `4.1`. The highest where none is enough.
#[must_use]
pub fn level_of(width: u32, height: u32, fps: FrameRate, bitrate: u64) -> &'static str {
    let (width, height) = (u64::from(width), u64::from(height));
    let size = width * height;
    let rate = (u128::from(size) * u128::from(fps.numerator())).div_ceil(u128::from(fps.denominator()));
    let fits = |level: &&Level| {
        // Neither side is longer than the root of eight times MaxLumaPs.
        let side = 8 * level.size;
        size <= level.size
            && width * width <= side
            && height * height <= side
            && rate <= u128::from(level.rate)
            && bitrate <= level.kilobits * 1000
    };
    LEVELS.iter().find(fits).map_or("6.2", |level| level.name)
}
