//! The second door: `cais runtime COMMAND`, or the program called as `cais-runtime`, with runc's command line.
//!
//! Words become a request to [`cais_bundle`], its answer becomes text, a log line and an exit status. Nothing of the
//! engine runs here: no store, no configuration file, no thread; of the environment only what [`caller`] reads.
//! Implements what callers of runc and crun rely on: runtime-command-line-interface.md of the runtime specification is
//! the base, `man 8 runc` and `man 1 crun` the rest.

mod command;
mod create;
mod criu;
mod events;
mod exec;
mod failure;
mod features;
mod flags;
mod freeze;
mod globals;
mod help;
mod kill;
mod list;
mod log;
mod ps;
mod run;
mod signal;
mod spec;
mod start;
mod update;

use std::cell::OnceCell;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cais_bundle::{Config, Runtime};
use rustix::fs::Access;
use rustix::process::geteuid;

use self::command::{COMMANDS, Command};
use self::failure::{Failure, Outcome};
use self::flags::Words;
use self::globals::{Caller, Cgroups, Globals};
use self::log::Log;
use crate::door::print_stdout;

/// The name that makes the program a runtime, and the word.
const NAME: &str = "cais-runtime";
const WORD: &str = "runtime";

/// The words of a runtime's command line and the name for its messages, when the program was called as one.
pub fn role(argv: &[OsString]) -> Option<(String, &[OsString])> {
    let (program, words) = argv.split_first()?;
    let name = Path::new(program).file_name().unwrap_or_default().to_string_lossy();
    if name.ends_with(NAME) {
        return Some((name.into_owned(), words));
    }
    match words.split_first() {
        Some((first, rest)) if first == WORD => Some((format!("{name} {WORD}"), rest)),
        _ => None,
    }
}

/// One invocation of the runtime.
#[derive(Debug)]
struct Door {
    /// How the program was called, for messages.
    program: String,
    globals: Globals,
    log: Log,
    runtime: OnceCell<Runtime>,
}

impl Door {
    /// The runtime, opened when it is first needed.
    ///
    /// # Errors
    /// When the machine cannot be looked at.
    fn runtime(&self) -> Result<&Runtime, Failure> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let globals = &self.globals;
        let runtime = Runtime::new(Config {
            root: globals.root.clone(),
            systemd_cgroup: globals.cgroups == Cgroups::Systemd,
            cgroup_disabled: globals.cgroups == Cgroups::Disabled,
            rootless: globals.rootless,
            user_bus: globals.user_bus.clone(),
            criu: globals.criu.clone(),
        })?;
        Ok(self.runtime.get_or_init(|| runtime))
    }
}

/// Carries out one command line.
pub fn main(program: String, words: &[OsString]) -> ExitCode {
    let (log, outcome) = match open(program, words) {
        Ok((mut door, words)) => {
            let outcome = carry_out(&mut door, words);
            for note in door.runtime.get().map(Runtime::take_notes).unwrap_or_default() {
                door.log.debug(|| note);
            }
            for warning in door.runtime.get().map(Runtime::take_warnings).unwrap_or_default() {
                door.log.warning(&warning);
            }
            (door.log, outcome)
        }
        Err(failure) => (Log::default(), Err(failure)),
    };
    let code = outcome.unwrap_or_else(|failure| {
        log.error(&failure.message);
        failure.code
    });
    ExitCode::from(code)
}

fn open(program: String, words: &[OsString]) -> Result<(Door, Words), Failure> {
    let words = globals::read(words.to_vec())?;
    let globals = globals::understand(&words, &caller())?;
    let log = Log::open(globals.log.as_deref(), globals.format, globals.level)?;
    Ok((Door { program, globals, log, runtime: OnceCell::new() }, words))
}

