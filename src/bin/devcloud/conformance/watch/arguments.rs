//! The arguments of `watch`.

use super::super::arguments::Common;
use std::path::PathBuf;

/// Watches a camera, and compares it with the contract, rule by rule. It only listens and reads, except with `--flip`.
#[derive(Debug, clap::Args)]
pub(crate) struct Watch {
    /// Id of the camera. `--cert`, `--key`, `--user` and `--password-file` are those of somebody who may hear it; with
    /// `--flip`, who may also publish its commands.
    #[arg(long)]
    pub(super) device: String,
    #[command(flatten)]
    pub(in crate::conformance) common: Common,
    /// How many seconds to watch; with `--flip`, in each state.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(super) seconds: u64,
    /// How many seconds to wait after that until what was captured is stored: a segment, and the time to send it.
    #[arg(long, default_value_t = 45, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub(super) settle: u64,
    /// `mqtt.telemetry` of the camera, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(super) telemetry: u64,
    /// Order the camera not to record, to record, and to record under other plans; and send commands that it must
    /// refuse. At the end, the choice and the lease say what they said before, with higher versions.
    #[arg(long, requires = "signer")]
    pub(super) flip: bool,
    /// The private key (Ed25519, PKCS#8) that signs these commands.
    #[arg(long, value_name = "FILE")]
    pub(super) signer: Option<PathBuf>,
    /// The `kid` of the signing key [default: the file's stem].
    #[arg(long)]
    pub(super) kid: Option<String>,
    /// As in `upload.postfix`.
    #[arg(long, default_value = "")]
    pub(super) postfix: String,
}
