//! Reading H.265: real parameter sets and slices of x265, whole and damaged.

use bytes::Bytes;
use kasacam::capture::codec::{Role, Sets, role};
use kasacam::capture::h265::{Boundary, ParameterSets, Pps, Slice, Sps, level_of, nal};
use kasacam::capture::units::{Assembler, Start, Unit};
use kasacam::capture::{Nals, Packing};
use kasacam::domain::codec::Codec;
use kasacam::fmp4::{self, DecoderSets, VideoDescription};
use proptest::prelude::*;

/// 320 x 180 within 320 x 192, 25 a second, main profile, level 2: as x265 makes them.
const VPS: &str = "40010c01ffff01600000030090000003000003003c959409";
const SPS: &str = "42010101600000030090000003000003003ca00a080c1f3e595952930bc05a020000030002000003003210";
const PPS: &str = "4401c073c189";
/// The first bytes of its pictures, in decoding order.
const PICTURES: &[&str] = &[
    "2801ac74c2ea8bd26089a52740a0f5bd8fc4b934eb46464bfe4ce3f11d808331b3b5b52ff2adae2d24e9dba1447abc13",
    "0201d02149883a61501b5e4228cb94dde9fbc04e3ce0d50a27d4fef4c3683c231487a81fb5287c3dbdfd8f1ae5d16a8b",
    "0201e0449560812184c5928358cabee1298fff9de3ef6fbda8678114407808caf610001b80c12f3103849bb4cf0ea3c1",
    "0001e024fd7a240a4c228860204d36dd4e715f5cd888372ce2259ca3706a1f3d9c72357e949631cbcef5f6665c8c66e4",
    "0001e066b5e081418448218b094740b429232cf242e090f6adf68eec72df916b24f9dc73b2e0a63b64639170b569065c",
    "2a01ac20490891830bb3add9523805c99a8545d8389d7b8d627b6200a83fa41c576ec1efd3b8dbc9efed417fc2b25e87",
    "1201e0c2255558204a6118d0812df370f61f0da397ff0df8c789497f6c51d923f997bb6ce862364b8e9a5315002677b2",
    "1001e0a6f5d7a240a0c7d900735850288f24417d600eaef9ce45ee4b1d68a88ff13da0fd842433097b332c02ee2ed8f3",
    "1001e0e22d5782050610febc42d853b3d967600810b5637ede9e96aa6a934913a3e31d992dc659fa3fa4d907499ec420",
    "0201d061498838613f8e1383435a80f876684880125a74fd67b1d7cb392d5adb69abf6f4f477746c4b6d99ff9bedec69",
];

