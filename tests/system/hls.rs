//! HLS from keys only: the playlist itself, and two players that play it.

use crate::page_parts::hls::{Named, playlist, variants};
use crate::support::browser::Browser;
use crate::support::camera::Camera;
use crate::support::clip::run;
use crate::support::cloud::{Cloud, wait};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn of(keys: &[&str]) -> String {
    let keys: Vec<Named> = keys.iter().map(|key| Named::parse(key).unwrap()).collect();
    playlist(&keys, |key| format!("/{}", key.rsplit('/').next().unwrap()), |_| Some(700))
}

fn lines<'a>(playlist: &'a str, tag: &str) -> Vec<&'a str> {
    playlist.lines().filter_map(|line| line.strip_prefix(tag)).collect()
}

#[test]
fn a_segment_lasts_until_the_next_key_of_its_span_and_the_newest_waits_for_it() {
    let told = of(&[
        "v1/c/2026-11-26/12/00-00.000000Z.0.mp4",
        "v1/c/2026-11-26/12/00-04.000000Z.1.mp4",
        "v1/c/2026-11-26/12/00-08.500000Z.2.mp4",
    ]);
    assert_eq!(lines(&told, "#EXTINF:"), ["4.000000,", "4.500000,"]);
    assert_eq!(lines(&told, "#EXT-X-TARGETDURATION:"), ["5"]);
    assert_eq!(lines(&told, "#EXT-X-MAP:"), ["URI=\"/00-00.000000Z.0.mp4\",BYTERANGE=\"700@0\""]);
    let times = lines(&told, "#EXT-X-PROGRAM-DATE-TIME:");
    assert!(
        times[0].starts_with("2026-11-26T12:00:00") && times[1].starts_with("2026-11-26T12:00:04"),
        "{times:?}"
    );
    // The times of each segment begin at zero.
    assert_eq!(lines(&told, "#EXT-X-DISCONTINUITY").len(), 1);
    assert!(told.ends_with("#EXT-X-ENDLIST\n"));
}

#[test]
fn a_gap_between_two_spans_is_one_for_the_player_and_each_span_has_its_own_moov() {
    let told = of(&[
        "v1/c/2026-11-26/12/59-56.000000Z.0.mp4",
        "v1/c/2026-11-26/13/00-00.000000Z.1.mp4_end",
        "v1/c/2026-11-26/13/00-10.000000Z.0.mp4",
        "v1/c/2026-11-26/13/00-14.000000Z.1.mp4_end",
    ]);
    assert_eq!(lines(&told, "#EXTINF:"), ["4.000000,", "4.000000,", "4.000000,", "2.000000,", "4.000000,"]);
    assert_eq!(lines(&told, "#EXT-X-GAP").len(), 3);
    assert_eq!(lines(&told, "#EXT-X-MAP:").len(), 2);
}

#[test]
fn the_span_of_a_new_plan_may_begin_before_the_end_of_the_one_before() {
    let told = of(&[
        "v1/c/2026-11-26/12/00-00.000000Z.0.mp4",
        "v1/c/2026-11-26/12/00-03.950000Z.0.mp4",
        "v1/c/2026-11-26/12/00-04.000000Z.1.mp4_end",
        "v1/c/2026-11-26/12/00-07.950000Z.1.mp4",
        "v1/c/2026-11-26/12/00-09.950000Z.2.mp4_end",
    ]);
    assert_eq!(lines(&told, "#EXTINF:"), ["4.000000,", "4.000000,", "2.000000,"]);
}

#[test]
fn a_key_of_another_form_is_ignored() {
    for key in [
        "",
        "v1/c/2026-11-26/12/00-00.000000Z.x.mp4",
        "v1/c/2026-11-26/12/00-00.000000Z.0.txt",
        "a/b/c/d.0.mp4",
    ] {
        assert_eq!(Named::parse(key), None, "{key}");
    }
}

