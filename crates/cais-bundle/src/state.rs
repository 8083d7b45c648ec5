//! What lasts of a container between two commands: its directory below the root of all, and who may write there.
//!
//! `<root>/<id>/`, mode 0700, whose making is the arbiter between two containers of one name:
//! - `state.json`: the [`Record`]; written beside and renamed, by the holder of the lock.
//! - `config.json`: the configuration as it was given, never changed; also the lock, which `create` holds until the
//!   container is created, `update` and `delete` while they write.
//! - `start.sock`: where the first process waits for its start; gone once the command was executed.
//! - `notify/`: the socket for readiness, only where the caller has one.
//!
//! The status is derived and never stored, see [`Container::status`]. Readers take no lock. Nothing is synced to the
//! disk: the directory belongs on a tmpfs, like the processes that it is about it does not outlive the machine.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cais_oci::runtime::{Hooks, Resources, Spec, State, Status};
use cais_runtime::cgroup::oci::{Group, GroupState};
use cais_sys::lock::{OfdLock, is_held};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::process::Identity;
use crate::resctrl::Resctrl;

/// The facts of a container that its configuration does not have.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) oci_version: String,
    pub(crate) id: String,
    pub(crate) bundle: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    /// RFC 3339, UTC.
    pub(crate) created: String,
    /// Owner of the container.
    pub(crate) uid: u32,
    pub(crate) rootfs: String,
    /// `create` came to its end.
    pub(crate) complete: bool,
    /// The first process; `None` before it was started.
    pub(crate) init: Option<Identity>,
    /// Its end ends all processes of the container.
    pub(crate) own_pid_namespace: bool,
    /// `None` without one.
    pub(crate) cgroup: Option<GroupState>,
    /// The group may be missing or out of reach.
    pub(crate) rootless_cgroup: bool,
    /// As the last `update` left them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resources: Option<Resources>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hooks: Option<Hooks>,
    /// What of resctrl is ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) resctrl: Option<Resctrl>,
    /// What `start` needs to make a sentence of a failure.
    #[serde(default)]
    pub(crate) late: Late,
    /// Where the listener of the seccomp filter goes, and its words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) listener: Option<Listener>,
    /// Where readiness is told, see [`crate::readiness`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) notify_socket: Option<PathBuf>,
}

/// The steps after the start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Late {
    /// `process.args[0]`.
    pub(crate) command: String,
    /// Index of the first sentence.
    pub(crate) first: usize,
    pub(crate) sentences: Vec<String>,
}

/// Who watches over a seccomp filter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Listener {
    pub(crate) path: PathBuf,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) metadata: Option<String>,
}

impl Record {
    /// Reads what [`StateDir::write`] wrote.
    ///
    /// # Errors
    /// For what is no record, and for pids that stand for more than one process.
    pub(crate) fn parse(text: &[u8]) -> serde_json::Result<Record> {
        let record: Record = serde_json::from_slice(text)?;
        match record.init {
            Some(Identity { pid: ..=0, .. }) => {
                Err(serde::de::Error::custom("init.pid is the number of no process"))
            }
            _ => Ok(record),
        }
    }

    /// The state as the specification words it.
    pub(crate) fn state(&self, status: Status) -> State {
        State {
            oci_version: self.oci_version.clone(),
            id: self.id.clone(),
            status,
            pid: self.init.filter(|_| status != Status::Stopped).map(|init| init.pid),
            bundle: self.bundle.clone(),
            annotations: self.annotations.clone(),
        }
    }
}

/// The directory of one container.
#[derive(Clone, Debug)]
pub(crate) struct StateDir {
    path: PathBuf,
}

/// The right to change a container.
pub(crate) struct Lock {
    file: OfdLock,
}

const CONFIG: &str = "config.json";

impl Lock {
    /// Keeps the configuration of a new container as it was given.
    pub(crate) fn write_config(&self, json: &[u8]) -> Result<()> {
        let mut file = self.file.file();
        file.write_all(json).map_err(|e| Error::system(format!("write {CONFIG} of the container"), e))
    }
}

/// A record that nobody sees yet.
#[must_use]
pub(crate) struct Prepared {
    path: PathBuf,
    beside: PathBuf,
}

