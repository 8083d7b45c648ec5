//! `checkpoint`: the processes of a container become files, by CRIU; the container ends, or goes on.
//!
//! What is made lies beside until it is whole. When CRIU fails the container goes on as if nothing had been asked.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cais_bundle::criu::{Criu, keep_descriptors};
use cais_layer::Compression;
use cais_plan::wire;
use cais_store::{CheckpointPlace, CheckpointRecord, list_checkpoints, run_state};

use crate::attach::{AttachStream, broken, short};
use crate::criu::criu_failed;
use crate::limits::Group;
use crate::verb::checkpoint_stats::CriuStats;
use crate::{
    ContainerRecord, Ending, Engine, Error, ErrorKind, MountKind, MountRecord, NetworkRequest, Result,
};

/// The checkpoint of who names none.
pub(super) const USUAL: &str = "checkpoint";
/// What CRIU writes that no restore needs.
const BY_THE_WAY: [&str; 2] = ["dump.log", "stats-dump"];
/// How long the end may take when all processes are gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is asked of `checkpoint`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckpointRequest {
    /// Its name; `None` is the one that `restore` takes, and replaces the one before.
    pub name: Option<String>,
    /// Where it lies; `None` is with the container.
    pub directory: Option<PathBuf>,
    /// The container goes on.
    pub leave_running: bool,
    /// CRIU's log and figures stay.
    pub keep: bool,
    /// Established connections are dumped, too.
    pub tcp_established: bool,
    /// Locks of files are dumped, too.
    pub file_locks: bool,
    /// Of an archive: how it is compressed.
    pub compression: Option<Compression>,
    /// Of an archive: without what the container has changed in its image's files.
    pub ignore_rootfs: bool,
    /// Of an archive: without what is in volumes.
    pub ignore_volumes: bool,
}

/// A checkpoint that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpointed {
    /// The container.
    pub id: String,
    /// For stderr.
    pub warnings: Vec<String>,
    /// What CRIU counted.
    pub stats: CriuStats,
}

impl Engine {
    /// Dumps a running container. With `out` everything that another store needs to restore it is written there as one
    /// archive, and nothing stays here; without, the checkpoint stays.
    ///
    /// # Errors
    /// When the container does not run or has a terminal, without CRIU, and when CRIU fails, after which the container goes on.
    pub fn checkpoint(
        &self,
        name: &str,
        request: &CheckpointRequest,
        out: Option<&mut (dyn Write + Send)>,
    ) -> Result<Checkpointed> {
        let id = self.store.resolve_container(name)?;
        let record = self.store.load_container(&id)?;
        let program = self.criu_program("checkpoint")?;
        check(&record, request, out.is_some())?;
        let pid = self.running_pid(&id)?;
        let place = self.checkpoint_place(&id, request.directory.as_deref(), request.name.as_deref())?;
        if request.name.is_some() && place.read()?.is_some() {
            let message = format!("container {name} has a checkpoint of this name already");
            return Err(Error::new(ErrorKind::Conflict, message).hint("remove it with `checkpoint rm`"));
        }
        let mut warnings = Vec::new();
        // A copy of files that goes with a copy of memory.
        let pause =
            if request.leave_running && out.is_some() { self.freeze(&record, &mut warnings)? } else { None };
        place.begin()?;
        let result = self.dump(&record, pid, program, &place, request, out);
        drop(pause);
        if result.is_err() {
            // The first error is the one to tell.
            let _ = place.give_up();
        }
        result.map(|stats| Checkpointed { id, warnings, stats })
    }

    /// Names of a container's checkpoints.
    ///
    /// # Errors
    /// When there is no such container, or the directory cannot be read.
    pub fn checkpoints(&self, name: &str, directory: Option<&Path>) -> Result<Vec<String>> {
        let id = self.store.resolve_container(name)?;
        let own = self.store.paths().container_checkpoints(&id);
        Ok(list_checkpoints(directory.unwrap_or(&own))?)
    }

