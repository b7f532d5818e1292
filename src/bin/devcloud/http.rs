//! One request to a store, on a connection of its own, with a deadline.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{HeaderMap, Method, Request, Uri};
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// The largest body of a request or an answer, in bytes. A segment is far smaller.
pub(crate) const MAX_BYTES: usize = 256 << 20;

pub(crate) struct Http {
    pub(crate) tls: Arc<rustls::ClientConfig>,
    /// `HOST:PORT` to connect to, instead of the host in the URL.
    pub(crate) connect: Option<String>,
    pub(crate) within: Duration,
}

pub(crate) struct HttpAnswer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl HttpAnswer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(crate) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name)?.to_str().ok().map(str::to_owned)
    }
}

impl Http {
    /// Sends a request, and reads the whole answer.
    ///
    /// # Errors
    /// What went wrong, without the URL: a presigned one is a credential.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &Uri,
        headers: &[(String, String)],
        body: Bytes,
    ) -> Result<HttpAnswer, String> {
        let request = request(method, url, headers, body)?;
        match timeout(self.within, self.exchange(url, request)).await {
            Ok(answer) => answer.map_err(|why| format!("the store: {why}")),
            Err(_) => Err(format!("the store: no answer within {:?}", self.within)),
        }
    }

    async fn exchange(&self, url: &Uri, request: Request<Full<Bytes>>) -> Result<HttpAnswer, String> {
        let host = url.host().ok_or("the URL names no host")?.to_owned();
        let secure = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let (to, port) = match &self.connect {
            Some(text) => host_and_port(text)?,
            None => (host.trim_start_matches('[').trim_end_matches(']').to_owned(), port),
        };
        let tcp = TcpStream::connect((to.as_str(), port)).await.map_err(|e| e.kind().to_string())?;
        if secure {
            let name = ServerName::try_from(host).map_err(|_| "the URL has no valid host")?;
            let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await;
            ask(stream.map_err(|e| format!("no TLS: {e}"))?, request).await
        } else if tcp.peer_addr().is_ok_and(|peer| peer.ip().is_loopback()) {
            ask(tcp, request).await
        } else {
            Err("a store is used without TLS only on this machine".into())
        }
    }
}

/// The request for this URL. Its length is that of its body.
fn request(
    method: Method,
    url: &Uri,
    headers: &[(String, String)],
    body: Bytes,
) -> Result<Request<Full<Bytes>>, String> {
    let authority = url.authority().map(ToString::to_string).unwrap_or_default();
    let target = url.path_and_query().map_or("/", |target| target.as_str());
    let mut request = Request::builder().method(method).uri(target).header("host", authority);
    for (name, value) in headers.iter().filter(|(name, _)| name != "content-length") {
        request = request.header(name, value);
    }
    request.body(Full::new(body)).map_err(|_| "the store: the request cannot be written".to_owned())
}

/// Sends a request, and reads the whole answer.
///
/// # Errors
/// What went wrong, without the URL.
pub(crate) async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<HttpAnswer, String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let connection = tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(|e| e.to_string());
    let read = async {
        let (parts, body) = answer?.into_parts();
        let body = Limited::new(body, MAX_BYTES).collect().await.map_err(|e| format!("its answer: {e}"))?;
        Ok(HttpAnswer { status: parts.status.as_u16(), headers: parts.headers, body: body.to_bytes() })
    };
    let read = read.await;
    connection.abort();
    read
}

/// Reads `HOST:PORT`; an IPv6 address stands in brackets.
///
/// # Errors
/// It has another form.
pub(crate) fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let wrong = || format!("\"{text}\" is not of the form HOST:PORT");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() { Err(wrong()) } else { Ok((host.to_owned(), port.parse().map_err(|_| wrong())?)) }
}
