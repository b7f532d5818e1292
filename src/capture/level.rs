//! Levels of H.264 (ITU-T H.264, A.3, table A-1): the lowest that a picture size, a rate and a bit rate fit into.

use crate::config::FrameRate;

/// A row of table A-1.
struct Level {
    name: &'static str,
    /// `MaxMBPS`: macroblocks a second.
    rate: u64,
    /// `MaxFS`: macroblocks a picture.
    size: u64,
    /// `MaxBR`: kbit/s of Baseline and Main; High has a quarter more, which is left unused here.
    kilobits: u64,
}

const fn level(name: &'static str, rate: u64, size: u64, kilobits: u64) -> Level {
    Level { name, rate, size, kilobits }
}

/// Without 1b, which drivers name differently.
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

/// The lowest level of pictures of this size in pixels, this rate and this bit rate in bits a second, as GStreamer writes
/// it: `4`, `4.1`. The highest where none is enough.
#[must_use]
pub fn of(width: u32, height: u32, fps: FrameRate, bitrate: u64) -> &'static str {
    let (columns, rows) = (u64::from(width.div_ceil(16)), u64::from(height.div_ceil(16)));
    let size = columns * rows;
    let rate = (size * u64::from(fps.numerator())).div_ceil(u64::from(fps.denominator()));
    let fits = |level: &&Level| {
        // A.3.1: neither side is longer than the root of eight times MaxFS.
        let side = 8 * level.size;
        size <= level.size
            && columns * columns <= side
            && rows * rows <= side
            && rate <= level.rate
            && bitrate <= level.kilobits * 1000
    };
    LEVELS.iter().find(fits).map_or("6.2", |level| level.name)
}
