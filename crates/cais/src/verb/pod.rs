//! `pod create` and the commands on all containers of a pod. Exit codes are podman's.

mod list;

use std::env::current_dir;
use std::ffi::OsString;

use cais_engine::verb::{PodState, PodView};
use cais_engine::{Engine, ErrorKind};
use clap::Args;

use crate::chosen::missing;
use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;
use crate::pod_args::PodArgs;
use crate::request::{self, Caller};

pub(super) use list::{inspect, ps};

/// podman's code for a pod that is not there.
const NO_SUCH_POD: u8 = 1;
/// podman's code for `rm` of a pod whose containers run.
const RUNNING: u8 = 2;

pub(super) fn create(door: &Door, argv: Vec<OsString>) -> Outcome {
    let typed = argv.iter().map(|word| word.to_string_lossy().into_owned());
    let command = ["cais", "pod", "create"].map(str::to_owned).into_iter().chain(typed).collect();
    let args: PodArgs = parse(door.spec, argv)?;
    let directory = current_dir().map_err(|error| Failure::edge("find the working directory", error))?;
    let caller = Caller::here(&directory, None);
    let (request, warnings) = request::pod(&args, &caller, command)?;
    door.warn(&warnings);
    let created = door.engine()?.pod_create(request)?;
    door.warn(&created.warnings);
    print_stdout(&format!("{}\n", created.id))?;
    Ok(0)
}

/// Which pods a command is for.
#[derive(Debug, Args)]
struct ChosenPods {
    /// All pods.
    #[arg(short, long)]
    all: bool,
    /// The pod that was created last.
    #[arg(short, long)]
    latest: bool,
    pods: Vec<String>,
}

impl ChosenPods {
    /// The names that were typed, or the ids of those that were chosen.
    fn names(&self, door: &Door, fits: impl Fn(&PodView) -> bool) -> Result<Vec<String>, Failure> {
        match (self.all, self.latest, self.pods.is_empty()) {
            (false, false, false) => Ok(self.pods.clone()),
            (true, false, true) => {
                let pods = door.engine()?.pods()?.into_iter().filter(fits);
                Ok(pods.map(|pod| pod.record.id).collect())
            }
            (false, true, true) => Ok(vec![latest(door)?]),
            (false, false, true) => Err(missing(door)),
            _ => Err(Failure::usage("conflicting options: use names, --all or --latest")),
        }
    }
}

fn latest(door: &Door) -> Result<String, Failure> {
    let newest = door.engine()?.pods()?.into_iter().next();
    Ok(newest.ok_or_else(|| Failure::usage("--latest: there are no pods"))?.record.id)
}

/// Does something with each pod and prints its id.
fn on_each(
    door: &Door,
    chosen: &ChosenPods,
    fits: impl Fn(&PodView) -> bool,
    act: impl Fn(&Engine, &str) -> cais_engine::Result<Vec<String>>,
) -> Outcome {
    let names = chosen.names(door, fits)?;
    let engine = door.engine()?;
    Ok(door.each(&names, |name| {
        let id = engine.pod(name)?.record.id;
        door.warn(&act(engine, &id)?);
        print_stdout(&format!("{id}\n"))
    }))
}

pub(super) fn start(door: &Door, argv: Vec<OsString>) -> Outcome {
    let chosen: ChosenPods = parse(door.spec, argv)?;
    on_each(door, &chosen, |pod| pod.state != PodState::Running, |engine, id| engine.pod_start(id))
}

pub(super) fn restart(door: &Door, argv: Vec<OsString>) -> Outcome {
    let chosen: ChosenPods = parse(door.spec, argv)?;
    on_each(door, &chosen, |_| true, |engine, id| engine.pod_restart(id))
}

#[derive(Debug, Args)]
struct StopArgs {
    #[command(flatten)]
    chosen: ChosenPods,
    /// Missing ones are no failure.
    #[arg(short, long)]
    ignore: bool,
    /// Seconds to wait before SIGKILL.
    #[arg(short, long, value_name = "SECONDS")]
    time: Option<i64>,
}

