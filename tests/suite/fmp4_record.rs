//! The record of a segment, written and read back.

use crate::support::handmade::{both_tracks, boxed};
use crate::support::media::record;
use kasacam::domain::fragment::Timing;
use kasacam::domain::segment::Record;
use kasacam::domain::time::Utc;
use kasacam::fmp4;
use proptest::prelude::*;

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
