//! The real camera and a store behind a proxy that misbehaves in every way. Whatever happens, once it works
//! again everything is stored: nothing is lost, nothing is stored twice, and the store is not flooded
//! meanwhile.

use crate::support::bucket::assert_spans_are_whole;
use crate::support::camera::Camera;
use crate::support::cloud::{Cloud, wait_up_to};
use crate::support::proxy::{Fault, Proxy};
use std::time::{Duration, Instant};

/// Longer than any timeout of the camera: 30 s without a byte, and its wait before the next attempt.
const PATIENCE: Duration = Duration::from_secs(60);
/// Duration of a fault that is a state and does not happen once per request.
const OUTAGE: Duration = Duration::from_secs(3);

/// A row of a table: the fault, how often it happens, and what the camera reports.
type Row = (Fault, u32, &'static str);

/// One camera goes through all rows, one after the other.
fn survive(rows: &[Row]) {
    let mut proxy = Proxy::bind();
    let setting = proxy.setting();
    let cloud =
        Cloud::start(&["--segment", "2s", "--fragment", "500ms", "--chunk", "250ms", "--set", &setting]);
    proxy.serve(&cloud);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    let camera = Camera::start(&cloud);
    wait_up_to(PATIENCE, "a first object", || cloud.stored().first().map(|_| ()));

    for (fault, times, words) in rows {
        let before = cloud.stored().len();
        let seen = camera.log().len();
        let began = Instant::now();
        proxy.set(*fault, *times);
        match fault {
            Fault::Refuse | Fault::Slow => std::thread::sleep(OUTAGE),
            _ => {
                wait_up_to(PATIENCE, &format!("{fault:?} to strike"), || {
                    (proxy.hits() >= *times).then_some(())
                });
            }
        }
        if *fault != Fault::StallWithinBody {
            proxy.heal();
        }
        let told = || camera.log().get(seen..).unwrap_or_default().contains(words);
        wait_up_to(PATIENCE, &format!("{words:?} in the log after {fault:?}"), || told().then_some(()));
        proxy.heal();
        let struck = began.elapsed();
        wait_up_to(PATIENCE, &format!("objects after {fault:?}"), || {
            (cloud.stored().len() >= before + 2).then_some(())
        });
        let stored = u32::try_from(cloud.stored().len() - before).unwrap();
        // One PUT each, one that is under way, and after each fault a PUT and a HEAD on both connections.
        let most = stored + 2 + 4 * times;
        assert!(
            proxy.connections() <= most,
            "{} requests for {stored} objects: {fault:?}",
            proxy.connections()
        );
        println!("{fault:?}: {struck:?}, delivered after {:?}", began.elapsed());
    }

    cloud.tell(&["privacy", "on"]);
    camera.wait_for("the owner's choice", |status| status["privacy"]["do_not_record"] == true);
    camera.wait_until_all_is_stored();
    let status = camera.status();
    camera.stop();
    let stored = cloud.stored();
    assert_spans_are_whole(&stored, true);
    let frames: u64 = stored.iter().filter(|object| !object.is_end()).map(|object| object.frames()).sum();
    assert_eq!(status["capture"]["frames_committed"], frames, "{status}");
}

#[test]
fn whatever_the_store_answers_all_is_stored_once_it_is_healed() {
    survive(&[
        (Fault::Answer(403, ""), 2, "HTTP 403"),
        (Fault::Answer(404, ""), 1, "HTTP 404"),
        (Fault::Answer(409, ""), 1, "HTTP 409"),
        (Fault::Answer(412, ""), 1, "HTTP 412"),
        (Fault::Answer(429, "retry-after: 1\r\n"), 1, "HTTP 429"),
        (Fault::Answer(503, "retry-after: 2\r\n"), 1, "HTTP 503"),
        (Fault::Answer(500, ""), 1, "HTTP 500"),
        (Fault::Answer(307, "location: https://localhost:1/elsewhere\r\n"), 1, ""),
        (Fault::Header("etag", "\"0\""), 1, ""),
        (
            Fault::Header("x-amz-checksum-sha256", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            1,
            "without proof",
        ),
    ]);
}

#[test]
fn however_the_connection_breaks_all_is_stored_once_it_is_healed() {
    survive(&[
        (Fault::Refuse, 1, "refused"),
        (Fault::ResetBeforeTls, 2, ""),
        (Fault::ResetWithinBody, 1, ""),
        (Fault::ResetAfterBody, 1, ""),
        (Fault::CutAnswer, 1, ""),
        (Fault::LostAnswer, 2, ""),
        (Fault::Slow, 1, ""),
    ]);
}

#[test]
fn a_store_that_cannot_prove_who_it_is_gets_all_once_it_can() {
    // Twice each: of two connections that are opened at once one may be of no use, and what failed on it is not told.
    survive(&[
        (Fault::Expired, 2, "its certificate has expired"),
        (Fault::WrongHost, 2, "is for another host than that of"),
        (Fault::WrongCa, 2, "its certificate "),
        (Fault::OldTls, 2, "TLS"),
    ]);
}

#[test]
fn a_store_that_stops_answering_gets_everything_once_it_answers() {
    survive(&[
        (Fault::Silent, 1, "no answer to TLS within 10s"),
        (Fault::StallWithinBody, 1, "no byte moved"),
    ]);
}
