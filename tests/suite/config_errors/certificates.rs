//! The device's certificate and key, authorities, and the keys that sign commands.

use super::{Folder, certificate, certificate_with, ed25519_public};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kasacam::config::{self, Config, Surroundings};
use kasacam::domain::time::Utc;
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyPair, PKCS_ED25519, SanType};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::fs;
use std::os::unix::fs::chown;

#[test]
fn a_private_key_that_others_can_read_is_refused() {
    for mode in [0o640, 0o604, 0o660, 0o644] {
        let folder = Folder::new();
        folder.mode("device.key", mode);
        folder.is_reported("mqtt.key", "key = \"device.key\"", "chmod 600");
    }
}

#[test]
fn a_private_key_of_another_user_is_refused() {
    let folder = Folder::new();
    let us = folder.around().user;
    // Root may give its file away; for others, only another user can judge.
    let user = if us == 0 { us } else { us + 1 };
    if us == 0 {
        chown(folder.path("device.key"), Some(4242), None).unwrap();
    }
    folder.write("agent.toml", &folder.agent);
    let around = Surroundings { user, ..folder.around() };
    let text = config::load_in(&folder.path("agent.toml"), &around).unwrap_err().to_string();
    assert!(text.contains("mqtt.key") && text.contains("not to us"), "{text}");
}

#[test]
fn another_cameras_certificate_is_refused() {
    let folder = Folder::new();
    folder.identity(certificate("cam-0002"));
    folder.is_reported(
        "mqtt.cert",
        "device.pem",
        "common name is \"cam-0002\", but device.id is \"cam-0001\"",
    );
}

#[test]
fn a_private_key_that_is_not_the_certificates_is_refused() {
    let folder = Folder::new();
    folder.secret("device.key", &certificate("cam-0001").1);
    folder.is_reported("mqtt.key", "device.key", "does not belong to the certificate");
}

#[test]
fn missing_and_wrong_files_are_reported() {
    for (name, text, key, what) in [
        ("device.pem", None, "mqtt.cert", "no such file"),
        ("device.pem", Some("hello"), "mqtt.cert", "contains no certificate"),
        ("device.pem", Some("-----BEGIN CERTIFICATE-----\nAAAA\n"), "mqtt.cert", "not valid PEM"),
        (
            "device.pem",
            Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "mqtt.cert",
            "X.509",
        ),
        ("device.key", None, "mqtt.key", "no such file"),
        ("device.key", Some("hello"), "mqtt.key", "contains no private key"),
        (
            "device.key",
            Some("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
            "mqtt.key",
            "not supported",
        ),
        ("entitlement-2026-1.pem", None, "entitlement.keys", "no such file"),
        ("entitlement-2026-1.pem", Some(""), "entitlement.keys", "contains no public key"),
    ] {
        let folder = Folder::new();
        match text {
            Some(text) => folder.write(name, text),
            None => fs::remove_file(folder.path(name)).unwrap(),
        }
        folder.is_reported(key, name, what);
    }
    let folder = Folder::new();
    folder.write("ca.pem", "");
    let problems = folder.problems();
    assert_eq!(problems.iter().map(|p| p.key.as_str()).collect::<Vec<_>>(), ["mqtt.ca", "upload.ca"]);
}

#[test]
fn a_certificate_that_cannot_be_a_root_is_reported() {
    let folder = Folder::new();
    let root = fs::read_to_string(folder.path("ca.pem")).unwrap();
    let mut der = pem_to_der(&root);
    // A valid X.509 certificate with one more byte.
    der.push(0);
    folder.write("ca.pem", &format!("{root}{}", der_to_pem(&der)));
    let told: Vec<String> =
        folder.problems().iter().map(|problem| format!("{}: {}", problem.key, problem.problem)).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    for (key, told) in ["mqtt.ca", "upload.ca"].iter().zip(told) {
        assert!(told.starts_with(key) && told.contains("certificate 2 cannot be a root"), "{told}");
    }
}

fn pem_to_der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

fn der_to_pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

#[test]
fn the_certificate_contains_the_device_id_as_device_identity_says() {
    let dns = |name: &str| SanType::DnsName(name.try_into().unwrap());
    let uri = |name: &str| SanType::URI(name.try_into().unwrap());
    let fixed = "AWS IoT Certificate";
    for (identity, cn, san, good) in [
        ("cn", "cam-0001", vec![], true),
        ("cn", fixed, vec![dns("cam-0001")], false),
        ("san", fixed, vec![dns("other"), dns("cam-0001")], true),
        ("san", fixed, vec![uri("urn:example:cam-0001")], true),
        ("san", fixed, vec![uri("spiffe://example/cameras/cam-0001")], true),
        ("san", "cam-0001", vec![dns("cam-00012"), uri("urn:example:xcam-0001")], false),
        ("san", "cam-0001", vec![], false),
        ("any", fixed, vec![], true),
    ] {
        let folder = Folder::new().agent("[device]\n", &format!("[device]\nidentity = \"{identity}\"\n"));
        folder.identity(certificate_with(cn, |params| params.subject_alt_names = san.clone()));
        match folder.load() {
            Ok(_) => assert!(good, "{identity} {cn} {san:?}"),
            Err(problems) => {
                assert!(!good, "{identity} {cn} {san:?}: {problems}");
                assert!(problems.to_string().contains("device.identity"), "{problems}");
            }
        }
    }
}

/// The warnings about the device's certificate at this time.
fn certificate_warnings(config: &Config, now: &str) -> String {
    let found = config::warnings(config, Utc::parse(now).unwrap());
    let found = found.into_iter().filter(|warning| warning.key == "mqtt.cert");
    found.map(|warning| warning.warning).collect::<Vec<_>>().join("\n")
}

#[test]
fn an_expired_certificate_is_a_warning_only() {
    let folder = Folder::new();
    folder.identity(certificate_with("cam-0001", |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    }));
    let config = folder.load().unwrap();
    let at = |text: &str| certificate_warnings(&config, text);

    assert!(at("2026-11-23T12:00:00Z").contains("expired at 2021-01-01"));
    assert!(at("2020-12-20T12:00:00Z").contains("expires soon"));
    assert!(at("1999-12-31T12:00:00Z").contains("not valid before"));
    assert_eq!(at("2020-06-01T12:00:00Z"), "");
}

