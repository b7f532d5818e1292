//! The key of an object taken apart, and what footage it has.

use super::seen::{CameraSeen, ObjectSeen};
use kasacam::domain::segment::KeyForm;
use kasacam::domain::time::Utc;
use kasacam::fmp4::Layout;
use std::time::Duration;

/// A key of the contract's form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) at: Utc,
    pub(crate) n: u64,
    pub(crate) is_end: bool,
}

impl Named {
    pub(crate) fn parse(key: &str, form: &KeyForm) -> Option<Named> {
        let rest = key.strip_prefix(&form.prefix)?.strip_prefix(&form.device)?.strip_prefix('/')?;
        let (date, rest) = rest.split_once('/')?;
        let rest = match form.postfix.as_str() {
            "" => rest,
            postfix => rest.strip_prefix(postfix)?.strip_prefix('/')?,
        };
        let (hour, file) = rest.split_once('/')?;
        let mut parts = file.split('.');
        let (minute, fraction) = (parts.next()?, parts.next()?);
        let (n, extension, None) = (parts.next()?.parse().ok()?, parts.next()?, parts.next()) else {
            return None;
        };
        let is_end = extension == "mp4_end";
        let at = Utc::parse(&format!("{date}T{hour}:{}.{fraction}", minute.replace('-', ":")))?;
        // Written again it must be the same, to the last zero.
        (form.key(at, n, is_end) == key).then_some(Named { at, n, is_end })
    }
}

/// What the keys of this camera look like.
pub(crate) fn form(seen: &CameraSeen) -> KeyForm {
    KeyForm { prefix: seen.prefix.clone(), device: seen.device.clone(), postfix: seen.postfix.clone() }
}

/// A segment whose key and file can be read.
#[derive(Clone, Debug)]
pub(crate) struct Footage {
    pub(crate) key: String,
    pub(crate) begin: Utc,
    pub(crate) end: Utc,
    pub(crate) has_audio: bool,
    pub(crate) clock_is_trusted: bool,
}

/// All of it, in the order of keys.
pub(crate) fn footage(seen: &CameraSeen, objects: &[ObjectSeen]) -> Vec<Footage> {
    let form = form(seen);
    objects
        .iter()
        .filter_map(|object| {
            let named = Named::parse(&object.key, &form).filter(|named| !named.is_end)?;
            let layout = object.layout.as_ref()?.as_ref().ok()?;
            Some(Footage {
                key: object.key.clone(),
                begin: named.at,
                end: named.at + lasts(layout),
                has_audio: layout.init.audio.is_some(),
                clock_is_trusted: object.metadata.get("clock").is_some_and(|clock| clock == "trusted"),
            })
        })
        .collect()
}

/// From the first frame to the end of the last one.
pub(crate) fn lasts(layout: &Layout) -> Duration {
    let video = layout.init.video;
    let runs = || layout.chunks.iter().flat_map(|chunk| &chunk.runs).filter(|run| run.track == video.id);
    let ticks: u64 = runs().map(|run| run.duration).sum();
    let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(video.timescale.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// One frame, on average.
pub(crate) fn frame(layout: &Layout) -> Duration {
    let video = layout.init.video;
    let runs = layout.chunks.iter().flat_map(|chunk| &chunk.runs).filter(|run| run.track == video.id);
    let frames: u32 = runs.map(|run| run.samples).sum();
    lasts(layout) / frames.max(1)
}
