//! `commit`: what a container has changed becomes a layer on top of its image's.
//!
//! The container stands still while its upper directory is copied. One thread copies object after object into the new
//! layer, another digests the tar of what has been copied, so the diff_id is that of the layer as it lies here. The tar
//! itself is not written: it can be made again from the layer.

mod base;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::mpsc::{Receiver, sync_channel};

use cais_layer::{Change, Entry, EntryKind, Ground, LayerError, Placer, Source, TarWriter};
use cais_oci::{
    Descriptor, Digest, Hasher, History, ImageConfig, Present, ProcessConfig, Reference, media_type,
};
use cais_runtime::cgroup::{Cgroup, CgroupError};
use cais_store::{MadeLayer, run_state};
use rustix::fs::OFlags;

use crate::attach::short;
use crate::limits::Group;
use crate::owners::Ids;
use crate::root_view::open_in_root;
use crate::verb::changed_objects::{each_object, unreadable};
use crate::verb::copy::failed;
use crate::verb::import::{change, make_image};
use crate::verb::tag::parse_target;
use crate::{ContainerRecord, Engine, Error, ErrorKind, MountKind, Result, UsernsRequest};

/// So many copied objects may wait to be digested, each with an open file.
const WAITING_MAX: usize = 64;

/// What to commit, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommitRequest {
    /// By name, id or prefix.
    pub container: String,
    /// The new image's name.
    pub name: Option<String>,
    /// Dockerfile instructions for its config, as for `import`.
    pub changes: Vec<String>,
    /// Remark in its history.
    pub message: String,
    /// Who made it.
    pub author: String,
    /// A running container stands still meanwhile.
    pub pause: bool,
}

impl Engine {
    /// Makes an image of a container as it is; returns its id and warnings.
    ///
    /// Without changes in its files the image has no further layer. Volumes and other mounts are not in it.
    ///
    /// # Errors
    /// When there is no such container, it runs a plain directory, or a change or name is malformed; nothing stays then.
    pub fn commit(&self, request: &CommitRequest) -> Result<(Digest, Vec<String>)> {
        let id = self.store.resolve_container(&request.container)?;
        let record = self.store.load_container(&id)?;
        let references: Vec<Reference> =
            request.name.as_deref().map(parse_target).transpose()?.into_iter().collect();
        let base = self.base_of(&record)?;
        let mut process = process_config(&record, &base.config.config);
        for line in &request.changes {
            change::apply(&mut process, line)?;
        }
        let mut warnings = Vec::new();
        let ingest = self.store.ingest()?;
        let pause = if request.pause { self.freeze(&record, &mut warnings)? } else { None };
        let changes = self.changed_files(&record)?;
        let layer = if changes.is_empty() {
            None
        } else {
            Some(ingest.make_layer(|tree| self.snapshot(&record, &changes, tree))?)
        };
        drop(pause);
        let base::Base { mut config, mut blobs } = base;
        let created = run_state::now();
        config.history.push(History {
            created: Some(created.clone()),
            created_by: record.args.join(" "),
            author: request.author.clone(),
            comment: request.message.clone(),
            empty_layer: layer.is_none(),
        });
        if let Some(layer) = layer {
            config.rootfs.diff_ids.push(layer.diff_id.clone());
            blobs.push(Descriptor::new(media_type::OCI_LAYER, layer.blob, layer.blob_bytes));
        }
        let parsed =
            ImageConfig { created: Some(created), author: request.author.clone(), config: process, ..config };
        let image = make_image(parsed, blobs)?;
        let made = ingest.commit(&image, &references)?.id;
        let named = references.first().map(Reference::familiar).unwrap_or_default();
        let told = [("comment", request.message.as_str()), ("imageID", made.as_str()), ("imageRef", &named)];
        self.tell_container(&record, "commit", &told);
        Ok((made, warnings))
    }

    /// Lets a running container stand still until the result is dropped.
    pub(super) fn freeze(
        &self,
        record: &ContainerRecord,
        warnings: &mut Vec<String>,
    ) -> Result<Option<Frozen>> {
        if self.running_pid(&record.id).is_err() {
            return Ok(None);
        }
        let Some(group) = Group::find(self, &record.id)? else {
            warnings.push("the container is not paused meanwhile: it has no cgroup".to_owned());
            return Ok(None);
        };
        let pause = self.store.begin_pause(&record.id)?;
        if group.is_frozen() {
            pause.end()?;
            return Ok(None);
        }
        let frozen = group.freeze();
        // Thawed below, also when it was frozen only in part.
        let guard = Frozen { group, pause: Some(pause) };
        match frozen {
            Ok(()) => Ok(Some(guard)),
            Err(CgroupError::NoFreezer) => {
                warnings.push("the container is not paused meanwhile: there is no freezer".to_owned());
                Ok(None)
            }
            Err(error) => {
                Err(Error::caused(ErrorKind::System, format!("pause container {}", short(&record.id)), error))
            }
        }
    }

