//! A container's place in a network: its namespace, and the veth pair between that and the bridge.
//!
//! Work inside a namespace is done by a thread that lives no longer than the work, so that no other thread of the
//! program ever changes its namespace. The pair is born in place and goes away with the namespace; nothing is to be
//! detached.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use cais_sys::netns::unshare_network;
use rustix::fs::{Mode, OFlags, open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::bridge::BridgeConfig;
use crate::error::Error;
use crate::link::{self, MacAddress, VethPair};
use crate::socket::{Family, Netlink};
use crate::uapi::{LOOPBACK_INDEX, NLM_F_ACK};
use crate::wire::Request;

/// Enough for what runs on the threads here; the default of 2 MiB only costs page tables.
const STACK_BYTES: usize = 128 * 1024;

/// How one container hangs on a bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its address in the bridge's subnet.
    pub ip: Ipv4Addr,
    /// Its Ethernet address; by default the one that follows from `ip`.
    pub mac: Option<MacAddress>,
    /// Name of the end on the host, see [`host_interface_name`].
    pub host_interface: String,
    /// Name of the end in the container, such as `eth0`.
    pub interface: String,
    /// Set when the container publishes ports: lets it reach itself through them.
    pub reflect: bool,
}

/// A name for the host's end: `vc`, eight characters of the container's id, five digits of `nonce`.
///
/// The nonce must differ from start to start of one container, since the kernel takes down the pair of an ended one
/// in its own time and until then the name is taken.
pub fn host_interface_name(container_id: &str, nonce: u32) -> String {
    let id: String = container_id.chars().filter(char::is_ascii_alphanumeric).take(8).collect();
    format!("vc{id}{:05x}", nonce & 0xf_ffff)
}

/// Makes a network namespace, in which even `lo` is down.
pub fn create_netns() -> Result<OwnedFd, Error> {
    on_thread(|| {
        unshare_network().map_err(|source| Error::Namespace { operation: "create", source })?;
        current_netns()
    })
}

/// Makes a network namespace with `lo` and an interface on the bridge, both up, addressed and with a default route.
///
/// The bridge must be there. On failure nothing stays. All on one thread: see [`create_netns`] and [`attach`].
pub fn create_attached_netns(bridge: &BridgeConfig, attachment: &Attachment) -> Result<OwnedFd, Error> {
    check_names(attachment)?;
    on_thread(|| {
        let host = Netlink::open(Family::Route)?;
        unshare_network().map_err(|source| Error::Namespace { operation: "create", source })?;
        let namespace = current_netns()?;
        plumb(&host, namespace.as_fd(), bridge, attachment)?;
        Ok(namespace)
    })
}

/// Gives an existing network namespace an interface on the bridge; see [`create_attached_netns`].
pub fn attach(
    bridge: &BridgeConfig,
    namespace: BorrowedFd<'_>,
    attachment: &Attachment,
) -> Result<(), Error> {
    check_names(attachment)?;
    on_thread(|| {
        let host = Netlink::open(Family::Route)?;
        join(namespace)?;
        plumb(&host, namespace, bridge, attachment)
    })
}

/// Raises `lo` in a network namespace. Idempotent.
pub fn loopback_up(namespace: BorrowedFd<'_>) -> Result<(), Error> {
    on_thread(|| {
        join(namespace)?;
        let mut request = Request::default();
        link::raise(&mut request, LOOPBACK_INDEX, NLM_F_ACK);
        Netlink::open(Family::Route)?.command(&request, |_| "raise lo".to_owned())
    })
}

fn check_names(attachment: &Attachment) -> Result<(), Error> {
    link::check_name(&attachment.host_interface)?;
    link::check_name(&attachment.interface)
}

/// Connects `namespace`, in which the calling thread is, with the bridge in the namespace of `host`.
fn plumb(
    host: &Netlink,
    namespace: BorrowedFd<'_>,
    bridge: &BridgeConfig,
    attachment: &Attachment,
) -> Result<(), Error> {
    let pair = VethPair {
        host_name: &attachment.host_interface,
        bridge: host.interface(&bridge.name)?,
        mtu: bridge.mtu,
        peer_name: &attachment.interface,
        peer_mac: attachment.mac.unwrap_or_else(|| link::mac_of(attachment.ip)),
        namespace,
    };
    let mut request = Request::default();
    link::create_veth(&mut request, &pair, if attachment.reflect { 0 } else { NLM_F_ACK });
    if attachment.reflect {
        link::reflect_frames(&mut request, pair.host_name);
    }
    let refused = host.exchange(&request, |_, _| {})?.rejections.into_iter().next();
    let made = refused.as_ref().is_none_or(|rejection| rejection.index != 0);
    let result = match refused {
        Some(rejection) => {
            Err(rejection.into_error(|_| format!("connect {} with bridge {}", pair.host_name, bridge.name)))
        }
        None => configure(bridge, attachment).and_then(|()| host.settle(pair.host_name)),
    };
    if result.is_err() && made {
        // The first failure is the one to tell; the pair would go with the namespace anyway.
        let _ = host.delete_interface(pair.host_name);
    }
    result
}

/// Sets up what is inside, in one `sendmsg`: `lo` up, address, interface up, default route.
fn configure(bridge: &BridgeConfig, attachment: &Attachment) -> Result<(), Error> {
    let inside = Netlink::open(Family::Route)?;
    let index = inside.interface(&attachment.interface)?;
    let mut request = Request::default();
    link::raise(&mut request, LOOPBACK_INDEX, 0);
    link::add_address(&mut request, index, attachment.ip, bridge.subnet, 0);
    link::raise(&mut request, index, 0);
    link::add_default_route(&mut request, index, bridge.gateway, NLM_F_ACK);
    inside.command(&request, |step| {
        let (interface, ip) = (&attachment.interface, attachment.ip);
        match step {
            0 => "raise lo in the container".to_owned(),
            1 => format!("give {interface} in the container the address {ip}/{}", bridge.subnet.prefix()),
            2 => format!("raise {interface} in the container"),
            _ => format!("set the container's default route through {}", bridge.gateway),
        }
    })
}

pub(crate) fn join(namespace: BorrowedFd<'_>) -> Result<(), Error> {
    move_into_link_name_space(namespace, Some(LinkNameSpaceType::Network))
        .map_err(|source| Error::Namespace { operation: "join", source })
}

/// The calling thread's network namespace, which lives at least as long as the descriptor.
fn current_netns() -> Result<OwnedFd, Error> {
    open("/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(|source| Error::Namespace { operation: "open", source })
}

/// Does `work` on a thread of its own, which may change its namespace.
pub(crate) fn on_thread<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("cais-net".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, work)
            .map_err(|source: io::Error| Error::Thread { source })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
