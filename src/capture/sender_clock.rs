//! When a camera elsewhere captured what it sends, by its own clock: RTCP sender reports (RFC 3550, 6.4.1) pair the times of
//! its packets with civil time. Such a clock is believed only where it agrees with ours, within bounds.

use crate::domain::time::Utc;
use std::time::Duration;

/// What comes later than this after its capture does not: one of the two clocks is wrong.
pub const MAX_LAG: Duration = Duration::from_secs(10);
/// A report says nothing of packets that are further from it, in seconds of their clock.
const MAX_REACH: i64 = 60;
/// Seconds from the epoch of NTP (1900) to that of Unix (1970).
const NTP_TO_UNIX: i128 = 2_208_988_800;
/// Ticks a second of the RTP clock of pictures (RFC 6184, 8.2.1).
const RATE: i64 = 90_000;
/// Packet type of a sender report.
const SENDER_REPORT: u8 = 200;

/// The clock of one camera, by its newest report.
#[derive(Clone, Copy, Debug, Default)]
pub struct SenderClock {
    report: Option<Report>,
}

#[derive(Clone, Copy, Debug)]
struct Report {
    source: u32,
    /// 32.32 fixed point seconds of an era.
    ntp: u64,
    rtp: u32,
}

impl SenderClock {
    /// Takes in a compound packet of RTCP; what is none is passed over.
    pub fn report(&mut self, packet: &[u8]) {
        let mut rest = packet;
        while let [flags, kind, high, low, body @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low])) * 4;
            let Some((body, behind)) = body.split_at_checked(length).filter(|_| flags >> 6 == 2) else {
                return;
            };
            if *kind == SENDER_REPORT {
                if let (Some(source), Some(high), Some(low), Some(rtp)) =
                    (word(body, 0), word(body, 1), word(body, 2), word(body, 3))
                {
                    let ntp = u64::from(high) << 32 | u64::from(low);
                    // A camera whose clock does not run says so by zero.
                    self.report = (ntp != 0).then_some(Report { source, ntp, rtp });
                }
            }
            rest = behind;
        }
    }

    /// How long ago what is in this packet of RTP was captured, when it has come at `arrived` by our clock. `None` where no
    /// report is near, or where the two clocks do not agree: never before its capture, and not more than [`MAX_LAG`] after it.
    #[must_use]
    pub fn lag(&self, packet: &[u8], arrived: Utc) -> Option<Duration> {
        let report = self.report?;
        let (time, source) = (word(packet, 1)?, word(packet, 2)?);
        if source != report.source {
            return None;
        }
        let ticks = i64::from(signed(time.wrapping_sub(report.rtp)));
        if ticks.abs() > MAX_REACH * RATE {
            return None;
        }
        let captured = report.ntp.wrapping_add_signed((ticks << 32) / RATE);
        // Within an era of either.
        let behind = ntp(arrived).wrapping_sub(captured);
        let behind = i64::from_be_bytes(behind.to_be_bytes());
        let nanos = u64::try_from((i128::from(behind) * 1_000_000_000) >> 32).ok()?;
        Some(Duration::from_nanos(nanos)).filter(|lag| *lag <= MAX_LAG)
    }
}

/// Before or behind, within half a turn of a counter.
fn signed(difference: u32) -> i32 {
    i32::from_be_bytes(difference.to_be_bytes())
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at * 4..)?.first_chunk::<4>().map(|word| u32::from_be_bytes(*word))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "an era is 2^32 s: it wraps by design"
)]
fn ntp(utc: Utc) -> u64 {
    (((i128::from(utc.0) + NTP_TO_UNIX * 1_000_000_000) << 32) / 1_000_000_000) as u64
}
