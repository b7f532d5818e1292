//! Many real agents with one broker and one store: a cold start of all at once, a restart of the broker, an outage of the
//! store. The log of the broker and the events of the cloud say what happened; it is judged at the end.

mod curve;
mod plot;

use crate::agent;
use crate::camera::Camera;
use crate::child::Process;
use crate::command::{BrokerState, Command, StoreState};
use crate::peers::Peers;
use crate::serve::Devcloud;
use curve::{Curve, second};
use kasacam::system::clock;
use kasacam::system::signals::{Request, Signals};
use plot::Phase;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// For all cameras to connect, to come back, or to send their backlog.
const PHASE_TIMEOUT: Duration = Duration::from_secs(240);
/// Between the connection of the last camera and the steady phase.
const SETTLE_TIME: Duration = Duration::from_secs(10);
/// For an agent to end after SIGTERM.
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// At most one of so many cameras may come back within one second.
const RETURN_DIVISOR: u64 = 20;
/// Shares are judged only in a fleet of this size or more.
const MIN_CAMERAS_FOR_SHARES: u64 = 100;

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Fleet {
    /// How many cameras.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(2..=2000))]
    cameras: u64,
    /// The footage that all of them record, repeatedly: H.264 in MP4.
    #[arg(long)]
    clip: PathBuf,
    /// Over how many seconds they spread when they reconnect: `mqtt.reconnect_spread`.
    #[arg(long, default_value_t = 90)]
    spread: u64,
    /// How many seconds the broker is down.
    #[arg(long, default_value_t = 5)]
    away: u64,
    /// Seconds of the steady phase, and of the outage of the store.
    #[arg(long, default_value_t = 60)]
    phase: u64,
    /// The folder for the plots, as SVG.
    #[arg(long)]
    plots: Option<PathBuf>,
    /// The agent's program [default: kasacamd in the folder of this program].
    #[arg(long)]
    kasacamd: Option<PathBuf>,
}

/// Runs the fleet in `dir`, or in a temporary directory that is removed at the end.
///
/// # Errors
/// What could not be done, or which checks failed.
pub(crate) async fn run(dir: Option<&Path>, fleet: &Fleet) -> Result<(), String> {
    let own = std::env::temp_dir().join(format!("kasacam-fleet-{}", std::process::id()));
    let at = dir.unwrap_or(&own);
    let outcome = run_in(at, fleet).await;
    if dir.is_none() {
        let _partly_removed = std::fs::remove_dir_all(&own);
    }
    outcome
}

async fn run_in(dir: &Path, fleet: &Fleet) -> Result<(), String> {
    let mut signals = Signals::new().map_err(|e| format!("signals: {e}"))?;
    let cloud = Arc::new(Devcloud::start(dir, &camera(fleet, 0), &Peers::default()).await?);
    let outcome = tokio::select! {
        outcome = play(dir, fleet, &cloud) => outcome,
        () = stop_requested(&mut signals) => Err("stopped".into()),
    };
    let stopped = cloud.stop().await;
    outcome.and(stopped)
}

async fn stop_requested(signals: &mut Signals) {
    while signals.next().await != Request::Stop {}
}

fn camera(fleet: &Fleet, number: u64) -> Camera {
    Camera {
        device: format!("fleet-{number:04}"),
        segment: "30s".into(),
        fragment: "2s".into(),
        chunk: "1s".into(),
        telemetry: "10s".into(),
        source: Some(fleet.clip.display().to_string()),
        set: vec![format!("mqtt.reconnect_spread=\"{}s\"", fleet.spread)],
        ..Camera::default()
    }
}