impl Prepared {
    /// From here on it is the container's.
    pub(crate) fn publish(self) -> Result<()> {
        fs::rename(&self.beside, &self.path).map_err(|e| self.failed(e))
    }

    fn failed(&self, source: io::Error) -> Error {
        Error::system(format!("write {}", self.path.display()), source)
    }
}

/// A container that is there.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    pub(crate) dir: StateDir,
    pub(crate) record: Record,
}

/// Letters, digits and `_+-.`, not only dots: what runc takes.
///
/// # Errors
/// [`Error::Id`].
pub(crate) fn check_id(id: &str) -> Result<()> {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '+' | '-' | '.');
    let valid = !id.is_empty() && id != "." && id != ".." && id.len() <= 255 && id.chars().all(known);
    if valid { Ok(()) } else { Err(Error::Id) }
}

impl StateDir {
    /// Of a container that may be there or not.
    pub(crate) fn new(root: &Path, id: &str) -> Result<StateDir> {
        check_id(id)?;
        Ok(StateDir { path: root.join(id) })
    }

    /// Makes the directory of a new container and locks it.
    pub(crate) fn make(root: &Path, id: &str) -> Result<(StateDir, Lock)> {
        let dir = StateDir::new(root, id)?;
        let make = || DirBuilder::new().mode(0o700).create(&dir.path);
        let made = make().or_else(|e| match e.kind() {
            io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(root).and_then(|()| make())
            }
            _ => Err(e),
        });
        made.map_err(|e| match e.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists,
            _ => Error::system(format!("create {}", dir.path.display()), e),
        })?;
        let lock = dir.open_lock(true).and_then(OfdLock::take);
        let lock = lock.map_err(|e| Error::system(format!("lock {}", dir.path.display()), e))?;
        Ok((dir, Lock { file: lock }))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Where the first process listens.
    pub(crate) fn start_socket(&self) -> PathBuf {
        self.path.join("start.sock")
    }

    fn open_lock(&self, create: bool) -> io::Result<File> {
        OpenOptions::new().write(true).create(create).truncate(false).mode(0o600).open(self.path.join(CONFIG))
    }

    /// Takes the lock; `None` when somebody else still has it after `patience`.
    pub(crate) fn lock(&self, patience: Duration) -> Result<Option<Lock>> {
        let failed = |e| Error::system(format!("lock {}", self.path.display()), e);
        let until = Instant::now() + patience;
        loop {
            let file = match self.open_lock(false) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(Error::NotFound),
                other => other.map_err(failed)?,
            };
            if let Some(lock) = OfdLock::try_take(file).map_err(failed)? {
                // It may have been removed while we waited for it.
                return if self.path.join(CONFIG).exists() {
                    Ok(Some(Lock { file: lock }))
                } else {
                    Err(Error::NotFound)
                };
            }
            if Instant::now() >= until {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Somebody is at work on it.
    fn is_locked(&self) -> bool {
        File::open(self.path.join(CONFIG)).and_then(is_held).unwrap_or(false)
    }

    /// Writes the record: readers see the old one or the new one.
    pub(crate) fn write(&self, record: &Record) -> Result<()> {
        self.prepare(record)?.publish()
    }

    /// Writes a record that nobody sees yet. It is lost when another one is written before it is published.
    pub(crate) fn prepare(&self, record: &Record) -> Result<Prepared> {
        let path = self.path.join("state.json");
        let text =
            serde_json::to_vec(record).map_err(|source| Error::State { path: path.clone(), source })?;
        let prepared = Prepared { beside: self.path.join("state.json.new"), path };
        fs::write(&prepared.beside, &text).map_err(|e| prepared.failed(e))?;
        Ok(prepared)
    }

    fn read(&self) -> Result<Record> {
        let path = self.path.join("state.json");
        let text = fs::read(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Error::NotFound,
            _ => Error::system(format!("read {}", path.display()), e),
        })?;
        Record::parse(&text).map_err(|source| Error::State { path, source })
    }

    /// The configuration as it was given.
    pub(crate) fn read_config(&self) -> Result<Spec> {
        let path = self.path.join(CONFIG);
        let text = fs::read(&path).map_err(|e| Error::system(format!("read {}", path.display()), e))?;
        Ok(Spec::parse(&text)?)
    }

    /// Removes the directory; that it is gone is fine.
    pub(crate) fn remove(&self) -> Result<()> {
        // What is in there is known, as a rule: a directory that is not empty after that is looked into.
        for name in ["start.sock", "state.json", CONFIG] {
            let _ = fs::remove_file(self.path.join(name));
        }
        let removed = fs::remove_dir(&self.path).or_else(|e| match e.kind() {
            io::ErrorKind::DirectoryNotEmpty => fs::remove_dir_all(&self.path),
            _ => Err(e),
        });
        match removed {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(Error::system(format!("remove {}", self.path.display()), e))
            }
            _ => Ok(()),
        }
    }
}

