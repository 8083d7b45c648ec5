//! `restore`: a container goes on from a checkpoint, here or from an archive that another store wrote.

use std::io::Read;
use std::path::PathBuf;

use cais_store::{CheckpointPlace, Noun, RestartState, check_name, random_id};

use crate::attach::short;
use crate::launch::Taking;
use crate::progress::Progress;
use crate::restoration::Restoration;
use crate::verb::checkpoint::{USUAL, missing};
use crate::verb::checkpoint_archive::Unpacked;
use crate::verb::checkpoint_stats::CriuStats;
use crate::{ContainerRecord, Engine, Error, ErrorKind, PortRequest, Result};

/// What is asked of `restore`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RestoreRequest {
    /// The checkpoint's name; `None` is the usual one, which goes when the container runs again.
    pub checkpoint: Option<String>,
    /// Where it lies; `None` is with the container.
    pub directory: Option<PathBuf>,
    /// The checkpoint stays although it is the usual one.
    pub keep: bool,
    /// Established connections are restored, too.
    pub tcp_established: bool,
    /// Locks of files are restored, too.
    pub file_locks: bool,
    /// Another address than before.
    pub ignore_ip: bool,
    /// Another Ethernet address than before.
    pub ignore_mac: bool,
    /// Of an archive: without changed files.
    pub ignore_rootfs: bool,
    /// Of an archive: without what was in volumes.
    pub ignore_volumes: bool,
    /// Of an archive: the new container's name; then it gets an id and addresses of its own.
    pub name: Option<String>,
    /// Of an archive: these ports are published instead.
    pub publish: Vec<PortRequest>,
}

/// A container that goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Its id.
    pub id: String,
    /// For stderr.
    pub warnings: Vec<String>,
    /// What CRIU counted.
    pub stats: CriuStats,
}

impl Engine {
    /// Lets a container that does not run go on from a checkpoint.
    ///
    /// # Errors
    /// When it runs, has no such checkpoint, or CRIU fails; the checkpoint stays then.
    pub fn restore(&self, name: &str, request: &RestoreRequest) -> Result<Restored> {
        let id = self.store.resolve_container(name)?;
        let program = self.criu_program("restore")?;
        let record = self.store.load_container(&id)?;
        let runs = self.store.is_running(&id)? && self.store.read_exit(&id)?.is_none();
        if runs || self.is_restarting(&record)? {
            let message = format!("cannot restore container {name}: it runs");
            return Err(Error::new(ErrorKind::Conflict, message).hint("stop it first"));
        }
        let place =
            self.checkpoint_place(&id, request.directory.as_deref(), request.checkpoint.as_deref())?;
        let Some(checkpoint) = place.read()? else {
            return Err(missing(name, request.checkpoint.as_deref().unwrap_or(USUAL)));
        };
        let from = Restoration {
            tcp_established: request.tcp_established,
            file_locks: request.file_locks,
            keep_ip: !request.ignore_ip && request.name.is_none(),
            keep_mac: !request.ignore_mac && request.name.is_none(),
            ..Restoration::new(program, &place, checkpoint)
        };
        self.store.clear_marks(&id)?;
        if !self.store.is_running(&id)? {
            // As for any start.
            self.tear_down(&id)?;
        }
        let warnings = self.launch_restored(&record, &from)?;
        let stats = CriuStats::read(&place.path().join("stats-restore")).unwrap_or_default();
        if request.checkpoint.is_none() && !request.keep {
            place.remove()?;
        }
        Ok(Restored { id, warnings, stats })
    }

    fn launch_restored(&self, record: &ContainerRecord, from: &Restoration) -> Result<Vec<String>> {
        if record.may_run_again() {
            self.store.write_restart(&record.id, &RestartState::default())?;
        }
        let before = self.store.read_exit(&record.id).ok().flatten();
        let launched = self
            .launch(record, Taking::default(), Some(from))
            .inspect_err(|error| self.record_failed_start(&record.id, error, before))?;
        self.tell_container(record, "restore", &[]);
        Ok(launched.warnings)
    }

    /// Makes a container from an archive of [`Engine::checkpoint`] and lets it go on.
    ///
    /// # Errors
    /// When the archive is none, its container or a volume of it is here already, its image cannot be had, or CRIU fails;
    /// nothing of it stays then.
    pub fn restore_archive(
        &self,
        input: &mut (dyn Read + Send),
        request: &RestoreRequest,
        progress: &dyn Progress,
    ) -> Result<Restored> {
        self.criu_program("restore")?;
        let archive = Unpacked::new(self, input)?;
        let mut record = archive.definition.record.clone();
        if let Some(name) = &request.name {
            record.id = random_id();
            record.name.clone_from(name);
            record.request.name = Some(name.clone());
        }
        if !request.publish.is_empty() {
            record.request.publish.clone_from(&request.publish);
        }
        let image = archive.image(self, progress)?;
        if let Some(image) = &image {
            record.layers.clone_from(&image.layers);
        }
        self.prepare_import(&mut record, request, &archive)?;
        let hold = self.store.hold()?;
        self.store.put_container(&record, &hold)?;
        drop(hold);
        let restored = self.fill_import(&record, request, &archive).and_then(|()| {
            self.tell_container(&record, "create", &[]);
            let request = RestoreRequest { checkpoint: None, directory: None, ..request.clone() };
            self.restore(&record.id, &request)
        });
        restored.inspect_err(|_| {
            // The first error is the one to tell.
            let _ = self.tear_down(&record.id);
            let _ = self.discard(&record);
        })
    }

    /// Looks for what is in the way, before anything is made; nothing of the record is believed unseen.
    fn prepare_import(
        &self,
        record: &mut ContainerRecord,
        request: &RestoreRequest,
        archive: &Unpacked<'_>,
    ) -> Result<()> {
        check_name(Noun::Container, &record.name)?;
        let is_id = record.id.len() == 64
            && record.id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if !is_id {
            return Err(Error::new(ErrorKind::Invalid, "definition.json of the archive: id"));
        }
        let conflict = |message: String| {
            Err(Error::new(ErrorKind::Conflict, message).hint("restore a copy with --name NAME"))
        };
        if self.store.paths().container(&record.id).exists() {
            return conflict(format!("container {} is here already", short(&record.id)));
        }
        if !self.store.name_available(&record.name)? {
            return conflict(format!("the container name {:?} is already in use", record.name));
        }
        for mount in record.mounts.iter_mut().filter(|mount| !mount.volume.is_empty()) {
            check_name(Noun::Volume, &mount.volume)?;
            mount.host_path = self.store.paths().volume_data(&mount.volume);
            let comes = !request.ignore_volumes && archive.brings_volume(&mount.volume);
            if comes && mount.host_path.exists() && !self.store.volume_is_empty(&mount.volume)? {
                let message = format!("volume {} is here already and holds files", mount.volume);
                return Err(Error::new(ErrorKind::Conflict, message)
                    .hint("--ignore-volumes uses it as it is; `cais volume rm` makes way"));
            }
        }
        // Files of this call, not of the container.
        record.request.cidfile = None;
        record.request.pidfile = None;
        Ok(())
    }

    fn fill_import(
        &self,
        record: &ContainerRecord,
        request: &RestoreRequest,
        archive: &Unpacked<'_>,
    ) -> Result<()> {
        self.make_volumes(record, None)?;
        let parent = self.store.paths().container_checkpoints(&record.id);
        let place = CheckpointPlace::new(&parent, USUAL)?;
        place.begin()?;
        archive.distribute(self, record, &place, request)
    }
}
