//! What the household has in its hands and before its eyes: a shutter, a button, a light.

use crate::support::camera::Camera;
use crate::support::cloud::{Cloud, wait};
use std::ffi::CString;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

const SWITCH: (u16, u16) = (5, 9);
const BUTTON: (u16, u16) = (1, 212);

/// A pipe that tells what an input device would, struct for struct.
struct Input {
    path: PathBuf,
    pipe: Option<File>,
}

impl Input {
    fn new(dir: &Path) -> Input {
        let path = dir.join("event0");
        let name = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: a plain system call with a string of our own.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        let pipe = Some(File::options().read(true).write(true).open(&path).unwrap());
        Input { path, pipe }
    }

    fn tell(&mut self, (kind, code): (u16, u16), value: i32) {
        let mut event = vec![0; size_of::<libc::input_event>() - 8];
        event.extend(kind.to_ne_bytes());
        event.extend(code.to_ne_bytes());
        event.extend(value.to_ne_bytes());
        self.pipe.as_mut().unwrap().write_all(&event).unwrap();
    }
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
    let mut shutter = Input::new(dir.path());
    let latch = format!("privacy.latch={{ kind = \"switch\", device = {:?}, code = 9 }}", shutter.path);
    let cloud = allowed(&["--set", &latch]);
    let camera = Camera::start(&cloud);
    let status = camera.wait_for("a connection", |status| {
        status["mqtt"]["connected"] == true && status["privacy"]["version"] == 1
    });
    assert_eq!(status["capture"]["starts"], 0, "nobody knows yet how the shutter stands: {status}");

    shutter.tell(SWITCH, 0);
    open(&camera, true);
    shutter.tell((SWITCH.0, SWITCH.1 + 1), 1);
    shutter.tell(BUTTON, 1);
    camera.wait_until_it_records(15);
    shutter.tell(SWITCH, 1);
    open(&camera, false);
    shutter.tell(SWITCH, 0);
    open(&camera, true);

    shutter.pipe = None;
    open(&camera, false);
    camera.wait_for_log("the shutter cannot be read");
}

#[test]
fn a_button_sets_the_latch_and_lifts_it() {
    let dir = tempfile::TempDir::new().unwrap();
    let mut button = Input::new(dir.path());
    let latch = format!("privacy.latch={{ kind = \"button\", device = {:?}, code = 212 }}", button.path);
    let cloud = allowed(&["--set", &latch]);
    let camera = Camera::start(&cloud);
    open(&camera, true);

    button.tell(BUTTON, 1);
    button.tell(BUTTON, 2);
    button.tell(BUTTON, 0);
    open(&camera, false);
    camera.kill();
    let camera = Camera::start(&cloud);
    camera.wait_for("a connection", |status| status["mqtt"]["connected"] == true);
    assert_eq!(camera.status()["capture"]["starts"], 0, "the latch outlives a restart");
    button.tell(BUTTON, 1);
    open(&camera, true);
}

#[test]
fn the_light_is_on_while_the_camera_is_open_and_at_no_other_time() {
    let led = tempfile::TempDir::new().unwrap();
    for (attribute, value) in
        [("brightness", "255\n"), ("max_brightness", "255\n"), ("trigger", "[none] timer\n")]
    {
        std::fs::write(led.path().join(attribute), value).unwrap();
    }
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
