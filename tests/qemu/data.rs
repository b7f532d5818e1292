//! The data partition that a camera is given: its identity, its configuration, and an empty spool.

use crate::support::cloud::Cloud;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use toml::{Table, Value};

/// Larger than all that a scenario records.
const MIB: u64 = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    Ext4,
    F2fs,
}

/// Makes it for the camera of this cloud; in the cloud's directory.
pub fn partition(cloud: &Cloud, files: Files) -> PathBuf {
    partition_with(cloud, files, |_| {})
}

/// As [`partition`], with more files: `more` is given the folder that becomes the root of it.
pub fn partition_with(cloud: &Cloud, files: Files, more: impl Fn(&Path)) -> PathBuf {
    let root = cloud.dir().join("data.d");
    let etc = root.join("etc");
    for folder in [&etc, &root.join("state")] {
        std::fs::create_dir_all(folder).unwrap();
    }
    provision(cloud, &etc);
    more(&root);

    let image = cloud.dir().join("data.img");
    std::fs::File::create(&image).unwrap().set_len(MIB << 20).unwrap();
    match files {
        Files::Ext4 => {
            run(Command::new("mkfs.ext4")
                .args(["-q", "-F", "-L", "data", "-E", "root_owner=0:0", "-d"])
                .arg(&root)
                .arg(&image));
        }
        Files::F2fs => {
            run(Command::new("mkfs.f2fs").args(["-q", "-f", "-l", "data"]).arg(&image));
            run(Command::new("sload.f2fs").arg("-f").arg(&root).arg(&image));
        }
    }
    image
}

/// What docs/flashing.md says to put into `/etc/kasacam`.
fn provision(cloud: &Cloud, etc: &Path) {
    let mut text = std::fs::read_to_string(&cloud.agent_toml).unwrap();
    let agent: Table = text.parse().unwrap();
    let mut bring = |from: &Value, name: Option<&str>, to: &str, mode: u32| {
        let from = from.as_str().unwrap();
        let name = name.unwrap_or_else(|| Path::new(from).file_name().unwrap().to_str().unwrap());
        std::fs::copy(from, etc.join(name)).unwrap();
        std::fs::set_permissions(etc.join(name), Permissions::from_mode(mode)).unwrap();
        text = text.replace(&format!("\"{from}\""), &format!("\"{to}/{name}\""));
    };
    bring(&agent["mqtt"]["ca"], Some("ca.pem"), "/etc/kasacam", 0o644);
    bring(&agent["mqtt"]["cert"], Some("device.pem"), "/etc/kasacam", 0o644);
    bring(&agent["mqtt"]["key"], Some("device.key"), "$CREDENTIALS_DIRECTORY", 0o600);
    bring(&agent["upload"]["credentials"]["file"], Some("storage.toml"), "$CREDENTIALS_DIRECTORY", 0o600);
    bring(&agent["entitlement"]["keys"][0], None, "/etc/kasacam", 0o644);
    let board = Path::new(env!("CARGO_MANIFEST_DIR")).join("board-configs/qemu-virt.toml");
    std::fs::copy(board, etc.join("board.toml")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with("state_dir") && !line.starts_with("socket"));
    let lines = lines.map(|line| match line.starts_with("board =") {
        true => "board = \"/etc/kasacam/board.toml\"\n".to_owned(),
        false => format!("{}\n", line.replace("localhost", "10.0.2.2")),
    });
    std::fs::write(etc.join("agent.toml"), lines.collect::<String>()).unwrap();
    std::fs::set_permissions(etc.join("agent.toml"), Permissions::from_mode(0o644)).unwrap();
}

fn run(command: &mut Command) {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let output = command.env("PATH", path).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {said}{errors}");
}
