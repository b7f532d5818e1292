//! A client of the broker, and its credentials.

use kasacam::config::VerifyingKey;
use kasacam::config::pem::Pem;
use ring::rand::{SecureRandom, SystemRandom};
use rustls::ClientConfig;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410, 4).
const ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A client with a certificate, or a user name and password, or both.
pub(super) struct Party {
    /// The client identifier: for a camera its device id.
    pub(super) client: String,
    pub(super) tls: Arc<ClientConfig>,
    /// Name and password. Never shown.
    pub(super) login: Option<(String, String)>,
}

/// Credentials as the command line gives them.
pub(super) struct Credentials<'a> {
    pub(super) cert: Option<&'a Path>,
    pub(super) key: Option<&'a Path>,
    pub(super) user: Option<&'a str>,
    pub(super) password_file: Option<&'a Path>,
}

impl Party {
    /// # Errors
    /// The file that cannot be used, or what is missing.
    pub(super) fn new(client: &str, ca: &Path, given: &Credentials<'_>) -> Result<Party, String> {
        let identity = match (given.cert, given.key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(format!("{client}: a certificate needs its key, and a key its certificate"));
            }
        };
        let login = match (given.user, given.password_file) {
            (Some(user), Some(file)) => Some((user.to_owned(), password(file)?)),
            (Some(user), None) => Some((user.to_owned(), String::new())),
            (None, Some(_)) => return Err(format!("{client}: a password needs a user name")),
            (None, None) => None,
        };
        if identity.is_none() && login.is_none() {
            return Err(format!("{client}: needs a certificate or a user name"));
        }
        Ok(Party { client: client.to_owned(), tls: tls(ca, identity)?, login })
    }
}

/// TLS 1.2 or newer, with only these roots.
///
/// # Errors
/// The file that cannot be used.
pub(super) fn tls(ca: &Path, identity: Option<(&Path, &Path)>) -> Result<Arc<ClientConfig>, String> {
    let roots = Pem::of("ca", ca)?.roots().map_err(|why| why.of("ca", ca))?;
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| format!("TLS: {e}"))?
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some((cert, key)) => {
            let chain = Pem::of("cert", cert)?.certificates().map_err(|why| why.of("cert", cert))?;
            let private = Pem::of("key", key)?.private_key().map_err(|why| why.of("key", key))?;
            builder
                .with_client_auth_cert(chain, private)
                .map_err(|e| format!("{}: does not match its key: {e}", cert.display()))?
        }
    };
    Ok(Arc::new(config))
}

fn password(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {}", file.display(), e.kind()))?;
    Ok(text.trim_end().to_owned())
}

/// Reads keys that may sign commands; the `kid` is the stem of the file, as on a camera.
///
/// # Errors
/// The file that is not such a key.
pub(super) fn verifying_keys(files: &[PathBuf]) -> Result<Vec<VerifyingKey>, String> {
    files
        .iter()
        .map(|file| {
            let none = || format!("{}: contains no Ed25519 public key in PEM", file.display());
            let spki = SubjectPublicKeyInfoDer::from_pem_file(file).map_err(|_| none())?;
            let key = spki.as_ref().strip_prefix(&ED25519).and_then(|key| key.try_into().ok());
            let kid = file.file_stem().and_then(|stem| stem.to_str()).ok_or_else(none)?.to_owned();
            Ok(VerifyingKey { kid, key: key.ok_or_else(none)? })
        })
        .collect()
}

/// Random bytes in hexadecimal.
///
/// # Errors
/// The system has no randomness.
pub(super) fn random(bytes: usize) -> Result<String, String> {
    let mut drawn = vec![0; bytes];
    SystemRandom::new().fill(&mut drawn).map_err(|_| "no randomness".to_owned())?;
    Ok(crate::hex::encode(&drawn))
}
