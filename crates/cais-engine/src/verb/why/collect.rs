//! Collects the [`Evidence`]: reads, and changes nothing. What cannot be read is left out.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use super::evidence::{Evidence, HostPath, InitSignals, Look, PortHolder, paths_in};
use super::tree::Tree;
use super::{denied, end};
use crate::attach::short;
use crate::verb::LogOptions;
use crate::view::ContainerView;
use crate::{ContainerRecord, Engine, Protocol, Result};

const LOG_LINES: u64 = 40;
const LINE_BYTES: usize = 1000;
/// Paths of the log that are looked up.
const NAMED_MAX: usize = 32;

impl Engine {
    pub(super) fn evidence(&self, name: &str) -> Result<Evidence> {
        let ContainerView { record, state, run, exit, .. } = self.container(name)?;
        let tree = self.tree(&record);
        let log = self.last_lines(&record.id);
        let named: BTreeMap<String, Look> = log
            .iter()
            .rev()
            .flat_map(|line| paths_in(line))
            .take(NAMED_MAX)
            .map(|path| {
                let look = tree.look(&path);
                (path, look)
            })
            .collect();
        let pid = run.as_ref().map(|run| run.pid).filter(|pid| *pid > 0 && exit.is_none());
        let image = record.image_id.as_ref().and_then(|id| self.image_record(&id.to_string()).ok());
        Ok(Evidence {
            health: self.store.read_health(&record.id).ok().flatten().filter(|_| record.health.is_some()),
            oom: self.store.read_oom(&record.id).ok().flatten().filter(|oom| {
                let began = exit.as_ref().map(|exit| &exit.started).or(run.as_ref().map(|run| &run.started));
                began.is_some_and(|began| oom.at >= *began)
            }),
            denied: exit.as_ref().filter(|exit| end::is_sigsys(exit)).and_then(denied::find),
            ending: self.store.read_ending(&record.id).ok().flatten(),
            command: command(&record, &tree),
            workdir: tree.look(&record.workdir),
            sources: sources(&record),
            holders: self.holders(&record),
            init: pid.and_then(init_signals),
            machine: machine(),
            image_architecture: image.map(|image| image.platform.architecture.to_string()),
            rootless: self.config.rootless,
            log,
            named,
            state,
            exit,
            record,
        })
    }

    fn tree<'a>(&self, record: &'a ContainerRecord) -> Tree<'a> {
        let paths = self.store.paths();
        let roots = match &record.request.rootfs {
            Some(directory) => vec![directory.clone()],
            None => std::iter::once(paths.container_upper(&record.id))
                .chain(record.layers.iter().rev().map(|layer| paths.layer_fs(layer)))
                .collect(),
        };
        Tree { roots, mounts: &record.mounts }
    }

    /// The end of the log, without colours and overlong lines; empty when there is none.
    fn last_lines(&self, id: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let options = LogOptions { tail: Some(LOG_LINES), ..LogOptions::default() };
        let _ = self.logs(id, options, &mut |line| {
            let data = &line.data[..line.data.len().min(LINE_BYTES)];
            let text = plain(&String::from_utf8_lossy(data));
            if !text.trim().is_empty() {
                lines.push(text);
            }
            ControlFlow::Continue(())
        });
        lines
    }

    /// Who has the ports that the container asks for, when it does not run itself.
    fn holders(&self, record: &ContainerRecord) -> Vec<PortHolder> {
        let wanted = record.request.publish.iter().filter_map(|port| Some((port.host_port?, port.protocol)));
        let running = || self.containers(false).unwrap_or_default();
        let mut found = Vec::new();
        for (port, protocol) in wanted {
            let owner = running().into_iter().find(|view| {
                let ports = view.run.iter().flat_map(|run| &run.ports);
                view.record.id != record.id
                    && ports.into_iter().any(|p| p.host_port == port && p.protocol == protocol)
            });
            let who = match owner {
                Some(view) => Some(format!("container {} ({})", view.record.name, short(&view.record.id))),
                None => process_on(port, protocol),
            };
            found.extend(who.map(|who| PortHolder { port, who }));
        }
        found
    }
}

/// This machine as GOARCH names it.
fn machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "powerpc64" => "ppc64le",
        "x86" => "386",
        "loongarch64" => "loong64",
        other => other,
    }
}

