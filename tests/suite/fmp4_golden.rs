//! What `fmp4` reads of real media, compared with `ffprobe`; and its own boxes, byte for byte.

use crate::support::media::{
    Kind, Packet, decoded_pictures, media, packet_counts, packets, record, segment, whole_segment,
};
use bytes::Bytes;
use kasacam::domain::fragment::Timing;
use kasacam::domain::fragment::{Init, Track};
use kasacam::domain::segment::Record;
use kasacam::domain::time::Utc;
use kasacam::fmp4::{self, ChunkInfo, MoofEntry, Origin, TrackRun};
use proptest::prelude::*;

fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    [&u32::try_from(body.len() + 8).unwrap().to_be_bytes()[..], kind, &body].concat()
}

fn full(kind: &[u8; 4], version: u8, flags: u32, fields: &[u32]) -> Vec<u8> {
    let fields: Vec<u8> = fields.iter().flat_map(|field| field.to_be_bytes()).collect();
    boxed(kind, &[&(u32::from(version) << 24 | flags).to_be_bytes(), &fields])
}

/// The header of a file with video in track 1 at 15360 ticks per second, and audio in track 2 at 16000.
fn both_tracks() -> &'static Init {
    &media(Kind::Negative).init
}

#[test]
fn the_header_of_real_media_is_read() {
    let video = |timescale| Track { id: 1, timescale };
    let sound = Some(Track { id: 2, timescale: 16_000 });
    let cases = [
        (Kind::Silent, "avc1.42c01e", 15_360, None),
        (Kind::Reordered, "avc1.4d401e,mp4a.40.2", 15_360, sound),
        (Kind::Negative, "avc1.4d401e,mp4a.40.2", 15_360, sound),
        (Kind::Chunked, "avc1.4d400c,mp4a.40.2", 1_500, sound),
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

/// A chunk of one track with the given boxes; the data offset in `trun` is for a `moof` of exactly this form.
struct Handmade {
    tfhd: Vec<u8>,
    tfdt: Vec<u8>,
    trun: Vec<u8>,
    mdat: usize,
}

impl Handmade {
    fn build(&self) -> Vec<u8> {
        let traf = boxed(b"traf", &[&self.tfhd, &self.tfdt, &self.trun]);
        chunk_of(&[&full(b"mfhd", 0, 0, &[9]), &traf], self.mdat)
    }
}

fn chunk_of(inside_moof: &[&[u8]], mdat: usize) -> Vec<u8> {
    [boxed(b"moof", inside_moof), boxed(b"mdat", &[&vec![0xa5; mdat]])].concat()
}

const SYNC: u32 = 0x0200_0000;
const OTHER: u32 = 0x0101_0000;

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
    let sound = full(b"tfhd", 0, 0x02_0038, &[2, 100, 20, SYNC]);
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
    let twice = [&mfhd[..], &traf(&[&sound, &tfdt]), &traf(&[&tfhd, &tfdt]), &traf(&[&sound, &tfdt])];
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
    assert_eq!(fmp4::read_init(Bytes::from(bare)).unwrap_err().what, "moov: has no track of pictures");
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

/// A chunk, and what is read of it, after `origin` was taken from its times.
fn rebased(init: &Init, chunk: &[u8], origin: Origin) -> (Vec<u8>, ChunkInfo) {
    let (mut bytes, mut info) = (chunk.to_vec(), fmp4::read_chunk(init, chunk).unwrap());
    fmp4::rebase(init, &mut bytes, &mut info, origin).unwrap();
    assert_eq!(info, fmp4::read_chunk(init, &bytes).unwrap(), "what was read is what stands there");
    (bytes, info)
}

#[test]
fn rebasing_moves_every_track_by_the_same_time() {
    for kind in Kind::ALL {
        let made = media(kind);
        let first = made.chunks.iter().find(|(_, chunk)| {
            let info = fmp4::read_chunk(&made.init, chunk).unwrap();
            info.starts_with_sync && info.runs[0].decode_time > 0
        });
        let first = fmp4::read_chunk(&made.init, &first.unwrap().1).unwrap();
        let (_, chunk) = made.chunks.last().unwrap();
        let before = fmp4::read_chunk(&made.init, chunk).unwrap();

        let (moved, after) = rebased(&made.init, chunk, Origin::of(&made.init, &first));

        // The earliest of the tracks, in ticks of the video; and that in ticks of the audio, rounded down.
        let scale = |track: u32| match made.init.audio {
            Some(audio) if audio.id == track => u64::from(audio.timescale),
            _ => u64::from(made.init.video.timescale),
        };
        let pictures = scale(made.init.video.id);
        let origin =
            first.runs.iter().map(|run| run.decode_time * pictures / scale(run.track)).min().unwrap();
        for (before, after) in before.runs.iter().zip(&after.runs) {
            let ticks = origin * scale(before.track) / pictures;
            let earlier = i64::try_from(ticks).unwrap();
            let expected = TrackRun {
                decode_time: before.decode_time - ticks,
                earliest_presentation: before.earliest_presentation - earlier,
                ..before.clone()
            };
            assert_eq!(*after, expected, "{kind:?}");
        }
        let changed = chunk.iter().zip(&moved).filter(|(before, after)| before != after).count();
        assert!((1..=8 * before.runs.len()).contains(&changed), "{changed} bytes of {kind:?}");
    }
}

#[test]
fn a_short_decode_time_stays_short() {
    let tfhd = full(b"tfhd", 0, 0x02_0038, &[1, 100, 20, SYNC]);
    let trun = full(b"trun", 0, 0x1, &[3, 104]);
    let with = |time| {
        let tfdt = full(b"tfdt", 0, 0, &[time]);
        Handmade { tfhd: tfhd.clone(), tfdt, trun: trun.clone(), mdat: 60 }.build()
    };
    let first = fmp4::read_chunk(both_tracks(), &with(15_360)).unwrap();

    let (bytes, _) = rebased(both_tracks(), &with(0xffff_ffff), Origin::of(both_tracks(), &first));

    assert_eq!(bytes, with(0xffff_ffff - 15_360));
}

#[test]
fn a_file_begins_with_the_earliest_of_its_tracks_and_nothing_lies_before_it() {
    let made = media(Kind::Negative);
    // The video begins at 2 s, the audio at 1.984 s: 30474.24 ticks of the video, and 31744 of its own.
    let first = fmp4::read_chunk(&made.init, &made.chunks[2].1).unwrap();
    assert_eq!(first.runs.iter().map(|run| run.decode_time).collect::<Vec<_>>(), [30_720, 31_744]);
    let origin = Origin::of(&made.init, &first);

    let times = |at: usize| {
        let (_, info) = rebased(&made.init, &made.chunks[at].1, origin);
        info.runs.iter().map(|run| run.decode_time).collect::<Vec<_>>()
    };

    assert_eq!(times(2), [246, 1], "the pictures by the whole tick");
    assert_eq!(times(0), [0, 0], "what is late begins with the file");
}

#[test]
fn a_number_goes_into_the_movie_fragment_header_alone() {
    let made = media(Kind::Chunked);
    let (_, chunk) = &made.chunks[1];
    let mut numbered = chunk.clone();

    fmp4::number_chunk(&mut numbered, 0x0102_0304).unwrap();

    // moof header, mfhd header, version and flags: 8 + 8 + 4.
    let expected = [&chunk[..20], &[1, 2, 3, 4], &chunk[24..]].concat();
    assert_eq!(numbered, expected);
    let mut short = boxed(b"moof", &[&full(b"mfhd", 0, 0, &[]), &boxed(b"traf", &[])]);
    let before = short.clone();
    assert!(fmp4::number_chunk(&mut short, 1).is_err());
    assert_eq!(short, before);
}

#[test]
fn the_record_is_read_back_from_its_box() {
    let bytes = fmp4::record_box(&record());

    assert_eq!(u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize, bytes.len());
    assert_eq!(&bytes[4..8], b"uuid");
    assert_eq!(bytes[8..24], *b"\x5e\x1d\x0c\x8a\x3b\x7f\x4e\x52\x9a\x61KASACM");
    let json: serde_json::Value = serde_json::from_slice(&bytes[24..]).unwrap();
    assert_eq!(json["device"], "cam-0001");
    assert_eq!(json["n"], 7);
    let file = [&both_tracks().bytes[..], &bytes].concat();
    let layout = fmp4::read_segment(&file).unwrap();
    assert_eq!((&layout.record, &layout.init), (&record(), both_tracks()));
    assert_eq!((layout.chunks.len(), layout.chunks_end, layout.complete), (0, file.len() as u64, false));

    let mut foreign = file.clone();
    foreign[both_tracks().bytes.len() + 8] ^= 1;
    let why = fmp4::read_segment(&foreign).unwrap_err();
    assert_eq!(
        (why.offset, why.what.as_str()),
        (both_tracks().bytes.len() as u64, "uuid: stands where the record belongs")
    );
}

/// A record box with these members, and a checksum if the record should have one.
fn record_of(json: &str) -> Vec<u8> {
    let json = json.strip_suffix('}').unwrap();
    let digest = ring::digest::digest(&ring::digest::SHA256, json.as_bytes());
    let check: String = digest.as_ref()[..4].iter().map(|byte| format!("{byte:02x}")).collect();
    let body = format!("{json},\"check\":\"{check}\"}}");
    boxed(b"uuid", &[b"\x5e\x1d\x0c\x8a\x3b\x7f\x4e\x52\x9a\x61KASACM", body.as_bytes()])
}

#[test]
fn a_record_of_a_later_release_is_told_from_one_that_is_damaged() {
    let file = |uuid: &[u8]| [&both_tracks().bytes[..], uuid].concat();
    let known = String::from_utf8(fmp4::record_box(&record())[24..].to_vec()).unwrap();
    let known = format!("{}}}", known.split_once(",\"check\":").unwrap().0);
    assert!(known.starts_with("{\"v\":1,"), "{known}");

    let more = record_of(&known.replace("\"n\":7", "\"event\":{\"kind\":\"motion\"},\"n\":7"));
    assert_eq!(fmp4::read_segment(&file(&more)).unwrap().record, record(), "one more member");
    assert!(!fmp4::is_newer(&file(&more)));

    for later in [
        known.replace("\"v\":1", "\"v\":2"),
        known.replace("\"v\":1", "\"v\":\"two\""),
        known.replace("\"start_mono\":", "\"begin\":"),
        known.replace("\"trusted\"", "\"disciplined\""),
        "{\"v\":3}".to_owned(),
    ] {
        let bytes = file(&record_of(&later));
        assert!(fmp4::read_segment(&bytes).is_err() && fmp4::is_newer(&bytes), "{later}");
        // Whatever the rest of the file will be like then.
        let other = [boxed(b"styp", &[]), boxed(b"moov", &[&[0xff; 9]]), record_of(&later)].concat();
        assert!(fmp4::is_newer(&other), "{later}");
    }

    let whole = record_of(&known);
    for bit in 0..whole.len() * 8 {
        let mut changed = whole.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(!fmp4::is_newer(&file(&changed)), "bit {bit}: damage is taken for a later release");
    }
    assert!(!fmp4::is_newer(&[]) && !fmp4::is_newer(&file(&[])));
}

#[test]
fn a_record_of_which_one_bit_has_changed_is_refused_and_one_without_a_checksum_is_read() {
    let bytes = fmp4::record_box(&record());
    let file = |uuid: &[u8]| [&both_tracks().bytes[..], uuid].concat();
    for bit in 24 * 8..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert!(fmp4::read_segment(&file(&changed)).is_err(), "bit {bit}");
    }

    let json = String::from_utf8(bytes[24..].to_vec()).unwrap();
    let json =
        format!("{}}}", json.split_once(",\"check\":").unwrap().0).replace("\"v\":1,", "").into_bytes();
    let size = u32::try_from(24 + json.len()).unwrap().to_be_bytes();
    let older = [&size[..], &bytes[4..24], &json].concat();
    assert_eq!(fmp4::read_segment(&file(&older)).unwrap().record, record());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_record_is_read_back(
        device in "\\PC{0,64}",
        plan in any::<String>().prop_map(|text| text.chars().take(64).collect::<String>()),
        n in any::<u64>(),
        start_mono in any::<u64>(),
        utc in any::<i64>(),
        history_hours in any::<u32>(),
        timing in prop_oneof![
            Just(Timing::Device), Just(Timing::Arrival), any::<u32>().prop_map(|lag_us| Timing::Camera { lag_us })
        ],
    ) {
        let start_utc = Utc::parse(&Utc(utc).floor_micros().to_string()).unwrap_or(Utc(0));
        let record = Record { device, plan, n, start_mono, start_utc, history_hours, timing, ..record() };
        let file = [&both_tracks().bytes[..], &fmp4::record_box(&record)].concat();
        prop_assert_eq!(fmp4::read_segment(&file).map(|layout| layout.record), Ok(record));
    }
}

#[test]
fn prft_is_written_byte_for_byte() {
    let at = |text: &str, nanos: i64| Utc(Utc::parse(text).unwrap().0 + nanos);
    let prft = fmp4::prft_box(0x0a0b_0c0d, at("2021-01-01T00:00:00Z", 500_000_000), 0x0102_0304_0506_0708);
    // 2021-01-01 is 3818448000 s after 1900-01-01.
    let expected: [u8; 32] = [
        0, 0, 0, 32, b'p', b'r', b'f', b't', 1, 0, 0, 24, 0x0a, 0x0b, 0x0c, 0x0d, 0xe3, 0x98, 0xe4, 0x80,
        0x80, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8,
    ];
    assert_eq!(u32::from_be_bytes(expected[16..20].try_into().unwrap()), 3_818_448_000);
    assert_eq!(prft, expected);
    let ntp = |utc| u64::from_be_bytes(fmp4::prft_box(1, utc, 0)[16..24].try_into().unwrap());
    assert_eq!(ntp(Utc(0)), 2_208_988_800 << 32);
    assert_eq!(ntp(Utc(1)), 2_208_988_800 << 32 | 4);
    assert_eq!(ntp(Utc(999_999_999)), 2_208_988_800 << 32 | 0xffff_fffc);
    assert_eq!(ntp(Utc(-1)), 2_208_988_799 << 32 | 0xffff_fffc);
    // The era ends on 2036-02-07 at 06:28:16.
    assert_eq!(ntp(at("2036-02-07T06:28:15Z", 0)), 0xffff_ffff << 32);
    assert_eq!(ntp(at("2036-02-07T06:28:16Z", 0)), 0);
    assert_eq!(ntp(at("2036-02-07T06:28:17Z", 0)), 1 << 32);
}

#[test]
fn a_shift_moves_the_ntp_time_of_every_prft_and_nothing_else() {
    let segment = whole_segment(Kind::Chunked);
    let shift = 86_400_000_000_000 + 250_000_000;
    let mut shifted = segment.bytes.clone();

    assert_eq!(fmp4::shift_prft(&mut shifted, shift).len(), segment.chunks.len());

    let mut expected = segment.bytes.clone();
    let video = media(Kind::Chunked).init.video.id;
    for (start, _) in &segment.chunks {
        let media_time = u64::from_be_bytes(expected[start - 8..*start].try_into().unwrap());
        let prft = fmp4::prft_box(video, Utc(record().start_utc.0 + shift), media_time);
        expected[start - 32..*start].copy_from_slice(&prft);
    }
    assert_ne!(expected, segment.bytes);
    assert!(shifted == expected, "the shifted file differs from one written so");
    fmp4::shift_prft(&mut shifted, -shift);
    assert!(shifted == segment.bytes, "a quarter of a second there and back");
}

#[test]
fn a_shift_finds_the_ntp_time_in_every_form_of_prft() {
    let ntp = [0xe3, 0x98, 0xe4, 0x80, 0, 0, 0, 0];
    let moved = [0xe3, 0x98, 0xe4, 0x81, 0, 0, 0, 0];
    // Version 0, whose media time has 32 bits; a box with a 64-bit size; one too short to have a time.
    let old = |ntp: &[u8]| boxed(b"prft", &[&[0; 4], &[0, 0, 0, 1], ntp, &[0; 4]]);
    let large = |ntp: &[u8]| {
        [&[0, 0, 0, 1][..], b"prft", &[0, 0, 0, 0, 0, 0, 0, 40], &[1, 0, 0, 24, 0, 0, 0, 1], ntp, &[0; 8]]
            .concat()
    };
    let short = boxed(b"prft", &[&[1; 12]]);
    let within = |ntp: &[u8]| boxed(b"mdat", &[&old(ntp)]);
    let torn = |ntp: &[u8]| old(ntp)[..27].to_vec();
    let mut bytes = [old(&ntp), large(&ntp), short.clone(), within(&ntp), torn(&ntp)].concat();

    assert_eq!(fmp4::shift_prft(&mut bytes, 1_000_000_000).len(), 2);

    assert_eq!(bytes, [old(&moved), large(&moved), short, within(&ntp), torn(&ntp)].concat());
}

#[test]
fn mfra_is_written_byte_for_byte() {
    let moofs = [
        MoofEntry { offset: 0x1122, tracks: vec![(1, Some(0x0a)), (7, Some(0x0b))] },
        MoofEntry { offset: 0x0001_0000_0002, tracks: vec![(7, Some(0x0c)), (1, Some(0x0001_0000_000d))] },
        // The first frame of this one is not a sync sample.
        MoofEntry { offset: 0x2233, tracks: vec![(7, None)] },
        MoofEntry { offset: 0x3344, tracks: vec![(1, Some(0x0e)), (7, None)] },
    ];
    let expected = [
        // mfra: 8 + (8 + 16 + 3 * 19) + (8 + 16 + 2 * 19) + 16
        &[0, 0, 0, 167][..],
        b"mfra",
        &[0, 0, 0, 81],
        b"tfra",
        &[1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 3],
        &[0, 0, 0, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0, 0, 0, 0x11, 0x22, 1, 1, 1],
        &[0, 0, 0, 1, 0, 0, 0, 0x0d, 0, 0, 0, 1, 0, 0, 0, 2, 2, 1, 1],
        &[0, 0, 0, 0, 0, 0, 0, 0x0e, 0, 0, 0, 0, 0, 0, 0x33, 0x44, 1, 1, 1],
        &[0, 0, 0, 62],
        b"tfra",
        &[1, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 2],
        &[0, 0, 0, 0, 0, 0, 0, 0x0b, 0, 0, 0, 0, 0, 0, 0x11, 0x22, 2, 1, 1],
        &[0, 0, 0, 0, 0, 0, 0, 0x0c, 0, 0, 0, 1, 0, 0, 0, 2, 1, 1, 1],
        &[0, 0, 0, 16],
        b"mfro",
        &[0, 0, 0, 0, 0, 0, 0, 167],
    ]
    .concat();
    assert_eq!(fmp4::mfra_box(&moofs), expected);
    let none = [&[0, 0, 0, 24][..], b"mfra", &[0, 0, 0, 16], b"mfro", &[0, 0, 0, 0, 0, 0, 0, 24]].concat();
    assert_eq!(fmp4::mfra_box(&[]), none);
}

#[test]
fn the_index_of_a_segment_is_where_its_moofs_were_put() {
    for kind in Kind::ALL {
        let made = media(kind);
        let segment = whole_segment(kind);
        let layout = fmp4::read_segment(&segment.bytes).unwrap();
        assert!(layout.complete, "{kind:?}");
        assert_eq!(layout.chunks_end, segment.chunks.last().unwrap().1 as u64);
        assert_eq!(layout.record, record());
        assert_eq!(layout.chunks.len(), made.chunks.len());
        let index = fmp4::index(&layout.chunks, made.init.video.id);
        for (((entry, info), (start, end)), (_, chunk)) in
            index.iter().zip(&layout.chunks).zip(&segment.chunks).zip(&made.chunks)
        {
            let alone = fmp4::read_chunk(&made.init, chunk).unwrap();
            assert_eq!(*info, ChunkInfo { moof: *start as u64, end: *end as u64, ..alone }, "{kind:?}");
            assert_eq!(entry.offset, *start as u64);
            assert_eq!(&segment.bytes[start + 4..start + 8], b"moof");
            let times = info.runs.iter().map(|run| {
                let is_sync = run.track != made.init.video.id || info.starts_with_sync;
                (run.track, is_sync.then(|| run.earliest_presentation.try_into().unwrap()))
            });
            assert_eq!(entry.tracks, times.collect::<Vec<(u32, Option<u64>)>>());
        }
        assert!(segment.bytes.ends_with(&fmp4::mfra_box(&index)));
    }
}

#[test]
fn an_index_that_lists_every_moof_is_one_too() {
    let made = media(Kind::Chunked);
    let whole = whole_segment(Kind::Chunked);
    let layout = fmp4::read_segment(&whole.bytes).unwrap();
    let all: Vec<MoofEntry> = layout
        .chunks
        .iter()
        .map(|chunk| MoofEntry {
            offset: chunk.moof,
            tracks: chunk
                .runs
                .iter()
                .map(|run| (run.track, Some(run.earliest_presentation.try_into().unwrap())))
                .collect(),
        })
        .collect();
    let front = &whole.bytes[..usize::try_from(layout.chunks_end).unwrap()];
    let complete =
        |index: &[MoofEntry]| fmp4::read_segment(&[front, &fmp4::mfra_box(index)].concat()).unwrap().complete;

    assert!(
        all.len()
            > fmp4::index(&layout.chunks, made.init.video.id)
                .iter()
                .filter(|it| it.tracks[0].1.is_some())
                .count()
    );
    assert!(complete(&all), "as an earlier release wrote it");
    assert!(!complete(&all[1..]));
}

#[test]
fn a_list_of_chunks_ends_where_one_does_not_follow() {
    let made = media(Kind::Chunked);
    let chunks: Vec<Vec<u8>> = made.chunks.iter().map(|(_, chunk)| chunk.clone()).collect();
    let kept = |order: &[usize]| {
        let picked: Vec<Vec<u8>> = order.iter().map(|at| chunks[*at].clone()).collect();
        let layout = fmp4::read_segment(&segment(&made.init, &picked).bytes).unwrap();
        assert_eq!(layout.complete, layout.chunks.len() == order.len());
        layout.chunks.len()
    };
    assert_eq!(kept(&[0, 1, 2]), 3);
    assert_eq!(kept(&[0, 2]), 1, "one is missing");
    assert_eq!(kept(&[0, 0]), 1, "one comes twice");
    assert_eq!(kept(&[1, 2]), 0, "no sync sample first");
    assert_eq!(kept(&[3, 4, 5]), 3, "a later fragment");

    let mut late = chunks[1].clone();
    fmp4::number_chunk(&mut late, 5).unwrap();
    let layout = fmp4::read_segment(&segment(&made.init, &[chunks[3].clone(), late]).bytes).unwrap();
    assert_eq!(layout.chunks.len(), 1, "the right number, but back in time");
}

#[test]
fn other_programs_play_what_was_put_together() {
    for kind in Kind::ALL {
        let bytes = whole_segment(kind).bytes;
        let layout = fmp4::read_segment(&bytes).unwrap();
        let counted = |track: u32| {
            let runs = layout.chunks.iter().flat_map(|chunk| &chunk.runs);
            runs.filter(|run| run.track == track).map(|run| run.samples).sum::<u32>()
        };
        let tracks = if kind.has_sound() { vec![counted(1), counted(2)] } else { vec![counted(1)] };
        assert_eq!(tracks[0], 45, "{kind:?}");
        assert_eq!(packet_counts(&bytes), tracks, "{kind:?}");
        assert_eq!(decoded_pictures(&bytes), 45, "{kind:?}");
    }
}

#[test]
fn other_programs_play_what_begins_amid_a_run_from_zero() {
    let made = media(Kind::Negative);
    let mut chunks: Vec<Vec<u8>> = made.chunks[1..].iter().map(|(_, chunk)| chunk.clone()).collect();
    let origin = Origin::of(&made.init, &fmp4::read_chunk(&made.init, &chunks[0]).unwrap());
    for chunk in &mut chunks {
        *chunk = rebased(&made.init, chunk, origin).0;
    }

    let bytes = segment(&made.init, &chunks).bytes;

    let found = packets(&bytes);
    let first = |track: u32| found.iter().find(|packet| packet.track == track).unwrap().dts;
    // The audio began at 0.96 s, which is 14745.6 ticks of the video's 15360: 14745, or 15359.375 of its own.
    assert_eq!((first(1), first(2)), (15_360 - 14_745, 1));
    assert_eq!(found.iter().filter(|packet| packet.track == 1).count(), 30);
    assert_eq!(decoded_pictures(&bytes), 30);
}
