//! HTTP/1.1 to the store: one signed request, its body streamed, and the answer read and released.
//!
//! Redirects are not followed, and the body of an answer is bounded. A whole request has no deadline: a slow
//! link may take hours for a segment. A request ends if no byte moves ([`crate::net::Watched`]), if almost
//! none do, or if the answer does not come after the body has been sent.
//!
//! A large body waits for `100 Continue` (RFC 9110, 10.1.1): if a store refuses or asks to wait, tens of
//! megabytes have not been sent in vain. A store that never sends it is waited for only once. A store may also
//! refuse, keep the connection, and expect the body all the same: the connection is closed then.

use super::answer::Answer;
use super::body::Streamed;
use super::fault::{Fault, describe};
use super::object::Object;
use super::rate::{Rate, Throttled};
use super::request::{SignedRequest, Signer};
use super::roots::Roots;
use crate::domain::grant::Proof;
use crate::domain::outcome::Scope;
use crate::net::{self, Dialer, Names, Target};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, EXPECT, USER_AGENT};
use http::{HeaderValue, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use hyper_util::client::legacy::Client as Pool;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Sleep, sleep};
use tower_service::Service;

/// Timeouts of the steps of a request. The whole has no limit: a slow link takes as long as it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For resolving the name, for an address, and for TLS: 10 s each.
    pub connect: Duration,
    /// The connection ends if no byte is sent or received for this long: 30 s.
    pub inactivity: Duration,
    /// From the last byte of the body leaving the process to the end of the answer: 3 min. At 2 KiB/s, this
    /// is enough to send the content of the kernel's buffer.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(10),
            inactivity: Duration::from_secs(30),
            answer: Duration::from_secs(180),
        }
    }
}

/// Maximum size of an answer. Answers of S3 are error documents of about 1 KiB.
const MAX_ANSWER: usize = 64 * 1024;
/// Also limits the head of an answer.
const BUFFER: usize = 64 * 1024;
/// Shorter than servers keep an idle connection, so that a request rarely meets one that is being closed.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(15);
/// As many as there are uploads at once.
const POOL_SIZE: usize = 2;
/// A body of this many bytes or more justifies a round trip before it is sent.
const MIN_EXPECT: u64 = 256 * 1024;
/// A connection that sends less of a body than this during [`Timeouts::answer`] is given up. Far below 4
/// KiB/s, and below the minimum share of the minimum `upload.max_rate`.
const MIN_PROGRESS: u64 = 64 * 1024;
/// How long to wait for `100 Continue` before the body is sent without it.
const CONTINUE_TIMEOUT: Duration = Duration::from_secs(1);
const NAMES: Names = Names { url: "upload.endpoint", ca: "upload.ca", cert: None };

/// One client with one pool of connections.
pub(super) struct Client {
    pool: Pool<Connector, Held>,
    dialer: Dialer,
    rate: Arc<Rate>,
    timeouts: Timeouts,
    /// This server was asked for `100 Continue` and never sent it.
    never_continues: Arc<AtomicBool>,
}

