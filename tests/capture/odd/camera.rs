//! An RTSP camera on loopback that does one thing oddly. It speaks RTP interleaved with RTSP (RFC 2326, 10.12), serves
//! whoever comes, and stops when it is dropped.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// On which packets the marker bit stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// On the last of an access unit (RFC 6184, 5.1).
    LastOfPicture,
    LastOfNal,
    Never,
}

/// What the SDP says of the parameter sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sets {
    Told,
    /// Within the stream alone.
    NotTold,
    /// As they stand in a byte stream, which is wrong.
    WithStartCodes,
}

/// The camera's behaviour.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    pub fps: f64,
    pub marker: Marker,
    pub sets: Sets,
    /// Before the frame of this number so many seconds are missing.
    pub hole: Option<(usize, f64)>,
    /// All frames have one and the same time.
    pub still: bool,
    /// It refuses to send over the connection (461), and sends over UDP.
    pub udp_alone: bool,
    /// Before its frames the SDP names AAC that is for the other side to send.
    pub back_channel: bool,
    /// The SDP says of its frames that it sends them, from its own side.
    pub says_it_sends: bool,
    /// Another SSRC from each IDR frame on.
    pub ssrc_by_idr: bool,
    /// The encoding that the SDP names.
    pub encoding: &'static str,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour {
            fps: 25.0,
            marker: Marker::LastOfPicture,
            sets: Sets::Told,
            hole: None,
            still: false,
            udp_alone: false,
            back_channel: false,
            says_it_sends: false,
            ssrc_by_idr: false,
            encoding: "H264",
        }
    }
}

pub struct OddCamera {
    pub port: u16,
    /// Somebody has set up its back channel.
    pub heard: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    listener: Option<thread::JoinHandle<()>>,
}

impl Drop for OddCamera {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        self.listener.take().map(thread::JoinHandle::join);
    }
}

impl OddCamera {
    /// Serves the byte stream in this file, which has no fields.
    pub fn start(path: &Path, behaviour: Behaviour) -> OddCamera {
        let units = Arc::new(access_units(&std::fs::read(path).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let heard = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&heard);
        let listener = thread::spawn(move || {
            thread::scope(|scope| {
                for stream in listener.incoming() {
                    if stopped.load(Ordering::Acquire) {
                        break;
                    }
                    let (units, stopped, told) = (&units, &stopped, &told);
                    let Ok(stream) = stream else { continue };
                    scope.spawn(move || drop(serve(&stream, units, behaviour, (stopped, told))));
                }
            });
        });
        OddCamera { port, heard, stop, listener: Some(listener) }
    }
}

/// NAL units by access unit: a frame begins with macroblock 0, or with what stands before its slices.
fn access_units(stream: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let mut nals: Vec<Vec<u8>> = Vec::new();
    let mut from = None::<usize>;
    let mut at = 0;
    while at + 3 <= stream.len() {
        if stream[at..at + 3] == [0, 0, 1] {
            if let Some(from) = from {
                nals.push(stream[from..at].to_vec());
            }
            from = Some(at + 3);
            at += 3;
        } else {
            at += 1;
        }
    }
    nals.push(stream[from.unwrap()..].to_vec());
    let mut units: Vec<Vec<Vec<u8>>> = vec![Vec::new()];
    let mut sliced = false;
    for mut nal in nals {
        while nal.last() == Some(&0) {
            nal.pop();
        }
        let slice = matches!(nal[0] & 0x1f, 1 | 5);
        if sliced && (!slice || nal[1] & 0x80 != 0) {
            units.push(Vec::new());
            sliced = false;
        }
        sliced |= slice;
        units.last_mut().unwrap().push(nal);
    }
    units
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let word =
            three.iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * place) & 63) as usize] as char;
            text.push(if place <= three.len() { letter } else { '=' });
        }
    }
    text
}

