//! Reads the controls of a V4L2 device back, through the element that has it open, to see whether they were accepted. No
//! file is opened.

use crate::capture::controls;
use crate::system::cameras;
use gst::prelude::*;
use std::os::fd::BorrowedFd;

/// How the controls of the devices of a pipeline differ from those requested, for people; `None` if they do not.
pub(super) fn differs(pipeline: &gst::Pipeline) -> Option<String> {
    let elements = pipeline.iterate_recurse().into_iter().flatten();
    let differences: Vec<String> = elements.filter_map(|element| of(&element)).collect();
    (!differences.is_empty()).then(|| differences.join("; "))
}

fn of(element: &gst::Element) -> Option<String> {
    element.find_property("extra-controls")?;
    let asked = element.property_value("extra-controls").get::<Option<gst::Structure>>().ok()??;
    let has = |name: &str| {
        element.find_property(name).is_some_and(|spec| spec.value_type() == gst::glib::Type::I32)
    };
    let fd: i32 = if has("device-fd") { element.property("device-fd") } else { -1 };
    if fd < 0 {
        return None;
    }
    let pairs: Vec<String> = asked
        .iter()
        .filter_map(|(name, value)| Some(format!("{name}={}", value.get::<i32>().ok()?)))
        .collect();
    // SAFETY: the element has it open, and does not change while this runs. If it is closed meanwhile, the request fails
    // (EBADF).
    let device = unsafe { BorrowedFd::borrow_raw(fd) };
    let why =
        controls::differs(&format!("controls,{}", pairs.join(",")), |name| cameras::control(device, name))?;
    Some(format!("{}: {why}", super::elements::name(element)))
}
