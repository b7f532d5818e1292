//! Reads the clock of an RTSP camera from its packets.

use super::shared::Shared;
use crate::capture::sender_clock::SenderClock;
use crate::system::clock::utc;
use gst::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a packet that are read.
const HEAD: usize = 64;

/// The clock of the camera's video.
#[derive(Clone)]
pub(super) struct Reports {
    clock: Arc<Mutex<SenderClock>>,
    shared: Arc<Shared>,
}

impl Reports {
    pub(super) fn new(shared: &Arc<Shared>) -> Reports {
        Reports { clock: Arc::default(), shared: Arc::clone(shared) }
    }

    /// Reads the RTP packets of this pad.
    pub(super) fn watch_packets(&self, pad: &gst::Pad) {
        let reports = self.clone();
        watch(pad, move |packet| {
            let clock = *reports.clock.lock().unwrap_or_else(PoisonError::into_inner);
            reports.shared.lags(clock.lag(packet, utc()));
        });
    }

    /// Reads the RTCP packets of this pad.
    pub(super) fn watch_reports(&self, pad: &gst::Pad) {
        let reports = self.clone();
        watch(pad, move |packet| reports.clock.lock().unwrap_or_else(PoisonError::into_inner).report(packet));
    }
}

/// Calls `look` with the start of each buffer of this pad; for a list, with that of the last buffer.
fn watch(pad: &gst::Pad, look: impl Fn(&[u8]) + Send + Sync + 'static) {
    pad.add_probe(gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST, move |_, info| {
        let buffer = match info.data.as_ref() {
            Some(gst::PadProbeData::Buffer(buffer)) => Some(&**buffer),
            Some(gst::PadProbeData::BufferList(list)) => {
                list.len().checked_sub(1).and_then(|last| list.get(last))
            }
            Some(_) | None => None,
        };
        let mut head = [0; HEAD];
        if let Some(buffer) = buffer {
            let count = buffer.size().min(HEAD);
            if let Some(head) = head.get_mut(..count) {
                if buffer.copy_to_slice(0, head).is_ok() {
                    look(head);
                }
            }
        }
        gst::PadProbeReturn::Ok
    });
}
