//! Where bytes of strangers come in. Each entry takes any bytes, must not panic, and asserts what is true of
//! whatever it took. The fuzzer on nightly (`tests/fuzz`) and the short run of every `make test` share them.

use kasacam::capture::annexb;
use kasacam::capture::codec::Sets;
use kasacam::capture::muxer::{Muxer, Settings};
use kasacam::capture::units::Assembler;
use kasacam::capture::{Nals, Packing};
use kasacam::config::{self, VerifyingKey};
use kasacam::domain::codec::Codec;
use kasacam::domain::fragment::Epoch;
use kasacam::domain::grant::{GrantAnswer, Want};
use kasacam::domain::journal;
use kasacam::domain::segment::SpoolName;
use kasacam::mqtt::{Keys, claims, jws, packet, payloads::SignedReader};
use kasacam::spool::end;
use kasacam::system::control::Command;
use kasacam::upload::answer::Answer;
use kasacam::upload::grant::{Allowed, check};
use kasacam::{disk, fmp4};
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::collections::BTreeMap;
use std::sync::OnceLock;

pub type Entry = fn(&[u8]);

pub const ENTRIES: &[(&str, Entry)] = &[
    ("jws", a_jws),
    ("claims", signed_claims),
    ("configuration", a_configuration),
    ("fmp4", a_segment),
    ("spool_name", a_spool_name),
    ("span_end", the_end_of_a_span),
    ("state_file", a_state_file),
    ("journal", a_journal),
    ("control_line", a_control_line),
    ("s3_error", an_answer_of_the_store),
    ("mqtt_packet", packets_of_the_broker),
    ("byte_stream", a_byte_stream),
    ("decoder_record", a_decoder_record),
];

const DEVICE: &str = "cam-0001";

fn pair() -> &'static Ed25519KeyPair {
    static PAIR: OnceLock<Ed25519KeyPair> = OnceLock::new();
    PAIR.get_or_init(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap())
}

fn reader() -> SignedReader {
    let key: [u8; 32] = pair().public_key().as_ref().try_into().unwrap();
    SignedReader {
        device: DEVICE.to_owned(),
        keys: Keys::for_all(&[VerifyingKey { kid: "entitlement-2026-1".to_owned(), key }]),
    }
}

/// Nobody but the cloud makes one that is accepted: what is, was one of the corpus, as it was signed.
pub fn a_jws(data: &[u8]) {
    let reader = reader();
    let accepted =
        [reader.privacy(data).is_ok(), reader.entitlement(data).is_ok(), reader.grant(data).is_ok()];
    let accepted = accepted.into_iter().filter(|accepted| *accepted).count();
    assert!(accepted <= 1, "a message of two types");
    if accepted == 1 {
        let text = std::str::from_utf8(data).unwrap();
        let (signed, signature) = text.rsplit_once('.').unwrap();
        let wanted = base64::Engine::encode(
            &base64::engine::general_purpose::URL_SAFE_NO_PAD,
            pair().sign(signed.as_bytes()),
        );
        assert_eq!(signature, wanted, "a signature that is not the cloud's");
    }
    let _any_type = jws::verify(&reader.keys.privacy, "JWT", data);
}

/// Whatever the cloud grants, only what leads to the store of the configuration is taken.
fn grants(answer: &GrantAnswer) {
    assert!(answer.grants.len() <= 16 && answer.refused.len() <= 16);
    let allowed = Allowed::new("https://store.example", "kasa-care");
    for grant in &answer.grants {
        let size = grant.headers.get("content-length").and_then(|size| size.parse().ok()).unwrap_or(0);
        let want = Want {
            key: grant.key.clone(),
            size,
            sha256: "00".repeat(32),
            content_type: String::new(),
            metadata: BTreeMap::new(),
        };
        if let Ok(taken) = check::check(grant, &want, &allowed) {
            assert_eq!(taken.url.scheme_str(), Some("https"));
            let host = taken.url.host().unwrap().to_ascii_lowercase();
            assert!(["store.example", "kasa-care.store.example"].contains(&host.as_str()), "{host}");
            assert_eq!(taken.url.port_u16().unwrap_or(443), 443);
            assert!(!taken.headers.contains_key("host") && !taken.headers.contains_key("content-length"));
        }
    }
}

