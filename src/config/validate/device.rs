//! The sections `[device]` and `[identity]`, and `privacy.latch`.

use super::check::Check;
use crate::config::address;
use crate::config::privacy::{LatchDevice, PrivacyLatch};
use crate::config::sections::{Claim, Device, Enrolment};

/// Maximum bytes of `sockaddr_un.sun_path` without its final zero.
const MAX_SOCKET_PATH: usize = 107;

/// The file that an enrolment makes in the state directory: private key and certificate chain.
pub const IDENTITY_FILE: &str = "identity.pem";

impl Check<'_> {
    pub(super) fn device(&mut self) -> Option<Device> {
        let id = self.merged.text("device.id").and_then(|(id, at)| {
            let good = is_device_id(id);
            if !good {
                let hint = "it is part of topics, object keys and the certificate's name";
                self.problems.push(at, "device.id", "must be 1 to 64 of A-Z a-z 0-9 - _", hint);
            }
            good.then(|| id.to_owned())
        });
        let state_dir = self.path("device.state_dir");
        let socket = self.path("device.socket");
        if let Some((path, at)) = &socket {
            if path.as_os_str().len() > MAX_SOCKET_PATH {
                let problem = format!("is longer than {MAX_SOCKET_PATH} bytes, the limit for a socket");
                self.problems.push(at, "device.socket", problem, "choose a shorter path, such as under /run");
            }
        }
        Some(Device { id: id?, state_dir: state_dir?.0, socket: socket?.0 })
    }

    pub(super) fn identity(&mut self) -> Option<Enrolment> {
        let (url, at) = self.merged.text("identity.est")?;
        let server = match address::est(url) {
            Ok(server) => Some(server),
            Err((problem, hint)) => {
                self.problems.push(at, "identity.est", problem, hint);
                None
            }
        };
        let ca_key = if self.merged.text("identity.ca").is_some() { "identity.ca" } else { "mqtt.ca" };
        let ca = self.path(ca_key);
        let (cert, key) = (self.path("identity.cert"), self.path("identity.key"));
        let password = self.path("identity.password");
        let claim = match (cert, key, password) {
            (None, None, None) => None,
            (Some((cert, _)), Some((key, _)), None) => Some(Claim::Certificate { cert, key }),
            (None, None, Some((password, _))) => Some(Claim::Password(password)),
            (_, _, _) => {
                let problem = "a claim is either identity.cert with identity.key, or identity.password";
                self.problems.push(at, "identity", problem, "");
                None
            }
        };
        let (authority, path) = server?;
        Some(Enrolment { host: authority.host, port: authority.port.unwrap_or(443), path, ca: ca?.0, claim })
    }

    pub(super) fn latch(&mut self) -> Option<PrivacyLatch> {
        let (kind, kind_at) = self.merged.word("privacy.latch.kind")?;
        let (device, name) = (self.path("privacy.latch.device"), self.merged.text("privacy.latch.name"));
        let hint =
            "stable paths are in /dev/input/by-path and by-id, names in /sys/class/input/event*/device/name";
        let device = match (device, name) {
            (Some((path, _)), None) => LatchDevice::Path(path),
            (None, Some((name, _))) => LatchDevice::Named(name.to_owned()),
            (Some((_, at)), Some(_)) => {
                self.problems.push(at, "privacy.latch.device", "both a path and a name are given", hint);
                return None;
            }
            (None, None) => {
                self.problems.push(
                    kind_at,
                    "privacy.latch.device",
                    "neither a path nor a name is given",
                    hint,
                );
                return None;
            }
        };
        let code = u16::try_from(self.merged.number("privacy.latch.code")?.0).ok()?;
        Some(PrivacyLatch { device, kind, code })
    }
}

pub(super) fn is_device_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}
