//! A network device of the host moves into a container's network namespace and keeps its addresses.
//!
//! Implements `linux.netDevices` of the OCI runtime specification 1.3 with rtnetlink(7). Moving and renaming is one
//! request, so that the old name never shows up inside. What was moved returns to nobody: the kernel gives physical
//! devices back to the initial namespace when the container's ends, and removes virtual ones.

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;

use crate::attach::{join, on_thread};
use crate::error::Error;
use crate::link::{ADDRESS_HEADER_SIZE, LINK_HEADER_SIZE};
use crate::link::{check_name, link_header, raise};
use crate::socket::{Family, Netlink};
use crate::uapi::*;
use crate::wire::{Request, attribute, attributes, u32_at};

/// An address as the kernel told it: the fixed header and what makes it up.
struct Address {
    family: u8,
    prefix: u8,
    local: Vec<u8>,
    peer: Vec<u8>,
    broadcast: Option<Vec<u8>>,
}

/// Moves the device `name` of this thread's network namespace into `namespace`, gives it `new_name` there (the old
/// one if `None`; `eth%d` lets the kernel choose), puts back its permanent global addresses and raises it.
///
/// # Errors
/// When there is no such device, it cannot leave its namespace, or the name is taken there.
pub fn move_device(name: &str, new_name: Option<&str>, namespace: BorrowedFd<'_>) -> Result<(), Error> {
    let new_name = new_name.unwrap_or(name);
    check_name(name)?;
    check_name(&new_name.replacen("%d", "0", 1))?;
    let host = Netlink::open(Family::Route)?;
    let index = host.interface(name)?;
    let addresses = permanent_addresses(&host, index)?;
    on_thread(|| {
        join(namespace)?;
        let inside = Netlink::open(Family::Route)?;
        // The kernel would leave the device in the namespace under its old name.
        if !new_name.contains('%') && inside.find_interface(new_name)?.is_some() {
            return Err(Error::NameTaken { device: name.to_owned(), name: new_name.to_owned() });
        }
        let before = if new_name.contains('%') { link_indexes(&inside)? } else { Vec::new() };
        move_link(&host, index, name, new_name, namespace)?;
        let index = if new_name.contains('%') {
            let found = link_indexes(&inside)?.into_iter().find(|index| !before.contains(index));
            found.ok_or_else(|| Error::NoInterface { name: new_name.to_owned(), source: Errno::NODEV })?
        } else {
            inside.interface(new_name)?
        };
        restore(&inside, index, new_name, &addresses)
    })
}

fn move_link(
    host: &Netlink,
    index: u32,
    name: &str,
    new_name: &str,
    namespace: BorrowedFd<'_>,
) -> Result<(), Error> {
    let mut request = Request::default();
    request.message(RTM_NEWLINK, NLM_F_ACK, &link_header(index, 0, 0), |a| {
        a.text(IFLA_IFNAME, new_name);
        a.u32(IFLA_NET_NS_FD, namespace.as_raw_fd() as u32);
    });
    host.command(&request, |_| format!("move network device {name} into the container as {new_name}"))
}

fn restore(inside: &Netlink, index: u32, name: &str, addresses: &[Address]) -> Result<(), Error> {
    let mut request = Request::default();
    for address in addresses {
        let [a, b, c, d] = index.to_ne_bytes();
        let header = [address.family, address.prefix, 0, RT_SCOPE_UNIVERSE, a, b, c, d];
        request.message(RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, &header, |a| {
            a.bytes(IFA_LOCAL, &address.local);
            a.bytes(IFA_ADDRESS, &address.peer);
            if let Some(broadcast) = &address.broadcast {
                a.bytes(IFA_BROADCAST, broadcast);
            }
        });
    }
    raise(&mut request, index, NLM_F_ACK);
    inside.command(&request, |step| {
        if step < addresses.len() {
            format!("give network device {name} its addresses back")
        } else {
            format!("raise network device {name} in the container")
        }
    })
}

/// Dynamic and link-local addresses belong to where the device was.
fn permanent_addresses(host: &Netlink, index: u32) -> Result<Vec<Address>, Error> {
    let [a, b, c, d] = index.to_ne_bytes();
    let mut request = Request::default();
    request.message(RTM_GETADDR, NLM_F_DUMP, &[AF_UNSPEC, 0, 0, 0, a, b, c, d], |_| {});
    let mut found = Vec::new();
    host.exchange(&request, |_, answer| {
        let &[family, prefix, short_flags, scope, ..] = answer.payload else { return };
        // Kernels before 4.20 tell of all devices.
        if u32_at(answer.payload, 4) != Some(index) || scope != RT_SCOPE_UNIVERSE {
            return;
        }
        let body = answer.payload.get(ADDRESS_HEADER_SIZE..).unwrap_or_default();
        let flags = attribute(body, IFA_FLAGS).and_then(|value| u32_at(value, 0));
        if flags.unwrap_or(u32::from(short_flags)) & IFA_F_PERMANENT == 0 {
            return;
        }
        let value = |kind| attribute(body, kind).map(<[u8]>::to_vec);
        let Some(peer) = value(IFA_ADDRESS) else { return };
        let local = value(IFA_LOCAL).unwrap_or_else(|| peer.clone());
        found.push(Address { family, prefix, local, peer, broadcast: value(IFA_BROADCAST) });
    })?;
    Ok(found)
}

fn link_indexes(socket: &Netlink) -> Result<Vec<u32>, Error> {
    let mut request = Request::default();
    request.message(RTM_GETLINK, NLM_F_DUMP, &link_header(0, 0, 0), |a| {
        a.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    });
    let mut found = Vec::new();
    socket.exchange(&request, |_, answer| {
        let named = attributes(answer.payload.get(LINK_HEADER_SIZE..).unwrap_or_default())
            .any(|(kind, _)| kind == IFLA_IFNAME);
        found.extend(u32_at(answer.payload, 4).filter(|_| named));
    })?;
    Ok(found)
}
