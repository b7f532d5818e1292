//! The page of the development cloud, in a real browser.

use crate::support::browser::{Browser, Look};
use crate::support::camera::Camera;
use crate::support::clip::run;
use crate::support::cloud::{Cloud, wait};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

const LOOKS: [Look; 4] = [
    Look { width: 1280, dark: false },
    Look { width: 1280, dark: true },
    Look { width: 390, dark: false },
    Look { width: 390, dark: true },
];

/// Milliseconds until the timeline must show that the camera is private.
const PRIVATE_WITHIN_MS: f64 = 1000.0;

/// A camera that records, and its page in a browser.
struct Watched {
    browser: Browser,
    camera: Camera,
    cloud: Cloud,
}

impl Watched {
    fn start() -> Watched {
        let cloud = Cloud::start(&["--segment", "2s", "--fragment", "1s", "--telemetry", "1s"]);
        cloud.tell(&["plan", "plus"]);
        cloud.tell(&["privacy", "off"]);
        let camera = Camera::start(&cloud);
        let mut browser = Browser::start();
        browser.open(&cloud.page);
        browser.wait_for(
            "the camera to record",
            "document.querySelector('#chip').dataset.state === 'recording'",
        );
        browser.wait_for("footage on the timeline", 
            "(() => { const b = document.querySelector('.band[data-kind=recorded]'); return b && b.dataset.to - b.dataset.from > 5500; })()");
        Watched { browser, camera, cloud }
    }

    /// A band's start and end, in milliseconds of Unix time.
    fn band(&mut self, which: &str) -> (f64, f64) {
        let expression = format!(
            "(() => {{ const b = {which}; return b && [Number(b.dataset.from), Number(b.dataset.to)]; }})()"
        );
        let band = self.browser.wait_for(which, &expression);
        (band[0].as_f64().unwrap(), band[1].as_f64().unwrap())
    }

    /// Clicks on the timeline at a moment, zoomed in as far as necessary to hit it.
    fn seek(&mut self, ms: f64) {
        let at = self.browser.eval(&format!(
            "(() => {{ const t = document.querySelector('#timeline'); t.scrollIntoView({{block: 'center'}});
               const b = t.getBoundingClientRect(), [from, to] = [Number(t.dataset.from), Number(t.dataset.to)];
               return [b.left + ({ms} - from) / (to - from) * b.width, b.top + 60]; }})()"
        ));
        self.browser.click_at(at[0].as_f64().unwrap(), at[1].as_f64().unwrap());
    }

    /// Nothing went wrong in the page, and nothing was requested from another machine.
    fn assert_all_is_well(&mut self) {
        let origin = self.cloud.page.clone();
        let ours = |url: &str| {
            let blob = url.strip_prefix("blob:").unwrap_or(url);
            blob.starts_with(&origin) || url == "about:blank" || url.starts_with("data:")
        };
        let asked = self.browser.take_events("Network.requestWillBeSent");
        let asked: Vec<&str> = asked.iter().filter_map(|event| event["request"]["url"].as_str()).collect();
        assert!(asked.len() > 10, "the browser tells of its requests: {asked:?}");
        let foreign: Vec<&&str> = asked.iter().filter(|url| !ours(url)).collect();
        assert!(foreign.is_empty(), "asked of elsewhere: {foreign:?}");
        for kind in ["Runtime.exceptionThrown", "Log.entryAdded"] {
            let told = self.browser.take_events(kind);
            assert!(told.is_empty(), "{kind}: {told:?}");
        }
    }
}

const PRIVATE_BAND: &str = "document.querySelector('.band[data-kind=gap][data-reason=privacy]')";

