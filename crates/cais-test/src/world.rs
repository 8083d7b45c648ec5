//! What the kernel and the disk hold, as lines of text: taken before and after, the difference is what was left.
//!
//! Counted: mounts, network links, network namespaces, cgroups of the engine, nftables elements and rules,
//! processes, files below given folders. Looks with the eyes of the caller's namespaces. Cgroups are shared with
//! tests that run at the same time, so of those only the ones without processes count.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One look at the world.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct World {
    /// `kind object`, one for each thing found.
    pub things: BTreeSet<String>,
}

impl World {
    /// Looks around; files are listed below `folders`.
    pub fn look(folders: &[&Path]) -> World {
        let mut things = BTreeSet::new();
        mounts(&mut things);
        links(&mut things);
        processes_and_netns(&mut things);
        cgroups(&mut things);
        nft(&mut things);
        for folder in folders {
            files(folder, &mut things);
        }
        World { things }
    }

    /// What is here and was not in `before`.
    pub fn since(&self, before: &World) -> Vec<String> {
        self.things.difference(&before.things).cloned().collect()
    }

    /// How many things of a kind there are.
    pub fn count(&self, kind: &str) -> usize {
        self.things.iter().filter(|thing| thing.split(' ').next() == Some(kind)).count()
    }
}

fn mounts(things: &mut BTreeSet<String>) {
    let Ok(text) = fs::read_to_string("/proc/self/mountinfo") else { return };
    for line in text.lines() {
        let mut fields = line.split(' ');
        let id = fields.next().unwrap_or_default();
        let point = fields.nth(3).unwrap_or_default();
        things.insert(format!("mount {id} {point}"));
    }
}

fn output(program: &str, args: &[&str]) -> String {
    match Command::new(program).args(args).output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
        Err(_) => String::new(),
    }
}

fn links(things: &mut BTreeSet<String>) {
    for line in output("ip", &["-o", "link"]).lines() {
        if let Some(name) = line.split(": ").nth(1) {
            things.insert(format!("link {}", name.split('@').next().unwrap_or(name)));
        }
    }
}

fn processes_and_netns(things: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir("/proc") else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let command = stat.split_once('(').and_then(|(_, rest)| rest.rsplit_once(')'));
        let Some((command, rest)) = command else { continue };
        // A zombie is its parent's matter, and `ip` or `nft` of this very look are gone already.
        if rest.trim_start().starts_with('Z') {
            continue;
        }
        things.insert(format!("process {name} {command}"));
        if let Ok(namespace) = fs::read_link(entry.path().join("ns/net")) {
            things.insert(format!("netns {}", namespace.display()));
        }
    }
}

/// Cgroups below a folder that begins with `cais`, in any hierarchy, when nothing runs in them.
fn cgroups(things: &mut BTreeSet<String>) {
    let mut roots = vec![PathBuf::from("/sys/fs/cgroup")];
    roots.extend(children(Path::new("/sys/fs/cgroup")));
    let mut empty = Vec::new();
    let mut busy = BTreeSet::new();
    for root in &roots {
        for top in children(root).filter(|path| file_name(path).starts_with("cais")) {
            for cgroup in children(&top) {
                if is_populated(&cgroup) {
                    busy.insert(file_name(&cgroup));
                } else {
                    empty.push(cgroup);
                }
            }
        }
    }
    empty.retain(|cgroup| !busy.contains(&file_name(cgroup)));
    things.extend(empty.iter().map(|cgroup| format!("cgroup {}", cgroup.display())));
}

fn children(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Version 2 says so itself; on version 1 the pids controller counts, whatever the PID namespace.
fn is_populated(cgroup: &Path) -> bool {
    let read = |file: &str| fs::read_to_string(cgroup.join(file)).unwrap_or_default();
    read("cgroup.events").contains("populated 1")
        || read("pids.current").trim().parse::<u64>().unwrap_or(0) > 0
}

/// Elements of maps and sets, and rules, of tables whose name begins with `cais`.
fn nft(things: &mut BTreeSet<String>) {
    let text = output("nft", &["-j", "list", "ruleset"]);
    let Ok(ruleset) = serde_json::from_str::<serde_json::Value>(&text) else { return };
    let is_ours =
        |object: &serde_json::Value| object["table"].as_str().is_some_and(|name| name.starts_with("cais"));
    for object in ruleset["nftables"].as_array().into_iter().flatten() {
        for kind in ["map", "set"] {
            let object = &object[kind];
            for element in object["elem"].as_array().into_iter().flatten().filter(|_| is_ours(object)) {
                things.insert(format!("nft {kind} {} {element}", object["name"]));
            }
        }
        let rule = &object["rule"];
        if is_ours(rule) {
            things.insert(format!("nft rule {} {} {}", rule["table"], rule["chain"], rule["handle"]));
        }
    }
}

fn files(folder: &Path, things: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        things.insert(format!("file {}", entry.path().display()));
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            files(&entry.path(), things);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isolation::isolated;
    use crate::process::Invocation;

    #[test]
    fn each_kind_of_thing_is_seen() {
        isolated(|| {
            let folder = tempfile::tempdir().unwrap();
            let before = World::look(&[folder.path()]);
            assert!(before.since(&before).is_empty());
            fs::create_dir_all(folder.path().join("a/b")).unwrap();
            Invocation::new("mount", "-t tmpfs tmpfs /run/lock").ok();
            Invocation::new("ip", "link add left0 type veth peer name left1").ok();
            let held = Invocation::new("unshare", "--net sleep 1000").spawn();
            let namespace = || fs::read_link(format!("/proc/{}/ns/net", held.pid())).unwrap();
            crate::wait_until("another network namespace", || {
                namespace() != fs::read_link("/proc/self/ns/net").unwrap()
            });
            let left = World::look(&[folder.path()]).since(&before);
            let has = |start: &str| left.iter().any(|thing| thing.starts_with(start));
            let file = format!("file {}/a/b", folder.path().display());
            for start in ["mount ", "link left0", "link left1", "process ", "netns net:", &file] {
                assert!(has(start), "{start} in {left:?}");
            }
            if Command::new("nft").arg("--version").output().is_err() {
                crate::skip("nft is not installed");
                return;
            }
            let table = "{ map m { type inet_service : ipv4_addr; elements = { 80 : 10.0.0.1 } }
                chain c { tcp dport 1 drop
                }
                }";
            Invocation::new("nft", "-f -").stdin(format!("table ip other {table}\n")).ok();
            let left = World::look(&[]).since(&before);
            assert!(!left.iter().any(|thing| thing.starts_with("nft")), "a foreign table: {left:?}");
            Invocation::new("nft", "-f -").stdin(format!("table ip cais {table}\n")).ok();
            let left = World::look(&[]).since(&before);
            assert!(left.iter().any(|thing| thing.starts_with("nft map")), "{left:?}");
            assert!(left.iter().any(|thing| thing.starts_with("nft rule")), "{left:?}");
        });
    }
}
