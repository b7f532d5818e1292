//! The smallest valid fragmented MP4: one H.264 track, with frames that contain a label instead of slices.

use bytes::Bytes;
use kasacam::domain::fragment::{Chunk, Epoch, Init};
use kasacam::domain::time::Mono;
use std::sync::Arc;

/// Ticks per second.
const TIMESCALE: u64 = 90_000;
/// Nanoseconds from one frame to the next: ten per second.
pub const PICTURE: u64 = 100_000_000;
/// Frames in a chunk.
pub const PICTURES: u32 = 2;
/// Nanoseconds of a chunk.
pub const CHUNK: u64 = PICTURE * PICTURES as u64;

fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let size = 8 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut out = u32::try_from(size).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(kind);
    parts.iter().for_each(|part| out.extend_from_slice(part));
    out
}

fn full(kind: &[u8; 4], version: u8, flags: u32, parts: &[&[u8]]) -> Vec<u8> {
    let head = (u32::from(version) << 24 | flags).to_be_bytes();
    let mut all: Vec<&[u8]> = vec![&head];
    all.extend_from_slice(parts);
    boxed(kind, &all)
}

const MATRIX: [u8; 36] = {
    let mut matrix = [0; 36];
    matrix[1] = 1;
    matrix[17] = 1;
    matrix[32] = 0x40;
    matrix
};

/// `ftyp` and `moov` for frames of `width` by 48.
pub fn init(width: u16) -> Arc<Init> {
    let ftyp = boxed(b"ftyp", &[b"iso6", &[0, 0, 0, 0], b"iso6", b"mp41"]);
    let mvhd = full(
        b"mvhd",
        0,
        0,
        &[
            &[0; 8],
            &1000_u32.to_be_bytes(),
            &[0; 4],
            &[0, 1, 0, 0, 1, 0, 0, 0],
            &[0; 8],
            &MATRIX,
            &[0; 24],
            &2_u32.to_be_bytes(),
        ],
    );
    let size = [&(u32::from(width) << 16).to_be_bytes()[..], &(48_u32 << 16).to_be_bytes()].concat();
    let tkhd = full(
        b"tkhd",
        0,
        3,
        &[&[0; 8], &1_u32.to_be_bytes(), &[0; 4], &[0; 4], &[0; 8], &[0; 8], &MATRIX, &size],
    );
    let mdhd =
        full(b"mdhd", 0, 0, &[&[0; 8], &(TIMESCALE as u32).to_be_bytes(), &[0; 4], &[0x55, 0xc4, 0, 0]]);
    let hdlr = full(b"hdlr", 0, 0, &[&[0; 4], b"vide", &[0; 12], b"video\0"]);
    let vmhd = full(b"vmhd", 0, 1, &[&[0; 8]]);
    let dinf = boxed(b"dinf", &[&full(b"dref", 0, 0, &[&1_u32.to_be_bytes(), &full(b"url ", 0, 1, &[])])]);
    // Baseline profile, level 1; a sequence and a picture parameter set.
    let sps = [0x67, 0x42, 0xc0, 0x0a, 0x8c, 0x8d, 0x40];
    let pps = [0x68, 0xce, 0x3c, 0x80];
    let avcc = boxed(
        b"avcC",
        &[&[1, 0x42, 0xc0, 0x0a, 0xff, 0xe1, 0, sps.len() as u8], &sps, &[1, 0, pps.len() as u8], &pps],
    );
    let avc1 = boxed(
        b"avc1",
        &[
            &[0; 6],
            &[0, 1],
            &[0; 16],
            &width.to_be_bytes(),
            &48_u16.to_be_bytes(),
            &[0, 0x48, 0, 0, 0, 0x48, 0, 0],
            &[0; 4],
            &[0, 1],
            &[0; 32],
            &[0, 0x18, 0xff, 0xff],
            &avcc,
        ],
    );
    let stsd = full(b"stsd", 0, 0, &[&1_u32.to_be_bytes(), &avc1]);
    let none = [0; 4];
    let stbl = boxed(
        b"stbl",
        &[
            &stsd,
            &full(b"stts", 0, 0, &[&none]),
            &full(b"stsc", 0, 0, &[&none]),
            &full(b"stsz", 0, 0, &[&[0; 8]]),
            &full(b"stco", 0, 0, &[&none]),
        ],
    );
    let minf = boxed(b"minf", &[&vmhd, &dinf, &stbl]);
    let trak = boxed(b"trak", &[&tkhd, &boxed(b"mdia", &[&mdhd, &hdlr, &minf])]);
    let mvex =
        boxed(b"mvex", &[&full(b"trex", 0, 0, &[&1_u32.to_be_bytes(), &1_u32.to_be_bytes(), &[0; 12]])]);
    let moov = boxed(b"moov", &[&mvhd, &trak, &mvex]);
    let bytes = Bytes::from([ftyp, moov].concat());
    Arc::new(kasacam::fmp4::read_init(bytes).expect("the tiny moov is valid"))
}