async fn play(dir: &Path, fleet: &Fleet, cloud: &Devcloud) -> Result<(), String> {
    let dir = dir.canonicalize().map_err(|e| format!("{}: {e}", dir.display()))?;
    let mut files = vec![(cloud.device.clone(), cloud.agent_toml.clone())];
    for number in 1..fleet.cameras {
        let camera = camera(fleet, number);
        files.push((camera.device.clone(), cloud.another(&camera).await?));
    }
    for (device, _) in &files {
        cloud.welcome(device).await?;
    }
    let words = Words { dir: dir.clone() };
    let mut run = Run { fleet, cloud, words, agents: Vec::new(), phases: Vec::new() };

    run.begin("cold start");
    for (device, agent_toml) in &files {
        run.agents.push((
            device.clone(),
            agent::start(fleet.kasacamd.as_deref(), agent_toml, &dir.join(device).join("kasacamd.log"))?,
        ));
    }
    let began = run.now_begins();
    run.wait("all cameras are connected", |words| words.connected_since(began).len() as u64 >= fleet.cameras)
        .await?;
    // What is published only at a start must not count as steady.
    run.pass(SETTLE_TIME).await?;
    run.begin("steady");
    let steady = second(clock::utc());
    run.pass(Duration::from_secs(fleet.phase)).await?;
    let steady = (steady, second(clock::utc()));
    let memory: Vec<Memory> = run.agents.iter().filter_map(|(_, agent)| Memory::of(agent.pid()?)).collect();

    run.begin("broker restarts");
    let away = run.now_begins();
    cloud.execute(Command::Broker { state: BrokerState::Down }).await?;
    run.pass(Duration::from_secs(fleet.away)).await?;
    cloud.execute(Command::Broker { state: BrokerState::Up }).await?;
    run.wait("all cameras are back", |words| words.connected_since(away).len() as u64 >= fleet.cameras)
        .await?;
    let back = second(clock::utc()) + 1;

    run.begin("store away");
    cloud.execute(Command::Store { state: StoreState::Down, status: None }).await?;
    run.pass(Duration::from_secs(fleet.phase)).await?;
    cloud.execute(Command::Store { state: StoreState::Up, status: None }).await?;
    run.begin("store back");
    let returned = second(clock::utc());
    run.wait("the backlog is stored", |words| words.waits().is_some_and(|waits| waits <= fleet.cameras))
        .await?;
    let drained = second(clock::utc()) - returned;
    run.end();

    let ended = run.stop().await;
    let connections = std::fs::read_to_string(run.words.broker_log()).unwrap_or_default();
    let connections: Vec<i64> = curve::connections(&connections)
        .into_iter()
        .filter(|(_, client)| client.starts_with("fleet-"))
        .map(|(at, _)| at)
        .collect();
    let seen = Seen {
        cameras: fleet.cameras,
        ended: ended?,
        connections: curve::each_second(connections),
        heard: run.words.heard(),
        memory,
        steady,
        restart: (away, back),
        drained,
        phases: run.phases,
    };
    seen.print();
    if let Some(plots) = &fleet.plots {
        seen.draw(plots)?;
    }
    seen.judge()
}

struct Run<'a> {
    fleet: &'a Fleet,
    cloud: &'a Devcloud,
    words: Words,
    agents: Vec<(String, Process)>,
    phases: Vec<Phase>,
}

