//! Options of the volume driver `local`, as docker has them: `type`, `device` and `o` are those of mount(8).
//!
//! A directory of the host (`o=bind`) is used where it is. Anything else is mounted on the volume's own directory when
//! its first container starts and taken away after the last, under a lock on the volume; a container's run directory
//! tells what was mounted for it. Needs root.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, StatxFlags, flock, statx};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::{ContainerRecord, Engine, Error, ErrorKind, Result};

/// What a volume is beside a directory of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Backing {
    /// A directory of the host.
    Directory { path: PathBuf, read_only: bool },
    /// A file system of its own.
    Mounted { fstype: String, device: String, flags: MountFlags, data: String },
}

/// Reads options; `None` for a volume without any.
///
/// # Errors
/// For options that docker's driver refuses, in its words.
pub(crate) fn parse(options: &BTreeMap<String, String>) -> Result<Option<Backing>> {
    if options.is_empty() {
        return Ok(None);
    }
    let invalid = |message: String| Error::new(ErrorKind::Invalid, message);
    if let Some(unknown) = options.keys().find(|key| !["type", "device", "o"].contains(&key.as_str())) {
        let error = invalid(format!("invalid option: {unknown:?}"));
        return Err(error.hint("the driver local knows type, device and o, as mount(8) does"));
    }
    let needed = |key: &str| match options.get(key) {
        Some(value) if !value.is_empty() => Ok(value.clone()),
        _ => Err(invalid(format!("missing required option: {key:?}"))),
    };
    let (device, fstype) = (needed("device")?, needed("type")?);
    let (mut flags, mut data, mut binds) = (MountFlags::empty(), Vec::new(), false);
    for option in options.get("o").map_or("", String::as_str).split(',').filter(|o| !o.is_empty()) {
        match flag(option) {
            Some((flag, true)) => flags |= flag,
            Some((flag, false)) => flags &= !flag,
            None if matches!(option, "bind" | "rbind") => binds = true,
            None => data.push(option),
        }
    }
    if binds {
        let path = PathBuf::from(&device);
        if !path.is_absolute() {
            return Err(invalid(format!("option device={device}: the path of a directory is absolute")));
        }
        return Ok(Some(Backing::Directory { path, read_only: flags.contains(MountFlags::RDONLY) }));
    }
    Ok(Some(Backing::Mounted { fstype, device, flags, data: data.join(",") }))
}

/// A flag of mount(2), and whether the word sets it.
fn flag(word: &str) -> Option<(MountFlags, bool)> {
    Some(match word {
        "defaults" => (MountFlags::empty(), true),
        "ro" => (MountFlags::RDONLY, true),
        "rw" => (MountFlags::RDONLY, false),
        "nosuid" => (MountFlags::NOSUID, true),
        "suid" => (MountFlags::NOSUID, false),
        "nodev" => (MountFlags::NODEV, true),
        "dev" => (MountFlags::NODEV, false),
        "noexec" => (MountFlags::NOEXEC, true),
        "exec" => (MountFlags::NOEXEC, false),
        "sync" => (MountFlags::SYNCHRONOUS, true),
        "async" => (MountFlags::SYNCHRONOUS, false),
        "dirsync" => (MountFlags::DIRSYNC, true),
        "noatime" => (MountFlags::NOATIME, true),
        "atime" => (MountFlags::NOATIME, false),
        "nodiratime" => (MountFlags::NODIRATIME, true),
        "diratime" => (MountFlags::NODIRATIME, false),
        "relatime" => (MountFlags::RELATIME, true),
        "norelatime" => (MountFlags::RELATIME, false),
        "strictatime" => (MountFlags::STRICTATIME, true),
        "nostrictatime" => (MountFlags::STRICTATIME, false),
        _ => return None,
    })
}

