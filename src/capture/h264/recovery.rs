//! Recovery points (D.1.8 and D.2.8): decoding can begin there at a picture that is not an IDR picture.

use super::nal;
use crate::capture::bits::{Bits, unescape};
use bytes::Bytes;

/// Bytes of an SEI NAL unit that are read.
const MAX_READ: usize = 256;
/// `payloadType` of a recovery point.
const RECOVERY_POINT: u32 = 6;

/// Whether the SEI messages in these NAL units of one access unit state that decoding can begin with it: then all pictures
/// from it on, in output order, are correct.
pub(in crate::capture) fn begins(nals: &[Bytes]) -> bool {
    let mut messages = nals.iter().filter(|unit| nal::kind(unit) == nal::SEI);
    messages.any(|unit| recovers_at_once(unit).unwrap_or(false))
}

fn recovers_at_once(unit: &[u8]) -> Option<bool> {
    let plain = unescape(unit.get(1..)?, MAX_READ);
    let mut rest = plain.as_slice();
    // The last byte holds the trailing bits.
    while rest.len() > 1 {
        let kind = number(&mut rest)?;
        let size = usize::try_from(number(&mut rest)?).ok()?;
        let (payload, behind) = rest.split_at_checked(size)?;
        if kind == RECOVERY_POINT {
            // `recovery_frame_cnt`
            return Some(Bits::new(payload).ue()? == 0);
        }
        rest = behind;
    }
    Some(false)
}

/// A number coded as bytes of 255 and a last byte (7.3.2.3.1).
fn number(rest: &mut &[u8]) -> Option<u32> {
    let mut sum = 0_u32;
    loop {
        let (byte, behind) = rest.split_first()?;
        *rest = behind;
        sum = sum.checked_add(u32::from(*byte))?;
        if *byte != 255 {
            return Some(sum);
        }
    }
}
