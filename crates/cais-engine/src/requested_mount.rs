//! A mount of a record as the planner takes it: binds, volumes, overlays over them, images, and new file systems.
//!
//! What leaves its source as it is (an overlay, a writable image) has an upper directory in the container's own, which
//! every start makes anew.

use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::path::PathBuf;

use cais_runtime::launch::MountPlan;

use crate::{ContainerRecord, Engine, Error, ErrorKind, MountKind, MountRecord, Result};

pub(crate) const MS_PRIVATE: u64 = 1 << 18;
const MS_SLAVE: u64 = 1 << 19;
const MS_SHARED: u64 = 1 << 20;

const NOSUID: u64 = 2;
const NODEV: u64 = 4;
const NOEXEC: u64 = 8;

/// The mount with this index of the record.
pub(crate) fn requested_mount(
    engine: &Engine,
    record: &ContainerRecord,
    index: usize,
    mount: &MountRecord,
) -> Result<MountPlan> {
    let request = &mount.request;
    match request.kind {
        MountKind::Tmpfs => return tmpfs(mount),
        MountKind::Ramfs => return Ok(ramfs(mount)),
        MountKind::Devpts => return Ok(devpts(mount)),
        MountKind::Image => return image(engine, record, index, mount),
        MountKind::Bind | MountKind::Volume => {}
    }
    if let Some(asked) = &request.overlay {
        return Ok(MountPlan::Overlay {
            lowers: vec![mount.host_path.clone()],
            upper: Some(asked.kept.clone().unwrap_or_else(|| own_upper(engine, record, index))),
            subpath: request.subpath.clone(),
            target: request.target.clone(),
            read_only: request.read_only,
        });
    }
    let source = mount.host_path.clone();
    let metadata = std::fs::metadata(&source).map_err(|e| {
        Error::caused(ErrorKind::Invalid, format!("mount {} on {}", source.display(), request.target), e)
    })?;
    let (propagation, recursive_propagation) = propagation(request.propagation.as_deref())?;
    Ok(MountPlan::Bind {
        source,
        subpath: request.subpath.clone(),
        target: request.target.clone(),
        directory: metadata.is_dir(),
        read_only: request.read_only,
        writable_beneath: request.writable_beneath,
        recursive: !request.non_recursive && (recursive_propagation || request.kind == MountKind::Bind),
        propagation,
    })
}

/// `rslave` and the like: the kernel's flag, and whether it goes for what is mounted beneath.
fn propagation(text: Option<&str>) -> Result<(u64, bool)> {
    let text = text.unwrap_or("rprivate");
    let flag = match text.strip_prefix('r').unwrap_or(text) {
        "private" => MS_PRIVATE,
        "slave" => MS_SLAVE,
        "shared" => MS_SHARED,
        _ => {
            let message = format!(
                "mount propagation {text:?}: one of rprivate, private, rslave, slave, rshared, shared"
            );
            return Err(Error::new(ErrorKind::Invalid, message));
        }
    };
    Ok((flag, text.starts_with('r')))
}

