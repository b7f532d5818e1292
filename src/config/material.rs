//! Checks keys, certificates and credentials: that they exist, that only we can read them, and that their content is
//! valid. No secret is quoted in a message, and only the spool's key is kept.

use super::file::{self, Value, read_bounded};
use super::pem::{Pem, Unusable};
use super::problem::{Place, Problems};
use super::secret;
use super::sections::{SpoolKey, VerifyingKey};
use super::surroundings::Surroundings;
use super::words::Bears;
use crate::domain::time::Utc;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use std::path::Path;
use std::time::Duration;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509Version};

/// Maximum bytes of a file with credentials.
const MAX_CREDENTIALS: u64 = 16 * 1024;
/// Maximum bytes that are read of a spool key: enough to report its length.
const MAX_SPOOL_KEY: u64 = 4096;

/// SubjectPublicKeyInfo of an Ed25519 key up to the key itself (RFC 8410, 4).
const ED25519: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// A file to check: its path, its key, and the place of the key.
pub(super) struct Examined<'a> {
    pub(super) at: &'a Place,
    pub(super) key: &'a str,
    pub(super) path: &'a Path,
}

impl Examined<'_> {
    fn report(&self, problems: &mut Problems, problem: &str, hint: &str) {
        problems.push(self.at, self.key, format!("{}: {problem}", self.path.display()), hint);
    }

    fn read(&self, max: u64, problems: &mut Problems) -> Option<Vec<u8>> {
        match read_bounded(self.path, max) {
            Ok(bytes) => Some(bytes),
            Err(why) => {
                self.report(
                    problems,
                    &format!("cannot be read: {why}"),
                    "check the path and its permissions",
                );
                None
            }
        }
    }

    fn pem(&self, problems: &mut Problems) -> Option<Pem> {
        self.usable(Pem::read(self.path), problems)
    }

    fn usable<T>(&self, found: Result<T, Unusable>, problems: &mut Problems) -> Option<T> {
        found.map_err(|why| self.report(problems, &why.to_string(), why.hint())).ok()
    }

    /// Checks owner and mode of a secret.
    fn guarded(&self, around: &Surroundings, problems: &mut Problems) {
        let Ok(found) = std::fs::metadata(self.path) else {
            return;
        };
        if let Err(secret::Unguarded { problem, hint }) = secret::guarded(self.path, &found, around) {
            self.report(problems, &problem, &hint);
        }
    }
}

/// Checks a file of authorities: at least one certificate, each valid as a root.
pub(super) fn authorities(examined: &Examined<'_>, problems: &mut Problems) {
    if let Some(pem) = examined.pem(problems) {
        let _roots = examined.usable(pem.roots(), problems);
    }
}

/// Checks the device's certificate and private key: the certificate has the device's name, and the key is
/// protected and belongs to the certificate.
pub(super) fn identity(
    cert: Option<&Examined<'_>>,
    key: Option<&Examined<'_>>,
    device: Option<(&str, Bears)>,
    around: &Surroundings,
    problems: &mut Problems,
) {
    let spki = cert.and_then(|cert| device_certificate(cert, device, problems));
    let Some(key) = key else {
        return;
    };
    let Some(pem) = key.pem(problems) else {
        return;
    };
    key.guarded(around, problems);
    let Some(der) = key.usable(pem.private_key(), problems) else {
        return;
    };
    let Ok(signer) = rustls::crypto::ring::default_provider().key_provider.load_private_key(der) else {
        key.report(
            problems,
            "is a kind of private key that is not supported",
            "reissue certificate and key with ECDSA on P-256 or P-384 (not P-521), Ed25519, or RSA of at least 2048 bits",
        );
        return;
    };
    if let (Some(spki), Some(own)) = (spki, signer.public_key()) {
        if own.as_ref() != spki.as_slice() {
            key.report(
                problems,
                "does not belong to the certificate of mqtt.cert",
                "use a certificate and a key that were issued together",
            );
        }
    }
}

