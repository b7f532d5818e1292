//! Whether IDR frames come as they should.

use crate::capture::board::Description;
use crate::domain::time::Mono;
use std::time::Duration;

/// How often an IDR frame is asked for.
const ASK_INTERVAL: Duration = Duration::from_secs(5);

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Well,
    Ask,
    /// Nothing can be stored: to be told, once.
    Trouble,
    /// That is over.
    Over,
    /// The GOP is as large as a segment may be; it is so many seconds long.
    TooLong(u64),
}

/// Looks at each frame that comes.
pub(super) struct Keys {
    /// A GOP that is longer is to end.
    long: Duration,
    /// So long nothing is told.
    patience: Duration,
    max_gop: u64,
    first: Option<Mono>,
    asked: Option<Mono>,
    troubled: bool,
}

impl Keys {
    pub(super) fn new(description: &Description) -> Keys {
        Keys {
            long: description.segment,
            patience: description.fragment.saturating_mul(2),
            max_gop: description.max_gop,
            first: None,
            asked: None,
            troubled: false,
        }
    }

    /// `begun`: some frame has come at which decoding can begin. `gop`: nanoseconds and bytes since the last one.
    pub(super) fn look(&mut self, begun: bool, (nanos, bytes): (i64, u64), now: Mono) -> Look {
        let first = *self.first.get_or_insert(now);
        let length = Duration::from_nanos(u64::try_from(nanos).unwrap_or(0));
        if begun && std::mem::take(&mut self.troubled) {
            return Look::Over;
        }
        if begun && bytes > self.max_gop {
            return Look::TooLong(length.as_secs());
        }
        if !begun && !self.troubled && now.since(first) > self.patience {
            self.troubled = true;
            return Look::Trouble;
        }
        let due = if begun { length > self.long } else { true };
        if due && self.asked.is_none_or(|asked| now.since(asked) > ASK_INTERVAL) {
            self.asked = Some(now);
            return Look::Ask;
        }
        Look::Well
    }
}
