//! The streams of an RTSP camera: selects them and links them.

use super::build::{Built, fill};
use super::faults::{fault, wrong_codec};
use super::reports::Reports;
use super::source;
use crate::capture::pipeline::Description;
use crate::domain::codec::Codec;
use crate::domain::input::{Fault, FaultKind};
use gst::prelude::*;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Links the streams of an RTSP camera. Audio that is not wanted is not requested. If no usable audio comes, `no_audio`
/// is called, with the reason if there is an error.
pub(super) fn join(
    built: &Built,
    description: &Description,
    reports: Reports,
    no_audio: impl Fn(Option<String>) + Send + Sync + 'static,
) {
    let Some((source, video)) = &built.rtsp else { return };
    let wants_audio = built.audio_bin.is_some();
    let codec = built.codec;
    let offers = Arc::clone(&built.offers);
    let known: Vec<&str> = description.audio_paths.iter().map(|path| path.encoding).collect();
    // The numbers of the first video and the first audio stream.
    let chosen = Arc::new(Mutex::new((None::<u32>, None::<u32>)));
    let of_frames = Arc::clone(&chosen);
    source.connect("select-stream", false, move |values| {
        let number = values.get(1).and_then(|value| value.get::<u32>().ok());
        let caps = values.get(2).and_then(|value| value.get::<gst::Caps>().ok());
        let encoding = encoding(caps.as_ref());
        if let Some(encoding) = encoding.clone() {
            offers.lock().unwrap_or_else(PoisonError::into_inner).insert(encoding);
        }
        let mut chosen = chosen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_first = |slot: &mut Option<u32>| number.is_none_or(|n| *slot.get_or_insert(n) == n);
        let wanted = match encoding.as_deref() {
            Some(coded) if codec_of(coded).is_some() => {
                codec_of(coded) == Some(codec)
                    && !says(caps.as_ref(), "a-inactive")
                    && is_first(&mut chosen.0)
            }
            Some(other) if wants_audio && known.contains(&other) => {
                !is_back_channel(caps.as_ref()) && is_first(&mut chosen.1)
            }
            Some(_) | None => false,
        };
        Some(wanted.to_value())
    });
    source.connect("new-manager", false, move |values| {
        if let Some(manager) = values.get(1).and_then(|value| value.get::<gst::Element>().ok()) {
            let (reports, of_frames) = (reports.clone(), Arc::clone(&of_frames));
            manager.connect_pad_added(move |_, pad| {
                let frames = of_frames.lock().unwrap_or_else(PoisonError::into_inner).0;
                let name = pad.name();
                let numbered = |kind: &str| name.strip_prefix(kind).and_then(|number| number.parse().ok());
                if let Some(number) = numbered("recv_rtp_sink_") {
                    // Before the SSRC is changed: sender reports have the camera's own.
                    if frames == Some(number) {
                        reports.watch_packets(pad);
                    }
                    source::keep_one(pad);
                }
                if frames.is_some() && numbered("recv_rtcp_sink_") == frames {
                    reports.watch_reports(pad);
                }
            });
        }
        None
    });
    let no_audio = Arc::new(no_audio);
    let failed = Arc::clone(&no_audio);
    let video = video.downgrade();
    let bin = built.audio_bin.as_ref().map(gst::Bin::downgrade);
    let tail = built.audio_branch.first().map(gst::Element::downgrade);
    let paths = description.audio_paths.clone();
    source.connect_pad_added(move |_, pad| {
        let caps = pad.current_caps().or_else(|| Some(pad.query_caps(None)));
        let Some(encoding) = encoding(caps.as_ref()) else { return };
        if let Some(coded) = codec_of(&encoding) {
            let head = video.upgrade().filter(|_| coded == codec);
            let Some(sink) = head.and_then(|head| head.static_pad("sink")) else { return };
            if !sink.is_linked() && pad.link(&sink).is_err() {
                tracing::error!("a stream of the RTSP camera cannot be linked");
            }
            return;
        }
        let Some(path) = paths.iter().find(|path| path.encoding == encoding) else { return };
        let bin = bin.as_ref().and_then(gst::glib::WeakRef::upgrade);
        let tail = tail.as_ref().and_then(gst::glib::WeakRef::upgrade);
        let (Some(bin), Some(tail)) = (bin, tail) else { return };
        if bin.static_pad("sink").is_some() || tail.static_pad("sink").is_some_and(|sink| sink.is_linked()) {
            return;
        }
        match fill(&bin, &path.stages, &tail) {
            Ok(sink) if pad.link(&sink).is_ok() => {}
            Ok(_) => failed(Some(format!("the {encoding} audio of the RTSP camera cannot be linked"))),
            Err(why) => failed(Some(why.message)),
        }
    });
    let Some(head) = built.audio_branch.first().filter(|_| wants_audio).map(gst::Element::downgrade) else {
        return;
    };
    source.connect_no_more_pads(move |_| {
        let linked =
            head.upgrade().and_then(|head| head.static_pad("sink")).is_some_and(|sink| sink.is_linked());
        if !linked {
            // The machine reports this once.
            tracing::debug!("the RTSP camera offers no supported audio");
            no_audio(None);
        }
    });
}

/// Whether an audio stream is one for us to send (`a=sendonly`, seen from our side), or inactive. Some cameras mark their
/// video `a=sendonly`, seen from their side: there it is ignored.
fn is_back_channel(caps: Option<&gst::Caps>) -> bool {
    says(caps, "a-sendonly") || says(caps, "a-inactive")
}

/// Whether the SDP has this attribute for the stream.
fn says(caps: Option<&gst::Caps>, attribute: &str) -> bool {
    caps.and_then(|caps| caps.structure(0)).is_some_and(|structure| structure.has_field(attribute))
}

/// The codec of a name in the SDP.
fn codec_of(encoding: &str) -> Option<Codec> {
    match encoding {
        "H264" => Some(Codec::H264),
        "H265" => Some(Codec::H265),
        _ => None,
    }
}

fn encoding(caps: Option<&gst::Caps>) -> Option<String> {
    let structure = caps?.structure(0)?;
    structure.get::<&str>("encoding-name").ok().map(str::to_ascii_uppercase)
}

/// The fault if an RTSP camera does not offer the expected codec.
pub(super) fn unfit_offers(offers: &Mutex<BTreeSet<String>>, source: &str, wanted: Codec) -> Option<Fault> {
    let offers = offers.lock().unwrap_or_else(PoisonError::into_inner);
    if offers.is_empty() || offers.contains(encoding_of(wanted)) {
        return None;
    }
    if offers.contains(encoding_of(wanted.other())) {
        return Some(wrong_codec(source, wanted, wanted.other()));
    }
    // From the network: only letters and digits of a few names.
    let printable =
        |name: &String| name.chars().filter(char::is_ascii_alphanumeric).take(16).collect::<String>();
    let names: Vec<String> = offers.iter().take(4).map(printable).collect();
    let (names, wanted) = (names.join(", "), wanted.name());
    let why = format!("{source}: it offers {names} and no {wanted}: set it to {wanted}");
    Some(fault(FaultKind::Pipeline, why))
}

/// The name of a codec in SDP (RFC 6184, RFC 7798).
fn encoding_of(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => "H264",
        Codec::H265 => "H265",
    }
}