impl Container {
    /// Reads a container.
    ///
    /// # Errors
    /// [`Error::NotFound`], also for what a killed `create` left before it could write anything.
    pub(crate) fn load(root: &Path, id: &str) -> Result<Container> {
        let dir = StateDir::new(root, id)?;
        let record = dir.read()?;
        Ok(Container { dir, record })
    }

    /// Reads it again: it may have changed until the lock was ours.
    pub(crate) fn reload(&mut self) -> Result<()> {
        self.record = self.dir.read()?;
        Ok(())
    }

    /// Its control group, as far as it is there.
    pub(crate) fn group(&self) -> Option<Group> {
        self.record.cgroup.clone().map(Group::from_state)
    }

    /// Its first process is there.
    pub(crate) fn is_alive(&self) -> bool {
        self.record.init.is_some_and(|init| init.is_alive())
    }

    /// `creating` while `create` is at work; `stopped` without a first process; `paused` when its group is frozen;
    /// `created` as long as the first process is still our own program; else `running`.
    pub(crate) fn status(&self) -> Status {
        if !self.record.complete {
            return if self.dir.is_locked() { Status::Creating } else { Status::Stopped };
        }
        let Some(init) = self.record.init.filter(Identity::is_alive) else { return Status::Stopped };
        if self.group().is_some_and(|group| group.is_frozen()) {
            return Status::Paused;
        }
        if self.dir.start_socket().exists() && !has_executed(init.pid) {
            return Status::Created;
        }
        Status::Running
    }
}

/// Name of our program's memory, which `/proc/PID/exe` shows.
pub(crate) const SHIM_NAME: &std::ffi::CStr = c"cais-init";

/// `start` was killed after it gave the word and before it could remove the socket. A process that may not be looked
/// into counts as not yet executed.
fn has_executed(pid: i32) -> bool {
    let Ok(program) = fs::read_link(format!("/proc/{pid}/exe")) else { return false };
    !program.to_string_lossy().starts_with("/memfd:cais-init")
}

/// Writes a file beside and renames it.
pub(crate) fn replace(path: &Path, beside: &Path, text: &[u8]) -> io::Result<()> {
    fs::write(beside, text)?;
    fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_those_of_runc() {
        for good in ["a", "A-b_c.d+e", "0", "..a", "..."] {
            assert!(check_id(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "../x", "a b", "é", "a\0", "a:b", "@"] {
            assert!(matches!(check_id(bad), Err(Error::Id)), "{bad:?}");
        }
    }

    #[test]
    fn one_of_a_name() {
        let root = tempfile::tempdir().unwrap();
        let (dir, lock) = StateDir::make(root.path(), "c1").unwrap();
        assert!(matches!(StateDir::make(root.path(), "c1"), Err(Error::Exists)));
        assert!(matches!(Container::load(root.path(), "c1"), Err(Error::NotFound)));
        assert!(dir.is_locked());
        assert!(dir.lock(Duration::ZERO).unwrap().is_none());
        drop(lock);
        assert!(!dir.is_locked());
        assert!(dir.lock(Duration::ZERO).unwrap().is_some());
        dir.remove().unwrap();
        dir.remove().unwrap();
        assert!(matches!(dir.lock(Duration::ZERO), Err(Error::NotFound)));
    }
}
