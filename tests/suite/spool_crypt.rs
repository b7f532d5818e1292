//! The encrypted spool: what is written, how a start reads it, and what is never written unencrypted.

use crate::support::fault_fs::{Cut, FaultFs};
use crate::support::spool_model::{
    KEY, Options, Rig, held, in_spool, read, read_sealed, restart_and_check, spool_dir, state_dir,
};
use crate::support::tiny_mp4;
use kasacam::domain::fragment::SpanEnd;
use kasacam::domain::segment::{Serial, SpoolKind, SpoolName};
use kasacam::domain::time::{Clock, Mono, Now, Utc};
use kasacam::spool::{self, Command, Durability, Encryption, LiveEpoch, ReadError};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use ring::hkdf;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;

const DURABILITIES: [Durability; 3] = [Durability::Chunk, Durability::Fragment, Durability::Segment];

fn encrypted() -> Options {
    Options { encrypt: true, ..Options::default() }
}

/// Small files, so that every byte can be tested.
fn small() -> Options {
    Options { size: 30, ..encrypted() }
}

/// Two spans: four segments, one of them of a fragment that the source did not finish, and two ends.
fn recorded(options: Options) -> (FaultFs, Rig) {
    let fs = FaultFs::healthy();
    let mut rig = Rig::open(&fs, "boot-one", options);
    rig.allow();
    rig.fragments(4);
    rig.end(SpanEnd::Source);
    rig.allow();
    rig.fragments(2);
    rig.chunks(1);
    rig.end(SpanEnd::Entitlement);
    assert_eq!((rig.footage().len(), rig.ends().len()), (4, 2));
    (fs, rig)
}

/// Every file of the spool, except the quarantine.
fn files(fs: &FaultFs) -> BTreeMap<String, Vec<u8>> {
    let names = fs.names(&spool_dir()).into_iter().filter(|name| SpoolName::parse(name).is_some());
    names.map(|name| (name.clone(), fs.peek(&in_spool(&name)).unwrap())).collect()
}

fn sealed(serial: Serial) -> PathBuf {
    in_spool(&SpoolName { serial, kind: SpoolKind::Sealed }.to_string())
}

/// What a start finds with this encryption: serials returned, and how many files went into quarantine.
fn start(fs: &FaultFs, encryption: Encryption) -> (BTreeSet<Serial>, usize) {
    let mut setup = Options::default().setup("boot-two");
    setup.encryption = encryption;
    let clock = || (Now { mono: Mono(1), system: Utc(1), synchronised: false }, Clock::Unset);
    let (_, segments) = spool::open(fs.shared(), setup, LiveEpoch::new(), Box::new(clock)).unwrap();
    let quarantined = fs.names(&in_spool("quarantine")).len();
    (segments.iter().map(|segment| segment.serial).collect(), quarantined)
}

// The format, implemented a second time from docs/spool.md.

const HEADER: usize = 56;
const FRAME: usize = 21;
const TAG: usize = 16;

/// A record in a file: the salt of its run, its number there, its kind, and its position.
struct Sealed {
    salt: Vec<u8>,
    number: u32,
    kind: u8,
    frame: Range<usize>,
    text: Range<usize>,
    header: Range<usize>,
}

fn records(file: &[u8]) -> Vec<Sealed> {
    let (mut at, mut number, mut header, mut found) = (0, 0, 0..0, Vec::new());
    while at < file.len() {
        if file[at..].starts_with(b"kasacam\x01") {
            (header, number, at) = (at..at + HEADER, 0, at + HEADER);
            continue;
        }
        let len = u32::from_be_bytes(file[at + 1..at + 5].try_into().unwrap()) as usize;
        let text = at + FRAME..at + FRAME + len;
        let salt = file[header.clone()][8..40].to_vec();
        at = text.end;
        let frame = text.start - FRAME..text.start;
        found.push(Sealed { salt, number, kind: file[frame.start], frame, text, header: header.clone() });
        number += 1;
    }
    found
}