    /// Removes a checkpoint of a container.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn remove_checkpoint(&self, name: &str, checkpoint: &str, directory: Option<&Path>) -> Result<()> {
        let id = self.store.resolve_container(name)?;
        let place = self.checkpoint_place(&id, directory, Some(checkpoint))?;
        if place.read()?.is_none() {
            return Err(missing(name, checkpoint));
        }
        Ok(place.remove()?)
    }

    /// Where a container's checkpoint is.
    pub(super) fn checkpoint_place(
        &self,
        id: &str,
        directory: Option<&Path>,
        name: Option<&str>,
    ) -> Result<CheckpointPlace> {
        let own = self.store.paths().container_checkpoints(id);
        Ok(CheckpointPlace::new(directory.unwrap_or(&own), name.unwrap_or(USUAL))?)
    }

    /// The checkpoint from which `restore` goes on when nothing is said, and where it is.
    pub(crate) fn usual_checkpoint(&self, id: &str) -> Result<Option<(PathBuf, CheckpointRecord)>> {
        let place = self.checkpoint_place(id, None, None)?;
        Ok(place.read()?.map(|checkpoint| (place.path(), checkpoint)))
    }

    fn dump(
        &self,
        record: &ContainerRecord,
        pid: i32,
        program: PathBuf,
        place: &CheckpointPlace,
        request: &CheckpointRequest,
        out: Option<&mut (dyn Write + Send)>,
    ) -> Result<CriuStats> {
        let id = record.id.as_str();
        let checkpoint = self.describe(record, pid, request)?;
        let criu = self.dump_line(record, pid, program, place, &checkpoint)?;
        keep_descriptors(&place.draft_images(), pid).map_err(|error| criu_failed(id, "checkpoint", error))?;
        let owned = if request.leave_running { None } else { Some(self.take_over(record)?) };
        if owned.is_some() {
            self.note_ending(id, &Ending { signal: SIGKILL, checkpoint: true, ..Ending::default() });
        }
        criu.run().map_err(|error| criu_failed(id, "checkpoint", error)).inspect_err(|_| {
            if owned.is_some() {
                // It goes on, and its policy with it.
                self.note_ending(id, &Ending::default());
                let _ = self.store.clear_marks(id);
            }
        })?;
        if let Some(stream) = &owned {
            // Of a paused one the dead stand still, too.
            let _ = self.thaw(id);
            if !self.await_exit(stream, id, Some(PATIENCE))? {
                let message = format!("container {} does not end although it was dumped", short(id));
                return Err(Error::new(ErrorKind::System, message));
            }
        }
        let stats = CriuStats::read(&place.draft_images().join("stats-dump")).unwrap_or_default();
        let kept = self.keep_checkpoint(record, place, &checkpoint, request, out);
        self.tell_container(record, "checkpoint", &[]);
        if let Some(stream) = &owned {
            kept.and(self.conclude(stream, id))?;
        } else {
            kept?;
        }
        Ok(stats)
    }

    /// What the images do not hold.
    fn describe(
        &self,
        record: &ContainerRecord,
        pid: i32,
        request: &CheckpointRequest,
    ) -> Result<CheckpointRecord> {
        let facts = self.store.read_facts(&record.id)?.unwrap_or_default();
        Ok(CheckpointRecord {
            created: run_state::now(),
            external: self.external_mounts(record, pid)?,
            network: record.network != NetworkRequest::Host,
            ip: facts.ip,
            mac: facts.mac,
            tcp_established: request.tcp_established,
            file_locks: request.file_locks,
            left_running: request.leave_running,
        })
    }

    fn dump_line(
        &self,
        record: &ContainerRecord,
        pid: i32,
        program: PathBuf,
        place: &CheckpointPlace,
        checkpoint: &CheckpointRecord,
    ) -> Result<Criu> {
        let images = place.draft_images();
        let mut criu = Criu::new(program, "dump", &images, &images);
        criu.option("--tree", pid.to_string()).manage_cgroups(Some("ignore"));
        criu.flag(checkpoint.left_running, "--leave-running");
        criu.flag(checkpoint.tcp_established, "--tcp-established")
            .flag(checkpoint.file_locks, "--file-locks");
        for mount in &checkpoint.external {
            criu.external_mount(&mount.place, None);
        }
        if checkpoint.network {
            let namespace = std::fs::metadata(format!("/proc/{pid}/ns/net")).map_err(|error| {
                let message = format!("look at the network namespace of container {}", short(&record.id));
                Error::caused(ErrorKind::System, message, error)
            })?;
            criu.external_network(namespace.ino());
        }
        if let Some(freezer) = Group::find(self, &record.id)?.as_ref().and_then(|group| group.freezer()) {
            criu.option("--freeze-cgroup", freezer);
        }
        Ok(criu)
    }

    /// The end of the run becomes ours: no policy begins another one.
    fn take_over(&self, record: &ContainerRecord) -> Result<AttachStream> {
        let stream = self.talk(&record.id)?;
        if record.may_run_again() {
            self.store.mark_stopped(&record.id)?;
        }
        stream
            .request(wire::OWN, &[])
            .and_then(|()| stream.request(wire::WAIT, &[]))
            .map_err(|error| broken(&record.id, error))?;
        Ok(stream)
    }

    /// The draft becomes an archive or a checkpoint of the container.
    fn keep_checkpoint(
        &self,
        record: &ContainerRecord,
        place: &CheckpointPlace,
        checkpoint: &CheckpointRecord,
        request: &CheckpointRequest,
        out: Option<&mut (dyn Write + Send)>,
    ) -> Result<()> {
        if !request.keep {
            for name in BY_THE_WAY {
                let _ = std::fs::remove_file(place.draft_images().join(name));
            }
        }
        place.describe(checkpoint)?;
        let Some(out) = out else { return Ok(place.finish()?) };
        self.write_archive(record, place, request, out)?;
        if request.keep { Ok(place.finish()?) } else { Ok(place.give_up()?) }
    }
}

