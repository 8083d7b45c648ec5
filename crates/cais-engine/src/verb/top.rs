//! `top`: the processes of a container, as /proc shows them to the host. No `ps` is executed.
//!
//! Names of users are the caller's affair, but for those of the container's own /etc/passwd, which is opened without
//! leaving its root.

use std::fs::File;
use std::io::Read;

use cais_runtime::capability::{CapSet, Capability};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::attach::short;
use crate::limits::Group;
use crate::{Engine, Error, ErrorKind, Result};

/// One process, as proc_pid_stat(5) and proc_pid_status(5) tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessView {
    /// As the host sees it.
    pub pid: i32,
    /// As the container sees it.
    pub inner_pid: i32,
    /// Parent, as the host sees it.
    pub ppid: i32,
    /// Process group.
    pub pgid: i32,
    /// Session.
    pub sid: i32,
    /// Foreground group of its terminal, -1 without.
    pub foreground: i32,
    /// Device number of its terminal, 0 without.
    pub tty: u32,
    /// `R`, `S`, `D`, …
    pub state: char,
    /// Effective, as the host sees it.
    pub uid: u32,
    /// Effective, as the container sees it.
    pub inner_uid: u32,
    /// Effective, as the host sees it.
    pub gid: u32,
    /// Effective, as the container sees it.
    pub inner_gid: u32,
    /// Clock ticks of CPU time.
    pub ticks: u64,
    /// Clock ticks between the machine's start and its own.
    pub started_ticks: u64,
    /// Niceness.
    pub nice: i64,
    /// Threads.
    pub threads: u64,
    /// Size of its address space.
    pub virtual_bytes: u64,
    /// What of it is in memory.
    pub resident_bytes: u64,
    /// Locked memory.
    pub locked_bytes: u64,
    /// Name of the program.
    pub comm: String,
    /// Arguments; empty for a zombie.
    pub args: Vec<String>,
    /// Effective, permitted, inheritable, bounding and ambient capabilities: `NAME,NAME`, `full` or `none`.
    pub capabilities: [String; 5],
    /// `Seccomp` mode: 0, 1 (strict), 2 (filter).
    pub seccomp: u32,
    /// Security label, empty without.
    pub label: String,
    /// Kernel function that it waits in; empty or `0` when unknown.
    pub waits_in: String,
}

impl Engine {
    /// The processes of a running container, ascending by pid; those that end meanwhile are left out.
    ///
    /// # Errors
    /// When it does not run.
    pub fn top(&self, name: &str) -> Result<Vec<ProcessView>> {
        let id = self.store.resolve_container(name)?;
        let init = self.running_pid(&id)?;
        let pids = match Group::find(self, &id)? {
            Some(cgroup) => cgroup.pids().map_err(crate::limits::failed("list", &id))?,
            None => in_namespace_of(init).map_err(|error| {
                Error::caused(
                    ErrorKind::System,
                    format!("list the processes of container {}", short(&id)),
                    error,
                )
            })?,
        };
        Ok(pids.into_iter().filter_map(process).collect())
    }

    /// The text of /etc/passwd or /etc/group in a running container; empty when there is none.
    ///
    /// # Errors
    /// When it does not run.
    pub fn accounts_file(&self, name: &str, file: &str) -> Result<String> {
        const MOST_BYTES: u64 = 4 << 20;
        let id = self.store.resolve_container(name)?;
        let pid = self.running_pid(&id)?;
        let open = || -> std::io::Result<String> {
            let root = File::open(format!("/proc/{pid}/root"))?;
            let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
            let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
            let file = File::from(openat2(&root, file, flags, Mode::empty(), resolve)?);
            if !file.metadata()?.is_file() {
                return Ok(String::new());
            }
            let mut bytes = Vec::new();
            file.take(MOST_BYTES).read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(open().unwrap_or_default())
    }
}

/// Without a cgroup: who is in the PID namespace of the container's first process.
fn in_namespace_of(init: i32) -> std::io::Result<Vec<i32>> {
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid"));
    let wanted = namespace(init)?;
    let entries = std::fs::read_dir("/proc")?;
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let mut pids: Vec<i32> = pids.filter(|pid| namespace(*pid).is_ok_and(|found| found == wanted)).collect();
    pids.sort_unstable();
    Ok(pids)
}

/// `None` when it has ended.
fn process(pid: i32) -> Option<ProcessView> {
    let read = |file: &str| {
        std::fs::read(format!("/proc/{pid}/{file}"))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .ok()
    };
    let mut view = ProcessView { pid, ..ProcessView::default() };
    parse_stat(&read("stat")?, &mut view)?;
    parse_status(&read("status")?, &mut view);
    let map = |file: &str, id| inner_id(&read(file).unwrap_or_default(), id);
    view.inner_uid = map("uid_map", view.uid);
    view.inner_gid = map("gid_map", view.gid);
    let line = read("cmdline").unwrap_or_default();
    view.args = line.trim_end_matches('\0').split('\0').map(str::to_owned).collect();
    view.args.retain(|_| !line.is_empty());
    view.label = read("attr/current").unwrap_or_default().trim_end_matches(['\0', '\n']).to_owned();
    view.waits_in = read("wchan").unwrap_or_default();
    Some(view)
}

fn parse_stat(text: &str, view: &mut ProcessView) -> Option<()> {
    // The name may hold blanks and parentheses.
    let (front, back) = text.rsplit_once(')')?;
    view.comm = front.split_once('(')?.1.to_owned();
    let words: Vec<&str> = back.split_ascii_whitespace().collect();
    // The third field of proc_pid_stat(5) is the first here.
    let word = |field: usize| words.get(field - 3).copied().unwrap_or("0");
    let number = |field: usize| word(field).parse::<i64>().unwrap_or(0);
    let unsigned = |field: usize| word(field).parse::<u64>().unwrap_or(0);
    view.state = word(3).chars().next()?;
    view.ppid = i32::try_from(number(4)).ok()?;
    view.pgid = i32::try_from(number(5)).ok()?;
    view.sid = i32::try_from(number(6)).ok()?;
    view.tty = u32::try_from(number(7)).unwrap_or(0);
    view.foreground = i32::try_from(number(8)).ok()?;
    view.ticks = unsigned(14) + unsigned(15);
    view.nice = number(19);
    view.threads = unsigned(20);
    view.started_ticks = unsigned(22);
    view.virtual_bytes = unsigned(23);
    view.resident_bytes = unsigned(24) * rustix::param::page_size() as u64;
    Some(())
}

fn parse_status(text: &str, view: &mut ProcessView) {
    const MASKS: [&str; 5] = ["CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb"];
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let words: Vec<&str> = value.split_ascii_whitespace().collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        let id = |at| u32::try_from(number(at)).unwrap_or(0);
        match key {
            // Real, effective, saved, of the file system.
            "Uid" => view.uid = id(1),
            "Gid" => view.gid = id(1),
            "NSpid" => view.inner_pid = words.last().and_then(|word| word.parse().ok()).unwrap_or(0),
            "VmLck" => view.locked_bytes = number(0) * 1024,
            "Seccomp" => view.seccomp = id(0),
            _ => {
                if let Some(at) = MASKS.iter().position(|name| *name == key) {
                    view.capabilities[at] = capabilities(value.trim());
                }
            }
        }
    }
}