/// Records of a fragment: for each of its two chunks, what precedes the frames, and the frames.
const OF_FRAGMENT: usize = 4;

/// Where the fragments of a file end.
fn fragment_ends(records: &[Sealed]) -> Vec<usize> {
    records.iter().skip(OF_FRAGMENT - 1).step_by(OF_FRAGMENT).map(|record| record.text.end).collect()
}

/// Decrypts a whole file using only the documentation.
fn decrypted(file: &[u8]) -> Vec<u8> {
    struct Length;
    impl hkdf::KeyType for Length {
        fn len(&self) -> usize {
            41
        }
    }
    let (mut out, mut before) = (Vec::new(), vec![0; TAG]);
    let (mut run_of, mut key) = (0..0, None);
    let all = records(file);
    for (index, record) in all.iter().enumerate() {
        let header = &file[record.header.clone()];
        if key.is_none() || run_of != record.header {
            let mut derived = [0; 41];
            let secret = hkdf::Salt::new(hkdf::HKDF_SHA256, &record.salt).extract(&KEY);
            let info = [b"kasacam spool run 1".as_slice(), &before];
            secret.expand(&info, Length).unwrap().fill(&mut derived).unwrap();
            assert_eq!(header[47..], derived[32..]);
            key = Some(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &derived[..32]).unwrap()));
            run_of = record.header.clone();
        }
        let key = key.as_ref().unwrap();
        let nonce = |place: u8| {
            let nonce = [&header[40..47], &record.number.to_be_bytes(), &[place]].concat();
            Nonce::assume_unique_for_key(nonce.try_into().unwrap())
        };
        let frame = &file[record.frame.clone()];
        let aad = [header, &frame[..5]].concat();
        key.open_in_place(nonce(2), Aad::from(&aad), &mut frame[5..].to_vec()).unwrap();
        let is_last = index + 1 == all.len();
        assert_eq!(record.kind == 2, is_last);
        let mut text = file[record.text.clone()].to_vec();
        before = text[text.len() - TAG..].to_vec();
        let text = key.open_in_place(nonce(u8::from(is_last)), Aad::from(&aad), &mut text).unwrap();
        if record.kind == 1 {
            let offset = u64::from_be_bytes(text[..8].try_into().unwrap()) as usize;
            out[offset..offset + text.len() - 8].copy_from_slice(&text[8..]);
        } else {
            out.extend_from_slice(text);
        }
    }
    out
}

#[test]
fn what_is_encrypted_is_what_would_have_been_written_and_sent() {
    for durability in DURABILITIES {
        let plain = recorded(Options { durability, ..Options::default() });
        let secret = recorded(Options { durability, ..encrypted() });
        let footage = secret.1.footage();
        assert_eq!(footage.len(), 4);
        for segment in footage {
            let bytes = plain.0.peek(&sealed(segment.serial)).unwrap();
            assert!(bytes == read(&secret.0, segment.serial).unwrap(), "{durability:?} {}", segment.serial);
            let on_flash = secret.0.peek(&sealed(segment.serial)).unwrap();
            assert_eq!(on_flash.len() as u64, segment.bytes, "the budget counts what is on flash");
        }
        restart_and_check(&secret.0, "boot-two", &secret.1.ledger, Options { durability, ..encrypted() });
    }
}

#[test]
fn a_file_is_the_stream_that_the_documentation_says() {
    let mut kinds = BTreeSet::new();
    for durability in DURABILITIES {
        let (fs, _) = recorded(Options { durability, ..encrypted() });
        let (plain, _) = recorded(Options { durability, ..Options::default() });
        let plain = files(&plain);
        for (name, file) in files(&fs) {
            assert!(decrypted(&file) == plain[&name], "{durability:?} {name}");
            kinds.extend(records(&file).iter().map(|record| record.kind));
        }
    }
    assert_eq!(kinds, BTreeSet::from([0, 1, 2, 3]));
}

