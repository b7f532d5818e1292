//! What systemd does with the service, and how little it needs.

use crate::data::{Files, partition, partition_with};
use crate::guest::{Guest, Machine};
use crate::recording::{cloud, look_at};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// A stop seals what is captured, sends it and leaves within the time of the unit.
#[test]
fn stop_is_clean() {
    let cloud = cloud();
    let mut guest = Guest::boot(&partition(&cloud, Files::Ext4), &Machine::default());
    guest.wait_until_it_records(30);
    let began = Instant::now();
    guest.tell("systemctl stop kasacamd");
    println!("stopped in {:.1} s", began.elapsed().as_secs_f64());
    let result = guest.tell("systemctl show --property Result --property ExecMainStatus kasacamd");
    assert!(result.contains("Result=success") && result.contains("ExecMainStatus=0"), "{result}");
    assert_eq!(guest.holders(), 0);
    guest.tell("systemctl start kasacamd");
    guest.wait_until_it_records(10);
    guest.power_off();
    assert!(look_at(&cloud, false) > 30);
}

/// One that hangs is ended and started again.
#[test]
fn watchdog_bites() {
    let cloud = cloud();
    let mut guest = Guest::boot(&partition(&cloud, Files::Ext4), &Machine::default());
    guest.wait_until_it_records(10);
    let pid = "systemctl show --property MainPID --value kasacamd";
    let first = guest.tell(pid);
    let began = Instant::now();
    guest.tell(&format!("kill -STOP $({pid})"));
    let second = loop {
        let now = guest.tell(pid);
        if now != first && now.trim() != "0" {
            break now;
        }
        assert!(began.elapsed() < Duration::from_secs(90), "the watchdog does not bite");
        std::thread::sleep(Duration::from_millis(500));
    };
    println!("stopped with SIGSTOP: a new process after {:.0} s", began.elapsed().as_secs_f64());
    assert_ne!(first, second);
    assert!(guest.tell("systemctl show --property NRestarts --value kasacamd").trim() != "0");
    guest.wait_until_it_records(10);
    cloud.tell(&["privacy", "on"]);
    guest.wait_for("the owner's choice", Duration::from_secs(60), |s| s["privacy"]["do_not_record"] == true);
    guest.wait_until_all_is_stored();
    look_at(&cloud, true);
    guest.power_off();
}

/// An older package, then this one, during an outage of the store: what the older left is sent.
#[test]
fn upgrade_keeps_the_spool() {
    let older = PathBuf::from(std::env::var_os("KASACAM_OLDER_DEB").expect("KASACAM_OLDER_DEB"));
    let newer = PathBuf::from(std::env::var_os("KASACAM_DEB").expect("KASACAM_DEB"));
    let cloud = cloud();
    let data = partition_with(&cloud, Files::Ext4, |root| {
        for (from, to) in [(&older, "older.deb"), (&newer, "newer.deb")] {
            std::fs::copy(from, root.join(to)).unwrap();
        }
    });
    let machine = Machine { writable_system: true, ..Machine::default() };
    let mut guest = Guest::boot(&data, &machine);
    guest.tell("mount -o remount,rw / && cp -a /usr/lib/dpkg-database /var/lib/dpkg");
    let install = "DEBIAN_FRONTEND=noninteractive dpkg --force-depends --force-confnew -i";
    guest.tell(&format!("{install} --force-downgrade /data/older.deb"));
    let before = guest.tell("dpkg-query --show kasacam");
    cloud.tell(&["store", "down"]);
    guest.wait_until_it_records(40);
    guest.tell(&format!("{install} /data/newer.deb"));
    let after = guest.tell("dpkg-query --show kasacam");
    assert_ne!(before, after);
    println!("{} to {}", before.trim(), after.trim());
    let status = guest.wait_until_it_records(10);
    assert!(status["spool"]["pending"].as_u64() > Some(0), "{status}");
    cloud.tell(&["store", "up"]);
    cloud.tell(&["privacy", "on"]);
    guest.wait_for("the owner's choice", Duration::from_secs(60), |s| s["privacy"]["do_not_record"] == true);
    guest.wait_until_all_is_stored();
    assert!(look_at(&cloud, true) >= 50);
    guest.power_off();
}