/// Claims are looked at only once their signature is good; that they are malformed is told all the same.
pub fn signed_claims(data: &[u8]) {
    if let Ok(choice) = claims::privacy(data, DEVICE) {
        assert!(choice.version < 1 << 53);
    }
    if let Ok(answer) = claims::grant(data, DEVICE) {
        grants(&answer);
    }
    if let Ok(lease) = claims::entitlement(data, DEVICE) {
        assert!(lease.version < 1 << 53);
        for at in [0, lease.not_after.0, i64::MAX] {
            let _any_time = lease.standing(kasacam::domain::time::Utc(at), std::time::Duration::MAX);
        }
    }
}

pub fn a_configuration(data: &[u8]) {
    static DIR: OnceLock<tempfile::TempDir> = OnceLock::new();
    let dir = DIR.get_or_init(|| tempfile::TempDir::new().unwrap());
    let path = dir.path().join(format!("{:?}.toml", std::thread::current().id()));
    std::fs::write(&path, data).unwrap();
    if let Err(problems) = config::load(&path) {
        assert!(!problems.to_string().is_empty(), "refused without a word");
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _board = config::board_of(text, &path);
    }
}

pub fn a_segment(data: &[u8]) {
    if let Ok(layout) = fmp4::read_segment(data) {
        let len = data.len() as u64;
        let mut end = 0;
        for chunk in &layout.chunks {
            assert!(chunk.moof >= end && chunk.end > chunk.moof && chunk.end <= len, "{chunk:?}");
            end = chunk.end;
        }
        assert!(layout.chunks_end <= len);
        // Cut where it is said to be whole, it is read the same.
        let cut = fmp4::read_segment(&data[..usize::try_from(layout.chunks_end).unwrap()]).unwrap();
        assert_eq!(cut.chunks, layout.chunks);
    }
    if let Ok(init) = fmp4::read_init(bytes::Bytes::copy_from_slice(data)) {
        let mut changed = data.to_vec();
        if let Ok(mut info) = fmp4::read_chunk(&init, data) {
            let origin = fmp4::Origin::of(&init, &info);
            let _rebased = fmp4::rebase(&init, &mut changed, &mut info, origin);
        }
        let _step = fmp4::read_step(&init, data, 0);
        let _numbered = fmp4::number_chunk(&mut changed, 7);
        assert_eq!(changed.len(), data.len());
    }
}

pub fn a_spool_name(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Some(name) = SpoolName::parse(&text) {
        assert_eq!(name.to_string(), text, "two names for one file");
    }
}

pub fn the_end_of_a_span(data: &[u8]) {
    if let Ok((record, reason)) = end::decode(data) {
        let again = end::encode_behind(Default::default(), &record, reason).unwrap();
        assert_eq!(end::decode(&again), Ok((record, reason)));
    }
}

pub fn a_state_file(data: &[u8]) {
    for kind in ["state", "end"] {
        if let Some(body) = disk::unstamp(kind, data) {
            assert_eq!(disk::stamp(kind, body), data, "two forms of one fact");
        }
    }
}

pub fn a_journal(data: &[u8]) {
    let found = journal::verify(data);
    let lines = data.iter().filter(|byte| **byte == b'\n').count();
    assert!(found.entries.len() <= lines);
    assert!(found.broken.is_some() || found.entries.len() == lines);
}

pub fn a_control_line(data: &[u8]) {
    if let Ok(command) = serde_json::from_slice::<Command>(data) {
        let text = serde_json::to_vec(&command).unwrap();
        assert_eq!(serde_json::from_slice::<Command>(&text).unwrap(), command);
    }
}

