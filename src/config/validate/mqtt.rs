//! The section `[mqtt]`.

use super::check::Check;
use super::device::{IDENTITY_FILE, is_device_id};
use crate::config::address::{self, Authority};
use crate::config::material::{self, Examined};
use crate::config::problem::Place;
use crate::config::sections::{Mqtt, MqttLogin};
use crate::config::words::Bears;
use std::path::{Path, PathBuf};

/// The protocol name of AWS IoT for MQTT with client certificates on port 443.
const AWS_ALPN: &str = "x-amzn-mqtt-ca";
/// Maximum bytes of a protocol name (RFC 7301, 3.1).
const MAX_ALPN: usize = 255;
/// Maximum characters of a user name.
const MAX_USERNAME: usize = 256;

impl<'a> Check<'a> {
    pub(super) fn mqtt(&mut self) -> Option<Mqtt> {
        let broker = self.merged.text("mqtt.url").and_then(|(url, at)| match address::broker(url) {
            Ok(broker) => Some(broker),
            Err((problem, hint)) => {
                self.problems.push(at, "mqtt.url", problem, hint);
                None
            }
        });
        let ca = self.authorities("mqtt.ca");
        let (cert, key) = (self.identity_file("mqtt.cert"), self.identity_file("mqtt.key"));
        let device = self.merged.text("device.id").map(|(id, _)| id).filter(|id| is_device_id(id));
        let bears = self.merged.word("device.identity").map_or(Bears::CommonName, |(bears, _)| bears);
        let enrolled = |file: &Option<(PathBuf, &Place)>| {
            let path = file.as_ref().map(|(path, _)| path.as_path());
            path.and_then(Path::file_name).is_none_or(|name| name != IDENTITY_FILE)
                || path.is_some_and(Path::exists)
        };
        if self.merged.text("identity.est").is_some() && !enrolled(&cert) {
            if let Some((path, at)) = &cert {
                let problem = format!("{}: the device has no certificate yet", path.display());
                self.problems.push(at, "identity", problem, "run kasacamd enroll --config FILE");
            }
        } else {
            material::identity(
                cert.as_ref().map(|(path, at)| Examined { at, key: "mqtt.cert", path }).as_ref(),
                key.as_ref().map(|(path, at)| Examined { at, key: "mqtt.key", path }).as_ref(),
                device.map(|device| (device, bears)),
                self.around,
                self.problems,
            );
        }
        let login = self.login();
        let broker = broker?;
        let alpn = self.alpn(&broker);
        Some(Mqtt {
            port: broker.port.unwrap_or(8883),
            host: broker.host,
            ca: ca?,
            cert: cert?.0,
            key: key?.0,
            keep_alive: self.merged.duration("mqtt.keep_alive")?.0,
            telemetry: self.merged.duration("mqtt.telemetry")?.0,
            alpn,
            login,
            reconnect_spread: self.merged.duration("mqtt.reconnect_spread")?.0,
        })
    }

    /// The ALPN protocol; the word `none` means no protocol.
    fn alpn(&mut self, broker: &Authority) -> Option<String> {
        let Some((alpn, at)) = self.merged.text("mqtt.alpn") else {
            let aws = [".amazonaws.com", ".amazonaws.com.cn"].iter().any(|end| broker.host.ends_with(end));
            return (aws && broker.port == Some(443)).then(|| String::from(AWS_ALPN));
        };
        if alpn.len() > MAX_ALPN || !alpn.chars().all(|c| c.is_ascii_graphic()) {
            let problem = format!("must be 1 to {MAX_ALPN} printable characters without spaces");
            self.problems.push(
                at,
                "mqtt.alpn",
                problem,
                "\"mqtt\" is the registered name, \"none\" requests no protocol",
            );
            return None;
        }
        Some(alpn.to_owned()).filter(|alpn| alpn != "none")
    }

    fn login(&mut self) -> Option<MqttLogin> {
        let password = self.path("mqtt.password");
        if let Some((path, at)) = &password {
            material::password(&Examined { at, key: "mqtt.password", path }, self.around, self.problems);
        }
        let Some((username, at)) = self.merged.text("mqtt.username") else {
            if let Some((_, at)) = password {
                let hint = "add mqtt.username, or remove the password";
                self.problems.push(at, "mqtt.password", "is not used without a user name", hint);
            }
            return None;
        };
        let length = username.chars().count();
        if !(1..=MAX_USERNAME).contains(&length) || username.chars().any(char::is_control) {
            let problem = format!("must be 1 to {MAX_USERNAME} characters");
            self.problems.push(at, "mqtt.username", problem, "");
        }
        Some(MqttLogin { username: username.to_owned(), password: password.map(|(path, _)| path) })
    }

    /// A file of the device's identity: as configured, or the file of an enrolment.
    fn identity_file(&mut self, key: &str) -> Option<(PathBuf, &'a Place)> {
        if self.merged.text(key).is_some() || self.merged.is_bad(key) {
            return self.path(key);
        }
        let (_, at) = self.merged.text("identity.est")?;
        let (dir, _) = self.path("device.state_dir")?;
        Some((dir.join(IDENTITY_FILE), at))
    }
}
