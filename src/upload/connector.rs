//! The HTTP client beneath `object_store`: HTTP/1.1 over the connections of [`super::dial`].
//!
//! A request ends within its deadline, redirects are not followed, and the body of an answer is
//! bounded. What was learnt is left in the [`Slot`] that came with the request: the errors of
//! `object_store` keep neither headers nor a reason that is safe to log.

use super::answer::Answer;
use super::dial::{Dial, Within};
use super::fault::{Fault, describe};
use super::rate::{self, Rate, Throttled};
use super::store::Timeouts;
use crate::domain::effect::Share;
use http::HeaderValue;
use http::header::USER_AGENT;
use http_body_util::BodyExt;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody,
    HttpService,
};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Answers of S3 are error documents of about 1 KiB.
const MOST_ANSWER: usize = 64 * 1024;
/// Also bounds the head of an answer.
const BUFFER: usize = 64 * 1024;
/// Shorter than servers keep an idle connection, so that a request rarely meets one being closed.
const POOL_IDLE: Duration = Duration::from_secs(15);
/// As many as there are uploads at once.
const POOL_SIZE: usize = 2;

/// Where a request leaves what was learnt from it.
#[derive(Clone, Debug, Default)]
pub(super) struct Slot(Arc<Mutex<Option<Result<Answer, Fault>>>>);

impl Slot {
    fn fill(&self, learnt: Result<Answer, Fault>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(learnt);
    }

    /// What was learnt; `None` where no request was made.
    pub(super) fn take(&self) -> Option<Result<Answer, Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

type Stream = Within<HttpsConnector<Dial>>;

/// One client, and so one pool of connections, for every store that is built on it.
#[derive(Clone)]
pub(super) struct Connector {
    client: Client<Stream, Throttled<HttpError>>,
    rate: Arc<Rate>,
    timeouts: Timeouts,
}

impl Connector {
    /// With `plaintext`, `http` is spoken too, and then to loopback addresses alone.
    pub(super) fn new(
        tls: rustls::ClientConfig,
        plaintext: bool,
        rate: Arc<Rate>,
        timeouts: Timeouts,
    ) -> Connector {
        let builder = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls);
        let builder = if plaintext { builder.https_or_http() } else { builder.https_only() };
        let dial = Dial { connect: timeouts.connect, inactivity: timeouts.inactivity };
        let connector =
            Within { connector: builder.enable_http1().wrap_connector(dial), limit: timeouts.connect };
        let client = Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE)
            .pool_max_idle_per_host(POOL_SIZE)
            .http1_max_buf_size(BUFFER)
            .build(connector);
        Connector { client, rate, timeouts }
    }

    async fn exchange(&self, request: HttpRequest) -> Result<(http::response::Parts, Vec<u8>), Fault> {
        let (mut parts, body) = request.into_parts();
        // Not before: object_store signs what it finds, and proxies rewrite this one.
        parts
            .headers
            .insert(USER_AGENT, HeaderValue::from_static(concat!("kasacam/", env!("CARGO_PKG_VERSION"))));
        let size = u64::try_from(body.content_length()).unwrap_or(u64::MAX);
        let share = parts.extensions.get::<Share>().copied().unwrap_or_default();
        let body = Throttled::new(body, size, Arc::clone(&self.rate), share);
        let limit = self.rate.bytes_per_second().map(|limit| limit / rate::least_part(share));
        let deadline = self.timeouts.deadline(size, limit);
        let exchange = async {
            let answer = self
                .client
                .request(http::Request::from_parts(parts, body))
                .await
                .map_err(|e| describe(&e))?;
            let (parts, body) = answer.into_parts();
            Ok((parts, collect(body).await?))
        };
        match tokio::time::timeout(deadline, exchange).await {
            Ok(result) => result,
            Err(_) => Err(Fault(format!("no answer within {deadline:?}"))),
        }
    }
}

async fn collect(mut body: hyper::body::Incoming) -> Result<Vec<u8>, Fault> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| describe(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > MOST_ANSWER {
            return Err(Fault("the answer is larger than 64 KiB".into()));
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

#[async_trait::async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let slot = request.extensions().get::<Slot>().cloned().unwrap_or_default();
        match self.exchange(request).await {
            Ok((parts, body)) => {
                slot.fill(Ok(Answer::read(parts.status, &parts.headers, &body)));
                let body = http_body_util::Full::from(body).map_err(|never| match never {});
                Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
            }
            Err(fault) => {
                slot.fill(Err(fault.clone()));
                Err(HttpError::new(HttpErrorKind::Unknown, fault))
            }
        }
    }
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("timeouts", &self.timeouts).finish_non_exhaustive()
    }
}
