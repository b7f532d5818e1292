//! Certificates that cannot work, presented by a real OpenSSL: the report says which certificate it is and
//! what to reissue, with the key names of the broker's and of the store's configuration.

use crate::support::patience::patient;
use kasacam::net::{Dialer, Limits, Names, Target};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
    date_time_ymd,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const BROKER: Names = Names { url: "mqtt.url", ca: "mqtt.ca", cert: Some("mqtt.cert") };
const STORE: Names = Names { url: "upload.endpoint", ca: "upload.ca", cert: None };
const GOOD_KEYS: &str = "an ECDSA key on P-256 or P-384";

/// `openssl s_server` on a port of loopback.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(chain: &Path, key: &Path) -> Server {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new("openssl")
            .args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}")])
            .arg("-cert")
            .arg(chain)
            .arg("-cert_chain")
            .arg(chain)
            .arg("-key")
            .arg(key)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        let deadline = Instant::now() + patient(Duration::from_secs(20));
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "openssl does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Server { child, port }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn authority(name: &str, by: Option<&Authority>) -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = match by {
        Some(by) => params.signed_by(&key, &by.issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    Authority { pem: certificate.pem(), issuer: Issuer::new(params, key) }
}

/// A certificate for 127.0.0.1, except for what `change` does, and its key: PEM.
fn issued(by: &Authority, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "127.0.0.1");
    params.subject_alt_names = vec![SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST))];
    change(&mut params);
    (params.signed_by(&key, &by.issuer).unwrap().pem(), key.serialize_pem())
}

/// Runs `openssl` in `folder`.
fn openssl(folder: &Path, arguments: &str) {
    let output = Command::new("openssl").current_dir(folder).args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The report about a server that presents `chain`, if `root` is trusted.
async fn told(root: &str, chain: &str, key: &str, names: Names) -> Result<(), String> {
    let folder = TempDir::new().unwrap();
    let write = |name: &str, text: &str| -> PathBuf {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let server = Server::start(&write("chain.pem", chain), &write("key.pem", key));
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let step = patient(Duration::from_secs(10));
    let dialer = Dialer::new(Limits { step, inactivity: step });
    let target = Target { host: "127.0.0.1", port: server.port, names };
    dialer.open(target, Some(&Arc::new(tls))).await.map(drop).map_err(|fault| fault.0)
}

#[tokio::test]
async fn what_is_wrong_with_a_certificate_and_what_to_reissue_is_told() {
    let root = authority("root", None);
    let intermediate = authority("intermediate", Some(&root));
    let mut looked_at = 0;
    for names in [BROKER, STORE] {
        let cases: [(&str, (String, String), &[&str]); 6] = [
            (
                "no intermediate",
                issued(&intermediate, |_| {}),
                &["is not issued by a root of", names.ca, "its whole chain"],
            ),
            (
                "another host",
                issued(&root, |params| {
                    params.subject_alt_names = vec![SanType::DnsName("other.test".try_into().unwrap())];
                }),
                &[
                    "is for another host than that of",
                    names.url,
                    "it names DnsName(\"other.test\")",
                    "reissue it with 127.0.0.1 in subjectAltName",
                ],
            ),
            (
                "a common name alone",
                issued(&root, |params| params.subject_alt_names.clear()),
                &["is for another host", "no host in subjectAltName (a common name does not count)"],
            ),
            (
                "expired",
                issued(&root, |params| {
                    params.not_before = date_time_ymd(2020, 1, 1);
                    params.not_after = date_time_ymd(2021, 1, 1);
                }),
                &["has expired, or our clock is wrong", "days ago by our clock", "reissue it"],
            ),
            (
                "an authority's",
                issued(&root, |params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)),
                &["CA:TRUE", "reissue it as a server's"],
            ),
            (
                "a client's",
                issued(&root, |params| {
                    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
                }),
                &["is not meant for a server", "serverAuth"],
            ),
        ];
        for (what, (chain, key), parts) in cases {
            let why = told(&root.pem, &chain, &key, names).await.expect_err(what);
            for part in parts {
                assert!(why.contains(part), "{what}: {why}");
            }
            looked_at += 1;
        }
    }
    assert_eq!(looked_at, 12);

    // With the missing part the chain is accepted: nothing else was wrong.
    let (leaf, key) = issued(&intermediate, |_| {});
    let chain = format!("{leaf}{}", intermediate.pem);
    assert_eq!(told(&root.pem, &chain, &key, BROKER).await, Ok(()));
}

#[tokio::test]
async fn x509_version_1_and_p_521_are_told_by_name() {
    let folder = TempDir::new().unwrap();
    let at = folder.path();
    let read = |name: &str| std::fs::read_to_string(at.join(name)).unwrap();
    std::fs::write(at.join("san"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(at, "ecparam -name prime256v1 -genkey -noout -out root.key");
    openssl(at, "req -x509 -new -key root.key -subj /CN=root -days 30 -out root.pem");

    // Without extensions OpenSSL issues version 1.
    openssl(at, "ecparam -name prime256v1 -genkey -noout -out v1.key");
    openssl(at, "req -new -key v1.key -subj /CN=127.0.0.1 -out v1.csr");
    openssl(at, "x509 -req -in v1.csr -CA root.pem -CAkey root.key -CAcreateserial -days 30 -out v1.pem");
    let why = told(&read("root.pem"), &read("v1.pem"), &read("v1.key"), BROKER).await.unwrap_err();
    assert!(why.contains("its certificate is of X.509 version 1: reissue it as version 3"), "{why}");

    // A server's key that the camera cannot verify: the server itself finds no common algorithm.
    openssl(at, "ecparam -name secp521r1 -genkey -noout -out p521.key");
    openssl(at, "req -new -key p521.key -subj /CN=127.0.0.1 -out p521.csr");
    openssl(
        at,
        "x509 -req -in p521.csr -CA root.pem -CAkey root.key -CAcreateserial -days 30 -extfile san -out p521.pem",
    );
    for names in [BROKER, STORE] {
        let why = told(&read("root.pem"), &read("p521.pem"), &read("p521.key"), names).await.unwrap_err();
        assert!(why.contains("P-521") && why.contains(GOOD_KEYS), "{why}");
        assert_eq!(why.contains("look at mqtt.cert"), names == BROKER, "{why}");
    }

    // A key of an authority.
    openssl(at, "req -x509 -new -key p521.key -subj /CN=large -days 30 -out large.pem");
    openssl(
        at,
        "x509 -req -in v1.csr -CA large.pem -CAkey p521.key -CAcreateserial -days 30 -extfile san -out by521.pem",
    );
    let why = told(&read("large.pem"), &read("by521.pem"), &read("v1.key"), STORE).await.unwrap_err();
    assert!(why.contains("is signed in a way that we do not verify") && why.contains(GOOD_KEYS), "{why}");
}
