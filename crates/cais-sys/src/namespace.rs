//! Namespaces as descriptors: which kind one is (ioctl_ns(2)), and user namespaces that exist only for their maps
//! (id-mapped mounts, mount_setattr(2)).
#![allow(unsafe_code)]

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use crate::process::Placeholder;
use crate::spawn::own;

/// The kind of a namespace descriptor, as its `CLONE_NEW*` number.
///
/// # Errors
/// `ENOTTY` when the file is no namespace.
pub fn kind_of(namespace: impl AsFd) -> io::Result<u64> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // SAFETY: the descriptor is borrowed for the call; this request takes no argument.
    let kind = unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), NS_GET_NSTYPE as _) };
    u64::try_from(kind).map_err(|_| io::Error::last_os_error())
}

/// The user namespace that owns a namespace.
///
/// # Errors
/// `EPERM` when it is none of ours or of those that we are in.
pub fn owner_of(namespace: impl AsFd) -> io::Result<OwnedFd> {
    const NS_GET_USERNS: libc::c_ulong = 0xb701;
    // SAFETY: as above; the number that comes back is a new descriptor.
    own(unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), NS_GET_USERNS as _) })
}

/// A new user namespace with these maps (lines `inside outside count`), in which no process is.
///
/// # Errors
/// Those of clone3(2), and of writing the maps: without privileges only one's own id can be mapped.
pub fn with_maps(uids: &str, gids: &str) -> io::Result<OwnedFd> {
    let holder = Placeholder::start(libc::CLONE_NEWUSER as u64)?;
    let directory = format!("/proc/{}", holder.pid());
    fs::write(format!("{directory}/uid_map"), uids)?;
    fs::write(format!("{directory}/gid_map"), gids)?;
    Ok(File::open(format!("{directory}/ns/user"))?.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_tell_their_kind() {
        let open = |name: &str| File::open(format!("/proc/self/ns/{name}")).expect("open");
        assert_eq!(kind_of(open("net")).expect("kind"), libc::CLONE_NEWNET as u64);
        assert_eq!(kind_of(open("mnt")).expect("kind"), libc::CLONE_NEWNS as u64);
        let owner = owner_of(open("net")).expect("owner");
        assert_eq!(kind_of(owner).expect("kind"), libc::CLONE_NEWUSER as u64);
        let file = File::open("/proc/self/status").expect("open");
        assert_eq!(kind_of(file).expect_err("no namespace").raw_os_error(), Some(libc::ENOTTY));
    }

    #[test]
    fn a_namespace_for_its_maps() {
        let namespace = match with_maps("0 1000 10\n", "0 2000 10\n") {
            Ok(namespace) => namespace,
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                println!("skipped: needs CAP_SETUID and user namespaces");
                return;
            }
            Err(error) => panic!("{error}"),
        };
        assert_eq!(kind_of(&namespace).expect("kind"), libc::CLONE_NEWUSER as u64);
        let own = File::open("/proc/self/ns/user").expect("open");
        let inode = |fd: &dyn AsRawFd| {
            fs::metadata(format!("/proc/self/fd/{}", fd.as_raw_fd()))
                .map(|m| std::os::unix::fs::MetadataExt::ino(&m))
        };
        assert_ne!(inode(&namespace).expect("stat"), inode(&own).expect("stat"));
        assert!(with_maps("not a map", "").is_err());
    }
}