fn sdp(units: &[Vec<Vec<u8>>], behaviour: Behaviour) -> String {
    let Behaviour { sets, encoding, back_channel, says_it_sends, .. } = behaviour;
    let mut text = String::from("v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=odd\r\nt=0 0\r\na=control:*\r\n");
    if back_channel {
        text.push_str("m=audio 0 RTP/AVP 97\r\na=rtpmap:97 MPEG4-GENERIC/16000\r\n");
        text.push_str("a=fmtp:97 streamtype=5;profile-level-id=1;mode=AAC-hbr;config=1408;sizelength=13;");
        text.push_str("indexlength=3;indexdeltalength=3\r\na=sendonly\r\na=control:back\r\n");
    }
    write!(text, "m=video 0 RTP/AVP 96\r\na=rtpmap:96 {encoding}/90000\r\n").unwrap();
    text.push_str("a=fmtp:96 packetization-mode=1");
    let told: Vec<String> = [7, 8]
        .iter()
        .filter_map(|kind| units.iter().flatten().find(|nal| nal[0] & 0x1f == *kind))
        .map(|nal| match sets {
            Sets::WithStartCodes => base64(&[&[0, 0, 0, 1], &nal[..]].concat()),
            Sets::Told | Sets::NotTold => base64(nal),
        })
        .collect();
    if sets != Sets::NotTold {
        write!(text, ";sprop-parameter-sets={}", told.join(",")).unwrap();
    }
    text.push_str(if says_it_sends { "\r\na=sendonly" } else { "" });
    text.push_str("\r\na=control:track\r\n");
    text
}

fn serve(
    stream: &TcpStream,
    units: &[Vec<Vec<u8>>],
    behaviour: Behaviour,
    (stopped, told): (&AtomicBool, &AtomicBool),
) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    let mut from = BufReader::new(stream);
    let mut to_client = To::Channel(0);
    loop {
        let mut request = Vec::new();
        loop {
            if stopped.load(Ordering::Acquire) {
                return Ok(());
            }
            let mut line = Vec::new();
            match from.read_until(b'\n', &mut line) {
                Ok(0) => return Ok(()),
                Ok(_) if line == b"\r\n" => break,
                Ok(_) => request.push(String::from_utf8_lossy(&line).trim_end().to_owned()),
                Err(_) if line.is_empty() => {}
                Err(why) => return Err(why),
            }
        }
        let field = |name: &str| {
            request
                .iter()
                .find_map(|line| line.strip_prefix(name))
                .map(str::trim)
                .unwrap_or_default()
                .to_owned()
        };
        let method = request.first().and_then(|line| line.split(' ').next()).unwrap_or_default();
        let mut answer = format!("RTSP/1.0 200 OK\r\nCSeq: {}\r\nSession: 1\r\n", field("CSeq:"));
        let mut body = String::new();
        match method {
            "OPTIONS" => {
                answer.push_str("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER\r\n")
            }
            "DESCRIBE" => {
                body = sdp(units, behaviour);
                write!(answer, "Content-Type: application/sdp\r\nContent-Length: {}\r\n", body.len())
                    .unwrap();
            }
            "SETUP" => {
                let transport = field("Transport:");
                let of_pictures = request[0].contains("/track");
                told.fetch_or(!of_pictures, Ordering::AcqRel);
                let asked = |name: &str| {
                    let at = transport.find(name)? + name.len();
                    let number = transport[at..].split(|letter: char| !letter.is_ascii_digit()).next()?;
                    number.parse::<u16>().ok()
                };
                if let Some(channel) = asked("interleaved=").filter(|_| !behaviour.udp_alone) {
                    if of_pictures {
                        to_client = To::Channel(u8::try_from(channel).unwrap());
                    }
                    let last = channel + 1;
                    write!(answer, "Transport: RTP/AVP/TCP;unicast;interleaved={channel}-{last}\r\n")
                        .unwrap();
                } else if let Some(port) = asked("client_port=").filter(|_| behaviour.udp_alone) {
                    let socket = UdpSocket::bind("127.0.0.1:0")?;
                    socket.connect(("127.0.0.1", port))?;
                    let (own, last) = (socket.local_addr()?.port(), port + 1);
                    to_client = To::Port(socket);
                    write!(
                        answer,
                        "Transport: RTP/AVP;unicast;client_port={port}-{last};server_port={own}-{}\r\n",
                        own.wrapping_add(1)
                    )
                    .unwrap();
                } else {
                    answer = format!("RTSP/1.0 461 Unsupported Transport\r\nCSeq: {}\r\n", field("CSeq:"));
                }
            }
            _ => {}
        }
        let mut to = stream;
        to.write_all(format!("{answer}\r\n{body}").as_bytes())?;
        if method == "PLAY" {
            return play(stream, &to_client, units, behaviour, stopped);
        }
    }
}

