//! The tests' own reader of H.264 and AAC: it shares no code with the agent, which must not be the judge of
//! what it stored. It reads well-formed data (ISO/IEC 14496-12, 14496-15; ITU-T H.264, Annex B) and panics
//! otherwise.

use ring::digest::{SHA256, digest};
use std::fmt;

/// The SHA-256 of a slice, or of an audio frame.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sum([u8; 32]);

impl Sum {
    pub fn of(bytes: &[u8]) -> Sum {
        Sum(digest(&SHA256, bytes).as_ref().try_into().unwrap())
    }
}

/// The first bytes are enough for a reader.
impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A coded slice: a NAL unit of type 1 or 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slice {
    pub sum: Sum,
    pub idr: bool,
    /// The first slice of its picture.
    pub begins: bool,
}

/// Which of these NAL units are slices.
pub fn slices<'a>(nals: impl IntoIterator<Item = &'a [u8]>) -> Vec<Slice> {
    let coded = nals.into_iter().filter(|nal| matches!(kind(nal), 1 | 5));
    // `first_mb_in_slice` is 0 where its Exp-Golomb code is a single one.
    coded.map(|nal| Slice { sum: Sum::of(nal), idr: kind(nal) == 5, begins: nal[1] & 0x80 != 0 }).collect()
}

/// `nal_unit_type`.
pub fn kind(nal: &[u8]) -> u8 {
    nal[0] & 0x1f
}

/// The NAL units of a byte stream (ITU-T H.264, B.1), without trailing zeros.
pub fn nals_of_stream(stream: &[u8]) -> Vec<&[u8]> {
    let mut starts = Vec::new();
    let mut at = 0;
    while at + 3 <= stream.len() {
        match stream[at..at + 3] {
            [0, 0, 1] => {
                starts.push(at);
                at += 3;
            }
            // No start code begins at the next two bytes either.
            [_, _, third] if third > 1 => at += 3,
            _ => at += 1,
        }
    }
    let ends = starts.iter().skip(1).copied().chain([stream.len()]);
    let whole = starts.iter().zip(ends).map(|(start, end)| &stream[start + 3..end]);
    whole
        .map(|nal| &nal[..=nal.iter().rposition(|byte| *byte != 0).expect("a NAL unit is not all zeros")])
        .collect()
}

/// The raw frames of AAC in ADTS (ISO/IEC 14496-3, 1.A.2.2).
pub fn frames_of_adts(mut stream: &[u8]) -> Vec<Sum> {
    let mut frames = Vec::new();
    while !stream.is_empty() {
        assert!(stream[0] == 0xff && stream[1] & 0xf6 == 0xf0, "no ADTS header");
        let header = if stream[1] & 1 == 1 { 7 } else { 9 };
        let length =
            usize::from(stream[3] & 3) << 11 | usize::from(stream[4]) << 3 | usize::from(stream[5] >> 5);
        assert_eq!(stream[6] & 3, 0, "one raw data block a frame");
        frames.push(Sum::of(&stream[header..length]));
        stream = &stream[length..];
    }
    frames
}

/// A fragmented MP4 file, sample by sample.
#[derive(Debug)]
pub struct Movie {
    pub video: Track,
    pub audio: Option<Track>,
    /// Every `prft`: the track, the NTP time (32.32 fixed point) and the media time.
    pub references: Vec<(u32, u64, u64)>,
    /// Kinds of the boxes at the top level.
    pub boxes: Vec<[u8; 4]>,
}

#[derive(Debug)]
pub struct Track {
    pub id: u32,
    /// Ticks per second.
    pub timescale: u32,
    pub samples: Vec<Sample>,
    /// For video: size of a NAL unit's length, and the parameter sets of `avcC`.
    length_size: usize,
    pub parameter_sets: Vec<Vec<u8>>,
    defaults: [u32; 3],
}

#[derive(Debug)]
pub struct Sample {
    /// In ticks of the track, like the others. Edit lists are not applied.
    pub decoded: u64,
    pub presented: i64,
    pub duration: u32,
    pub sync: bool,
    pub data: Vec<u8>,
}