fn unhex(text: &str) -> Bytes {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn sets() -> ParameterSets {
    let mut sets = ParameterSets::default();
    for set in [VPS, SPS, PPS] {
        assert!(sets.learn(&unhex(set)));
        assert!(!sets.learn(&unhex(set)), "told again, it changes nothing");
    }
    sets
}

fn slices() -> Vec<Slice> {
    PICTURES.iter().map(|picture| Slice::read(&unhex(picture), &sets()).unwrap()).collect()
}

#[test]
fn the_sets_of_x265_are_read() {
    let sps = Sps::read(&unhex(SPS)).unwrap();

    assert_eq!((sps.id, sps.vps, sps.size, sps.aspect), (0, 0, (320, 180), (1, 1)));
    assert_eq!((sps.chroma, sps.depths, sps.reordering), (1, (0, 0), 2));
    assert_eq!((sps.sub_layers, sps.nested), (1, true));
    assert_eq!(sps.profile.0, [1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 60]);
    let pps = Pps::read(&unhex(PPS)).unwrap();
    assert_eq!((pps.id, pps.sps), (0, 0));
}

#[test]
fn slices_have_their_kind_and_their_order() {
    let slices = slices();

    let kinds: Vec<u8> = slices.iter().map(|slice| slice.kind).collect();
    assert_eq!(kinds, [20, 1, 1, 0, 0, 21, 9, 8, 8, 1]);
    let orders: Vec<_> = slices.iter().map(|slice| slice.order_lsb.unwrap()).collect();
    // The count begins at the first one; the other one at which decoding can begin is presented after its leading pictures.
    assert_eq!(orders, [0, 4, 2, 1, 3, 8, 6, 5, 7, 12]);
    let types: Vec<_> = slices.iter().map(|slice| slice.slice_type.unwrap()).collect();
    assert_eq!(types, [2, 1, 0, 0, 0, 2, 0, 0, 0, 1]);
    assert!(slices.iter().all(|slice| slice.first && slice.temporal_id == 0 && slice.pps == 0));
    let anchors: Vec<bool> = slices.iter().map(Slice::is_anchor).collect();
    assert_eq!(anchors, [true, true, true, false, false, true, false, false, false, true]);
}

/// Passes them through an assembler; `between` comes before the picture of that number.
fn units(between: &[(usize, &[u8])]) -> Vec<Unit> {
    let mut assembler = Assembler::new(Codec::H265);
    let mut units = Vec::new();
    for set in [VPS, SPS, PPS] {
        units.extend(assembler.push(unhex(set), None));
    }
    for (number, picture) in PICTURES.iter().enumerate() {
        for (_, unit) in between.iter().filter(|(at, _)| *at == number) {
            units.extend(assembler.push(Bytes::copy_from_slice(unit), None));
        }
        units.extend(assembler.push(unhex(picture), Some(number as i64)));
    }
    units.extend(assembler.finish());
    assert_eq!(assembler.unreadable(), 0);
    units
}

#[test]
fn decoding_begins_at_an_idr_picture_and_with_a_loss_at_one_with_leading_pictures() {
    let starts = |units: &[Unit]| units.iter().map(Unit::start).collect::<Vec<_>>();
    let units_of_all = units(&[]);
    let mut expected = vec![Start::No; 10];
    (expected[0], expected[5]) = (Start::Clean, Start::Open);
    assert_eq!(starts(&units_of_all), expected);
    let lost: Vec<bool> = units_of_all.iter().map(|unit| unit.is_lost_behind(0, 0)).collect();
    assert_eq!(lost, [false, false, false, false, false, false, true, true, true, false]);
    assert_eq!(units_of_all[0].nals.len(), 4, "sets and picture");

    // After the end of a sequence its leading pictures depend on missing ones.
    expected[5] = Start::Broken;
    let ended = units(&[(5, &[nal::END_OF_SEQUENCE << 1, 1])]);
    assert_eq!(starts(&ended), expected);
    assert_eq!(ended[4].nals.len(), 2, "the end stands in the sequence that ends");

    // It has no leading pictures.
    let mut assembler = Assembler::new(Codec::H265);
    [VPS, SPS, PPS].iter().for_each(|set| drop(assembler.push(unhex(set), None)));
    assembler.push(unhex(PICTURES[5]), None);
    assert_eq!(assembler.push(unhex(PICTURES[9]), None).unwrap().start(), Start::Clean);
}

#[test]
fn other_nal_units_belong_to_the_picture_before_or_after() {
    let suffix: &[u8] = &[40 << 1, 1, 5, 1, 0x80];
    let delimiter: &[u8] = &[nal::DELIMITER << 1, 1, 0x50];
    let other_layer: &[u8] = &[1 << 1, 1 << 3 | 1, 0x80];
    let reserved: &[u8] = &[22 << 1, 1, 0x80];
    let units = units(&[(1, suffix), (1, delimiter), (2, other_layer), (3, reserved)]);

    assert_eq!(units.len(), 10);
    assert_eq!(units[0].nals.last().unwrap(), suffix);
    assert_eq!(units[1].nals[0], delimiter);
    assert_eq!((units[2].nals.len(), units[3].nals.len()), (1, 1), "neither is kept");
    assert_eq!(role(Codec::H265, other_layer), Role::Foreign);
}

#[test]
fn a_picture_without_its_first_slice_is_a_separate_one() {
    let mut boundary = Boundary::default();
    let slices = slices();
    let (picture, mut next) = (slices[1], slices[9]);
    assert!(boundary.begins(&picture));
    let mut second = picture;
    second.first = false;
    assert!(!boundary.begins(&second), "another slice of the same picture");
    second.order_lsb = None;
    assert!(!boundary.begins(&second), "a dependent one");
    next.first = false;
    assert!(boundary.begins(&next), "another order");
    boundary.reset();
    assert!(boundary.begins(&second));
}

#[test]
fn a_slice_without_its_sets_is_skipped() {
    for missing in 0..3 {
        let mut assembler = Assembler::new(Codec::H265);
        let told = [VPS, SPS, PPS];
        let told = told.iter().enumerate().filter(|(at, _)| *at != missing);
        told.for_each(|(_, set)| drop(assembler.push(unhex(set), None)));

        assert_eq!(assembler.push(unhex(PICTURES[0]), None), None);
        assert_eq!((assembler.finish(), assembler.unreadable()), (None, 1), "without {missing}");
    }
}

#[test]
fn a_stream_of_the_other_codec_is_detected() {
    let avc = unhex("6764000dacd941419f9e100000030010000003032f142996");
    for (codec, set) in [(Codec::H264, unhex(SPS)), (Codec::H265, avc.clone())] {
        let mut assembler = Assembler::new(codec);
        assembler.push(set, None);
        assert!(assembler.is_of_other_codec(), "{codec:?}");
    }
    for (codec, set) in [(Codec::H265, unhex(SPS)), (Codec::H264, avc)] {
        let mut assembler = Assembler::new(codec);
        assembler.push(set, None);
        assert!(!assembler.is_of_other_codec(), "{codec:?}");
    }
}

fn format(in_band: bool) -> VideoDescription {
    let picture = sets().format(0).unwrap();
    VideoDescription {
        sets: picture.sets,
        size: picture.size,
        aspect: picture.aspect,
        chroma: picture.chroma,
        depths: picture.depths,
        sets_in_band: in_band,
        turns: 0,
    }
}

#[test]
fn the_parameter_sets_are_in_the_header_as_the_standard_requires() {
    let header = |in_band| fmp4::write_init(&format(in_band), None);
    let record = |complete: u8| {
        let mut record = vec![1];
        // Profile, compatibility, constraints, level.
        record.extend([1, 0x60, 0, 0, 0, 0x90, 0, 0, 0, 0, 0, 60]);
        // No segmentation, any parallelism, 4:2:0, eight bits, no rate; one layer, nested, lengths of four bytes.
        record.extend([0xf0, 0, 0xfc, 0xfd, 0xf8, 0xf8, 0, 0, 0b0000_1111, 3]);
        for (kind, set) in [(32, VPS), (33, SPS), (34, PPS)] {
            let set = unhex(set);
            record.extend([complete | kind, 0, 1, 0, set.len() as u8]);
            record.extend(set);
        }
        let size = (record.len() as u32 + 8).to_be_bytes();
        [&size[..], b"hvcC", &record].concat()
    };
    let has = |bytes: &Bytes, part: &[u8]| bytes.windows(part.len()).any(|window| window == part);

    assert!(has(&header(false), &record(0x80)), "{:02x?}", header(false));
    assert!(has(&header(true), &record(0)));
    assert!(has(&header(false), b"hvc1") && !has(&header(false), b"hev1"));
    let init = fmp4::read_init(header(false)).unwrap();
    assert_eq!((init.codecs.as_str(), init.width, init.height), ("hvc1.1.6.L60.90", 320, 180));
    assert_eq!(fmp4::read_init(header(true)).unwrap().codecs, "hev1.1.6.L60.90");
}

#[test]
fn the_codec_name_has_profile_flags_tier_level_and_constraints() {
    for (profile, name) in [
        ([1, 0x60, 0, 0, 0, 0xb0, 0, 0, 0, 0, 0, 93], "hvc1.1.6.L93.B0"),
        ([0x22, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 153], "hvc1.2.4.H153"),
        ([0x44, 0x08, 0, 0, 0, 0x9e, 0x08, 0, 0, 0, 0, 120], "hvc1.A4.10.L120.9E.8"),
        ([0xc1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 1, 30], "hvc1.C1.80000001.L30.0.0.0.0.0.1"),
    ] {
        let mut format = format(false);
        let DecoderSets::H265 { profile: told, .. } = &mut format.sets else { panic!() };
        *told = profile;
        assert_eq!(fmp4::read_init(fmp4::write_init(&format, None)).unwrap().codecs, name);
    }
}

#[test]
fn the_sets_can_be_read_back_from_a_record() {
    let bytes = fmp4::write_init(&format(false), None);
    let at = bytes.windows(4).position(|window| window == b"hvcC").unwrap() + 4;
    let record = bytes.slice(at..);
    let mut again = ParameterSets::default();

    assert_eq!(again.learn_record(&record), Some(4));

    assert_eq!(again, sets());
    // 23 bytes, and three times a head, a length and a set.
    let length = 23 + 3 * 5 + [VPS, SPS, PPS].iter().map(|set| set.len() / 2).sum::<usize>();
    for cut in 0..length {
        let mut sets = ParameterSets::default();
        assert_eq!(sets.learn_record(&record.slice(..cut)), None, "cut at {cut}");
    }
}

#[test]
fn cut_or_changed_sets_and_slices_are_read_within_their_bytes() {
    let all = [VPS, SPS, PPS].into_iter().chain(PICTURES.iter().copied()).map(unhex);
    for nal in all {
        for cut in 0..nal.len() {
            read_all(&nal[..cut]);
        }
        for bit in 0..nal.len() * 8 {
            let mut damaged = nal.to_vec();
            damaged[bit / 8] ^= 1 << (bit % 8);
            read_all(&damaged);
        }
    }
}

fn read_all(bytes: &[u8]) {
    if let Some(sps) = Sps::read(bytes) {
        let (columns, lines) = sps.size;
        assert!((1..=16_888).contains(&columns) && (1..=16_888).contains(&lines), "{sps:?}");
        assert!(sps.id < 16 && sps.vps < 16 && (1..=7).contains(&sps.sub_layers), "{sps:?}");
        assert!(sps.depths.0 <= 8 && sps.depths.1 <= 8 && sps.chroma <= 3, "{sps:?}");
    }
    if let Some(slice) = Slice::read(bytes, &sets()) {
        assert!(slice.temporal_id < 7 && slice.kind < 64, "{slice:?}");
        assert!(slice.order_lsb.is_none_or(|lsb| lsb < 1 << slice.order_bits), "{slice:?}");
    }
    let mut changed = sets();
    changed.learn(&Bytes::copy_from_slice(bytes));
    if let Some(picture) = changed.format(0) {
        assert_eq!(picture.sets.codec(), Codec::H265);
    }
}

#[test]
fn the_level_is_the_lowest_for_size_rate_and_bit_rate() {
    for (width, height, fps, bitrate, level) in [
        (320, 180, 20, 300_000, "2"),
        (640, 360, 30, 1_500_000, "2.1"),
        (1280, 720, 30, 2_000_000, "3.1"),
        (1920, 1080, 30, 4_000_000, "4"),
        (1920, 1080, 60, 4_000_000, "4.1"),
        (1920, 1080, 30, 13_000_000, "4.1"),
        (2560, 1440, 30, 6_000_000, "5"),
        (3840, 2160, 30, 10_000_000, "5"),
        (3840, 2160, 60, 10_000_000, "5.1"),
        // A side longer than the square root of eight times the size of level 4.
        (4400, 400, 15, 4_000_000, "5"),
        (7680, 4320, 120, 100_000_000, "6.2"),
    ] {
        assert_eq!(level_of(width, height, fps.into(), bitrate), level, "{width} x {height} at {fps}");
    }
}

proptest! {
    /// Units never contain more bytes than were pushed.
    #[test]
    fn any_bytes_give_no_more_bytes(kinds in prop::collection::vec((0u8..64, prop::collection::vec(any::<u8>(), 0..80)), 0..60)) {
        let mut assembler = Assembler::new(Codec::H265);
        let mut pushed = 0;
        let mut kept = 0;
        for set in [VPS, SPS, PPS] {
            pushed += set.len() / 2;
            assembler.push(unhex(set), None);
        }
        for (kind, body) in kinds {
            let nal = Bytes::from([&[kind << 1, 1], &body[..]].concat());
            read_all(&nal);
            pushed += nal.len();
            let unit = assembler.push(nal, None);
            kept += unit.map_or(0, |unit| unit.nals.iter().map(Bytes::len).sum());
        }
        kept += assembler.finish().map_or(0, |unit| unit.nals.iter().map(Bytes::len).sum());
        prop_assert!(kept <= pushed);
    }

    #[test]
    fn any_record_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for codec in [Codec::H264, Codec::H265] {
            let size = Sets::new(codec).learn_record(&Bytes::from(bytes.clone()));
            prop_assert!(size.is_none_or(|size| (1..=4).contains(&size)));
        }
        let lengths = Nals::new(Bytes::from(bytes.clone()), Packing::Lengths(4));
        prop_assert!(lengths.map(|nal| nal.len()).sum::<usize>() <= bytes.len());
    }
}
