//! `kasacam-devcloud`: the cloud that a camera talks to, on one machine, for development and tests.
//!
//! It has a private CA, a real mosquitto with mutual TLS and an ACL, an S3 store over TLS, and publishes the commands of the
//! owner and the operator. All its files are in one directory.

mod agent;
mod broker;
mod camera;
mod certificates;
mod child;
mod chronicle;
mod cloud;
mod command;
mod conformance;
mod control;
mod demo;
mod est;
mod events;
mod fleet;
mod footage;
mod foreign;
mod grants;
mod hex;
mod http;
mod https;
mod jws;
mod keys;
mod lease;
mod objects;
mod page;
mod parent;
mod peers;
mod serve;
mod signer;
mod store;
mod store_key;
mod summary;

use clap::{Parser, Subcommand};
use kasacam::system::signals::Signals;
use serve::Devcloud;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// The cloud that a camera talks to, on one machine, for development and tests.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// The directory for all files [default: `devcloud`; for a demo, a temporary one that is removed at the end].
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Start the cloud; one line of JSON says when it is ready. It runs until SIGTERM, or until the process that started
    /// it ends.
    Serve(Serve),
    /// Start the cloud and a camera, and print what happens.
    Demo(demo::Demo),
    /// Run many cameras at once, and measure the load of broker and store.
    Fleet(fleet::Fleet),
    /// Issue a certificate for another camera. Starts nothing.
    Issue { device: String },
    #[command(flatten)]
    Conformance(conformance::Side),
    #[command(flatten)]
    Command(command::Command),
}

#[derive(clap::Args)]
struct Serve {
    #[command(flatten)]
    camera: camera::Camera,
    #[command(flatten)]
    peers: peers::Peers,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let dir = arguments.dir.as_deref();
    let named = dir.unwrap_or(Path::new("devcloud"));
    let outcome = match arguments.task {
        Task::Serve(arguments) => run(serve(named, &arguments)),
        Task::Demo(demo) => run(demo::run(dir, &demo)),
        Task::Fleet(fleet) => run(fleet::run(dir, &fleet)),
        Task::Conformance(side) => return side.conclude(run(side.check())),
        Task::Issue { device } => certificates::issue_device(named, &device)
            .and_then(|(cert, key)| say(&serde_json::json!({"ok": true, "cert": cert, "key": key}))),
        Task::Command(command) => ask(named, command),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("kasacam-devcloud: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Runs on this thread: the kernel ends a child process when the thread that started it ends.
fn run<T>(task: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|e| format!("no runtime: {e}"))?;
    let outcome = runtime.block_on(async {
        tokio::spawn(parent::stop_when_it_ends());
        task.await
    });
    // Does not wait for a write to the bucket that hangs.
    runtime.shutdown_background();
    outcome
}

async fn serve(dir: &Path, arguments: &Serve) -> Result<(), String> {
    let mut signals = Signals::new().map_err(|e| format!("signals: {e}"))?;
    let cloud = Arc::new(Devcloud::start(dir, &arguments.camera, &arguments.peers).await?);
    let control = control::listen(&cloud)?;
    let page = page::Page::serve(&cloud).await?;
    say(&cloud.ready(&page.url))?;
    while signals.next().await == kasacam::system::signals::Request::Reload {}
    control.abort();
    cloud.stop().await
}

fn ask(dir: &Path, mut command: command::Command) -> Result<(), String> {
    // The cloud may run in another directory.
    if let command::Command::PublishRaw { file, .. } = &mut command {
        *file = std::path::absolute(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    let answer = control::ask(dir, &command)?;
    say(&answer)?;
    match answer.get("error").and_then(serde_json::Value::as_str) {
        Some(why) => Err(why.to_owned()),
        None => Ok(()),
    }
}

fn say(line: &serde_json::Value) -> Result<(), String> {
    writeln!(std::io::stdout(), "{line}").map_err(|e| format!("standard output: {e}"))
}
