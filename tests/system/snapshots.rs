//! `kasacamd snapshot`: a picture of what is being recorded, and never one of what is not.

use crate::support::camera::{Camera, kasacamd};
use crate::support::cloud::Cloud;
use kasacam::system::control::{Command, Open, Snapshot, ask};
use std::io::{BufRead, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

fn snapshot(camera: &Camera, file: &Path) -> Output {
    camera.command(&["snapshot", file.to_str().unwrap()])
}

fn socket(cloud: &Cloud) -> PathBuf {
    let text = std::fs::read_to_string(&cloud.agent_toml).unwrap();
    let line = text.lines().find(|line| line.starts_with("socket =")).unwrap();
    PathBuf::from(line.split('"').nth(1).unwrap())
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn size(image: &Path) -> String {
    let asked = ["-v", "error", "-show_entries", "stream=codec_name,width,height", "-of", "csv=p=0"];
    let told = std::process::Command::new("ffprobe").args(asked).arg(image).output().unwrap();
    String::from_utf8(told.stdout).unwrap().trim().to_owned()
}

#[test]
fn a_snapshot_shows_what_is_recorded_and_there_is_none_while_nothing_is() {
    let cloud = Cloud::start(&["--segment", "2s", "--fragment", "1s"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "on"]);
    let image = cloud.dir().join("image.jpg");
    let camera = Camera::start(&cloud);
    camera.wait_until_it_is_connected();

    let refused = snapshot(&camera, &image);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("the camera is closed"), "{}", said(&refused));
    assert!(!image.exists());

    cloud.tell(&["privacy", "off"]);
    camera.wait_until_it_records(10);
    let taken = snapshot(&camera, &image);
    assert_eq!(taken.status.code(), Some(0), "{}", said(&taken));
    assert_eq!(size(&image), "mjpeg,640,360");
    assert_eq!(std::fs::metadata(&image).unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&image).unwrap();

    cloud.tell(&["privacy", "on"]);
    camera.wait_for("the camera to close", |status| status["capture"]["open"] == false);
    assert_eq!(snapshot(&camera, &image).status.code(), Some(1));
    assert_eq!(std::fs::read(&image).unwrap(), before, "the file stays as it was");

    let nowhere = snapshot(&camera, Path::new("/no/such/folder/image.jpg"));
    assert!(said(&nowhere).contains("is not a folder"), "{}", said(&nowhere));
    camera.stop();
    let alone =
        kasacamd(&["snapshot", image.to_str().unwrap(), "--socket", socket(&cloud).to_str().unwrap()]);
    assert_eq!(alone.status.code(), Some(1));
    assert!(said(&alone).contains("is kasacamd running?"), "{}", said(&alone));
    let left: Vec<_> = std::fs::read_dir(cloud.dir()).unwrap().flatten().map(|it| it.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().ends_with(".tmp")), "{left:?}");
}

/// What a client asks before it writes: a choice in between has made its frame one of a run that is over.
#[test]
fn a_snapshot_of_a_run_that_has_ended_is_not_written() {
    let cloud = Cloud::start(&["--segment", "2s", "--fragment", "1s"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    let camera = Camera::start(&cloud);
    camera.wait_until_it_records(10);
    let socket = socket(&cloud);
    let open = |epoch: u64| ask::<Open>(&socket, &Command::Open { epoch }).unwrap().open;

    let taken: Snapshot = ask(&socket, &Command::Snapshot).unwrap();
    assert!(open(taken.epoch), "it goes on");
    assert!(!open(taken.epoch + 1));
    assert_eq!(camera.command(&["privacy", "on"]).status.code(), Some(0));
    assert!(!open(taken.epoch), "closed by the choice that came in between");

    assert_eq!(camera.command(&["privacy", "off"]).status.code(), Some(0));
    camera.wait_for("the camera to open again", |status| status["capture"]["open"] == true);
    assert!(!open(taken.epoch), "another run is another one");
    let next: Snapshot = ask(&socket, &Command::Snapshot).unwrap();
    assert!(next.epoch > taken.epoch && open(next.epoch));
    camera.stop();

    // An agent that gives that frame, and then says how its run stands.
    for open in [true, false] {
        let image = cloud.dir().join(format!("{open}.jpg"));
        let said_by_it = serve(&cloud.dir().join(format!("{open}.sock")), &next, open);
        let arguments = ["snapshot", image.to_str().unwrap(), "--socket", said_by_it.to_str().unwrap()];
        let output = kasacamd(&arguments);
        assert_eq!((output.status.success(), image.exists()), (open, open), "{}", said(&output));
        assert!(open || said(&output).contains("closed meanwhile"), "{}", said(&output));
    }
}

/// Answers two requests: with the frame, and with whether its run goes on.
fn serve(path: &Path, frame: &Snapshot, open: bool) -> PathBuf {
    let listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    let answers = [serde_json::to_string(frame).unwrap(), serde_json::to_string(&Open { open }).unwrap()];
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = String::new();
            std::io::BufReader::new(&stream).read_line(&mut request).unwrap();
            stream.write_all(format!("{answer}\n").as_bytes()).unwrap();
        }
    });
    path.to_owned()
}