/// A request to the store.
#[derive(Clone, Copy)]
pub(super) enum Ask<'a> {
    Put(&'a Object),
    /// Asks what is stored under a key.
    Head(&'a str),
}

/// Why there was no answer.
pub(super) struct NoAnswer {
    pub(super) why: String,
    pub(super) by: Failed,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// The store, the connection to it, or the signer.
    Store,
    /// The camera: the body could not be read.
    Body,
    /// This request gets no signature.
    Signature,
}

/// An answer, and the header in it that is proof.
pub(super) struct Exchanged {
    pub(super) answer: Answer,
    pub(super) proof: Proof,
}

impl Client {
    /// `tls` is absent for `http`, which is used only to loopback addresses.
    pub(super) fn new(tls: Option<Arc<Roots>>, rate: Arc<Rate>, timeouts: Timeouts) -> Client {
        let limits = net::Limits { step: timeouts.connect, inactivity: timeouts.inactivity };
        let dialer = Dialer::new(limits);
        let pool = Pool::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(POOL_IDLE_TIMEOUT)
            .pool_max_idle_per_host(POOL_SIZE)
            .http1_max_buf_size(BUFFER)
            .build(Connector { dialer: dialer.clone(), tls });
        Client { pool, dialer, rate, timeouts, never_continues: Arc::default() }
    }

    /// Sends a request, a PUT with the object's bytes, and reads the answer. If a kept connection turns out
    /// to be dead, that is not a fault: the request is sent again on another.
    pub(super) async fn exchange(&self, signer: &dyn Signer, ask: Ask<'_>) -> Result<Exchanged, NoAnswer> {
        let mut stale = 0;
        loop {
            let (signed, object) = match ask {
                Ask::Put(object) => (signer.put(object).await, Some(object)),
                Ask::Head(key) => (signer.head(key).await, None),
            };
            let request = signed.map_err(|unsigned| {
                let by = match unsigned.scope {
                    Scope::Store => Failed::Store,
                    Scope::Segment => Failed::Signature,
                };
                NoAnswer { why: unsigned.why, by }
            })?;
            let proof = request.proof;
            let opened = self.dialer.opened();
            let spoilt = Arc::new(AtomicBool::new(false));
            let asks_first = object.is_some_and(|object| object.size >= MIN_EXPECT)
                && !self.never_continues.load(Ordering::Relaxed);
            match self.once(request, object, asks_first, &spoilt).await {
                // The server does not support `Expect`: send without it (RFC 9110, 15.5.18).
                Ok(answer) if asks_first && answer.status == StatusCode::EXPECTATION_FAILED => {
                    self.never_continues.store(true, Ordering::Relaxed);
                }
                Ok(answer) => return Ok(Exchanged { answer, proof }),
                Err(fault) => {
                    let is_ours = spoilt.load(Ordering::Relaxed);
                    // No connection was opened: the request used a kept one. The PUT is conditional, so
                    // sending it twice has the effect of sending it once.
                    let was_kept = self.dialer.opened() == opened && fault.broke_off;
                    if is_ours || !was_kept || stale >= POOL_SIZE {
                        let by = if is_ours { Failed::Body } else { Failed::Store };
                        return Err(NoAnswer { why: fault.why.0, by });
                    }
                    stale += 1;
                }
            }
        }
    }

    async fn once(
        &self,
        signed: SignedRequest,
        object: Option<&Object>,
        asks_first: bool,
        spoilt: &Arc<AtomicBool>,
    ) -> Result<Answer, Broken> {
        let SignedRequest { method, url, mut headers, proof: _ } = signed;
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("kasacam/", env!("CARGO_PKG_VERSION"))));
        let size = object.map_or(0, |object| object.size);
        if object.is_some() {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(size));
        }
        if asks_first {
            headers.insert(EXPECT, HeaderValue::from_static("100-continue"));
        }
        // Dropped when the request is over.
        let (_wanted, over) = oneshot::channel();
        let gone = Arc::new(Notify::new());
        let (go, sent) = (Arc::new(Notify::new()), Arc::new(AtomicU64::new(0)));
        let share = object.map(|object| object.share).unwrap_or_default();
        let body = match object {
            Some(object) => Streamed::begin(Arc::clone(&object.body), size, Arc::clone(spoilt)),
            None => Streamed::begin(Arc::new(Bytes::new()), 0, Arc::clone(spoilt)),
        };
        let body = Held {
            body: Throttled::new(body, size, Arc::clone(&self.rate), share),
            wait: asks_first.then(|| Wait::new(Arc::clone(&go), Arc::clone(&self.never_continues))),
            over,
            gone: Arc::clone(&gone),
            sent: Arc::clone(&sent),
            half_sent: object.map(|object| (size / 2, Arc::clone(&object.half_sent))),
        };
        let mut request = http::Request::new(body);
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, url, headers);
        if asks_first {
            hyper::ext::on_informational(&mut request, move |answer| {
                if answer.status() == StatusCode::CONTINUE {
                    go.notify_one();
                }
            });
        }
        let answering = async {
            let answer = self.pool.request(request).await.map_err(|e| Broken::of(&e))?;
            let (parts, body) = answer.into_parts();
            let body = match collect(body).await {
                Ok(body) => body,
                // It refused, and closed without waiting for the body: the head of its answer is enough.
                Err(fault) if fault.broke_off && !parts.status.is_success() => Vec::new(),
                // Its head was received, so this is not a dead connection, and there is no retry here.
                Err(fault) => return Err(Broken { broke_off: false, ..fault }),
            };
            Ok(Answer::read(parts.status, &parts.headers, &body))
        };
        let within = self.timeouts.answer;
        let too_late = async {
            let mut before = 0;
            loop {
                tokio::select! {
                    () = gone.notified() => {
                        sleep(within).await;
                        return format!("no answer within {within:?}");
                    }
                    () = sleep(within) => {
                        let now = sent.load(Ordering::Relaxed);
                        if now.saturating_sub(before) < MIN_PROGRESS {
                            return format!("less than 64 KiB went within {within:?}");
                        }
                        before = now;
                    }
                }
            }
        };
        tokio::select! {
            biased;
            answer = answering => answer,
            why = too_late => Err(Broken { why: Fault(why), broke_off: false }),
        }
    }
}

