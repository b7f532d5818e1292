//! Which cipher suites a camera offers, and which is taken.

use kasacam::net::suites::{has_aes, in_words, ordered, provider};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use std::sync::Arc;

const CHACHA20: &str = "CHACHA20";

fn names(provider: &CryptoProvider) -> Vec<String> {
    provider.cipher_suites.iter().map(|suite| format!("{:?}", suite.suite())).collect()
}

/// The suite that a client with this provider and a server agree upon.
fn agreed(
    client: CryptoProvider,
    version: &'static rustls::SupportedProtocolVersion,
    servers_order: bool,
) -> String {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["store.test".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let mut server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    server.ignore_client_order = servers_order;
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(client))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = "store.test".try_into().unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    for _ in 0..10 {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets().unwrap();
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    format!("{:?}", client.negotiated_cipher_suite().unwrap().suite())
}

#[test]
fn chacha20_comes_first_where_the_cpu_has_no_aes() {
    let (with, without) = (names(&ordered(true)), names(&ordered(false)));
    let chacha = |name: &String| name.contains(CHACHA20);
    assert!(!chacha(&with[0]));
    let first = without.iter().take_while(|name| chacha(name)).count();
    assert_eq!(first, 3, "{without:?}");
    assert!(!without[first..].iter().any(chacha));
    let (mut one, mut other) = (with.clone(), without);
    one.sort();
    other.sort();
    assert_eq!(one, other, "the order is all that differs");
}

/// A server that leaves it to the client takes what comes first; one with an order of its own does not ask.
#[test]
fn the_order_is_what_a_server_goes_by_that_has_none_of_its_own() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        assert!(agreed(ordered(false), version, false).contains(CHACHA20), "{version:?}");
        assert!(agreed(ordered(true), version, false).contains("AES"), "{version:?}");
        assert!(agreed(ordered(false), version, true).contains("AES"), "{version:?}");
    }
}

/// What the kernel says of the CPU is what we go by, and what the log says. An emulated processor is another than that of
/// the machine, whose file this is.
#[test]
fn the_kernel_knows_the_same_of_this_cpu() {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let has = |feature: &str| {
        told.lines().any(|line| line.starts_with("flags") && line.split(' ').any(|it| it == feature))
    };
    if cfg!(target_arch = "x86_64") {
        assert_eq!(has_aes(), has("aes") && has("pclmulqdq"));
    }
    if cfg!(target_arch = "arm") {
        assert!(!has_aes(), "ring has no code with them for 32-bit ARM");
    }
    assert_eq!(names(&provider()), names(&ordered(has_aes())));
    assert_eq!(in_words(true), "TLS offers TLS13_AES_256_GCM_SHA384 first: with instructions for AES");
    assert_eq!(
        in_words(false),
        "TLS offers TLS13_CHACHA20_POLY1305_SHA256 first: without instructions for AES"
    );
}