#[test]
fn the_main_playlist_names_every_codec_once() {
    let kinds =
        ["video/mp4; codecs=\"hvc1.1.6.L93.B0,mp4a.40.2\"", "video/mp4; codecs=\"avc1.64001f,mp4a.40.2\""];
    let told = variants("/footage.m3u8?from=1&to=2", kinds.into_iter(), 812_000);
    assert_eq!(
        told,
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n\
         #EXT-X-STREAM-INF:BANDWIDTH=812000,CODECS=\"avc1.64001f,hvc1.1.6.L93.B0,mp4a.40.2\"\n\
         /footage.m3u8?from=1&to=2\n"
    );
}

#[test]
fn ffmpeg_and_hls_js_play_it_over_a_border_and_a_gap() {
    let cloud = Cloud::start(&["--segment", "2s", "--fragment", "1s"]);
    cloud.tell(&["plan", "plus"]);
    cloud.tell(&["privacy", "off"]);
    let camera = Camera::start(&cloud);
    let stored = |n: usize| {
        wait("segments", || (cloud.footage().len() >= n).then_some(()));
    };
    stored(2);
    cloud.tell(&["privacy", "on"]);
    camera.wait_for("a closed device", |status| status["capture"]["open"] == false);
    camera.wait_until_all_is_stored();
    let before = cloud.footage().len();
    // Long enough to be a gap: a shorter one is played over.
    std::thread::sleep(Duration::from_secs(1));
    cloud.tell(&["privacy", "off"]);
    stored(before + 2);
    camera.stop();
    let (first, kept) = (cloud.footage().remove(0), cloud.footage().iter().map(|f| f.frames()).sum::<u64>());
    assert_eq!(first.n(), 0);
    let url = format!("{}footage.m3u8?from=0&to=9000000000000", cloud.page);
    let fetched = || String::from_utf8(run("curl", &["-s", "--max-time", "20", &url])).unwrap();
    let segments = cloud.footage().len();
    wait("all of it in the playlist", || {
        let told = fetched();
        let gaps = told.matches("#EXT-X-GAP").count();
        (gaps > 0 && told.matches("#EXTINF").count() - gaps == segments).then_some(())
    });

    // Every coded frame, as ffmpeg demultiplexes it. It does not support gaps: it requests their parts, and
    // continues without them.
    let told = Command::new("ffmpeg")
        .args(["-v", "error", "-i", &url, "-map", "0:v:0", "-c", "copy", "-f", "framecrc", "-"])
        .output()
        .unwrap();
    let frames =
        String::from_utf8(told.stdout).unwrap().lines().filter(|l| !l.starts_with('#')).count() as u64;
    assert_eq!(frames, kept, "{}", String::from_utf8_lossy(&told.stderr));

    let packed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web/hls.light.min.js.gz");
    let library = String::from_utf8(run("gzip", &["-dc", packed.to_str().unwrap()])).unwrap();
    let mut browser = Browser::start();
    browser.open(&cloud.page);
    browser.eval(&format!("{library}\n;0"));
    browser.eval(&format!(
        "(() => {{ const v = document.createElement('video'); v.muted = true; v.id = 'hls'; document.body.append(v); window.faults = [];
           const hls = new Hls({{enableWorker: false}}); hls.on(Hls.Events.ERROR, (_, e) => {{ if (e.fatal) window.faults.push(e.details); }});
           hls.on(Hls.Events.MANIFEST_PARSED, () => v.play()); hls.loadSource({url:?}); hls.attachMedia(v); }})()"
    ));
    browser.wait_for("hls.js to play over a border", "document.querySelector('#hls').currentTime > 2.5");
    browser.wait_for(
        "hls.js to have the footage behind the gap",
        "(() => { const v = document.querySelector('#hls'); return v.buffered.length >= 2 || v.buffered.end(0) > v.duration - 1; })()",
    );
    assert_eq!(browser.eval("JSON.stringify(window.faults)"), "[]");
}