impl Track {
    /// The NAL units of all samples, in the order of decoding.
    pub fn nals(&self) -> Vec<&[u8]> {
        let mut nals = Vec::new();
        for sample in &self.samples {
            let mut rest = &sample.data[..];
            while !rest.is_empty() {
                let (length, behind) = rest.split_at(self.length_size);
                let (nal, behind) =
                    behind.split_at(length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)));
                nals.push(nal);
                rest = behind;
            }
        }
        nals
    }

    pub fn slices(&self) -> Vec<Slice> {
        slices(self.nals())
    }

    pub fn sums(&self) -> Vec<Sum> {
        self.samples.iter().map(|sample| Sum::of(&sample.data)).collect()
    }

    /// Ticks from the first sample that is presented to the end of the last one.
    pub fn ticks(&self) -> std::ops::Range<u64> {
        let first = self.samples.iter().map(|sample| sample.presented).min().expect("a track has samples");
        let first = u64::try_from(first).expect("nothing is presented before zero");
        let last = self.samples.last().expect("a track has samples");
        first..first + last.decoded + u64::from(last.duration) - self.samples[0].decoded
    }
}

impl Movie {
    /// Reads a whole file; `mfra` must list the `moof`s of each track that begin with a sync sample, and must
    /// be last.
    pub fn read(file: &[u8]) -> Movie {
        let top = boxes(file);
        let moov = top.iter().find(|(kind, ..)| kind == b"moov").expect("a moov").2;
        let mut tracks: Vec<(Track, [u8; 4])> = children(moov, b"trak").map(track).collect();
        for trex in children(child(moov, b"mvex"), b"trex") {
            let (track, _) =
                tracks.iter_mut().find(|(track, _)| track.id == u32_at(trex, 4)).expect("trex's track");
            track.defaults = [u32_at(trex, 12), u32_at(trex, 16), u32_at(trex, 20)];
        }
        let mut references = Vec::new();
        // For every moof whose first sample of a track is a sync sample: the track and the position.
        let mut moofs = Vec::new();
        for (kind, start, body) in &top {
            match kind {
                b"prft" => references.push((u32_at(body, 4), u64_at(body, 8), u64_at(body, 16))),
                b"moof" => {
                    for traf in children(body, b"traf") {
                        let id = u32_at(child(traf, b"tfhd"), 4);
                        let track =
                            tracks.iter_mut().find(|(track, _)| track.id == id).expect("the traf's track");
                        let before = track.0.samples.len();
                        samples(&file[*start..], traf, &mut track.0);
                        if track.0.samples.get(before).is_some_and(|sample| sample.sync) {
                            moofs.push((id, *start as u64));
                        }
                    }
                }
                _ => {}
            }
        }
        let (last, _, mfra) = top.last().unwrap();
        assert_eq!(last, b"mfra", "the last box");
        let mut listed: Vec<(u32, u64)> = children(mfra, b"tfra").flat_map(random_access).collect();
        listed.sort_unstable();
        moofs.sort_unstable();
        assert_eq!(listed, moofs, "mfra lists the moofs that begin with a sync sample");
        let mut of = |handler: &[u8; 4]| {
            let at = tracks.iter().position(|(_, found)| found == handler)?;
            Some(tracks.remove(at).0)
        };
        let movie = Movie {
            video: of(b"vide").expect("video"),
            audio: of(b"soun"),
            references,
            boxes: top.iter().map(|(kind, ..)| *kind).collect(),
        };
        assert!(tracks.is_empty(), "no track of another kind");
        movie
    }
}

/// Box by box: the kind, the position, and the content.
fn boxes(bytes: &[u8]) -> Vec<([u8; 4], usize, &[u8])> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let size = u32_at(bytes, at) as usize;
        assert!(size >= 8, "a box of {size} bytes at {at}");
        found.push((bytes[at + 4..at + 8].try_into().unwrap(), at, &bytes[at + 8..at + size]));
        at += size;
    }
    found
}

fn children<'a>(parent: &'a [u8], kind: &'a [u8; 4]) -> impl Iterator<Item = &'a [u8]> + 'a {
    boxes(parent).into_iter().filter(move |(found, ..)| found == kind).map(|(_, _, body)| body)
}

