//! rtnetlink messages: bridges, veth pairs, addresses, routes (rtnetlink(7), veth(4)).
//!
//! Functions here append to a [`Request`] and touch nothing; the methods at the end ask or act through a [`Netlink`]. The peer of a veth
//! is never `IFF_UP` in the creating message: its driver refuses that with `ENOTCONN` while the pair is half made.

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;

use crate::error::Error;
use crate::socket::Netlink;
use crate::subnet::Subnet;
use crate::uapi::*;
use crate::wire::{Attributes, Request};

/// Size of `struct ifinfomsg`.
pub(crate) const LINK_HEADER_SIZE: usize = 16;
/// Size of `struct ifaddrmsg`.
pub(crate) const ADDRESS_HEADER_SIZE: usize = 8;
/// Size of `struct rtmsg`.
pub(crate) const ROUTE_HEADER_SIZE: usize = 12;

/// An Ethernet address.
pub type MacAddress = [u8; 6];

/// `struct ifinfomsg`: `index` 0 leaves the choice to the name; `flags` are changed where `mask` has a bit.
pub(crate) fn link_header(index: u32, flags: u32, mask: u32) -> [u8; LINK_HEADER_SIZE] {
    let mut header = [0; LINK_HEADER_SIZE];
    header[0] = AF_UNSPEC;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    header[12..16].copy_from_slice(&mask.to_ne_bytes());
    header
}

/// Creates a bridge that is up. Its Ethernet address is given, or else it would change with the first port and
/// containers would send to an address that is no more.
pub(crate) fn create_bridge(request: &mut Request, name: &str, mac: MacAddress) -> usize {
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    request.message(RTM_NEWLINK, flags, &link_header(0, IFF_UP, IFF_UP), |a| {
        a.text(IFLA_IFNAME, name);
        a.bytes(IFLA_ADDRESS, &mac);
        a.nest(IFLA_LINKINFO, |a| a.text(IFLA_INFO_KIND, "bridge"));
    })
}

/// Raises an interface and sets its MTU. On a bridge only a change, not the creation, makes the MTU stay when ports
/// come and go.
pub(crate) fn raise_with_mtu(request: &mut Request, index: u32, mtu: u32) -> usize {
    request.message(RTM_NEWLINK, NLM_F_ACK, &link_header(index, IFF_UP, IFF_UP), |a| a.u32(IFLA_MTU, mtu))
}

/// Raises an interface.
pub(crate) fn raise(request: &mut Request, index: u32, flags: u16) -> usize {
    request.message(RTM_NEWLINK, flags, &link_header(index, IFF_UP, IFF_UP), |_| {})
}

/// A veth pair whose other end is born in another namespace.
#[derive(Debug)]
pub(crate) struct VethPair<'a> {
    /// Name of the end in the socket's namespace; it is a port of `bridge` and up.
    pub(crate) host_name: &'a str,
    /// Index of the bridge.
    pub(crate) bridge: u32,
    pub(crate) mtu: u32,
    /// Name of the end in `namespace`; it is down.
    pub(crate) peer_name: &'a str,
    pub(crate) peer_mac: MacAddress,
    pub(crate) namespace: BorrowedFd<'a>,
}

/// Creates a veth pair in place. Moving a finished device into the namespace instead would wait for two RCU grace
/// periods under the lock that all network set-up takes.
pub(crate) fn create_veth(request: &mut Request, pair: &VethPair<'_>, flags: u16) -> usize {
    let flags = flags | NLM_F_CREATE | NLM_F_EXCL;
    request.message(RTM_NEWLINK, flags, &link_header(0, IFF_UP, IFF_UP), |a| {
        a.text(IFLA_IFNAME, pair.host_name);
        a.u32(IFLA_MTU, pair.mtu);
        a.u32(IFLA_MASTER, pair.bridge);
        a.nest(IFLA_LINKINFO, |a| {
            a.text(IFLA_INFO_KIND, "veth");
            a.nest(IFLA_INFO_DATA, |a| a.nest(VETH_INFO_PEER, |a| peer(a, pair)));
        });
    })
}

fn peer(a: &mut Attributes<'_>, pair: &VethPair<'_>) {
    a.raw(&link_header(0, 0, 0));
    a.text(IFLA_IFNAME, pair.peer_name);
    a.u32(IFLA_MTU, pair.mtu);
    a.bytes(IFLA_ADDRESS, &pair.peer_mac);
    a.u32(IFLA_NET_NS_FD, pair.namespace.as_raw_fd() as u32);
}

