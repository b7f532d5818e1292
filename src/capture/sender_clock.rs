//! When a network camera captured its frames, by its own clock: RTCP sender reports (RFC 3550, 6.4.1) map the times of its
//! packets to UTC. That clock is used only if it agrees with ours, within bounds.

use crate::domain::time::Utc;
use std::time::Duration;

/// Maximum time from capture to arrival. Beyond it, one of the two clocks is wrong.
pub const MAX_LAG: Duration = Duration::from_secs(10);
/// Maximum distance of a packet from a report, in seconds of the RTP clock.
const MAX_REACH: i64 = 60;
/// Seconds from the epoch of NTP (1900) to that of Unix (1970).
const NTP_TO_UNIX: i128 = 2_208_988_800;
/// Ticks a second of the RTP clock of video (RFC 6184, 8.2.1).
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
    /// Reads a compound RTCP packet; other bytes are ignored.
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
                    // Zero: the camera has no clock.
                    self.report = (ntp != 0).then_some(Report { source, ntp, rtp });
                }
            }
            rest = behind;
        }
    }

    /// The time from capture to arrival of this RTP packet, which came at `arrived` by our clock. `None` if no report is
    /// near, or if the clocks do not agree: a packet must arrive after its capture, and at most [`MAX_LAG`] after it.
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
        // Wraps within an NTP era.
        let behind = ntp(arrived).wrapping_sub(captured);
        let behind = i64::from_be_bytes(behind.to_be_bytes());
        let nanos = u64::try_from((i128::from(behind) * 1_000_000_000) >> 32).ok()?;
        Some(Duration::from_nanos(nanos)).filter(|lag| *lag <= MAX_LAG)
    }
}

/// The difference of two counters that wrap.
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
