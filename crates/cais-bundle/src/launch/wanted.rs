//! The descriptors that a plan names, opened; a namespace must be of the type that the configuration says.

use std::fs::File;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::path::Path;

use cais_runtime::cgroup::Join;

use super::idmap::lines;
use crate::error::{Error, Result};
use crate::plan::Wanted;
use crate::process::Identity;

/// Kinds of namespaces by their `CLONE_NEW*` numbers.
const KINDS: [(u64, &str); 8] = [
    (0x0002_0000, "mount"),
    (0x0200_0000, "cgroup"),
    (0x0400_0000, "uts"),
    (0x0800_0000, "ipc"),
    (0x1000_0000, "user"),
    (0x2000_0000, "pid"),
    (0x4000_0000, "network"),
    (0x0000_0080, "time"),
];

/// What descriptors are taken from.
pub(crate) struct Sources<'a> {
    /// Of the control group.
    pub(crate) join: &'a Join,
    /// The container's first process, for one more.
    pub(crate) init: Option<Identity>,
}

/// Opens all; each with the number that it gets.
pub(crate) fn open_all(wanted: &[(RawFd, Wanted)], sources: &Sources<'_>) -> Result<Vec<(OwnedFd, RawFd)>> {
    wanted.iter().map(|(number, wanted)| Ok((open(wanted, sources)?, *number))).collect()
}

fn open(wanted: &Wanted, sources: &Sources<'_>) -> Result<OwnedFd> {
    match wanted {
        Wanted::Namespace { path, kind } => namespace(path, *kind),
        Wanted::Process(pid) => {
            let init = sources.init.filter(|init| init.pid == *pid);
            init.and_then(|init| init.open()).ok_or(Error::NotRunning)
        }
        Wanted::IdMap { uids, gids } => cais_sys::namespace::with_maps(&lines(uids), &lines(gids))
            .map_err(|e| Error::system("create the user namespace of an id-mapped mount", e)),
        Wanted::Tasks(index) => duplicate(sources.join.tasks.get(*index), "tasks file"),
        Wanted::CgroupDirectory => duplicate(sources.join.directory.as_ref(), "directory"),
    }
}

fn duplicate(fd: Option<&OwnedFd>, what: &str) -> Result<OwnedFd> {
    let failed = |e: io::Error| Error::system(format!("open a {what} of the cgroup"), e);
    fd.ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?.try_clone().map_err(failed)
}

fn namespace(path: &Path, kind: u64) -> Result<OwnedFd> {
    let name = KINDS.iter().find(|(known, _)| *known == kind).map_or("known", |(_, name)| *name);
    let file = File::open(path)
        .map_err(|e| Error::system(format!("open the {name} namespace {}", path.display()), e))?;
    match cais_sys::namespace::kind_of(&file) {
        Ok(found) if found == kind => Ok(file.into()),
        _ => Err(Error::WrongNamespace { path: path.to_owned(), wanted: name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_of_the_type_that_is_wanted() {
        let path = Path::new("/proc/self/ns/uts");
        assert!(namespace(path, 0x0400_0000).is_ok());
        let error = namespace(path, 0x0800_0000).unwrap_err().to_string();
        assert_eq!(error, "namespace path /proc/self/ns/uts is no ipc namespace");
        let error = namespace(Path::new("/proc/self/status"), 0x4000_0000).unwrap_err().to_string();
        assert_eq!(error, "namespace path /proc/self/status is no network namespace");
        let error = namespace(Path::new("/no/such"), 0x4000_0000).unwrap_err().to_string();
        assert_eq!(error, "open the network namespace /no/such: no such file or directory");
    }

    #[test]
    fn only_the_process_that_was_looked_at() {
        let join = Join::default();
        let me = Identity::of(std::process::id() as i32).unwrap();
        let sources = Sources { join: &join, init: Some(me) };
        assert!(open(&Wanted::Process(me.pid), &sources).is_ok());
        assert!(matches!(open(&Wanted::Process(1), &sources), Err(Error::NotRunning)));
        let other = Sources { join: &join, init: Some(Identity { start: 1, ..me }) };
        assert!(matches!(open(&Wanted::Process(me.pid), &other), Err(Error::NotRunning)));
        assert!(open(&Wanted::Tasks(0), &sources).is_err());
    }
}
