//! The real camera and a broker that stops, hangs, forgets, or serves another client with the same name. None
//! of this opens or closes the camera; the owner's choice made meanwhile is applied as soon as it can be
//! heard.

use crate::support::camera::Camera;
use crate::support::cloud::{Cloud, wait_up_to};
use crate::support::figures::{figure, skip};
use crate::support::oracle;
use crate::support::pipe::{Pipe, Silence};
use crate::support::switch::Switch;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Longer than a keep-alive of five seconds, its missing answer, and the wait before the next attempt.
const PATIENCE: Duration = Duration::from_secs(45);

fn start() -> (Cloud, Pipe) {
    start_behind(Pipe::bind())
}

fn start_behind(mut pipe: Pipe) -> (Cloud, Pipe) {
    let setting = pipe.setting();
    let cloud = Cloud::start(&["--segment", "2s", "--set", &setting, "--set", "mqtt.keep_alive=\"5s\""]);
    pipe.serve(cloud.mqtt_port);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    (cloud, pipe)
}

fn recording(cloud: &Cloud) -> Camera {
    let camera = Camera::start(cloud);
    camera.wait_until_it_records(15);
    camera
}

fn wait_for(camera: &Camera, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    wait_up_to(PATIENCE, what, || Some(camera.status()).filter(|status| wanted(status)))
}

/// Frames continue to come from the same capture, since its start number `starts`.
fn assert_goes_on(camera: &Camera, starts: &Value) {
    let committed = camera.status()["capture"]["frames_committed"].as_u64().unwrap();
    let status = camera.wait_until_it_records(committed + 15);
    assert_eq!(&status["capture"]["starts"], starts, "{status}");
}

#[test]
fn a_broker_may_be_given_by_its_ipv6_address() {
    let Some(pipe) = Pipe::bind_to_ipv6() else {
        return skip("a_broker_may_be_given_by_its_ipv6_address", "there is no ::1");
    };
    let (cloud, pipe) = start_behind(pipe);
    let camera = recording(&cloud);
    assert!(pipe.connections() > 0, "{}", camera.log());
    cloud.tell(&["privacy", "on"]);
    wait_for(&camera, "a closed camera", |status| status["capture"]["open"] == false);
    camera.stop();
}

#[test]
fn a_broker_that_stops_answering_is_left_and_the_choice_made_meanwhile_is_kept() {
    let (cloud, pipe) = start();
    let mut switch = Switch::new(&cloud);
    switch.allow();
    let camera = recording(&cloud);
    let mut sent = 0;
    for silence in [Silence::Both, Silence::FromBroker, Silence::FromCamera] {
        let starts = camera.status()["capture"]["starts"].clone();
        let (seen, connections) = (camera.log().len(), pipe.connections());
        pipe.silence(silence);
        // An event for the broker, whose acknowledgement cannot come.
        assert_goes_on(&camera, &starts);

        switch.forbid();
        if silence != Silence::FromCamera {
            assert_goes_on(&camera, &starts);
        }
        wait_up_to(PATIENCE, "a new connection", || (pipe.connections() > connections).then_some(()));
        wait_for(&camera, "a closed camera", |status| status["capture"]["open"] == false);
        assert!(camera.log()[seen..].contains("the broker"), "nothing is said of it");
        assert!(pipe.connections() <= connections + 4, "{silence:?}: {} connections", pipe.connections());
        // What was recorded meanwhile is removed by a rule. The cloud must delete what had been sent before
        // the silence was noticed: at most a keep-alive, its missing answer, and a segment.
        switch.wait_until_clean(&oracle::left_in, &camera.state_dir());
        let late = switch.late(&switch.evidence(Path::new("/nonexistent")));
        let most = late.iter().max().copied().unwrap_or_default();
        assert!(most < PATIENCE, "sent though it was captured {most:?} after the choice");
        sent += late.len();

        switch.allow();
        wait_for(&camera, "an open camera", |status| status["capture"]["open"] == true);
    }
    camera.stop();
    figure(&format!(
        "a broker that falls silent three times: {sent} frames were sent before that was noticed, none is left"
    ));
}

