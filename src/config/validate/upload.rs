//! The section `[upload]`.

use super::check::Check;
use crate::config::address;
use crate::config::material::{self, Examined};
use crate::config::sections::{Device, Mqtt};
use crate::config::upload::{KeyProvider, StoreCredentials, Upload};

impl Check<'_> {
    pub(super) fn upload(&mut self, device: Option<&Device>, mqtt: Option<&Mqtt>) -> Option<Upload> {
        let bucket = self.merged.text("upload.url").and_then(|(url, at)| match address::bucket(url) {
            Ok(bucket) => Some(bucket),
            Err(problem) => {
                self.problems.push(at, "upload.url", problem, "write it like \"s3://kasa-care/v1/\"");
                None
            }
        });
        let allow_plaintext = self.merged.flag("upload.allow_plaintext").map(|(flag, _)| flag);
        let endpoint = self.endpoint(allow_plaintext.unwrap_or(false));
        let region = self.merged.text("upload.region").and_then(|(region, at)| {
            let good = region.len() <= 32
                && region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
            if !good {
                self.problems.push(
                    at,
                    "upload.region",
                    "must be 1 to 32 of a-z 0-9 -",
                    "such as \"us-east-1\"",
                );
            }
            good.then(|| region.to_owned())
        });
        let postfix = self.postfix();
        let ca = self.authorities("upload.ca");
        let credentials = self.store_credentials(device, mqtt);
        let order = self.merged.word("upload.order")?.0;
        let addressing = self.merged.word("upload.addressing")?.0;
        let (bucket, prefix) = bucket?;
        Some(Upload {
            addressing,
            tags: self.merged.flag("upload.tags")?.0,
            checksums: self.merged.flag("upload.checksums")?.0,
            bucket,
            prefix,
            postfix: postfix?,
            endpoint: endpoint?,
            region: region?,
            ca: ca?,
            credentials: credentials?,
            max_rate: self.merged.number("upload.max_rate").map(|(rate, _)| rate),
            order,
            allow_plaintext: allow_plaintext?,
            concurrency: usize::try_from(self.merged.number("upload.concurrency")?.0).ok()?,
        })
    }

    fn postfix(&mut self) -> Option<String> {
        let Some((postfix, at)) = self.merged.text("upload.postfix") else { return Some(String::new()) };
        let good = address::are_folders(postfix);
        if !good {
            let problem =
                "has an empty folder, a slash at an end, or characters other than A-Z a-z 0-9 - _ . !";
            self.problems.push(at, "upload.postfix", problem, "write it like \"front-door\"");
        }
        good.then(|| postfix.to_owned())
    }

    fn store_credentials(
        &mut self,
        device: Option<&Device>,
        mqtt: Option<&Mqtt>,
    ) -> Option<StoreCredentials> {
        const KEY: &str = "upload.credentials";
        if let Some((grant, at)) = self.merged.flag("upload.credentials.grant") {
            if !grant {
                let hint = "remove grant, and give a file or iot";
                self.problems.push(at, KEY, "grant = false leaves no credentials", hint);
            }
            return grant.then_some(StoreCredentials::Grant);
        }
        if let Some((url, at)) = self.merged.text("upload.credentials.iot") {
            let (authority, path) = match address::key_provider(url) {
                Ok(found) => found,
                Err((problem, hint)) => {
                    self.problems.push(at, KEY, problem, hint);
                    return None;
                }
            };
            let (device, mqtt) = (device?, mqtt?);
            return Some(StoreCredentials::Iot(KeyProvider {
                host: authority.host,
                port: authority.port.unwrap_or(443),
                path,
                ca: mqtt.ca.clone(),
                cert: mqtt.cert.clone(),
                key: mqtt.key.clone(),
                thing: device.id.clone(),
            }));
        }
        let (path, at) = self.path("upload.credentials.file")?;
        // A missing file must not prevent recording.
        if path.exists() {
            let examined = Examined { at, key: KEY, path: &path };
            material::credentials(&examined, self.around, self.problems);
        }
        Some(StoreCredentials::File(path))
    }

    fn endpoint(&mut self, allow_plaintext: bool) -> Option<String> {
        let (url, at) = self.merged.text("upload.endpoint")?;
        let (problem, hint) = match address::endpoint(url) {
            Ok((true, _)) => return Some(url.trim_end_matches('/').to_owned()),
            Ok((false, authority)) if allow_plaintext && authority.is_loopback() => {
                return Some(url.trim_end_matches('/').to_owned());
            }
            Ok((false, authority)) if authority.is_loopback() => (
                "is not encrypted",
                "for development, upload.allow_plaintext = true permits it on this machine",
            ),
            Ok((false, _)) => ("is not encrypted", "footage leaves the camera over https:// only"),
            Err(refusal) => refusal,
        };
        self.problems.push(at, "upload.endpoint", problem, hint);
        None
    }
}
