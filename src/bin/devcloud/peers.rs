//! Foreign servers in place of the broker and the store.

/// Foreign servers, which already run on this machine.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Peers {
    /// Use the MQTT 5 broker on this port instead of mosquitto: with TLS, and the certificates of `DIR/pki`.
    #[arg(long)]
    pub broker_port: Option<u16>,
    /// Pass requests on to the S3 store on this port: without TLS, with a bucket `kasa-care` and the key of
    /// `DIR/storage.toml`.
    #[arg(long)]
    pub store_port: Option<u16>,
    /// The region in signatures for that store.
    #[arg(long, default_value = "us-east-1")]
    pub store_region: String,
    /// Let our store accept objects without a checksum, as other programs send them: for comparisons with those.
    #[arg(long)]
    pub any_put: bool,
}
