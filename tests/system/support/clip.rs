//! Clips for cameras whose source is a file, and what other programs report of stored objects.

use super::bucket::Stored;
use super::h264::{self, Slice, Sum};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// A clip that a test made, and its content.
pub struct Clip {
    pub path: PathBuf,
    pub slices: Vec<Slice>,
    /// The sequence and picture parameter sets, each once.
    pub parameter_sets: Vec<Vec<u8>>,
}

impl Clip {
    /// Makes it with ffmpeg, unless an earlier test has. `name` determines the container; `arguments` come
    /// before it.
    pub fn by_ffmpeg(name: &str, arguments: &[&str]) -> Clip {
        Clip::of(made(name, &[&["ffmpeg", "-v", "error", "-y"], arguments].concat()))
    }

    /// Makes it with GStreamer; the last element of the pipeline must be a muxer.
    pub fn by_gstreamer(name: &str, pipeline: &str) -> Clip {
        let words: Vec<&str> = pipeline.split_whitespace().collect();
        Clip::of(made(name, &[&["gst-launch-1.0", "-q"], &words[..], &["!", "filesink"]].concat()))
    }

    fn of(path: PathBuf) -> Clip {
        let stream = match path.extension() {
            Some(extension) if extension == "h264" => std::fs::read(&path).unwrap(),
            _ => extracted(&path, &["-map", "0:v:0", "-f", "h264"]),
        };
        let nals = h264::nals_of_stream(&stream);
        let mut sets: Vec<Vec<u8>> = Vec::new();
        for set in nals.iter().filter(|nal| matches!(h264::kind(nal), 7 | 8)) {
            if !sets.iter().any(|known| known == set) {
                sets.push(set.to_vec());
            }
        }
        sets.sort();
        Clip { slices: h264::slices(nals.iter().copied()), parameter_sets: sets, path }
    }

    /// The same frames as a byte stream (ITU-T H.264, Annex B).
    pub fn as_byte_stream(&self) -> Clip {
        let name = format!("{}.h264", self.path.file_stem().unwrap().to_str().unwrap());
        let path = self.path.to_str().unwrap();
        Clip::by_ffmpeg(&name, &["-i", path, "-map", "0:v:0", "-c", "copy", "-f", "h264"])
    }

    /// Number of frames.
    pub fn frames(&self) -> u64 {
        self.slices.iter().filter(|slice| slice.begins).count() as u64
    }

    /// The audio frames.
    pub fn audio(&self) -> Vec<Sum> {
        h264::frames_of_adts(&extracted(&self.path, &["-map", "0:a:0", "-f", "adts"]))
    }
}

fn extracted(path: &Path, arguments: &[&str]) -> Vec<u8> {
    let input = ["-v", "error", "-i", path.to_str().unwrap()];
    run("ffmpeg", &[&input, arguments, &["-c", "copy", "-"]].concat())
}

/// The path of the clip. Its name contains all inputs, so that one made earlier is the same.
fn made(name: &str, command: &[&str]) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _at_work = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let (stem, extension) = name.rsplit_once('.').unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clips");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{stem}-{:?}.{extension}", Sum::of(command.join(" ").as_bytes())));
    if !path.exists() {
        let partial = folder.join(format!("partial-{}-{name}", std::process::id()));
        let to = partial.to_str().unwrap().to_owned();
        let to = if command.last() == Some(&"filesink") { format!("location={to}") } else { to };
        run(command[0], &[&command[1..], &[&to]].concat());
        std::fs::rename(&partial, &path).unwrap();
    }
    path
}

/// The output of a program; it must succeed without any message.
pub fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let done =
        Command::new(program).args(arguments).output().unwrap_or_else(|why| panic!("{program}: {why}"));
    let complaint = String::from_utf8_lossy(&done.stderr);
    // openh264enc reports an error whenever its stream ends.
    let silent = complaint.is_empty() || program == "gst-launch-1.0";
    assert!(done.status.success() && silent, "{program} {arguments:?}: {complaint}");
    done.stdout
}

impl Stored {
    /// Number of frames that ffmpeg decodes from this object alone, which must succeed without any message.
    pub fn decoded(&self, folder: &Path) -> u64 {
        let file = self.file(folder);
        let input = ["-v", "error", "-xerror", "-i", file.to_str().unwrap()];
        let frames = ["-map", "0:v:0", "-fps_mode", "passthrough", "-f", "framecrc", "-"];
        let told = String::from_utf8(run("ffmpeg", &[&input[..], &frames].concat())).unwrap();
        if self.body.windows(4).any(|bytes| bytes == b"mp4a") {
            run("ffmpeg", &[&input[..], &["-map", "0:a:0", "-f", "null", "-"]].concat());
        }
        told.lines().filter(|line| !line.starts_with('#')).count() as u64
    }

    /// Number of frames that ffprobe counts in this object, without decoding them.
    pub fn probed(&self, folder: &Path) -> u64 {
        let file = self.file(folder);
        let count = ["-v", "error", "-count_packets", "-select_streams", "v:0", "-show_entries"];
        let told =
            [&count[..], &["stream=nb_read_packets", "-of", "csv=p=0", file.to_str().unwrap()]].concat();
        String::from_utf8(run("ffprobe", &told)).unwrap().trim().trim_end_matches(',').parse().unwrap()
    }

    fn file(&self, folder: &Path) -> PathBuf {
        let path = folder.join("alone.mp4");
        std::fs::write(&path, &self.body).unwrap();
        path
    }
}
