//! Controls of V4L2 that a camera or an encoder is told, and what it made of them.

use super::encoder::Demand;

/// A difference of a bit rate that is a driver's step, and nothing to speak of: one in so many.
const RATE_STEP: i64 = 20;

/// What an encoder of V4L2 is told, be it one of its own or a part of the camera: `extra-controls` of the element. A
/// control that the driver has not is passed over.
#[must_use]
pub fn demanded(demand: Demand) -> String {
    let Demand { bitrate, gop, .. } = demand;
    format!(
        "controls,video_bitrate_mode=0,video_bitrate={bitrate},video_gop_size={gop},h264_i_frame_period={gop},\
         video_b_frames=0,repeat_sequence_header=1"
    )
}

/// `over` laid over `under`: of a control that both name the value of `over` counts.
#[must_use]
pub fn merged(under: &str, over: &str) -> String {
    let mut merged = asked(under);
    for (name, value) in asked(over) {
        match merged.iter_mut().find(|(known, _)| *known == name) {
            Some((_, there)) => *there = value,
            None => merged.push((name, value)),
        }
    }
    let pairs: Vec<String> = merged.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("controls,{}", pairs.join(","))
}

/// The controls of a text such as `controls,a=1,b=2`, in order.
fn asked(text: &str) -> Vec<(String, String)> {
    text.split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.trim().to_owned(), value.trim_end_matches(';').trim().to_owned()))
        .collect()
}

/// What a device does other than it was told by `text`, in words with both numbers; `None` where nothing is. `read` gives
/// the value of a control, and `None` for one that the device has not.
#[must_use]
pub fn differs(text: &str, read: impl Fn(&str) -> Option<i64>) -> Option<String> {
    let asked: Vec<(String, i64)> =
        asked(text).into_iter().filter_map(|(name, value)| Some((name, value.parse().ok()?))).collect();
    let mut told = Vec::new();
    for (name, wanted) in &asked {
        match (name.as_str(), read(name)) {
            // Of these two a driver heeds one, or neither: below.
            ("video_gop_size" | "h264_i_frame_period", _) => {}
            ("video_bitrate", Some(is)) if (is - wanted).abs() * RATE_STEP <= *wanted => {}
            (_, Some(is)) if is == *wanted => {}
            (_, Some(is)) => told.push(format!("{name} is {is}, and {wanted} was asked for")),
            ("video_bitrate", None) => {
                told.push(format!("it has no video_bitrate, and {wanted} was asked for"));
            }
            // What it cannot be told it does not do: it makes no B-frames, or says its headers as it likes.
            (_, None) => {}
        }
    }
    let gops: Vec<(&str, i64, Option<i64>)> = asked
        .iter()
        .filter(|(name, _)| matches!(name.as_str(), "video_gop_size" | "h264_i_frame_period"))
        .map(|(name, wanted)| (name.as_str(), *wanted, read(name)))
        .collect();
    let heeded = gops.iter().any(|(_, wanted, is)| *is == Some(*wanted));
    if let (false, Some((_, wanted, _))) = (heeded, gops.first()) {
        let is: Vec<String> =
            gops.iter().filter_map(|(name, _, is)| Some(format!("{name} is {}", (*is)?))).collect();
        told.push(match is.as_slice() {
            [] => format!("it has no control for its GOP, and {wanted} frames were asked for"),
            some => format!("{}, and {wanted} was asked for", some.join(" and ")),
        });
    }
    (!told.is_empty()).then(|| told.join("; "))
}