/// Checks the first certificate of the chain. Returns its SubjectPublicKeyInfo, if it can be read.
fn device_certificate(
    cert: &Examined<'_>,
    device: Option<(&str, Bears)>,
    problems: &mut Problems,
) -> Option<Vec<u8>> {
    let chain = cert.usable(cert.pem(problems)?.certificates(), problems)?;
    let Ok((_, parsed)) = X509Certificate::from_der(chain.first()?) else {
        cert.report(problems, "contains a certificate that cannot be read as X.509", "");
        return None;
    };
    match device {
        Some((_, Bears::Anything)) => {}
        Some((device, Bears::San)) => {
            if !bears_in_san(&parsed, device) {
                let problem = format!("no name in its subjectAltName is the device's id, \"{device}\"");
                let hint = "a DNS name, or the last part of a URI; or set device.identity";
                cert.report(problems, &problem, hint);
            }
        }
        Some((device, Bears::CommonName)) => common_name(cert, &parsed, Some(device), problems),
        None => common_name(cert, &parsed, None, problems),
    }
    Some(parsed.public_key().raw.to_vec())
}

fn common_name(
    cert: &Examined<'_>,
    parsed: &X509Certificate<'_>,
    device: Option<&str>,
    problems: &mut Problems,
) {
    let names: Vec<&str> =
        parsed.subject().iter_common_name().map(|name| name.as_str().unwrap_or_default()).collect();
    match (names.as_slice(), device) {
        ([name], Some(device)) if *name != device => {
            let problem = format!("its common name is \"{name}\", but device.id is \"{device}\"");
            let hint = "each camera has its own certificate: correct one of the two, or set device.identity if the issuer chooses the name";
            cert.report(problems, &problem, hint);
        }
        ([_], _) => {}
        (_, _) => cert.report(problems, "must have exactly one common name, the device's id", ""),
    }
}

fn bears_in_san(parsed: &X509Certificate<'_>, device: &str) -> bool {
    let Ok(Some(san)) = parsed.subject_alternative_name() else { return false };
    san.value.general_names.iter().any(|name| {
        if let GeneralName::DNSName(name) = name {
            *name == device
        } else if let GeneralName::URI(uri) = name {
            uri.rsplit(['/', ':']).next() == Some(device)
        } else {
            false
        }
    })
}

/// Checks a password file: one line that others cannot read. It is never quoted.
pub(super) fn password(examined: &Examined<'_>, around: &Surroundings, problems: &mut Problems) {
    let Some(bytes) = examined.read(MAX_CREDENTIALS, problems) else { return };
    examined.guarded(around, problems);
    if bytes.trim_ascii_end().is_empty() {
        examined.report(problems, "is empty", "one line: the password");
    }
}

/// The validity of the device's certificate, `(from, until)`.
pub(super) fn validity(path: &Path) -> Option<(Utc, Utc)> {
    let chain = Pem::read(path).ok()?.certificates().ok()?;
    let (_, parsed) = X509Certificate::from_der(chain.first()?).ok()?;
    let validity = parsed.validity();
    Some((Utc::from_secs(validity.not_before.timestamp()), Utc::from_secs(validity.not_after.timestamp())))
}

/// Reasons why many brokers refuse this certificate, and what to reissue.
pub(super) fn doubts(path: &Path) -> Vec<&'static str> {
    let chain = Pem::read(path).and_then(|pem| pem.certificates()).unwrap_or_default();
    let Some(Ok((_, parsed))) = chain.first().map(|der| X509Certificate::from_der(der)) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    if parsed.version() != X509Version::V3 {
        found.push("is not of X.509 version 3, and many brokers refuse it: reissue it as version 3");
    }
    if parsed.is_ca() {
        found.push("is a certificate of an authority (CA:TRUE): reissue it for a device, CA:FALSE");
    }
    if let Ok(Some(usage)) = parsed.extended_key_usage() {
        if !(usage.value.client_auth || usage.value.any) {
            found.push("is not for a client: reissue it with extendedKeyUsage clientAuth");
        }
    }
    found
}

/// The warning for this validity at `now`, if any.
pub(super) fn judge_validity((from, until): (Utc, Utc), now: Utc) -> Option<String> {
    let month = Duration::from_secs(30 * 86_400);
    if now < from {
        Some(format!("is not valid before {from} (or the clock is wrong)"))
    } else if now >= until {
        Some(format!("expired at {until} (or the clock is wrong)"))
    } else if until.since(now) < month {
        Some(format!("expires soon, at {until}"))
    } else {
        None
    }
}

