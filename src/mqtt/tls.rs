//! TLS towards the broker: ring, TLS 1.2 and 1.3, the roots of `mqtt.ca` and no others, and the
//! device's own certificate.

use crate::config::Mqtt;
use crate::system::clock::CertificateTime;
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// A whole public bundle is about 250 KiB.
const MOST_BYTES: u64 = 1024 * 1024;

/// What connections are made with, and the files that it was read from. They are read again for each connection: a
/// certificate that was renewed counts from the next one on.
#[derive(Clone)]
pub(super) struct Credentials {
    files: Arc<Mqtt>,
    /// SHA-256 of what the files held.
    digest: [u8; 32],
    /// Kept while the files stay as they are, with the tickets of sessions that may be resumed.
    config: Arc<ClientConfig>,
}

impl Credentials {
    /// Reads them for the first time.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub(super) fn read(mqtt: &Mqtt) -> Result<Credentials, String> {
        // Before the configuration is made: files that change in between are read again the next time.
        let digest = digest(mqtt)?;
        Ok(Credentials { files: Arc::new(mqtt.clone()), digest, config: client_config(mqtt)? })
    }

    /// The client configuration as it was read last.
    pub(super) fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// Whether the files hold something else than what was read last, and something that can be used.
    pub(super) async fn have_changed(&self) -> bool {
        let before = self.clone();
        let look = move || match digest(&before.files) {
            Ok(same) if same == before.digest => Ok(false),
            Ok(_) => Credentials::read(&before.files).map(|_| true),
            Err(why) => Err(why),
        };
        match tokio::task::spawn_blocking(look).await {
            Ok(Ok(changed)) => changed,
            Ok(Err(why)) => {
                tracing::error!("{why}; the session with the broker stays as it is");
                false
            }
            Err(_) => false,
        }
    }

    /// The files as they are now, read on a thread that may wait for a disk. Where they cannot be used, what was read
    /// before is used on, and the log says so.
    pub(super) async fn read_again(&self) -> Credentials {
        let before = self.clone();
        let read = move || match digest(&before.files) {
            Ok(same) if same == before.digest => Ok(before),
            Ok(_) => Credentials::read(&before.files),
            Err(why) => Err(why),
        };
        match tokio::task::spawn_blocking(read).await {
            Ok(Ok(now)) => now,
            Ok(Err(why)) => {
                tracing::error!("{why}; connecting with what was read before");
                self.clone()
            }
            Err(_) => self.clone(),
        }
    }
}

fn digest(mqtt: &Mqtt) -> Result<[u8; 32], String> {
    let mut sum = ring::digest::Context::new(&ring::digest::SHA256);
    for (key, path) in [("mqtt.ca", &mqtt.ca), ("mqtt.cert", &mqtt.cert), ("mqtt.key", &mqtt.key)] {
        sum.update(&read(key, path)?);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(sum.finish().as_ref());
    Ok(digest)
}

/// The client configuration for every connection to the broker.
fn client_config(mqtt: &Mqtt) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_details(provider, Arc::new(CertificateTime))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| format!("TLS 1.2 and 1.3 are not available: {error}"))?;
    let chain = certificates("mqtt.cert", &mqtt.cert)?;
    let mut config = builder
        .with_root_certificates(roots(&mqtt.ca)?)
        .with_client_auth_cert(chain, private_key(&mqtt.key)?)
        .map_err(|error| {
            let (cert, key) = (mqtt.cert.display(), mqtt.key.display());
            format!("mqtt.cert: {cert} does not go with mqtt.key: {key}: {error}")
        })?;
    // One broker: a few tickets are plenty.
    config.resumption = Resumption::in_memory_sessions(4);
    config.alpn_protocols = mqtt.alpn.iter().map(|alpn| alpn.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}

fn roots(ca: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for (i, certificate) in certificates("mqtt.ca", ca)?.into_iter().enumerate() {
        let (at, n) = (ca.display(), i + 1);
        roots
            .add(certificate)
            .map_err(|error| format!("mqtt.ca: {at}: certificate {n} cannot be a root: {error}"))?;
    }
    Ok(roots)
}

fn certificates(key: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let at = path.display();
    let pem = read(key, path)?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|_| format!("{key}: {at}: is not PEM throughout"))?;
    if found.is_empty() {
        return Err(format!("{key}: {at}: holds no certificate (-----BEGIN CERTIFICATE-----)"));
    }
    Ok(found)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let pem = read("mqtt.key", path)?;
    // The parser's own words could quote the file.
    PrivateKeyDer::from_pem_slice(&pem)
        .map_err(|_| format!("mqtt.key: {}: holds no private key in PEM", path.display()))
}

fn read(key: &str, path: &Path) -> Result<Vec<u8>, String> {
    let at = path.display();
    let mut contents = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut contents))
        .map_err(|error| format!("{key}: {at}: cannot be read: {error}"))?;
    if u64::try_from(contents.len()).unwrap_or(u64::MAX) > MOST_BYTES {
        return Err(format!("{key}: {at}: is larger than 1 MiB"));
    }
    Ok(contents)
}