/// The first lines are headers, the rest is the body.
pub fn an_answer_of_the_store(data: &[u8]) {
    let mut headers = http::HeaderMap::new();
    let mut rest = data;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
        let (line, behind) = (&rest[..at], &rest[at + 1..]);
        rest = behind;
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { break };
        let name = http::HeaderName::from_bytes(&line[..colon]);
        let value = http::HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let answer = Answer::read(http::StatusCode::SERVICE_UNAVAILABLE, &headers, rest);
    let sound = |code: &String| code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    assert!(answer.code.as_ref().is_none_or(sound), "{:?} would reach a log", answer.code);
}

/// However it is cut, a stream gives the same packets, and each takes bytes off it.
pub fn packets_of_the_broker(data: &[u8]) {
    const MAX: usize = 4096;
    let mut whole = bytes::BytesMut::from(data);
    let mut packets = Vec::new();
    let end = loop {
        let before = whole.len();
        match packet::read(&mut whole, MAX) {
            Ok(Some(packet)) => packets.push(packet),
            Ok(None) => break None,
            Err(wrong) => break Some(wrong),
        }
        assert!(before - whole.len() >= 2 && before - whole.len() <= MAX, "a packet of no size");
    };
    assert!(end.is_some() || whole.len() <= MAX, "it waits for what it would not take");
    let (mut stream, mut again) = (bytes::BytesMut::new(), Vec::new());
    let mut wrong = None;
    for byte in data {
        stream.extend_from_slice(&[*byte]);
        match packet::read(&mut stream, MAX) {
            Ok(Some(packet)) => again.push(packet),
            Ok(None) => {}
            Err(why) => {
                wrong = Some(why);
                break;
            }
        }
    }
    assert_eq!((again, wrong), (packets, end), "the cut matters");
}

/// Of a camera, or a file: what is made of it has no more bytes than it had, and reads as what we write.
pub fn a_byte_stream(data: &[u8]) {
    let settings = Settings {
        epoch: Epoch(1),
        chunk: 200_000_000,
        frame: 40_000_000,
        audio: false,
        patience: None,
        max_height: 4320,
        turns: 0,
        segment: 1_000_000_000,
        segment_bytes: 1 << 20,
    };
    for codec in [Codec::H264, Codec::H265] {
        let mut reader = annexb::StreamReader::new(codec);
        let mut units = Vec::new();
        for part in data.chunks(777) {
            units.extend(reader.push(part).unwrap_or_default());
        }
        units.extend(reader.finish().unwrap_or_default());
        let bytes: usize = units.iter().map(|unit| unit.bytes.len()).sum();
        // The end of a sequence may be put behind it.
        assert!(bytes <= data.len() + 6, "{codec:?}: {bytes} of {}", data.len());
        assert!(units.windows(2).all(|pair| pair[0].decoded < pair[1].decoded));
        let mut assembler = Assembler::new(codec);
        let mut muxer = Muxer::new(settings);
        let mut take = |unit| {
            if muxer.push_frame(unit).is_err() {
                return;
            }
            while let Ok(Some(chunk)) = muxer.next_chunk() {
                let info = fmp4::read_chunk(&chunk.init, &chunk.bytes).unwrap();
                assert_eq!(info.starts_with_sync, chunk.starts_fragment);
            }
        };
        for (number, nal) in (0..).zip(Nals::new(bytes::Bytes::copy_from_slice(data), Packing::StartCodes)) {
            assembler.push(nal, Some(number * 40_000_000)).into_iter().for_each(&mut take);
        }
        assembler.finish().into_iter().for_each(take);
    }
}

/// Of a file, or of an SDP.
pub fn a_decoder_record(data: &[u8]) {
    for codec in [Codec::H264, Codec::H265] {
        let mut sets = Sets::new(codec);
        let size = sets.learn_record(&bytes::Bytes::copy_from_slice(data));
        assert!(size.is_none_or(|size| (1..=4).contains(&size)));
        let packing = Packing::Lengths(size.unwrap_or(4));
        let nals = Nals::new(bytes::Bytes::copy_from_slice(data), packing);
        assert!(nals.map(|nal| nal.len()).sum::<usize>() <= data.len());
    }
}
