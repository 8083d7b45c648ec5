//! Layers as one tree, mounted by the engine itself for a look: overlayfs, through the new mount calls where the kernel
//! takes its layers that way (6.5), through mount(2) before.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, mount, mount_change, move_mount,
};

/// What is mounted on what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stack<'a> {
    /// Topmost first.
    pub(crate) lowers: &'a [PathBuf],
    /// Upper and work directory; without them the tree is read-only and needs two layers.
    pub(crate) upper: Option<(&'a Path, &'a Path)>,
    /// overlayfs' attributes are `user.overlay.*`.
    pub(crate) rootless: bool,
}

impl Stack<'_> {
    /// The tree, mounted nowhere; `EINVAL` from kernels that take layers by mount(2) only.
    fn detached(&self) -> Result<OwnedFd, Errno> {
        let fs = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
        for layer in self.lowers {
            fsconfig_set_string(fs.as_fd(), "lowerdir+", layer.as_path())?;
        }
        if let Some((upper, work)) = self.upper {
            fsconfig_set_string(fs.as_fd(), "upperdir", upper)?;
            fsconfig_set_string(fs.as_fd(), "workdir", work)?;
        }
        if self.rootless {
            fsconfig_set_flag(fs.as_fd(), "userxattr")?;
        }
        fsconfig_create(fs.as_fd())?;
        let attributes = match self.upper {
            None => MountAttrFlags::MOUNT_ATTR_RDONLY,
            Some(_) => MountAttrFlags::empty(),
        };
        rustix::mount::fsmount(fs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
    }

    /// Mounts the tree at a place; the caller is in a mount namespace of its own.
    pub(crate) fn mount_at(&self, place: &Path) -> Result<(), Errno> {
        match self.detached() {
            Err(Errno::INVAL) => self.mount_by_names(place),
            tree => move_mount(tree?, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH),
        }
    }

    /// mount(2) takes all layers in one string of a page: short names of descriptors instead of paths.
    fn mount_by_names(&self, place: &Path) -> Result<(), Errno> {
        // Opened here: overlay takes no layer of another mount namespace.
        let open = |paths: &[&Path]| paths.iter().map(|path| open_path(path)).collect::<Result<Vec<_>, _>>();
        let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
        let lowers = open(&self.lowers.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
        let upper = open(&self.upper.map_or(Vec::new(), |(upper, work)| vec![upper, work]))?;
        let mut options = format!("lowerdir={}", lowers.iter().map(name).collect::<Vec<_>>().join(":"));
        if let [upper, work] = &upper[..] {
            options.push_str(&format!(",upperdir={},workdir={}", name(upper), name(work)));
        }
        if self.rootless {
            options.push_str(",userxattr");
        }
        let options = CString::new(options).map_err(|_| Errno::INVAL)?;
        let flags = if self.upper.is_none() { MountFlags::RDONLY } else { MountFlags::empty() };
        mount("overlay", place, "overlay", flags, options.as_c_str())
    }
}

/// Layers (topmost first) as one tree to read, mounted nowhere; `None` without layers.
pub(crate) fn merged(layers: &[PathBuf], rootless: bool) -> io::Result<Option<OwnedFd>> {
    match layers {
        [] => return Ok(None),
        [only] => return Ok(Some(open_path(only)?)),
        _ => {}
    }
    let stack = Stack { lowers: layers, upper: None, rootless };
    match stack.detached() {
        Err(Errno::INVAL) => {}
        other => return Ok(Some(other?)),
    }
    let by_mount = || {
        enter_mount_namespace()?;
        // It needs a place, which only this thread sees and which goes with it.
        let place = Path::new("/proc");
        let stack = Stack { lowers: layers, upper: None, rootless };
        let layers = stack.mount_by_names(place);
        layers.and_then(|()| open_path(place))
    };
    let mounted = std::thread::scope(|scope| scope.spawn(by_mount).join());
    Ok(Some(mounted.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?))
}

/// Gives the calling thread mounts of its own, which nobody else sees and which go with it.
pub(crate) fn enter_mount_namespace() -> Result<(), Errno> {
    cais_sys::mountns::unshare_mounts()?;
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
}

/// A directory, to go on from.
pub(crate) fn open_path(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}
