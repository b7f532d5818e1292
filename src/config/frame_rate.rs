//! `video.fps`: a whole number, a decimal, or a fraction; stored as an exact fraction.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

/// Frames a second that a board may have.
const RANGE: std::ops::RangeInclusive<u64> = 1..=120;
/// Maximum number of digits after the decimal point.
const MAX_DECIMALS: usize = 3;
/// Maximum of both numbers of a fraction.
const MAX_PART: u64 = 1_000_000;

/// Frames a second, 1 to 120, as a reduced fraction.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FrameRate {
    numerator: u32,
    denominator: NonZeroU32,
}

impl FrameRate {
    /// `None` outside of 1 to 120 frames a second.
    #[must_use]
    pub fn new(numerator: u32, denominator: u32) -> Option<FrameRate> {
        let divisor = divisor(numerator, denominator).max(1);
        let (numerator, denominator) = (numerator / divisor, denominator / divisor);
        let denominator = NonZeroU32::new(denominator)?;
        let (above, below) = (u64::from(numerator), u64::from(denominator.get()));
        let within = above >= RANGE.start() * below && above <= RANGE.end() * below;
        within.then_some(FrameRate { numerator, denominator })
    }

    /// Reads `15`, `12.5`, `29.97` (an NTSC rate: 30000/1001) or `30000/1001`. The error is for people.
    pub(super) fn parse(text: &str) -> Result<FrameRate, String> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            let number = if digits { text.parse::<u64>().ok() } else { None };
            number.ok_or_else(|| format!("\"{text}\" is not a number"))
        };
        let (numerator, denominator) = match (text.split_once('/'), text.split_once('.')) {
            (Some((above, below)), _) => (number(above.trim())?, number(below.trim())?),
            (None, Some((whole, decimals))) if decimals.len() <= MAX_DECIMALS => {
                let scale = 10_u64.pow(u32::try_from(decimals.len()).unwrap_or(0));
                let value = number(whole)?.saturating_mul(scale).saturating_add(number(decimals)?);
                television(value, scale).unwrap_or((value, scale))
            }
            (None, Some(_)) => return Err(format!("has more than {MAX_DECIMALS} decimals")),
            (None, None) => (number(text)?, 1),
        };
        if numerator > MAX_PART || denominator > MAX_PART {
            return Err(format!("has a number above {MAX_PART}"));
        }
        let part = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        FrameRate::new(part(numerator), part(denominator))
            .ok_or_else(|| format!("is out of range: from {} to {}", RANGE.start(), RANGE.end()))
    }

    /// Frames in [`FrameRate::denominator`] seconds.
    #[must_use]
    pub fn numerator(self) -> u32 {
        self.numerator
    }

    /// Seconds, from 1.
    #[must_use]
    pub fn denominator(self) -> u32 {
        self.denominator.get()
    }

    /// Whole frames in this time.
    #[must_use]
    pub fn frames_in(self, time: Duration) -> u64 {
        let frames =
            time.as_millis() * u128::from(self.numerator) / (1000 * u128::from(self.denominator.get()));
        u64::try_from(frames).unwrap_or(u64::MAX)
    }

    /// The time of frame `count`, counted from 0, in nanoseconds.
    #[must_use]
    pub fn nanos(self, count: u64) -> u64 {
        let second = 1_000_000_000 * u128::from(self.denominator.get());
        u64::try_from(u128::from(count) * second / u128::from(self.numerator.max(1))).unwrap_or(u64::MAX)
    }
}

/// The exact NTSC rate for a rounded decimal: 23.976, 29.97, 59.94, 119.88.
fn television(value: u64, scale: u64) -> Option<(u64, u64)> {
    [24_000, 30_000, 60_000, 120_000]
        .into_iter()
        // Equal within two decimals, and not a whole number.
        .find(|whole| value % scale != 0 && (value * 1001).abs_diff(whole * scale) * 200 < 1001 * scale)
        .map(|whole| (whole, 1001))
}

fn divisor(a: u32, b: u32) -> u32 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// A whole number of frames a second, limited to 1 to 120.
impl From<u32> for FrameRate {
    fn from(whole: u32) -> FrameRate {
        FrameRate { numerator: whole.clamp(1, 120), denominator: NonZeroU32::MIN }
    }
}

/// As GStreamer writes it: `15/1`.
impl fmt::Display for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.numerator, self.denominator)
    }
}

impl fmt::Debug for FrameRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_read_as_exact_fractions() {
        for (text, above, below) in [
            ("15", 15, 1),
            ("120", 120, 1),
            ("12.5", 25, 2),
            ("7.5", 15, 2),
            ("29.97", 30_000, 1001),
            ("23.976", 24_000, 1001),
            ("23.98", 24_000, 1001),
            ("59.94", 60_000, 1001),
            ("119.88", 120_000, 1001),
            ("30.0", 30, 1),
            ("30000/1001", 30_000, 1001),
            ("50/2", 25, 1),
        ] {
            let rate = FrameRate::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
            assert_eq!((rate.numerator(), rate.denominator()), (above, below), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "0",
            "0.5",
            "121",
            "30/0",
            "/",
            "1/",
            "-15",
            "+15",
            "15 fps",
            "1e1",
            "29.9701",
            ".",
            "15.",
            "9999999/99999",
        ] {
            assert!(FrameRate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_fraction_does_not_drift() {
        let rate = FrameRate::new(30_000, 1001).unwrap();
        assert_eq!(rate.nanos(30_000), 1_001_000_000_000);
        assert_eq!(rate.frames_in(Duration::from_secs(2)), 59);
        assert_eq!(FrameRate::from(15).frames_in(Duration::from_secs(2)), 30);
    }
}
