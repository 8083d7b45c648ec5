//! The two calls of network namespaces and netlink for which rustix has no safe form.
//!
//! Knows nothing of messages or interfaces: that is `cais-net`. Joining a namespace is
//! `rustix::thread::move_into_link_name_space`, which is safe already.
#![allow(unsafe_code)]

use std::os::fd::{AsFd, AsRawFd};

use rustix::io::Errno;
use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Moves the calling thread, and no other, into a new network namespace (`unshare(CLONE_NEWNET)`, unshare(2)).
///
/// Sockets that the thread already holds stay in their namespace. Needs `CAP_SYS_ADMIN`.
pub fn unshare_network() -> Result<(), Errno> {
    // SAFETY: the hazard of unshare(2) is CLONE_FILES, which gives the thread another descriptor table; NEWNET
    // changes only which network stack this thread's later calls see.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
}

/// A boolean option of a netlink socket (`SOL_NETLINK`, netlink(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetlinkOption {
    /// Errors do not carry back the whole refused message, only its header (since Linux 4.2).
    CapAck,
    /// Errors carry a sentence of the kernel (since Linux 4.12).
    ExtendedAck,
    /// Dump requests are filtered by what their header says, or refused (since Linux 4.20).
    StrictCheck,
}

/// Switches `option` on; `ENOPROTOOPT` where the kernel does not know it.
pub fn enable_netlink_option(socket: impl AsFd, option: NetlinkOption) -> Result<(), Errno> {
    let name = match option {
        NetlinkOption::CapAck => libc::NETLINK_CAP_ACK,
        NetlinkOption::ExtendedAck => libc::NETLINK_EXT_ACK,
        NetlinkOption::StrictCheck => libc::NETLINK_GET_STRICT_CHK,
    };
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is borrowed, hence open, for the whole call; the pointer and length name `on`,
    // which the kernel only reads and which outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_NETLINK,
            name,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    Err(Errno::from_io_error(&error).unwrap_or(Errno::INVAL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketType, socket};

    #[test]
    fn a_netlink_socket_takes_the_options_and_another_does_not() {
        let netlink = socket(AddressFamily::NETLINK, SocketType::RAW, None).expect("netlink");
        for option in [NetlinkOption::CapAck, NetlinkOption::ExtendedAck, NetlinkOption::StrictCheck] {
            assert_eq!(enable_netlink_option(&netlink, option), Ok(()), "{option:?}");
        }
        let unix = socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("unix");
        assert!(enable_netlink_option(&unix, NetlinkOption::CapAck).is_err());
    }

    #[test]
    fn only_the_calling_thread_moves() {
        let link = |thread: &str| std::fs::read_link(format!("/proc/{thread}/ns/net")).expect("readlink");
        let before = link("thread-self");
        let inside =
            std::thread::spawn(move || unshare_network().map(|()| link("thread-self"))).join().expect("join");
        match inside {
            Ok(inside) => assert_ne!(inside, before),
            Err(Errno::PERM) => println!("skipped: needs CAP_SYS_ADMIN"),
            Err(error) => panic!("unshare: {error}"),
        }
        assert_eq!(link("thread-self"), before);
    }
}
