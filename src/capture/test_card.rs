//! The test card: the test source writes it into every frame. It identifies the frame and its time of capture,
//! independent of the file.
//!
//! It is written twice, in independent ways:
//!
//! - **Into the image**, as a block code that survives encoding. [`COLUMNS`] by [`ROWS`] squares, black or white, fill
//!   three quarters of the width and half of the height of the image, in its middle: column
//!   `c` begins at `width/8 + c * (width*3/4) / 16` and row `r` at `height/4 + r * (height/2) / 8`, each
//!   division rounded down. Read line by line they are 128 bits, the most
//!   significant first: the number (32), the time (64), and a CRC-32 (IEEE 802.3) of those twelve bytes. White is 1.
//!   A reader takes the mean of the inner half of each square; from mid-grey up it is white. An image whose squares
//!   would be smaller than [`MIN_SQUARE`] samples has no block code.
//! - **Beside the image**, as an SEI message `user_data_unregistered` (ITU-T H.264, D.1.7; ITU-T H.265, D.2.7) of the [`UUID`]
//!   below, whose text is `number=N time=T` in decimal. It holds no byte that needs emulation
//!   prevention, so a search for the UUID finds it in any bytes.

use super::h265::nal;
use crate::domain::codec::Codec;

/// The number of a frame in its run, and its time of capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Card {
    /// Counts the frames of a run from 0.
    pub number: u32,
    /// `CLOCK_MONOTONIC` when the source delivered the frame, in nanoseconds.
    pub time: u64,
}

/// Squares side by side.
pub const COLUMNS: usize = 16;
/// Lines of squares.
pub const ROWS: usize = 8;
/// Minimum width and height of a square, in samples.
pub const MIN_SQUARE: usize = 4;
/// Identifies the SEI message.
pub const UUID: [u8; 16] = *b"\x9d\x4c\xe1\x7akasacam-card";

/// Luma of studio range.
const BLACK: u8 = 16;
const WHITE: u8 = 235;

/// An 8-bit luma plane, line by line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Pixels in a line.
    pub width: usize,
    /// Lines.
    pub height: usize,
    /// Bytes from one line to the next; `width` at least.
    pub stride: usize,
}

/// A square: columns and lines of the image, the end excluded.
struct Square {
    columns: std::ops::Range<usize>,
    lines: std::ops::Range<usize>,
}

impl Size {
    fn carries_a_card(self) -> bool {
        self.stride >= self.width
            && self.width * 3 / 4 / COLUMNS >= MIN_SQUARE
            && self.height / 2 / ROWS >= MIN_SQUARE
    }

    fn square(self, index: usize) -> Square {
        let (column, row) = (index % COLUMNS, index / COLUMNS);
        let x = |column: usize| self.width / 8 + column * (self.width * 3 / 4) / COLUMNS;
        let y = |row: usize| self.height / 4 + row * (self.height / 2) / ROWS;
        Square { columns: x(column)..x(column + 1), lines: y(row)..y(row + 1) }
    }
}

impl Card {
    fn bits(self) -> u128 {
        let known = (u128::from(self.number) << 64) | u128::from(self.time);
        (known << 32) | u128::from(checksum(known))
    }

    /// Draws the block code into a luma plane; `false` if the plane is too small for it, or does not match
    /// `size`.
    pub fn draw(self, luma: &mut [u8], size: Size) -> bool {
        if !size.carries_a_card() || luma.len() < size.stride * (size.height - 1) + size.width {
            return false;
        }
        let bits = self.bits();
        for index in 0..COLUMNS * ROWS {
            let white = (bits >> (COLUMNS * ROWS - 1 - index)) & 1 == 1;
            let square = size.square(index);
            for line in luma.chunks_mut(size.stride).skip(square.lines.start).take(square.lines.len()) {
                if let Some(part) = line.get_mut(square.columns.clone()) {
                    part.fill(if white { WHITE } else { BLACK });
                }
            }
        }
        true
    }

    /// The SEI NAL unit, without a start code or a length before it.
    #[must_use]
    pub fn sei(self, codec: Codec) -> Vec<u8> {
        let text = format!("number={} time={}", self.number, self.time);
        // H.264: type 6; H.265: a prefix message of the base layer.
        let mut nal = match codec {
            Codec::H264 => vec![0x06],
            Codec::H265 => vec![nal::PREFIX_SEI << 1, 1],
        };
        // user_data_unregistered is 5. At most 16 + 44 bytes.
        let size = u8::try_from(UUID.len() + text.len()).unwrap_or(0);
        nal.extend([0x05, size]);
        nal.extend_from_slice(&UUID);
        nal.extend_from_slice(text.as_bytes());
        nal.push(0x80);
        nal
    }
}

/// CRC-32 (IEEE 802.3) of twelve bytes, the most significant first.
fn checksum(known: u128) -> u32 {
    let mut crc = u32::MAX;
    for byte in known.to_be_bytes().into_iter().skip(4) {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    !crc
}