impl Run<'_> {
    fn begin(&mut self, name: &'static str) {
        self.end();
        let now = second(clock::utc());
        self.phases.push(Phase { name, from: now, to: i64::MAX });
        say(&format!("{name}: {} cameras", self.fleet.cameras));
    }

    fn end(&mut self) {
        let now = second(clock::utc());
        if let Some(last) = self.phases.last_mut() {
            last.to = now;
        }
    }

    /// The second in which the current phase began.
    fn now_begins(&self) -> i64 {
        self.phases.last().map_or(0, |phase| phase.from)
    }

    async fn pass(&mut self, time: Duration) -> Result<(), String> {
        tokio::time::sleep(time).await;
        self.all_run()
    }

    async fn wait(&mut self, what: &str, done: impl Fn(&Words) -> bool) -> Result<(), String> {
        let deadline = tokio::time::Instant::now() + PHASE_TIMEOUT;
        while !done(&self.words) {
            if tokio::time::Instant::now() > deadline {
                return Err(format!("not within {PHASE_TIMEOUT:?}: {what}"));
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.all_run()?;
        }
        say(what);
        Ok(())
    }

    fn all_run(&mut self) -> Result<(), String> {
        match self.agents.iter_mut().find_map(|(device, agent)| Some((device, agent.ended()?))) {
            Some((device, ended)) => Err(format!("the agent of {device} has ended: {ended}")),
            None => Ok(()),
        }
    }

    /// Ends all agents at once. Returns how many ended with success.
    async fn stop(&mut self) -> Result<u64, String> {
        let farewells = std::mem::take(&mut self.agents).into_iter().map(|(_, mut agent)| async move {
            agent.stop(STOP_TIMEOUT).await.is_ok_and(|ended| ended.success())
        });
        let ended = futures_util::future::join_all(farewells).await.into_iter().filter(|well| *well).count();
        self.cloud.execute(Command::Broker { state: BrokerState::Down }).await?;
        u64::try_from(ended).map_err(|e| e.to_string())
    }
}

/// What broker and cloud wrote down so far.
struct Words {
    dir: PathBuf,
}

impl Words {
    fn broker_log(&self) -> PathBuf {
        self.dir.join("broker/mosquitto.log")
    }

    /// The cameras that have connected since that second.
    fn connected_since(&self, since: i64) -> BTreeSet<String> {
        let log = std::fs::read_to_string(self.broker_log()).unwrap_or_default();
        let cameras = curve::connections(&log).into_iter();
        let cameras = cameras.filter(|(at, client)| *at >= since && client.starts_with("fleet-"));
        cameras.map(|(_, client)| client.to_owned()).collect()
    }

    fn heard(&self) -> curve::Heard {
        let events = std::fs::read_to_string(self.dir.join("events.jsonl")).unwrap_or_default();
        curve::heard(events.lines())
    }

    /// Segments that are waiting on all cameras.
    fn waits(&self) -> Option<u64> {
        self.heard().backlog.last_key_value().map(|(_, waits)| *waits)
    }
}

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Debug)]
struct Memory {
    /// Resident memory.
    rss: u64,
    /// The same, with shared pages counted in proportion.
    pss: u64,
}

impl Memory {
    fn of(pid: u32) -> Option<Memory> {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = |name: &str| -> Option<u64> {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().strip_suffix("kB")?.trim().parse().ok()
        };
        Some(Memory { rss: line("Rss:")?, pss: line("Pss:")? })
    }
}

/// What happened.
struct Seen {
    cameras: u64,
    /// Agents that ended with success.
    ended: u64,
    connections: Curve,
    heard: curve::Heard,
    memory: Vec<Memory>,
    steady: (i64, i64),
    restart: (i64, i64),
    /// Seconds from the return of the store until only the current segments were waiting.
    drained: i64,
    phases: Vec<Phase>,
}

impl Seen {
    fn most_back_at_once(&self) -> u64 {
        curve::most(&self.connections, self.restart.0, self.restart.1)
    }