const SIGKILL: i32 = 9;

/// What cannot be dumped, before anything happens.
fn check(record: &ContainerRecord, request: &CheckpointRequest, exports: bool) -> Result<()> {
    let name = &record.name;
    let unsupported = |message: String| Err(Error::new(ErrorKind::Unsupported, message));
    if record.request.tty {
        return unsupported(format!(
            "checkpoint {name}: a container with a terminal (-t) cannot be dumped by criu's command line"
        ));
    }
    if record.request.init {
        return unsupported(format!(
            "checkpoint {name}: criu cannot restore a program that runs from memory, as the init does (--init)"
        ));
    }
    if record.user_maps.is_some() {
        return unsupported(format!(
            "checkpoint {name}: criu cannot restore a container in a user namespace of its own"
        ));
    }
    let spaces = &record.namespaces;
    let joined = [spaces.pid.container(), spaces.ipc.container(), spaces.uts.container()];
    if record.pod.is_some() || joined.iter().any(Option::is_some) {
        return unsupported(format!(
            "checkpoint {name}: it shares namespaces with other containers, which cannot be dumped with it"
        ));
    }
    let is_made_of_others = |mount: &&MountRecord| {
        matches!(mount.request.kind, MountKind::Image | MountKind::Ramfs) || mount.request.overlay.is_some()
    };
    if let Some(mount) = record.mounts.iter().find(is_made_of_others) {
        let target = &mount.request.target;
        return unsupported(format!("checkpoint {name}: criu cannot dump what is mounted on {target}"));
    }
    if record.request.auto_remove && !exports && !request.leave_running && request.directory.is_none() {
        let message = format!(
            "cannot checkpoint {name}: it was started with --rm and would take its checkpoint with it"
        );
        return Err(Error::new(ErrorKind::Conflict, message).hint("write it to an archive with --export"));
    }
    if exports && record.request.rootfs.is_some() && !request.ignore_rootfs {
        return unsupported(format!(
            "checkpoint {name}: a plain directory (--rootfs) cannot be put into an archive"
        ));
    }
    Ok(())
}

/// There is no such checkpoint.
pub(super) fn missing(container: &str, checkpoint: &str) -> Error {
    let message = format!("container {container} has no checkpoint {checkpoint}");
    Error::new(ErrorKind::NotFound, message).hint("`cais checkpoint ls CONTAINER` lists those that it has")
}