/// The label of a chunk, as written into its frames.
pub fn label(fragment: u32, chunk: u32) -> String {
    format!("<fragment {fragment:05} chunk {chunk:02}>")
}

/// The labels in some bytes, in order.
pub fn labels(bytes: &[u8]) -> Vec<(u32, u32)> {
    let start = b"<fragment ";
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse().ok();
    let at = |at: &usize| bytes[*at..].starts_with(start);
    (0..bytes.len().saturating_sub(26))
        .filter(at)
        .filter_map(|at| Some((number(&bytes[at + 10..at + 15])?, number(&bytes[at + 22..at + 24])?)))
        .collect()
}

/// The parameters of a chunk.
#[derive(Clone, Debug)]
pub struct Tiny {
    pub epoch: Epoch,
    pub init: Arc<Init>,
    pub fragment: u32,
    pub chunk: u32,
    pub of: u32,
    /// Sequence number of the `mfhd`: counts the chunks of a run.
    pub sequence: u32,
    /// Capture time of its first frame, which is also its media time, in nanoseconds.
    pub start: u64,
    /// Bytes of each frame.
    pub size: usize,
    /// Zeros at the end of each frame, as some encoders leave them.
    pub zeros: usize,
}

impl Tiny {
    pub fn build(&self) -> Chunk {
        let idr = self.chunk == 0;
        let mut mdat = Vec::new();
        let mut samples = Vec::new();
        for picture in 0..PICTURES {
            let label = if picture == 0 { label(self.fragment, self.chunk) } else { "more".to_owned() };
            let mut nal = vec![if idr && picture == 0 { 0x65 } else { 0x41 }];
            nal.extend_from_slice(label.as_bytes());
            nal.resize(self.size.max(nal.len()), 0xa5);
            nal.resize(nal.len() + self.zeros, 0);
            let length = u32::try_from(nal.len()).unwrap();
            mdat.extend_from_slice(&length.to_be_bytes());
            mdat.extend_from_slice(&nal);
            let flags: u32 = if idr && picture == 0 { 0x0200_0000 } else { 0x0101_0000 };
            samples.extend_from_slice(
                &u32::try_from(PICTURE * TIMESCALE / 1_000_000_000).unwrap().to_be_bytes(),
            );
            samples.extend_from_slice(&(length + 4).to_be_bytes());
            samples.extend_from_slice(&flags.to_be_bytes());
        }
        let ticks = self.start * TIMESCALE / 1_000_000_000;
        let moof = |offset: u32| {
            let tfhd = full(b"tfhd", 0, 0x02_0000, &[&1_u32.to_be_bytes()]);
            let tfdt = full(b"tfdt", 1, 0, &[&ticks.to_be_bytes()]);
            let trun = full(b"trun", 0, 0x701, &[&PICTURES.to_be_bytes(), &offset.to_be_bytes(), &samples]);
            let mfhd = full(b"mfhd", 0, 0, &[&self.sequence.to_be_bytes()]);
            boxed(b"moof", &[&mfhd, &boxed(b"traf", &[&tfhd, &tfdt, &trun])])
        };
        let length = u32::try_from(moof(0).len()).unwrap();
        let bytes = [moof(length + 8), boxed(b"mdat", &[&mdat])].concat();
        Chunk {
            epoch: self.epoch,
            init: Arc::clone(&self.init),
            bytes: Bytes::from(bytes),
            starts_fragment: idr,
            ends_fragment: self.chunk + 1 == self.of,
            start: Mono(self.start),
            duration: CHUNK,
            frames: PICTURES,
            timing: kasacam::domain::fragment::Timing::Device,
        }
    }
}