#[test]
fn a_second_client_with_the_same_name_does_not_affect_capture() {
    let (cloud, _pipe) = start();
    let camera = recording(&cloud);
    let starts = camera.status()["capture"]["starts"].clone();
    let (pki, device) = (cloud.dir().join("pki"), cloud.dir().join("cam-0001"));
    for _ in 0..2 {
        let seen = camera.log().len();
        let mut other = Command::new("mosquitto_sub")
            .args(["-V", "5", "-h", "localhost", "-p", &cloud.mqtt_port.to_string(), "-i", "cam-0001"])
            .arg("--cafile")
            .arg(pki.join("ca.pem"))
            .arg("--cert")
            .arg(device.join("device.pem"))
            .arg("--key")
            .arg(device.join("device.key"))
            .args(["-t", "kasacam/v1/cam-0001/privacy/desired", "-W", "3"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        wait_up_to(PATIENCE, "the connection to be taken over", || {
            camera.log()[seen..].contains("the broker is not connected").then_some(())
        });
        assert_goes_on(&camera, &starts);
        wait_for(&camera, "a connection", |status| status["mqtt"]["connected"] == true);
        let _already_gone = other.kill();
        other.wait().unwrap();
    }

    cloud.tell(&["privacy", "on"]);
    wait_for(&camera, "a closed camera", |status| status["capture"]["open"] == false);
    camera.stop();
}

#[test]
fn a_restart_of_the_broker_does_not_affect_capture_and_delivers_the_last_choice() {
    let (cloud, _pipe) = start();
    let camera = recording(&cloud);
    let starts = camera.status()["capture"]["starts"].clone();
    for _ in 0..3 {
        cloud.tell(&["broker", "down"]);
        wait_for(&camera, "a lost connection", |status| status["mqtt"]["connected"] == false);
        assert_goes_on(&camera, &starts);
        cloud.tell(&["broker", "up"]);
        wait_for(&camera, "a connection", |status| status["mqtt"]["connected"] == true);
        assert_goes_on(&camera, &starts);
    }

    // Made while the camera cannot hear it, and before it can.
    cloud.tell(&["broker", "restart"]);
    cloud.tell(&["privacy", "on"]);
    wait_for(&camera, "a closed camera", |status| status["capture"]["open"] == false);
    camera.stop();
}

#[test]
fn choices_in_any_order_and_twice_leave_the_newest_in_force() {
    let (cloud, _pipe) = start();
    let camera = recording(&cloud);
    let starts = camera.status()["capture"]["starts"].clone();
    let topic = "kasacam/v1/cam-0001/privacy/desired";
    let current = camera.status()["privacy"]["version"].as_u64().unwrap();
    let sign = |version: u64, off: bool| {
        let claims = serde_json::json!({"device_id": "cam-0001", "version": version, "issued_at": "2026-11-23T12:00:00Z", "do_not_record": off});
        let signed = cloud.tell(&["sign", "privacy", &claims.to_string()]);
        signed["jws"].as_str().unwrap_or_else(|| panic!("{signed}")).to_owned()
    };
    let send = |name: &str, jws: &str| {
        let path = cloud.dir().join(name);
        std::fs::write(&path, jws).unwrap();
        cloud.tell(&["publish-raw", topic, path.to_str().unwrap()]);
    };
    // A permission with version 20 comes first; after it an older "do not record", twice, and the permission
    // again.
    let (newest, stale) = (sign(current + 20, false), sign(current + 7, true));
    for (name, jws) in [("a", &newest), ("b", &stale), ("c", &newest), ("d", &stale)] {
        send(name, jws);
        wait_for(&camera, "the newest choice", |status| status["privacy"]["version"] == current + 20);
        assert_goes_on(&camera, &starts);
    }

    // The same for "do not record".
    send("e", &sign(current + 30, true));
    wait_for(&camera, "a closed camera", |status| status["capture"]["open"] == false);
    for jws in [&newest, &stale, &newest] {
        send("f", jws);
        cloud.tell(&["broker", "restart"]);
        wait_for(&camera, "a connection", |status| status["mqtt"]["connected"] == true);
        let status = camera.status();
        assert_eq!(status["capture"]["open"], false, "{status}");
        assert_eq!(status["privacy"]["version"], current + 30, "{status}");
    }
    camera.stop();
}
