//! Durations, sizes and rates as people write them.

use std::time::Duration;

/// `30s`, `500ms`, `72h`, `2m30s`, `1.5s`. Units: ms, s, m (min), h, d. A number without a unit is
/// refused: it is ambiguous.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err("is empty".into());
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let (number, unit, after) = number_and_unit(rest)?;
        let scale: u64 = match unit {
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" | "min" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "" => return Err("has no unit".into()),
            other => return Err(format!("has an unknown unit \"{other}\"")),
        };
        nanos = nanos.saturating_add(u128::from(scaled(number, scale)?));
        rest = after;
    }
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| "is too long".into())
}

/// `2 GiB`, `1500 kB`, `4096`, in bytes. Units: B, kB, MB, GB, TB (thousands), KiB, MiB, GiB, TiB (1024s).
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    one(text, |unit| match unit {
        "" | "B" => Some(1),
        "kB" => Some(1_000),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        "TB" => Some(1_000_000_000_000),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        "TiB" => Some(1 << 40),
        _ => None,
    })
}

/// `8 Mbit/s`, in bits a second. Units: bit/s, kbit/s, Mbit/s, Gbit/s.
pub(super) fn rate(text: &str) -> Result<u64, String> {
    one(text, |unit| match unit {
        "bit/s" => Some(1),
        "kbit/s" => Some(1_000),
        "Mbit/s" => Some(1_000_000),
        "Gbit/s" => Some(1_000_000_000),
        _ => None,
    })
}

fn one(text: &str, scale: impl Fn(&str) -> Option<u64>) -> Result<u64, String> {
    let (number, unit, after) = number_and_unit(text.trim())?;
    if !after.is_empty() {
        return Err(format!("has \"{after}\" after its unit"));
    }
    match scale(unit) {
        Some(scale) => scaled(number, scale),
        None if unit.is_empty() => Err("has no unit".into()),
        None => Err(format!("has an unknown unit \"{unit}\"")),
    }
}

/// The number at the front, its unit, and what follows.
fn number_and_unit(text: &str) -> Result<(&str, &str, &str), String> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    if number.is_empty() {
        return Err("does not begin with a number".into());
    }
    let rest = rest.trim_start();
    let end = rest.find(|c: char| c.is_ascii_digit() || c.is_whitespace()).unwrap_or(rest.len());
    let (unit, after) = rest.split_at(end);
    Ok((number, unit, after.trim_start()))
}

/// `number` times `scale`, exact; rounded down to a whole number.
fn scaled(number: &str, scale: u64) -> Result<u64, String> {
    let bad = || format!("has \"{number}\", which is not a number");
    let big = || "is too large".to_owned();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') || fraction.len() > 9 {
        return Err(bad());
    }
    let whole: u64 = whole.parse().map_err(|_| big())?;
    let parts: u64 = fraction.parse().map_err(|_| bad())?;
    let of = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| bad())?);
    let part = u64::try_from(u128::from(parts) * u128::from(scale) / of).map_err(|_| big())?;
    whole.checked_mul(scale).and_then(|whole| whole.checked_add(part)).ok_or_else(big)
}

/// A duration as people write it: `2m30s`.
pub(super) fn show_duration(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut text = String::new();
    for (name, millis) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if rest / millis > 0 {
            text.push_str(&format!("{}{name}", rest / millis));
            rest %= millis;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

/// A size as people write it: `2 GiB`.
pub(super) fn show_bytes(bytes: u64) -> String {
    let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = units.into_iter().find(|(scale, _)| bytes >= *scale && bytes % *scale == 0);
    unit.map_or_else(|| format!("{bytes} B"), |(scale, name)| format!("{} {name}", bytes / scale))
}

/// A rate as people write it: `8 Mbit/s`.
pub(super) fn show_rate(rate: u64) -> String {
    let units = [(1_000_000_000, "Gbit/s"), (1_000_000, "Mbit/s"), (1_000, "kbit/s")];
    let unit = units.into_iter().find(|(scale, _)| rate >= *scale && rate % *scale == 0);
    unit.map_or_else(|| format!("{rate} bit/s"), |(scale, name)| format!("{} {name}", rate / scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        for (text, millis) in [
            ("30s", 30_000),
            ("500ms", 500),
            ("72h", 259_200_000),
            ("2m30s", 150_000),
            ("2min 30s", 150_000),
            ("1.5s", 1_500),
            ("0s", 0),
            ("90d", 7_776_000_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "30", "s", "30 parsecs", "1.2.3s", "-1s", "99999999999999999999s", "1e3s", ".5s", "5.s"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_and_rates_keep_thousands_and_1024s_apart() {
        assert_eq!(bytes("2 GiB"), Ok(2 << 30));
        assert_eq!(bytes("1500 kB"), Ok(1_500_000));
        assert_eq!(bytes("64MiB"), Ok(64 << 20));
        assert_eq!(bytes("1.5 MiB"), Ok(1_572_864));
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(rate("8 Mbit/s"), Ok(8_000_000));
        assert_eq!(rate("500 kbit/s"), Ok(500_000));
        for text in ["2 gb", "2 GiB 3", "GiB", "18446744073709551615 KiB"] {
            assert!(bytes(text).is_err(), "{text}");
        }
        for text in ["8", "8 MB/s", "8 Mbps"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for millis in [0, 500, 30_000, 150_000, 90_061_001] {
            let value = Duration::from_millis(millis);
            assert_eq!(duration(&show_duration(value)), Ok(value));
        }
        for value in [1, 1023, 1024, 1 << 31, 3 << 20] {
            assert_eq!(bytes(&show_bytes(value)), Ok(value));
        }
        for value in [1, 64_000, 8_000_000, 1_500_000] {
            assert_eq!(rate(&show_rate(value)), Ok(value));
        }
    }
}