#[test]
fn a_user_switches_privacy_plays_zooms_and_downloads() {
    let mut watched = Watched::start();
    switches_privacy(&mut watched);
    watched.browser.wait_for(
        "footage behind the gap",
        "document.querySelectorAll('.band[data-kind=recorded]').length >= 2",
    );
    zooms(&mut watched);
    plays_across_a_border(&mut watched);
    steps_by_single_frames(&mut watched);
    stands_in_a_gap_and_jumps_over_it(&mut watched);
    downloads(&mut watched);
    let pictures = std::env::var_os("KASACAM_SCREENSHOTS").map(PathBuf::from);
    if pictures.is_some() {
        shows_every_state(&mut watched);
    }
    is_accessible_in_every_look(&mut watched, pictures.as_deref());
    watched.assert_all_is_well();
    watched.camera.stop();
}

/// K11, as a person sees it: the camera reports it, and the gap shows its reason. A loaded machine may be
/// late sometimes; the gap must come each time.
fn switches_privacy(watched: &mut Watched) {
    let mut took = Vec::new();
    for _ in 0..5 {
        let browser = &mut watched.browser;
        browser.eval(&format!(
            "(() => {{ const before = document.querySelectorAll('.band[data-reason=privacy]').length;
               document.querySelector('#privacy').addEventListener('click', () => {{
                 const began = performance.now(); window.tookMs = null;
                 const look = () => {{
                   if (document.querySelectorAll('.band[data-reason=privacy]').length > before && {PRIVATE_BAND})
                     window.tookMs = performance.now() - began;
                   else setTimeout(look, 5);
                 }}; look(); }}, {{once: true}}); }})()"
        ));
        browser.click("#privacy");
        browser.wait_for(
            "the camera's report",
            "document.querySelector('#privacy').dataset.reported === 'true'",
        );
        browser.wait_for("the chip", "document.querySelector('#chip').dataset.state === 'private'");
        let ms = browser.wait_for("the measured time", "document.querySelector('#measured').dataset.ms");
        assert!(
            ms.as_str().unwrap().parse::<f64>().unwrap() > 0.0,
            "the device closed after the choice: {ms}"
        );
        let closed = browser.eval("document.querySelector('#measured').textContent");
        assert!(closed.as_str().unwrap().ends_with("to the device closed"), "{closed}");
        took.push(browser.wait_for("the gap on the timeline", "window.tookMs").as_f64().unwrap());
        let told = watched.camera.status();
        assert_eq!(
            (&told["capture"]["open"], &told["privacy"]["do_not_record"]),
            (&false.into(), &true.into())
        );
        // Wide enough to be hit by a mouse.
        watched.browser.wait_for(
            "two seconds of privacy",
            "(() => { const b = [...document.querySelectorAll('.band[data-reason=privacy]')].pop(); return b.dataset.to - b.dataset.from > 2000; })()",
        );
        watched.browser.click("#privacy");
        watched
            .browser
            .wait_for("recording", "document.querySelector('#chip').dataset.state === 'recording'");
        if took.iter().any(|ms| *ms < PRIVATE_WITHIN_MS) {
            return;
        }
    }
    panic!("the timeline said privacy after {took:?} ms");
}

fn zooms(watched: &mut Watched) {
    let browser = &mut watched.browser;
    let span =
        |browser: &mut Browser| browser.eval("Number(document.querySelector('#timeline').dataset.span)");
    browser.click("[data-span='86400']");
    browser.wait_for("a day", "document.querySelector('#timeline').dataset.span === '86400'");
    browser.click("button[data-span='600']");
    browser.wait_for("ten minutes", "document.querySelector('#timeline').dataset.span === '600'");
    browser.eval("document.querySelector('#timeline').focus()");
    browser.press("+");
    browser.wait_for("five minutes", "document.querySelector('#timeline').dataset.span === '300'");
    browser.press("-");
    browser.wait_for("ten minutes again", "document.querySelector('#timeline').dataset.span === '600'");
    let at = browser.eval(
        "(() => { const b = document.querySelector('#timeline').getBoundingClientRect(); return [b.left + b.width / 2, b.top + 60]; })()",
    );
    browser.send(
        "Input.dispatchMouseEvent",
        serde_json::json!({"type": "mouseWheel", "x": at[0], "y": at[1], "deltaX": 0, "deltaY": -240}),
    );
    browser.wait_for("the wheel to zoom", "Number(document.querySelector('#timeline').dataset.span) < 400");
    pinches(browser, at[0].as_f64().unwrap(), at[1].as_f64().unwrap());
    assert!(span(browser).as_f64().unwrap() >= 60.0);
    browser.click("button[data-span='60']");
    browser.wait_for("a minute", "document.querySelector('#timeline').dataset.span === '60'");
    browser.press("-");
    browser.eval("document.querySelector('#timeline').focus()");
    browser.press("-");
    browser.wait_for("two minutes", "document.querySelector('#timeline').dataset.span === '120'");
}