/// Lets a bridge port send a frame back to where it came from, which a container needs that connects to its own
/// published port while bridged frames pass netfilter (`net.bridge.bridge-nf-call-iptables`).
pub(crate) fn reflect_frames(request: &mut Request, name: &str) -> usize {
    request.message(RTM_NEWLINK, NLM_F_ACK, &link_header(0, 0, 0), |a| {
        a.text(IFLA_IFNAME, name);
        a.nest(IFLA_LINKINFO, |a| {
            a.text(IFLA_INFO_SLAVE_KIND, "bridge");
            a.nest(IFLA_INFO_SLAVE_DATA, |a| a.u8(IFLA_BRPORT_MODE, 1));
        });
    })
}

/// Asks for one interface, without its counters.
pub(crate) fn ask(request: &mut Request, index: u32, flags: u16) -> usize {
    request.message(RTM_GETLINK, flags, &link_header(index, 0, 0), |a| {
        a.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    })
}

/// Gives an interface an IPv4 address with the route to its subnet.
pub(crate) fn add_address(
    request: &mut Request,
    index: u32,
    ip: Ipv4Addr,
    subnet: Subnet,
    flags: u16,
) -> usize {
    let flags = flags | NLM_F_CREATE | NLM_F_EXCL;
    request.message(RTM_NEWADDR, flags, &address_header(subnet.prefix(), index), |a| {
        a.bytes(IFA_LOCAL, &ip.octets());
        a.bytes(IFA_ADDRESS, &ip.octets());
        a.bytes(IFA_BROADCAST, &subnet.broadcast().octets());
    })
}

/// Asks for the IPv4 addresses of one interface; kernels before 4.20 give those of all.
pub(crate) fn ask_addresses(request: &mut Request, index: u32) -> usize {
    request.message(RTM_GETADDR, NLM_F_DUMP, &address_header(0, index), |_| {})
}

/// `struct ifaddrmsg`.
fn address_header(prefix: u8, index: u32) -> [u8; ADDRESS_HEADER_SIZE] {
    let [a, b, c, d] = index.to_ne_bytes();
    [AF_INET, prefix, 0, RT_SCOPE_UNIVERSE, a, b, c, d]
}

/// Sends everything that is not nearer through `gateway`.
pub(crate) fn add_default_route(request: &mut Request, index: u32, gateway: Ipv4Addr, flags: u16) -> usize {
    let header = [AF_INET, 0, 0, 0, RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST, 0, 0, 0, 0];
    request.message(RTM_NEWROUTE, flags | NLM_F_CREATE | NLM_F_EXCL, &header, |a| {
        a.bytes(RTA_GATEWAY, &gateway.octets());
        a.u32(RTA_OIF, index);
    })
}

/// Asks for all IPv4 routes of all tables.
pub(crate) fn ask_routes(request: &mut Request) -> usize {
    request.message(RTM_GETROUTE, NLM_F_DUMP, &[AF_INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], |_| {})
}

/// The Ethernet address that goes with an IPv4 address: locally administered, as docker forms it.
pub(crate) fn mac_of(ip: Ipv4Addr) -> MacAddress {
    let [a, b, c, d] = ip.octets();
    [0x02, 0x42, a, b, c, d]
}

/// Refuses what the kernel would not take as the name of an interface, and `%`, which it would expand.
pub(crate) fn check_name(name: &str) -> Result<(), Error> {
    let odd =
        |byte: u8| byte == b'/' || byte == b':' || byte == b'%' || byte == 0 || byte.is_ascii_whitespace();
    let valid = (1..INTERFACE_NAME_SIZE).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.bytes().any(odd);
    if valid { Ok(()) } else { Err(Error::InterfaceName { name: name.to_owned() }) }
}

impl Netlink {
    /// The index of an interface in the socket's namespace; `None` when there is none of that name.
    pub(crate) fn find_interface(&self, name: &str) -> Result<Option<u32>, Error> {
        match name_to_index(self, name) {
            Ok(index) => Ok(Some(index)),
            Err(Errno::NODEV) => Ok(None),
            Err(source) => Err(Error::NoInterface { name: name.to_owned(), source }),
        }
    }

    /// Deletes an interface, of a veth pair both ends; that it is not there is fine.
    pub(crate) fn delete_interface(&self, name: &str) -> Result<(), Error> {
        let mut request = Request::default();
        request.message(RTM_DELLINK, NLM_F_ACK, &link_header(0, 0, 0), |a| a.text(IFLA_IFNAME, name));
        match self.exchange(&request, |_, _| {})?.rejections.into_iter().next() {
            Some(rejection) if rejection.errno != Errno::NODEV => {
                Err(rejection.into_error(|_| format!("delete network interface {name}")))
            }
            _ => Ok(()),
        }
    }

