//! What the conformance kit judges by: functions of what was seen, with no clock and no network. The tests take these
//! files in as they are.

pub(crate) mod camera;
pub(crate) mod cloud;
pub(crate) mod report;
pub(crate) mod row;