/// Two fingers that move together on the glass.
fn pinches(browser: &mut Browser, x: f64, y: f64) {
    let before = browser.eval("Number(document.querySelector('#timeline').dataset.span)").as_f64().unwrap();
    let touch = |browser: &mut Browser, kind: &str, apart: f64| {
        let points = if kind == "touchEnd" {
            serde_json::json!([])
        } else {
            serde_json::json!([{"x": x - apart, "y": y, "id": 0}, {"x": x + apart, "y": y, "id": 1}])
        };
        browser.send("Input.dispatchTouchEvent", serde_json::json!({"type": kind, "touchPoints": points}));
    };
    touch(browser, "touchStart", 200.0);
    for apart in [170.0, 140.0, 110.0, 100.0] {
        touch(browser, "touchMove", apart);
    }
    touch(browser, "touchEnd", 0.0);
    browser.wait_for(
        "two fingers to zoom out",
        &format!("Number(document.querySelector('#timeline').dataset.span) > {}", before * 1.3),
    );
}

/// Without a gap: one range of the buffer covers the border, the playhead passes it, and the video never
/// waits for data.
fn plays_across_a_border(watched: &mut Watched) {
    let (from, to) = watched.band("document.querySelector('.band[data-kind=recorded]')");
    let browser = &mut watched.browser;
    let held = browser.eval(&format!("fetch('/api/segments?from={from}&to={to}').then((a) => a.json())"));
    let held = held["segments"].as_array().unwrap();
    assert!(held.len() >= 2, "segments in the first span: {held:?}");
    let border = held[1]["start"].as_f64().unwrap();
    assert_eq!(held[0]["span"], held[1]["span"]);
    browser.eval("document.querySelector('#play').dataset.playing === 'false' || document.querySelector('#play').click()");
    watched.seek(border - 900.0);
    let browser = &mut watched.browser;
    let at_border = format!("Number(document.querySelector('#video').dataset.ms) > {}", border - 1200.0);
    browser.wait_for("the picture before the border", &format!(
        "document.querySelector('#stage').dataset.mode === 'footage' && {at_border} && Number(document.querySelector('#video').dataset.ms) < {border} && !document.querySelector('#video').seeking"
    ));
    browser.eval(
        "(() => { const v = document.querySelector('#video'); window.waited = 0; window.ran = [];
           // A loaded machine may decode too late; it only counts whether there was data to decode.
           v.addEventListener('waiting', () => {
             let ahead = 0;
             for (let i = 0; i < v.buffered.length; i++)
               if (v.buffered.start(i) <= v.currentTime && v.currentTime <= v.buffered.end(i)) ahead = v.buffered.end(i) - v.currentTime;
             if (ahead < 0.2) window.waited += 1;
           });
           const look = () => { window.ran.push([v.currentTime, Number(v.dataset.ms)]); if (window.ran.length < 2000) setTimeout(look, 20); }; look();
           document.querySelector('#play').click(); })()",
    );
    browser.wait_for(
        "the border to be behind",
        &format!("Number(document.querySelector('#video').dataset.ms) > {}", border + 700.0),
    );
    let ran = browser.eval("window.ran");
    let ran: Vec<f64> = ran.as_array().unwrap().iter().map(|point| point[0].as_f64().unwrap()).collect();
    assert!(ran.windows(2).all(|pair| pair[1] >= pair[0]), "currentTime runs on: {ran:?}");
    let longest = ran.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    let total = ran.last().unwrap() - ran[0];
    assert!(
        total > 0.7 && ran.len() > 10,
        "it ran: {total} s in {} looks, the longest step {longest}",
        ran.len()
    );
    assert_eq!(browser.eval("window.waited"), 0, "the video waited for data at the border");
    let whole = browser.eval(
        "(() => { const v = document.querySelector('#video'), t = v.currentTime; for (let i = 0; i < v.buffered.length; i++) if (v.buffered.start(i) <= t - 1.2 && t <= v.buffered.end(i)) return true; return [...Array(v.buffered.length).keys()].map((i) => [v.buffered.start(i), v.buffered.end(i), t]); })()",
    );
    assert_eq!(whole, true, "one range reaches over the border");
}

