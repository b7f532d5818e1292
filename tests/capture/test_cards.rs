//! The test card can be read from encoded frames.

use crate::oracle::Kept;
use crate::support::*;
use kasacam::config::EncoderKind;
use kasacam::domain::effect::{CaptureSettings, StopManner};
use kasacam::domain::fragment::{Chunk, SpanEnd};
use kasacam::system::clock::mono;

/// Fragments of a board with this encoder, and all that the oracle finds in them.
fn taken(encoder: EncoderKind, bitrate: u64, max_height: u32) -> (Vec<Chunk>, Kept) {
    let folder = folder();
    let mut board = test_board();
    board.video.encoder = Some(encoder.into());
    board.video.bitrate = bitrate;
    let mut camera = Camera::new(board);
    camera.start(1, CaptureSettings { audio: true, max_height });
    let chunks = camera.fragments(4);
    camera.stop(1, StopManner::Drop, SpanEnd::Privacy);
    camera.rest();
    let bytes = std::fs::read(write(folder.path(), &chunks)).unwrap();
    (chunks, Kept::read(&format!("{encoder} at {bitrate}, {max_height} lines"), &bytes))
}

#[test]
fn every_frame_has_its_number_and_its_time_twice() {
    for (encoder, bitrate, max_height) in [
        (EncoderKind::X264, 300_000, 1080),
        (EncoderKind::X264, 150_000, 1080),
        (EncoderKind::X264, 300_000, 120),
        (EncoderKind::OpenH264, 300_000, 1080),
    ] {
        let before = mono().0;

        let (chunks, kept) = taken(encoder, bitrate, max_height);

        assert_eq!(kept.cards.len(), 40, "{encoder} at {bitrate}");
        kept.assert_is_whole();
        assert!(kept.cards[0].time > before && kept.cards[39].time < mono().0, "it is CLOCK_MONOTONIC");
        // The first frame of each chunk has the time of the chunk, and is never earlier.
        let mut index = 0;
        for chunk in &chunks {
            let card = kept.cards[index];
            let late = i128::from(card.time) - i128::from(chunk.start.0);
            assert!((-1_000_000..500_000_000).contains(&late), "{encoder}: frame {index} is {late} ns late");
            index += chunk.frames as usize;
        }
    }
}
