//! Puts the test card into what the test source captures: the block code and the number as text into
//! the raw picture, the SEI message into the access unit that the encoder made of it.

use super::gate::{length_size, running_time};
use crate::capture::board::{NUMBERED, TEST_SOURCE};
use crate::capture::test_card::{Card, Size};
use crate::system::clock::mono;
use gst::prelude::*;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Pictures that may be on their way through the encoder; of older ones the card is forgotten.
const MOST_PICTURES: usize = 256;

/// Cards on their way, with the running time of their pictures.
#[derive(Default)]
struct Cards {
    next: u32,
    under_way: VecDeque<(u64, Card)>,
}

/// Does nothing where the pipeline has no test source. `encoded` is the pad by which access units go into the muxer;
/// what looks at them there is to be installed behind this.
pub(super) fn install(pipeline: &gst::Pipeline, encoded: &gst::Pad) {
    let Some(raw) = pipeline.by_name(TEST_SOURCE).and_then(|source| source.static_pad("src")) else { return };
    let overlay = pipeline.by_name(NUMBERED).map(|overlay| overlay.downgrade());
    let cards: Arc<Mutex<Cards>> = Arc::default();
    let on_their_way = Arc::clone(&cards);
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
    encoded.add_probe(gst::PadProbeType::BUFFER, move |pad, info| {
        if let Some(gst::PadProbeData::Buffer(buffer)) = info.data.as_mut() {
            let card = running_time(pad, buffer).and_then(|at| hold(&on_their_way).of(at));
            let size = pad.current_caps().as_ref().and_then(length_size);
            if let Some(with_card) = card.zip(size).and_then(|(card, size)| insert(buffer, card, size)) {
                *buffer = with_card;
            }
        }
        gst::PadProbeReturn::Ok
    });
}

fn hold(cards: &Mutex<Cards>) -> MutexGuard<'_, Cards> {
    cards.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cards {
    /// The card of a picture that is taken now.
    fn take(&mut self, at: Option<u64>) -> Card {
        let card = Card { number: self.next, time: mono().0 };
        self.next = self.next.wrapping_add(1);
        if let Some(at) = at {
            self.under_way.push_back((at, card));
        }
        if self.under_way.len() > MOST_PICTURES {
            self.under_way.pop_front();
        }
        card
    }

    /// The card of the picture of that time; pictures come out in the order in which they went in.
    fn of(&mut self, at: u64) -> Option<Card> {
        while let Some((time, card)) = self.under_way.front().copied() {
            if time > at {
                return None;
            }
            self.under_way.pop_front();
            if time == at {
                return Some(card);
            }
        }
        None
    }
}

/// The luma plane of I420, which comes first; its lines are of a multiple of four bytes.
fn size(pad: &gst::Pad) -> Option<Size> {
    let caps = pad.current_caps()?;
    let caps = caps.structure(0)?;
    if caps.get::<&str>("format") != Ok("I420") {
        return None;
    }
    let side = |name: &str| caps.get::<i32>(name).ok().and_then(|side| usize::try_from(side).ok());
    let (width, height) = (side("width")?, side("height")?);
    Some(Size { width, height, stride: width.next_multiple_of(4) })
}

/// The access unit with the SEI message before its first slice (ITU-T H.264, 7.4.1.2.3).
fn insert(buffer: &gst::Buffer, card: Card, length_size: usize) -> Option<gst::Buffer> {
    let map = buffer.map_readable().ok()?;
    let at = first_slice(&map, length_size)?;
    let (before, behind) = map.split_at_checked(at)?;
    let sei = card.sei();
    let length = u32::try_from(sei.len()).ok()?.to_be_bytes();
    let mut bytes = before.to_vec();
    bytes.extend_from_slice(length.get(length.len().checked_sub(length_size)?..)?);
    bytes.extend_from_slice(&sei);
    bytes.extend_from_slice(behind);
    let mut with_card = gst::Buffer::from_mut_slice(bytes);
    let whole = gst::BUFFER_COPY_METADATA;
    buffer.copy_into(with_card.get_mut()?, whole, ..).ok()?;
    Some(with_card)
}

/// Where the length of the first slice's NAL unit stands.
fn first_slice(bytes: &[u8], length_size: usize) -> Option<usize> {
    let mut at = 0;
    loop {
        let (length, body) = bytes.get(at..)?.split_at_checked(length_size)?;
        if matches!(body.first()? & 0x1f, 1..=5) {
            return Some(at);
        }
        let length = length.iter().fold(0usize, |sum, byte| (sum << 8) | usize::from(*byte));
        at = at.checked_add(length_size)?.checked_add(length)?;
    }
}
