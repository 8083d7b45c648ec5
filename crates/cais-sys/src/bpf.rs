//! bpf(2) for one purpose: device programs of cgroup v2.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
/// The verifier gives up with EAGAIN when a signal comes.
const LOAD_ATTEMPTS: usize = 16;

/// The first fields of `union bpf_attr` for `BPF_PROG_LOAD`.
#[repr(C)]
struct LoadAttributes {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log: u64,
}

/// The first fields of `union bpf_attr` for `BPF_PROG_ATTACH`.
#[repr(C)]
struct AttachAttributes {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// Loads a program of 8-byte instructions as `BPF_PROG_TYPE_CGROUP_DEVICE`. Needs CAP_BPF or CAP_SYS_ADMIN in the
/// initial user namespace. The program lives as long as the descriptor or an attachment.
pub fn load_device_program(instructions: &[u64]) -> io::Result<OwnedFd> {
    let count = u32::try_from(instructions.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let attributes = LoadAttributes {
        kind: BPF_PROG_TYPE_CGROUP_DEVICE,
        count,
        instructions: instructions.as_ptr().expose_provenance() as u64,
        license: c"Apache-2.0".as_ptr().expose_provenance() as u64,
        log_level: 0,
        log_size: 0,
        log: 0,
    };
    let mut result = bpf(BPF_PROG_LOAD, &attributes);
    for _ in 1..LOAD_ATTEMPTS {
        match &result {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {
                result = bpf(BPF_PROG_LOAD, &attributes)
            }
            _ => break,
        }
    }
    // SAFETY: a successful load returns a new descriptor that nobody else owns.
    result.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Attaches a device program to a cgroup v2 directory, beside programs that are there already: every one must allow an
/// access. The attachment lasts as long as the cgroup.
pub fn attach_device_program(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attributes = AttachAttributes {
        target: cgroup.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: BPF_CGROUP_DEVICE,
        flags: BPF_F_ALLOW_MULTI,
    };
    bpf(BPF_PROG_ATTACH, &attributes).map(drop)
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: the kernel reads `size` bytes of the attributes and what they point to, all of which the callers borrow
    // for the duration of the call; it writes nothing, since no log is asked for.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), std::mem::size_of::<T>())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_the_verifier_refuses_is_an_error() {
        // `exit` without a result.
        let error = load_device_program(&[u64::from_ne_bytes([0x95, 0, 0, 0, 0, 0, 0, 0])]).unwrap_err();
        if error.raw_os_error() == Some(libc::EPERM) {
            println!("skipped: bpf(2) is not permitted");
            return;
        }
        assert!(matches!(error.raw_os_error(), Some(libc::EACCES | libc::EINVAL)), "{error}");
    }

    #[test]
    fn a_program_is_attached_to_cgroups_only() {
        let instructions = [[0xb7, 0, 0, 0, 1, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]].map(u64::from_ne_bytes);
        match load_device_program(&instructions) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                println!("skipped: bpf(2) is not permitted");
            }
            program => {
                use std::os::fd::AsFd;
                let root = std::fs::File::open("/").unwrap();
                let error = attach_device_program(root.as_fd(), program.unwrap().as_fd()).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::EBADF));
            }
        }
    }
}
