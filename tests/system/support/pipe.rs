//! A pipe between a camera and its broker that can fall silent in either direction. It only forwards bytes:
//! TLS runs through it from end to end.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    FromBroker,
    FromCamera,
    Both,
}

/// One connection, and the directions in which no byte passes any more.
#[derive(Default)]
struct Mute {
    from_broker: AtomicBool,
    from_camera: AtomicBool,
}

#[derive(Default)]
struct Inside {
    open: Mutex<Vec<(TcpStream, TcpStream, Arc<Mute>)>>,
    connections: AtomicU32,
    ending: AtomicBool,
    cut: AtomicBool,
}

pub struct Pipe {
    pub port: u16,
    host: &'static str,
    listener: Option<TcpListener>,
    inside: Arc<Inside>,
    thread: Option<JoinHandle<()>>,
}

impl Pipe {
    pub fn bind() -> Pipe {
        Pipe::on(TcpListener::bind(("127.0.0.1", 0)).unwrap(), "localhost")
    }

    /// On ::1; `None` on a machine without it.
    pub fn bind_to_ipv6() -> Option<Pipe> {
        Some(Pipe::on(TcpListener::bind(("::1", 0)).ok()?, "[::1]"))
    }

    fn on(listener: TcpListener, host: &'static str) -> Pipe {
        let port = listener.local_addr().unwrap().port();
        Pipe { port, host, listener: Some(listener), inside: Arc::default(), thread: None }
    }

    /// The setting that makes a camera of a cloud use it.
    pub fn setting(&self) -> String {
        format!("mqtt.url=\"mqtts://{}:{}\"", self.host, self.port)
    }

    pub fn serve(&mut self, broker: u16) {
        let inside = Arc::clone(&self.inside);
        let Some(listener) = self.listener.take() else { return };
        listener.set_nonblocking(true).unwrap();
        self.thread = Some(std::thread::spawn(move || {
            while !inside.ending.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(2));
                let Ok((camera, _)) = listener.accept() else { continue };
                if inside.cut.load(Ordering::SeqCst) {
                    continue;
                }
                camera.set_nonblocking(false).unwrap();
                inside.connections.fetch_add(1, Ordering::SeqCst);
                let Ok(broker) = TcpStream::connect(("127.0.0.1", broker)) else { continue };
                let mute = Arc::new(Mute::default());
                let both = |stream: &TcpStream| stream.try_clone().unwrap();
                inside.open.lock().unwrap().push((both(&camera), both(&broker), Arc::clone(&mute)));
                let (up, down) = ((both(&camera), both(&broker)), (broker, camera));
                let other = Arc::clone(&mute);
                std::thread::spawn(move || copy(up.0, up.1, &mute.from_camera));
                std::thread::spawn(move || copy(down.0, down.1, &other.from_broker));
            }
        }));
    }

    /// Open connections become silent for good; later ones do not.
    pub fn silence(&self, silence: Silence) {
        for (_, _, mute) in self.inside.open.lock().unwrap().iter() {
            mute.from_broker.fetch_or(silence != Silence::FromCamera, Ordering::SeqCst);
            mute.from_camera.fetch_or(silence != Silence::FromBroker, Ordering::SeqCst);
        }
    }

    /// Open connections end, and new ones are refused.
    pub fn cut(&self) {
        self.inside.cut.store(true, Ordering::SeqCst);
        for (camera, broker, _) in self.inside.open.lock().unwrap().drain(..) {
            let _already_gone = camera.shutdown(Shutdown::Both);
            let _already_gone = broker.shutdown(Shutdown::Both);
        }
    }

    /// New connections pass again.
    pub fn mend(&self) {
        self.inside.cut.store(false, Ordering::SeqCst);
    }

    pub fn connections(&self) -> u32 {
        self.inside.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.inside.ending.store(true, Ordering::SeqCst);
        for (camera, broker, _) in self.inside.open.lock().unwrap().drain(..) {
            let _already_gone = camera.shutdown(Shutdown::Both);
            let _already_gone = broker.shutdown(Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// In a silent direction, data is received and dropped, and so is its end.
fn copy(mut from: TcpStream, mut to: TcpStream, mute: &AtomicBool) {
    let mut bytes = [0; 16_384];
    loop {
        let read = from.read(&mut bytes).unwrap_or(0);
        let silent = mute.load(Ordering::SeqCst);
        if read == 0 || (!silent && to.write_all(&bytes[..read]).is_err()) {
            if !silent {
                let _already_gone = to.shutdown(Shutdown::Both);
            }
            return;
        }
    }
}
