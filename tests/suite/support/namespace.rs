//! A test inside its own network namespace, with its own resolver: the test runs itself once more in there.
//! The machine's network is not touched, and nothing leaves the namespace.
//!
//! There is one interface besides loopback, `v0` with 192.0.2.1/24 and 2001:db8::1/64. Whatever is sent to
//! [`DEAD_V4`] and [`DEAD_V6`] goes out on it and is never answered, as on a network with an unreachable
//! IPv6.

use super::figures::skip;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

pub const V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
pub const V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
pub const DEAD_V4: [IpAddr; 5] = [dead(66), dead(67), dead(68), dead(69), dead(70)];
pub const DEAD_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x66));
/// Sorted after the others by `gai.conf`.
pub const V4_LAST: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));

const INSIDE: &str = "KASACAM_INSIDE_NAMESPACE";

const SETUP: &str = r#"
set -e
mount --make-rprivate /
for file in resolv.conf hosts nsswitch.conf gai.conf; do
  [ -e "/etc/$file" ] || continue
  mount --bind "$FILES/$file" "/etc/$file"
done
ip link set lo up
ip link add v0 type veth peer name v1
ip addr add 192.0.2.1/24 dev v0
ip addr add 203.0.113.1/32 dev v0
ip -6 addr add 2001:db8::1/64 dev v0 nodad
ip link set v0 up
ip link set v1 up
for n in 66 67 68 69 70; do
  ip neigh add 192.0.2.$n lladdr 02:00:00:00:00:66 dev v0 nud permanent
done
ip -6 neigh add 2001:db8::66 lladdr 02:00:00:00:00:66 dev v0 nud permanent
exec "$@"
"#;

const fn dead(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, last))
}

/// Whether this is the run inside. Outside, it runs `test` (its path in this binary) inside, and fails if
/// that fails.
pub fn is_inside(test: &str) -> bool {
    if std::env::var_os(INSIDE).is_some() {
        assert_is_dead();
        return true;
    }
    let Ok(true) = unshare()
        .args(["sh", "-c", "command -v ip && mount --make-rprivate / && ip link add v0 type veth"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map(|status| status.success())
    else {
        skip(test, "no network namespace can be made here (unshare --net --mount, ip, veth)");
        return false;
    };
    let files = TempDir::new().unwrap();
    for (name, text) in [
        ("resolv.conf", "nameserver 127.0.0.1\noptions timeout:10 attempts:1\n"),
        ("hosts", "127.0.0.1 localhost\n"),
        ("nsswitch.conf", "hosts: files dns\n"),
        (
            "gai.conf",
            "precedence ::1/128 50\nprecedence ::/0 40\nprecedence ::ffff:0:0/96 10\nprecedence ::ffff:203.0.113.0/120 1\n",
        ),
    ] {
        std::fs::write(files.path().join(name), text).unwrap();
    }
    let output = unshare()
        .args(["sh", "-c", SETUP, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .env("FILES", files.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    print!("{told}");
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{test} failed inside its namespace");
    assert!(told.contains("1 passed"), "{test} is not the test's name");
    false
}

fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount"]);
    command
}

/// A dead address is one that neither answers nor refuses.
fn assert_is_dead() {
    for ip in [DEAD_V6, DEAD_V4[0]] {
        let refused = TcpStream::connect_timeout(&SocketAddr::new(ip, 8883), Duration::from_millis(1200));
        let why = refused.expect_err("nobody is there");
        assert_eq!(why.kind(), std::io::ErrorKind::TimedOut, "{ip}: {why}");
    }
}
