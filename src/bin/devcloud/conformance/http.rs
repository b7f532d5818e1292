//! One request to a store, on a connection of its own, with deadlines.

use super::party::place;
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

/// Of an answer's body.
const MAX_BYTES: usize = 256 << 20;

pub(super) struct Http {
    pub(super) tls: Arc<rustls::ClientConfig>,
    /// Where to connect to in place of what the URL says.
    pub(super) connect: Option<String>,
    pub(super) within: Duration,
}

pub(super) struct HttpAnswer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl HttpAnswer {
    pub(super) fn header(&self, name: &str) -> Option<String> {
        self.headers.get(name)?.to_str().ok().map(str::to_owned)
    }
}

impl Http {
    /// # Errors
    /// What went wrong, without the URL, which may authorise.
    pub(super) async fn send(
        &self,
        method: Method,
        url: &Uri,
        headers: &[(String, String)],
        body: Bytes,
    ) -> Result<HttpAnswer, String> {
        match timeout(self.within, self.exchange(method, url, headers, body)).await {
            Ok(answer) => answer.map_err(|why| format!("the store: {why}")),
            Err(_) => Err(format!("the store: no answer within {:?}", self.within)),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        url: &Uri,
        headers: &[(String, String)],
        body: Bytes,
    ) -> Result<HttpAnswer, String> {
        let host = url.host().ok_or("the URL names no host")?.to_owned();
        let secure = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let (to, port) = match &self.connect {
            Some(text) => place(text)?,
            None => (host.trim_start_matches('[').trim_end_matches(']').to_owned(), port),
        };
        let tcp = TcpStream::connect((to.as_str(), port)).await.map_err(|e| e.kind().to_string())?;
        let authority = url.authority().map(ToString::to_string).unwrap_or_default();
        let target = url.path_and_query().map_or("/", |target| target.as_str());
        let mut request = Request::builder().method(method).uri(target).header("host", authority);
        for (name, value) in headers.iter().filter(|(name, _)| name != "content-length") {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).map_err(|_| "the request cannot be written")?;
        if secure {
            let name = ServerName::try_from(host).map_err(|_| "the URL's host is none")?;
            let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await;
            ask(stream.map_err(|e| format!("no TLS: {e}"))?, request).await
        } else if tcp.peer_addr().is_ok_and(|peer| peer.ip().is_loopback()) {
            ask(tcp, request).await
        } else {
            Err("without TLS only a store on this machine is spoken to".into())
        }
    }
}

async fn ask(
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
