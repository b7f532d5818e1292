//! An object is a file that can be played alone, however late in its span it is: from its first second, and
//! with the right duration. Each of three players is tried.

use crate::support::browser::Browser;
use crate::support::bucket::Stored;
use crate::support::camera::Camera;
use crate::support::clip::run;
use crate::support::cloud::{Cloud, wait};
use gst::prelude::*;
use std::path::Path;
use std::time::Duration;

/// What a player reports of a file, in seconds.
#[derive(Debug)]
struct Told {
    start: f64,
    length: f64,
}

fn ffprobe(path: &Path) -> Told {
    let entries = ["-v", "error", "-show_entries", "format=start_time,duration", "-of", "csv=p=0"];
    let text =
        String::from_utf8(run("ffprobe", &[&entries[..], &[path.to_str().unwrap()]].concat())).unwrap();
    let mut numbers = text.trim().split(',').map(|number| number.parse().unwrap());
    Told { start: numbers.next().unwrap(), length: numbers.next().unwrap() }
}

/// GStreamer: when the first frame is shown, and the duration after reading all.
fn gstreamer(path: &Path) -> Told {
    gst::init().unwrap();
    let text = format!(
        "filesrc location={} ! qtdemux name=d d.video_0 ! appsink name=s sync=false",
        path.to_str().unwrap()
    );
    let pipeline = gst::parse::launch(&text).unwrap().downcast::<gst::Pipeline>().unwrap();
    let sink = pipeline.by_name("s").unwrap().downcast::<gst_app::AppSink>().unwrap();
    pipeline.set_state(gst::State::Playing).unwrap();
    let (mut shown, mut length) = (Vec::new(), None);
    while let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_seconds(30)) {
        let segment = sample.segment().unwrap().downcast_ref::<gst::ClockTime>().unwrap();
        let time = segment.to_stream_time(sample.buffer().unwrap().pts().unwrap());
        shown.push(time.unwrap().nseconds());
        length = pipeline.query_duration::<gst::ClockTime>().or(length);
    }
    pipeline.set_state(gst::State::Null).unwrap();
    let seconds = |nanos: u64| Duration::from_nanos(nanos).as_secs_f64();
    Told {
        start: seconds(*shown.iter().min().unwrap()),
        length: seconds(length.expect("a length").nseconds()),
    }
}

fn chromium(browser: &mut Browser, object: &Stored) -> Told {
    let told = browser.eval(&format!(
        "(async () => {{ const v = document.createElement('video'); v.muted = true; v.preload = 'auto'; v.src = '/media/{}';
           document.body.append(v);
           await new Promise((done, failed) => {{ v.oncanplay = done; v.onerror = () => failed(v.error.message); }});
           const told = [v.currentTime, v.duration]; v.remove(); return told; }})()",
        object.key
    ));
    Told { start: told[0].as_f64().unwrap(), length: told[1].as_f64().unwrap() }
}

#[test]
fn an_object_deep_in_its_span_plays_from_its_first_second_and_tells_its_own_length() {
    let cloud = Cloud::start(&["--segment", "2s", "--fragment", "1s"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    let camera = Camera::start(&cloud);
    wait("a segment deep in its span", || cloud.footage().iter().any(|it| it.n() >= 4).then_some(()));
    camera.stop();
    let footage = cloud.footage();
    let deep: Vec<&Stored> = footage.iter().filter(|it| [0, 2, 4].contains(&it.n())).collect();
    assert!(deep.len() >= 3, "{} of {}", deep.len(), footage.len());
    let folder = tempfile::tempdir().unwrap();
    let mut browser = Browser::start();
    browser.open(&cloud.page);

    for object in deep {
        let path = folder.path().join("object.mp4");
        std::fs::write(&path, &object.body).unwrap();
        let length = object.metadata("duration-ms").parse::<f64>().unwrap() / 1000.0;
        for (who, told) in [
            ("ffprobe", ffprobe(&path)),
            ("GStreamer", gstreamer(&path)),
            ("Chromium", chromium(&mut browser, object)),
        ] {
            assert!(told.start < 0.3, "{who} of segment {}: {told:?}", object.n());
            // Audio ends within one frame of the video; and some players count from zero.
            assert!(
                (told.length - length).abs() < 0.35,
                "{who} of segment {}: {told:?}, {length} s",
                object.n()
            );
        }
    }
}