    /// Makes the kernel act at once on the carrier that an interface has just got.
    ///
    /// Until it has, the bridge drops what comes from the port. It would do so from a work queue, under load too late
    /// for the container's first packet, whose loss costs a second. To be asked about an interface makes it do so
    /// before it answers (since Linux 6.8; before, this does nothing).
    pub(crate) fn settle(&self, name: &str) -> Result<(), Error> {
        let mut request = Request::default();
        request.message(RTM_GETLINK, NLM_F_ACK, &link_header(0, 0, 0), |a| {
            a.text(IFLA_IFNAME, name);
            a.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
        });
        self.command(&request, |_| format!("look at network interface {name}"))
    }

    /// The index of an interface that must be there.
    pub(crate) fn interface(&self, name: &str) -> Result<u32, Error> {
        self.find_interface(name)?
            .ok_or_else(|| Error::NoInterface { name: name.to_owned(), source: Errno::NODEV })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    /// Little-endian golden of the one message that makes a container's interface, as `strace -e sendmsg ip link add
    /// vc1 up master … type veth peer name eth0 netns …` shows the same attributes.
    #[cfg(target_endian = "little")]
    #[test]
    fn a_veth_pair_is_one_message() {
        let namespace = std::fs::File::open("/dev/null").expect("open");
        let mut request = Request::default();
        let pair = VethPair {
            host_name: "vc1",
            bridge: 9,
            mtu: 1500,
            peer_name: "eth0",
            peer_mac: mac_of(Ipv4Addr::new(10, 88, 0, 2)),
            namespace: namespace.as_fd(),
        };
        create_veth(&mut request, &pair, NLM_F_ACK);
        let fd = namespace.as_raw_fd() as u8;
        #[rustfmt::skip]
        let golden: &[u8] = &[
            // nlmsghdr: RTM_NEWLINK, REQUEST|ACK|EXCL|CREATE
            136, 0, 0, 0, 16, 0, 5, 6, 1, 0, 0, 0, 0, 0, 0, 0,
            // ifinfomsg: IFF_UP
            0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0,
            8, 0, 3, 0, b'v', b'c', b'1', 0,
            8, 0, 4, 0, 0xdc, 5, 0, 0,
            8, 0, 10, 0, 9, 0, 0, 0,
            80, 0, 18, 0x80,
                9, 0, 1, 0, b'v', b'e', b't', b'h', 0, 0, 0, 0,
                64, 0, 2, 0x80,
                    60, 0, 1, 0x80,
                        // ifinfomsg of the peer: not IFF_UP
                        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                        9, 0, 3, 0, b'e', b't', b'h', b'0', 0, 0, 0, 0,
                        8, 0, 4, 0, 0xdc, 5, 0, 0,
                        10, 0, 1, 0, 2, 0x42, 10, 88, 0, 2, 0, 0,
                        8, 0, 28, 0, fd, 0, 0, 0,
        ];
        assert_eq!(request.bytes(), golden);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn addresses_and_routes_have_golden_bytes() {
        let mut request = Request::default();
        let ip = Ipv4Addr::new(10, 88, 0, 2);
        let subnet = Subnet::containing(ip, 16).expect("subnet");
        add_address(&mut request, 2, ip, subnet, 0);
        add_default_route(&mut request, 2, Ipv4Addr::new(10, 88, 0, 1), NLM_F_ACK);
        #[rustfmt::skip]
        let golden: &[u8] = &[
            48, 0, 0, 0, 20, 0, 1, 6, 1, 0, 0, 0, 0, 0, 0, 0,
            2, 16, 0, 0, 2, 0, 0, 0,
            8, 0, 2, 0, 10, 88, 0, 2, 8, 0, 1, 0, 10, 88, 0, 2, 8, 0, 4, 0, 10, 88, 255, 255,
            44, 0, 0, 0, 24, 0, 5, 6, 2, 0, 0, 0, 0, 0, 0, 0,
            2, 0, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0,
            8, 0, 5, 0, 10, 88, 0, 1, 8, 0, 4, 0, 2, 0, 0, 0,
        ];
        assert_eq!(request.bytes(), golden);
    }

    #[test]
    fn interface_names_are_those_of_the_kernel() {
        for good in ["cais0", "a", "vc0123456789abc", "br-x_1.2", "é"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a:b", "a b", "a\tb", "vc%d", "a\0", "vc0123456789abcd"] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
