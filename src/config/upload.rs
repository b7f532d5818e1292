//! The section `[upload]`: the object store, and its credentials.

use crate::domain::settings::UploadOrder;
use std::path::PathBuf;

/// The place of the bucket in a URL.
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
    /// Folders of each key after its date, without a slash at either end; default empty.
    pub postfix: String,
    /// `https://host[:port]`, or `http://` on loopback if `allow_plaintext` is set.
    pub endpoint: String,
    /// For the signature (AWS Signature Version 4); default `us-east-1`.
    pub region: String,
    /// PEM certificates of the authorities for the store's certificate.
    pub ca: PathBuf,
    /// The credentials of the store.
    pub credentials: StoreCredentials,
    /// The place of the bucket in the URL.
    pub addressing: Addressing,
    /// Objects get the tag `history-hours`; some stores refuse tags.
    pub tags: bool,
    /// Requests contain `x-amz-checksum-sha256` and request it; some stores refuse the header.
    pub checksums: bool,
    /// Bits a second.
    pub max_rate: Option<u64>,
    /// Which pending segment is sent first; default `newest`.
    pub order: UploadOrder,
    /// Permits an `http://` endpoint on loopback; for development only.
    pub allow_plaintext: bool,
    /// Parallel uploads: 1 or 2; default 2.
    pub concurrency: usize,
}

/// The credentials of the store: `upload.credentials`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreCredentials {
    /// A TOML file with an access key; read again when it changes. It need not exist yet.
    File(PathBuf),
    /// Temporary keys of the AWS IoT credentials provider, for the device's certificate.
    Iot(KeyProvider),
    /// None: the cloud signs each PUT.
    Grant,
}

/// The provider of temporary keys, and the certificate for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyProvider {
    /// From `iot`; must match its certificate.
    pub host: String,
    /// From `iot`; default 443.
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
