//! Two kinds of time, kept apart by type.
//!
//! [`Mono`] is `CLOCK_MONOTONIC`: it never steps, and means nothing after a reboot. [`Utc`] is
//! civil time: it may step, and is only as good as the clock that told it. GStreamer's system
//! clock is the same `CLOCK_MONOTONIC`, so a frame's [`Mono`] and the agent's compare directly.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::{Duration, SystemTime};

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
    /// Parses an RFC 3339 time that ends in `Z` (the contract allows no other offset).
    pub fn parse(text: &str) -> Option<Utc> {
        let time = humantime::parse_rfc3339(text).ok()?;
        let nanos = time.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_nanos();
        i64::try_from(nanos).ok().map(Utc)
    }

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

/// A [`Utc`] in the fields of the civil calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    pub year: i64,
    pub month: i64,
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
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

/// The three readings that every decision is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// `CLOCK_MONOTONIC`.
    pub mono: Mono,
    /// `CLOCK_REALTIME`, as it stands, right or wrong.
    pub system: Utc,
    /// The kernel says that the clock is synchronised (or the configuration says to take it so).
    pub synchronised: bool,
}

impl Now {
    /// `CLOCK_REALTIME - CLOCK_MONOTONIC` in nanoseconds: constant until the clock is stepped.
    #[must_use]
    pub fn offset(&self) -> i64 {
        self.system.0.saturating_sub(i64::try_from(self.mono.0).unwrap_or(i64::MAX))
    }
}

/// How far the system clock may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clock {
    /// Synchronised.
    Trusted,
    /// Not synchronised, but not before the floor either: good enough for a plausible name.
    Plausible,
    /// Before the floor: certainly wrong.
    Unset,
}

/// The floor advances by the monotonic clock; readings of two clocks are never of one instant.
const STEP_TOLERANCE: Duration = Duration::from_secs(2);

impl Clock {
    /// Judges the system clock against `floor`, the latest time that is known to have passed.
    #[must_use]
    pub fn judge(now: Now, floor: Utc) -> Clock {
        if now.synchronised {
            Clock::Trusted
        } else if now.system + STEP_TOLERANCE >= floor {
            Clock::Plausible
        } else {
            Clock::Unset
        }
    }
}