/// A mask in hexadecimal digits as names without their prefixes.
fn capabilities(mask: &str) -> String {
    let set = CapSet::from_bits(u64::from_str_radix(mask, 16).unwrap_or(0));
    if set.is_empty() {
        return "none".to_owned();
    }
    if set == CapSet::ALL {
        return "full".to_owned();
    }
    let mut names: Vec<&str> = set.iter().map(Capability::short_name).collect();
    names.sort_unstable();
    names.join(",")
}

/// The id within a user namespace by its map (lines `inside outside count`); the same id when it is not mapped.
fn inner_id(map: &str, outer: u32) -> u32 {
    let within = |line: &str| {
        let mut words = line.split_ascii_whitespace().map(|word| word.parse::<u32>().ok());
        let (inside, outside, count) = (words.next()??, words.next()??, words.next()??);
        let offset = outer.checked_sub(outside)?;
        (offset < count).then(|| inside.saturating_add(offset))
    };
    map.lines().find_map(within).unwrap_or(outer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_stat() {
        let text = "42 (a) (b) S 7 42 41 34817 42 4194560 100 0 0 0 12 3 0 0 20 -5 2 0 9999 1048576 10 0 0\n";
        let mut view = ProcessView::default();
        parse_stat(text, &mut view).unwrap();
        assert_eq!(view.comm, "a) (b");
        assert_eq!((view.state, view.ppid, view.pgid, view.sid), ('S', 7, 42, 41));
        assert_eq!((view.tty, view.foreground, view.ticks), (34817, 42, 15));
        assert_eq!((view.nice, view.threads, view.started_ticks), (-5, 2, 9999));
        assert_eq!(view.virtual_bytes, 1 << 20);
        assert_eq!(view.resident_bytes, 10 * rustix::param::page_size() as u64);
        assert_eq!(parse_stat("42 no name", &mut view), None);
    }

    #[test]
    fn lines_of_status() {
        let mut view = ProcessView::default();
        let text = "Name:\tx\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nNSpid:\t42\t3\nVmLck:\t  4 kB\nSeccomp:\t2\nCapBnd:\t0021\nCapEff:\t0\n";
        parse_status(text, &mut view);
        assert_eq!((view.uid, view.gid, view.inner_pid), (2, 6, 3));
        assert_eq!((view.locked_bytes, view.seccomp), (4096, 2));
        assert_eq!((view.capabilities[0].as_str(), view.capabilities[3].as_str()), ("none", "CHOWN,KILL"));
    }

    #[test]
    fn ids_within_a_namespace() {
        let map = "0 1000 1\n1 100000 65536\n";
        assert_eq!([1000, 100_000, 100_041, 7].map(|id| inner_id(map, id)), [0, 1, 42, 7]);
    }

    #[test]
    fn we_are_a_process() {
        let pid = std::process::id() as i32;
        let view = process(pid).unwrap();
        assert_eq!(view.pid, pid);
        assert!(!view.args.is_empty() && view.started_ticks > 0);
        assert!(in_namespace_of(pid).unwrap().contains(&pid));
    }
}
