//! TLS towards the broker: ring, TLS 1.2 and 1.3, the roots of `mqtt.ca` and no others, and the
//! device's own certificate.

use crate::config::Mqtt;
use crate::config::pem::Pem;
use crate::system::clock::CertificateTime;
use rustls::ClientConfig;
use rustls::client::Resumption;
use std::sync::Arc;

/// What connections are made with, and the files that it was read from. They are read again for each connection: a
/// certificate that was renewed counts from the next one on.
#[derive(Clone)]
pub(super) struct Credentials {
    mqtt: Arc<Mqtt>,
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
        let files = Files::read(mqtt)?;
        let config = client_config(mqtt, &files)?;
        Ok(Credentials { mqtt: Arc::new(mqtt.clone()), digest: files.digest(), config })
    }

    /// The client configuration as it was read last.
    pub(super) fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// Whether the files hold something else than what was read last, and something that can be used.
    pub(super) async fn have_changed(&self) -> bool {
        let before = self.clone();
        let look = move || {
            let files = Files::read(&before.mqtt)?;
            if files.digest() == before.digest {
                return Ok::<_, String>(false);
            }
            client_config(&before.mqtt, &files).map(|_| true)
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
        let read = move || {
            let files = Files::read(&before.mqtt)?;
            let digest = files.digest();
            if digest == before.digest {
                return Ok::<_, String>(before);
            }
            let config = client_config(&before.mqtt, &files)?;
            Ok(Credentials { digest, config, ..before })
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

/// What the files hold, each read once: what is compared is what is used.
struct Files {
    ca: Pem,
    cert: Pem,
    key: Pem,
}

impl Files {
    fn read(mqtt: &Mqtt) -> Result<Files, String> {
        let ca = Pem::of("mqtt.ca", &mqtt.ca)?;
        let cert = Pem::of("mqtt.cert", &mqtt.cert)?;
        let key = Pem::of("mqtt.key", &mqtt.key)?;
        Ok(Files { ca, cert, key })
    }

    fn digest(&self) -> [u8; 32] {
        let mut sum = ring::digest::Context::new(&ring::digest::SHA256);
        for file in [&self.ca, &self.cert, &self.key] {
            sum.update(file.bytes());
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(sum.finish().as_ref());
        digest
    }
}

/// The client configuration for every connection to the broker.
fn client_config(mqtt: &Mqtt, files: &Files) -> Result<Arc<ClientConfig>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_details(provider, Arc::new(CertificateTime))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| format!("TLS 1.2 and 1.3 are not available: {error}"))?;
    let roots = files.ca.roots().map_err(|why| why.of("mqtt.ca", &mqtt.ca))?;
    let chain = files.cert.certificates().map_err(|why| why.of("mqtt.cert", &mqtt.cert))?;
    let key = files.key.private_key().map_err(|why| why.of("mqtt.key", &mqtt.key))?;
    let mut config =
        builder.with_root_certificates(roots).with_client_auth_cert(chain, key).map_err(|error| {
            let (cert, key) = (mqtt.cert.display(), mqtt.key.display());
            format!("mqtt.cert: {cert} does not go with mqtt.key: {key}: {error}")
        })?;
    // One broker: a few tickets are plenty.
    config.resumption = Resumption::in_memory_sessions(4);
    config.alpn_protocols = mqtt.alpn.iter().map(|alpn| alpn.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}