#[test]
fn nothing_of_what_is_recorded_lies_in_the_spool_in_the_clear() {
    for durability in DURABILITIES {
        let fs = FaultFs::healthy();
        let mut rig = Rig::open(&fs, "boot-one", Options { durability, ..encrypted() });
        rig.obey(Command::SetTerms { plan: "plus-monthly".to_owned(), history_hours: 720 });
        let look = |fs: &FaultFs| {
            for (name, file) in files(fs) {
                for word in
                    ["<fragment", "ftyp", "moof", "cam-0001", "boot-one", "plus-monthly", "\u{a5}\u{a5}"]
                {
                    // The filling of the frames is a run of 0xa5.
                    let word = if word.is_ascii() { word.as_bytes().to_vec() } else { vec![0xa5; 4] };
                    assert!(!file.windows(word.len()).any(|part| part == word), "{word:?} in {name}");
                }
            }
        };
        rig.allow();
        for chunk in 0..9 {
            rig.chunk(chunk % 2);
            rig.fragment += chunk % 2;
            look(&fs);
        }
        rig.end(SpanEnd::Source);
        look(&fs);
        assert!(rig.footage().len() >= 2 && rig.ends().len() == 1);
    }
}

/// Everything that is ever written, including what is cut off again: by run and number of the record.
#[test]
fn no_nonce_is_used_for_two_records() {
    let mut seen: BTreeMap<(Vec<u8>, u32), Vec<u8>> = BTreeMap::new();
    let mut cut_back = 0;
    let mut watch = |fs: &FaultFs| {
        for (name, file) in files(fs) {
            let all = records(&file);
            let runs: BTreeSet<&Vec<u8>> = all.iter().map(|record| &record.salt).collect();
            cut_back += usize::from(runs.len() > 1);
            for record in all {
                let text = file[record.frame.start..record.text.end].to_vec();
                let before = seen.entry((record.salt, record.number)).or_insert_with(|| text.clone());
                assert!(*before == text, "record {} of {name} is there twice", record.number);
            }
        }
    };
    for durability in DURABILITIES {
        let fs = FaultFs::healthy();
        let options = Options { durability, ..encrypted() };
        let mut rig = Rig::open(&fs, "boot-one", options);
        for _ in 0..3 {
            rig.allow();
            for chunk in 0..3 {
                rig.chunk(chunk % 2);
                rig.fragment += chunk % 2;
                watch(&fs);
            }
            // Withdrawn in the middle of a fragment: its part on flash is cut off.
            rig.revoke();
            rig.end(SpanEnd::Privacy);
            watch(&fs);
        }
        let discarded = rig.ledger.withheld.len();
        assert_eq!(discarded, 3, "{durability:?}");
        rig.allow();
        rig.chunks(2);
        rig.chunk(0);
        watch(&fs);
        let after = fs.after(Cut::KeepsAll);
        let _second = Rig::open(&after, "boot-two", options);
        watch(&after);
    }
    assert!(cut_back > 0, "no file was gone on with");
}

#[test]
fn every_file_has_its_own_salt_and_prefix() {
    let (fs, _) = recorded(encrypted());
    let files = files(&fs);
    let heads: BTreeSet<&[u8]> = files.values().map(|file| &file[8..47]).collect();
    let prefixes: BTreeSet<&[u8]> = files.values().map(|file| &file[40..47]).collect();
    assert_eq!((heads.len(), prefixes.len()), (files.len(), files.len()));
}

#[test]
fn a_file_that_grew_opens_to_its_whole_fragments_wherever_it_is_cut() {
    for durability in [Durability::Chunk, Durability::Fragment] {
        let options = Options { segment: 60_000_000_000, durability, ..small() };
        let fs = FaultFs::healthy();
        let mut rig = Rig::open(&fs, "boot-one", options);
        rig.allow();
        rig.fragments(3);
        let (name, file) = files(&fs).pop_first().unwrap();
        assert!(name.ends_with(".open"), "{name}");
        let records = records(&file);
        assert_eq!(records.len(), 3 * OF_FRAGMENT);
        let ends = fragment_ends(&records);

        for cut in 0..file.len() {
            let fs = fs.after(Cut::KeepsAll);
            fs.put(&in_spool(&name), &file[..cut]);

            let second = Rig::open(&fs, "boot-two", options);

            let whole = ends.iter().filter(|end| **end <= cut).count() as u32;
            let expected: Vec<_> = (0..whole).flat_map(|fragment| [(fragment, 0), (fragment, 1)]).collect();
            let labels: Vec<_> = held(&fs).into_values().flatten().collect();
            assert_eq!(labels, expected, "{durability:?} cut at {cut} of {}", file.len());
            assert_eq!(second.ends().len(), usize::from(whole > 0), "cut at {cut}");
            assert!(second.ledger.quarantined.is_empty(), "cut at {cut}: {:?}", second.ledger.quarantined);
        }
    }
}

