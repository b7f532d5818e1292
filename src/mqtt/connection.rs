//! One connection to the broker, from its start to its end: our own stream from [`Dialer`](crate::net::Dialer), and
//! one task that waits at one place. What is to be done with what came is decided by [`Exchange`], which never waits:
//! an agent that is slow to take inputs holds up no ping.

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

/// Room that is made for what comes, in bytes.
const READ_AHEAD: usize = 4096;

/// How a connection ended.
pub(super) enum End {
    /// To be tried again. `why` names the broker.
    Lost { why: String, was_stable: bool, by: By },
    /// As we were asked to, or because the agent is gone.
    Left,
}

pub(super) async fn run(link: &mut Link) -> End {
    // Before anything is dialled: a password that cannot be read is no fault of the network.
    let login = match &link.login {
        Some(login) => match login::read(login).await {
            Ok(login) => Some(login),
            Err(why) => return End::Lost { why, was_stable: false, by: By::Us },
        },
        None => None,
    };
    let Some(opened) = open(link).await else { return End::Left };
    let place = target(link).place();
    let stream = match opened {
        Ok(stream) => stream,
        Err(why) => return End::Lost { why, was_stable: false, by: By::Us },
    };
    match exchange(link, login.as_ref(), stream).await {
        (Stop::Left, _) => End::Left,
        (Stop::Lost(why, by), was_stable) => End::Lost { why: format!("{place}: {why}"), was_stable, by },
    }
}

/// The stream, or why there is none. `None` where we are to leave: nobody was told that we are online.
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

/// What the stream did.
enum Moved {
    /// Some of what we had to say has left.
    Written(io::Result<usize>),
    /// All that was written is on its way.
    Flushed(io::Result<()>),
    /// So many bytes came; 0 at its end.
    Read(io::Result<usize>),
}

/// Speaks MQTT on `stream` until that ends. Says whether it was a good connection.
async fn exchange(link: &mut Link, login: Option<&Login>, stream: Stream) -> (Stop, bool) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let (shared, inputs, credentials) =
        (Arc::clone(&link.shared), link.inputs.clone(), link.credentials.clone());
    // Looks at the files without holding up a ping.
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
                    // A stream that stands still is the network's doing.
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

/// Whether the files have changed, once that was looked at; for ever on its way where nobody looks.
async fn looked(looking: &mut Option<JoinHandle<bool>>) -> bool {
    let Some(task) = looking else { return std::future::pending().await };
    let changed = task.await.unwrap_or(false);
    *looking = None;
    changed
}

/// Writes, flushes or reads, whichever can be done. Dropped half-way it has done nothing: none of the three keeps
/// bytes to itself.
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

/// Hands on every packet that is there whole.
fn take(exchange: &mut Exchange<'_>, inbox: &mut BytesMut) -> Result<(), Stop> {
    exchange.heard();
    while let Some(packet) =
        packet::read(inbox, MAX_PACKET).map_err(|wrong| exchange.ended(&wrong.to_string(), By::Us))?
    {
        exchange.happened(packet, Instant::now())?;
    }
    Ok(())
}

/// Waits until then; for ever where there is nothing to wait for.
async fn at(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// For how long the stream may stand still: two pings that nobody answers.
pub(super) fn inactivity(keep_alive: Duration) -> Duration {
    keep_alive * 2 + Duration::from_secs(15)
}
