//! Controls of V4L2 for a camera or an encoder, and what the device made of them.

/// Drivers round bit rates: a difference of one part in this many is ignored.
const RATE_STEP: i64 = 20;

/// The controls for an encoder of V4L2, separate or in a camera: `extra-controls` of the element. `bitrate` is in bits a
/// second, `gop` in frames. The element ignores controls that the driver does not have.
#[must_use]
pub fn requested(bitrate: u64, gop: u32) -> String {
    format!(
        "controls,video_bitrate_mode=0,video_bitrate={bitrate},video_gop_size={gop},h264_i_frame_period={gop},\
         video_b_frames=0,repeat_sequence_header=1"
    )
}

/// `under` and `over` merged: for a control in both, the value of `over` is used.
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

/// How the controls of a device differ from those requested by `text`, for people, with both numbers; `None` if they do
/// not. `read` returns the value of a control, or `None` if the device does not have it.
#[must_use]
pub fn differs(text: &str, read: impl Fn(&str) -> Option<i64>) -> Option<String> {
    let asked: Vec<(String, i64)> =
        asked(text).into_iter().filter_map(|(name, value)| Some((name, value.parse().ok()?))).collect();
    let mut differences = Vec::new();
    for (name, wanted) in &asked {
        match (name.as_str(), read(name)) {
            // A driver uses one of these two, or none: see below.
            ("video_gop_size" | "h264_i_frame_period", _) => {}
            ("video_bitrate", Some(is)) if (is - wanted).abs() * RATE_STEP <= *wanted => {}
            (_, Some(is)) if is == *wanted => {}
            (_, Some(is)) => differences.push(format!("{name} is {is}, and {wanted} was asked for")),
            ("video_bitrate", None) => {
                differences.push(format!("it has no video_bitrate, and {wanted} was asked for"));
            }
            // No such control: it makes no B-frames, or chooses itself when to repeat its headers.
            (_, None) => {}
        }
    }
    let gops: Vec<(&str, i64, Option<i64>)> = asked
        .iter()
        .filter(|(name, _)| matches!(name.as_str(), "video_gop_size" | "h264_i_frame_period"))
        .map(|(name, wanted)| (name.as_str(), *wanted, read(name)))
        .collect();
    let is_used = gops.iter().any(|(_, wanted, is)| *is == Some(*wanted));
    if let (false, Some((_, wanted, _))) = (is_used, gops.first()) {
        let is: Vec<String> =
            gops.iter().filter_map(|(name, _, is)| Some(format!("{name} is {}", (*is)?))).collect();
        differences.push(match is.as_slice() {
            [] => format!("it has no control for its GOP, and {wanted} frames were asked for"),
            some => format!("{}, and {wanted} was asked for", some.join(" and ")),
        });
    }
    (!differences.is_empty()).then(|| differences.join("; "))
}