#[test]
fn a_sealed_file_that_was_cut_is_not_sent_as_it_is_but_for_its_whole_fragments() {
    let (fs, rig) = recorded(small());
    let segment = rig.footage().remove(0);
    let file = fs.peek(&sealed(segment.serial)).unwrap();
    for cut in 1..file.len() {
        let fs = fs.after(Cut::KeepsAll);
        fs.put(&sealed(segment.serial), &file[..cut]);
        assert!(matches!(read(&fs, segment.serial), Err(ReadError::Damaged(_))), "cut at {cut}");

        let mut second = Rig::open(&fs, "boot-two", small());
        if second.ledger.serials.remove(&segment.serial) && read(&fs, segment.serial).is_err() {
            // A start reads only its front.
            second.obey(Command::Damaged { serial: segment.serial });
        }

        let labels = held(&fs).remove(&segment.serial).unwrap_or_default();
        let whole = fragment_ends(&records(&file)).iter().filter(|end| **end <= cut).count();
        assert_eq!(labels.len(), 2 * whole, "cut at {cut}");
    }
}

#[test]
fn every_flipped_byte_of_a_sealed_file_or_an_end_keeps_it_from_being_sent() {
    let (fs, rig) = recorded(small());
    let segment = rig.footage().remove(0);
    let end = SpoolName { serial: rig.ends()[0].serial, kind: SpoolKind::End }.to_string();
    let mut left_to_the_upload = 0;
    for path in [sealed(segment.serial), in_spool(&end)] {
        let file = fs.peek(&path).unwrap();
        for at in 0..file.len() {
            let fs = fs.after(Cut::KeepsAll);
            let mut tampered = file.clone();
            tampered[at] ^= 1 << (at % 8);
            fs.put(&path, &tampered);
            if path == sealed(segment.serial) {
                assert!(matches!(read(&fs, segment.serial), Err(ReadError::Damaged(_))), "byte {at}");
            }

            let mut second = Rig::open(&fs, "boot-two", small());
            if second.ledger.sealed.contains_key(&segment.serial) && path == sealed(segment.serial) {
                // A start reads the first record. The upload reads all, and returns the file.
                assert!(at >= records(&file)[0].text.end, "byte {at}");
                left_to_the_upload += 1;
                second.obey(Command::Damaged { serial: segment.serial });
            }

            // If the first header does not fit, it may be damaged, of another key, or of a later release.
            let header = at < HEADER && second.ledger.quarantined.is_empty();
            if header {
                assert_eq!(second.ledger.set_aside, 1, "byte {at} of {}", path.display());
                assert_eq!(fs.peek(&path), Some(tampered), "byte {at} of {}", path.display());
            } else {
                assert_eq!(second.ledger.quarantined.len(), 1, "byte {at} of {}", path.display());
                assert!(fs.peek(&path).is_none(), "byte {at} of {}", path.display());
            }
            // An end that is set aside may still be that of its span: none is written again.
            let lost = usize::from(path == sealed(segment.serial) || header);
            assert_eq!(second.ledger.sealed.len(), rig.ledger.sealed.len() - lost, "an end is written anew");
        }
    }
    assert!(left_to_the_upload > 4 * 60, "a start reads frames");
}

