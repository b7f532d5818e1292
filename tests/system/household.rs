//! The controls and indicators of the household: a shutter, a button, a light.

use crate::support::camera::{Camera, kasacamd};
use crate::support::cloud::{Cloud, wait};
use crate::support::kernel::Input;
use crate::support::opened::Watched;
use std::path::Path;

const SWITCH: (u16, u16) = (5, 9);
const BUTTON: (u16, u16) = (1, 212);

/// A camera with this input device.
fn start(cloud: &Cloud, device: &Input) -> Camera {
    let environment = device.environment();
    Camera::start_under(cloud, "env", &environment.each_ref().map(String::as_str))
}

fn allowed(arguments: &[&str]) -> Cloud {
    let cloud = Cloud::start(&[&["--segment", "2s"], arguments].concat());
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    cloud
}

fn open(camera: &Camera, open: bool) {
    camera.wait_for(if open { "an open camera" } else { "a closed camera" }, |status| {
        status["capture"]["open"] == open && status["privacy"]["latch"] != open
    });
}

#[test]
fn a_shutter_closes_the_camera_and_one_that_cannot_be_read_keeps_it_closed() {
    let dir = tempfile::TempDir::new().unwrap();
    // It is closed.
    let mut shutter = Input::new(dir.path(), (-1, 9, 9));
    let latch = format!("privacy.latch={{ kind = \"switch\", device = {:?}, code = 9 }}", shutter.path);
    let cloud = allowed(&["--set", &latch]);
    let camera = start(&cloud, &shutter);
    let status = camera.wait_for("a connection", |status| {
        status["mqtt"]["connected"] == true && status["privacy"]["version"] == 1
    });
    assert_eq!(status["capture"]["starts"], 0, "{status}");

    shutter.tell(SWITCH, 0);
    open(&camera, true);
    shutter.tell((SWITCH.0, SWITCH.1 + 1), 1);
    shutter.tell(BUTTON, 1);
    camera.wait_until_it_records(15);
    shutter.tell(SWITCH, 1);
    open(&camera, false);
    shutter.tell(SWITCH, 0);
    open(&camera, true);

    // It is unplugged, and plugged in again as another device.
    shutter.answer((-1, 7, -1));
    shutter.pipe = None;
    open(&camera, false);
    camera.wait_for_log("the shutter cannot be read");
    camera.wait_for_log("it has no switch of code 9");
}

#[test]
fn a_file_that_is_no_input_device_is_no_open_shutter() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut shutter = Input::new(dir.path(), (-1, 9, -1));
    let latch = format!("privacy.latch={{ kind = \"switch\", device = {:?}, code = 9 }}", shutter.path);
    let cloud = allowed(&["--set", &latch]);
    // There is no answer for it.
    let camera = Camera::start(&cloud);
    shutter.tell(SWITCH, 0);
    camera.wait_for("a fault of the latch", |status| status["household"]["latch_fault"].is_string());
    camera.wait_for("a connection", |status| status["mqtt"]["connected"] == true);
    assert_eq!(camera.status()["capture"]["starts"], 0);
}

#[test]
fn a_button_sets_the_latch_and_lifts_it() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut button = Input::new(dir.path(), (212, -1, -1));
    let latch = format!("privacy.latch={{ kind = \"button\", device = {:?}, code = 212 }}", button.path);
    let cloud = allowed(&["--set", &latch]);
    let camera = start(&cloud, &button);
    open(&camera, true);

    button.tell(BUTTON, 1);
    button.tell(BUTTON, 2);
    button.tell(BUTTON, 0);
    open(&camera, false);
    // The camera closes before the latch is written. On a busy machine a kill could come between the two.
    let fact = camera.state_dir().join("state/latch");
    wait("a durable latch", || std::fs::read_to_string(&fact).ok().filter(|text| text.contains("closed")));
    camera.kill();
    let camera = start(&cloud, &button);
    camera.wait_for("a connection", |status| status["mqtt"]["connected"] == true);
    assert_eq!(camera.status()["capture"]["starts"], 0, "the latch outlives a restart");
    button.tell(BUTTON, 1);
    open(&camera, true);
}

