//! What goes into the muxer: looked at, and set right, on the pads themselves.
//!
//! Only an IDR counts as a key frame here (parsers take any I picture for one); nothing passes before
//! the first; sound passes only from the first picture on, so that both begin together. What does not
//! pass is "handled": the bindings let go of a "dropped" buffer that GStreamer lets go of as well.

use super::fault;
use super::run::{Event, Shared};
use crate::capture::board::Description;
use crate::domain::input::FaultKind;
use crate::system::clock::mono;
use crossbeam_channel::RecvTimeoutError;
use gst::prelude::*;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// For how long the muxer waits for sound where a GOP is one chunk.
const WHOLE_GOPS: u64 = 10_000_000_000;
/// How often sound looks whether there is a picture yet.
const LOOK: Duration = Duration::from_millis(5);
/// No picture yet.
const NEVER: u64 = u64::MAX;

struct Gate {
    first: Arc<AtomicU64>,
    shared: Arc<Shared>,
    mux: gst::glib::WeakRef<gst::Element>,
    picture: u64,
    /// The longest pause that the muxer gets over at a change of format.
    most_pause: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    caps: Option<gst::Caps>,
    /// Bytes of a NAL unit's length, from `avcC`.
    length_size: usize,
    latest: u64,
    end: u64,
    new_format: bool,
    whole_gops: bool,
}

/// Puts the gates onto the muxer's pads.
pub(super) fn install(
    shared: &Arc<Shared>,
    mux: &gst::Element,
    video: &gst::Pad,
    audio: Option<&gst::Pad>,
    description: &Description,
) {
    let first = Arc::new(AtomicU64::new(NEVER));
    let gate = Gate {
        first: Arc::clone(&first),
        shared: Arc::clone(shared),
        mux: mux.downgrade(),
        picture: 1_000_000_000 / u64::from(description.fps.max(1)),
        most_pause: u64::try_from(description.chunk.as_nanos() / 2).unwrap_or(u64::MAX),
        state: Mutex::default(),
    };
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    video.add_probe(kinds, move |pad, info| match info.data.as_mut() {
        Some(gst::PadProbeData::Buffer(buffer)) => gate.picture(pad, buffer),
        Some(gst::PadProbeData::Event(event)) => gate.event(event),
        _ => gst::PadProbeReturn::Ok,
    });
    if let Some(audio) = audio {
        let shared = Arc::clone(shared);
        audio.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
            let Some(gst::PadProbeData::Buffer(buffer)) = info.data.as_ref() else {
                return gst::PadProbeReturn::Ok;
            };
            // It may be early, if the picture takes longer to encode. It waits in the queue before this.
            while first.load(Ordering::Acquire) == NEVER {
                if shared.quit_rx.recv_timeout(LOOK) == Err(RecvTimeoutError::Disconnected) {
                    return gst::PadProbeReturn::Handled;
                }
            }
            match running_time(pad, buffer) {
                Some(at) if at >= first.load(Ordering::Acquire) => {
                    shared.heard();
                    gst::PadProbeReturn::Ok
                }
                Some(_) | None => gst::PadProbeReturn::Handled,
            }
        });
    }
}

impl Gate {
    #[expect(clippy::wildcard_enum_match_arm, reason = "GStreamer's events, of which two concern us")]
    fn event(&self, event: &gst::Event) -> gst::PadProbeReturn {
        match event.view() {
            gst::EventView::Caps(caps) => {
                let caps = caps.caps_owned();
                let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(size) = length_size(&caps) {
                    state.length_size = size;
                }
                let changed = state.caps.as_ref().is_some_and(|before| !same_header(before, &caps));
                state.caps = Some(caps);
                if changed {
                    tracing::info!("the format of the picture changes");
                    state.new_format = true;
                    self.shared.ledger().new_format();
                }
            }
            gst::EventView::Eos(_) => {
                self.shared.ledger().end();
                self.shared.tell(Event::VideoEnded);
            }
            _ => {}
        }
        gst::PadProbeReturn::Ok
    }