fn steps_by_single_frames(watched: &mut Watched) {
    let browser = &mut watched.browser;
    browser.click("#step");
    browser.wait_for("a pause", "document.querySelector('#play').dataset.playing === 'false' && !document.querySelector('#video').seeking");
    let time = |browser: &mut Browser| {
        browser.eval("document.querySelector('#video').currentTime").as_f64().unwrap()
    };
    let before = time(browser);
    browser.click("#step");
    browser.wait_for("the next frame", &format!("document.querySelector('#video').currentTime > {before}"));
    let frame = time(browser) - before;
    assert!((0.05..0.09).contains(&frame), "a frame at 15 a second lasts 0.067 s, and not {frame}");
    browser.click("#step-back");
    browser.wait_for(
        "the frame before",
        &format!("document.querySelector('#video').currentTime < {}", before + 0.02),
    );
}

fn stands_in_a_gap_and_jumps_over_it(watched: &mut Watched) {
    let (from, to) = watched.band(PRIVATE_BAND);
    let browser = &mut watched.browser;
    browser.click("#skip");
    browser.wait_for("gaps to be played", "!document.querySelector('#skip').checked");
    watched.seek((from + to) / 2.0);
    let browser = &mut watched.browser;
    browser.wait_for(
        "the gap's card",
        "document.querySelector('#stage').dataset.mode === 'gap' && !document.querySelector('#cover').hidden",
    );
    assert_eq!(browser.eval("document.querySelector('#cover-title').textContent"), "Privacy");
    browser.wait_for(
        "the slider to say so",
        "document.querySelector('#timeline').getAttribute('aria-valuetext').endsWith(', privacy')",
    );
    browser.eval(AXE);
    has_no_accessibility_violation(browser, "in a gap");
    browser.click("#skip");
    browser.wait_for("the footage behind the gap", &format!(
        "document.querySelector('#stage').dataset.mode === 'footage' && Number(document.querySelector('#video').dataset.ms) >= {}", to - 200.0
    ));
}

