//! The cloud and a camera together: prints what happens and, with `--seconds`, plays a script and compares what was stored
//! with what was allowed.

use crate::agent;
use crate::camera::{Camera, Right};
use crate::child::Process;
use crate::chronicle::Chronicle;
use crate::command::{Command, Plan, StoreState};
use crate::control;
use crate::footage;
use crate::page::Page;
use crate::peers::Peers;
use crate::serve::Devcloud;
use crate::summary::{Seen, Summary, compare};
use kasacam::config::{self, Config};
use kasacam::domain::time::Utc;
use kasacam::system::clock;
use kasacam::system::signals::{Request, Signals};
use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// How long the script forbids recording.
const PRIVATE_TIME: Duration = Duration::from_secs(4);
/// How long the script keeps the store down.
const STORE_DOWN_TIME: Duration = Duration::from_secs(8);
/// The shortest script.
pub(crate) const MIN_SECONDS: u64 = 30;
/// For the camera to follow a command, including GStreamer's first scan of its plugins.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);
/// For the camera to upload its backlog after the store was down, including its back-off.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(90);
/// For the camera to end after SIGTERM; the contract allows 5 s to flush, and 2 s to disconnect.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Demo {
    /// Play the script for about this many seconds, then compare what was stored with what was allowed [default: run until
    /// Ctrl-C, without a script].
    #[arg(long, value_parser = clap::value_parser!(u64).range(MIN_SECONDS..=86_400))]
    seconds: Option<u64>,
    /// Write the result of the comparison to this file, as JSON.
    #[arg(long)]
    summary: Option<PathBuf>,
    /// The agent's program [default: kasacamd in the folder of this program].
    #[arg(long)]
    kasacamd: Option<PathBuf>,
    #[command(flatten)]
    camera: Camera,
    #[command(flatten)]
    peers: Peers,
}

/// Runs the demo in `dir`, or in a temporary directory that is removed at the end.
///
/// # Errors
/// What could not be done, or which checks failed.
pub(crate) async fn run(dir: Option<&Path>, demo: &Demo) -> Result<(), String> {
    let own = std::env::temp_dir().join(format!("kasacam-demo-{}", std::process::id()));
    let at = dir.unwrap_or(&own);
    let outcome = run_in(at, demo).await;
    if dir.is_none() {
        let _partly_removed = std::fs::remove_dir_all(&own);
    }
    outcome
}

async fn run_in(dir: &Path, demo: &Demo) -> Result<(), String> {
    if dir.join(&demo.camera.device).join("state").exists() {
        let at = dir.display();
        return Err(format!(
            "{at}: contains an earlier run, whose footage would be taken for that of this one: give an empty directory"
        ));
    }
    let mut signals = Signals::new().map_err(|e| format!("signals: {e}"))?;
    // The camera of a demo has no key of the store.
    let right = demo.camera.credentials.unwrap_or(Right::Grant);
    let camera = Camera { credentials: Some(right), ..demo.camera.clone() };
    let cloud = Arc::new(Devcloud::start(dir, &camera, &demo.peers).await?);
    let control = control::listen(&cloud)?;
    let page = Page::serve(&cloud).await?;
    say(clock::utc(), &format!("open this page in a browser: {}", page.url));
    let outcome = with_camera(dir, demo, &cloud, &mut signals).await;
    control.abort();
    let stopped = cloud.stop().await;
    outcome.and(stopped)
}

/// Clause K13 of the service agreement.
const NO_EMERGENCY: &str =
    "this is not an emergency service: it depends on power, network, plan and the owner's choice";

async fn with_camera(
    dir: &Path,
    demo: &Demo,
    cloud: &Arc<Devcloud>,
    signals: &mut Signals,
) -> Result<(), String> {
    let config = config::load(&cloud.agent_toml).map_err(|problems| problems.to_string())?;
    let began = clock::utc();
    let (write, chronicle) = watch::channel(Chronicle::default());
    let printing = tokio::spawn(print_events(cloud.events.listen(), write, began));
    cloud.plan(&Plan::named("plus")).await?;
    cloud.privacy(false).await?;

    let log = dir.join(&demo.camera.device).join("kasacamd.log");
    let mut run = DemoRun {
        cloud,
        chronicle,
        began,
        camera: agent::start(demo.kasacamd.as_deref(), &cloud.agent_toml, &log)?,
        peak_rss_kib: 0,
        private_orders: 0,
    };
    say(began, NO_EMERGENCY);
    if demo.seconds.is_none() {
        let program = std::env::args().next().unwrap_or_default();
        let devcloud = format!("{program} --dir {}", dir.display());
        say(began, &format!("or use another terminal: {devcloud} privacy on"));
        say(
            began,
            &format!("other commands: plan free, store down, broker restart; all of them: {devcloud} --help"),
        );
    }
    let played = run.play(demo.seconds, signals).await;
    let ended = run.stop_camera().await;
    if let Err(why) = played {
        printing.abort();
        return Err(format!("{why}; the end of the camera's log:\n{}", last_lines(&log)));
    }
    let ended = ended?;
    if let Some(compared) = cloud.store.compare().await? {
        say(began, &format!("the foreign store returned {compared} objects, each exactly as it was sent"));
    }
    let seen = run.seen(&config, ended)?;
    printing.abort();
    let judged = finish(&compare(&seen), demo.summary.as_deref(), began);
    // Ctrl-C may leave footage that was not sent yet, and then a check fails: that is no error of the demo.
    if demo.seconds.is_some() { judged } else { Ok(()) }
}

