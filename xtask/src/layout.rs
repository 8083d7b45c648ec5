//! Which functions of the shipped program lie beside each other: those of a start, in the order in which they first run.
//!
//! The kernel maps a program in windows of 64 kB around each page that is touched. What a start runs is some 700 kB out
//! of 9 MB: spread over all of it, it costs twice the memory and a fifth more page faults (`docs/performance.md`).
//!
//! The program is linked with its symbols, run instruction by instruction (ptrace(2)), and linked once more with the
//! list of what ran, which lld takes (`--symbol-ordering-file`). The list belongs to one build, because names of symbols
//! do; nothing of it is kept under version control. Where one of the means is missing (another linker, no ptrace, no
//! rights to start a container) the linker's own order stays, and nothing but the speed differs.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::ptrace;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::Value;

use crate::shell;

/// Steps of one start; far more than there are (1.5 to 4 million).
const MOST_STEPS: u64 = 40_000_000;

/// Whether the linker for this target takes an order, and what it takes to find one is there.
pub(crate) fn is_possible(target: &str) -> bool {
    cfg!(target_arch = "x86_64")
        && target == "x86_64-unknown-linux-gnu"
        && shell::has("nm")
        && shell::has("strip")
}

/// Arguments for rustc: keep the symbols, and follow the list.
pub(crate) fn arguments(list: &Path) -> Vec<String> {
    let list = format!("link-arg=-Wl,--symbol-ordering-file={}", list.display());
    ["-C", "strip=none", "-C", "link-arg=-Wl,--no-warn-symbol-ordering", "-C", &list]
        .map(str::to_owned)
        .into()
}

/// Writes the list for `program`, an unstripped one; true when it is not the one that the program was linked with.
/// `hello` is a static program that ends by itself.
pub(crate) fn write_list(program: &Path, hello: &Path, list: &Path) -> Result<bool> {
    let symbols = Symbols::of(program)?;
    let folder = tempfile::tempdir().context("a folder for the traced containers")?;
    let mut ran = Vec::new();
    for command in starts(program, hello, folder.path())? {
        ran.extend(trace(&command, program)?);
    }
    let mut known = HashSet::new();
    let names =
        ran.into_iter().filter_map(|address| symbols.name(address)).filter(|name| known.insert(*name));
    let text: String = names.flat_map(|name| [name, "\n"]).collect();
    let changed = fs::read_to_string(list).unwrap_or_default() != text;
    fs::write(list, text).context("writing the list of functions")?;
    Ok(changed)
}

/// What is started: a container of the OCI runtime, and one of the command line.
fn starts(program: &Path, hello: &Path, folder: &Path) -> Result<[Command; 2]> {
    let bundle = folder.join("bundle");
    fs::create_dir_all(bundle.join("rootfs")).context("a root file system")?;
    fs::copy(hello, bundle.join("rootfs/hello")).context("the program of the traced container")?;
    let mut runtime = command(program, folder);
    shell::succeeds(command(program, folder).args(["runtime", "spec", "--bundle"]).arg(&bundle))?;
    let config = bundle.join("config.json");
    let mut spec: Value =
        serde_json::from_str(&fs::read_to_string(&config)?).context("the template of a bundle")?;
    spec["process"]["args"] = serde_json::json!(["/hello"]);
    spec["process"]["terminal"] = Value::Bool(false);
    fs::write(&config, spec.to_string())?;
    let id = format!("cais-layout-{}", std::process::id());
    runtime
        .args(["runtime", "--root"])
        .arg(folder.join("runtime"))
        .args(["run", "--bundle"])
        .arg(bundle)
        .arg(id);
    let mut run = command(program, folder);
    run.args(["run", "--rm", "--network", "none", "hello"]);
    Ok([runtime, run])
}

