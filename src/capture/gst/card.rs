//! Adds the test card to the frames of the test source: the block code and the number as text to the raw frame,
//! the SEI message to the encoded access unit.

use crate::capture::codec::{Role, role};
use crate::capture::pipeline::{NUMBER_OVERLAY, TEST_SOURCE};
use crate::capture::test_card::{Card, Size};
use crate::capture::units::Unit;
use crate::system::clock::mono;
use bytes::Bytes;
use gst::prelude::*;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Maximum number of frames in the encoder; the cards of older ones are dropped.
const MAX_FRAMES: usize = 256;

/// The cards of a test source.
pub(super) struct Cards(Arc<Mutex<CardQueue>>);

/// Cards of the frames in the encoder, with their running times.
#[derive(Default)]
struct CardQueue {
    next: u32,
    cards: VecDeque<(u64, Card)>,
}

/// Installs the test card; `None` if the pipeline has no test source.
pub(super) fn install(pipeline: &gst::Pipeline) -> Option<Cards> {
    let raw = pipeline.by_name(TEST_SOURCE).and_then(|source| source.static_pad("src"))?;
    let overlay = pipeline.by_name(NUMBER_OVERLAY).map(|overlay| overlay.downgrade());
    let cards: Arc<Mutex<CardQueue>> = Arc::default();
    let queue = Arc::clone(&cards);
    raw.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        let Some(gst::PadProbeData::Buffer(buffer)) = info.data.as_mut() else {
            return gst::PadProbeReturn::Ok;
        };
        let card = hold(&cards).take(running_time(pad, buffer));
        if let (Some(size), Ok(mut map)) = (size(pad), buffer.make_mut().map_writable()) {
            let _too_small = card.draw(&mut map, size);
        }
        if let Some(overlay) = overlay.as_ref().and_then(gst::glib::WeakRef::upgrade) {
            overlay.set_property("text", card.number.to_string());
        }
        gst::PadProbeReturn::Ok
    });
    Some(Cards(queue))
}

fn hold(cards: &Mutex<CardQueue>) -> MutexGuard<'_, CardQueue> {
    cards.lock().unwrap_or_else(PoisonError::into_inner)
}

fn running_time(pad: &gst::Pad, buffer: &gst::Buffer) -> Option<u64> {
    let event = pad.sticky_event::<gst::event::Segment>(0)?;
    let segment = event.segment().downcast_ref::<gst::ClockTime>()?;
    Some(segment.to_running_time(buffer.pts()?)?.nseconds())
}

impl Cards {
    /// Inserts the SEI message of its card before the first slice (ITU-T H.264, 7.4.1.2.3; ITU-T H.265, 7.4.2.4.4).
    pub(super) fn put_into(&self, unit: &mut Unit, shown: i64) {
        let Some(card) = u64::try_from(shown).ok().and_then(|shown| hold(&self.0).of(shown)) else { return };
        let codec = unit.sets.codec();
        let slice = unit.nals.iter().position(|it| role(codec, it) == Role::Slice);
        unit.nals.insert(slice.unwrap_or(0), Bytes::from(card.sei(codec)));
    }
}

impl CardQueue {
    /// A new card, for the frame that is captured now.
    fn take(&mut self, at: Option<u64>) -> Card {
        let card = Card { number: self.next, time: mono().0 };
        self.next = self.next.wrapping_add(1);
        if let Some(at) = at {
            self.cards.push_back((at, card));
        }
        if self.cards.len() > MAX_FRAMES {
            self.cards.pop_front();
        }
        card
    }

    /// The card of the frame of this time. The encoder keeps the order.
    fn of(&mut self, at: u64) -> Option<Card> {
        while let Some((time, card)) = self.cards.front().copied() {
            if time > at {
                return None;
            }
            self.cards.pop_front();
            if time == at {
                return Some(card);
            }
        }
        None
    }
}

/// The luma plane of I420 and NV12, which is the first; the length of its lines is a multiple of four bytes.
fn size(pad: &gst::Pad) -> Option<Size> {
    let caps = pad.current_caps()?;
    let caps = caps.structure(0)?;
    if !matches!(caps.get::<&str>("format"), Ok("I420" | "NV12")) {
        return None;
    }
    let side = |name: &str| caps.get::<i32>(name).ok().and_then(|side| usize::try_from(side).ok());
    let (width, height) = (side("width")?, side("height")?);
    Some(Size { width, height, stride: width.next_multiple_of(4) })
}
