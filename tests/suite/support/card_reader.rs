//! Reads test cards: the block code of an image, and the SEI messages in any bytes. Written from the description in
//! `src/capture/test_card.rs`, independent of the code that writes them.

use kasacam::capture::test_card::{COLUMNS, Card, MIN_SQUARE, ROWS, Size, UUID};
use std::ops::Range;

/// From this mean value on a square is white.
const GREY: usize = 126;

/// Reads the block code of a luma plane; `None` if there is none, or its checksum is wrong.
pub fn read(luma: &[u8], size: Size) -> Option<Card> {
    let carries_a_card = size.stride >= size.width
        && size.width * 3 / 4 / COLUMNS >= MIN_SQUARE
        && size.height / 2 / ROWS >= MIN_SQUARE;
    if !carries_a_card {
        return None;
    }
    let mut bits = 0_u128;
    for index in 0..COLUMNS * ROWS {
        let (column, row) = (index % COLUMNS, index / COLUMNS);
        let x = |column: usize| size.width / 8 + column * (size.width * 3 / 4) / COLUMNS;
        let y = |row: usize| size.height / 4 + row * (size.height / 2) / ROWS;
        let (columns, lines) = (inner(x(column)..x(column + 1)), inner(y(row)..y(row + 1)));
        let (mut sum, mut count) = (0, 0);
        for line in lines {
            let part = luma.get(line * size.stride..)?.get(columns.clone())?;
            sum += part.iter().map(|sample| usize::from(*sample)).sum::<usize>();
            count += part.len();
        }
        bits = (bits << 1) | u128::from(sum >= GREY * count.max(1));
    }
    let (known, sum) = (bits >> 32, bits as u32);
    (sum == crc(&known.to_be_bytes()[4..]))
        .then_some(Card { number: (known >> 64) as u32, time: known as u64 })
}

/// Without a quarter at each side, where the encoder blurs.
fn inner(side: Range<usize>) -> Range<usize> {
    let quarter = side.len() / 4;
    side.start + quarter..side.end - quarter
}

/// The cards of all SEI messages in these bytes, at any position.
pub fn found_in(bytes: &[u8]) -> Vec<Card> {
    let mut cards = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(UUID.len()).position(|window| window == UUID) {
        rest = &rest[at + UUID.len()..];
        cards.extend(card(rest));
    }
    cards
}

fn card(bytes: &[u8]) -> Option<Card> {
    let (number, rest) = decimal(bytes.strip_prefix(b"number=")?)?;
    let (time, _) = decimal(rest.strip_prefix(b" time=")?)?;
    Some(Card { number: u32::try_from(number).ok()?, time })
}

/// The number at the start of the bytes, and the bytes after it. A number up to the end may be cut off, so it does not
/// count.
fn decimal(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let end = bytes.iter().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = bytes.split_at(end);
    Some((std::str::from_utf8(digits).ok()?.parse().ok()?, rest))
}

/// CRC-32 (IEEE 802.3).
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(
            crc ^ u32::from(*byte),
            |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}
