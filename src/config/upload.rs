//! The section `[upload]`: the object store, and by what right objects are stored.

use super::UploadOrder;
use std::path::PathBuf;

/// How a bucket stands in a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addressing {
    /// `https://endpoint/bucket/key`
    Path,
    /// `https://bucket.endpoint/key`
    Virtual,
}

/// The section `[upload]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Upload {
    /// The host part of `upload.url`.
    pub bucket: String,
    /// Empty, or ends with `/`.
    pub prefix: String,
    /// Folders of each key behind its date, without a slash at either end; empty unless told.
    pub postfix: String,
    /// `https://host[:port]`, or `http://` on loopback where `allow_plaintext` is set.
    pub endpoint: String,
    /// For the signature (AWS Signature Version 4); `us-east-1` unless told.
    pub region: String,
    /// PEM certificates of the authorities that may vouch for the store.
    pub ca: PathBuf,
    /// By what right objects are stored.
    pub credentials: StoreCredentials,
    /// How the bucket stands in the URL.
    pub addressing: Addressing,
    /// Objects get the tag `history-hours`; some stores refuse tags.
    pub tags: bool,
    /// Requests carry `x-amz-checksum-sha256` and ask for it; some stores refuse the header.
    pub checksums: bool,
    /// Bits a second.
    pub max_rate: Option<u64>,
    /// Which pending segment goes first; `newest` unless told.
    pub order: UploadOrder,
    /// Permits an `http://` endpoint on loopback; for development only.
    pub allow_plaintext: bool,
    /// 1 or 2; 2 unless told.
    pub concurrency: usize,
}

/// By what right objects are stored: `upload.credentials`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreCredentials {
    /// A TOML file with an access key; read anew when it changes. It need not be there yet.
    File(PathBuf),
    /// Temporary keys of the AWS IoT credentials provider, for the device's certificate.
    Iot(KeyProvider),
    /// None: the cloud signs each PUT.
    Grant,
}

/// Where temporary keys of the store come from, and what they are asked for with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyProvider {
    /// From `iot`; its certificate must bear it.
    pub host: String,
    /// From `iot`; 443 unless told.
    pub port: u16,
    /// From `iot`: `/role-aliases/ALIAS/credentials`.
    pub path: String,
    /// `mqtt.ca`.
    pub ca: PathBuf,
    /// `mqtt.cert`, read for each request.
    pub cert: PathBuf,
    /// `mqtt.key`, read for each request.
    pub key: PathBuf,
    /// The name of the thing: `device.id`.
    pub thing: String,
}
