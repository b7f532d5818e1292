//! One connection to the broker, from its start to its end: a stream from [`Dialer`](crate::net::Dialer), and
//! one task that waits in one place. [`Exchange`] decides what follows from what was received, and never
//! waits: an agent that is slow to take inputs does not delay a ping.

use super::exchange::{By, Exchange, MAX_PACKET, Stop};
use super::link::Link;
use super::login::{self, Login};
use super::packet;
use super::reason;
use crate::net::{Stream, Target};
use bytes::BytesMut;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

/// Buffer space reserved for reading, in bytes.
const READ_AHEAD: usize = 4096;

/// How a connection ended.
pub(super) enum ConnectionEnd {
    /// To be retried. `why` names the broker.
    Lost { why: String, was_stable: bool, by: By },
    /// As requested, or because the agent is gone.
    Left,
}

pub(super) async fn run(link: &mut Link) -> ConnectionEnd {
    // Before dialling: a password that cannot be read is not a fault of the network.
    let login = match &link.login {
        Some(login) => match login::read(login).await {
            Ok(login) => Some(login),
            Err(why) => return ConnectionEnd::Lost { why, was_stable: false, by: By::Us },
        },
        None => None,
    };
    let Some(opened) = open(link).await else { return ConnectionEnd::Left };
    let place = target(link).place();
    let stream = match opened {
        Ok(stream) => stream,
        Err(why) => return ConnectionEnd::Lost { why, was_stable: false, by: By::Us },
    };
    match exchange(link, login.as_ref(), stream).await {
        (Stop::Left, _) => ConnectionEnd::Left,
        (Stop::Lost(why, by), was_stable) => {
            ConnectionEnd::Lost { why: format!("{place}: {why}"), was_stable, by }
        }
    }
}

/// The stream, or why there is none. `None` if the agent is leaving: nobody was told that the camera is
/// online.
async fn open(link: &mut Link) -> Option<Result<Stream, String>> {
    link.credentials = link.credentials.read_again().await;
    let link = &*link;
    let mut opening = Box::pin(link.dialer.open(target(link), Some(link.credentials.config())));
    loop {
        if link.shared.leaving().is_some() {
            return None;
        }
        tokio::select! {
            biased;
            opened = &mut opening => return Some(opened.map_err(|fault| fault.0)),
            () = link.shared.changed.notified() => {}
        }
    }
}

fn target(link: &Link) -> Target<'_> {
    Target { host: &link.host, port: link.port, names: reason::NAMES }
}

/// What happened on the stream.
enum Moved {
    /// Some of the output was written.
    Written(io::Result<usize>),
    /// All that was written has been flushed.
    Flushed(io::Result<()>),
    /// This many bytes were read; 0 at the end of the stream.
    Read(io::Result<usize>),
}

/// Speaks MQTT on `stream` until it ends. Returns the cause and whether the connection was stable.
async fn exchange(link: &mut Link, login: Option<&Login>, stream: Stream) -> (Stop, bool) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (shared, inputs, credentials) =
        (Arc::clone(&link.shared), link.inputs.clone(), link.credentials.clone());
    // Checks the files without delaying a ping.
    let mut looking: Option<JoinHandle<bool>> = None;
    let mut exchange = Exchange::new(link, login, Instant::now());
    let (mut inbox, mut unflushed) = (BytesMut::new(), true);
    loop {
        let (wants_room, due) = (exchange.has_inputs(), exchange.timers.next());
        let stop = tokio::select! {
            biased;
            () = shared.changed.notified() => {
                if shared.takes_read_again() && looking.is_none() {
                    let credentials = credentials.clone();
                    looking = Some(tokio::spawn(async move { credentials.have_changed().await }));
                }
                Ok(())
            }
            changed = looked(&mut looking) => {
                let why = "certificate, key or roots have changed: connecting anew";
                if changed { Err(exchange.ended(why, By::Us)) } else { Ok(()) }
            }
            room = inputs.reserve(), if wants_room => match room {
                Ok(permit) => {
                    if let Some(input) = exchange.takes_input() {
                        permit.send(input);
                    }
                    Ok(())
                }
                Err(_) => Err(Stop::Left),
            },
            () = at(due.map(|(_, at)| at)) => due.map_or(Ok(()), |(due, _)| exchange.elapsed(due, Instant::now())),
            moved = moves(&mut reader, &mut writer, &mut inbox, &mut exchange.out, unflushed) => match moved {
                Moved::Written(Ok(written)) if written > 0 => {
                    unflushed = true;
                    Ok(())
                }
                Moved::Flushed(Ok(())) => {
                    unflushed = false;
                    exchange.written();
                    Ok(())
                }
                Moved::Read(Ok(read)) if read > 0 => take(&mut exchange, &mut inbox),
                Moved::Written(Ok(_)) | Moved::Read(Ok(_)) => {
                    Err(exchange.ended("it closed the connection", By::Broker { blames: true }))
                }
                Moved::Written(Err(error)) | Moved::Flushed(Err(error)) | Moved::Read(Err(error)) => {
                    // A stream without progress is a fault of the network.
                    let stands_still = error.kind() == io::ErrorKind::TimedOut;
                    let by = if stands_still { By::Us } else { By::Broker { blames: true } };
                    Err(exchange.ended(&reason::of_stream(&error), by))
                }
            },
        };
        if let Err(stop) = stop.and_then(|()| exchange.pump(Instant::now())) {
            return (stop, exchange.was_stable());
        }
        if !exchange.out.is_empty() {
            unflushed = true;
        }
    }
}

/// Whether the files have changed, once checked; never resolves if no check is running.
async fn looked(looking: &mut Option<JoinHandle<bool>>) -> bool {
    let Some(task) = looking else { return std::future::pending().await };
    let changed = task.await.unwrap_or(false);
    *looking = None;
    changed
}

/// Writes, flushes or reads, whichever is possible. It is cancel-safe: none of the three buffers bytes
/// itself.
async fn moves(
    reader: &mut ReadHalf<Stream>,
    writer: &mut WriteHalf<Stream>,
    inbox: &mut BytesMut,
    out: &mut BytesMut,
    unflushed: bool,
) -> Moved {
    inbox.reserve(READ_AHEAD);
    let to_send = unflushed || !out.is_empty();
    tokio::select! {
        biased;
        moved = sends(writer, out), if to_send => moved,
        read = reader.read_buf(inbox) => Moved::Read(read),
    }
}

async fn sends(writer: &mut WriteHalf<Stream>, out: &mut BytesMut) -> Moved {
    if out.is_empty() {
        Moved::Flushed(writer.flush().await)
    } else {
        Moved::Written(writer.write_buf(out).await)
    }
}

/// Hands on every packet that has arrived completely.
fn take(exchange: &mut Exchange<'_>, inbox: &mut BytesMut) -> Result<(), Stop> {
    exchange.heard();
    while let Some(packet) =
        packet::read(inbox, MAX_PACKET).map_err(|wrong| exchange.ended(&wrong.to_string(), By::Us))?
    {
        exchange.happened(packet, Instant::now())?;
    }
    Ok(())
}

/// Waits until then; for ever if there is nothing to wait for.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// How long the stream may make no progress: two pings without an answer.
pub(super) fn inactivity(keep_alive: Duration) -> Duration {
    keep_alive * 2 + Duration::from_secs(15)
}
