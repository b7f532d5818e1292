//! Levels of both codecs: the lowest one for a frame size, a frame rate and a bit rate.

use crate::config::FrameRate;

/// A row of a table of levels.
pub(super) struct Level {
    name: &'static str,
    /// Maximum units a second: macroblocks (`MaxMBPS`) or luma samples (`MaxLumaSr`).
    rate: u64,
    /// Maximum units a frame (`MaxFS`, `MaxLumaPs`).
    size: u64,
    /// Maximum bit rate in kbit/s (`MaxBR`).
    kilobits: u64,
}

/// A row: its name, units a second, units a frame, and kbit/s.
pub(super) const fn level(name: &'static str, rate: u64, size: u64, kilobits: u64) -> Level {
    Level { name, rate, size, kilobits }
}

/// The name of the lowest level for frames of `columns` by `rows` units, as GStreamer writes it: `4`, `4.1`. `bitrate` is in
/// bits a second. The highest level if none is sufficient.
pub(super) fn lowest(
    levels: &[Level],
    (columns, rows): (u32, u32),
    fps: FrameRate,
    bitrate: u64,
) -> &'static str {
    let (columns, rows) = (u64::from(columns), u64::from(rows));
    let size = columns * rows;
    let rate = (u128::from(size) * u128::from(fps.numerator())).div_ceil(u128::from(fps.denominator()));
    let fits = |level: &&Level| {
        // Neither side is longer than the square root of eight times the size.
        let side = 8 * level.size;
        size <= level.size
            && columns * columns <= side
            && rows * rows <= side
            && rate <= u128::from(level.rate)
            && bitrate <= level.kilobits * 1000
    };
    levels.iter().find(fits).or(levels.last()).map_or("", |level| level.name)
}
