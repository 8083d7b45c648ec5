//! The kernel's numbers that plans are made of: namespaces(7), mount(2), mount_setattr(2), mknod(2).
//!
//! The same on every architecture that this program is built for.

use cais_oci::runtime::NamespaceType;

pub const CLONE_NEWTIME: u64 = 0x80;
pub const CLONE_NEWNS: u64 = 0x0002_0000;
pub const CLONE_NEWCGROUP: u64 = 0x0200_0000;
pub const CLONE_NEWUTS: u64 = 0x0400_0000;
pub const CLONE_NEWIPC: u64 = 0x0800_0000;
pub const CLONE_NEWUSER: u64 = 0x1000_0000;
pub const CLONE_NEWPID: u64 = 0x2000_0000;
pub const CLONE_NEWNET: u64 = 0x4000_0000;

pub const MS_REC: u64 = 1 << 14;
pub const MS_UNBINDABLE: u64 = 1 << 17;
pub const MS_PRIVATE: u64 = 1 << 18;
pub const MS_SLAVE: u64 = 1 << 19;
pub const MS_SHARED: u64 = 1 << 20;

pub const RDONLY: u64 = 0x1;
pub const NOSUID: u64 = 0x2;
pub const NODEV: u64 = 0x4;
pub const NOEXEC: u64 = 0x8;
/// All bits of the access time setting, of which relatime is none.
pub const ATIME_MASK: u64 = 0x70;
pub const RELATIME: u64 = 0;
pub const NOATIME: u64 = 0x10;
pub const STRICTATIME: u64 = 0x20;
pub const NODIRATIME: u64 = 0x80;
pub const NOSYMFOLLOW: u64 = 0x20_0000;

pub const S_IFIFO: u32 = 0o010_000;
pub const S_IFCHR: u32 = 0o020_000;
pub const S_IFBLK: u32 = 0o060_000;
pub const PERMISSIONS: u32 = 0o7777;

/// The flag of clone(2), unshare(2) and setns(2).
pub fn clone_flag(kind: NamespaceType) -> u64 {
    match kind {
        NamespaceType::Pid => CLONE_NEWPID,
        NamespaceType::Network => CLONE_NEWNET,
        NamespaceType::Mount => CLONE_NEWNS,
        NamespaceType::Ipc => CLONE_NEWIPC,
        NamespaceType::Uts => CLONE_NEWUTS,
        NamespaceType::User => CLONE_NEWUSER,
        NamespaceType::Cgroup => CLONE_NEWCGROUP,
        NamespaceType::Time => CLONE_NEWTIME,
    }
}

/// A device number as `st_rdev` holds it in user space; `None` where the kernel's `dev_t` cannot hold it.
pub fn device_number(major: i64, minor: i64) -> Option<u64> {
    let (major, minor) = (u64::try_from(major).ok()?, u64::try_from(minor).ok()?);
    if major >= 1 << 12 || minor >= 1 << 20 {
        return None;
    }
    Some((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12))
}

#[cfg(test)]
mod tests {
    use super::device_number;

    #[test]
    fn device_numbers_are_those_of_stat() {
        assert_eq!(device_number(1, 3), Some(0x103));
        assert_eq!(device_number(8, 300), Some(rustix::fs::makedev(8, 300)));
        assert_eq!(device_number(4095, 1_048_575), Some(rustix::fs::makedev(4095, 1_048_575)));
        assert_eq!(device_number(4096, 0), None);
        assert_eq!(device_number(-1, 0), None);
    }
}
