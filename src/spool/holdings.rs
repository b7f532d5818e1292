//! The files of the spool that are whole and known, by serial and by span. No I/O.

use crate::domain::segment::{Record, Segment, Serial, SpoolKind, SpoolName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The span under way, and the file that grows.
#[derive(Clone, Copy)]
pub(super) struct Live<'a> {
    pub span: &'a str,
    pub serial: Serial,
}

struct HeldFile {
    kind: SpoolKind,
    bytes: u64,
    span: Arc<str>,
}

#[derive(Default)]
struct HeldSpan {
    footage: BTreeSet<Serial>,
    end: Option<Serial>,
    /// Counter and start of the earliest segment that was ever known of it.
    earliest: Option<(u64, u64)>,
}

/// The known files.
#[derive(Default)]
pub(super) struct Holdings {
    files: BTreeMap<Serial, HeldFile>,
    spans: BTreeMap<Arc<str>, HeldSpan>,
    bytes: u64,
}

impl Holdings {
    pub(super) fn insert(&mut self, segment: &Segment) {
        let kind = if segment.is_end() { SpoolKind::End } else { SpoolKind::Sealed };
        let name: Arc<str> = match self.spans.get_key_value(segment.record.span.as_str()) {
            Some((name, _)) => Arc::clone(name),
            None => Arc::from(segment.record.span.as_str()),
        };
        let span = self.spans.entry(Arc::clone(&name)).or_default();
        match kind {
            SpoolKind::End => span.end = Some(segment.serial),
            SpoolKind::Open | SpoolKind::Sealed => {
                span.footage.insert(segment.serial);
            }
        }
        let this = (segment.record.n, segment.record.start_mono);
        if span.earliest.is_none_or(|(n, _)| this.0 < n) {
            span.earliest = Some(this);
        }
        self.bytes = self.bytes.saturating_add(segment.bytes);
        self.files.insert(segment.serial, HeldFile { kind, bytes: segment.bytes, span: name });
    }

    pub(super) fn remove(&mut self, serial: Serial) {
        let Some(file) = self.files.remove(&serial) else { return };
        self.bytes = self.bytes.saturating_sub(file.bytes);
        let Some(span) = self.spans.get_mut(&file.span) else { return };
        match file.kind {
            SpoolKind::End => span.end = None,
            SpoolKind::Open | SpoolKind::Sealed => {
                span.footage.remove(&serial);
            }
        }
        if span.footage.is_empty() && span.end.is_none() {
            self.spans.remove(&file.span);
        }
    }

    /// Number of files.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Bytes of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn kind_of(&self, serial: Serial) -> Option<SpoolKind> {
        self.files.get(&serial).map(|file| file.kind)
    }

    pub(super) fn holds(&self, name: SpoolName) -> bool {
        self.kind_of(name.serial) == Some(name.kind)
    }

    /// Duration of a segment in nanoseconds, if the next one of its span, or the span's end, is known: that begins
    /// where this one ends.
    pub(super) fn until_next(&self, record: &Record) -> Option<u64> {
        let (n, start) = self.spans.get(record.span.as_str())?.earliest?;
        (record.n.checked_add(1) == Some(n)).then(|| start.checked_sub(record.start_mono))?
    }

    /// The span of the newest footage before this serial.
    pub(super) fn span_before(&self, serial: Serial) -> Option<Arc<str>> {
        let mut earlier = self.files.range(..serial).rev();
        earlier.find(|(_, file)| file.kind != SpoolKind::End).map(|(_, file)| Arc::clone(&file.span))
    }

    /// The spans that have footage and no end, each with its newest segment.
    pub(super) fn without_end(&self) -> impl Iterator<Item = (Arc<str>, Serial)> {
        let lacking = self.spans.iter().filter(|(_, span)| span.end.is_none());
        lacking.filter_map(|(name, span)| Some((Arc::clone(name), *span.footage.last()?)))
    }

    /// Whether a file may be removed. `growing` is the span of the open file, if part of that file is durable.
    /// `all_known`: no file is left to be scanned.
    ///
    /// The newest segment of a span stays until its successor or the span's end is durable: after a power cut
    /// nothing else would say where the span ended. An end stays as long as any segment of its span: a start
    /// would otherwise miss it and write another.
    pub(super) fn may_go(&self, serial: Serial, growing: Option<&str>, all_known: bool) -> bool {
        let Some(file) = self.files.get(&serial) else { return true };
        let Some(span) = self.spans.get(&file.span) else { return true };
        match file.kind {
            SpoolKind::End => all_known && span.footage.is_empty(),
            SpoolKind::Open | SpoolKind::Sealed => {
                span.end.is_some() || span.footage.last() != Some(&serial) || growing == Some(&*file.span)
            }
        }
    }
}