#[test]
fn a_device_certificate_that_brokers_refuse_is_a_warning() {
    let folder = Folder::new();
    folder.identity(certificate_with("cam-0001", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    }));
    let warnings = || certificate_warnings(&folder.load().unwrap(), "2026-11-23T12:00:00Z");
    let told = warnings();
    assert!(told.contains("CA:TRUE") && told.contains("clientAuth"), "{told}");

    // Without extensions OpenSSL issues version 1.
    let run = |arguments: &str| {
        let mut command = std::process::Command::new("openssl");
        let output = command.current_dir(folder.path("")).args(arguments.split(' ')).output().unwrap();
        assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run("req -new -key device.key -subj /CN=cam-0001 -out v1.csr");
    run("x509 -req -in v1.csr -signkey device.key -days 30 -out device.pem");
    let told = warnings();
    assert!(told.contains("reissue it as version 3"), "{told}");
}

#[test]
fn a_signing_key_must_be_a_public_ed25519_key() {
    let folder = Folder::new();
    folder.write("entitlement-2026-1.pem", &KeyPair::generate().unwrap().public_key_pem());
    folder.is_reported("entitlement.keys", "entitlement-2026-1", "is not an Ed25519 key");

    let private = KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem();
    folder.write("entitlement-2026-1.pem", &private);
    folder.is_reported("entitlement.keys", "entitlement-2026-1", "the public key only");
}

#[test]
fn two_keys_cannot_share_a_kid() {
    let folder = Folder::new();
    fs::create_dir(folder.path("old")).unwrap();
    folder.write("old/entitlement-2026-1.pem", &ed25519_public());
    let folder = folder.agent(
        "[\"entitlement-2026-1.pem\"]",
        "[\"entitlement-2026-1.pem\", \"old/entitlement-2026-1.pem\"]",
    );
    folder.is_reported("entitlement.keys", "old/", "named twice");
}

#[test]
fn an_empty_list_of_keys_is_reported() {
    Folder::new().agent("[\"entitlement-2026-1.pem\"]", "[]").is_reported(
        "entitlement.keys",
        "keys = []",
        "1 to 16",
    );
}

#[test]
fn the_owners_choice_has_its_own_keys_or_those_of_the_lease() {
    let config = Folder::new().load().unwrap();
    assert_eq!(config.privacy.keys, config.entitlement.keys);

    let folder = Folder::with("privacy", "keys = [\"owner-1.pem\"]");
    folder.is_reported("privacy.keys", "owner-1.pem", "no such file");
    folder.write("owner-1.pem", &ed25519_public());
    let config = folder.load().unwrap();
    assert_eq!(config.privacy.keys.iter().map(|key| key.kid.as_str()).collect::<Vec<_>>(), ["owner-1"]);
    assert_eq!(config.entitlement.keys[0].kid, "entitlement-2026-1");
    assert_ne!(config.privacy.keys[0].key, config.entitlement.keys[0].key);
    Folder::with("privacy", "keys = []").is_reported("privacy.keys", "keys = []", "1 to 16");
}
