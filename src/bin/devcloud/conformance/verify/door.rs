//! Clients that the broker must refuse.

use super::super::client::Client;
use super::super::judgement::cloud::seen::{CloudSeen, Door};
use super::super::judgement::row::Look;
use super::super::party::{Party, tls};
use super::super::received::SessionStart;
use super::check::Check;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(super) async fn look(check: &Check<'_>, seen: &mut CloudSeen) {
    seen.old_tls = old_tls(check).await;
    seen.nobody = nobody(check).await;
}

/// A client with the device's id, but without certificate and user name.
async fn nobody(check: &Check<'_>) -> Look<Door> {
    let party = Party {
        client: check.device.client.clone(),
        tls: tls(&check.arguments.common.ca, None)?,
        login: None,
    };
    let start = SessionStart { clean_start: true, ..SessionStart::default() };
    Ok(match Client::connect(&check.place, &party, start).await {
        Ok((_, connack, _)) if connack.success => Door::Open("it was accepted".into()),
        Ok((_, connack, _)) => Door::Shut(format!("CONNACK: {}", connack.code)),
        Err(closed) => Door::Shut(closed.why()),
    })
}

/// Sends a `ClientHello` (RFC 4346, 7.4.1.2) of TLS 1.1: is the answer a `ServerHello`?
async fn old_tls(check: &Check<'_>) -> Look<Door> {
    let place = &check.place;
    let asking = async {
        let mut stream = TcpStream::connect((place.host.as_str(), place.port)).await?;
        stream.write_all(&hello()).await?;
        let mut answer = [0; 11];
        stream.read_exact(&mut answer).await?;
        Ok::<_, std::io::Error>(answer)
    };
    match timeout(place.within, asking).await {
        // A handshake record with a `ServerHello`, and its version.
        Ok(Ok([22, _, _, _, _, 2, _, _, _, 3, minor])) if minor <= 2 => {
            Ok(Door::Open(format!("it continues with TLS 1.{}", minor.saturating_sub(1))))
        }
        Ok(Ok([21, ..])) => Ok(Door::Shut("it answers with an alert".into())),
        Ok(Ok(_)) => Ok(Door::Shut("it does not continue".into())),
        Ok(Err(_)) => Ok(Door::Shut("it ends the connection".into())),
        Err(_) => Err(format!("no answer within {:?}", place.within)),
    }
}

fn hello() -> Vec<u8> {
    let suites = [0xc0, 0x09, 0xc0, 0x13, 0xc0, 0x0a, 0xc0, 0x14, 0x00, 0x2f, 0x00, 0x35];
    // Groups P-256, P-384 and X25519; points without compression.
    let extensions = [0, 10, 0, 8, 0, 6, 0, 23, 0, 24, 0, 29, 0, 11, 0, 2, 1, 0];
    let mut body = vec![3, 2];
    body.extend([0x4b; 32]);
    body.extend([0, 0, 12]);
    body.extend(suites);
    body.extend([1, 0, 0, 18]);
    body.extend(extensions);
    let length = u8::try_from(body.len()).unwrap_or(u8::MAX);
    let mut hello = vec![22, 3, 1, 0, length.saturating_add(4), 1, 0, 0, length];
    hello.extend(body);
    hello
}