/// The smallest of these machines that records for a while.
#[test]
fn small_memory() {
    let mut smallest = None;
    for mib in [128, 96, 80, 72, 64] {
        let cloud = cloud();
        let data = partition(&cloud, Files::Ext4);
        let machine = Machine { mib, ..Machine::default() };
        let recorded = std::panic::catch_unwind(|| {
            let mut guest = Guest::boot(&data, &machine);
            guest.wait_until_it_records(100);
            let free = guest.tell("grep MemAvailable /proc/meminfo");
            guest.power_off();
            free
        });
        match recorded {
            Ok(free) => smallest = Some((mib, free)),
            Err(_) => break,
        }
    }
    let (mib, free) = smallest.expect("128 MiB are enough");
    println!(
        "the smallest machine that records: {mib} MiB, {}",
        free.split_whitespace().collect::<Vec<_>>().join(" ")
    );
}

/// A camera to look at: `tests/qemu/run.sh shell`. Lines of standard input are run in it.
#[test]
#[ignore = "for a person: tests/qemu/run.sh shell"]
fn shell() {
    let cloud = cloud();
    let mut guest = Guest::boot(&partition(&cloud, Files::Ext4), &Machine::default());
    println!("development cloud: {}", cloud.dir().display());
    for line in std::io::stdin().lines().map_while(Result::ok) {
        let (code, said) = guest.run(&line);
        print!("{said}");
        println!("[{code}]");
    }
    guest.power_off();
}

/// A reset leaves nothing of the household in the files of the data partition, says what went and what stays, and the
/// camera is closed afterwards until somebody chooses again.
#[test]
fn reset_leaves_nothing_of_the_household() {
    let cloud = cloud();
    let mut guest = Guest::boot(&partition(&cloud, Files::Ext4), &Machine::default());
    cloud.tell(&["store", "down"]);
    guest.wait_until_it_records(40);
    guest.wait_for("footage that waits", Duration::from_secs(120), |s| {
        s["spool"]["pending"].as_u64() >= Some(2)
    });
    let reset = "kasacamd reset --config /etc/kasacam/agent.toml --yes";
    let (code, said) = guest.run(&format!("{reset} 2>&1"));
    assert!(code != 0 && said.contains("stop it first"), "{said}");
    guest.tell("systemctl stop kasacamd");
    // What tells one household from another: names of spans in the records of the segments, commands as they were signed.
    let boot = guest.tell("cat /proc/sys/kernel/random/boot_id").trim().to_owned();
    let traces = |guest: &mut Guest| {
        let found = format!(
            "grep -rlaE '{boot}|eyJhbGciOi|do_not_record' /data/state /var/lib/kasacam 2>/dev/null | sort -u"
        );
        guest.run(&found).1.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let before = traces(&mut guest);
    assert!(before.iter().any(|file| file.contains("/spool/")), "the traces are there: {before:?}");

    let told = guest.tell(&format!("{reset} 2>&1"));
    println!("{told}");
    for word in ["footage", "journal", "stays", "LoadCredential", "fstrim"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert_eq!(traces(&mut guest), Vec::<String>::new());
    assert_eq!(guest.tell("find /var/lib/kasacam /data/state -type f | wc -l").trim(), "0");
    assert!(guest.tell(&format!("{reset} 2>&1")).contains("nothing to remove"));

    // The next owner has said nothing yet.
    cloud.tell(&["broker", "down"]);
    guest.tell("systemctl start kasacamd");
    guest.wait_for("a camera that waits for its owner", Duration::from_secs(60), |s| {
        s["capture"]["reason"] == "privacy_unknown"
    });
    assert_eq!(guest.holders(), 0);
    cloud.tell(&["broker", "up"]);
    cloud.tell(&["store", "up"]);
    guest.wait_until_it_records(10);
    guest.power_off();
}
