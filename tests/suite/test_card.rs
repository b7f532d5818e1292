//! The test card of the test source: what can be read back, and what is rejected.

use crate::support::card_reader;
use kasacam::capture::test_card::{COLUMNS, Card, MIN_SQUARE, ROWS, Size, UUID};
use kasacam::domain::codec::Codec;
use proptest::prelude::*;

const BACKGROUND: u8 = 90;

fn image(card: Card, size: Size) -> Vec<u8> {
    let mut luma = vec![BACKGROUND; size.stride * size.height];
    assert!(card.draw(&mut luma, size));
    luma
}

proptest! {
    #[test]
    fn a_card_is_read_back_through_noise(
        number: u32, time: u64, width in 86_usize..700, height in 64_usize..400, padding in 0_usize..9, noise: u64
    ) {
        let card = Card { number, time };
        let size = Size { width, height, stride: width + padding };
        let mut luma = image(card, size);
        let mut state = noise | 1;
        for sample in &mut luma {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            *sample = sample.saturating_add((state % 60) as u8).saturating_sub(30);
        }
        prop_assert_eq!(card_reader::read(&luma, size), Some(card));
    }

    #[test]
    fn one_wrong_square_is_noticed(number: u32, time: u64, square in 0..COLUMNS * ROWS) {
        let (card, size) = (Card { number, time }, Size { width: 128, height: 64, stride: 128 });
        let mut luma = image(card, size);
        let (column, row) = (square % COLUMNS, square / COLUMNS);
        for y in 16 + row * 4..16 + row * 4 + 4 {
            for x in 16 + column * 6..16 + column * 6 + 6 {
                luma[y * 128 + x] = 255 - luma[y * 128 + x];
            }
        }
        prop_assert_eq!(card_reader::read(&luma, size), None);
    }

    #[test]
    fn a_message_is_found_in_any_bytes(
        number: u32, time: u64, before: Vec<u8>, behind: Vec<u8>
    ) {
        let card = Card { number, time };
        let heap = [before, card.sei(Codec::H264), behind, card.sei(Codec::H264)].concat();
        prop_assert_eq!(card_reader::found_in(&heap), [card, card]);
    }

    #[test]
    fn no_bytes_make_the_reader_fail(bytes: Vec<u8>, width in 0_usize..200, height in 0_usize..200) {
        let size = Size { width, height, stride: width };
        let _nothing = card_reader::read(&bytes, size);
        prop_assert!(card_reader::found_in(&[&UUID[..], &bytes].concat()).len() <= 1);
    }
}

#[test]
fn an_image_without_a_card_gives_none() {
    let size = Size { width: 640, height: 360, stride: 640 };
    for grey in [0, 16, BACKGROUND, 126, 235, 255] {
        assert_eq!(card_reader::read(&vec![grey; 640 * 360], size), None, "all of {grey}");
    }
}

#[test]
fn a_plane_that_is_too_small_is_not_changed() {
    let card = Card { number: 1, time: 2 };
    let least =
        Size { width: (MIN_SQUARE * COLUMNS * 4).div_ceil(3), height: MIN_SQUARE * ROWS * 2, stride: 86 };
    assert!(card.draw(&mut vec![0; least.stride * least.height], least));
    for (size, bytes) in [
        (Size { width: least.width - 1, ..least }, 86 * 64),
        (Size { height: least.height - 1, ..least }, 86 * 64),
        (Size { stride: 80, ..least }, 86 * 64),
        (least, 86 * 64 - 1),
    ] {
        let mut luma = vec![BACKGROUND; bytes];
        assert!(!card.draw(&mut luma, size), "{size:?}");
        assert!(luma.iter().all(|sample| *sample == BACKGROUND), "{size:?}");
    }
}

#[test]
fn the_message_is_an_sei_of_unregistered_user_data_without_bytes_to_escape() {
    for card in [Card { number: 0, time: 0 }, Card { number: u32::MAX, time: u64::MAX }] {
        let nal = card.sei(Codec::H264);
        assert_eq!((nal[0] & 0x1f, nal[1], usize::from(nal[2])), (6, 5, nal.len() - 4), "{nal:?}");
        assert_eq!((&nal[3..19], nal.last()), (&UUID[..], Some(&0x80)));
        assert!(nal.windows(3).all(|three| !(three[..2] == [0, 0] && three[2] <= 3)));
    }
}