/// One run: the cloud, and its camera.
struct DemoRun<'a> {
    cloud: &'a Devcloud,
    chronicle: watch::Receiver<Chronicle>,
    began: Utc,
    camera: Process,
    peak_rss_kib: u64,
    /// How often the script ordered "do not record".
    private_orders: u64,
}

impl DemoRun<'_> {
    /// Plays the script, or waits until Ctrl-C.
    async fn play(&mut self, seconds: Option<u64>, signals: &mut Signals) -> Result<(), String> {
        match seconds {
            Some(seconds) => self.script(seconds, signals).await,
            None => match self.idle(Duration::MAX, signals).await {
                Err(Stopped::BySignal) => Ok(()),
                Err(Stopped::CameraEnded) => Err("the camera has ended".into()),
                Ok(()) => Ok(()),
            },
        }
    }

    async fn script(&mut self, seconds: u64, signals: &mut Signals) -> Result<(), String> {
        let rest = Duration::from_secs(seconds).saturating_sub(PRIVATE_TIME + STORE_DOWN_TIME);
        let scene = rest / 4;
        self.wait_for("the first segment", |c| c.stored > 0).await?;
        self.pass(scene, signals).await?;

        self.cloud.privacy(true).await?;
        self.private_orders += 1;
        self.pass(PRIVATE_TIME, signals).await?;
        self.wait_for("the device to be closed", |c| c.capture.as_deref() == Some("closed")).await?;
        self.cloud.privacy(false).await?;
        self.wait_for("the device to be opened", |c| c.capture.as_deref() == Some("open")).await?;
        self.pass(scene, signals).await?;

        self.plan("free").await?;
        self.pass(scene, signals).await?;
        self.plan("plus").await?;

        let store = |state| Command::Store { state, status: None };
        self.cloud.execute(store(StoreState::Down)).await?;
        self.pass(STORE_DOWN_TIME, signals).await?;
        self.cloud.execute(store(StoreState::Up)).await?;
        self.pass(scene, signals).await?;
        self.wait_within(CATCH_UP_TIMEOUT, "what waited to be stored", |c| c.pending.is_some_and(|n| n <= 1))
            .await
    }

    async fn plan(&mut self, name: &str) -> Result<(), String> {
        let answer = self.cloud.plan(&Plan::named(name)).await?;
        let version = answer.get("version").and_then(serde_json::Value::as_u64);
        self.wait_for("the camera to take the plan", |c| c.entitlement >= version).await
    }

    async fn pass(&mut self, time: Duration, signals: &mut Signals) -> Result<(), String> {
        match self.idle(time, signals).await {
            Ok(()) => Ok(()),
            Err(Stopped::BySignal) => Err("stopped before the end of the script".into()),
            Err(Stopped::CameraEnded) => Err("the camera has ended".into()),
        }
    }

    async fn idle(&mut self, time: Duration, signals: &mut Signals) -> Result<(), Stopped> {
        let over = tokio::time::sleep(time);
        tokio::pin!(over);
        loop {
            self.measure();
            tokio::select! {
                () = &mut over => return Ok(()),
                request = signals.next() => {
                    if request == Request::Stop {
                        return Err(Stopped::BySignal);
                    }
                }
                _ = self.camera.wait() => return Err(Stopped::CameraEnded),
                () = tokio::time::sleep(Duration::from_millis(500)) => {}
            }
        }
    }

    async fn wait_for(&mut self, what: &str, seen: impl Fn(&Chronicle) -> bool) -> Result<(), String> {
        self.wait_within(ANSWER_TIMEOUT, what, seen).await
    }

    async fn wait_within(
        &mut self,
        within: Duration,
        what: &str,
        seen: impl Fn(&Chronicle) -> bool,
    ) -> Result<(), String> {
        tokio::select! {
            found = tokio::time::timeout(within, self.chronicle.wait_for(|c| seen(c))) => match found {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(format!("not within {within:?}: {what}")),
            },
            _ = self.camera.wait() => Err(format!("the camera ended before {what}")),
        }
    }

    async fn stop_camera(&mut self) -> Result<ExitStatus, String> {
        self.measure();
        let ended = self.camera.stop(STOP_TIMEOUT).await?;
        // Its last messages may not have arrived yet.
        let offline = self.chronicle.wait_for(|c| c.online != Some(true));
        let _counters_may_be_missing = tokio::time::timeout(Duration::from_secs(5), offline).await;
        Ok(ended)
    }

    /// Reads the peak memory (`VmHWM`) while the process runs.
    fn measure(&mut self) {
        let status =
            self.camera.pid().and_then(|pid| std::fs::read_to_string(format!("/proc/{pid}/status")).ok());
        let peak = status.as_deref().and_then(|status| {
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.trim().strip_suffix("kB")?.trim().parse().ok()
        });
        self.peak_rss_kib = self.peak_rss_kib.max(peak.unwrap_or(0));
    }

    fn seen(&mut self, config: &Config, ended: ExitStatus) -> Result<Seen, String> {
        let (segments, ends) = footage::read(&self.cloud.store.bucket, &config.device.id)?;
        let chronicle = self.chronicle.borrow().clone();
        let spool = std::fs::read_dir(config.device.state_dir.join("spool"));
        let is_footage = |name: &str| kasacam::domain::segment::SpoolName::parse(name).is_some();
        let left = spool.into_iter().flatten().flatten();
        let left = left.filter(|entry| entry.file_name().to_str().is_some_and(is_footage)).count();
        let gop = config.board.video.fps.frames_in(config.recording.fragment);
        say(self.began, &format!("the camera has ended: {ended}"));
        Ok(Seen {
            segments,
            ends,
            private: chronicle.private,
            private_orders: self.private_orders,
            counters: chronicle.counters,
            gop: gop.max(1),
            board_has_audio: config.board.audio.is_some() && config.recording.audio,
            free_plan_was_in_force: chronicle.free_plan_was_in_force,
            camera_exit: ended.code().or_else(|| ended.signal().map(|signal| 128 + signal)),
            left_in_spool: u64::try_from(left).unwrap_or(u64::MAX),
            peak_rss_kib: self.peak_rss_kib,
        })
    }
}

