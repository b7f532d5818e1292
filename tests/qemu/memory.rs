//! The memory of the agent by part, beside programs of GStreamer alone in the same guest.

use crate::data::{Files, partition_with};
use crate::guest::{Guest, Machine};
use crate::recording::{cloud, look_at};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// More than the agent may take above an empty process of GStreamer's, in KiB.
const MAX_ABOVE_EMPTY: u64 = 16 * 1024;
/// gst-launch-1.0 with the environment of the unit.
const LAUNCH: &str =
    "GST_REGISTRY=/var/cache/kasacam/gstreamer.registry ORC_CODE=backup /data/gst-launch-1.0 -q";
/// The parts, in the order of the table.
const PARTS: [&str; 8] = [
    "the program",
    "GStreamer and GLib",
    "GStreamer's plugins",
    "other libraries",
    "heap",
    "stacks",
    "other anonymous memory",
    "other files",
];

/// Resident KiB of a part, and those of them that are shared with no other process.
#[derive(Clone, Copy, Debug, Default)]
struct Resident {
    all: u64,
    own: u64,
}

/// A mapping of `/proc/PID/smaps` (proc(5)).
#[derive(Debug, Default)]
struct Mapping {
    start: u64,
    end: u64,
    rights: String,
    name: String,
    resident: Resident,
}

fn mappings(smaps: &str) -> Vec<Mapping> {
    let mut found: Vec<Mapping> = Vec::new();
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        if let Some(kind) = first.strip_suffix(':') {
            let (Some(mapping), Some(kib)) =
                (found.last_mut(), words.next().and_then(|it| it.parse::<u64>().ok()))
            else {
                continue;
            };
            match kind {
                "Rss" => mapping.resident.all = kib,
                "Private_Clean" | "Private_Dirty" => mapping.resident.own += kib,
                _ => {}
            }
        } else if let Some((start, end)) = first.split_once('-') {
            found.push(Mapping {
                start: u64::from_str_radix(start, 16).unwrap(),
                end: u64::from_str_radix(end, 16).unwrap(),
                rights: words.next().unwrap().to_owned(),
                name: words.nth(3).unwrap_or_default().to_owned(),
                resident: Resident::default(),
            });
        }
    }
    found
}

fn part(mapping: &Mapping, before: Option<&Mapping>, program: &str) -> &'static str {
    let file = mapping.name.rsplit('/').next().unwrap_or_default();
    if file == program {
        return PARTS[0];
    }
    if mapping.name.contains("/gstreamer-1.0/") {
        return PARTS[2];
    }
    if ["libgst", "libglib", "libgobject", "libgio", "libgmodule"].iter().any(|it| file.starts_with(it)) {
        return PARTS[1];
    }
    if file.contains(".so") {
        return PARTS[3];
    }
    if mapping.name == "[heap]" {
        return PARTS[4];
    }
    // A stack lies behind a guard page.
    let guarded = before.is_some_and(|it| {
        it.end == mapping.start && it.rights.starts_with("---") && it.end - it.start == 4096
    });
    if mapping.name == "[stack]" || (mapping.name.is_empty() && guarded) {
        return PARTS[5];
    }
    if mapping.name.is_empty() || mapping.name.starts_with('[') {
        return PARTS[6];
    }
    PARTS[7]
}

/// The memory of a process, by part.
fn by_part(guest: &mut Guest, pid: &str, program: &str) -> BTreeMap<&'static str, Resident> {
    let smaps = guest.tell(&format!("cat /proc/{pid}/smaps"));
    let found = mappings(&smaps);
    let mut parts: BTreeMap<&'static str, Resident> = BTreeMap::new();
    for (at, mapping) in found.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| &found[at]);
        let sum = parts.entry(part(mapping, before, program)).or_default();
        sum.all += mapping.resident.all;
        sum.own += mapping.resident.own;
    }
    assert!(
        parts[PARTS[0]].all > 0 && parts[PARTS[1]].all > 0,
        "{program} is not in its own memory: {smaps}"
    );
    parts
}

fn total(parts: &BTreeMap<&'static str, Resident>) -> Resident {
    parts
        .values()
        .fold(Resident::default(), |sum, it| Resident { all: sum.all + it.all, own: sum.own + it.own })
}