/// Across the gap, so that it has two spans: one MP4 that ffprobe reads and ffmpeg decodes, with every frame
/// of the whole segments in it.
fn downloads(watched: &mut Watched) {
    let folder = watched.browser.take_downloads();
    let (first, _) = watched.band("document.querySelector('.band[data-kind=recorded]')");
    let (_, over) =
        watched.band("[...document.querySelectorAll('.band[data-kind=gap][data-reason=privacy]')].pop()");
    let (from, to) = ((first / 1000.0).floor() * 1000.0, (over / 1000.0).ceil() * 1000.0 + 1000.0);
    let browser = &mut watched.browser;
    let fill = |browser: &mut Browser, id: &str, ms: f64| {
        browser.eval(&format!(
            "(() => {{ const e = document.querySelector('#{id}'); e.value = new Date({ms}).toISOString().slice(11, 19); e.dispatchEvent(new Event('input')); }})()"
        ));
    };
    fill(browser, "clip-from", from);
    fill(browser, "clip-to", to);
    browser.wait_for("the range on the timeline", "!document.querySelector('#selection').hidden");
    browser.wait_for("the second span to be stored", &format!(
        "fetch('/api/segments?from={from}&to={to}').then((a) => a.json()).then((a) => new Set(a.segments.map((s) => s.span)).size >= 2 && a.segments.some((s) => s.end >= {to}))"
    ));
    browser.click("#clip-get");
    let file: PathBuf = wait("the download", || {
        let found = std::fs::read_dir(&folder).unwrap().flatten().map(|entry| entry.path());
        found
            .filter(|path| path.extension().is_some_and(|e| e == "mp4"))
            .find(|path| path.metadata().unwrap().len() > 0)
    });
    let name = file.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("cam-0001-20") && name.ends_with("Z.mp4"), "{name}");
    let held = browser.eval(&format!("fetch('/api/segments?from={from}&to={to}').then((a) => a.json())"));
    let held = held["segments"].as_array().unwrap();
    let whole = held.iter().filter(|s| s["start"].as_f64() >= Some(from) && s["end"].as_f64() <= Some(to));
    let least: u64 = whole.map(|s| s["frames"].as_u64().unwrap()).sum();
    let most: u64 = held.iter().map(|s| s["frames"].as_u64().unwrap()).sum();
    let path = file.to_str().unwrap();
    let probed = run("ffprobe", &["-v", "error", "-count_packets", "-show_streams", "-of", "json", path]);
    let probed: Value = serde_json::from_slice(&probed).unwrap();
    let streams = probed["streams"].as_array().unwrap();
    let kinds: Vec<&str> = streams.iter().filter_map(|s| s["codec_name"].as_str()).collect();
    assert_eq!(kinds, ["h264", "aac"]);
    let packets: u64 = streams[0]["nb_read_packets"].as_str().unwrap().parse().unwrap();
    assert!(least > 0 && (least..=most).contains(&packets), "{packets} frames of {least} to {most}");
    let decoded = run(
        "ffmpeg",
        &[
            "-v",
            "error",
            "-xerror",
            "-i",
            path,
            "-map",
            "0:v:0",
            "-fps_mode",
            "passthrough",
            "-f",
            "framecrc",
            "-",
        ],
    );
    let decoded = String::from_utf8(decoded).unwrap();
    let times: Vec<i64> = decoded
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split(',').nth(1).unwrap().trim().parse().unwrap())
        .collect();
    assert_eq!(times.len() as u64, packets);
    assert!(times.windows(2).all(|pair| pair[1] > pair[0]), "the gap is left out, and times grow");
}

const AXE: &str = include_str!("../web/axe.min.js");

/// Checks all rules of axe-core.
fn has_no_accessibility_violation(browser: &mut Browser, when: &str) {
    let found = browser.eval(
        "axe.run(document).then((r) => ({passes: r.passes.length, violations: r.violations.map((v) => [v.id, v.help, v.nodes.map((n) => n.html.slice(0, 200) + ' ' + n.failureSummary)])}))",
    );
    assert!(found["passes"].as_u64().unwrap() > 20, "{when}: axe looked at the page: {found}");
    assert_eq!(found["violations"], serde_json::json!([]), "{when}");
}

/// Creates states worth a screenshot: gaps with several reasons, and footage that waits.
fn shows_every_state(watched: &mut Watched) {
    let last = |watched: &mut Watched, which: &str, ms: u32| {
        let long = format!(
            "(() => {{ const b = [...document.querySelectorAll('.band:not([data-kind=recording])')].pop(); return b.matches('{which}') && b.dataset.to - b.dataset.from > {ms}; }})()"
        );
        watched.browser.wait_for(which, &long);
    };
    watched.browser.eval("document.querySelector('#clip').reset(); document.querySelector('#clip-from').dispatchEvent(new Event('input'))");
    watched.browser.click("button[data-span='600']");
    watched.cloud.tell(&["plan", "plus", "--status", "suspended"]);
    last(watched, "[data-reason=entitlement]", 9000);
    watched.cloud.tell(&["plan", "premium"]);
    last(watched, "[data-kind=recorded]", 20_000);
    watched.browser.click("#privacy");
    last(watched, "[data-reason=privacy]", 12_000);
    watched.browser.click("#privacy");
    last(watched, "[data-kind=recorded]", 12_000);
    watched.browser.click("button[data-span='60']");
    watched.browser.eval("document.querySelector('#timeline').focus()");
    watched.browser.press("-");
    watched.browser.click("#live");
    watched.browser.eval("document.activeElement.blur()");
    watched.browser.wait_for("the live picture", "document.querySelector('#badge').dataset.live === 'true'");
}