    /// Copies what has changed into the tree of a new layer and digests its tar.
    fn snapshot(
        &self,
        record: &ContainerRecord,
        changes: &[Change],
        tree: BorrowedFd<'_>,
    ) -> Result<MadeLayer> {
        let path = self.store.paths().container_upper(&record.id);
        let upper = crate::overlay::open_path(&path).map_err(|error| {
            Error::caused(ErrorKind::System, format!("open {}", path.display()), std::io::Error::from(error))
        })?;
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let (copied, digested) = std::thread::scope(|scope| {
            let digester = scope.spawn(move || digest(&receiver));
            let (from, options) = ((upper.as_fd(), self.bare_ids(record)), self.layer_options());
            let copied = copy_changes(from, changes, tree, &options, |item| {
                // When the digester has given up, it tells why.
                sender.send(item).is_ok()
            });
            drop(sender);
            (copied, digester.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let (entries, content_bytes) = copied.map_err(failed)?;
        let (diff_id, tar_bytes) =
            digested.map_err(|error| Error::caused(ErrorKind::System, "digest the new layer", error))?;
        Ok(MadeLayer { diff_id, tar_bytes, content_bytes, entries })
    }
}

impl Engine {
    /// Lets a container go on that an interrupted commit has left standing still, if `repair`; whether there was one.
    pub(super) fn resume_interrupted(&self, id: &str, repair: bool) -> Result<bool> {
        let Some(pause) = self.store.interrupted_pause(id)? else { return Ok(false) };
        let group = Group::find(self, id)?;
        let is_frozen = group.as_ref().is_some_and(Cgroup::is_frozen);
        if !repair {
            return Ok(is_frozen);
        }
        match group {
            Some(group) if is_frozen => drop(Frozen { group, pause: Some(pause) }),
            // It was killed before or after the pause itself.
            _ => pause.end()?,
        }
        Ok(is_frozen)
    }
}

/// A group that stands still; it goes on when this is dropped.
pub(super) struct Frozen {
    group: Cgroup,
    pause: Option<cais_store::run_state::Pause>,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // Nobody can be told; `system check` finds the file, and what still stands still.
        if self.group.thaw().is_ok()
            && let Some(pause) = self.pause.take()
        {
            let _ = pause.end();
        }
    }
}

/// An entry of the tar, and where its content can be read.
type Item = (Entry, Option<OwnedFd>);

/// Copies the objects of `changes`, in their order, and passes each on; returns their number and the bytes of the files.
fn copy_changes(
    (upper, ids): (BorrowedFd<'_>, Ids<'_>),
    changes: &[Change],
    tree: BorrowedFd<'_>,
    options: &cais_layer::Options,
    mut pass: impl FnMut(Item) -> bool,
) -> std::result::Result<(u64, u64), LayerError> {
    let mut placer = Placer::new(Ground::Directory(tree), options.clone());
    let (mut entries, mut content_bytes) = (0, 0);
    each_object(upper, changes, |mut entry, content| {
        if entry.kind != EntryKind::CharDevice || entry.device != (0, 0) {
            ids.inside(&mut entry);
        }
        // What the tar does not say, the layer does not have.
        entry.mtime.nanos = 0;
        let source = content.as_ref().map_or(Source::Nothing, |file| Source::File(file.as_fd()));
        placer.place(&entry, source)?;
        let mut copy = None;
        if entry.kind == EntryKind::File {
            let file = open_in_root(tree, &entry.path, OFlags::RDONLY | OFlags::NOFOLLOW)
                .map_err(|errno| unreadable(&entry.path, errno))?;
            let stat = rustix::fs::fstat(&file).map_err(|errno| unreadable(&entry.path, errno))?;
            entry.size_bytes = u64::try_from(stat.st_size).unwrap_or(0);
            content_bytes += entry.size_bytes;
            copy = Some(file);
        }
        entries += 1;
        Ok(pass((entry.in_layer(), copy)))
    })?;
    placer.finish()?;
    Ok((entries, content_bytes))
}

/// The digest and the length of the tar of what comes.
fn digest(items: &Receiver<Item>) -> std::io::Result<(Digest, u64)> {
    let mut writer = TarWriter::new(Digesting(Hasher::new()));
    for (entry, content) in items {
        writer.append(&entry, content)?;
    }
    let (sink, bytes) = writer.finish()?;
    Ok((sink.0.finish(), bytes))
}

struct Digesting(Hasher);

impl std::io::Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What the container runs, as what the image will run; what containers cannot change is the base's.
fn process_config(record: &ContainerRecord, base: &ProcessConfig) -> ProcessConfig {
    let some = |words: &Vec<String>| Some(words.clone()).filter(|words| !words.is_empty());
    let anonymous = |mount: &&crate::MountRecord| mount.request.kind == MountKind::Volume && mount.anonymous;
    let volumes = record.mounts.iter().filter(anonymous).map(|mount| (mount.request.target.clone(), Present));
    ProcessConfig {
        user: match (&record.request.users.userns, &record.request.user) {
            // The caller's, which is nobody's elsewhere.
            (UsernsRequest::KeepId(_), None) => base.user.clone(),
            _ => record.user.clone(),
        },
        exposed_ports: record.exposed.iter().map(|port| (port.clone(), Present)).collect(),
        env: record.env.clone(),
        entrypoint: some(&record.entrypoint),
        cmd: some(&record.cmd),
        volumes: base.volumes.clone().into_iter().chain(volumes).collect(),
        working_dir: if record.workdir == "/" { base.working_dir.clone() } else { record.workdir.clone() },
        labels: record.labels.clone(),
        stop_signal: record.stop_signal_given.clone(),
        ..base.clone()
    }
}
