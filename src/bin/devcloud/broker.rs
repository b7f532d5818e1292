//! A real mosquitto with mutual TLS. The common name of a certificate is the user name, and the ACL depends on it.

use crate::certificates::{Pki, private_dir, write_new};
use crate::child::Process;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::process::Command;

const PROGRAM: &str = "/usr/sbin/mosquitto";
/// To answer after a start, and to end after SIGTERM.
const STATE_TIMEOUT: Duration = Duration::from_secs(10);
/// Ports to try, if another program takes a free one first.
const MAX_ATTEMPTS: u32 = 5;

const WRITES: [&str; 6] =
    ["privacy/reported", "entitlement/reported", "status", "telemetry", "event", "grant/request"];
const READS: [&str; 3] = ["privacy/desired", "entitlement/desired", "grant/response"];

pub(crate) struct Broker {
    pub port: u16,
    /// `None` if it is a foreign broker.
    configuration: Option<PathBuf>,
    /// `None` while it is down.
    process: Option<Process>,
}

impl Broker {
    /// Starts it on `127.0.0.1:port`, or on a free port if that one is taken or 0.
    ///
    /// # Errors
    /// It does not start; `broker/mosquitto.log` says why.
    pub(crate) async fn start(dir: &Path, pki: &Pki, port: u16) -> Result<Broker, String> {
        let home = dir.join("broker");
        private_dir(&home)?;
        write_new(&home.join("acl"), acl().as_bytes(), 0o600)?;
        let mut last = String::new();
        for attempt in 0..MAX_ATTEMPTS {
            let port = free_port(if attempt == 0 { port } else { 0 })?;
            let configuration = home.join("mosquitto.conf");
            write_new(&configuration, conf(&home, pki, port).as_bytes(), 0o600)?;
            let mut broker = Broker { port, configuration: Some(configuration), process: None };
            match broker.up().await {
                Ok(()) => return Ok(broker),
                Err(why) => last = why,
            }
        }
        Err(last)
    }

    /// A foreign broker, which runs already and is not started or ended here.
    ///
    /// # Errors
    /// Nothing listens on this port.
    pub(crate) async fn foreign(port: u16) -> Result<Broker, String> {
        let answers = TcpStream::connect(("127.0.0.1", port)).await;
        answers.map_err(|e| format!("the broker on port {port}: {e}"))?;
        Ok(Broker { port, configuration: None, process: None })
    }

    /// Starts it again on the same port, with its retained messages and sessions.
    ///
    /// # Errors
    /// It does not start.
    pub(crate) async fn up(&mut self) -> Result<(), String> {
        if self.is_up() {
            return Ok(());
        }
        let configuration = self.configuration.as_ref().ok_or("a foreign broker cannot be started here")?;
        let mut command = Command::new(PROGRAM);
        command.arg("-c").arg(configuration);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = Process::start("mosquitto", command)?;
        let answers = async {
            while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                if process.ended().is_some() {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            process.ended().is_none()
        };
        match tokio::time::timeout(STATE_TIMEOUT, answers).await {
            Ok(true) => {
                self.process = Some(process);
                Ok(())
            }
            Ok(false) => Err("mosquitto ended at its start: see broker/mosquitto.log".into()),
            Err(_) => Err(format!("mosquitto does not answer on port {}", self.port)),
        }
    }

    /// Ends it.
    ///
    /// # Errors
    /// It had to be killed.
    pub(crate) async fn down(&mut self) -> Result<(), String> {
        match self.process.take() {
            Some(mut process) => process.stop(STATE_TIMEOUT).await.map(drop),
            // Down already, or a foreign broker.
            None => Ok(()),
        }
    }

    pub(crate) fn is_up(&mut self) -> bool {
        let runs = self.process.as_mut().is_some_and(|process| process.ended().is_none());
        runs || self.configuration.is_none()
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().and_then(Process::pid)
    }
}

fn conf(home: &Path, pki: &Pki, port: u16) -> String {
    // If root starts it, it changes to another user, who may not read our files.
    let user = if nix::unistd::geteuid().is_root() { "user root\n" } else { "" };
    format!(
        "{user}listener {port} 127.0.0.1\n\
         cafile {}\n\
         certfile {}\n\
         keyfile {}\n\
         require_certificate true\n\
         use_identity_as_username true\n\
         tls_version tlsv1.2\n\
         allow_anonymous false\n\
         acl_file {home}/acl\n\
         persistence true\n\
         persistence_location {home}/\n\
         autosave_on_changes true\n\
         autosave_interval 1\n\
         max_packet_size 1048576\n\
         set_tcp_nodelay true\n\
         log_dest file {home}/mosquitto.log\n\
         log_type error\n\
         log_type warning\n\
         log_type notice\n",
        pki.ca.display(),
        pki.server_cert.display(),
        pki.server_key.display(),
        home = home.display()
    )
}

/// A camera may use only its own topics; `%u` is the common name of its certificate.
fn acl() -> String {
    let mut acl = String::from("user cloud\ntopic readwrite #\n\n");
    for topic in WRITES {
        acl.push_str(&format!("pattern write kasacam/v1/%u/{topic}\n"));
    }
    for topic in READS {
        acl.push_str(&format!("pattern read kasacam/v1/%u/{topic}\n"));
    }
    acl
}

/// `wanted`, or another port if that one is taken or 0. mosquitto cannot choose one itself.
fn free_port(wanted: u16) -> Result<u16, String> {
    let bind = |port| std::net::TcpListener::bind(("127.0.0.1", port)).and_then(|found| found.local_addr());
    let found = bind(wanted).or_else(|_| bind(0)).map_err(|e| format!("the broker finds no port: {e}"))?;
    Ok(found.port())
}