fn is_accessible_in_every_look(watched: &mut Watched, pictures: Option<&Path>) {
    let browser = &mut watched.browser;
    browser.eval(AXE);
    for look in LOOKS {
        browser.look(look);
        let wide = browser.eval("document.documentElement.scrollWidth").as_u64().unwrap();
        assert!(wide <= u64::from(look.width), "{look:?}: the page is {wide} wide");
        has_no_accessibility_violation(browser, &format!("{look:?}"));
        if let Some(folder) = pictures {
            let scheme = if look.dark { "dark" } else { "light" };
            browser.picture(&folder.join(format!("page-{}-{scheme}.png", look.width)), true);
            browser.picture(&folder.join(format!("window-{}-{scheme}.png", look.width)), false);
        }
    }
}

/// The HTTP status that curl gets from the page.
fn asked(cloud: &Cloud, path: &str, arguments: &[&str]) -> u16 {
    let url = format!("{}{path}", cloud.page);
    let told = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "20"];
    let done = Command::new("curl").args(told).args(arguments).arg(url).output().unwrap();
    String::from_utf8(done.stdout).unwrap().parse().unwrap()
}

#[test]
fn no_other_page_and_no_other_name_may_ask() {
    let cloud = Cloud::start(&[]);
    let json = ["-H", "content-type: application/json", "-d", r#"{"command":"privacy","switch":"on"}"#];
    let with = |more: &[&'static str]| -> Vec<&'static str> { more.iter().chain(&json).copied().collect() };

    assert_eq!(asked(&cloud, "", &[]), 200);
    assert_eq!(asked(&cloud, "api/state", &["-H", "host: kasacam.example"]), 403);
    assert_eq!(asked(&cloud, "api/state", &["-H", "origin: http://kasacam.example"]), 403);
    assert_eq!(asked(&cloud, "api/state", &["-H", "origin: null"]), 403);
    assert_eq!(asked(&cloud, "api/state", &["-H", "sec-fetch-site: cross-site"]), 403);
    assert_eq!(asked(&cloud, "api/do", &with(&["-H", "origin: http://kasacam.example"])), 403);
    assert_eq!(asked(&cloud, "api/do", &["-d", r#"{"command":"privacy","switch":"on"}"#]), 403);
    let told = |event: &Value| event["event"] == "message" && event["claims"]["do_not_record"] == true;
    assert!(!cloud.events().iter().any(told), "none of these is obeyed");
    assert_eq!(asked(&cloud, "api/do", &json), 200);
    cloud.wait_for_event("the choice", told);
}

#[test]
fn the_page_neither_signs_nor_reads_files_nor_leaves_the_bucket() {
    let cloud = Cloud::start(&[]);
    let ask = |body: &str| asked(&cloud, "api/do", &["-H", "content-type: application/json", "-d", body]);

    assert_eq!(ask(r#"{"command":"sign","kind":"privacy","claims":"{}"}"#), 403);
    assert_eq!(ask(r#"{"command":"publish-raw","topic":"kasacam/v1/x/event","file":"/etc/hostname"}"#), 403);
    assert_eq!(ask(r#"{"command":"objects"}"#), 403);
    assert_eq!(asked(&cloud, "media/../../storage.toml", &["--path-as-is"]), 404);
    assert_eq!(asked(&cloud, "media/..%2f..%2fstorage.toml", &[]), 404);
    assert_eq!(asked(&cloud, "clip.mp4?from=0&to=1000", &[]), 422);
    assert_eq!(asked(&cloud, "clip.mp4?from=1000&to=0", &[]), 422);
    assert_eq!(asked(&cloud, "clip.mp4?from=-1e300&to=1e300", &[]), 422);
}
