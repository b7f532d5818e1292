//! The private CA and its certificates: made once, then read from `DIR/pki`. The files of a camera are in `DIR/{device}`.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// The common name of the claim certificate.
pub(crate) const CLAIM: &str = "kasacam-claim";
/// The address of the host for a QEMU guest (user networking).
const HOST_OF_A_GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// Paths of the files.
#[derive(Clone, Debug)]
pub(crate) struct Pki {
    pub ca: PathBuf,
    pub server_cert: PathBuf,
    pub server_key: PathBuf,
    pub cloud_cert: PathBuf,
    pub cloud_key: PathBuf,
    pub device_cert: PathBuf,
    pub device_key: PathBuf,
    pub claim_cert: PathBuf,
    pub claim_key: PathBuf,
}

/// Makes the certificates that do not exist yet: of the CA, the server, the cloud, the device, and for claims.
///
/// # Errors
/// The name is not valid for a device, or a file cannot be made or read.
pub(crate) fn ensure(dir: &Path, device: &str) -> Result<Pki, String> {
    if !is_device(device) {
        return Err(format!(
            "\"{device}\" is no name for a camera: it has 1 to 64 of A-Z a-z 0-9 - _, and is not a name that the cloud uses"
        ));
    }
    let (pki_dir, device_dir) = (dir.join("pki"), dir.join(device));
    private_dir(&pki_dir)?;
    private_dir(&device_dir)?;
    let pki = Pki {
        ca: pki_dir.join("ca.pem"),
        server_cert: pki_dir.join("server.pem"),
        server_key: pki_dir.join("server.key"),
        cloud_cert: pki_dir.join("cloud.pem"),
        cloud_key: pki_dir.join("cloud.key"),
        device_cert: device_dir.join("device.pem"),
        device_key: device_dir.join("device.key"),
        claim_cert: pki_dir.join("claim.pem"),
        claim_key: pki_dir.join("claim.key"),
    };
    let ca = authority(dir)?;
    // It has the same key and name as before, so all certificates that it issued stay valid.
    if !pki.ca.exists() {
        write_new(&pki.ca, ca.pem().as_bytes(), 0o644)?;
    }
    issue(&ca, &pki.server_cert, &pki.server_key, "kasacam-devcloud", true)?;
    issue(&ca, &pki.cloud_cert, &pki.cloud_key, "cloud", false)?;
    issue(&ca, &pki.device_cert, &pki.device_key, device, false)?;
    issue(&ca, &pki.claim_cert, &pki.claim_key, CLAIM, false)?;
    Ok(pki)
}

/// The CA, with its key.
///
/// # Errors
/// The key cannot be made or read.
pub(crate) fn authority(dir: &Path) -> Result<CertifiedIssuer<'static, KeyPair>, String> {
    let key = read_or_make_key(&dir.join("pki").join("ca.key"))?;
    CertifiedIssuer::self_signed(ca_params(), key).map_err(|e| format!("the CA: {e}"))
}

/// A certificate and key for another camera, signed by the CA in `dir`.
///
/// # Errors
/// A file cannot be made or read.
pub(crate) fn issue_device(dir: &Path, name: &str) -> Result<(PathBuf, PathBuf), String> {
    ensure(dir, name).map(|pki| (pki.device_cert, pki.device_key))
}

/// The broker allows `cloud` everything; the other names are files and directories of the cloud.
fn is_device(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    (1..=64).contains(&name.len())
        && name.bytes().all(plain)
        && !["cloud", "pki", "broker", "bucket", "lock"].contains(&name)
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "kasacam development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn issue(
    ca: &CertifiedIssuer<'_, KeyPair>,
    cert: &Path,
    key: &Path,
    name: &str,
    server: bool,
) -> Result<(), String> {
    if cert.exists() && key.exists() {
        return Ok(());
    }
    let failed = |e: rcgen::Error| format!("the certificate of {name}: {e}");
    let pair = read_or_make_key(key)?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    if server {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let localhost = "localhost".try_into().map_err(failed)?;
        params.subject_alt_names = vec![
            SanType::DnsName(localhost),
            SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)),
            SanType::IpAddress(IpAddr::V4(HOST_OF_A_GUEST)),
        ];
    } else {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    }
    let issued = params.signed_by(&pair, ca).map_err(failed)?;
    write_new(cert, issued.pem().as_bytes(), 0o644)
}

fn read_or_make_key(path: &Path) -> Result<KeyPair, String> {
    if path.exists() {
        let pem = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
        return KeyPair::from_pem(&pem).map_err(|e| format!("{}: {e}", path.display()));
    }
    let pair = KeyPair::generate().map_err(|e| format!("no key could be made: {e}"))?;
    write_new(path, pair.serialize_pem().as_bytes(), 0o600)?;
    Ok(pair)
}

/// Makes `dir` and its parents, with mode 0700.
///
/// # Errors
/// It cannot be made.
pub(crate) fn private_dir(dir: &Path) -> Result<(), String> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|e| format!("{}: cannot be made: {e}", dir.display()))
}

/// Writes a new file, with its mode from the start.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), String> {
    // An old file would keep its own mode.
    let _not_there = std::fs::remove_file(path);
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .map_err(|e| format!("{}: cannot be written: {e}", path.display()))
}
