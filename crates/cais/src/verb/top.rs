//! `top`: the processes of a container, by options of ps(1) as in docker, or by podman's descriptors.

use std::collections::BTreeMap;
use std::ffi::OsString;

use cais_engine::Engine;
use cais_engine::verb::ProcessView;
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::chosen;
use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;
use crate::process_row::{Column, Machine, Names, descriptor, keyword, known, row};
use crate::table;

/// Docker's cells are as wide as this, at least.
const CELL_MIN: usize = 20;

#[derive(Debug, Args)]
struct TopArgs {
    /// The container that was created last.
    #[arg(short, long)]
    latest: bool,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: TopArgs = parse(door.spec, argv)?;
    let (typed, words) = match args.words.as_slice() {
        words if args.latest => (None, words),
        [container, words @ ..] => (Some(container.as_str()), words),
        [] => (None, &[][..]),
    };
    let columns = columns(words)?;
    let name = chosen::one(door, args.latest, None, typed)?;
    show(door.engine()?, &columns, &[name])
}

/// The same of all containers of a pod that run.
pub(super) fn pod(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: TopArgs = parse(door.spec, argv)?;
    let engine = door.engine()?;
    let (pod, words) = match args.words.as_slice() {
        words if args.latest => (engine.pods()?.into_iter().next(), words),
        [pod, words @ ..] => (Some(engine.pod(pod)?), words),
        [] => (None, &[][..]),
    };
    let pod = pod.ok_or_else(|| chosen::missing(door))?;
    let running = pod.containers.into_iter().filter(|view| view.is_alive());
    let ids: Vec<String> = running.map(|view| view.record.id).collect();
    if ids.is_empty() {
        return Err(Failure::usage(format!("pod {} has no container that runs", pod.record.name)));
    }
    show(engine, &columns(words)?, &ids)
}

fn show(engine: &Engine, columns: &[Column], names: &[String]) -> Outcome {
    let mut lines = vec![columns.iter().map(|column| column.title.as_str()).collect::<Vec<_>>().join("\t")];
    for name in names {
        let processes = engine.top(name)?;
        let machine = machine(engine, name, &processes)?;
        lines.extend(processes.iter().map(|process| row(columns, process, &machine)));
    }
    print_stdout(&table::layout_at_least(CELL_MIN, &lines))?;
    Ok(0)
}

fn machine(engine: &Engine, name: &str, processes: &[ProcessView]) -> Result<Machine, Failure> {
    let read = |path: &str| {
        std::fs::read_to_string(path).map_err(|error| Failure::edge(format_args!("read {path}"), error))
    };
    let uptime = read("/proc/uptime")?;
    let memory = read("/proc/meminfo")?;
    let kilobytes = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kilobytes = kilobytes.and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok());
    // Without these files numbers have to do.
    let host = |path: &str| Names::parse(&std::fs::read_to_string(path).unwrap_or_default());
    Ok(Machine {
        ticks_per_second: rustix::param::clock_ticks_per_second().max(1),
        uptime_seconds: uptime.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0),
        memory_bytes: kilobytes.unwrap_or(0) * 1024,
        users: host("/etc/passwd"),
        groups: host("/etc/group"),
        inner_users: Names::parse(&engine.accounts_file(name, "/etc/passwd")?),
        inner_groups: Names::parse(&engine.accounts_file(name, "/etc/group")?),
        inner_pids: processes
            .iter()
            .map(|process| (process.pid, process.inner_pid))
            .collect::<BTreeMap<_, _>>(),
        now: Timestamp::now(),
        zone: TimeZone::system(),
    })
}

/// `ps -ef`
const FULL: &str = "user=UID,pid,ppid,c,stime,tty,time,cmd";
/// `ps aux`
const USER: &str = "user,pid,pcpu,pmem,vsz,rss,tty,stat,bsdstart,bsdtime=TIME,args";
/// `ps -e`
const SHORT: &str = "pid,tty,time,comm=CMD";
/// `ps ax`
const BSD: &str = "pid,tty,stat,bsdtime=TIME,args";
/// `ps -j`
const JOBS: &str = "pid,pgid,sid,tty,time,comm=CMD";

/// The columns that the words behind the container's name ask for.
fn columns(words: &[String]) -> Result<Vec<Column>, Failure> {
    let Some(first) = words.first() else { return usual(FULL) };
    let is_bsd = first.chars().all(|c| "auxw".contains(c)) && descriptor(first).is_none();
    if first.starts_with('-') || is_bsd || first == "o" {
        return ps_options(words);
    }
    let wanted = words.iter().flat_map(|word| word.split([',', ' '])).filter(|word| !word.is_empty());
    wanted
        .map(|word| {
            descriptor(word).ok_or_else(|| {
                Failure::usage(format!("unknown descriptor {word:?}"))
                    .hint(format!("there are {}; options of ps begin with a dash", known(true)))
            })
        })
        .collect()
}