    fn picture(&self, pad: &gst::Pad, buffer: &mut gst::Buffer) -> gst::PadProbeReturn {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idr = buffer.map_readable().is_ok_and(|map| is_idr(&map, state.length_size));
        let started = self.first.load(Ordering::Acquire) != NEVER;
        self.shared.arrived(mono());
        if !started && !idr {
            return gst::PadProbeReturn::Handled;
        }
        let Some(presented) = running_time(pad, buffer) else {
            self.shared.tell(Event::Failed(fault(
                FaultKind::Pipeline,
                String::from("a picture came without a time of presentation"),
            )));
            return gst::PadProbeReturn::Handled;
        };
        let pts = buffer.pts();
        let delay =
            pts.zip(buffer.dts()).map_or(0, |(pts, dts)| pts.nseconds().saturating_sub(dts.nseconds()));
        {
            let buffer = buffer.make_mut();
            if idr {
                buffer.unset_flags(gst::BufferFlags::DELTA_UNIT);
            } else {
                buffer.set_flags(gst::BufferFlags::DELTA_UNIT);
            }
            if buffer.dts().is_none() {
                buffer.set_dts(pts);
            }
        }
        // A chunk that begins amid reordered pictures would set the decode time back, which players
        // take for a jump. Then a GOP is one chunk.
        let reorders = if started { presented < state.latest } else { delay > 0 };
        if let Some(mux) = self.mux.upgrade() {
            if reorders && !state.whole_gops {
                state.whole_gops = true;
                // In this order: without chunks the one for fragments is the muxer's latency as well.
                mux.set_property("fragment-duration", WHOLE_GOPS);
                mux.set_property("chunk-duration", u64::MAX);
            }
            if idr {
                mux.emit_by_name::<()>("split-at-running-time", &[&gst::ClockTime::from_nseconds(presented)]);
            }
        }
        if state.new_format {
            state.new_format = false;
            // The muxer would wait for ever for what lies in the gap.
            if presented.saturating_sub(state.end) >= self.most_pause {
                self.shared.tell(Event::Failed(fault(
                    FaultKind::Pipeline,
                    String::from("the format of the picture changed after a pause: capture begins anew"),
                )));
            }
        }
        if !started {
            self.first.store(presented, Ordering::Release);
            self.shared.begun(mono());
        }
        state.latest = state.latest.max(presented);
        let length = buffer.duration().map_or(self.picture, gst::ClockTime::nseconds);
        state.end = state.end.max(presented.saturating_add(length));
        drop(state);
        if !self.shared.ledger().picture(idr, presented) {
            self.shared.tell(Event::Failed(fault(
                FaultKind::Pipeline,
                String::from("the muxer takes pictures and gives none back"),
            )));
            return gst::PadProbeReturn::Handled;
        }
        gst::PadProbeReturn::Ok
    }
}

pub(super) fn running_time(pad: &gst::Pad, buffer: &gst::Buffer) -> Option<u64> {
    let event = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = event.segment().downcast_ref::<gst::ClockTime>()?;
    // The muxer takes a time before zero for zero.
    let time = segment.to_running_time_full(buffer.pts()?)?;
    Some(time.positive().map_or(0, gst::ClockTime::nseconds))
}

pub(super) fn length_size(caps: &gst::Caps) -> Option<usize> {
    let data = caps.structure(0)?.get::<gst::Buffer>("codec_data").ok()?;
    let map = data.map_readable().ok()?;
    map.get(4).map(|byte| usize::from(byte & 3) + 1)
}

/// Whether the muxer would write the same header; its own list of fields.
fn same_header(before: &gst::Caps, after: &gst::Caps) -> bool {
    let (Some(before), Some(after)) = (before.structure(0), after.structure(0)) else { return false };
    ["width", "height", "profile", "level", "colorimetry", "chroma-format", "bit-depth-luma", "codec_data"]
        .iter()
        .all(|field| match (before.value(*field), after.value(*field)) {
            (Ok(before), Ok(after)) => before.compare(after) == Some(std::cmp::Ordering::Equal),
            (Err(_), Err(_)) => true,
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        })
}

/// Whether the first slice of an access unit (ISO/IEC 14496-15, lengths before NAL units) is of an
/// IDR picture.
fn is_idr(bytes: &[u8], length_size: usize) -> bool {
    let mut rest = bytes;
    while let Some((length, body)) = rest.split_at_checked(length_size.max(1)) {
        let length = length.iter().fold(0usize, |sum, byte| (sum << 8) | usize::from(*byte));
        match body.first().map(|head| head & 0x1f) {
            Some(5) => return true,
            Some(1) | None => return false,
            Some(_) => rest = body.get(length..).unwrap_or_default(),
        }
    }
    false
}