    fn print(&self) {
        let (from, to) = self.steady;
        let seconds = u64::try_from(to - from).unwrap_or(1).max(1);
        let a_day = |count: u64| count * 86_400 / seconds / self.cameras.max(1);
        let mut rows: Vec<(String, String)> = vec![
            ("cameras".into(), self.cameras.to_string()),
            ("connections at the cold start, peak per second".into(), {
                let first = self.phases.first().map_or(0, |phase| phase.from);
                curve::most(&self.connections, first, from + 1).to_string()
            }),
            ("connections after the restart of the broker, peak per second".into(), {
                let most = self.most_back_at_once();
                format!("{most} ({:.1}% of the fleet)", most as f64 * 100.0 / self.cameras.max(1) as f64)
            }),
            (
                "from broker down to the last camera back".into(),
                format!("{} s", self.restart.1 - self.restart.0),
            ),
            ("from store up to an empty backlog".into(), format!("{} s", self.drained)),
            ("segments waiting, peak".into(), curve::most(&self.heard.backlog, 0, i64::MAX).to_string()),
            (
                "objects stored, peak per second".into(),
                curve::most(&self.heard.stored, 0, i64::MAX).to_string(),
            ),
            ("objects stored".into(), self.heard.objects.values().sum::<u64>().to_string()),
            (
                "objects a camera-day, steady".into(),
                a_day(curve::sum(&self.heard.stored, from, to)).to_string(),
            ),
        ];
        for (topic, curve) in &self.heard.messages {
            rows.push((
                format!("{topic} a camera-day, steady"),
                a_day(curve::sum(curve, from, to)).to_string(),
            ));
        }
        for (name, of) in [("resident", (|m| m.rss) as fn(&Memory) -> u64), ("proportional (PSS)", |m| m.pss)]
        {
            let mut kib: Vec<u64> = self.memory.iter().map(of).collect();
            kib.sort_unstable();
            let at = |part: usize| kib.get(kib.len() * part / 100).copied().unwrap_or(0) as f64 / 1024.0;
            let most = kib.last().copied().unwrap_or(0) as f64 / 1024.0;
            rows.push((
                format!("memory of an agent, {name}"),
                format!("p50 {:.1} MiB, peak {most:.1} MiB", at(50)),
            ));
        }
        let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in rows {
            println!("{name:<width$}  {value}");
        }
    }

    fn draw(&self, dir: &Path) -> Result<(), String> {
        std::fs::create_dir_all(dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        let start = self.phases.first().map_or(0, |phase| phase.from);
        let end = self.phases.last().map_or(start, |phase| phase.to);
        let limit = (self.cameras >= MIN_CAMERAS_FOR_SHARES).then_some(self.cameras / RETURN_DIVISOR);
        let all = |curve: &Curve| -> Curve {
            (start..=end).map(|at| (at, curve.get(&at).copied().unwrap_or(0))).collect()
        };
        let messages = self.heard.messages.values().flatten().fold(Curve::new(), |mut sum, (at, value)| {
            *sum.entry(*at).or_default() += value;
            sum
        });
        let plots = [
            ("connections", "connections per second", all(&self.connections), limit),
            ("messages", "messages of all cameras per second", all(&messages), None),
            ("requests", "objects stored per second", all(&self.heard.stored), None),
            ("backlog", "segments waiting on all cameras", self.heard.backlog.clone(), None),
        ];
        for (name, title, curve, limit) in plots {
            let file = dir.join(format!("fleet-{name}.svg"));
            plot::draw(&file, title, &curve, (start, end), &self.phases, limit)?;
            println!("{}", file.display());
        }
        Ok(())
    }

    /// # Errors
    /// The checks that failed.
    fn judge(&self) -> Result<(), String> {
        let without: Vec<u64> = (0..self.cameras)
            .filter(|n| !self.heard.objects.contains_key(&format!("fleet-{n:04}")))
            .collect();
        let most = self.most_back_at_once();
        let counts: BTreeMap<&str, bool> = BTreeMap::from([
            ("every camera has stored footage", without.is_empty()),
            ("every object names the device of its key", self.heard.foreign.is_empty()),
            ("every object belongs to a device of the fleet", {
                self.heard.objects.keys().all(|device| device.starts_with("fleet-"))
            }),
            ("every agent ended with success", self.ended == self.cameras),
            ("at most 5% of the fleet came back within one second", {
                self.cameras < MIN_CAMERAS_FOR_SHARES || most * RETURN_DIVISOR <= self.cameras
            }),
        ]);
        let mut failed = Vec::new();
        for (check, holds) in counts {
            println!("{}: {check}", if holds { "ok" } else { "FAILED" });
            if !holds {
                failed.push(check);
            }
        }
        if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join("; "))) }
    }
}

fn say(words: &str) {
    println!("{} {words}", clock::utc());
}
