//! An S3 store on loopback, over TLS, that keeps what it is given, records what it is asked, and misbehaves
//! on command. It does not check signatures.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]
// Helpers of tests are tests too: a panic in one shows where it is.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::collections::{BTreeMap, VecDeque};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the store does with the next connection or request, instead of the right thing.
#[derive(Clone, Debug)]
pub enum Act {
    /// Resets the connection before TLS.
    ResetOnAccept,
    /// Accepts the connection and sends nothing, not even TLS.
    MuteOnAccept,
    /// Accepts the connection, and begins with TLS after this time.
    LateOnAccept(Duration),
    /// The right thing.
    Behave,
    /// Reads the request, stores nothing, and gives this answer.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: String },
    /// Reads the request, stores nothing, and gives this answer after a while.
    AnswerLate { wait: Duration, status: u16, code: &'static str },
    /// Stores the object, and gives this answer.
    StoreAndAnswer { status: u16, headers: Vec<(&'static str, String)>, body: String },
    /// Resets the connection after this many bytes of the body.
    ResetInBody(usize),
    /// Reads the whole request and resets the connection.
    ResetAfterBody,
    /// Reads this many bytes of the body, then nothing more, and does not close.
    StallInBody(usize),
    /// Reads the whole request and never answers.
    Mute,
    /// Reads 1 KiB of the body per second.
    ReadSlowly,
    /// Answers the head of the request, reads nothing of the body, and closes.
    RefuseHead { status: u16, headers: Vec<(&'static str, String)>, body: String },
    /// Answers the head of the request, then reads what comes of the body, 64 KiB every 10 ms, and does not close.
    RefuseAndRead { status: u16, code: &'static str },
    /// Stores nothing, and answers 200 without `Content-Length`, as a HEAD may; closes.
    AnswerWithoutLength { headers: Vec<(&'static str, String)> },
    /// Closes the connection before it has read a request of it.
    ResetBeforeHead,
    /// Stores the object, then resets the connection.
    StoreAndReset,
    /// Stores the object, and closes in the middle of the answer's head.
    StoreAndCutHead,
    /// Stores the object, and closes in the middle of the answer's body.
    StoreAndCutBody,
}

impl Act {
    pub fn status(status: u16, code: &str) -> Act {
        Act::Answer { status, headers: Vec::new(), body: error_document(code) }
    }
}

pub fn error_document(code: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>{code}</Code><Message>no</Message></Error>"
    )
}

/// One request, as received.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query, undecoded.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The names that the signature covers.
    pub fn signed(&self) -> Vec<&str> {
        let authorization = self.header("authorization").unwrap_or_default();
        let (_, rest) = authorization.split_once("SignedHeaders=").unwrap_or_default();
        rest.split(',').next().unwrap_or_default().split(';').collect()
    }
}

/// What the store holds under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub body: Vec<u8>,
    /// `content-type`, `x-amz-meta-*`, `x-amz-tagging`.
    pub headers: Vec<(String, String)>,
    /// The SHA-256 that it claims.
    pub checksum: Option<String>,
}

/// For whom the store's certificate is, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    Good,
    Expired,
    OtherHost,
}

/// How this store permanently differs from S3.
#[derive(Clone, Copy, Debug)]
pub struct Habits {
    /// The answer to a PUT repeats the checksum.
    pub checksum_in_put: bool,
    /// The answer to a HEAD has it, if the request asks for it.
    pub checksum_in_head: bool,
    /// The answer to a HEAD has the metadata.
    pub metadata_in_head: bool,
    pub certificate: Certificate,
    pub tls: bool,
    /// It sends `100 Continue` if asked to.
    pub continues: bool,
    /// It supports the headers of checksums.
    pub takes_checksums: bool,
    /// It ignores `If-None-Match`.
    pub replaces: bool,
}

impl Default for Habits {
    fn default() -> Habits {
        Habits {
            checksum_in_put: true,
            checksum_in_head: true,
            metadata_in_head: true,
            certificate: Certificate::Good,
            tls: true,
            continues: true,
            takes_checksums: true,
            replaces: false,
        }
    }
}

#[derive(Default)]
struct State {
    script: VecDeque<Act>,
    requests: Vec<Request>,
    objects: BTreeMap<String, Held>,
    connections: usize,
    open: usize,
    begun: usize,
    /// Bytes of bodies that came behind a refusal.
    in_vain: usize,
}

/// Serves until it is dropped.
pub struct StoreServer {
    pub address: SocketAddr,
    /// The root of its certificate, in PEM.
    pub ca: String,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
}

/// However a test ends, no thread of the store runs longer than this.
const LONGEST: Duration = Duration::from_secs(20);

impl StoreServer {
    pub fn start() -> StoreServer {
        StoreServer::with(Habits::default())
    }

    pub fn with(habits: Habits) -> StoreServer {
        let (ca, tls) = identity(habits.certificate);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let server = StoreServer {
            address: listener.local_addr().unwrap(),
            ca,
            state: Arc::default(),
            stop: Arc::default(),
        };
        let (state, stop) = (Arc::clone(&server.state), Arc::clone(&server.stop));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let Ok((tcp, _)) = listener.accept() else {
                    std::thread::sleep(Duration::from_millis(2));
                    continue;
                };
                let peer = Peer { habits, state: Arc::clone(&state), stop: Arc::clone(&stop) };
                let tls = Arc::clone(&tls);
                std::thread::spawn(move || peer.serve(tcp, tls));
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Adds to its script, in order; when the script is empty it behaves.
    pub fn will(&self, acts: impl IntoIterator<Item = Act>) {
        self.state.lock().unwrap().script.extend(acts);
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state.lock().unwrap().requests.clone()
    }

    /// Methods of the requests so far, in order.
    pub fn methods(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.method).collect()
    }

    /// Its objects, by `/bucket/key`.
    pub fn objects(&self) -> BTreeMap<String, Held> {
        self.state.lock().unwrap().objects.clone()
    }

    pub fn put(&self, target: &str, body: &[u8]) {
        let held = Held { body: body.to_vec(), headers: Vec::new(), checksum: Some(sha256_base64(body)) };
        self.state.lock().unwrap().objects.insert(target.to_owned(), held);
    }

    pub fn forget(&self, target: &str) {
        self.state.lock().unwrap().objects.remove(target);
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> usize {
        self.state.lock().unwrap().connections
    }

    /// Requests whose head was read.
    pub fn begun(&self) -> usize {
        self.state.lock().unwrap().begun
    }

    /// Bytes of bodies that came behind a refusal of [`Act::RefuseAndRead`].
    pub fn in_vain(&self) -> usize {
        self.state.lock().unwrap().in_vain
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.state.lock().unwrap().open
    }
}

impl Drop for StoreServer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

pub fn sha256_base64(body: &[u8]) -> String {
    STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, body))
}

fn identity(certificate: Certificate) -> (String, Arc<ServerConfig>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let root = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);

    let names = match certificate {
        Certificate::Good | Certificate::Expired => vec!["127.0.0.1".to_owned(), "localhost".to_owned()],
        Certificate::OtherHost => vec!["storage.example".to_owned()],
    };
    let mut params = CertificateParams::new(names).unwrap();
    if certificate == Certificate::Expired {
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    let leaf = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .unwrap();
    (root.pem(), Arc::new(config))
}

trait Wire: Read + Write {
    fn tcp(&self) -> &TcpStream;
}
impl Wire for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}
impl Wire for StreamOwned<ServerConnection, TcpStream> {
    fn tcp(&self) -> &TcpStream {
        &self.sock
    }
}

/// The store's end of one connection.
struct Peer {
    habits: Habits,
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
}

/// The connection is finished.
struct Over;

impl Peer {
    fn serve(self, tcp: TcpStream, tls: Arc<ServerConfig>) {
        tcp.set_nonblocking(false).unwrap();
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(LONGEST)).unwrap();
        tcp.set_write_timeout(Some(LONGEST)).unwrap();
        {
            let mut state = self.state.lock().unwrap();
            state.connections += 1;
            state.open += 1;
        }
        match self.act_on_accept() {
            Some(Act::ResetOnAccept) => reset(&tcp),
            Some(Act::LateOnAccept(time)) => {
                if self.pause(time).is_ok() {
                    self.begin(tcp, tls);
                }
            }
            Some(_) => self.wait(),
            None => self.begin(tcp, tls),
        }
        self.state.lock().unwrap().open -= 1;
    }

    fn begin(&self, mut tcp: TcpStream, tls: Arc<ServerConfig>) {
        if self.habits.tls {
            let connection = ServerConnection::new(tls).unwrap();
            self.converse(&mut StreamOwned::new(connection, tcp));
        } else {
            self.converse(&mut tcp);
        }
    }

    fn act_on_accept(&self) -> Option<Act> {
        let mut state = self.state.lock().unwrap();
        matches!(state.script.front(), Some(Act::ResetOnAccept | Act::MuteOnAccept | Act::LateOnAccept(_)))
            .then(|| state.script.pop_front())
            .flatten()
    }

    fn converse(&self, wire: &mut dyn Wire) {
        while let Ok(()) = self.exchange(wire) {}
        wire.flush().ok();
    }

    fn exchange(&self, wire: &mut dyn Wire) -> Result<(), Over> {
        let (mut request, length, mut rest) = read_head(wire)?;
        {
            let mut state = self.state.lock().unwrap();
            if matches!(state.script.front(), Some(Act::ResetBeforeHead)) {
                state.script.pop_front();
                drop(state);
                reset(wire.tcp());
                return Err(Over);
            }
        }
        let act = {
            let mut state = self.state.lock().unwrap();
            state.begun += 1;
            state.script.pop_front().unwrap_or(Act::Behave)
        };
        if let Act::RefuseHead { status, headers, body } = &act {
            self.state.lock().unwrap().requests.push(request.clone());
            answer(wire, &request, *status, headers, body)?;
            return Err(Over);
        }
        if let Act::RefuseAndRead { status, code } = &act {
            self.state.lock().unwrap().requests.push(request.clone());
            answer(wire, &request, *status, &[], &error_document(code))?;
            return self.discard(wire, length - rest.len());
        }
        if request.header("expect").is_some() && self.habits.continues {
            wire.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").and_then(|()| wire.flush()).map_err(|_| Over)?;
        }
        let stop_at = match &act {
            Act::ResetInBody(bytes) | Act::StallInBody(bytes) => length.min(*bytes),
            _ => length,
        };
        while rest.len() < stop_at {
            let slow = matches!(act, Act::ReadSlowly);
            let mut piece = vec![0; if slow { 1024 } else { 65536 }.min(stop_at - rest.len())];
            match wire.read(&mut piece) {
                Ok(0) | Err(_) => return Err(Over),
                Ok(n) => rest.extend_from_slice(&piece[..n]),
            }
            if slow {
                self.pause(Duration::from_secs(1))?;
            }
        }
        request.body = rest;
        self.state.lock().unwrap().requests.push(request.clone());
        match act {
            Act::ResetInBody(_) | Act::ResetAfterBody => {
                reset(wire.tcp());
                Err(Over)
            }
            Act::StallInBody(_) | Act::Mute | Act::MuteOnAccept | Act::LateOnAccept(_) => {
                self.wait();
                Err(Over)
            }
            Act::Answer { status, headers, body } => answer(wire, &request, status, &headers, &body),
            Act::AnswerLate { wait, status, code } => {
                self.pause(wait)?;
                answer(wire, &request, status, &[], &error_document(code))
            }
            Act::StoreAndAnswer { status, headers, body } => {
                self.keep(&request);
                answer(wire, &request, status, &headers, &body)
            }
            Act::RefuseHead { .. } | Act::RefuseAndRead { .. } | Act::ResetBeforeHead => Err(Over),
            Act::AnswerWithoutLength { headers } => {
                let lines: String =
                    headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                wire.write_all(format!("HTTP/1.1 200 OK\r\n{lines}\r\n").as_bytes()).ok();
                Err(Over)
            }
            Act::StoreAndReset | Act::ResetOnAccept => {
                self.keep(&request);
                reset(wire.tcp());
                Err(Over)
            }
            Act::StoreAndCutHead => {
                self.keep(&request);
                wire.write_all(b"HTTP/1.1 200 OK\r\nETag: \"x\"\r\nx-amz-che").ok();
                Err(Over)
            }
            Act::StoreAndCutBody => {
                self.keep(&request);
                let sum = sha256_base64(&request.body);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nx-amz-checksum-sha256: {sum}\r\nContent-Length: 100\r\n\r\nhalf"
                );
                wire.write_all(head.as_bytes()).ok();
                Err(Over)
            }
            Act::Behave | Act::ReadSlowly => self.behave(wire, &request),
        }
    }

