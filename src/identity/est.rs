//! EST over HTTPS (RFC 7030, 4.2, with the corrections of RFC 8951): one request on one connection.

use super::server::{Failure, Right, Server, place};
use crate::config::pem::Pem;
use crate::config::{Claim, Enrolment, Surroundings, secret};
use crate::net::{Dialer, Limits, Names, Target, suites};
use crate::system::clock::CertificateTime;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Maximum size of an answer in bytes. A chain of certificates is a few KiB.
const MAX_ANSWER: usize = 256 * 1024;
/// Maximum length of `user:password` in bytes.
const MAX_PASSWORD: u64 = 1024;
/// Timeout for a whole request: an authority may query a database before it signs.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const LIMITS: Limits = Limits { step: Duration::from_secs(10), inactivity: Duration::from_secs(60) };
const NAMES: Names = Names { url: "identity.est", ca: "identity.ca", cert: Some("identity.cert") };
/// A day, in seconds: a server that names a longer time is asked again after this.
const MAX_RETRY_AFTER: u64 = 86_400;

/// An EST server, by its address in the configuration.
#[derive(Debug)]
pub struct Est {
    enrolment: Enrolment,
    identity: PathBuf,
}

impl Est {
    /// The server of `enrolment`; `identity` is the file with which a renewal is requested.
    #[must_use]
    pub fn new(enrolment: Enrolment, identity: PathBuf) -> Est {
        Est { enrolment, identity }
    }

    /// The credentials of the request: TLS with a certificate, or HTTP with a password.
    fn credentials(&self, right: Right) -> Result<(ClientConfig, Option<HeaderValue>), String> {
        let ca = &self.enrolment.ca;
        let roots = Pem::of("identity.ca", ca)?.roots().map_err(|why| why.of("identity.ca", ca))?;
        let builder = ClientConfig::builder_with_details(suites::provider(), Arc::new(CertificateTime))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|error| format!("TLS 1.2 and 1.3 are not available: {error}"))?
            .with_root_certificates(roots);
        let (cert, key, key_name) = match (right, &self.enrolment.claim) {
            (Right::Identity, _) => (&self.identity, &self.identity, "the identity"),
            (Right::Claim, Some(Claim::Certificate { cert, key })) => (cert, key, "identity.cert"),
            (Right::Claim, Some(Claim::Password(file))) => {
                secret::check("identity.password", file, &Surroundings::here())?;
                let password = read("identity.password", file, MAX_PASSWORD)?;
                return Ok((builder.with_no_client_auth(), Some(basic(&password, file)?)));
            }
            (Right::Claim, None) => {
                return Err(String::from(
                    "nothing to ask for a certificate with: set identity.cert and identity.key, or identity.password",
                ));
            }
        };
        let chain = Pem::of(key_name, cert)?.certificates().map_err(|why| why.of(key_name, cert))?;
        secret::check(key_name, key, &Surroundings::here())?;
        let private = Pem::of(key_name, key)?.private_key().map_err(|why| why.of(key_name, key))?;
        let config = builder
            .with_client_auth_cert(chain, private)
            .map_err(|error| format!("{key_name}: {}: {error}", cert.display()))?;
        Ok((config, None))
    }

    async fn exchange(&self, right: Right, request: Vec<u8>) -> Result<Vec<u8>, Failure> {
        let (tls, password) = self.credentials(right).map_err(Failure::Refused)?;
        let Enrolment { host, port, path, .. } = &self.enrolment;
        let refused = |why: String| Failure::Refused(format!("{}: {why}", place(&self.enrolment)));
        let target = Target { host, port: *port, names: NAMES };
        let stream = Dialer::new(LIMITS).open(target, Some(&Arc::new(tls))).await;
        let stream = stream.map_err(|why| refused(why.to_string()))?;
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|e| refused(e.to_string()))?;
        let operation = match right {
            Right::Claim => "simpleenroll",
            Right::Identity => "simplereenroll",
        };
        let mut http = Request::new(Full::new(Bytes::from(STANDARD.encode(request))));
        *http.method_mut() = Method::POST;
        let target = format!("{path}/{operation}");
        *http.uri_mut() = target.parse().map_err(|_| refused(format!("{target} is no path")))?;
        let headers = http.headers_mut();
        let authority = HeaderValue::from_str(&format!("{host}:{port}"));
        headers.insert(HOST, authority.map_err(|_| refused(String::from("that is no host name")))?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/pkcs10"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("kasacam/", env!("CARGO_PKG_VERSION"))));
        if let Some(password) = password {
            headers.insert(AUTHORIZATION, password);
        }
        let answering = async {
            let answer = sender.send_request(http).await.map_err(|e| refused(e.to_string()))?;
            let (parts, body) = answer.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let body = body.map_err(|e| refused(format!("its answer: {e}")))?.to_bytes();
            judge(parts.status, parts.headers.get(RETRY_AFTER), &body).map_err(|failure| match failure {
                Failure::Refused(why) => refused(why),
                Failure::Later(_) | Failure::Disk(_) => failure,
            })
        };
        tokio::pin!(answering);
        tokio::select! {
            answer = &mut answering => answer,
            // What the connection has read before its end can still be used.
            _ended = connection => answering.await,
        }
    }
}