impl Engine {
    /// Mounts the volumes of a container that are file systems of their own; its run lock is held.
    pub(crate) fn mount_volumes(&self, record: &ContainerRecord) -> Result<()> {
        let mut mounted = String::new();
        for name in record.mounts.iter().map(|mount| mount.volume.as_str()).filter(|name| !name.is_empty()) {
            let backing = parse(&self.store.load_volume(name)?.options)?;
            let Some(Backing::Mounted { fstype, device, flags, data }) = backing else { continue };
            if self.config.rootless {
                let message = format!("volume {name}: a file system of type {fstype} needs root");
                return Err(Error::new(ErrorKind::Unsupported, message).hint(
                    "rootless volumes can be directories: --opt type=none --opt o=bind --opt device=/path",
                ));
            }
            // Before it is mounted: whoever takes the run down finds it.
            mounted.push_str(&format!("{name}\n"));
            let list = self.store.paths().run_volumes(&record.id);
            std::fs::write(&list, &mounted).map_err(|error| {
                Error::caused(ErrorKind::System, format!("write {}", list.display()), error)
            })?;
            let _lock = self.lock_volume(name)?;
            let place = self.store.volume_path(name);
            if is_mounted(&place).map_err(|error| failed(name, error))? {
                continue;
            }
            let data = CString::new(data).map_err(|_| failed(name, Errno::INVAL))?;
            mount(device.as_str(), &place, fstype.as_str(), flags, data.as_c_str()).map_err(|errno| {
                let message = format!("mount {device} (type {fstype}) as volume {name}");
                Error::caused(ErrorKind::Invalid, message, std::io::Error::from(errno))
            })?;
        }
        Ok(())
    }

    /// Takes away what [`Engine::mount_volumes`] has mounted for a run, unless another container that runs has it.
    pub(crate) fn unmount_volumes(&self, id: &str) -> Result<()> {
        let Ok(mounted) = std::fs::read_to_string(self.store.paths().run_volumes(id)) else { return Ok(()) };
        for name in mounted.lines() {
            let Ok(_lock) = self.lock_volume(name) else { continue };
            let mut used = false;
            for user in self.store.containers_using_volume(name)? {
                used |= user != id && self.store.is_running(&user)?;
            }
            if !used {
                self.unmount_volume(name)?;
            }
        }
        Ok(())
    }

    /// Takes away whatever is mounted on a volume's directory.
    pub(crate) fn unmount_volume(&self, name: &str) -> Result<()> {
        match unmount(self.store.volume_path(name), UnmountFlags::DETACH) {
            // Nothing is mounted, or there is no such volume.
            Ok(()) | Err(Errno::INVAL | Errno::NOENT | Errno::PERM) => Ok(()),
            Err(errno) => Err(failed(name, errno)),
        }
    }

    /// Lasts as long as the file is open.
    fn lock_volume(&self, name: &str) -> Result<File> {
        let directory = File::open(self.store.paths().volume(name))
            .map_err(|error| Error::caused(ErrorKind::System, format!("lock volume {name}"), error))?;
        flock(&directory, FlockOperation::LockExclusive).map_err(|errno| failed(name, errno))?;
        Ok(directory)
    }
}

fn failed(volume: &str, errno: Errno) -> Error {
    Error::caused(ErrorKind::System, format!("mount volume {volume}"), std::io::Error::from(errno))
}

/// Whether a directory is another mount than the one above it.
fn is_mounted(path: &Path) -> std::result::Result<bool, Errno> {
    let mount = |path: &Path| {
        let seen = statx(CWD, path, AtFlags::NO_AUTOMOUNT, StatxFlags::MNT_ID)?;
        Ok((seen.stx_mnt_id, seen.stx_dev_major, seen.stx_dev_minor))
    };
    Ok(mount(path)? != mount(path.parent().unwrap_or(path))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(options: &[(&str, &str)]) -> Result<Option<Backing>> {
        parse(&options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn options() {
        assert_eq!(of(&[]).unwrap(), None);
        assert_eq!(
            of(&[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m,uid=5,nodev,ro,rw")]).unwrap(),
            Some(Backing::Mounted {
                fstype: "tmpfs".into(),
                device: "tmpfs".into(),
                flags: MountFlags::NODEV,
                data: "size=1m,uid=5".into(),
            })
        );
        assert_eq!(
            of(&[("type", "none"), ("device", "/src"), ("o", "bind,ro")]).unwrap(),
            Some(Backing::Directory { path: "/src".into(), read_only: true })
        );
        let refused = |options: &[(&str, &str)]| of(options).unwrap_err().message;
        assert_eq!(refused(&[("foo", "bar")]), "invalid option: \"foo\"");
        assert_eq!(refused(&[("device", "/src")]), "missing required option: \"type\"");
        assert_eq!(refused(&[("type", "tmpfs")]), "missing required option: \"device\"");
        assert!(refused(&[("type", "none"), ("device", "src"), ("o", "bind")]).contains("absolute"));
    }

    #[test]
    fn mount_points() {
        assert!(is_mounted(Path::new("/proc")).unwrap());
        assert!(!is_mounted(Path::new("/proc/self")).unwrap());
    }
}