/// A folder like that of an LED in the kernel, lit.
fn an_led() -> tempfile::TempDir {
    let led = tempfile::TempDir::new().unwrap();
    for (attribute, value) in
        [("brightness", "255\n"), ("max_brightness", "255\n"), ("trigger", "[none] timer\n")]
    {
        std::fs::write(led.path().join(attribute), value).unwrap();
    }
    led
}

#[test]
fn the_light_goes_out_only_after_the_device_is_closed() {
    let (led, dir) = (an_led(), tempfile::TempDir::new().unwrap());
    let brightness = led.path().join("brightness");
    let (clip, _) = Watched::device(dir.path());
    let indicator = format!("privacy.indicator={:?}", led.path());
    let cloud = Cloud::start(&["--source", clip.to_str().unwrap(), "--segment", "2s", "--set", &indicator]);
    cloud.tell(&["plan", "plus"]);
    let camera = Camera::start(&cloud);
    for _ in 0..5 {
        cloud.tell(&["privacy", "off"]);
        let recorded = camera.status()["capture"]["frames_committed"].as_u64().unwrap_or(0);
        camera.wait_until_it_records(recorded + 1);
        let watched = Watched::closed_and_written(&clip, &brightness);
        cloud.tell(&["privacy", "on"]);
        wait("a light that is out", || {
            std::fs::read_to_string(&brightness).ok().filter(|value| value.trim() == "0")
        });
        // Gives an input that would come too late the time to come.
        std::thread::sleep(std::time::Duration::from_millis(200));
        let happened = watched.happened();
        let (last_close, first_write) = (happened.rfind('c'), happened.find('w'));
        assert!(last_close.is_some() && first_write.is_some(), "nothing was seen: {happened:?}");
        assert!(last_close < first_write, "the light went out first: {happened:?}");
    }
    camera.stop();
}

#[test]
fn the_light_is_on_while_the_camera_is_open_and_at_no_other_time() {
    let led = an_led();
    let brightness = || std::fs::read_to_string(led.path().join("brightness")).unwrap_or_default();
    let lit = |value: &str| wait(&format!("a light of {value}"), || (brightness() == value).then_some(()));
    let cloud = Cloud::start(&["--segment", "2s", "--set", &format!("privacy.indicator={:?}", led.path())]);
    cloud.tell(&["plan", "plus"]);
    let camera = Camera::start(&cloud);
    lit("0");
    for _ in 0..5 {
        cloud.tell(&["privacy", "off"]);
        lit("255");
        open(&camera, true);
        assert_eq!(brightness(), "255");
        cloud.tell(&["privacy", "on"]);
        camera.wait_for("a closed camera", |status| status["capture"]["open"] == false);
        lit("0");
    }
    cloud.tell(&["privacy", "off"]);
    lit("255");
    camera.stop();
    assert_eq!(brightness(), "0", "a camera that has ended is not open");
}

/// The commands of the unit after the agent has ended, however it ended.
fn after_the_end(config: &Path) -> Vec<String> {
    let unit = std::fs::read_to_string("systemd/kasacamd.service").unwrap();
    let line = unit.lines().find_map(|line| line.strip_prefix("ExecStopPost=-/usr/bin/kasacamd ")).unwrap();
    line.replace("/etc/kasacam/agent.toml", config.to_str().unwrap()).split(' ').map(String::from).collect()
}

#[test]
fn the_unit_puts_out_the_light_of_a_camera_that_was_killed() {
    let led = an_led();
    let brightness = || std::fs::read_to_string(led.path().join("brightness")).unwrap_or_default();
    let cloud = allowed(&["--set", &format!("privacy.indicator={:?}", led.path())]);
    let camera = Camera::start(&cloud);
    open(&camera, true);
    camera.kill();
    assert_eq!(brightness(), "255", "nobody was left to put it out");

    let began = std::time::Instant::now();
    let command = after_the_end(&cloud.agent_toml);
    let ended = kasacamd(&command.iter().map(String::as_str).collect::<Vec<_>>());

    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(brightness(), "0");
    assert!(began.elapsed() < std::time::Duration::from_secs(1), "{:?}", began.elapsed());
}

