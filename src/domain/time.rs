//! Two kinds of time, kept apart by type.
//!
//! [`Mono`] is `CLOCK_MONOTONIC`: it never steps, and means nothing after a reboot. [`Utc`] is civil time: it
//! may step, and is only as good as the clock that it was read from. GStreamer's system clock is the same
//! `CLOCK_MONOTONIC`, so the [`Mono`] of a frame and of the agent can be compared directly.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// Nanoseconds of `CLOCK_MONOTONIC` since boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mono(pub u64);

impl Mono {
    /// The time from `earlier` to `self`, zero where `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Mono) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Mono {
    type Output = Mono;
    fn add(self, rhs: Duration) -> Mono {
        Mono(self.0.saturating_add(u64::try_from(rhs.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// Nanoseconds since 1970-01-01T00:00:00Z, leap seconds not counted. Good from 1678 to 2262.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Utc(pub i64);

impl Utc {
    /// Parses an RFC 3339 time that ends in `Z` (the contract allows no other offset), from 1970 on. A leap
    /// second reads as the second before it; what is finer than a nanosecond is dropped.
    ///
    /// All arithmetic has 64 bits: the C library's time ends in 2038 on 32-bit ARM, and a lease may end
    /// later.
    pub fn parse(text: &str) -> Option<Utc> {
        let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
        let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
        let (clock, fraction) = time.split_once('.').map_or((time, None), |(clock, f)| (clock, Some(f)));
        let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days_of_month = match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        if year < 1970 || !(1..=days_of_month).contains(&day) || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        let nanos = match fraction {
            Some(digits) if !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit()) => {
                format!("{digits:0<9}").get(..9)?.parse().ok()?
            }
            Some(_) => return None,
            None => 0,
        };
        // Years that begin on 1 March, so that the leap day comes last; as in `civil`.
        let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
        let days =
            year * 365 + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
        let secs = days * 86_400 + hour * 3600 + minute * 60 + second.min(59);
        secs.checked_mul(1_000_000_000)?.checked_add(nanos).map(Utc)
    }

    /// From whole seconds of Unix time; clamped to the range that nanoseconds can express.
    #[must_use]
    pub fn from_secs(secs: i64) -> Utc {
        Utc(secs.saturating_mul(1_000_000_000))
    }

    /// The time from `earlier` to `self`, zero where `earlier` is later.
    #[must_use]
    pub fn since(self, earlier: Utc) -> Duration {
        Duration::from_nanos(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Rounds down to a whole microsecond, the resolution of an object's key.
    #[must_use]
    pub fn floor_micros(self) -> Utc {
        Utc(self.0.div_euclid(1000).saturating_mul(1000))
    }

    /// Year, month, day, hour, minute, second and microsecond of the proleptic Gregorian calendar.
    #[must_use]
    pub fn civil(self) -> Civil {
        let secs = self.0.div_euclid(1_000_000_000);
        let (days, of_day) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
        // Counted in eras of 400 years that begin on 1 March, so that the leap day comes last.
        let shifted = days + 719_468;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Civil {
            year,
            month,
            day,
            hour: of_day / 3600,
            minute: of_day / 60 % 60,
            second: of_day % 60,
            micros: self.0.rem_euclid(1_000_000_000) / 1000,
        }
    }
}

/// Three numbers of exactly these many digits.
fn numbers(text: &str, separator: char, digits: [usize; 3]) -> Option<[i64; 3]> {
    let mut found = [0; 3];
    let mut parts = text.split(separator);
    for (number, digits) in found.iter_mut().zip(digits) {
        let part = parts.next()?;
        if part.len() != digits || !part.bytes().all(|it| it.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(found)
}

/// A [`Utc`] in the fields of the civil calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    /// Gregorian year, such as 2026.
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// Day of the month, 1 to 31.
    pub day: i64,
    /// 0 to 23.
    pub hour: i64,
    /// 0 to 59.
    pub minute: i64,
    /// 0 to 59: leap seconds are not counted.
    pub second: i64,
    /// Microseconds within the second, 0 to 999,999.
    pub micros: i64,
}

/// RFC 3339 with six fractional digits: `2026-11-23T12:00:00.000000Z`.
impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let c = self.civil();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
            c.year, c.month, c.day, c.hour, c.minute, c.second, c.micros
        )
    }
}

impl serde::Serialize for Utc {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Utc {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Utc, D::Error> {
        let text = String::deserialize(deserializer)?;
        Utc::parse(&text).ok_or_else(|| serde::de::Error::custom("not an RFC 3339 time that ends in Z"))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Utc {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Utc".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "RFC 3339 in UTC: it ends in Z.",
            "type": "string",
            "format": "date-time",
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]+)?Z$",
        })
    }
}

impl Add<Duration> for Utc {
    type Output = Utc;
    fn add(self, rhs: Duration) -> Utc {
        Utc(self.0.saturating_add(i64::try_from(rhs.as_nanos()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Utc {
    type Output = Utc;
    fn sub(self, rhs: Duration) -> Utc {
        Utc(self.0.saturating_sub(i64::try_from(rhs.as_nanos()).unwrap_or(i64::MAX)))
    }
}

/// The three readings that every decision receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// `CLOCK_MONOTONIC`.
    pub mono: Mono,
    /// `CLOCK_REALTIME`, whether right or wrong.
    pub system: Utc,
    /// The kernel says that the clock is synchronised (or the configuration says to treat it as such).
    pub synchronised: bool,
}

impl Now {
    /// `CLOCK_REALTIME - CLOCK_MONOTONIC` in nanoseconds: constant until the clock is stepped.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.system.0.saturating_sub(i64::try_from(self.mono.0).unwrap_or(i64::MAX))
    }

    /// The civil time of a moment of this boot, by the clock as it stands now.
    #[must_use]
    pub fn utc_of(&self, at: Mono) -> Utc {
        Utc(i64::try_from(at.0).unwrap_or(i64::MAX).saturating_add(self.offset()))
    }
}

/// How far the system clock may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clock {
    /// Synchronised, and not before the floor.
    Trusted,
    /// Not synchronised, but not before the floor either: good enough for a plausible name.
    Plausible,
    /// Before the floor: certainly wrong.
    Unset,
}

/// The floor advances with the monotonic clock, and two clocks are never read at exactly the same time.
const STEP_TOLERANCE: Duration = Duration::from_secs(2);

impl Clock {
    /// Judges the system clock against `floor`, the latest time that is known to have passed.
    #[must_use]
    pub fn judge(now: Now, floor: Utc) -> Clock {
        // A clock that shows a time already known to be past is set wrong.
        let has_passed = now.system + STEP_TOLERANCE < floor;
        match (has_passed, now.synchronised) {
            (true, _) => Clock::Unset,
            (false, true) => Clock::Trusted,
            (false, false) => Clock::Plausible,
        }
    }
}
