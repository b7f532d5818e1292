//! HTTPS on this machine. The servers beside the store get each request with the common name of the certificate that the
//! client has shown.

use crate::certificates::Pki;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use x509_parser::prelude::{FromDer, X509Certificate};

const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// A listener on `127.0.0.1:port`, or on a free port if that one is taken; and the port. `what` names the server in the
/// error.
///
/// # Errors
/// No port is free.
pub(crate) async fn listen(what: &str, port: u16) -> Result<(TcpListener, u16), String> {
    let listener = match TcpListener::bind(("127.0.0.1", port)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(("127.0.0.1", 0)).await,
    };
    let listener = listener.map_err(|e| format!("{what} finds no port: {e}"))?;
    let port = listener.local_addr().map_err(|e| format!("the port of {what}: {e}"))?.port();
    Ok((listener, port))
}

/// Whether a TLS client is asked for a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientCertificates {
    NotRequested,
    /// A client may show one of our CA, or none.
    Optional,
}

/// TLS 1.2 or newer with the server's certificate.
///
/// # Errors
/// The certificate file that cannot be used.
pub(crate) fn acceptor(pki: &Pki, clients: ClientCertificates) -> Result<TlsAcceptor, String> {
    let failed = |path: &Path, why: String| format!("{}: {why}", path.display());
    let certificates = |path: &Path| -> Result<Vec<CertificateDer<'static>>, String> {
        CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .map_err(|e| failed(path, e.to_string()))
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = match clients {
        ClientCertificates::NotRequested => WebPkiClientVerifier::no_client_auth(),
        ClientCertificates::Optional => {
            let mut roots = RootCertStore::empty();
            for root in certificates(&pki.ca)? {
                roots.add(root).map_err(|e| failed(&pki.ca, e.to_string()))?;
            }
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .map_err(|e| failed(&pki.ca, e.to_string()))?
        }
    };
    let key =
        PrivateKeyDer::from_pem_file(&pki.server_key).map_err(|e| failed(&pki.server_key, e.to_string()))?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|e| format!("TLS: {e}"))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates(&pki.server_cert)?, key)
        .map_err(|e| failed(&pki.server_cert, e.to_string()))?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Answers requests until the program ends.
pub(crate) fn serve<Answer, Answered>(listener: TcpListener, tls: TlsAcceptor, answer: Answer)
where
    Answer: Fn(Request<Incoming>, Option<String>) -> Answered + Clone + Send + Sync + 'static,
    Answered: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let served = serve_one(stream, tls.clone(), answer.clone());
            tokio::spawn(tokio::time::timeout(CONNECTION_TIMEOUT, served));
        }
    });
}

async fn serve_one<Answer, Answered>(stream: TcpStream, tls: TlsAcceptor, answer: Answer)
where
    Answer: Fn(Request<Incoming>, Option<String>) -> Answered,
    Answered: Future<Output = Response<Full<Bytes>>>,
{
    let Ok(stream) = tls.accept(stream).await else { return };
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| name_of(chain.first()?));
    let answer = service_fn(|request| {
        let answered = answer(request, shown.clone());
        async move { Ok::<_, hyper::Error>(answered.await) }
    });
    // A client may end the connection at any time.
    let _ended =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
}

/// The common name of a certificate.
fn name_of(der: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let name = parsed.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}