    fn discard(&self, wire: &mut dyn Wire, mut left: usize) -> Result<(), Over> {
        while left > 0 {
            let mut piece = vec![0; left.min(65536)];
            match wire.read(&mut piece) {
                Ok(0) | Err(_) => return Err(Over),
                Ok(n) => {
                    left -= n;
                    self.state.lock().unwrap().in_vain += n;
                }
            }
            self.pause(Duration::from_millis(10))?;
        }
        Ok(())
    }

    fn behave(&self, wire: &mut dyn Wire, request: &Request) -> Result<(), Over> {
        let held = self.state.lock().unwrap().objects.get(request.path()).cloned();
        let etag = ("etag", "\"x\"".to_owned());
        match (request.method.as_str(), held) {
            ("PUT", Some(_)) if request.header("if-none-match") == Some("*") && !self.habits.replaces => {
                answer(wire, request, 412, &[], &error_document("PreconditionFailed"))
            }
            _ if !self.habits.takes_checksums
                && request.headers.iter().any(|(name, _)| name.starts_with("x-amz-checksum-")) =>
            {
                answer(wire, request, 400, &[], &error_document("InvalidArgument"))
            }
            ("PUT", _) => {
                if self.habits.takes_checksums
                    && request.header("x-amz-checksum-sha256") != Some(&sha256_base64(&request.body))
                {
                    return answer(wire, request, 400, &[], &error_document("BadDigest"));
                }
                self.keep(request);
                let sum = ("x-amz-checksum-sha256", sha256_base64(&request.body));
                let headers = if self.habits.checksum_in_put && self.habits.takes_checksums {
                    vec![etag, sum]
                } else {
                    vec![etag]
                };
                answer(wire, request, 200, &headers, "")
            }
            ("HEAD", Some(held)) => {
                let mut headers = vec![etag, ("content-length", held.body.len().to_string())];
                if self.habits.checksum_in_head && request.header("x-amz-checksum-mode") == Some("ENABLED") {
                    headers.extend(held.checksum.map(|sum| ("x-amz-checksum-sha256", sum)));
                }
                let sum = held.headers.iter().find(|(name, _)| name == "x-amz-meta-sha256");
                if self.habits.metadata_in_head {
                    headers.extend(sum.map(|(_, value)| ("x-amz-meta-sha256", value.clone())));
                }
                answer(wire, request, 200, &headers, "")
            }
            ("HEAD", None) => answer(wire, request, 404, &[("content-length", "0".into())], ""),
            _ => answer(wire, request, 405, &[], &error_document("MethodNotAllowed")),
        }
    }