fn command(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.env("CAIS_ROOT", folder.join("root")).env("CAIS_RUN_ROOT", folder.join("run"));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Functions by address in the file's own numbers.
struct Symbols {
    /// Start: end, name.
    functions: BTreeMap<u64, (u64, String)>,
}

impl Symbols {
    fn of(program: &Path) -> Result<Symbols> {
        let table = shell::output(shell::command("nm", "--print-size --defined-only").arg(program))?;
        let mut functions = BTreeMap::new();
        for line in table.lines() {
            let mut words = line.split_ascii_whitespace();
            if let (Some(start), Some(size), Some("t" | "T" | "w" | "W" | "i"), Some(name)) =
                (words.next(), words.next(), words.next(), words.next())
            {
                let (start, size) = (u64::from_str_radix(start, 16)?, u64::from_str_radix(size, 16)?);
                functions.insert(start, (start + size, name.to_owned()));
            }
        }
        if functions.is_empty() {
            bail!("{} has no symbols", program.display());
        }
        Ok(Symbols { functions })
    }

    fn name(&self, address: u64) -> Option<&str> {
        let (_, (end, name)) = self.functions.range(..=address).next_back()?;
        (address < *end).then_some(name)
    }
}

/// Runs a command instruction by instruction; addresses in `program`, each once, in the order of their first time.
fn trace(command: &Command, program: &Path) -> Result<Vec<u64>> {
    // Both on one processor: each step is a switch from one to the other.
    let all = sched_getaffinity(Pid::from_raw(0))?;
    let mut one = CpuSet::new();
    one.set((0..CpuSet::count()).find(|cpu| all.is_set(*cpu).unwrap_or(false)).unwrap_or(0))?;
    sched_setaffinity(Pid::from_raw(0), &one)?;
    let traced = trace_here(command, program);
    sched_setaffinity(Pid::from_raw(0), &all)?;
    traced
}

fn trace_here(command: &Command, program: &Path) -> Result<Vec<u64>> {
    let mut child = stopped(command)?;
    let pid = Pid::from_raw(child.id() as i32);
    let traced = step_through(pid, program);
    if traced.is_err() {
        // It is ended with its tracer's interest in it; what matters is why that ended.
        let _ = child.kill();
    }
    let _ = child.wait();
    traced.with_context(|| format!("tracing {}", shell::name(command)))
}

/// A shell that becomes the command as soon as it is let go on.
fn stopped(command: &Command) -> Result<Child> {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", "kill -STOP $$; exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    let child = shell.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("starting a shell")?;
    match waitpid(Pid::from_raw(child.id() as i32), Some(WaitPidFlag::WUNTRACED))? {
        WaitStatus::Stopped(..) => Ok(child),
        other => bail!("the shell did not stop: {other:?}"),
    }
}

fn step_through(pid: Pid, program: &Path) -> Result<Vec<u64>> {
    ptrace::attach(pid).context("attaching to it")?;
    waitpid(pid, None)?;
    ptrace::setoptions(pid, ptrace::Options::PTRACE_O_TRACEEXEC | ptrace::Options::PTRACE_O_EXITKILL)?;
    kill(pid, Signal::SIGCONT)?;
    ptrace::cont(pid, None)?;
    loop {
        match waitpid(pid, None)? {
            WaitStatus::PtraceEvent(..) => break,
            WaitStatus::Stopped(_, signal) => {
                ptrace::cont(pid, Some(signal).filter(|signal| *signal != Signal::SIGSTOP))?;
            }
            other => bail!("it did not start: {other:?}"),
        }
    }
    let base = loaded_at(pid, program)?;
    let mut seen = HashSet::new();
    let mut order = Vec::new();
    let mut deliver = None;
    for _ in 0..MOST_STEPS {
        let address = instruction(pid)?.wrapping_sub(base);
        if seen.insert(address) {
            order.push(address);
        }
        ptrace::step(pid, deliver.take())?;
        match waitpid(pid, None)? {
            WaitStatus::Stopped(_, Signal::SIGTRAP) => {}
            WaitStatus::Stopped(_, signal) => deliver = Some(signal),
            WaitStatus::Exited(_, 0) => return Ok(order),
            other => bail!("it ended with {other:?}"),
        }
    }
    bail!("it does not come to an end")
}

fn loaded_at(pid: Pid, program: &Path) -> Result<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let program = program.to_string_lossy();
    let line = maps.lines().find(|line| line.ends_with(&*program)).context("the program is not loaded")?;
    let (start, _) = line.split_once('-').context("an address")?;
    Ok(u64::from_str_radix(start, 16)?)
}

#[cfg(target_arch = "x86_64")]
fn instruction(pid: Pid) -> Result<u64> {
    Ok(ptrace::getregs(pid)?.rip)
}

#[cfg(not(target_arch = "x86_64"))]
fn instruction(_: Pid) -> Result<u64> {
    bail!("no order is made for this kind of machine")
}

/// The newest file of this name that a build script has left.
pub(crate) fn newest_output(release: &Path, name: &str) -> Option<PathBuf> {
    let builds = fs::read_dir(release.join("build")).ok()?.flatten();
    let files = builds.map(|build| build.path().join("out").join(name)).filter(|path| path.is_file());
    files.max_by_key(|path| {
        fs::metadata(path).and_then(|meta| meta.modified()).unwrap_or(std::time::SystemTime::UNIX_EPOCH)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_by_address() {
        let own = std::env::current_exe().unwrap();
        let symbols = Symbols::of(&own).unwrap();
        let (start, (end, name)) =
            symbols.functions.iter().find(|(start, (end, _))| end - **start > 8).unwrap();
        assert_eq!(symbols.name(*start), Some(name.as_str()));
        assert_eq!(symbols.name(end - 1), Some(name.as_str()));
        assert_eq!(symbols.name(0), None);
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn a_program_is_followed_to_its_end() {
        let program = fs::canonicalize("/bin/true").unwrap();
        let seen = match trace(&Command::new(&program), &program) {
            Err(error) if format!("{error:#}").contains("EPERM") => {
                println!("skipped: no ptrace: {error:#}");
                return;
            }
            other => other.unwrap(),
        };
        let size = fs::metadata(&program).unwrap().len();
        assert!(seen.iter().filter(|address| **address < 2 * size).count() > 10);
        let different: HashSet<_> = seen.iter().collect();
        assert_eq!(different.len(), seen.len());
        let error = trace(&Command::new("/bin/false"), &fs::canonicalize("/bin/false").unwrap()).unwrap_err();
        assert!(format!("{error:#}").contains("Exited"), "{error:#}");
    }
}
