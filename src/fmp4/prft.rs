//! `prft`, the producer's reference time (ISO/IEC 14496-12, 8.16.5).

use super::boxes::{Walk, build};
use crate::domain::time::Utc;
use std::ops::Range;

/// Seconds from the epoch of NTP (1900) to that of Unix (1970).
const NTP_TO_UNIX: i128 = 2_208_988_800;
/// `flags`: the time at which the event was captured.
const CAPTURED: u32 = 24;
/// Offset of the NTP time after the box header: version and flags, then the track, come first.
const NTP_AT: u64 = 8;

/// `prft` version 1: `utc` is the time of capture of `media_time` ticks of `track`. The NTP time is that of
/// the current era: its seconds wrap in 2036 (RFC 5905, 6).
#[must_use]
pub fn prft_box(track: u32, utc: Utc, media_time: u64) -> Vec<u8> {
    let mut body = Vec::with_capacity(24);
    body.extend_from_slice(&(1 << 24 | CAPTURED).to_be_bytes());
    body.extend_from_slice(&track.to_be_bytes());
    body.extend_from_slice(&ntp(utc).to_be_bytes());
    body.extend_from_slice(&media_time.to_be_bytes());
    build(b"prft", &body)
}

/// Moves the NTP time of every `prft` of the file by `nanos`, in place, and returns the ranges changed. What
/// follows a box that is not whole is left unchanged.
pub fn shift_prft(bytes: &mut [u8], nanos: i64) -> Vec<Range<usize>> {
    let places: Vec<u64> = Walk::new(bytes, 0)
        .map_while(Result::ok)
        .filter(|found| found.is(b"prft") && found.body.len() >= 20)
        .map(|found| found.body_start() + NTP_AT)
        .collect();
    let shift = fixed_point(i128::from(nanos));
    let mut moved = Vec::new();
    for place in &places {
        let at = usize::try_from(*place).unwrap_or(usize::MAX);
        let range = at..at.saturating_add(8);
        let Some(field) = bytes.get_mut(range.clone()) else { continue };
        let Ok(before) = <[u8; 8]>::try_from(&*field) else { continue };
        field.copy_from_slice(&u64::from_be_bytes(before).wrapping_add(shift).to_be_bytes());
        moved.push(range);
    }
    moved
}

fn ntp(utc: Utc) -> u64 {
    fixed_point(i128::from(utc.0) + NTP_TO_UNIX * 1_000_000_000)
}

/// Nanoseconds as 32.32 fixed point seconds, modulo an era.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an era is 2^32 s: it wraps by design"
)]
fn fixed_point(nanos: i128) -> u64 {
    // Rounded to the nearest 2^-32 s, so that a whole nanosecond survives the conversion back.
    (((nanos << 32) + 500_000_000).div_euclid(1_000_000_000)) as u64
}
