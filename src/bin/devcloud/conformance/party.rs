//! Who speaks to the broker, and with what credentials.

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

/// The broker, and whom it is believed by.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct BrokerArguments {
    /// The broker.
    #[arg(long, value_name = "HOST:PORT")]
    pub(super) broker: String,
    /// PEM of the authorities that vouch for it.
    #[arg(long, value_name = "FILE")]
    pub(super) ca: PathBuf,
}

/// Somebody with a certificate, or a user name and password, or both.
pub(super) struct Party {
    /// The client identifier: for a camera its device id.
    pub(super) client: String,
    pub(super) tls: Arc<ClientConfig>,
    /// Name and password. Never shown.
    pub(super) login: Option<(String, String)>,
}

/// Credentials as they are named on the command line.
pub(super) struct Named<'a> {
    pub(super) cert: Option<&'a Path>,
    pub(super) key: Option<&'a Path>,
    pub(super) user: Option<&'a str>,
    pub(super) password_file: Option<&'a Path>,
}

impl Party {
    /// # Errors
    /// Which file cannot be used.
    pub(super) fn new(client: &str, ca: &Path, named: &Named<'_>) -> Result<Party, String> {
        let identity = match (named.cert, named.key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(format!("{client}: a certificate goes with its key"));
            }
        };
        let login = match (named.user, named.password_file) {
            (Some(user), Some(file)) => Some((user.to_owned(), password(file)?)),
            (Some(user), None) => Some((user.to_owned(), String::new())),
            (None, Some(_)) => return Err(format!("{client}: a password goes with a user name")),
            (None, None) => None,
        };
        if identity.is_none() && login.is_none() {
            return Err(format!("{client}: neither a certificate nor a user name is given"));
        }
        Ok(Party { client: client.to_owned(), tls: tls(ca, identity)?, login })
    }
}

/// TLS 1.2 or newer, with these roots and no others.
///
/// # Errors
/// Which file cannot be used.
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
                .map_err(|e| format!("{}: does not go with its key: {e}", cert.display()))?
        }
    };
    Ok(Arc::new(config))
}

fn password(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {}", file.display(), e.kind()))?;
    Ok(text.trim_end().to_owned())
}

/// Keys that may sign commands, each with its file's stem for a `kid`, as a camera has them.
///
/// # Errors
/// Which file holds no such key.
pub(super) fn verifying_keys(files: &[PathBuf]) -> Result<Vec<VerifyingKey>, String> {
    files
        .iter()
        .map(|file| {
            let none = || format!("{}: holds no Ed25519 public key in PEM", file.display());
            let spki = SubjectPublicKeyInfoDer::from_pem_file(file).map_err(|_| none())?;
            let key = spki.as_ref().strip_prefix(&ED25519).and_then(|key| key.try_into().ok());
            let kid = file.file_stem().and_then(|stem| stem.to_str()).ok_or_else(none)?.to_owned();
            Ok(VerifyingKey { kid, key: key.ok_or_else(none)? })
        })
        .collect()
}

/// `HOST:PORT`.
///
/// # Errors
/// Where it is not of that form.
pub(super) fn place(text: &str) -> Result<(String, u16), String> {
    let wrong = || format!("\"{text}\" is not of the form HOST:PORT");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() { Err(wrong()) } else { Ok((host.to_owned(), port.parse().map_err(|_| wrong())?)) }
}

/// So many random bytes, in hexadecimal.
///
/// # Errors
/// Where there is no randomness.
pub(super) fn random(bytes: usize) -> Result<String, String> {
    let mut drawn = vec![0; bytes];
    SystemRandom::new().fill(&mut drawn).map_err(|_| "no randomness".to_owned())?;
    Ok(drawn.iter().map(|byte| format!("{byte:02x}")).collect())
}
