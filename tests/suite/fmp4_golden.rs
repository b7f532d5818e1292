//! What `fmp4` reads of real media, compared with `ffprobe`, and of chunks made by hand.

use crate::support::handmade::{Handmade, OTHER, SYNC, both_tracks, boxed, chunk_of, full};
use crate::support::media::{Kind, Packet, media, packets};
use bytes::Bytes;
use kasacam::domain::fragment::Track;
use kasacam::fmp4::{self, ChunkInfo, TrackRun};

#[test]
fn the_header_of_real_media_is_read() {
    let video = |timescale| Track { id: 1, timescale };
    let audio = Some(Track { id: 2, timescale: 16_000 });
    let cases = [
        (Kind::Silent, "avc1.42c01e", 15_360, None),
        (Kind::Reordered, "avc1.4d401e,mp4a.40.2", 15_360, audio),
        (Kind::Negative, "avc1.4d401e,mp4a.40.2", 15_360, audio),
        (Kind::Chunked, "avc1.4d400c,mp4a.40.2", 1_500, audio),
    ];
    for (kind, codecs, timescale, audio) in cases {
        let init = &media(kind).init;
        assert_eq!(init.codecs, codecs, "{kind:?}");
        assert_eq!((init.video, init.audio), (video(timescale), audio), "{kind:?}");
        assert_eq!((init.width, init.height), (320, 240), "{kind:?}");
        assert_eq!(fmp4::mime(init), format!("video/mp4; codecs=\"{codecs}\""));
        assert_eq!(media(kind).file[..init.bytes.len()], init.bytes[..], "{kind:?}");
    }
}

#[test]
fn the_samples_of_real_chunks_are_those_that_ffprobe_reads() {
    for kind in Kind::ALL {
        let made = media(kind);
        let packets = packets(&made.file);
        assert_eq!(packets.iter().filter(|packet| packet.track == 1).count(), 45);
        let mut seen = 0;
        for (number, (at, chunk)) in made.chunks.iter().enumerate() {
            let info = fmp4::read_chunk(&made.init, chunk).unwrap();

            assert_eq!((info.moof, info.end), (0, chunk.len() as u64));
            assert_eq!(info.sequence as usize, number + 1);
            for run in &info.runs {
                let within = |packet: &&Packet| {
                    packet.track == run.track && (*at..at + chunk.len()).contains(&packet.position)
                };
                let samples: Vec<&Packet> = packets.iter().filter(within).collect();
                // If offsets are negative, ffprobe shows the track later by the smallest of them: one frame.
                let late = if (kind, run.track) == (Kind::Negative, 1) { 1_024 } else { 0 };
                // A packet's duration is that of its frame; a sample's lasts until the next one.
                let last = samples[samples.len() - 1];
                let end = u64::try_from(last.dts).unwrap() + last.duration;
                let expected = TrackRun {
                    track: run.track,
                    decode_time: samples[0].dts.try_into().unwrap(),
                    duration: end - u64::try_from(samples[0].dts).unwrap(),
                    samples: u32::try_from(samples.len()).unwrap(),
                    bytes: samples.iter().map(|packet| packet.size).sum(),
                    earliest_presentation: samples.iter().map(|packet| packet.pts).min().unwrap() - late,
                };
                let mut run = run.clone();
                if packets.iter().rfind(|packet| packet.track == run.track) == Some(last) {
                    // The last frame of a track may be cut short; its packet does not show this.
                    let short = expected.duration - run.duration;
                    assert!(short < last.duration, "{kind:?}: {run:?}");
                    run.duration += short;
                }
                assert_eq!(run, expected, "{kind:?} chunk {number}");
                if run.track == 1 {
                    assert_eq!(info.starts_with_sync, samples[0].is_key, "{kind:?} chunk {number}");
                }
                seen += samples.len();
            }
        }
        assert_eq!(seen, packets.len(), "{kind:?}: every packet is in a chunk");
        let tracks = |(_, chunk): &(usize, Vec<u8>)| fmp4::read_chunk(&made.init, chunk).unwrap().runs.len();
        assert_eq!(made.chunks.iter().map(tracks).max(), Some(if kind.has_sound() { 2 } else { 1 }));
    }
}

