//! Faults of a run.

use crate::domain::codec::Codec;
use crate::domain::input::{Fault, FaultKind};

pub(super) fn fault(kind: FaultKind, message: String) -> Fault {
    Fault { kind, message }
}

/// The codec of `source` is not that of the board file.
pub(super) fn wrong_codec(source: &str, wanted: Codec, given: Codec) -> Fault {
    let message = format!(
        "{source} gives {}, and the board says {}: set it to {}, or write video.codec = \"{}\" in the board file",
        given.name(),
        wanted.name(),
        wanted.name(),
        given.word()
    );
    fault(FaultKind::WrongCodec, message)
}