    fn keep(&self, request: &Request) {
        let kept =
            |name: &str| name == "content-type" || name == "x-amz-tagging" || name.starts_with("x-amz-meta-");
        let held = Held {
            body: request.body.clone(),
            headers: request.headers.iter().filter(|(name, _)| kept(name)).cloned().collect(),
            checksum: Some(sha256_base64(&request.body)),
        };
        self.state.lock().unwrap().objects.insert(request.path().to_owned(), held);
    }

    fn wait(&self) {
        self.pause(LONGEST).ok();
    }

    /// Ends early if the store ends.
    fn pause(&self, time: Duration) -> Result<(), Over> {
        let step = Duration::from_millis(10);
        let mut left = time;
        while !left.is_zero() {
            if self.stop.load(Ordering::Relaxed) {
                return Err(Over);
            }
            std::thread::sleep(step.min(left));
            left = left.saturating_sub(step);
        }
        Ok(())
    }
}

fn read_head(wire: &mut dyn Wire) -> Result<(Request, usize, Vec<u8>), Over> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        let mut piece = [0; 8192];
        match wire.read(&mut piece) {
            Ok(0) | Err(_) => return Err(Over),
            Ok(n) => bytes.extend_from_slice(&piece[..n]),
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap().split(' ');
    let headers: Vec<(String, String)> = lines
        .map(|line| line.split_once(':').unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let request = Request {
        method: first.next().unwrap().to_owned(),
        target: first.next().unwrap().to_owned(),
        headers,
        body: Vec::new(),
    };
    let length = request.header("content-length").map_or(0, |value| value.parse().unwrap());
    Ok((request, length, bytes[end + 4..].to_vec()))
}

fn answer(
    wire: &mut dyn Wire,
    request: &Request,
    status: u16,
    headers: &[(&str, String)],
    body: &str,
) -> Result<(), Over> {
    let mut text = format!("HTTP/1.1 {status} Status\r\n");
    for (name, value) in headers {
        text += &format!("{name}: {value}\r\n");
    }
    if !headers.iter().any(|(name, _)| *name == "content-length") {
        text += &format!("content-length: {}\r\n", body.len());
    }
    text += "\r\n";
    if request.method != "HEAD" {
        text += body;
    }
    wire.write_all(text.as_bytes()).and_then(|()| wire.flush()).map_err(|_| Over)
}

/// Closes with RST when it is dropped: what was sent and not yet read is lost.
fn reset(tcp: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(tcp, nix::sys::socket::sockopt::Linger, &linger).unwrap();
    tcp.shutdown(std::net::Shutdown::Read).ok();
}