/// The environment of a runtime. Only what decides something is read, in the order of its price.
fn caller() -> Caller {
    let xdg_runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()).map(Into::into);
    let euid = geteuid().as_raw();
    let is_mapped = || {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        map.split_whitespace().ne(["0", "0", "4294967295"])
    };
    Caller {
        euid,
        in_user_namespace: euid == 0 && xdg_runtime_dir.is_some() && is_mapped(),
        xdg_runtime_dir,
        user: std::env::var_os("USER"),
        session_bus: std::env::var("DBUS_SESSION_BUS_ADDRESS").ok(),
    }
}

fn carry_out(door: &mut Door, mut globals: Words) -> Outcome {
    if globals.switch("version") {
        print_stdout(&features::version())?;
        return Ok(0);
    }
    let argv = std::mem::take(&mut globals.arguments);
    let Some((first, rest)) = argv.split_first().filter(|_| !globals.help) else {
        print_stdout(&help::overview(&door.program))?;
        return if globals.help { Ok(0) } else { Err(Failure::usage("a command is missing")) };
    };
    if first == "help" {
        let text = match rest.first() {
            Some(name) => help::of(&door.program, find(name, false)?),
            None => help::overview(&door.program),
        };
        print_stdout(&text)?;
        return Ok(0);
    }
    let asks_for_help = rest.iter().any(|word| word == "--help" || word == "-h");
    let command = find(first, asks_for_help)?;
    let words = flags::parse(rest.to_vec(), command.flags, command.first_ends)?;
    if words.help {
        print_stdout(&help::of(&door.program, command))?;
        return Ok(0);
    }
    command.check_arguments(&words)?;
    if command.needs_criu && door.globals.criu.is_none() {
        door.globals.criu = find_program("criu", std::env::var_os("PATH"));
    }
    let door = &*door;
    door.log.debug(|| {
        format!("{} {}: {:?} in {}", door.program, command.name, rest, door.globals.root.display())
    });
    let outcome = (command.main)(door, &words);
    door.log.debug(|| match &outcome {
        Ok(code) => format!("{} {}: status {code}", door.program, command.name),
        Err(_) => format!("{} {}: failed", door.program, command.name),
    });
    outcome
}

fn find(name: &OsStr, asks_for_help: bool) -> Result<&'static Command, Failure> {
    let found =
        COMMANDS.iter().find(|command| name == command.name || command.alias.is_some_and(|a| name == a));
    found.ok_or_else(|| {
        let name = name.to_string_lossy();
        // What callers of Go programs know.
        let text = if asks_for_help { "No help topic for " } else { "unknown command: " };
        Failure::usage(if asks_for_help { format!("{text}'{name}'") } else { format!("{text}{name}") })
    })
}

/// The first executable file of this name in `$PATH`.
fn find_program(name: &str, path: Option<OsString>) -> Option<PathBuf> {
    let is_program = |file: &PathBuf| rustix::fs::access(file, Access::EXEC_OK).is_ok() && file.is_file();
    std::env::split_paths(&path?).map(|folder| folder.join(name)).find(is_program)
}

/// A document on standard output, without the line feed that `serde_json` does not write either.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::edge("write JSON", error))?;
    print(&format!("{text}\n"))
}

fn print(text: &str) -> Result<(), Failure> {
    print_stdout(text).map_err(Failure::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(line: &str) -> Option<(String, Vec<String>)> {
        let argv: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        let (program, words) = role(&argv)?;
        Some((program, words.iter().map(|word| word.to_string_lossy().into_owned()).collect()))
    }

    #[test]
    fn when_the_program_is_a_runtime() {
        let yes = |program: &str, words: &[&str]| {
            Some((program.to_owned(), words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()))
        };
        assert_eq!(called("cais runtime list -q"), yes("cais runtime", &["list", "-q"]));
        assert_eq!(called("/usr/bin/cais-runtime list"), yes("cais-runtime", &["list"]));
        assert_eq!(called("my-cais-runtime"), yes("my-cais-runtime", &[]));
        assert_eq!(called("cais-runtime runtime"), yes("cais-runtime", &["runtime"]));
        for line in
            ["cais run x", "cais", "cais --debug runtime", "runc list", "crun list", "docker runtime-x", ""]
        {
            assert_eq!(called(line), None, "{line}");
        }
    }
}