/// Where the kernel would find the first word of the command; for one that is nowhere the word itself.
fn command(record: &ContainerRecord, tree: &Tree<'_>) -> (String, Look) {
    let Some(word) = record.args.first() else { return Default::default() };
    if word.contains('/') {
        let path = match word.starts_with('/') {
            true => word.clone(),
            false => format!("{}/{word}", record.workdir.trim_end_matches('/')),
        };
        let look = tree.look(&path);
        return (path, look);
    }
    let path = record.env.iter().rev().find_map(|v| v.strip_prefix("PATH="));
    let path = path.unwrap_or_default();
    let mut unsure = false;
    let mut unusable = None;
    for directory in path.split(':') {
        let candidate = format!("{}/{word}", directory.trim_end_matches('/'));
        match tree.look(&candidate) {
            Look::Missing => {}
            look @ Look::File { mode, .. } if mode & 0o111 != 0 => return (candidate, look),
            Look::Unknown => unsure = true,
            look => drop(unusable.get_or_insert((candidate, look))),
        }
    }
    let nothing = if unsure { Look::Unknown } else { Look::Missing };
    unusable.unwrap_or((word.clone(), nothing))
}

fn sources(record: &ContainerRecord) -> BTreeMap<String, HostPath> {
    let placed = record.mounts.iter().filter(|mount| mount.request.kind.is_of_host());
    placed
        .map(|mount| {
            let path: PathBuf = mount.host_path.clone();
            let source = match std::fs::metadata(&path) {
                Ok(meta) => HostPath {
                    exists: true,
                    mode: meta.permissions().mode() & 0o7777,
                    uid: meta.uid(),
                    gid: meta.gid(),
                    path,
                },
                Err(error) => {
                    // What may not be looked at is there.
                    let exists = error.kind() != std::io::ErrorKind::NotFound;
                    HostPath { path, exists, mode: 0o777, ..HostPath::default() }
                }
            };
            (mount.request.target.clone(), source)
        })
        .collect()
}

/// `SigCgt` and `SigIgn` of /proc/PID/status, proc_pid_status(5).
fn init_signals(pid: i32) -> Option<InitSignals> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let mask = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    Some(InitSignals { caught: mask("SigCgt:")?, ignored: mask("SigIgn:")? })
}

/// The process that has a socket bound to a port in this network namespace, as far as we may look.
fn process_on(port: u16, protocol: Protocol) -> Option<String> {
    let tables = match protocol {
        Protocol::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
        Protocol::Udp => ["/proc/net/udp", "/proc/net/udp6"],
    };
    let inode = tables.iter().find_map(|table| socket_inode(&std::fs::read_to_string(table).ok()?, port))?;
    let wanted = format!("socket:[{inode}]");
    for process in std::fs::read_dir("/proc").ok()?.flatten() {
        let Ok(fds) = std::fs::read_dir(process.path().join("fd")) else { continue };
        let holds = |fd: std::fs::DirEntry| {
            std::fs::read_link(fd.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str())
        };
        if fds.flatten().any(holds) {
            let name = std::fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("process {} (pid {})", name.trim(), process.file_name().to_string_lossy()));
        }
    }
    None
}

/// The inode of the first socket without a peer on a port, in a table of proc_pid_net(5).
fn socket_inode(table: &str, port: u16) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let local = fields.get(1)?.rsplit_once(':')?.1;
        let peer = fields.get(2)?.rsplit_once(':')?.1;
        let inode: u64 = fields.get(9)?.parse().ok()?;
        (u16::from_str_radix(local, 16) == Ok(port) && peer == "0000" && inode != 0).then_some(inode)
    })
}

/// A line without escape sequences and control characters.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            if chars.next_if_eq(&'[').is_some() {
                // A control sequence ends with a letter or one of @[\]^_`{|}~.
                while chars.next().is_some_and(|c| !('@'..='~').contains(&c)) {}
            }
        } else if c == '\t' {
            plain.push(' ');
        } else if !c.is_control() {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_control_characters_go() {
        assert_eq!(plain("\u{1b}[31;1mred\u{1b}[0m\tplain\r\u{7}"), "red plain");
        assert_eq!(plain("\u{1b}["), "");
    }

    #[test]
    fn sockets_are_found_by_their_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:1F90 0100007F:A000 01 00000000:00000000 00:00000000 00000000     0        0 11 1 0 20\n\
             1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12 1 0 20\n";
        assert_eq!(socket_inode(table, 8080), Some(12));
        assert_eq!(socket_inode(table, 81), None);
    }
}
