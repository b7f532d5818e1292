//! A name server on 127.0.0.1:53 (RFC 1035), for a network namespace: it gives the answers of the test.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Clone, Debug)]
pub enum Answer {
    /// These addresses after this delay.
    Addresses(Duration, Vec<IpAddr>),
    /// SERVFAIL.
    Fails,
    Silent,
}

impl Answer {
    pub fn now(addresses: &[IpAddr]) -> Answer {
        Answer::Addresses(Duration::ZERO, addresses.to_vec())
    }
}

pub struct NameServer {
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicU64>,
}

impl NameServer {
    pub fn start(answer: Answer) -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:53").unwrap();
        let server = NameServer { answer: Arc::new(Mutex::new(answer)), asked: Arc::default() };
        let (answer, asked) = (Arc::clone(&server.answer), Arc::clone(&server.asked));
        std::thread::spawn(move || {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query) {
                asked.fetch_add(1, Ordering::Relaxed);
                let answer = answer.lock().unwrap().clone();
                let (socket, query) = (socket.try_clone().unwrap(), query[..length].to_vec());
                std::thread::spawn(move || reply(&socket, from, &query, &answer));
            }
        });
        server
    }

    pub fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

fn reply(socket: &UdpSocket, to: SocketAddr, query: &[u8], answer: &Answer) {
    // A header of 12 bytes, the name, its type and class.
    let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap() + 5;
    let wants_v6 = query[end - 4..end - 2] == [0, 28];
    let (code, addresses) = match answer {
        Answer::Silent => return,
        Answer::Fails => (2, Vec::new()),
        Answer::Addresses(after, addresses) => {
            std::thread::sleep(*after);
            (0, addresses.iter().filter(|ip| ip.is_ipv6() == wants_v6).copied().collect())
        }
    };
    let mut out = query[..2].to_vec();
    out.extend([0x81, 0x80 | code, 0, 1, 0, u8::try_from(addresses.len()).unwrap(), 0, 0, 0, 0]);
    out.extend(&query[12..end]);
    for ip in addresses {
        let bytes = match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        out.extend([0xc0, 12, 0, if wants_v6 { 28 } else { 1 }, 0, 1, 0, 0, 0, 0]);
        out.extend([0, u8::try_from(bytes.len()).unwrap()]);
        out.extend(bytes);
    }
    let _answered = socket.send_to(&out, to);
}
