//! CRIU as the engine uses it: where it is, what of a container it has to be told about, and its failures in our words.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use cais_runtime::launch::MountPlan;
use cais_store::ExternalMount;
use rustix::fs::OFlags;

use crate::assemble::mounts;
use crate::attach::short;
use crate::limits::Group;
use crate::overlay::open_path;
use crate::root_view::open_in_root;
use crate::{ContainerRecord, Engine, Error, ErrorKind, Result};

impl Engine {
    /// The program, for a caller who may use it.
    ///
    /// # Errors
    /// Without it, and to whom it is of no use.
    pub(crate) fn criu_program(&self, what: &str) -> Result<PathBuf> {
        if self.config.rootless {
            let message =
                format!("{what}: CRIU needs root (CAP_SYS_ADMIN on the host): not possible rootless");
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        self.find_program("criu").ok_or_else(|| {
            Error::new(ErrorKind::Unsupported, format!("{what}: the program criu is not installed"))
                .hint("install the package criu; `criu check` tells whether it works on this machine")
        })
    }

    /// The mounts of a running container whose sources are outside of it.
    pub(crate) fn external_mounts(&self, record: &ContainerRecord, pid: i32) -> Result<Vec<ExternalMount>> {
        let failed = |error: std::io::Error| {
            let message = format!("look at the mounts of container {}", short(&record.id));
            Error::caused(ErrorKind::System, message, error)
        };
        let table = fs::read_to_string(format!("/proc/{pid}/mountinfo")).map_err(failed)?;
        let root =
            open_path(Path::new(&format!("/proc/{pid}/root"))).map_err(|error| failed(error.into()))?;
        let mut sources: Vec<Source> = Vec::new();
        for mount in mounts(self, record)? {
            let (target, outside) = match mount {
                // The others are refused before.
                MountPlan::Bind { target, .. }
                | MountPlan::Tree { target, .. }
                | MountPlan::Overlay { target, .. } => (target, true),
                MountPlan::Tmpfs { target, .. } | MountPlan::Filesystem { target, .. } => (target, false),
            };
            // Links of the image lead elsewhere than they say.
            let place = open_in_root(root.as_fd(), target.as_bytes(), OFlags::PATH)
                .map_err(std::io::Error::from)
                .and_then(|fd| fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd())))
                .map_err(failed)?;
            sources.push(Source { place: place.to_string_lossy().into_owned(), target, outside });
        }
        for (name, _) in self.group_views(&record.id)? {
            let target = format!("/sys/fs/cgroup/{name}");
            sources.push(Source { place: target.clone(), target, outside: true });
        }
        Ok(external(&table, &sources))
    }

    /// Directories of the host's hierarchies that a container sees (cgroup v1): name and host path.
    pub(crate) fn group_views(&self, id: &str) -> Result<Vec<(String, PathBuf)>> {
        let group = Group::find(self, id)?.filter(|group| !group.is_unified());
        Ok(group.map(|group| group.views()).unwrap_or_default())
    }
}

/// CRIU's failure: what is missing is named, everything else is in its log.
pub(crate) fn criu_failed(id: &str, action: &str, error: cais_bundle::Error) -> Error {
    let kind = match error {
        cais_bundle::Error::CriuLacks { .. } => ErrorKind::Unsupported,
        _ => ErrorKind::System,
    };
    Error::caused(kind, format!("{action} container {}", short(id)), error)
}

/// A mount that the container's definition asks for.
struct Source {
    /// Where it is.
    place: String,
    /// As the definition spells it.
    target: String,
    /// Its content comes from outside.
    outside: bool,
}

/// Of the mounts in `table` (proc_pid_mountinfo(5)) those that are one of `sources` from outside, or lie below it and below
/// no other.
fn external(table: &str, sources: &[Source]) -> Vec<ExternalMount> {
    let mut found: Vec<ExternalMount> = Vec::new();
    for place in table.lines().filter_map(|line| line.split(' ').nth(4)).map(unescaped) {
        let below = |source: &&Source| beneath(&place, &source.place).is_some();
        let Some(source) = sources.iter().filter(below).max_by_key(|source| source.place.len()) else {
            continue;
        };
        let Some(rest) = beneath(&place, &source.place).filter(|_| source.outside) else { continue };
        if found.iter().all(|other| other.place != place) {
            let (target, below) = (source.target.clone(), rest.to_owned());
            found.push(ExternalMount { place, target, below });
        }
    }
    found
}

/// `path` as seen from `directory`; empty for the directory itself, `None` when it is not in it.
fn beneath<'a>(path: &'a str, directory: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(directory.trim_end_matches('/'))?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// Blanks are octal numbers there.
fn unescaped(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (code, character)| text.replace(code, character))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_outside() {
        let line = |place: &str| format!("1 1 0:1 / {place} rw - x y z\n");
        let places = ["/", "/proc", "/data", "/data/sub\\040dir", "/data/tmp", "/database", "/run/x", "/dev"];
        let table: String = places.iter().map(|place| line(place)).collect();
        let source = |place: &str, target: &str, outside| Source {
            place: place.to_owned(),
            target: target.to_owned(),
            outside,
        };
        let sources = [
            source("/data", "/data", true),
            source("/data/tmp", "/data/tmp", false),
            source("/run/x", "/var/run/x", true),
        ];
        let mount = |place: &str, target: &str, below: &str| ExternalMount {
            place: place.to_owned(),
            target: target.to_owned(),
            below: below.to_owned(),
        };
        let expected = [
            mount("/data", "/data", ""),
            mount("/data/sub dir", "/data", "sub dir"),
            mount("/run/x", "/var/run/x", ""),
        ];
        assert_eq!(external(&table, &sources), expected);
    }
}