pub(super) fn stop(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: StopArgs = parse(door.spec, argv)?;
    let names = args.chosen.names(door, |_| true)?;
    let engine = door.engine()?;
    Ok(door.each(&names, |name| match engine.pod(name) {
        Err(error) if args.ignore && error.kind == ErrorKind::NotFound => Ok(()),
        found => {
            let id = found?.record.id;
            engine.pod_stop(&id, args.time)?;
            print_stdout(&format!("{id}\n"))
        }
    }))
}

#[derive(Debug, Args)]
struct KillArgs {
    #[command(flatten)]
    chosen: ChosenPods,
    /// The signal.
    #[arg(short, long, value_name = "SIGNAL", default_value = "KILL")]
    signal: String,
}

pub(super) fn kill(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: KillArgs = parse(door.spec, argv)?;
    let act = |engine: &Engine, id: &str| engine.pod_kill(id, &args.signal).map(|()| Vec::new());
    on_each(door, &args.chosen, |_| true, act)
}

pub(super) fn pause(door: &Door, argv: Vec<OsString>) -> Outcome {
    let chosen: ChosenPods = parse(door.spec, argv)?;
    let fits = |pod: &PodView| matches!(pod.state, PodState::Running | PodState::Degraded);
    on_each(door, &chosen, fits, |engine, id| engine.pod_pause(id).map(|()| Vec::new()))
}

pub(super) fn unpause(door: &Door, argv: Vec<OsString>) -> Outcome {
    let chosen: ChosenPods = parse(door.spec, argv)?;
    let act = |engine: &Engine, id: &str| engine.pod_unpause(id).map(|()| Vec::new());
    on_each(door, &chosen, |_| true, act)
}

#[derive(Debug, Args)]
struct RmArgs {
    #[command(flatten)]
    chosen: ChosenPods,
    /// Stop and remove running ones; missing ones are no failure.
    #[arg(short, long)]
    force: bool,
    /// Missing ones are no failure.
    #[arg(short, long)]
    ignore: bool,
    /// Read the pod's id from a file.
    #[arg(long, value_name = "FILE")]
    pod_id_file: Vec<String>,
    /// With --force: seconds for running containers to stop by themselves before they are killed.
    #[arg(short, long, value_name = "SECONDS")]
    time: Option<i64>,
}

pub(super) fn rm(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: RmArgs = parse(door.spec, argv)?;
    let mut names = Vec::new();
    for path in &args.pod_id_file {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::edge(format_args!("read --pod-id-file {path}"), error))?;
        names.push(text.lines().next().unwrap_or_default().trim().to_owned());
    }
    if names.is_empty() || args.chosen.all || args.chosen.latest || !args.chosen.pods.is_empty() {
        names.extend(args.chosen.names(door, |_| true)?);
    }
    let engine = door.engine()?;
    let mut code = 0;
    for name in &names {
        match engine.pod_remove(name, args.force, args.time) {
            Ok(id) => print_stdout(&format!("{id}\n"))?,
            Err(error) if error.kind == ErrorKind::NotFound && (args.ignore || args.force) => {}
            Err(error) => {
                code = match error.kind {
                    ErrorKind::NotFound => NO_SUCH_POD,
                    ErrorKind::Conflict => RUNNING,
                    _ => 125,
                };
                door.complain(&Failure::from(error));
            }
        }
    }
    Ok(code)
}

#[derive(Debug, Args)]
struct PruneArgs {
    /// Do not ask.
    #[arg(short, long)]
    force: bool,
}

pub(super) fn prune(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: PruneArgs = parse(door.spec, argv)?;
    let warning = "WARNING! This will remove all pods of which no container runs any more.\n";
    if !args.force && !super::prune::agreed(warning)? {
        return Ok(0);
    }
    let mut code = 0;
    for removal in door.engine()?.pod_prune()? {
        match removal.error {
            None => print_stdout(&format!("{}\n", removal.id))?,
            Some(error) => {
                code = 125;
                door.complain(&Failure::from(error));
            }
        }
    }
    Ok(code)
}

#[derive(Debug, Args)]
struct ExistsArgs {
    #[arg(required = true)]
    pod: String,
}

pub(super) fn exists(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: ExistsArgs = parse(door.spec, argv)?;
    match door.engine()?.pod(&args.pod) {
        Ok(_) => Ok(0),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(NO_SUCH_POD),
        Err(error) => Err(error.into()),
    }
}