#[test]
fn a_camera_whose_light_cannot_be_lit_opens_no_device_and_says_why() {
    let led = an_led();
    let (clip, _) = Watched::device(led.path());
    let indicator = format!("privacy.indicator={:?}", led.path());
    let cloud = Cloud::start(&["--source", clip.to_str().unwrap(), "--segment", "2s", "--set", &indicator]);
    cloud.tell(&["plan", "plus"]);
    // Like an LED whose bus is gone; for root, file modes are no obstacle.
    let brightness = led.path().join("brightness");
    std::fs::remove_file(&brightness).unwrap();
    std::fs::create_dir(&brightness).unwrap();
    let watched = Watched::new(&clip);
    let camera = Camera::start(&cloud);
    cloud.tell(&["privacy", "off"]);
    camera.wait_for("a fault of the light", |status| {
        status["capture"]["fault"].as_str().is_some_and(|why| why.contains("privacy.indicator"))
    });
    assert_eq!(camera.status()["capture"]["starts"], 0);
    assert!(!watched.was_opened());

    std::fs::remove_dir(&brightness).unwrap();
    std::fs::write(&brightness, "0").unwrap();
    camera.wait_until_it_records(1);
    assert!(watched.was_opened(), "the harness sees a device being opened");
}

#[test]
fn a_button_that_is_not_there_is_a_fault_until_it_is() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut button = Input::new(dir.path(), (212, -1, -1));
    let (path, away) = (button.path.clone(), dir.path().join("away"));
    std::fs::rename(&path, &away).unwrap();
    let latch = format!("privacy.latch={{ kind = \"button\", device = {path:?}, code = 212 }}");
    let cloud = allowed(&["--set", &latch]);
    let fault = |status: &serde_json::Value| {
        status["household"]["latch_fault"].as_str().is_some_and(|why| why.contains("event0"))
    };
    let check = || kasacamd(&["check", "--config", cloud.agent_toml.to_str().unwrap()]);
    let told = check();
    assert_eq!(told.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&told.stdout).contains("privacy.latch"));

    let camera = start(&cloud, &button);
    open(&camera, true);
    camera.wait_for("a fault of the latch", fault);
    assert!(String::from_utf8_lossy(&camera.command(&["status"]).stdout).contains("event0"));
    let metrics = camera.command(&["metrics"]).stdout;
    assert!(String::from_utf8_lossy(&metrics).contains("kasacam_latch_fault 1"));
    wait("an event", || {
        cloud.events().iter().any(|it| it["payload"]["event"] == "latch_failed").then_some(())
    });

    std::fs::rename(&away, &path).unwrap();
    camera.wait_for("a latch without fault", |status| !fault(status));
    button.tell(BUTTON, 1);
    open(&camera, false);
}

#[test]
fn a_light_that_cannot_be_set_is_reported_by_check() {
    let led = an_led();
    let cloud = Cloud::start(&["--set", &format!("privacy.indicator={:?}", led.path())]);
    let check = || kasacamd(&["check", "--config", cloud.agent_toml.to_str().unwrap()]);
    assert_eq!(check().status.code(), Some(0));
    assert_eq!(
        std::fs::read_to_string(led.path().join("brightness")).unwrap(),
        "255\n",
        "it is left as it is"
    );
    std::fs::remove_file(led.path().join("brightness")).unwrap();
    let told = check();
    assert_eq!(told.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&told.stdout).contains("privacy.indicator"));
}

#[test]
fn a_device_without_that_switch_is_no_open_shutter() {
    let dir = tempfile::TempDir::new().unwrap();
    let shutter = Input::new(dir.path(), (-1, -1, -1));
    let latch = format!("privacy.latch={{ kind = \"switch\", device = {:?}, code = 9 }}", shutter.path);
    let cloud = allowed(&["--set", &latch]);

    for (has, on, opens) in [(7, -1, false), (9, 9, false), (9, -1, true)] {
        shutter.answer((-1, has, on));
        let camera = start(&cloud, &shutter);
        let status = camera.wait_for("a connection", |status| {
            status["mqtt"]["connected"] == true && status["privacy"]["version"] == 1
        });
        if opens {
            open(&camera, true);
        } else {
            std::thread::sleep(std::time::Duration::from_millis(1_500));
            assert_eq!(camera.status()["capture"]["starts"], 0, "{has}, {on}: {status}");
        }
        if has == 7 {
            camera.wait_for_log("it has no switch of code 9");
        }
        camera.stop();
    }
}
