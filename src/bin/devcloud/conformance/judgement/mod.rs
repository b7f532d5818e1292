//! The rules of the conformance kit: functions of what was seen, without clock and network. The tests include these files.

pub(crate) mod camera;
pub(crate) mod claims;
pub(crate) mod cloud;
pub(crate) mod report;
pub(crate) mod row;
