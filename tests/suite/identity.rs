//! The device's certificate: which is accepted from a server, and what a power cut leaves.

use crate::support::fault_fs::{Cut, FaultFs, Mutant, Plan};
use kasacam::domain::time::Utc;
use kasacam::identity::{FILE, Failure, PENDING, Right, Server, enroll, read_answer, renew_at};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PublicKeyData,
    SubjectPublicKeyInfo,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;
use x509_parser::prelude::{FromDer, X509Certificate, X509CertificationRequest};

const STATE: &str = "/var/lib/kasacam";
const DEVICE: &str = "cam-0001";
/// 2027-01-01.
const NOW: Utc = Utc(1_798_761_600_000_000_000);

/// An authority in memory. It issues what is requested, and remembers the public keys.
struct Authority {
    ca: CertifiedIssuer<'static, KeyPair>,
    name: &'static str,
    years: (i32, i32),
    keys: Mutex<Vec<Vec<u8>>>,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "an authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Authority { ca, name: DEVICE, years: (2026, 2028), keys: Mutex::default() }
    }

    fn issue(&self, spki: &[u8]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, self.name);
        params.not_before = rcgen::date_time_ymd(self.years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(self.years.1, 1, 1);
        let key = SubjectPublicKeyInfo::from_der(spki).unwrap();
        let leaf = params.signed_by(&key, &self.ca).unwrap();
        // In the wrong order.
        certs_only(&[self.ca.der(), leaf.der()])
    }
}

impl Server for Authority {
    async fn ask(&self, _: Right, request: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let (_, parsed) = X509CertificationRequest::from_der(&request).unwrap();
        let info = &parsed.certification_request_info;
        assert_eq!(info.subject.to_string(), format!("CN={DEVICE}"));
        let spki = info.subject_pki.raw.to_vec();
        let answer = self.issue(&spki);
        self.keys.lock().unwrap().push(spki);
        Ok(answer)
    }
}

fn certs_only(certificates: &[&CertificateDer<'_>]) -> Vec<u8> {
    use yasna::Tag;
    use yasna::models::ObjectIdentifier;
    let data = |last: u64| ObjectIdentifier::from_slice(&[1, 2, 840, 113_549, 1, 7, last]);
    yasna::construct_der(|writer| {
        writer.write_sequence(|info| {
            info.next().write_oid(&data(2));
            info.next().write_tagged(Tag::context(0), |content| {
                content.write_sequence(|signed| {
                    signed.next().write_u8(1);
                    signed.next().write_set(|_| {});
                    signed.next().write_sequence(|inner| inner.next().write_oid(&data(1)));
                    signed.next().write_tagged_implicit(Tag::context(0), |set| {
                        set.write_sequence(|all| {
                            certificates.iter().for_each(|it| all.next().write_der(it));
                        });
                    });
                    signed.next().write_set(|_| {});
                });
            });
        });
    })
}

fn state() -> &'static Path {
    Path::new(STATE)
}

fn run(fs: &FaultFs, right: Right, server: &Authority) -> Result<Utc, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let fs = fs.shared();
    let asked = enroll(&*fs, state(), DEVICE, right, server, NOW);
    runtime.block_on(asked).map(|issued| issued.until)
}

/// The public key of the identity on flash, which must be whole: a private key, and a chain that begins with
/// its certificate.
fn identity(fs: &FaultFs) -> Option<Vec<u8>> {
    let pem = fs.peek(&state().join(FILE))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().unwrap();
    let (_, leaf) = X509Certificate::from_der(&chain[0]).unwrap();
    let key = KeyPair::from_pem(std::str::from_utf8(&pem).unwrap()).unwrap();
    assert_eq!(key.subject_public_key_info(), leaf.public_key().raw, "the key goes with its certificate");
    assert!(PrivateKeyDer::from_pem_slice(&pem).is_ok());
    assert_eq!(chain.len(), 1, "the root stays at home");
    Some(leaf.public_key().raw.to_vec())
}

#[test]
fn an_enrolment_leaves_one_file_with_key_and_chain() {
    let (fs, server) = (FaultFs::healthy(), Authority::new());
    let until = run(&fs, Right::Claim, &server).unwrap();
    assert_eq!(until, Utc::parse("2028-01-01T00:00:00Z").unwrap());
    let key = identity(&fs).unwrap();
    assert_eq!(*server.keys.lock().unwrap(), [key.as_slice()]);
    assert!(fs.peek(&state().join(PENDING)).is_none());

    run(&fs, Right::Identity, &server).unwrap();
    assert_ne!(identity(&fs), Some(key), "a renewal has a key of its own");
}