#[test]
fn reordered_pictures_are_presented_before_they_were_decoded_where_the_muxer_says_so() {
    let first = |kind: Kind| {
        let made = media(kind);
        fmp4::read_chunk(&made.init, &made.chunks[1].1).unwrap().runs[0].clone()
    };
    // After one second. B-frames in a pyramid are two frames late, of 1024 ticks each.
    let negative = TrackRun {
        track: 1,
        decode_time: 15_360,
        duration: 15_360,
        samples: 15,
        bytes: 0,
        earliest_presentation: 15_360,
    };
    assert_eq!(TrackRun { bytes: 0, ..first(Kind::Negative) }, negative);
    let positive = TrackRun { earliest_presentation: 15_360 + 2 * 1_024, ..negative };
    assert_eq!(TrackRun { bytes: 0, ..first(Kind::Reordered) }, positive);
}

#[test]
fn the_fields_of_a_run_come_before_the_defaults_of_its_fragment() {
    // 8 (moof) + 16 (mfhd) + 8 (traf) + tfhd + 20 (tfdt) + trun + 8 (mdat)
    let base = 8 + 16 + 8 + 20 + 8;
    let run = |tfhd: Vec<u8>, trun: &dyn Fn(u32) -> Vec<u8>| {
        let offset = u32::try_from(base + tfhd.len() + trun(0).len()).unwrap();
        let tfdt = full(b"tfdt", 1, 0, &[1, 0]);
        let bytes = Handmade { tfhd, tfdt, trun: trun(offset), mdat: 60 }.build();
        fmp4::read_chunk(both_tracks(), &bytes).unwrap()
    };
    let expected = |sync: bool, duration: u64, earliest: i64| ChunkInfo {
        moof: 0,
        end: 0,
        starts_with_sync: sync,
        sequence: 9,
        runs: vec![TrackRun {
            track: 1,
            decode_time: 1 << 32,
            duration,
            samples: 3,
            bytes: 60,
            earliest_presentation: (1 << 32) + earliest,
        }],
    };
    let check = |found: ChunkInfo, expected: ChunkInfo| {
        assert_eq!(found, ChunkInfo { end: found.end, ..expected });
    };
    let defaults = |flags: u32| full(b"tfhd", 0, 0x02_0038, &[1, 100, 20, flags]);

    // No fields of their own: three samples of 100 ticks and 20 bytes.
    check(run(defaults(OTHER), &|at| full(b"trun", 0, 0x1, &[3, at])), expected(false, 300, 0));
    check(run(defaults(SYNC), &|at| full(b"trun", 0, 0x1, &[3, at])), expected(true, 300, 0));
    // The first sample's flags.
    check(run(defaults(OTHER), &|at| full(b"trun", 0, 0x5, &[3, at, SYNC])), expected(true, 300, 0));
    check(run(defaults(SYNC), &|at| full(b"trun", 0, 0x5, &[3, at, OTHER])), expected(false, 300, 0));
    // Flags of each sample.
    let flags = |at| full(b"trun", 0, 0x401, &[3, at, SYNC, OTHER, OTHER]);
    check(run(defaults(OTHER), &flags), expected(true, 300, 0));
    // Durations and sizes of each sample.
    let own = |at| full(b"trun", 0, 0x301, &[3, at, 1, 20, 2, 30, 4, 10]);
    check(run(defaults(SYNC), &own), expected(true, 7, 0));
    // Composition offsets: of version 1 they are signed, of version 0 they are not.
    let signed = |at| full(b"trun", 1, 0x801, &[3, at, 0, 100, u32::from_be_bytes((-250_i32).to_be_bytes())]);
    check(run(defaults(SYNC), &signed), expected(true, 300, 200 - 250));
    let unsigned = |at| full(b"trun", 0, 0x801, &[3, at, 0x8000_0000, 0x7fff_ffff, 0xffff_ffff]);
    check(run(defaults(SYNC), &unsigned), expected(true, 300, 0x8000_0000));
    // No default in the fragment: the defaults of the moov are used, where ffmpeg writes none.
    let bare = full(b"tfhd", 0, 0x02_0000, &[1]);
    check(run(bare, &own), expected(true, 7, 0));
}

