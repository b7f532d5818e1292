//! TLS to the broker: ring, TLS 1.2 and 1.3, only the roots of `mqtt.ca`, and the device's own certificate.

use crate::config::Mqtt;
use crate::config::pem::Pem;
use crate::net::suites;
use crate::system::clock::CertificateTime;
use rustls::ClientConfig;
use rustls::client::Resumption;
use std::sync::Arc;

/// The TLS configuration, and the files from which it was read. They are read again for each connection: a
/// renewed certificate is used from the next one on.
#[derive(Clone)]
pub(super) struct Credentials {
    mqtt: Arc<Mqtt>,
    /// SHA-256 of the contents of the files.
    digest: [u8; 32],
    /// Kept while the files do not change, including the tickets of sessions that may be resumed.
    config: Arc<ClientConfig>,
}

impl Credentials {
    /// Reads them for the first time.
    ///
    /// # Errors
    /// Which file is wrong, and what is wrong with it.
    pub(super) fn read(mqtt: &Mqtt) -> Result<Credentials, String> {
        let files = Files::read(mqtt)?;
        let config = client_config(mqtt, &files)?;
        Ok(Credentials { mqtt: Arc::new(mqtt.clone()), digest: files.digest(), config })
    }

    /// The client configuration that was last read.
    pub(super) fn config(&self) -> &Arc<ClientConfig> {
        &self.config
    }

    /// Whether the files have changed since they were last read, and can be used.
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

    /// The files as they are now, read on a thread that may wait for a disk. If they cannot be used, the
    /// previous ones stay in use, and this is logged.
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
                tracing::error!("{why}; connecting with the files that were read before");
                self.clone()
            }
            Err(_) => self.clone(),
        }
    }
}

/// The contents of the files, each read once: what is compared is what is used.
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
    let builder = ClientConfig::builder_with_details(suites::provider(), Arc::new(CertificateTime))
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
    // One broker: a few tickets are enough.
    config.resumption = Resumption::in_memory_sessions(4);
    config.alpn_protocols = mqtt.alpn.iter().map(|alpn| alpn.as_bytes().to_vec()).collect();
    Ok(Arc::new(config))
}