#[test]
fn no_flipped_byte_of_a_file_that_grew_is_taken_for_footage() {
    let options = Options { segment: 60_000_000_000, ..small() };
    let fs = FaultFs::healthy();
    let mut rig = Rig::open(&fs, "boot-one", options);
    rig.allow();
    rig.fragments(3);
    let (name, file) = files(&fs).pop_first().unwrap();
    let serial = SpoolName::parse(&name).unwrap().serial;
    let whole = {
        let fs = fs.after(Cut::KeepsAll);
        let _ = Rig::open(&fs, "boot-two", options);
        read(&fs, serial).unwrap()
    };
    for at in 0..file.len() {
        let fs = fs.after(Cut::KeepsAll);
        let mut tampered = file.clone();
        tampered[at] ^= 1 << (at % 8);
        fs.put(&in_spool(&name), &tampered);

        let second = Rig::open(&fs, "boot-two", options);

        let genuine = fragment_ends(&records(&file)).iter().filter(|end| **end <= at).count();
        match read(&fs, serial) {
            Ok(bytes) => {
                assert_eq!(tiny_mp4::labels(&bytes).len(), 2 * genuine, "byte {at}");
                let media = bytes.windows(4).rposition(|kind| kind == b"mfra").unwrap() - 4;
                assert!(whole.starts_with(&bytes[..media]), "byte {at} reaches the cloud");
            }
            Err(error) => {
                assert!(genuine == 0 && matches!(error, ReadError::Gone), "byte {at}: {error}");
                let aside = if at < HEADER { second.ledger.set_aside } else { 0 };
                assert_eq!(second.ledger.quarantined.len() as u64 + aside, 1, "byte {at}");
            }
        }
    }
}

#[test]
fn records_cannot_be_taken_out_moved_repeated_or_brought_from_another_file() {
    let options = Options { segment: 60_000_000_000, ..small() };
    let fs = FaultFs::healthy();
    let mut rig = Rig::open(&fs, "boot-one", options);
    for _ in 0..2 {
        rig.allow();
        rig.fragments(4);
        rig.end(SpanEnd::Source);
    }
    let [one, other] = rig.footage().try_into().unwrap();
    let file = fs.peek(&sealed(one.serial)).unwrap();
    let stranger = fs.peek(&sealed(other.serial)).unwrap();
    let part = |file: &[u8], n: usize| {
        let record = &records(file)[n];
        file[record.frame.start..record.text.end].to_vec()
    };
    let count = records(&file).len();
    assert_eq!(count, 4 * OF_FRAGMENT + 1);
    let build = |parts: Vec<Vec<u8>>| [file[..HEADER].to_vec(), parts.concat()].concat();
    let own = |order: Vec<usize>| build(order.iter().map(|n| part(&file, *n)).collect());
    let but = |change: &dyn Fn(&mut Vec<usize>)| {
        let mut order = (0..count).collect();
        change(&mut order);
        own(order)
    };
    assert_eq!(but(&|_| ()), file);
    let forged = [
        but(&|order| order.retain(|n| *n != 5)),
        but(&|order| order.retain(|n| *n != 0)),
        // A whole fragment.
        but(&|order| drop(order.drain(4..8))),
        but(&|order| order.swap(5, 7)),
        but(&|order| order.insert(8, 7)),
        but(&|order| order.push(count - 1)),
        but(&|order| drop(order.drain(8..16))),
        build((0..count).map(|n| part(if n == 5 { &stranger } else { &file }, n)).collect()),
        [file.clone(), stranger.clone()].concat(),
        [file[..records(&file)[7].text.end].to_vec(), stranger].concat(),
    ];
    for (n, forged) in forged.into_iter().enumerate() {
        let fs = fs.after(Cut::KeepsAll);
        fs.put(&sealed(one.serial), &forged);
        assert!(matches!(read(&fs, one.serial), Err(ReadError::Damaged(_))), "forgery {n}");
        let mut second = Rig::open(&fs, "boot-two", options);
        if second.ledger.sealed.contains_key(&one.serial) {
            // A start reads only its front.
            second.obey(Command::Damaged { serial: one.serial });
        }
        assert!(!second.ledger.sealed.contains_key(&one.serial), "forgery {n}");
        assert_eq!(fs.names(&in_spool("quarantine")).len(), 1, "forgery {n}");
    }
}

