//! One synchronisation source for a whole RTP stream (RFC 3550, 5.1).
//!
//! Some cameras change their SSRC with every IDR frame, or after each report. For RTP that is another sender, with its own
//! buffer and clock; here it is the same camera. So every packet gets the SSRC of the first one.

use gst::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Gives all packets of this pad the SSRC of the first.
pub(super) fn keep_one(pad: &gst::Pad) {
    let first = Mutex::new(None::<[u8; 4]>);
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, info| {
        let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
        match info.data.as_mut() {
            Some(gst::PadProbeData::Buffer(buffer)) => keep(&mut first, buffer),
            Some(gst::PadProbeData::BufferList(list)) if list.iter().any(|it| is_other(*first, it)) => {
                let mut kept = gst::BufferList::new_sized(list.len());
                if let Some(kept) = kept.get_mut() {
                    for buffer in list.iter_owned() {
                        let mut buffer = buffer;
                        keep(&mut first, &mut buffer);
                        kept.add(buffer);
                    }
                }
                *list = kept;
            }
            Some(_) | None => {}
        }
        gst::PadProbeReturn::Ok
    });
}

/// The SSRC of an RTP packet; `None` for other packets, such as RTCP on the same port (RFC 5761, 4).
fn ssrc(buffer: &gst::BufferRef) -> Option<[u8; 4]> {
    let mut head = [0; 12];
    buffer.copy_to_slice(0, &mut head).ok()?;
    let [flags, kind, _, _, _, _, _, _, ssrc @ ..] = head;
    (flags >> 6 == 2 && !(72..=79).contains(&(kind & 0x7f))).then_some(ssrc)
}

fn is_other(first: Option<[u8; 4]>, buffer: &gst::BufferRef) -> bool {
    ssrc(buffer).is_some_and(|found| first != Some(found))
}

fn keep(first: &mut Option<[u8; 4]>, buffer: &mut gst::Buffer) {
    let Some(found) = ssrc(buffer) else { return };
    let kept = *first.get_or_insert(found);
    if kept != found {
        if let Ok(mut map) = buffer.make_mut().map_writable() {
            if let Some(place) = map.get_mut(8..12) {
                place.copy_from_slice(&kept);
            }
        }
    }
}
