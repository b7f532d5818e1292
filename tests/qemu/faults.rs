//! The camera's driver, its network and its clock fail it.

use crate::data::{Files, partition};
use crate::guest::{Guest, Machine};
use crate::recording::{cloud, cloud_with, look_at};
use crate::support::cloud::wait_up_to;
use std::time::{Duration, Instant};

/// How long after the device is well again frames are committed, of which one fragment is the frame's own time.
fn recovery(guest: &mut Guest) -> Duration {
    let began = Instant::now();
    let known = guest.status()["capture"]["frames_committed"].as_u64().unwrap();
    guest.wait_for("recording", Duration::from_secs(60), |status| {
        status["capture"]["frames_committed"].as_u64() > Some(known + 10)
    });
    began.elapsed()
}

/// vivid refuses, loses buffers, and goes away altogether.
#[test]
fn camera_fails() {
    let cloud = cloud();
    let mut guest = Guest::boot(&partition(&cloud, Files::Ext4), &Machine::default());
    guest.wait_until_it_records(10);

    for (what, fault) in [
        ("STREAMON refused", "v4l2-ctl -d /dev/video0 --set-ctrl=inject_vidioc_streamon_error=1"),
        ("QBUF refused", "v4l2-ctl -d /dev/video0 --set-ctrl=inject_vidioc_qbuf_error=1"),
    ] {
        guest.tell(fault);
        // Both strike a stream that begins.
        cloud.tell(&["privacy", "on"]);
        guest.wait_for("a closed camera", Duration::from_secs(20), |status| {
            status["capture"]["open"] == false
        });
        cloud.tell(&["privacy", "off"]);
        println!("{what}: recording again after {:.1} s", recovery(&mut guest).as_secs_f64());
    }

    guest.tell("v4l2-ctl -d /dev/video0 --set-ctrl=percentage_of_dropped_buffers=30");
    recovery(&mut guest);
    guest.tell("v4l2-ctl -d /dev/video0 --set-ctrl=percentage_of_dropped_buffers=0");

    guest.tell("echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind");
    guest.wait_for("a report that there is no source", Duration::from_secs(30), |status| {
        status["capture"]["open"] == false || status["capture"]["reason"] == "source"
    });
    std::thread::sleep(Duration::from_secs(5));
    guest.tell(
        "echo vivid.0 >/sys/bus/platform/drivers/vivid/bind; until [ -e /dev/video0 ]; do sleep 0.1; done",
    );
    let again = recovery(&mut guest);
    println!("device unbound and back: recording again after {:.1} s", again.as_secs_f64());
    assert!(again < Duration::from_secs(10), "{again:?}");

    cloud.tell(&["privacy", "on"]);
    guest.wait_for("the owner's choice", Duration::from_secs(20), |s| s["privacy"]["do_not_record"] == true);
    guest.wait_until_all_is_stored();
    look_at(&cloud, true);
    let gaps = cloud.stored().iter().filter(|it| it.is_end() && it.metadata("reason") == "source").count();
    assert!((1..=4).contains(&gaps), "{gaps} gaps with the reason source");
    guest.power_off();
}

/// Lossy, slow and narrow, and then gone for a while: all arrives.
#[test]
fn bad_network() {
    let cloud = cloud();
    let mut guest = Guest::boot(&partition(&cloud, Files::Ext4), &Machine::default());
    guest.wait_until_it_records(10);
    let link = guest.tell("basename $(ls -d /sys/class/net/e*)").trim().to_owned();
    guest.tell(&format!("tc qdisc add dev {link} root netem loss 10% delay 300ms rate 1mbit"));
    let stored = cloud.footage().len();
    wait_up_to(Duration::from_secs(180), "two segments over a bad network", || {
        (cloud.footage().len() >= stored + 2).then_some(())
    });
    guest.tell(&format!("ip link set {link} down"));
    std::thread::sleep(Duration::from_secs(15));
    let without = guest.status();
    guest.tell(&format!(
        "ip link set {link} up; tc qdisc del dev {link} root; ip route replace default via 10.0.2.2"
    ));
    let known = without["capture"]["frames_committed"].as_u64().unwrap();
    guest.wait_until_it_records(known + 10);
    cloud.tell(&["privacy", "on"]);
    guest.wait_for("the owner's choice", Duration::from_secs(120), |s| s["privacy"]["do_not_record"] == true);
    let status = guest.wait_until_all_is_stored();
    let frames = look_at(&cloud, true);
    assert_eq!(status["capture"]["frames_committed"].as_u64(), Some(frames), "{status}");
    println!("{frames} frames over 10% loss, 300 ms, 1 Mbit/s, and 15 s of nothing: all stored");
    guest.power_off();
}

/// A machine whose clock was lost records on the lease that it has, and tells the right time once it knows it.
#[test]
fn clock_unset_at_boot() {
    let cloud = cloud_with(&["--set", "clock.trust=\"kernel\""]);
    let data = partition(&cloud, Files::Ext4);
    let mut guest = Guest::boot(&data, &Machine::default());
    guest.wait_until_it_records(10);
    guest.power_off();
    let before = cloud.stored().len();

    let machine = Machine { clock: Some("1970-01-01T00:00:10"), ..Machine::default() };
    let mut guest = Guest::boot(&data, &machine);
    let status = guest.wait_until_it_records(10);
    assert_ne!(status["clock"], "trusted", "{status}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    // What systemd-timesyncd does when it has asked a server.
    guest.tell(&format!(
        "date -s @{now} && mkdir -p /run/systemd/timesync && touch /run/systemd/timesync/synchronized"
    ));
    guest.wait_for("a trusted clock", Duration::from_secs(60), |status| status["clock"] == "trusted");
    let known = guest.status()["capture"]["frames_committed"].as_u64().unwrap();
    guest.wait_until_it_records(known + 10);
    cloud.tell(&["privacy", "on"]);
    guest.wait_for("the owner's choice", Duration::from_secs(60), |s| s["privacy"]["do_not_record"] == true);
    guest.wait_until_all_is_stored();
    guest.power_off();

    look_at(&cloud, true);
    let stored = cloud.stored();
    assert!(stored.len() > before);
    for object in &stored {
        assert!(object.key.starts_with("v1/cam-0001/20") && !object.key.contains("/1970-"), "{}", object.key);
    }
    println!("1970 at the start: {} objects, none of them from then", stored.len());
}
