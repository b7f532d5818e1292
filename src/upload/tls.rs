//! TLS to the store: ring, TLS 1.2 and 1.3, and only the roots of `upload.ca`.

use crate::config::pem::Pem;
use crate::net::suites;
use crate::system::clock::CertificateTime;
use rustls::ClientConfig;
use std::path::Path;
use std::sync::Arc;

/// The client configuration for the roots in the PEM file `ca`.
///
/// # Errors
/// What is wrong with the file, and where.
pub fn client_config(ca: &Path) -> Result<ClientConfig, String> {
    let roots = Pem::of("upload.ca", ca)?.roots().map_err(|why| why.of("upload.ca", ca))?;
    ClientConfig::builder_with_details(suites::provider(), Arc::new(CertificateTime))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| format!("TLS 1.2 and 1.3 are not available: {error}"))
        .map(|builder| builder.with_root_certificates(roots).with_no_client_auth())
}
