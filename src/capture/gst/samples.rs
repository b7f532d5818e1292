//! Reads samples of GStreamer: their bytes, their times and the format of their audio.

use super::faults::fault;
use crate::domain::input::{Fault, FaultKind};
use crate::fmp4::AudioDescription;
use bytes::Bytes;

/// The bytes of a buffer, which live as long as a chunk. Buffers of a pool are copied: it may be a small pool of the camera,
/// which would wait for them. Others are held without a copy.
pub(super) fn kept(sample: &gst::Sample) -> Result<Bytes, Fault> {
    let Some(buffer) = sample.buffer_owned() else { return Ok(Bytes::new()) };
    // SAFETY: a plain read of a member of a live buffer; the pointer is not dereferenced.
    let pooled = unsafe { !(*buffer.as_ptr()).pool.is_null() };
    // A buffer that shares the bytes of a pooled buffer names it as its parent.
    if pooled || buffer.meta::<gst::ParentBufferMeta>().is_some() || buffer.n_memory() != 1 {
        return bytes_of(&buffer);
    }
    let held = buffer.into_mapped_buffer_readable();
    held.map(Bytes::from_owner)
        .map_err(|_| fault(FaultKind::Pipeline, String::from("a buffer cannot be read")))
}

pub(super) fn bytes_of(buffer: &gst::BufferRef) -> Result<Bytes, Fault> {
    let map = buffer.map_readable();
    let map = map.map_err(|_| fault(FaultKind::Pipeline, String::from("a buffer cannot be read")))?;
    Ok(Bytes::copy_from_slice(&map))
}

/// In nanoseconds; negative if a sample is before the start of its segment.
pub(super) fn running_time(sample: &gst::Sample, time: Option<gst::ClockTime>) -> Option<i64> {
    let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
    let time = segment.to_running_time_full(time?)?;
    let nanos = i64::try_from(time.abs().nseconds()).ok()?;
    Some(if time.is_positive() { nanos } else { -nanos })
}

pub(super) fn audio_format(caps: &gst::CapsRef) -> Option<AudioDescription> {
    let structure = caps.structure(0)?;
    let config = structure.get::<gst::Buffer>("codec_data").ok()?;
    let config = bytes_of(&config).ok()?;
    let rate = u32::try_from(structure.get::<i32>("rate").ok()?).ok()?;
    let channels = u16::try_from(structure.get::<i32>("channels").ok()?).ok()?;
    Some(AudioDescription { config, rate, channels })
}
