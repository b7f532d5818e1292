//! A choice that the camera could not hear when it was made. The oracle checks every byte that is left.
//! `KASACAM_AWAY` says for how many seconds the connection to the broker is cut (8).

use crate::support::camera::Camera;
use crate::support::cloud::{Cloud, wait_up_to};
use crate::support::figures::figure;
use crate::support::pipe::Pipe;
use crate::support::switch::{Switch, parameter};
use std::time::{Duration, Instant};

/// More than the longest wait of a camera between two attempts to connect.
const PATIENCE: Duration = Duration::from_secs(330);

struct Line {
    pipe: Pipe,
    cloud: Cloud,
}

/// A camera that may record, of which only the connection to its broker can be cut.
fn line(settings: &[&str]) -> Line {
    let mut pipe = Pipe::bind();
    let url = pipe.setting();
    let arguments = ["--segment", "3s", "--fragment", "500ms", "--chunk", "250ms", "--set", &url];
    let cloud = Cloud::start(&[&arguments[..], settings].concat());
    pipe.serve(cloud.mqtt_port);
    cloud.tell(&["plan", "plus"]);
    Line { pipe, cloud }
}

fn wait_for_line(camera: &Camera, connected: bool) {
    wait_up_to(PATIENCE, "the line", || (camera.status()["mqtt"]["connected"] == connected).then_some(()));
}

fn away() -> Duration {
    Duration::from_secs(parameter("KASACAM_AWAY", 8))
}

/// Forbids recording while the connection is cut, and judges what is left once the camera has heard of it.
fn forbid_while_away(killed: bool) {
    let Line { pipe, cloud } = line(&[]);
    let mut switch = Switch::new(&cloud);
    let mut camera = Camera::start(&cloud);
    switch.allow();
    camera.wait_until_it_records(15);
    wait_for_line(&camera, true);

    pipe.cut();
    wait_for_line(&camera, false);
    // Footage from before the choice, which must be kept.
    std::thread::sleep(away() / 2);
    let before = camera.status()["capture"]["frames_committed"].as_u64().unwrap();
    switch.forbid();
    let began = Instant::now();
    while began.elapsed() < away() {
        std::thread::sleep(Duration::from_millis(250));
        if killed && began.elapsed() > away() / 2 && camera.status()["capture"]["starts"] == 1 {
            let committed = camera.status()["capture"]["frames_committed"].as_u64().unwrap();
            assert!(committed > before, "it cannot know yet");
            camera.kill();
            camera = Camera::start(&cloud);
            camera.wait_until_it_records(15);
            break;
        }
    }
    std::thread::sleep(away() / 2);
    assert_eq!(camera.status()["capture"]["open"], true, "it cannot know yet");
    // Nothing that was captured unheard has left the camera.
    let unheard = switch.evidence(std::path::Path::new("/nonexistent"));
    switch.judge(&unheard);

    pipe.mend();
    wait_up_to(PATIENCE, "a closed device", || {
        let status = camera.status();
        (status["capture"]["open"] == false && status["privacy"]["do_not_record"] == true).then_some(())
    });
    camera.wait_until_all_is_stored();
    let state = camera.state_dir();
    camera.stop();

    let kept = switch.evidence(&state);
    let found = switch.judge(&kept);
    let first = kept.iter().flat_map(|kept| kept.all()).map(|card| card.time).max().unwrap_or(0);
    let sending = switch.private[0].sending;
    let lost = Duration::from_nanos(sending.saturating_sub(first));
    assert!(
        lost < Duration::from_millis(1_500),
        "what was captured until {lost:?} before the choice only is kept"
    );
    figure(&format!(
        "forbidden while the line to the broker was cut for {:?}{}: {} frames and {} units of audio kept, none \
         taken after the choice; the last one {} ms before it",
        away() * 2,
        if killed { ", with a kill in between" } else { "" },
        found.frames,
        found.audio,
        lost.as_millis()
    ));
}

#[test]
fn k11_a_choice_made_while_the_broker_was_away_counts_from_when_it_was_made() {
    forbid_while_away(false);
}

#[test]
fn k11_a_choice_made_while_the_broker_was_away_counts_across_a_kill() {
    forbid_while_away(true);
}
