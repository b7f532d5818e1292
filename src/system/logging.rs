//! Logs go to stderr; under systemd each line begins with its priority (`sd-daemon(3)`).
//!
//! Below `WARN` only the agent's own modules are logged: what a library logs at `DEBUG` may contain a header
//! or a payload, which must stay private.

use std::fmt;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::{Context, Filter, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// Starts logging at `level`; a second call does nothing.
pub fn start(level: LevelFilter, under_systemd: bool) {
    let layer = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .event_format(Line { under_systemd })
        .with_filter(Ours(level));
    let _already_started = tracing_subscriber::registry().with(layer).try_init();
}

/// Passes the agent's own events up to a level, those of libraries up to `WARN`.
#[derive(Clone, Copy, Debug)]
pub struct Ours(pub LevelFilter);

impl Ours {
    fn admits(self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata.target().starts_with("kasacam");
        let limit = if ours { self.0 } else { self.0.min(LevelFilter::WARN) };
        *metadata.level() <= limit
    }
}

impl<S> Filter<S> for Ours {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.admits(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.0)
    }
}

struct Line {
    under_systemd: bool,
}

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = *event.metadata().level();
        if self.under_systemd {
            write!(to, "<{}>", priority(level))?;
        } else {
            write!(to, "{} {:5} ", super::clock::utc(), level)?;
        }
        let module = event.metadata().target().trim_start_matches("kasacam::");
        write!(to, "{module}: ")?;
        ctx.format_fields(to.by_ref(), event)?;
        writeln!(to)
    }
}

/// The priorities of `syslog(3)`.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}
