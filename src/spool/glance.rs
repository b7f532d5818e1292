//! A sealed segment, identified by its name, its front and the index at its end: a start finds thousands of
//! them, and on slow flash each read counts. Damage in between is found when the file is read completely, to
//! be sent.

use super::crypt::{Encryption, is_encrypted};
use super::decrypt;
use crate::disk::{Fs, Handle};
use crate::domain::recovery::{Footage, Whole};
use crate::domain::segment::Record;
use crate::fmp4;
use serde_json::{Map, Value};
use std::io;
use std::path::Path;

/// Bytes that are read at each place. The front of a segment has about 2 KiB, and so has the index of half a
/// minute.
const PIECE: usize = 4096;
/// Maximum number of chunks after the last listed one that are read: those of a GOP.
const MAX_STEPS: usize = 64;
/// Maximum size of an index, in bytes: with a longer one the file is read completely.
const MAX_INDEX: u64 = 256 * 1024;

/// The duration of a segment in nanoseconds, from the start of the next one of its span; `None` if that is
/// unknown. A segment that was cut back is shorter: an encrypted one does not show that at its front, and
/// counts with its former duration.
pub(super) type ByNext<'a> = &'a dyn Fn(&Record) -> Option<u64>;

/// What a file of `len` bytes shows at its two ends. `None` if that is not enough: it must then be read
/// completely.
///
/// # Errors
/// Those of the disk.
pub(super) fn glance(
    fs: &dyn Fs,
    file: &Handle,
    len: u64,
    encryption: &Encryption,
    by_next: ByNext<'_>,
) -> io::Result<Option<Footage>> {
    let front = piece(fs, file, 0, len.min(PIECE as u64))?;
    if is_encrypted(&front) {
        let whole = |head: &fmp4::Head| Some(Whole { end: len, duration: by_next(&head.record)? });
        return Ok(decrypt::first(&front, encryption).and_then(|plain| {
            let head = fmp4::read_head(&plain)?;
            let whole = whole(&head);
            footage(head, whole)
        }));
    }
    let Some(head) = fmp4::read_head(&front) else { return Ok(None) };
    let last = piece(fs, file, len.saturating_sub(PIECE as u64), len.min(PIECE as u64))?;
    let Some(size) = fmp4::tail_len(&last).filter(|size| *size <= len.min(MAX_INDEX)) else {
        return Ok(None);
    };
    let index = match usize::try_from(size).ok().and_then(|size| last.len().checked_sub(size)) {
        Some(from) => last.get(from..).unwrap_or_default().to_vec(),
        None => piece(fs, file, len - size, size)?,
    };
    let Some(tail) = fmp4::read_tail(&index, len, head.init.video) else { return Ok(None) };
    let scale = u128::from(head.init.video.timescale.max(1));
    let nanos = |ticks: u64| u64::try_from(u128::from(ticks) * 1_000_000_000 / scale).unwrap_or(u64::MAX);
    // Its last GOP is about as long as the others, unless something was cut off.
    let to_last = nanos(tail.last.saturating_sub(tail.first));
    let longest = nanos(tail.longest.saturating_mul(5) / 4);
    let is_likely = |duration: &u64| (to_last..=to_last.saturating_add(longest)).contains(duration);
    let duration = match by_next(&head.record).filter(is_likely) {
        Some(duration) => Some(duration),
        None => end(fs, file, &head, tail)?.and_then(|end| end.checked_sub(tail.first)).map(nanos),
    };
    let whole = duration.map(|duration| Whole { end: tail.mfra, duration });
    Ok(footage(head, whole))
}

/// The members of a sealed segment's record as they were written, including unknown ones; `None` if they
/// cannot be read.
pub(super) fn members(fs: &dyn Fs, path: &Path, encryption: &Encryption) -> Option<Map<String, Value>> {
    let file = fs.open_read(path).ok()?;
    let front = piece(fs, &file, 0, PIECE as u64).ok()?;
    if is_encrypted(&front) {
        return fmp4::record_members(&decrypt::first(&front, encryption)?);
    }
    fmp4::record_members(&front)
}

/// When the last frame ends, in ticks: reads the front of each chunk from the last listed one on. `None` if
/// they do not reach the index.
fn end(fs: &dyn Fs, file: &Handle, head: &fmp4::Head, tail: fmp4::Tail) -> io::Result<Option<u64>> {
    let (mut at, mut over) = (tail.last_moof, None);
    for _ in 0..MAX_STEPS {
        let wanted = tail.mfra.saturating_sub(at).min(PIECE as u64);
        let Some(step) = fmp4::read_step(&head.init, &piece(fs, file, at, wanted)?, at) else {
            return Ok(None);
        };
        over = step.over.or(over);
        at = step.end;
        if at >= tail.mfra {
            return Ok(over.filter(|_| at == tail.mfra));
        }
    }
    Ok(None)
}

fn footage(head: fmp4::Head, whole: Option<Whole>) -> Option<Footage> {
    let fmp4::Head { init, record } = head;
    whole.map(|whole| Footage { record, codecs: init.codecs, complete: true, whole: Some(whole) })
}

fn piece(fs: &dyn Fs, file: &Handle, at: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
    let read = fs.read_at(file, at, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}
