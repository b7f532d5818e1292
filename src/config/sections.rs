//! The sections of `agent.toml` that have no file of their own.

use crate::domain::policy::WhenFull;
use crate::domain::segmenter::Durability;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The section `[device]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// 1 to 64 of `A-Z a-z 0-9 - _`: it is part of topics, object keys and the certificate's CN.
    pub id: String,
    /// Data that survives a restart; default `/var/lib/kasacam`.
    pub state_dir: PathBuf,
    /// The local control socket; default `/run/kasacam/control.sock`.
    pub socket: PathBuf,
}

/// The section `[identity]`: how the device gets its certificate, by EST (RFC 7030).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Enrolment {
    /// From `identity.est`; must match the server's certificate.
    pub host: String,
    /// From `identity.est`; default 443.
    pub port: u16,
    /// From `identity.est`, such as `/.well-known/est`; without a closing slash.
    pub path: String,
    /// PEM certificates of the authorities for the server's certificate; default `mqtt.ca`.
    pub ca: PathBuf,
    /// The credential for the first certificate; not needed after it.
    pub claim: Option<Claim>,
}

/// The credential for the first certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claim {
    /// A certificate only for enrolment; a batch of cameras may share it.
    Certificate {
        /// Its chain, PEM.
        cert: PathBuf,
        /// Its private key, PEM.
        key: PathBuf,
    },
    /// A file with `user:password`, valid once.
    Password(PathBuf),
}

/// The section `[mqtt]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mqtt {
    /// From `mqtt.url`; must match the broker's certificate.
    pub host: String,
    /// From `mqtt.url`; default 8883.
    pub port: u16,
    /// PEM certificates of the authorities for the broker's certificate.
    pub ca: PathBuf,
    /// The device's certificate chain, PEM; its common name is `device.id`.
    pub cert: PathBuf,
    /// Its private key, PEM; belongs to our user or root, mode 600 or stricter.
    pub key: PathBuf,
    /// 5 s to 20 min; default 30 s.
    pub keep_alive: Duration,
    /// 1 s to 1 day; default 60 s.
    pub telemetry: Duration,
    /// The protocol that TLS requests (RFC 7301); default none, except for AWS IoT on port 443.
    pub alpn: Option<String>,
    /// For brokers that need a user name besides the certificate.
    pub login: Option<MqttLogin>,
    /// Time over which a fleet spreads its reconnections: 0 s to 10 min; default 30 s.
    pub reconnect_spread: Duration,
}

/// `mqtt.username` and `mqtt.password`.
#[derive(Clone, Debug, PartialEq)]
pub struct MqttLogin {
    /// 1 to 256 characters.
    pub username: String,
    /// A file with the password; belongs to our user or root, mode 600 or stricter; read for each connection.
    pub password: Option<PathBuf>,
}

/// The section `[entitlement]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Entitlement {
    /// The keys that may sign the lease: 1 to 16, each with its own `kid`.
    pub keys: Vec<VerifyingKey>,
    /// How long a lease is valid after its `not_after`: 0 s to 365 days; default 72 h.
    pub offline_grace: Duration,
}

/// An Ed25519 public key; its `kid` is its file's name without the extension.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyingKey {
    /// The JWS header `kid` (RFC 7515, 4.1.4) that selects this key.
    pub kid: String,
    /// The public key of RFC 8032, 5.1.5.
    pub key: [u8; 32],
}

/// The section `[clock]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Clock {
    /// Default `kernel`.
    pub trust: ClockTrust,
}

/// When the system clock is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockTrust {
    /// When the kernel reports that it is synchronised.
    Kernel,
    /// Always.
    System,
}

/// The section `[recording]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Length of a segment: 2 s to 10 min; default 30 s.
    pub segment: Duration,
    /// Length of a GOP: 500 ms to 10 s, at most `segment`; default 2 s.
    pub fragment: Duration,
    /// Length of one `moof` and `mdat`: 100 ms to 10 s, at most `fragment`; default 500 ms.
    pub chunk: Duration,
    /// The unit that is synced; default `fragment`.
    pub durability: Durability,
    /// Audio is captured if plan and board have it; default true.
    pub audio: bool,
}

/// The section `[spool]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Spool {
    /// Maximum bytes of the spool: 1 MiB to 64 TiB; default 2 GiB.
    pub max_bytes: u64,
    /// Bytes of its file system that stay free: up to 64 TiB; default 64 MiB.
    pub min_free: u64,
    /// Maximum number of files: 16 to 1,000,000; default 65,536.
    pub max_files: u64,
    /// How long pending segments are held without service: 0 s to 365 days; default 72 h.
    pub hold: Duration,
    /// What happens when a budget is used up; default `evict`.
    pub when_full: WhenFull,
    /// New files are encrypted; needs a key.
    pub encrypt: bool,
    /// Read from the file that `spool.key` names.
    pub key: Option<SpoolKey>,
}

/// The key of the spool. Debug output does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct SpoolKey(pub [u8; 32]);

impl fmt::Debug for SpoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpoolKey(..)")
    }
}

/// The places of a household's data, for a reset. The rest of the configuration may be invalid.
#[derive(Clone, Debug, PartialEq)]
pub struct Places {
    /// The section `[device]`.
    pub device: Device,
    /// `device.board`.
    pub board: Option<PathBuf>,
    /// `mqtt.key`, unless an enrolment makes it.
    pub device_key: Option<PathBuf>,
    /// `spool.key`.
    pub spool_key: Option<PathBuf>,
    /// `upload.credentials`, if it is a file.
    pub credentials: Option<PathBuf>,
    /// Those that the service manager provides, as written in the configuration: only the unit knows the files.
    pub handed_over: Vec<String>,
}
