//! What a decoder must be told before the first sample (ISO/IEC 14496-15): `avcC` of H.264 and `hvcC` of H.265, and the
//! name of what they tell (RFC 6381; ISO/IEC 14496-15, annex E).

use super::format::{DecoderSets, VideoDescription};
use bytes::Bytes;
use std::fmt::Write as _;

/// The box of the decoder's configuration in a sample entry of this kind; `None` where it is none of ours.
pub(super) fn record_of_entry(kind: &[u8; 4]) -> Option<&'static [u8; 4]> {
    match kind {
        b"avc1" | b"avc3" => Some(b"avcC"),
        b"hvc1" | b"hev1" => Some(b"hvcC"),
        _ => None,
    }
}

/// What stands in the box of the decoder's configuration.
pub(super) fn record(format: &VideoDescription) -> Vec<u8> {
    match &format.sets {
        DecoderSets::H264 { sps, pps } => avc(format, sps, pps),
        DecoderSets::H265 { vps, sps, pps, profile, sub_layers, nested } => {
            let layers = (sub_layers.min(&7) << 3) | (u8::from(*nested) << 2);
            hevc(format, [std::slice::from_ref(vps), std::slice::from_ref(sps), pps], profile, layers)
        }
    }
}

/// `AVCDecoderConfigurationRecord` (5.3.3.1).
fn avc(format: &VideoDescription, sps: &Bytes, pps: &[Bytes]) -> Vec<u8> {
    let mut record = vec![1];
    // Profile, compatibility and level stand at the front of the set.
    record.extend((1..=3).map(|at| sps.get(at).copied().unwrap_or(0)));
    // Lengths of four bytes; one sequence parameter set.
    record.extend([0xff, 0xe1]);
    put_set(&mut record, sps);
    let count = u8::try_from(pps.len()).unwrap_or(u8::MAX);
    record.push(count);
    for pps in pps.iter().take(count.into()) {
        put_set(&mut record, pps);
    }
    let high = matches!(sps.get(1), Some(100 | 110 | 122 | 144 | 244));
    if let (true, Some(chroma)) = (high, format.chroma) {
        record.extend([0xfc | chroma, 0xf8 | format.depths.0, 0xf8 | format.depths.1, 0]);
    }
    record
}

/// `HEVCDecoderConfigurationRecord` (8.3.3.1). `layers`: number of temporal layers and whether they are nested, in place.
fn hevc(format: &VideoDescription, sets: [&[Bytes]; 3], profile: &[u8; 12], layers: u8) -> Vec<u8> {
    /// `NAL_unit_type` of the three kinds of sets, in the order in which they stand.
    const KINDS: [u8; 3] = [32, 33, 34];
    let mut record = vec![1];
    record.extend(profile);
    // Segmentation and kind of parallelism are not told.
    record.extend([0xf0, 0x00, 0xfc]);
    record.extend([0xfc | format.chroma.unwrap_or(1), 0xf8 | format.depths.0, 0xf8 | format.depths.1]);
    // Nor is the frame rate; lengths of four bytes.
    record.extend([0, 0, layers | 0x03]);
    record.push(3);
    for (kind, sets) in KINDS.into_iter().zip(sets) {
        // All of them stand here, unless they may stand in band.
        let complete = if format.sets_in_band { 0 } else { 0x80 };
        record.push(complete | kind);
        let count = u16::try_from(sets.len().min(64)).unwrap_or(0);
        record.extend(count.to_be_bytes());
        for set in sets.iter().take(count.into()) {
            put_set(&mut record, set);
        }
    }
    record
}

fn put_set(record: &mut Vec<u8>, nal: &[u8]) {
    record.extend(u16::try_from(nal.len()).unwrap_or(u16::MAX).to_be_bytes());
    record.extend(nal.iter().take(usize::from(u16::MAX)));
}

/// The name of what an entry of this kind with this record holds. `None` where the record is too short.
pub(super) fn codec_string(kind: &[u8; 4], record: &[u8]) -> Option<String> {
    let entry = String::from_utf8_lossy(kind);
    match kind {
        b"hvc1" | b"hev1" => hevc_name(&entry, record.get(1..13)?),
        _ => match record.get(1..4)? {
            [profile, compatibility, level] => {
                Some(format!("{entry}.{profile:02x}{compatibility:02x}{level:02x}"))
            }
            _ => None,
        },
    }
}

/// Annex E.3, such as `hvc1.1.6.L93.B0`.
fn hevc_name(entry: &str, profile: &[u8]) -> Option<String> {
    let [first, a, b, c, d, constraints @ .., level] = profile else { return None };
    let space = match first >> 6 {
        0 => "",
        1 => "A",
        2 => "B",
        _ => "C",
    };
    let tier = if first & 0x20 == 0 { 'L' } else { 'H' };
    // The compatibility flags, the last one first.
    let flags = u32::from_be_bytes([*a, *b, *c, *d]).reverse_bits();
    let mut name = format!("{entry}.{space}{}.{flags:X}.{tier}{level}", first & 0x1f);
    let told = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    for byte in constraints.iter().take(told) {
        write!(name, ".{byte:X}").ok()?;
    }
    Some(name)
}