/// Where the packets go.
enum To {
    Channel(u8),
    Port(UdpSocket),
}

fn play(
    stream: &TcpStream,
    to: &To,
    units: &[Vec<Vec<u8>>],
    behaviour: Behaviour,
    stopped: &AtomicBool,
) -> std::io::Result<()> {
    let begun = Instant::now();
    let mut sender = Sender { stream, to, sequence: 0, ssrc: 1 };
    for (frame, unit) in units.iter().enumerate() {
        let missing = behaviour.hole.filter(|(at, _)| *at <= frame).map_or(0.0, |(_, missing)| missing);
        #[expect(clippy::cast_precision_loss, reason = "some hundred frames")]
        let time = frame as f64 / behaviour.fps + missing;
        let due = begun + Duration::from_secs_f64(time);
        while Instant::now() < due {
            if stopped.load(Ordering::Acquire) {
                return Ok(());
            }
            thread::sleep(due.saturating_duration_since(Instant::now()).min(Duration::from_millis(20)));
        }
        if behaviour.ssrc_by_idr && frame > 0 && unit.iter().any(|nal| nal[0] & 0x1f == 5) {
            sender.ssrc += 1;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it wraps by design")]
        let timestamp = if behaviour.still { 0 } else { (time * 90_000.0) as u64 as u32 };
        for (at, nal) in unit.iter().enumerate() {
            let marker = match behaviour.marker {
                Marker::LastOfPicture => at + 1 == unit.len(),
                Marker::LastOfNal => true,
                Marker::Never => false,
            };
            sender.nal(nal, timestamp, marker)?;
        }
    }
    // What was sent is to arrive before the connection ends.
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut rest = Vec::new();
    drop((&mut &*stream).take(1 << 20).read_to_end(&mut rest));
    Ok(())
}

struct Sender<'a> {
    stream: &'a TcpStream,
    to: &'a To,
    sequence: u16,
    ssrc: u32,
}

impl Sender<'_> {
    fn nal(&mut self, nal: &[u8], timestamp: u32, marker: bool) -> std::io::Result<()> {
        const MOST: usize = 1300;
        if nal.len() <= MOST {
            return self.packet(nal, timestamp, marker);
        }
        // FU-A (RFC 6184, 5.8).
        let parts: Vec<&[u8]> = nal[1..].chunks(MOST).collect();
        for (at, part) in parts.iter().enumerate() {
            let (first, last) = (at == 0, at + 1 == parts.len());
            let head = nal[0] & 0x1f | if first { 0x80 } else { 0 } | if last { 0x40 } else { 0 };
            let payload = [&[nal[0] & 0xe0 | 28, head], *part].concat();
            self.packet(&payload, timestamp, marker && last)?;
        }
        Ok(())
    }

    fn packet(&mut self, payload: &[u8], timestamp: u32, marker: bool) -> std::io::Result<()> {
        let mut packet = Vec::new();
        if let To::Channel(channel) = self.to {
            packet.extend([b'$', *channel]);
            packet.extend(u16::try_from(12 + payload.len()).unwrap().to_be_bytes());
        }
        packet.extend([0x80, 96 | if marker { 0x80 } else { 0 }]);
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(payload);
        self.sequence = self.sequence.wrapping_add(1);
        let mut stream = self.stream;
        match self.to {
            To::Channel(_) => stream.write_all(&packet),
            To::Port(socket) => socket.send(&packet).map(drop),
        }
    }
}