#[test]
fn a_chunk_that_is_not_in_order_is_refused_with_its_box() {
    let mfhd = full(b"mfhd", 0, 0, &[1]);
    let tfhd = full(b"tfhd", 0, 0x02_0038, &[1, 100, 20, SYNC]);
    let audio = full(b"tfhd", 0, 0x02_0038, &[2, 100, 20, SYNC]);
    let tfdt = full(b"tfdt", 0, 0, &[0]);
    let trun = |at: u32| full(b"trun", 0, 0x1, &[3, at]);
    let traf = |parts: &[&[u8]]| boxed(b"traf", parts);
    // tfhd has 28 bytes, at 32; tfdt 16; trun 20, at 76.
    let length = 8 + 16 + 8 + 28 + 16 + 20;
    let good = |at: u32, mdat: usize| chunk_of(&[&mfhd, &traf(&[&tfhd, &tfdt, &trun(at)])], mdat);
    let refused = |bytes: Vec<u8>, offset: u64, what: &str| {
        let why = fmp4::read_chunk(both_tracks(), &bytes).expect_err(what);
        assert_eq!((why.offset, why.what.as_str()), (offset, what));
    };

    assert!(fmp4::read_chunk(both_tracks(), &good(length + 8, 60)).is_ok());
    refused(good(length + 7, 60), 76, "trun: has a sample outside of its mdat");
    refused(good(length + 9, 60), 76, "trun: has a sample outside of its mdat");
    refused(good(length + 8, 59), 76, "trun: has a sample outside of its mdat");
    refused(good(0x8000_0000, 60), 76, "trun: points before its moof");
    refused(
        [good(length + 8, 60), boxed(b"free", &[])].concat(),
        164,
        "free: stands behind the mdat of a chunk",
    );
    refused(good(length + 8, 60).split_off(length as usize), 0, "no moof with its mdat");
    refused(boxed(b"moof", &[&mfhd]), 0, "no moof with its mdat");
    refused([boxed(b"free", &[]), boxed(b"mdat", &[])].concat(), 0, "free: stands where moof belongs");
    refused([boxed(b"moof", &[&mfhd]), boxed(b"free", &[])].concat(), 24, "free: stands where mdat belongs");
    refused(chunk_of(&[], 0), 0, "moof: has no mfhd");
    refused(chunk_of(&[&mfhd], 0), 0, "moof: has no traf");
    refused(chunk_of(&[&mfhd, &traf(&[&tfdt])], 0), 24, "traf: has no tfhd");
    refused(chunk_of(&[&mfhd, &traf(&[&tfhd])], 0), 24, "traf: has no tfdt");
    let twice = [&mfhd[..], &traf(&[&audio, &tfdt]), &traf(&[&tfhd, &tfdt]), &traf(&[&audio, &tfdt])];
    refused(chunk_of(&twice, 0), 128, "traf: is the second of its track");
    let foreign = full(b"tfhd", 0, 0x02_0000, &[3]);
    let names = "tfhd: names a track that the moov does not have";
    refused(chunk_of(&[&mfhd, &traf(&[&foreign, &tfdt])], 0), 32, names);
    let absolute = full(b"tfhd", 0, 0x1, &[1, 0, 0]);
    let counts = "tfhd: counts its data from the start of a file, not from its moof";
    refused(chunk_of(&[&mfhd, &traf(&[&absolute, &tfdt])], 0), 32, counts);
    let placeless = full(b"trun", 0, 0, &[3]);
    let silent = "trun: does not say where its data is";
    refused(chunk_of(&[&mfhd, &traf(&[&tfhd, &tfdt, &placeless])], 60), 76, silent);
    let promising = full(b"trun", 0, 0x201, &[3, length + 16, 20, 20]);
    refused(chunk_of(&[&mfhd, &traf(&[&tfhd, &tfdt, &promising])], 60), 76, "trun: is too short");
}