/// The memory of a pipeline while it runs.
fn of_pipeline(guest: &mut Guest, pipeline: &str) -> BTreeMap<&'static str, Resident> {
    guest.tell(&format!(
        "cd /data && {{ {LAUNCH} {pipeline} >/run/launch.log 2>&1 </dev/null & echo $! >/run/launch.pid; }}"
    ));
    std::thread::sleep(Duration::from_secs(12));
    let pid = guest.tell("cat /run/launch.pid; cat /run/launch.log >&2");
    let pid = pid.split_whitespace().next().unwrap().to_owned();
    let parts = by_part(guest, &pid, "gst-launch-1.0");
    guest.tell(&format!("kill -9 {pid}"));
    parts
}

fn agent(guest: &mut Guest) -> BTreeMap<&'static str, Resident> {
    let pid = guest.tell("systemctl show --property MainPID --value kasacamd");
    by_part(guest, pid.trim(), "kasacamd")
}

/// 1080p15 of 2 Mbit/s, as a camera with an encoder gives it.
fn camera(root: &Path) {
    let clip = root.join("etc/camera.mp4");
    let source = ["-f", "lavfi", "-i", "testsrc2=size=1920x1080:rate=15", "-t", "30"];
    let coded = [
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-profile:v",
        "baseline",
        "-g",
        "30",
        "-pix_fmt",
        "yuv420p",
    ];
    let rate = [
        "-b:v",
        "2M",
        "-minrate",
        "2M",
        "-maxrate",
        "2M",
        "-bufsize",
        "2M",
        "-x264-params",
        "nal-hrd=cbr:scenecut=0",
    ];
    let made = Command::new("ffmpeg").args(source).args(coded).args(rate).arg(&clip).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let board = "name = \"bench\"\n[video]\n\
                 source = { kind = \"file\", path = \"/etc/kasacam/camera.mp4\", loop = true }\n\
                 format = \"h264\"\nwidth = 1920\nheight = 1080\nfps = 15\nbitrate = \"2 Mbit/s\"\n";
    std::fs::write(root.join("etc/board.toml"), board).unwrap();
    let launch =
        std::env::var_os("KASACAM_LAUNCH").expect("KASACAM_LAUNCH: start this with tests/qemu/run.sh");
    std::fs::copy(launch, root.join("gst-launch-1.0")).unwrap();
}

/// Recording, private afterwards, and private since its start; beside a process of GStreamer that does nothing, and one that
/// writes the same video into one file.
#[test]
fn memory_by_part() {
    let cloud = cloud();
    let data = partition_with(&cloud, Files::Ext4, camera);
    let mut guest = Guest::boot(&data, &Machine::default());
    guest.wait_until_it_records(300);
    let recording = agent(&mut guest);
    cloud.tell(&["privacy", "on"]);
    guest.wait_for("a closed camera", Duration::from_secs(20), |status| status["capture"]["open"] == false);
    guest.wait_until_all_is_stored();
    let after = agent(&mut guest);
    guest.tell("systemctl restart kasacamd");
    guest.wait_for("the broker", Duration::from_secs(60), |status| status["mqtt"]["connected"] == true);
    std::thread::sleep(Duration::from_secs(10));
    let idle = agent(&mut guest);
    let empty = of_pipeline(&mut guest, "appsrc ! fakesink");
    let clip = "filesrc location=/etc/kasacam/camera.mp4 ! qtdemux ! mp4mux fragment-duration=500";
    let floor = of_pipeline(&mut guest, &format!("{clip} ! filesink location=/data/floor.mp4 sync=true"));
    guest.power_off();
    assert!(look_at(&cloud, true) > 0);

    let columns = [&empty, &floor, &recording, &after, &idle];
    println!(
        "\n| KiB resident (of these its own) | empty GStreamer process | GStreamer into one file | **kasacamd** records | private, after recording | private since its start |"
    );
    println!("|---|---:|---:|---:|---:|---:|");
    let cell = |it: Resident| format!("{} ({})", it.all, it.own);
    for part in PARTS {
        let cells = columns.map(|column| cell(column.get(part).copied().unwrap_or_default()));
        println!("| {part} | {} |", cells.join(" | "));
    }
    println!("| all | {} |\n", columns.map(|column| cell(total(column))).join(" | "));
    let above = total(&recording).all.saturating_sub(total(&empty).all);
    assert!(above < MAX_ABOVE_EMPTY, "recording takes {above} KiB more than an empty process");
}