/// At each call of the file system the power is cut, keeping all, nothing or some of what was not synced.
#[test]
fn a_power_cut_leaves_the_old_identity_or_the_new_one() {
    let server = Authority::new();
    let (mut cuts, mut kept, mut replaced) = (0, 0, 0);
    for right in [Right::Claim, Right::Identity] {
        let before = FaultFs::healthy();
        if right == Right::Identity {
            run(&before, Right::Claim, &server).unwrap();
        }
        let old = identity(&before);
        let whole = before.after(Cut::KeepsAll);
        run(&whole, right, &server).unwrap();
        for at in 0..=whole.calls() {
            for cut in [Cut::LosesAll, Cut::KeepsAll, Cut::Torn(at), Cut::Torn(at + 1000)] {
                let fs = before.after(Cut::KeepsAll);
                fs.plan(Plan::Crash { at });
                let asked_before = server.keys.lock().unwrap().len();
                let outcome = run(&fs, right, &server);
                let asked = server.keys.lock().unwrap().get(asked_before).cloned();
                let after = fs.after(cut);
                let found = identity(&after);
                cuts += 1;
                if found == old {
                    kept += 1;
                    assert!(outcome.is_err(), "call {at}, {cut:?}: what was told is not so");
                } else {
                    replaced += 1;
                    assert_eq!(found, asked, "call {at}, {cut:?}");
                }
                run(&after, right, &server).unwrap();
                if asked.is_some() && found == old {
                    // A one-time password is used up for that key.
                    assert_eq!(identity(&after), asked, "call {at}, {cut:?}: the key is used again");
                }
            }
        }
    }
    assert!(kept >= 20 && replaced >= 8, "{cuts} cuts: {kept} old identities, {replaced} new ones");
}

#[test]
fn a_failed_call_of_the_disk_costs_no_identity() {
    let server = Authority::new();
    let before = FaultFs::healthy();
    run(&before, Right::Claim, &server).unwrap();
    let old = identity(&before);
    let mut failed = 0;
    for at in 0..40 {
        let fs = before.after(Cut::KeepsAll);
        let begun = fs.calls();
        fs.plan(Plan::Fail { from: begun + at, until: begun + at + 1, errno: libc::EIO });
        let outcome = run(&fs, Right::Identity, &server);
        failed += usize::from(outcome.is_err());
        assert!(identity(&fs).is_some());
        if outcome.is_ok() {
            assert_ne!(identity(&fs), old);
        }
        fs.plan(Plan::Nothing);
        run(&fs, Right::Identity, &server).unwrap();
        assert_ne!(identity(&fs), old);
    }
    assert!(failed >= 5, "only {failed} calls failed it");
}

/// Tests the harness: a file system that does not sync is detected.
#[test]
fn a_file_system_that_does_not_sync_is_noticed() {
    let server = Authority::new();
    for mutant in [Mutant::SyncDoesNothing, Mutant::SyncDirDoesNothing] {
        let fs = FaultFs::new(Plan::Nothing, mutant);
        run(&fs, Right::Claim, &server).unwrap();
        let after = fs.after(Cut::LosesAll);
        let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| identity(&after)));
        assert!(found.is_err() || found.is_ok_and(|found| found.is_none()), "{mutant:?}");
    }
}

#[test]
fn what_another_implementation_made_is_read_and_put_in_order() {
    let answer = include_bytes!("../fixtures/est/answer.p7");
    let spki = include_bytes!("../fixtures/est/leaf.spki");
    let issued = read_answer(answer, spki, DEVICE, NOW).unwrap();
    let names: Vec<String> = issued
        .chain
        .iter()
        .map(|der| X509Certificate::from_der(der).unwrap().1.subject().to_string())
        .collect();
    assert_eq!(names, ["CN=cam-0001", "CN=Issuing"]);
}

#[test]
fn a_certificate_that_is_not_ours_is_refused_with_the_reason() {
    let key = KeyPair::generate().unwrap();
    let (spki, other) =
        (key.subject_public_key_info(), KeyPair::generate().unwrap().subject_public_key_info());
    let good = Authority::new();
    let told = |answer: &[u8]| read_answer(answer, &spki, DEVICE, NOW).unwrap_err();
    assert!(read_answer(&good.issue(&spki), &spki, DEVICE, NOW).is_ok());
    assert!(told(&good.issue(&other)).contains("no certificate for the key"));
    assert!(told(&Authority { name: "cam-0002", ..Authority::new() }.issue(&spki)).contains("\"cam-0002\""));
    assert!(told(&Authority { years: (2020, 2021), ..Authority::new() }.issue(&spki)).contains("clocks"));
    assert!(told(&Authority { years: (2040, 2041), ..Authority::new() }.issue(&spki)).contains("clocks"));
    assert!(told(b"").contains("CMS"));
    assert!(told(b"\x30\x80\x00\x00").contains("CMS"));
    let many: Vec<_> = (0..9).map(|_| good.ca.der()).collect();
    assert!(told(&certs_only(&many)).contains("more than 8"));
}

#[test]
fn nothing_that_a_server_answers_makes_it_panic() {
    let answer = include_bytes!("../fixtures/est/answer.p7");
    let spki = include_bytes!("../fixtures/est/leaf.spki");
    let mut refused = 0;
    for at in 0..answer.len() {
        for byte in [0x00, 0x80, 0xff, answer[at] ^ 1] {
            let mut damaged = answer.to_vec();
            damaged[at] = byte;
            refused += usize::from(read_answer(&damaged, spki, DEVICE, NOW).is_err());
        }
        refused += usize::from(read_answer(&answer[..at], spki, DEVICE, NOW).is_err());
    }
    assert!(refused > answer.len(), "only {refused} were refused");
}

#[test]
fn a_certificate_is_renewed_after_two_thirds_of_its_life() {
    let (from, until) = (NOW, NOW + Duration::from_secs(90 * 86_400));
    assert_eq!(renew_at(from, until), NOW + Duration::from_secs(60 * 86_400));
    assert_eq!(renew_at(until, from), until, "a life that ends before it begins is over");
}