fn tmpfs(mount: &MountRecord) -> Result<MountPlan> {
    let request = &mount.request;
    // Docker's defaults; options take them back.
    let (mut nosuid, mut nodev, mut noexec) = (true, true, true);
    let mut attributes = 0;
    let mut options = Vec::new();
    for option in &request.options {
        match option.as_str() {
            "suid" => nosuid = false,
            "nosuid" => nosuid = true,
            "dev" => nodev = false,
            "nodev" => nodev = true,
            "exec" => noexec = false,
            "noexec" => noexec = true,
            "ro" => attributes |= 1,
            "rw" => {}
            "noatime" => attributes |= 0x10,
            other
                if ["size=", "mode=", "uid=", "gid=", "nr_inodes="].iter().any(|k| other.starts_with(k)) =>
            {
                options.push(other.to_owned());
            }
            other => {
                let message = format!("tmpfs on {}: unknown option {other:?}", request.target);
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        }
    }
    if let Some(size) = request.tmpfs_size_bytes {
        options.push(format!("size={size}"));
    }
    let mode = request.tmpfs_mode.map(|mode| format!("mode={mode:o}"));
    if !options.iter().any(|o| o.starts_with("mode=")) {
        options.push(mode.unwrap_or_else(|| "mode=1777".to_owned()));
    }
    attributes |= u64::from(request.read_only)
        | u64::from(nosuid) << 1
        | u64::from(nodev) << 2
        | u64::from(noexec) << 3;
    Ok(MountPlan::Tmpfs { target: request.target.clone(), options, attributes })
}

/// What docker and podman give to a terminal's file system, unless asked otherwise.
fn devpts(mount: &MountRecord) -> MountPlan {
    let request = &mount.request;
    let asked = |key: &str| request.options.iter().any(|option| option.starts_with(key));
    let mut options = vec!["newinstance".to_owned(), "ptmxmode=0666".to_owned()];
    if !asked("mode=") {
        options.push("mode=0620".to_owned());
    }
    options.extend(request.options.iter().cloned());
    let attributes = NOSUID | NOEXEC | u64::from(request.read_only);
    MountPlan::Filesystem { fstype: "devpts", target: request.target.clone(), options, attributes }
}

fn ramfs(mount: &MountRecord) -> MountPlan {
    let request = &mount.request;
    let mode = format!("mode={:o}", request.tmpfs_mode.unwrap_or(0o1777));
    let attributes = NOSUID | NODEV | NOEXEC | u64::from(request.read_only);
    MountPlan::Filesystem { fstype: "ramfs", target: request.target.clone(), options: vec![mode], attributes }
}

fn image(engine: &Engine, record: &ContainerRecord, index: usize, mount: &MountRecord) -> Result<MountPlan> {
    let request = &mount.request;
    let paths = engine.store.paths();
    let lowers: Vec<PathBuf> = mount.layers.iter().rev().map(|layer| paths.layer_fs(layer)).collect();
    match lowers.as_slice() {
        [] => {
            let message = format!("image {} has no files to mount on {}", request.source, request.target);
            Err(Error::new(ErrorKind::Invalid, message))
        }
        // An overlay has two layers at least.
        [only] if request.read_only => Ok(MountPlan::Bind {
            source: only.clone(),
            subpath: request.subpath.clone(),
            target: request.target.clone(),
            directory: true,
            read_only: true,
            writable_beneath: false,
            recursive: false,
            propagation: MS_PRIVATE,
        }),
        _ => Ok(MountPlan::Overlay {
            upper: (!request.read_only).then(|| own_upper(engine, record, index)),
            lowers,
            subpath: request.subpath.clone(),
            target: request.target.clone(),
            read_only: request.read_only,
        }),
    }
}

/// Upper and work directory of a mount in the container's directory.
fn own_upper(engine: &Engine, record: &ContainerRecord, index: usize) -> (PathBuf, PathBuf) {
    let directory = engine.store.paths().container_mount(&record.id, index);
    (directory.join("upper"), directory.join("work"))
}

/// Whether its changes go to the container's directory, and what it lies over.
fn changes_are_own(mount: &MountRecord) -> bool {
    let request = &mount.request;
    let overlay = request.overlay.as_ref().is_some_and(|overlay| overlay.kept.is_none());
    overlay || (request.kind == MountKind::Image && !request.read_only)
}

impl Engine {
    /// Makes the directories of changes anew. Their root looks like that of what they lie over.
    pub(crate) fn prepare_own_uppers(&self, record: &ContainerRecord) -> Result<()> {
        for (index, mount) in record.mounts.iter().enumerate().filter(|(_, mount)| changes_are_own(mount)) {
            let directory = self.store.paths().container_mount(&record.id, index);
            self.prepare_upper(record, index, mount).map_err(|error| {
                Error::caused(ErrorKind::System, format!("prepare {}", directory.display()), error)
            })?;
        }
        Ok(())
    }

    fn prepare_upper(
        &self,
        record: &ContainerRecord,
        index: usize,
        mount: &MountRecord,
    ) -> std::io::Result<()> {
        let directory = self.store.paths().container_mount(&record.id, index);
        match std::fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let (upper, work) = own_upper(self, record, index);
        for path in [&directory, &upper, &work] {
            std::fs::DirBuilder::new().mode(0o700).create(path)?;
        }
        let lower = match mount.layers.last() {
            Some(layer) => self.store.paths().layer_fs(layer),
            None => mount.host_path.clone(),
        };
        let like = std::fs::metadata(lower)?;
        chown(&upper, Some(like.uid()), Some(like.gid()))?;
        std::fs::set_permissions(&upper, PermissionsExt::from_mode(like.mode() & 0o7777))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn propagations() {
        assert_eq!(propagation(None).ok(), Some((MS_PRIVATE, true)));
        assert_eq!(propagation(Some("slave")).ok(), Some((MS_SLAVE, false)));
        assert!(propagation(Some("rx")).is_err());
    }
}
