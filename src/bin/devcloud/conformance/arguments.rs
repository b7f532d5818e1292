//! The arguments that `verify` and `watch` share: the broker, the client's credentials, the store, and the report.

use super::client::Place;
use super::output::Output;
use super::party::{Credentials, Party, tls};
use crate::http::{Http, host_and_port};
use crate::store_key::StoreKey;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Clone, Debug, clap::Args)]
pub(super) struct Common {
    /// The broker.
    #[arg(long, value_name = "HOST:PORT")]
    broker: String,
    /// CA certificates of the broker, in PEM. No others are trusted.
    #[arg(long, value_name = "FILE")]
    pub(super) ca: PathBuf,
    /// Client certificate for the broker, in PEM.
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    /// Private key of the client certificate, in PEM.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// User name for the broker.
    #[arg(long)]
    user: Option<String>,
    /// File with the password of the user.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// The store, as in `upload.endpoint`.
    #[arg(long, value_name = "URL")]
    pub(super) store: Option<String>,
    /// The bucket, as in `upload.url`.
    #[arg(long, default_value = "kasa-care")]
    pub(super) bucket: String,
    /// The prefix of keys, as in `upload.url`: empty, or ends with a slash.
    #[arg(long, default_value = "v1/")]
    pub(super) prefix: String,
    /// The region, as in `upload.region`.
    #[arg(long, default_value = "us-east-1")]
    region: String,
    /// CA certificates of the store, in PEM [default: those of the broker].
    #[arg(long, value_name = "FILE")]
    store_ca: Option<PathBuf>,
    /// Connect to this address for the store, instead of the host in its URL.
    #[arg(long, value_name = "HOST:PORT")]
    store_connect: Option<String>,
    /// A key of the store, in the form of `upload.credentials`.
    #[arg(long, value_name = "FILE", requires = "store")]
    store_credentials: Option<PathBuf>,
    /// How many seconds to wait for each answer.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(super) within: u64,
    #[command(flatten)]
    pub(super) output: Output,
}

impl Common {
    /// Where the broker is.
    ///
    /// # Errors
    /// `--broker` has another form.
    pub(super) fn place(&self) -> Result<Place, String> {
        let (host, port) = host_and_port(&self.broker)?;
        Ok(Place { host, port, within: self.within() })
    }

    /// The client that `--cert`, `--key`, `--user` and `--password-file` describe.
    ///
    /// # Errors
    /// A file that cannot be used, or credentials that are incomplete.
    pub(super) fn party(&self, client: &str) -> Result<Party, String> {
        let credentials = Credentials {
            cert: self.cert.as_deref(),
            key: self.key.as_deref(),
            user: self.user.as_deref(),
            password_file: self.password_file.as_deref(),
        };
        Party::new(client, &self.ca, &credentials)
    }

    /// What speaks to the store.
    ///
    /// # Errors
    /// A file that cannot be used.
    pub(super) fn http(&self) -> Result<Http, String> {
        let ca: &Path = self.store_ca.as_deref().unwrap_or(&self.ca);
        Ok(Http { tls: tls(ca, None)?, connect: self.store_connect.clone(), within: self.within() })
    }

    /// The key of the store, if one is given.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(super) fn store_key(&self) -> Result<Option<StoreKey>, String> {
        match (&self.store_credentials, &self.store) {
            (Some(file), Some(store)) => StoreKey::read(file, store, &self.bucket, &self.region).map(Some),
            (Some(_) | None, _) => Ok(None),
        }
    }

    fn within(&self) -> Duration {
        Duration::from_secs(self.within)
    }
}
