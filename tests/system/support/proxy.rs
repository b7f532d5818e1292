//! A proxy between a camera and its store that misbehaves on command. It terminates TLS with a certificate of
//! the development cloud's own CA and serves one request per connection.

use super::cloud::Cloud;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a connection without a byte is kept: longer than any timeout of the camera.
const SILENCE: Duration = Duration::from_secs(90);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody listens.
    Refuse,
    ResetBeforeTls,
    ResetWithinBody,
    ResetAfterBody,
    /// The connection is accepted, and nothing is ever sent.
    Silent,
    /// Nothing is read after half of the body.
    StallWithinBody,
    /// The body is read at 1 KB per second, until the fault is removed.
    Slow,
    /// The store answers, and the camera receives half of the answer.
    CutAnswer,
    /// The store commits, and the camera receives nothing.
    LostAnswer,
    /// The proxy gives this answer, and the store receives nothing.
    Answer(u16, &'static str),
    /// The store's answer, with this header changed.
    Header(&'static str, &'static str),
    /// The store's answer to this method, with this header changed.
    HeaderOf(&'static str, &'static str, &'static str),
    /// The store's answer to this method, with the second status in place of the first.
    Status(&'static str, u16, u16),
    Expired,
    WrongHost,
    WrongCa,
    OldTls,
}

impl Fault {
    /// Whether it takes effect before a request can be read.
    fn is_of_connection(self) -> bool {
        matches!(
            self,
            Fault::Refuse
                | Fault::ResetBeforeTls
                | Fault::Silent
                | Fault::Expired
                | Fault::WrongHost
                | Fault::WrongCa
                | Fault::OldTls
        )
    }
}

/// Changes an answer to a request with this first line; the body comes behind the empty line.
pub type Rewrite = Arc<dyn Fn(&str, Vec<u8>) -> Vec<u8> + Send + Sync>;

#[derive(Default)]
struct State {
    fault: Option<Fault>,
    rewrite: Option<Rewrite>,
    /// How many more times it takes effect.
    left: u32,
    hits: u32,
    connections: u32,
    open: Vec<TcpStream>,
}

struct Inside {
    state: Mutex<State>,
    ending: AtomicBool,
}

impl Inside {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn strike(&self, of_connection: bool) -> Option<Fault> {
        let mut state = self.state();
        let fault = state.fault.filter(|fault| fault.is_of_connection() == of_connection)?;
        state.left = state.left.checked_sub(1)?;
        state.hits += 1;
        Some(fault)
    }

    /// Whether the fault is one of this method; all but two are of PUT.
    fn concerns(&self, method: &str) -> bool {
        match self.state().fault {
            Some(Fault::HeaderOf(of, ..) | Fault::Status(of, ..)) => of == method,
            _ => method == "PUT",
        }
    }

    fn slow(&self) -> bool {
        self.state().fault == Some(Fault::Slow) && !self.ending.load(Ordering::SeqCst)
    }
}

/// It reserves its port at the start, so that a configuration can name it, and serves from [`Proxy::serve`]
/// on.
pub struct Proxy {
    pub port: u16,
    listener: Option<TcpListener>,
    inside: Arc<Inside>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    pub fn bind() -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let inside = Inside { state: Mutex::default(), ending: AtomicBool::new(false) };
        let port = listener.local_addr().unwrap().port();
        Proxy { port, listener: Some(listener), inside: Arc::new(inside), thread: None }
    }

    /// The setting that makes a camera of this cloud use it.
    pub fn setting(&self) -> String {
        format!("upload.endpoint=\"https://localhost:{}\"", self.port)
    }

    pub fn serve(&mut self, cloud: &Cloud) {
        let way = Arc::new(Way::to(cloud));
        let (inside, port) = (Arc::clone(&self.inside), self.port);
        let listener = self.listener.take();
        self.thread = Some(std::thread::spawn(move || accept(listener, port, &inside, &way)));
    }

    /// The fault takes effect `times` times, and is then removed. Open connections end.
    pub fn set(&self, fault: Fault, times: u32) {
        let mut state = self.inside.state();
        (state.fault, state.left, state.hits, state.connections) = (Some(fault), times, 0, 0);
        if fault.is_of_connection() {
            for stream in state.open.drain(..) {
                let _already_gone = stream.shutdown(std::net::Shutdown::Both);
            }
        }
    }

    /// From now on all answers go through this.
    pub fn rewrite(&self, rewrite: Rewrite) {
        self.inside.state().rewrite = Some(rewrite);
    }

    pub fn heal(&self) {
        let mut state = self.inside.state();
        (state.fault, state.left) = (None, 0);
    }

    /// How often the fault has taken effect.
    pub fn hits(&self) -> u32 {
        self.inside.state().hits
    }

    /// Connections, each of one request, since the fault was set.
    pub fn connections(&self) -> u32 {
        self.inside.state().connections
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.inside.ending.store(true, Ordering::SeqCst);
        for stream in self.inside.state().open.drain(..) {
            let _already_gone = stream.shutdown(std::net::Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

fn accept(mut listener: Option<TcpListener>, port: u16, inside: &Arc<Inside>, way: &Arc<Way>) {
    while !inside.ending.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(2));
        if inside.state().fault == Some(Fault::Refuse) {
            listener = None;
            continue;
        }
        if listener.is_none() {
            listener = TcpListener::bind(("127.0.0.1", port)).ok();
        }
        let Some(listening) = &listener else { continue };
        listening.set_nonblocking(true).unwrap();
        let Ok((stream, _)) = listening.accept() else { continue };
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(SILENCE)).unwrap();
        {
            let mut state = inside.state();
            state.connections += 1;
            state.open.push(stream.try_clone().unwrap());
        }
        let (inside, way) = (Arc::clone(inside), Arc::clone(way));
        // Ends with its stream, which the proxy shuts down when it is dropped.
        std::thread::spawn(move || {
            let end = stream.try_clone();
            let _the_camera_went_away = handle(stream, &inside, &way);
            // The clone in the list would keep it open.
            let _already_gone = end.and_then(|end| end.shutdown(std::net::Shutdown::Both));
        });
    }
}

/// Closing then sends RST.
fn reset(stream: &TcpStream) {
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    nix::sys::socket::setsockopt(stream, nix::sys::socket::sockopt::Linger, &linger).unwrap();
    // Connecting it to no address resets it even while a clone is open.
    let none = libc::sockaddr { sa_family: u16::try_from(libc::AF_UNSPEC).unwrap(), sa_data: [0; 14] };
    let size = u32::try_from(size_of::<libc::sockaddr>()).unwrap();
    // SAFETY: an address of AF_UNSPEC dissolves the association; the descriptor is open and ours.
    unsafe { libc::connect(std::os::fd::AsRawFd::as_raw_fd(stream), &none, size) };
}

fn handle(stream: TcpStream, inside: &Inside, way: &Way) -> std::io::Result<()> {
    let fault = inside.strike(true);
    let config = match fault {
        None | Some(Fault::Refuse) => &way.good,
        Some(Fault::Expired) => &way.expired,
        Some(Fault::WrongHost) => &way.wrong_host,
        Some(Fault::WrongCa) => &way.wrong_ca,
        Some(Fault::OldTls) => return old_tls(stream),
        Some(Fault::Silent) => {
            let mut stream = stream;
            return std::io::copy(&mut stream, &mut std::io::sink()).map(|_| ());
        }
        Some(_) => {
            reset(&stream);
            return Ok(());
        }
    };
    let raw = stream.try_clone()?;
    let session = ServerConnection::new(Arc::clone(config)).map_err(std::io::Error::other)?;
    let mut camera = StreamOwned::new(session, stream);
    let head = read_head(&mut camera)?;
    let length = header(&head, "content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let method = String::from_utf8_lossy(&head).split(' ').next().unwrap_or_default().to_owned();
    let fault = if inside.concerns(&method) { inside.strike(false) } else { None };

    let mut body = vec![0; length];
    match fault {
        Some(Fault::ResetWithinBody) => {
            camera.read_exact(&mut body[..length / 2])?;
            reset(&raw);
            return Ok(());
        }
        Some(Fault::StallWithinBody) => {
            camera.read_exact(&mut body[..length / 2])?;
            std::thread::sleep(Duration::from_millis(100));
            while !inside.ending.load(Ordering::SeqCst) && inside.state().fault.is_some() {
                std::thread::sleep(Duration::from_millis(20));
            }
            return Ok(());
        }
        Some(Fault::Slow) => {
            let mut read = 0;
            while read < length && inside.slow() {
                let next = (read + 256).min(length);
                camera.read_exact(&mut body[read..next])?;
                read = next;
                std::thread::sleep(Duration::from_millis(250));
            }
            camera.read_exact(&mut body[read..])?;
        }
        _ => camera.read_exact(&mut body)?,
    }
    match fault {
        Some(Fault::ResetAfterBody) => reset(&raw),
        Some(Fault::Answer(status, headers)) => {
            let answer =
                format!("HTTP/1.1 {status} Told\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n");
            camera.write_all(answer.as_bytes())?;
            finish(&mut camera)?;
        }
        fault => {
            let mut answer = way.ask(&head, &body)?;
            let rewrite = inside.state().rewrite.clone();
            if let Some(rewrite) = rewrite {
                let line = String::from_utf8_lossy(&head);
                answer = rewrite(line.lines().next().unwrap_or_default(), answer);
            }
            match fault {
                Some(Fault::LostAnswer) => {
                    reset(&raw);
                    return Ok(());
                }
                Some(Fault::CutAnswer) => answer.truncate(answer.len() / 2),
                Some(Fault::Header(name, value) | Fault::HeaderOf(_, name, value)) => {
                    answer = with_header(&answer, name, value);
                }
                Some(Fault::Status(_, from, to)) => answer = with_status(answer, from, to),
                _ => {}
            }
            camera.write_all(&answer)?;
            finish(&mut camera)?;
        }
    }
    Ok(())
}

fn finish(camera: &mut StreamOwned<ServerConnection, TcpStream>) -> std::io::Result<()> {
    camera.conn.send_close_notify();
    camera.flush()
}

/// A `ServerHello` of TLS 1.1 (RFC 4346, 7.4.1.3), whatever the client requested.
fn old_tls(mut stream: TcpStream) -> std::io::Result<()> {
    let mut hello = [0; 5];
    stream.read_exact(&mut hello)?;
    let mut body = vec![0; usize::from(u16::from_be_bytes([hello[3], hello[4]]))];
    stream.read_exact(&mut body)?;
    let mut answer = vec![22, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    answer.extend([7; 32]);
    // No session, TLS_RSA_WITH_AES_128_CBC_SHA, no compression.
    answer.extend([0, 0, 0x2f, 0]);
    stream.write_all(&answer)?;
    let mut last = [0; 64];
    let _alert = stream.read(&mut last)?;
    Ok(())
}

fn read_head(from: &mut impl Read) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        from.read_exact(&mut byte)?;
        head.extend(byte);
        if head.len() > 65_536 {
            return Err(ErrorKind::InvalidData.into());
        }
    }
    Ok(head)
}

fn header(head: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(head);
    let mut pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
}

fn with_status(answer: Vec<u8>, from: u16, to: u16) -> Vec<u8> {
    let line = format!("HTTP/1.1 {from} ");
    match answer.strip_prefix(line.as_bytes()) {
        Some(rest) => [format!("HTTP/1.1 {to} ").as_bytes(), rest].concat(),
        None => answer,
    }
}

pub fn with_header(answer: &[u8], name: &str, value: &str) -> Vec<u8> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(answer.len());
    let head = String::from_utf8_lossy(&answer[..end]).into_owned();
    let kept = head
        .split("\r\n")
        .filter(|line| line.split_once(':').is_none_or(|(given, _)| !given.eq_ignore_ascii_case(name)));
    let changed = format!("{name}: {value}");
    let lines: Vec<&str> = kept.chain([changed.as_str()]).collect();
    [lines.join("\r\n").as_bytes(), &answer[end..]].concat()
}

/// The address of the real store, and the certificates that the proxy presents.
struct Way {
    store: u16,
    client: Arc<ClientConfig>,
    good: Arc<ServerConfig>,
    expired: Arc<ServerConfig>,
    wrong_host: Arc<ServerConfig>,
    wrong_ca: Arc<ServerConfig>,
}

impl Way {
    fn to(cloud: &Cloud) -> Way {
        let pki = cloud.dir().join("pki");
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(pki.join("ca.pem")).unwrap()).unwrap();
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let ca_key = KeyPair::from_pem(&std::fs::read_to_string(pki.join("ca.key")).unwrap()).unwrap();
        let ca = issuer(ca_key);
        let stranger = issuer(KeyPair::generate().unwrap());
        Way {
            store: cloud.s3_port,
            client: Arc::new(client),
            good: serving(files(&pki)),
            expired: serving(issue(&ca, "localhost", 2021)),
            wrong_host: serving(issue(&ca, "elsewhere.example", 2099)),
            wrong_ca: serving(issue(&stranger, "localhost", 2099)),
        }
    }

    /// The store's whole answer.
    fn ask(&self, head: &[u8], body: &[u8]) -> std::io::Result<Vec<u8>> {
        let stream = TcpStream::connect(("127.0.0.1", self.store))?;
        stream.set_read_timeout(Some(SILENCE))?;
        let name = ServerName::try_from("localhost").map_err(std::io::Error::other)?;
        let session = ClientConnection::new(Arc::clone(&self.client), name).map_err(std::io::Error::other)?;
        let mut store = StreamOwned::new(session, stream);
        // Not signed: the store must close, so that its answer has an end.
        let head = &head[..head.len() - 2];
        store.write_all(&[head, b"connection: close\r\n\r\n", body].concat())?;
        let mut answer = Vec::new();
        match store.read_to_end(&mut answer) {
            Err(error) if error.kind() != ErrorKind::UnexpectedEof || answer.is_empty() => Err(error),
            Ok(_) | Err(_) => Ok(answer),
        }
    }
}

type Shown = (CertificateDer<'static>, PrivateKeyDer<'static>);

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn serving((certificate, key): Shown) -> Arc<ServerConfig> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    Arc::new(config.unwrap())
}

fn files(pki: &Path) -> Shown {
    let at = |name: &str| -> PathBuf { pki.join(name) };
    (
        CertificateDer::from_pem_file(at("server.pem")).unwrap(),
        PrivateKeyDer::from_pem_file(at("server.key")).unwrap(),
    )
}

/// The development cloud's CA, from its key; or an unknown one with the same name.
fn issuer(key: KeyPair) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "kasacam development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, key).unwrap()
}

fn issue(ca: &CertifiedIssuer<'_, KeyPair>, host: &str, until: i32) -> Shown {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = rcgen::date_time_ymd(2020, 1, 1);
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let issued = params.signed_by(&key, ca).unwrap();
    (issued.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
}