/// A request without an answer.
struct Broken {
    why: Fault,
    /// The connection ended; it did not stall, and was not refused.
    broke_off: bool,
}

impl Broken {
    fn of(error: &(dyn std::error::Error + 'static)) -> Broken {
        Broken { why: describe(error), broke_off: super::fault::broke_off(error) }
    }
}

async fn collect(mut body: hyper::body::Incoming) -> Result<Vec<u8>, Broken> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| Broken::of(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        if bytes.len() + data.len() > MAX_ANSWER {
            let why = Fault("the answer is larger than 64 KiB".into());
            return Err(Broken { why, broke_off: false });
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}

/// Waiting for `100 Continue`.
struct Wait {
    go: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    /// Begins when the head has been passed to the connection, which may take long to open.
    patience: Option<Pin<Box<Sleep>>>,
    never_continues: Arc<AtomicBool>,
}

impl Wait {
    fn new(go: Arc<Notify>, never_continues: Arc<AtomicBool>) -> Wait {
        let go = Box::pin(async move { go.notified().await });
        Wait { go, patience: None, never_continues }
    }
}

/// A body that may be held until the server wants it, and that reports when all of it was sent.
struct Held {
    body: Throttled<Fault>,
    wait: Option<Wait>,
    /// Its sender is dropped when the request is over: what is left of the body is not wanted any more.
    over: oneshot::Receiver<Infallible>,
    gone: Arc<Notify>,
    /// Bytes of it that were passed to the connection.
    sent: Arc<AtomicU64>,
    /// Whom to notify once more bytes than this have been sent.
    half_sent: Option<(u64, Arc<Notify>)>,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        if Pin::new(&mut self.over).poll(cx).is_ready() {
            return Poll::Ready(Some(Err(Fault("the request is over".into()))));
        }
        if let Some(wait) = &mut self.wait {
            if wait.go.as_mut().poll(cx).is_pending() {
                let patience = wait.patience.get_or_insert_with(|| Box::pin(sleep(CONTINUE_TIMEOUT)));
                std::task::ready!(patience.as_mut().poll(cx));
                wait.never_continues.store(true, Ordering::Relaxed);
            }
            self.wait = None;
        }
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, |data| data.len() as u64);
            let sent = self.sent.fetch_add(bytes, Ordering::Relaxed) + bytes;
            if let Some((_, half_sent)) = self.half_sent.take_if(|(half, _)| sent > *half) {
                half_sent.notify_one();
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // HTTP drops a body that was sent, or that is not wanted.
        self.gone.notify_one();
    }
}

/// Provides connections to the pool.
#[derive(Clone)]
struct Connector {
    dialer: Dialer,
    tls: Option<Arc<Roots>>,
}

impl Service<Uri> for Connector {
    type Response = TokioIo<Open>;
    type Error = Fault;
    type Future = Pin<Box<dyn Future<Output = Result<TokioIo<Open>, Fault>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let host = uri.host().unwrap_or_default();
            let port = uri.port_u16().unwrap_or(if this.tls.is_some() { 443 } else { 80 });
            let target = Target { host, port, names: NAMES };
            let tls = match &this.tls {
                Some(roots) => Some(roots.current().await),
                None => None,
            };
            this.dialer.open(target, tls.as_ref()).await.map(|stream| TokioIo::new(Open(stream)))
        })
    }
}

/// [`net::Stream`], adapted to the pool.
struct Open(net::Stream);

impl tokio::io::AsyncRead for Open {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut tokio::io::ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl tokio::io::AsyncWrite for Open {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Connection for Open {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("timeouts", &self.timeouts).finish_non_exhaustive()
    }
}
