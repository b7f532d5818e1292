//! Checks properties and their values against the element itself.

use gst::glib::{self, ParamFlags};
use gst::prelude::*;

/// The value of `text`, in the syntax of `gst-launch-1.0`. The error is for people, and does not quote the text: it may
/// be a secret.
pub(super) fn value(element: &gst::Element, property: &str, text: &str) -> Result<glib::Value, String> {
    let spec = element.find_property(property).ok_or("does not exist in this version")?;
    if !spec.flags().contains(ParamFlags::WRITABLE) {
        return Err(String::from("can be read only"));
    }
    if spec.flags().contains(ParamFlags::CONSTRUCT_ONLY) {
        return Err(String::from("can be set only when the element is created"));
    }
    let wanted = || format!("takes {}", expected(&spec));
    let value = glib::Value::deserialize_with_pspec(text, &spec).map_err(|_| wanted())?;
    if let Some(class) = glib::EnumClass::with_type(spec.value_type()) {
        // GStreamer accepts any number here.
        let known = value.transform::<i32>().ok().and_then(|number| number.get::<i32>().ok());
        if known.is_none_or(|number| class.value(number).is_none()) {
            return Err(wanted());
        }
    }
    if !within(&spec, &value) {
        return Err(wanted());
    }
    Ok(value)
}

/// Sets a property, if the element accepts it.
pub(super) fn set(element: &gst::Element, property: &str, text: &str) -> Result<(), String> {
    let value = value(element, property, text)?;
    element.set_property_from_value(property, &value);
    Ok(())
}

/// The limits of a numeric property.
fn limits(spec: &glib::ParamSpec) -> Option<(f64, f64)> {
    macro_rules! one_of {
        ($($kind:ty),+) => {
            $(if let Some(spec) = spec.downcast_ref::<$kind>() {
                return Some((spec.minimum() as f64, spec.maximum() as f64));
            })+
        };
    }
    one_of!(
        glib::ParamSpecInt,
        glib::ParamSpecUInt,
        glib::ParamSpecInt64,
        glib::ParamSpecUInt64,
        glib::ParamSpecLong,
        glib::ParamSpecULong,
        glib::ParamSpecFloat,
        glib::ParamSpecDouble
    );
    None
}

fn within(spec: &glib::ParamSpec, value: &glib::Value) -> bool {
    let Some((least, most)) = limits(spec) else { return true };
    let number = value.transform::<f64>().ok().and_then(|number| number.get::<f64>().ok());
    number.is_none_or(|number| number >= least && number <= most)
}

/// The values that a property accepts; for people.
fn expected(spec: &glib::ParamSpec) -> String {
    let kind = spec.value_type();
    if let Some(class) = glib::EnumClass::with_type(kind) {
        let names: Vec<&str> = class.values().iter().map(glib::EnumValue::nick).take(24).collect();
        return format!("one of {}", names.join(", "));
    }
    match limits(spec) {
        Some((least, most)) => format!("a number from {least} to {most}"),
        None if kind == glib::Type::BOOL => String::from("true or false"),
        None => format!("a {}", kind.name()),
    }
}
