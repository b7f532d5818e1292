//! "Do Not Record Video or Audio", switched at random moments. `KASACAM_TOGGLES` says how often (12; or
//! `KASACAM_BUDGET`, for how many seconds), `KASACAM_SEED` repeats the moments of a failure.

use crate::support::budget::Budget;
use crate::support::camera::Camera;
use crate::support::cloud::Cloud;
use crate::support::figures::{at_least, figure};
use crate::support::switch::{Found, Switch, sleeps_of_the_source, wait_until_closed};
use std::time::Duration;

/// This test's share of the total number of toggles.
fn toggles(percent: u64) -> Budget {
    Budget::scaled("KASACAM_TOGGLES", 12, (percent, 100))
}

fn tell(what: &str, toggles: u64, switch: &Switch<'_>, found: Found) {
    at_least(2, "toggles", toggles);
    // A toggle before the first fragment is whole keeps nothing. Most come later.
    at_least(toggles, "frames kept from before a choice and looked at", found.frames as u64);
    at_least(toggles, "units of audio kept from before a choice and looked at", found.audio as u64);
    figure(&format!(
        "{toggles} toggles {what}, seed {}: {} frames and {} units of audio kept, none taken after the choice \
         had left the broker; {} while it was leaving",
        switch.seed, found.frames, found.audio, found.undecided
    ));
}

/// The GOP that was open when the owner forbade it is dropped completely, not finished early.
fn assert_gops_are_whole(cloud: &Cloud, frames: u64) {
    for segment in cloud.footage() {
        let gops = segment.gops();
        assert!(gops.iter().all(|gop| *gop == frames), "{}: GOPs of {gops:?} frames", segment.key);
    }
}

fn wait_until_open(camera: &Camera) {
    camera.wait_for("an open device", |status| status["capture"]["open"] == true);
}

#[test]
fn k11_nothing_taken_after_do_not_record_is_kept_at_any_moment_of_a_gop() {
    let mut toggles = toggles(100);
    let cloud = Cloud::start(&["--segment", "2s", "--fragment", "500ms", "--chunk", "200ms"]);
    cloud.tell(&["plan", "plus"]);
    let mut switch = Switch::new(&cloud);
    let camera = Camera::start(&cloud);

    while toggles.again() {
        switch.allow();
        wait_until_open(&camera);
        switch.linger(Duration::from_millis(1500));
        switch.forbid();
        wait_until_closed(&camera);
    }
    let state = camera.state_dir();
    camera.stop();

    let kept = switch.evidence(&state);
    assert_gops_are_whole(&cloud, 7);
    tell("at random moments", toggles.done, &switch, switch.judge(&kept));
}

#[test]
fn k11_nothing_taken_after_do_not_record_is_kept_while_segments_are_sealed_and_the_store_fails() {
    let mut toggles = toggles(50);
    let arguments = ["--segment", "2s", "--fragment", "1s", "--chunk", "250ms"];
    let cloud = Cloud::start(&[&arguments[..], &["--set", "recording.durability=\"segment\""]].concat());
    cloud.tell(&["plan", "plus"]);
    let mut switch = Switch::new(&cloud);
    let camera = Camera::start(&cloud);

    while toggles.again() {
        let toggle = toggles.done - 1;
        cloud.tell(if toggle % 3 == 2 { &["store", "error", "503"] } else { &["store", "down"] });
        switch.allow();
        wait_until_open(&camera);
        // A segment is sealed every two seconds, counted from the first frame, or slightly later.
        std::thread::sleep(Duration::from_millis(1_850 + 2_000 * switch.random(2)));
        switch.linger(Duration::from_millis(500));
        switch.forbid();
        wait_until_closed(&camera);
        let so_far = switch.evidence(&camera.state_dir());
        switch.judge(&so_far);
        if toggle % 4 == 3 {
            cloud.tell(&["store", "up"]);
        }
    }
    cloud.tell(&["store", "up"]);
    camera.wait_until_all_is_stored();
    let state = camera.state_dir();
    camera.stop();

    let kept = switch.evidence(&state);
    assert_gops_are_whole(&cloud, 15);
    tell("with a failing store", toggles.done, &switch, switch.judge(&kept));
}

#[test]
fn k11_nothing_taken_after_do_not_record_is_kept_by_a_camera_that_is_killed_right_after_it() {
    killed_right_after("2s", 17);
}

#[test]
fn k11_nothing_is_kept_by_a_camera_that_is_killed_right_after_it_where_gops_end_before_it_hears_of_the_choice()
 {
    killed_right_after("500ms", 17);
}