/// Options of ps(1) that say what to show; those that choose processes by state or terminal change nothing here.
fn ps_options(words: &[String]) -> Result<Vec<Column>, Failure> {
    let mut format: Option<&str> = None;
    let mut chosen = Vec::new();
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let letters = word.strip_prefix('-').unwrap_or(word);
        let is_bsd = letters.len() == word.len() || ["aux", "axu", "auxw", "auxww"].contains(&letters);
        if letters.starts_with('-') {
            return Err(refused(word));
        }
        for (at, letter) in letters.char_indices() {
            match letter {
                'o' => {
                    let attached = &letters[at + 1..];
                    let list = match attached.is_empty() {
                        true => {
                            words.next().ok_or_else(|| Failure::usage("-o: a list of columns is missing"))?
                        }
                        false => attached,
                    };
                    chosen.extend(list_of(list)?);
                    break;
                }
                'f' if !is_bsd => format = Some(FULL),
                'j' if !is_bsd => format = Some(JOBS),
                'u' if is_bsd => format = Some(USER),
                'e' | 'A' | 'd' if !is_bsd => format = format.or(Some(SHORT)),
                'a' | 'x' if is_bsd => format = format.or(Some(BSD)),
                'a' => format = format.or(Some(SHORT)),
                'w' => {}
                _ => return Err(refused(word)),
            }
        }
    }
    if chosen.is_empty() { usual(format.unwrap_or(FULL)) } else { Ok(chosen) }
}

fn refused(word: &str) -> Failure {
    Failure::usage(format!("option {word} of ps is not supported"))
        .hint("there are -e -f -j -o LIST, aux, and podman's descriptors")
}

/// `pid,user=WHO`; a title takes the rest of the text.
fn list_of(list: &str) -> Result<Vec<Column>, Failure> {
    let mut columns = Vec::new();
    let mut rest = list;
    while !rest.is_empty() {
        let end = rest.find([',', ' ', '=']).unwrap_or(rest.len());
        let (word, behind) = rest.split_at(end);
        let title = behind.strip_prefix('=');
        if !word.is_empty() {
            columns.push(keyword(word, title).ok_or_else(|| {
                Failure::usage(format!("-o: unknown column {word:?}"))
                    .hint(format!("there are {}", known(false)))
            })?);
        }
        rest = if title.is_some() { "" } else { behind.get(1..).unwrap_or_default() };
    }
    Ok(columns)
}

/// A list of our own, in which every column may have a title.
fn usual(list: &str) -> Result<Vec<Column>, Failure> {
    list.split(',').map(list_of).collect::<Result<Vec<_>, _>>().map(|columns| columns.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn titles(line: &str) -> Result<String, String> {
        let words: Vec<String> = line.split('|').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        let columns = columns(&words).map_err(|failure| failure.message)?;
        Ok(columns.iter().map(|column| column.title.as_str()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn options_of_ps() {
        let full = "UID PID PPID C STIME TTY TIME CMD";
        let user = "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND";
        let cases = [
            ("", full),
            ("-ef", full),
            ("-e|-f", full),
            ("-f", full),
            ("aux", user),
            ("-aux", user),
            ("auxww", user),
            ("ax", "PID TTY STAT TIME COMMAND"),
            ("-e", "PID TTY TIME CMD"),
            ("-j", "PID PGID SID TTY TIME CMD"),
            ("-o|pid,comm", "PID COMMAND"),
            ("-opid,user=WHO, HE", "PID WHO, HE"),
            ("-eo|pid,args", "PID COMMAND"),
            ("o|pid", "PID"),
        ];
        for (line, expected) in cases {
            assert_eq!(titles(line).as_deref(), Ok(expected), "{line}");
        }
        for line in ["-l", "--forest", "-o", "-o|pid,nothing", "-u|root", "auxf"] {
            assert!(titles(line).is_err(), "{line}");
        }
    }

    #[test]
    fn descriptors_of_podman() {
        assert_eq!(titles("pid|user,hpid").as_deref(), Ok("PID USER HPID"));
        assert_eq!(titles("%C args").as_deref(), Ok("%CPU COMMAND"));
        assert_eq!(titles("pid|nothing"), Err("unknown descriptor \"nothing\"".into()));
    }
}