#[test]
fn samples_of_no_size_are_not_counted_for_ever() {
    // No field of their own and no byte in the mdat: the file would not grow with their number.
    let tfhd = full(b"tfhd", 0, 0x02_0038, &[1, 1, 0, SYNC]);
    let tfdt = full(b"tfdt", 0, 0, &[0]);
    let many = full(b"trun", 0, 0x1, &[1 << 20, 108]);
    let bytes = Handmade { tfhd, tfdt, trun: many, mdat: 60 }.build();

    let why = fmp4::read_chunk(both_tracks(), &bytes).unwrap_err();

    assert_eq!((why.offset, why.what.as_str()), (76, "trun: has more samples than its mdat has bytes"));
}

#[test]
fn a_header_that_the_spool_cannot_use_is_refused() {
    let init = &both_tracks().bytes;
    let find = |kind: &[u8; 4]| init.windows(4).position(|part| part == kind).unwrap();
    let with = |kind: &[u8; 4], new: &[u8; 4]| {
        let mut bytes = init.to_vec();
        bytes[find(kind)..find(kind) + 4].copy_from_slice(new);
        fmp4::read_init(Bytes::from(bytes)).unwrap_err().what
    };
    let kind = "trak: is a second track of its kind, or of a kind we do not write";
    assert_eq!(with(b"soun", b"vide"), kind);
    assert_eq!(with(b"soun", b"text"), kind);
    assert_eq!(with(b"avc1", b"vvc1"), "vvc1: is neither H.264 nor H.265");
    assert_eq!(with(b"avcC", b"hvcC"), "avc1: has no avcC");
    assert_eq!(with(b"mp4a", b"Opus"), "Opus: is not AAC");
    assert_eq!(with(b"esds", b"dOps"), "mp4a: has no esds");
    assert_eq!(with(b"mdhd", b"free"), "mdia: has no mdhd");
    assert_eq!(with(b"ftyp", b"moof"), "moof: stands where ftyp belongs");
    assert_eq!(with(b"moov", b"free"), "free: stands where moov belongs");
    let ftyp = 8 + 16;
    let bare = [&init[..ftyp], &boxed(b"moov", &[])].concat();
    assert_eq!(fmp4::read_init(Bytes::from(bare)).unwrap_err().what, "moov: has no video track");
    let more = [&init[..], &boxed(b"free", &[])].concat();
    let why = fmp4::read_init(Bytes::from(more)).unwrap_err();
    assert_eq!(
        why.to_string(),
        format!("at byte {}: free: stands behind the moov of an initialisation segment", init.len())
    );
    let mut timeless = init.to_vec();
    timeless[find(b"mdhd") + 16..find(b"mdhd") + 20].fill(0);
    assert_eq!(fmp4::read_init(Bytes::from(timeless)).unwrap_err().what, "mdhd: has no timescale");
}

/// `AudioSpecificConfig` directly follows tag 5; its top five bits are the object type.
#[test]
fn the_audio_object_type_is_read_with_its_escape() {
    let init = &both_tracks().bytes;
    let esds = init.windows(4).position(|part| part == b"esds").unwrap();
    let tag = esds + init[esds..].windows(4).position(|part| part == [5, 0x80, 0x80, 0x80]).unwrap();
    let codecs = |first: u8, second: u8| {
        let mut bytes = init.to_vec();
        bytes[tag + 5..tag + 7].copy_from_slice(&[first, second]);
        fmp4::read_init(Bytes::from(bytes)).unwrap().codecs
    };
    assert_eq!(codecs(2 << 3, 0), "avc1.4d401e,mp4a.40.2");
    assert_eq!(codecs(5 << 3 | 7, 0xff), "avc1.4d401e,mp4a.40.5");
    // 31, then six bits that count from 32: 001 010, which is 10 and with them 42, xHE-AAC.
    assert_eq!(codecs(31 << 3 | 0b001, 0b010 << 5), "avc1.4d401e,mp4a.40.42");
}