/// Reads the keys that may sign commands. The `kid` of each is its file name without the extension.
pub(super) fn verifying_keys(keys: &[Examined<'_>], problems: &mut Problems) -> Vec<VerifyingKey> {
    let mut found: Vec<VerifyingKey> = Vec::new();
    for examined in keys {
        let kid = examined.path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if kid.is_empty() || kid.len() > 64 || !kid.chars().all(plain) {
            examined.report(
                problems,
                "its name cannot be a kid",
                "name it with 1 to 64 of A-Z a-z 0-9 - _ .",
            );
        } else if found.iter().any(|known| known.kid == kid) {
            examined.report(
                problems,
                &format!("the kid \"{kid}\" is named twice"),
                "the kid is the file's name",
            );
        }
        let Some(pem) = examined.pem(problems) else {
            continue;
        };
        match ed25519(&pem) {
            Ok(key) => found.push(VerifyingKey { kid: kid.to_owned(), key }),
            Err((problem, hint)) => examined.report(problems, problem, hint),
        }
    }
    found
}

fn ed25519(pem: &Pem) -> Result<[u8; 32], (&'static str, &'static str)> {
    if pem.private_key().is_ok() {
        let hint = "the camera must have the public key only: replace it, and keep the private one away from cameras";
        return Err(("contains a private key", hint));
    }
    let Ok(spki) = SubjectPublicKeyInfoDer::from_pem_slice(pem.bytes()) else {
        return Err(("contains no public key", "it must be PEM: -----BEGIN PUBLIC KEY-----"));
    };
    spki.as_ref()
        .strip_prefix(&ED25519)
        .and_then(|key| key.try_into().ok())
        .ok_or(("is not an Ed25519 key", "openssl pkey -in signer.key -pubout writes one"))
}

/// Reads the spool's key: 32 bytes, not encoded.
pub(super) fn spool_key(
    examined: &Examined<'_>,
    around: &Surroundings,
    problems: &mut Problems,
) -> Option<SpoolKey> {
    let bytes = examined.read(MAX_SPOOL_KEY, problems)?;
    examined.guarded(around, problems);
    let hint = "32 random bytes, not text: head -c 32 /dev/urandom writes them";
    let Ok(key) = <[u8; 32]>::try_from(bytes.as_slice()) else {
        examined.report(problems, &format!("contains {} bytes, but a key has 32", bytes.len()), hint);
        return None;
    };
    let first = key.first();
    if key.iter().all(|byte| Some(byte) == first) {
        examined.report(problems, "contains one byte 32 times, which is not a key", hint);
        return None;
    }
    Some(SpoolKey(key))
}

/// Checks the store's credentials: the texts `access_key_id`, `secret_access_key` and optionally
/// `session_token`. Only form, owner and mode are checked; the content is never quoted.
pub(super) fn credentials(examined: &Examined<'_>, around: &Surroundings, problems: &mut Problems) {
    let Some(bytes) = examined.read(MAX_CREDENTIALS, problems) else {
        return;
    };
    examined.guarded(around, problems);
    let Ok(text) = String::from_utf8(bytes) else {
        examined.report(problems, "is not UTF-8", "");
        return;
    };
    let whole = Place::file(examined.path);
    let hint =
        "it contains access_key_id, secret_access_key and optionally session_token, each a text in quotes";
    let mut syntax = Problems::default();
    let document = file::parse(&whole.file, &text, &mut syntax);
    if let Some(first) = syntax.iter().next() {
        let at = Place { line: first.line, column: first.column, ..whole };
        problems.push(&at, "", "is not valid TOML", hint);
        return;
    }
    for entry in &document.root.entries {
        match (entry.key.as_str(), &entry.value) {
            ("access_key_id" | "secret_access_key" | "session_token", Value::Text(text)) => {
                if text.is_empty() || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
                    problems.push(&entry.at, &entry.key, "is empty or contains a space", hint);
                }
            }
            ("access_key_id" | "secret_access_key" | "session_token", other) => {
                problems.push(&entry.at, &entry.key, format!("is {}, but must be text", other.kind()), hint);
            }
            // Not named: it may be a credential in the wrong place.
            (_, _) => problems.push(&entry.key_at, "", "unknown key", hint),
        }
    }
    for key in ["access_key_id", "secret_access_key"] {
        if document.root.entry(key).is_none() {
            problems.push(&whole, key, "is missing", hint);
        }
    }
}