impl Server for Est {
    async fn ask(&self, right: Right, request: Vec<u8>) -> Result<Vec<u8>, Failure> {
        match tokio::time::timeout(REQUEST_TIMEOUT, self.exchange(right, request)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Refused(format!(
                "{}: no answer within {} s",
                place(&self.enrolment),
                REQUEST_TIMEOUT.as_secs()
            ))),
        }
    }
}

/// Judges the answer (RFC 7030, 4.2.3).
fn judge(status: StatusCode, retry_after: Option<&HeaderValue>, body: &[u8]) -> Result<Vec<u8>, Failure> {
    match status {
        StatusCode::OK => {
            let text: Vec<u8> = body.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
            STANDARD.decode(text).map_err(|_| Failure::Refused(String::from("its answer is not base64")))
        }
        StatusCode::ACCEPTED | StatusCode::SERVICE_UNAVAILABLE => {
            let wait = retry_after.and_then(|value| value.to_str().ok()?.trim().parse::<u64>().ok());
            Err(Failure::Later(wait.map(|seconds| Duration::from_secs(seconds.min(MAX_RETRY_AFTER)))))
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Failure::Refused(format!(
            "it does not accept what we authenticate with ({status}): is the claim or the password used up, or the \
             certificate revoked?"
        ))),
        StatusCode::NOT_FOUND => Err(Failure::Refused(String::from(
            "it knows no such path (404): identity.est ends in /.well-known/est, with the label of the authority behind \
             it where there is one",
        ))),
        other => Err(Failure::Refused(format!("it answers {other}"))),
    }
}

/// `Basic` of RFC 7617.
fn basic(password: &[u8], file: &Path) -> Result<HeaderValue, String> {
    let at = file.display();
    let text = std::str::from_utf8(password).map(str::trim_end);
    let text = text.map_err(|_| format!("identity.password: {at}: is not text"))?;
    if !text.contains(':') {
        return Err(format!("identity.password: {at}: must hold user:password"));
    }
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(text)))
        .map_err(|_| format!("identity.password: {at}: cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn read(key: &str, path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let at = path.display();
    let mut contents = Vec::new();
    File::open(path)
        .and_then(|file| file.take(most + 1).read_to_end(&mut contents))
        .map_err(|error| format!("{key}: {at}: cannot be read: {error}"))?;
    if u64::try_from(contents.len()).unwrap_or(u64::MAX) > most {
        return Err(format!("{key}: {at}: is larger than {most} bytes"));
    }
    Ok(contents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_says_is_understood() {
        let at = |status, after: Option<&'static str>, body: &[u8]| {
            judge(status, after.map(HeaderValue::from_static).as_ref(), body)
        };
        assert_eq!(at(StatusCode::OK, None, b"AQID\r\n"), Ok(vec![1, 2, 3]));
        assert_eq!(
            at(StatusCode::ACCEPTED, Some("30"), b""),
            Err(Failure::Later(Some(Duration::from_secs(30))))
        );
        assert_eq!(
            at(StatusCode::ACCEPTED, Some("Wed, 21 Oct 2026 07:28:00 GMT"), b""),
            Err(Failure::Later(None))
        );
        for status in [StatusCode::UNAUTHORIZED, StatusCode::NOT_FOUND, StatusCode::INTERNAL_SERVER_ERROR] {
            assert!(matches!(at(status, None, b""), Err(Failure::Refused(_))), "{status}");
        }
        assert!(matches!(at(StatusCode::OK, None, b"***"), Err(Failure::Refused(_))));
    }
}