#[test]
fn with_another_key_or_none_nothing_is_sent_and_everything_is_set_aside() {
    let (fs, rig) = recorded(encrypted());
    let count = rig.ledger.sealed.len();
    let mut grew = Rig::open(&fs, "boot-one", encrypted());
    grew.allow();
    grew.fragment = 100;
    grew.fragments(1);
    for encryption in [Encryption::with([7; 32]), Encryption::reading([7; 32]), Encryption::none()] {
        let fs = fs.after(Cut::KeepsAll);
        let serial = rig.footage()[0].serial;
        let sent = read_sealed(&encryption, fs.shared(), &spool_dir(), serial, 0);
        let Err(ReadError::Damaged(why)) = sent else { panic!("{sent:?}") };
        assert!(why.contains("spool.key"), "{why}");

        let (found, quarantined) = start(&fs, encryption);

        assert!(found.is_empty(), "{found:?}");
        assert_eq!(quarantined, 0);
        assert_eq!(files(&fs).len(), count + 1);
    }
}

#[test]
fn a_segment_that_is_tampered_with_under_way_is_put_aside_when_it_is_to_be_sent() {
    let (fs, mut rig) = recorded(encrypted());
    let serial = rig.footage()[0].serial;
    let mut file = fs.peek(&sealed(serial)).unwrap();
    let at = file.len() / 2;
    file[at] ^= 1;
    fs.put(&sealed(serial), &file);
    assert!(matches!(read(&fs, serial), Err(ReadError::Damaged(_))));

    rig.obey(Command::Damaged { serial });

    assert!(!rig.ledger.sealed.contains_key(&serial));
    assert!(matches!(read(&fs, serial), Err(ReadError::Gone)));
    assert_eq!(fs.names(&in_spool("quarantine")).len(), 1);
}

/// What was recorded before the setting was changed is still delivered, including what was growing then.
#[test]
fn a_spool_of_both_kinds_is_delivered_whole() {
    for (first, then) in [(Options::default(), encrypted()), (encrypted(), Options::default())] {
        let (fs, mut rig) = recorded(first);
        rig.allow();
        rig.fragments(1);
        let before = rig.ledger.clone();

        let mut setup = then.setup("boot-two");
        setup.encryption = if then.encrypt { Encryption::with(KEY) } else { Encryption::reading(KEY) };
        let clock = || (Now { mono: Mono(1), system: Utc(1), synchronised: false }, Clock::Unset);
        let (mut spool, found) = spool::open(fs.shared(), setup, LiveEpoch::new(), Box::new(clock)).unwrap();

        let labels: BTreeSet<_> = held(&fs).into_values().flatten().collect();
        assert_eq!(labels, before.committed);
        assert_eq!(found.len(), 5 + 3, "{found:?}");
        for (name, file) in files(&fs) {
            let old =
                !name.ends_with(".end") || before.serials.iter().any(|s| name.starts_with(&s.to_string()));
            let secret = if old { first.encrypt } else { then.encrypt };
            assert_eq!(file.starts_with(b"kasacam\x01"), secret, "{name}");
        }
        spool.shut_down();
        assert!(fs.peek(&state_dir().join("state/serial")).is_some());
        if then.encrypt {
            let mut third = Rig::open(&fs, "boot-three", then);
            third.fragment = 1_000;
            third.allow();
            third.fragments(2);
            third.shut_down();
            let newest = third.footage().pop().unwrap();
            assert!(fs.peek(&sealed(newest.serial)).unwrap().starts_with(b"kasacam\x01"));
        }
    }
}

#[test]
fn the_key_is_never_shown() {
    let shown = format!("{:?} {:?}", Encryption::with(KEY), encrypted().setup("boot-one"));
    assert!(!shown.contains("thirty-two") && !shown.contains("116, 104"), "{shown}");
}
