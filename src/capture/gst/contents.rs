//! The format of a file, by its first bytes.

use crate::capture::pipeline::Container;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// The content of a file.
pub(super) enum Contents {
    Of(Container),
    TransportStream,
}

/// `None` if its first bytes do not show it, or it is not a regular file.
pub(super) fn contents(path: &Path) -> Option<Contents> {
    // Opening a FIFO would wait for a writer.
    let mut file = if path.is_file() { File::open(path).ok()? } else { return None };
    let mut head = [0; 189];
    file.read_exact(&mut head).ok()?;
    match head {
        [0x1a, 0x45, 0xdf, 0xa3, ..] => Some(Contents::Of(Container::Matroska)),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => Some(Contents::Of(Container::Mp4)),
        [0, 0, 1, ..] | [0, 0, 0, 1, ..] => Some(Contents::Of(Container::ByteStream)),
        // The start of two packets (ISO/IEC 13818-1, 2.4.3.2).
        [0x47, .., 0x47] => Some(Contents::TransportStream),
        _ => None,
    }
}