/// A camera that was killed before it heard the choice records again, by the earlier choice, until the broker
/// tells it. With short GOPs some of that is committed meanwhile: it waits, and is removed by its rule.
fn killed_right_after(gop: &str, percent: u64) {
    let mut toggles = toggles(percent);
    let arguments = ["--segment", "2s", "--fragment", gop, "--chunk", "250ms"];
    let cloud = Cloud::start(&[&arguments[..], &["--set", "recording.durability=\"chunk\""]].concat());
    cloud.tell(&["plan", "plus"]);
    let mut switch = Switch::new(&cloud);
    let mut camera = Camera::start(&cloud);
    let state = camera.state_dir();

    while toggles.again() {
        switch.allow();
        camera.wait_until_it_records(1);
        switch.linger(Duration::from_millis(2500));
        cloud.tell(&["store", "down"]);
        switch.forbid();
        switch.linger(Duration::from_millis(20));
        camera.kill();

        camera = Camera::start(&cloud);
        wait_until_closed(&camera);
        switch.wait_until_clean(&|state| switch.evidence(state), &state);
        cloud.tell(&["store", "up"]);
        camera.wait_until_all_is_stored();
    }
    camera.stop();

    let kept = switch.evidence(&state);
    tell(&format!("followed by a kill, GOPs of {gop}"), toggles.done, &switch, switch.judge(&kept));
}

#[test]
fn k11_nothing_taken_after_do_not_record_is_kept_while_the_camera_starts_and_stops() {
    starts_and_stops("4s", 34);
}

#[test]
fn k11_nothing_is_kept_while_the_camera_starts_and_stops_where_gops_end_before_it_hears_of_the_choice() {
    starts_and_stops("500ms", 34);
}

/// A choice that leaves the broker before the camera has a session reaches it with the session. If GOPs are
/// longer than that takes, nothing captured until then is kept; if they are shorter, it is removed once the
/// choice is heard.
fn starts_and_stops(gop: &str, percent: u64) {
    let mut toggles = toggles(percent);
    let cloud = Cloud::start(&["--segment", "4s", "--fragment", gop, "--chunk", "250ms"]);
    cloud.tell(&["plan", "plus"]);
    let mut switch = Switch::new(&cloud);
    let state = cloud.agent_toml.with_file_name("state");
    // Long enough that a GOP is often whole by then: a run that keeps nothing shows nothing.
    let some_gops = Duration::from_millis(if gop.ends_with("ms") { 800 } else { 4000 });

    while toggles.again() {
        let toggle = toggles.done - 1;
        let mut camera = Camera::start(&cloud);
        switch.allow();
        if gop.ends_with("ms") {
            camera.wait_until_it_records(1);
        } else {
            wait_until_open(&camera);
        }
        switch.linger(some_gops);
        if toggle % 2 == 0 {
            // Both in a few milliseconds, in either order.
            let signal_first = switch.random(2) == 0;
            if signal_first {
                camera.signal(libc::SIGTERM);
                switch.linger(Duration::from_millis(8));
            }
            switch.forbid();
            if !signal_first {
                switch.linger(Duration::from_millis(8));
                camera.signal(libc::SIGTERM);
            }
            camera.ended();
            // It may have ended before it heard of it.
            camera = Camera::start(&cloud);
            wait_until_closed(&camera);
            switch.wait_until_clean(&|state| switch.evidence(state), &state);
            camera.stop();
        } else {
            // It may record, knows it, and begins at once.
            camera.stop();
            camera = Camera::start(&cloud);
            switch.linger(some_gops);
            switch.forbid();
            wait_until_closed(&camera);
            switch.wait_until_clean(&|state| switch.evidence(state), &state);
            camera.stop();
        }
        let so_far = switch.evidence(&state);
        switch.judge(&so_far);
    }

    let kept = switch.evidence(&state);
    tell(&format!("at starts and stops, GOPs of {gop}"), toggles.done, &switch, switch.judge(&kept));
}

#[test]
fn k11_the_source_of_a_camera_that_may_not_record_does_nothing() {
    let cloud = Cloud::start(&[]);
    cloud.tell(&["plan", "plus"]);
    let mut switch = Switch::new(&cloud);
    let camera = Camera::start(&cloud);
    // For as long as it takes to capture six frames.
    let sleeps = || {
        let before = sleeps_of_the_source(camera.pid());
        std::thread::sleep(Duration::from_millis(400));
        sleeps_of_the_source(camera.pid()) - before
    };
    switch.allow();
    camera.wait_until_it_records(1);
    let open = sleeps();

    switch.forbid();
    wait_until_closed(&camera);

    let closed = sleeps();
    assert!(open >= 4 && closed <= 1, "{open} frames' worth while open, {closed} while closed");
}