enum Stopped {
    BySignal,
    CameraEnded,
}

/// Prints events, and writes them into the chronicle.
async fn print_events(
    mut events: broadcast::Receiver<serde_json::Value>,
    write: watch::Sender<Chronicle>,
    began: Utc,
) {
    loop {
        match events.recv().await {
            Ok(line) => {
                let mut words = None;
                write.send_modify(|chronicle| words = chronicle.hear(&line));
                if let Some(words) = words {
                    say(began, &words);
                }
            }
            Err(broadcast::error::RecvError::Lagged(lost)) => {
                say(began, &format!("{lost} events are not shown"))
            }
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

fn finish(summary: &Summary, file: Option<&Path>, began: Utc) -> Result<(), String> {
    let json = serde_json::to_string_pretty(summary).map_err(|e| e.to_string())?;
    if let Some(path) = file {
        let written = File::create(path).and_then(|mut file| writeln!(file, "{json}"));
        written.map_err(|e| format!("{}: {e}", path.display()))?;
    }
    for check in &summary.checks {
        let verdict = if check.ok { "ok    " } else { "FAILED" };
        say(began, &format!("{verdict} {}: {}", check.check, check.found));
    }
    for gap in &summary.gaps {
        let end = gap.end.map_or("the end".into(), |end| end.to_string());
        say(began, &format!("gap from {} to {end}: {}", gap.start, gap.reason));
    }
    let latency = |ms: Option<f64>| ms.map_or("-".into(), |ms| format!("{ms:.0} ms"));
    let stored = summary.capture_to_stored_ms;
    say(
        began,
        &format!(
            "{} objects stored; from the last frame of a segment to its storage: p50 {}, p99 {}; peak memory of the camera {:.1} MiB",
            summary.objects,
            latency(stored.p50),
            latency(stored.p99),
            summary.peak_rss_mib
        ),
    );
    if summary.ok {
        return Ok(());
    }
    let failed: Vec<&str> =
        summary.checks.iter().filter(|check| !check.ok).map(|check| check.check).collect();
    Err(format!("what was stored is not what was allowed: {}", failed.join("; ")))
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(12)..).unwrap_or_default().join("\n")
}

/// One line on standard output, with the seconds since the start.
fn say(began: Utc, words: &str) {
    let seconds = clock::utc().since(began).as_secs_f64();
    let _nobody_reads = writeln!(std::io::stdout(), "{seconds:7.2}  {words}");
}