fn child<'a>(parent: &'a [u8], kind: &'a [u8; 4]) -> &'a [u8] {
    children(parent, kind).next().unwrap_or_else(|| panic!("no {}", String::from_utf8_lossy(kind)))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn track(trak: &[u8]) -> (Track, [u8; 4]) {
    let (tkhd, mdia) = (child(trak, b"tkhd"), child(trak, b"mdia"));
    // Version 1 has times of 64 bits.
    let behind_times = |full: &[u8]| if full[0] == 0 { 12 } else { 20 };
    let mdhd = child(mdia, b"mdhd");
    let handler: [u8; 4] = child(mdia, b"hdlr")[8..12].try_into().unwrap();
    let mut track = Track {
        id: u32_at(tkhd, behind_times(tkhd)),
        timescale: u32_at(mdhd, behind_times(mdhd)),
        samples: Vec::new(),
        length_size: 0,
        parameter_sets: Vec::new(),
        defaults: [0; 3],
    };
    if handler == *b"vide" {
        let stsd = child(child(child(mdia, b"minf"), b"stbl"), b"stsd");
        let entries = boxes(&stsd[8..]);
        let [(kind, _, entry)] = entries[..] else { panic!("not one entry") };
        assert!(kind == *b"avc1" || kind == *b"avc3", "H.264");
        let avcc = child(&entry[78..], b"avcC");
        track.length_size = usize::from(avcc[4] & 3) + 1;
        let mut rest = &avcc[5..];
        for mask in [0x1f, 0xff] {
            let count = rest[0] & mask;
            rest = &rest[1..];
            for _ in 0..count {
                let length = usize::from(rest[0]) << 8 | usize::from(rest[1]);
                track.parameter_sets.push(rest[2..2 + length].to_vec());
                rest = &rest[2 + length..];
            }
        }
    }
    (track, handler)
}

/// Adds the samples of a `traf`; `moof` is the file from its `moof` on.
fn samples(moof: &[u8], traf: &[u8], track: &mut Track) {
    let tfhd = child(traf, b"tfhd");
    let flags = u32_at(tfhd, 0) & 0xff_ffff;
    assert!(flags & 0x02_0001 == 0x02_0000, "data is counted from the moof");
    let mut at = if flags & 0x02 != 0 { 12 } else { 8 };
    let mut defaults = track.defaults;
    for (flag, default) in [0x08, 0x10, 0x20].into_iter().zip(&mut defaults) {
        if flags & flag != 0 {
            *default = u32_at(tfhd, at);
            at += 4;
        }
    }
    let tfdt = child(traf, b"tfdt");
    let mut decoded = if tfdt[0] == 0 { u64::from(u32_at(tfdt, 4)) } else { u64_at(tfdt, 4) };
    let mut data = None;
    for trun in children(traf, b"trun") {
        let flags = u32_at(trun, 0) & 0xff_ffff;
        let mut at = 8;
        let mut take = |present: bool| {
            present.then(|| {
                at += 4;
                u32_at(trun, at - 4)
            })
        };
        let mut place =
            take(flags & 0x01 != 0).map(|offset| offset as usize).or(data).expect("a place of the data");
        let first_flags = take(flags & 0x04 != 0);
        for index in 0..u32_at(trun, 4) {
            let duration = take(flags & 0x100 != 0).unwrap_or(defaults[0]);
            let size = take(flags & 0x200 != 0).unwrap_or(defaults[1]) as usize;
            let of_first = first_flags.filter(|_| index == 0);
            let sample_flags = take(flags & 0x400 != 0).or(of_first).unwrap_or(defaults[2]);
            let offset = i32::from_be_bytes(take(flags & 0x800 != 0).unwrap_or(0).to_be_bytes());
            track.samples.push(Sample {
                decoded,
                presented: i64::try_from(decoded).unwrap() + i64::from(offset),
                duration,
                sync: sample_flags & 0x01_0000 == 0,
                data: moof[place..place + size].to_vec(),
            });
            decoded += u64::from(duration);
            place += size;
        }
        data = Some(place);
    }
}

/// The track of a `tfra`, with the position of each `moof` that it lists.
fn random_access(tfra: &[u8]) -> Vec<(u32, u64)> {
    assert!(tfra[0] == 1 && tfra[11] == 0, "places of 64 bits, numbers of one byte");
    let entries = tfra[16..].chunks_exact(19);
    assert_eq!(entries.len(), u32_at(tfra, 12) as usize);
    entries.map(|entry| (u32_at(tfra, 4), u64_at(entry, 8))).collect()
}
