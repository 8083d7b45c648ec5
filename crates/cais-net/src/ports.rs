//! Published ports: elements of the two maps in our nftables table, and nothing else.
//!
//! Publishing is one transaction for all ports of a container and costs the same however many there are already. A
//! port on one address and the same port on all addresses are different elements; the one with the address wins.
//! Knows nothing of who listens: a program on the host that has the port itself is no longer reached through it.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use rustix::io::Errno;

use crate::error::Error;
use crate::flows;
use crate::nft::{self, Batch, Element, NF_HEADER_SIZE};
use crate::ruleset::{PORTS_ADDRESS, PORTS_ANY, TABLE};
use crate::socket::{Family, Netlink, Outcome};
use crate::uapi::*;
use crate::wire::{Answer, Request, attribute, attributes};

/// All ports of both protocols; a transaction of that size has some 12 MiB.
const PORTS_AT_ONCE: usize = 2 * 65536;
/// How many elements one round trip asks for, so that the answers fit into a socket's buffer.
const ASKED_AT_ONCE: usize = 32;
/// How often a transaction is tried again because the rules changed under it, or a dump because it met a change.
const ATTEMPTS: usize = 64;

/// A protocol that has ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// Its number in an IP header.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        [Self::Tcp, Self::Udp].into_iter().find(|protocol| protocol.number() == number)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl FromStr for Protocol {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "tcp" => Ok(Self::Tcp),
            "udp" => Ok(Self::Udp),
            _ => Err(Error::Syntax { text: text.to_owned(), expected: "a protocol (tcp or udp)" }),
        }
    }
}

/// A port of the host that leads to a port of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortMapping {
    /// The one address of the host, or all of them.
    pub host_ip: Option<Ipv4Addr>,
    /// The port there.
    pub host_port: u16,
    /// The container's address.
    pub container_ip: Ipv4Addr,
    /// The port there.
    pub container_port: u16,
    /// TCP or UDP.
    pub protocol: Protocol,
}

impl PortMapping {
    /// The host's side, printed as `0.0.0.0:8080/tcp`.
    pub fn host(&self) -> impl fmt::Display + use<> {
        let Self { host_ip, host_port, protocol, .. } = *self;
        let ip = host_ip.unwrap_or(Ipv4Addr::UNSPECIFIED);
        format!("{ip}:{host_port}/{protocol}")
    }

    /// The map it is in and its key there.
    fn place(&self) -> Place {
        let [high, low] = self.host_port.to_be_bytes();
        let port = [self.protocol.number(), 0, 0, 0, high, low, 0, 0];
        match self.host_ip.filter(|ip| !ip.is_unspecified()) {
            None => Place { map: PORTS_ANY, key: port.to_vec() },
            Some(ip) => Place { map: PORTS_ADDRESS, key: [&ip.octets()[..], &port].concat() },
        }
    }

    /// What the map has for the key.
    fn target(&self) -> Target {
        let [a, b, c, d] = self.container_ip.octets();
        let [high, low] = self.container_port.to_be_bytes();
        [a, b, c, d, high, low, 0, 0]
    }

    /// The mapping that an element stands for.
    fn from_element(key: &[u8], data: &[u8]) -> Option<Self> {
        let (host_ip, port) = match key.len() {
            8 => (None, key),
            12 => (Some(ipv4(key)?), &key[4..]),
            _ => return None,
        };
        Some(Self {
            host_ip,
            host_port: u16::from_be_bytes([port[4], port[5]]),
            container_ip: ipv4(data)?,
            container_port: u16::from_be_bytes([*data.get(4)?, *data.get(5)?]),
            protocol: Protocol::from_number(port[0])?,
        })
    }
}

impl fmt::Display for PortMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}:{}", self.host(), self.container_ip, self.container_port)
    }
}

/// The data of an element: container address and port, each in a register of its own.
type Target = [u8; 8];

#[derive(Debug)]
struct Place {
    map: &'static str,
    key: Vec<u8>,
}

/// Publishes all of `ports`, or none: one that is taken, by whichever container, is [`Error::PortTaken`].
///
/// The rules must be there ([`crate::bridge::ensure_bridge`]).
pub fn publish(ports: &[PortMapping]) -> Result<(), Error> {
    add(ports, NLM_F_EXCL)
}

/// Publishes all of `ports`, or none; those that lead to the same place already are fine. For ports of running
/// containers after the rules were lost, when other processes may be doing the same.
pub fn republish(ports: &[PortMapping]) -> Result<(), Error> {
    add(ports, 0)
}

/// Takes back those of `ports` that lead to the container address and port given with them. Idempotent.
///
/// They are taken back, and free for others, on return; what is returned only puts off a wait.
pub fn unpublish(ports: &[PortMapping]) -> Result<Linger, Error> {
    let Some(netfilter) = prepare(ports)? else { return Ok(Linger(None)) };
    take_back(&netfilter, ports)?;
    flows::forget(&netfilter, ports, &[])?;
    Ok(Linger(Some(netfilter)))
}

/// The socket through which ports were taken back. Drop it last.
///
/// Closing it waits until the kernel has freed what was deleted, some 4 to 20 ms (an RCU grace period) from the
/// deletion on; whatever else is to be torn down can be so meanwhile.
#[derive(Debug)]
#[must_use = "dropping it at once waits for the kernel"]
pub struct Linger(#[expect(dead_code, reason = "held open, not used")] Option<Netlink>);

fn take_back(netfilter: &Netlink, ports: &[PortMapping]) -> Result<(), Error> {
    for attempt in 1..=ATTEMPTS {
        let (generation, targets) = look_up(netfilter, ports)?;
        let ours: Vec<_> =
            ports.iter().zip(&targets).filter(|(port, target)| **target == Some(port.target())).collect();
        if ours.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new(TABLE, Some(generation));
        for (place, (port, _)) in (1..).zip(&ours) {
            let Place { map, key } = port.place();
            let flags = if place == ours.len() { NLM_F_ACK } else { 0 };
            batch.remove_element(map, &Element { key: &key, data: None, interval_end: false }, flags);
        }
        match netfilter.exchange(&batch.finish(), |_, _| {})?.rejections.into_iter().next() {
            None => return Ok(()),
            // Something changed between question and deletion: the port may be another container's by now.
            Some(rejection)
                if matches!(rejection.errno, Errno::RESTART | Errno::NOENT) && attempt < ATTEMPTS => {}
            Some(rejection) if rejection.errno == Errno::RESTART => break,
            Some(rejection) => {
                return Err(rejection.into_error(|index| match ours.get(index.wrapping_sub(1)) {
                    Some((port, _)) => format!("unpublish {port}"),
                    None => "unpublish ports".to_owned(),
                }));
            }
        }
    }
    Err(Error::Contended { operation: "unpublish ports" })
}

/// All published ports, in order; empty when the rules are not there.
pub fn list_published() -> Result<Vec<PortMapping>, Error> {
    let netfilter = Netlink::open(Family::Netfilter)?;
    let mut ports = Vec::new();
    for map in [PORTS_ADDRESS, PORTS_ANY] {
        ports.extend(dump(&netfilter, map)?);
    }
    ports.sort_unstable();
    Ok(ports)
}

fn add(ports: &[PortMapping], flags: u16) -> Result<(), Error> {
    let Some(netfilter) = prepare(ports)? else { return Ok(()) };
    let mut batch = Batch::new(TABLE, None);
    for (place, port) in (1..).zip(ports) {
        let Place { map, key } = port.place();
        let ack = if place == ports.len() { NLM_F_ACK } else { 0 };
        let element = Element { key: &key, data: Some(&port.target()), interval_end: false };
        batch.add_element(map, &element, flags | ack);
    }
    let Some(rejection) = netfilter.exchange(&batch.finish(), |_, _| {})?.rejections.into_iter().next()
    else {
        return flows::forget(&netfilter, &[], ports);
    };
    // Message 0 begins the batch.
    let port = ports.get(rejection.index.wrapping_sub(1));
    match (rejection.errno, port) {
        (Errno::EXIST | Errno::BUSY, Some(port)) => {
            let (_, targets) = look_up(&netfilter, std::slice::from_ref(port))?;
            let container_ip = targets.into_iter().flatten().next().and_then(|target| ipv4(&target));
            Err(Error::PortTaken { mapping: *port, container_ip })
        }
        _ => Err(rejection.into_error(|_| match port {
            Some(port) => format!("publish {port}"),
            None => "publish ports".to_owned(),
        })),
    }
}

fn prepare(ports: &[PortMapping]) -> Result<Option<Netlink>, Error> {
    if ports.len() > PORTS_AT_ONCE {
        return Err(Error::TooManyPorts { count: ports.len(), limit: PORTS_AT_ONCE });
    }
    if ports.is_empty() { Ok(None) } else { Netlink::open(Family::Netfilter).map(Some) }
}

/// The generation of the rules, and where each of `ports` led no earlier than then.
fn look_up(netfilter: &Netlink, ports: &[PortMapping]) -> Result<(u32, Vec<Option<Target>>), Error> {
    let mut generation = None;
    let mut targets = Vec::with_capacity(ports.len());
    for chunk in ports.chunks(ASKED_AT_ONCE) {
        let mut request = Request::default();
        nft::ask_generation(&mut request);
        for (place, port) in (1..).zip(chunk) {
            let Place { map, key } = port.place();
            let flags = if place == chunk.len() { NLM_F_ACK } else { 0 };
            nft::ask_element(&mut request, TABLE, map, &key, flags);
        }
        let first = targets.len();
        targets.resize(first + chunk.len(), None);
        let outcome = netfilter.exchange(&request, |index, answer| {
            if is(&answer, NFT_MSG_NEWGEN) {
                let id = attribute(answer.payload.get(NF_HEADER_SIZE..).unwrap_or_default(), NFTA_GEN_ID);
                generation = generation.or(id.and_then(|id| Some(u32::from_be_bytes(id.try_into().ok()?))));
            } else if let Some(target) = index.checked_sub(1).and_then(|place| targets.get_mut(first + place))
            {
                *target = elements(&answer).filter_map(|(_, data)| data.try_into().ok()).next();
            }
        })?;
        check_reading(outcome)?;
    }
    // A kernel that does not tell its generation accepts 0 as "whichever".
    Ok((generation.unwrap_or(0), targets))
}

/// Dumps a map until two dumps agree: while the kernel's hash table grows or shrinks after a large transaction, a dump
/// misses and repeats elements without a word about it.
fn dump(netfilter: &Netlink, map: &str) -> Result<Vec<PortMapping>, Error> {
    let mut previous = None;
    for _ in 0..ATTEMPTS {
        let mut request = Request::default();
        nft::ask_elements(&mut request, TABLE, map);
        let mut ports = Vec::new();
        let outcome = netfilter.exchange(&request, |_, answer| {
            ports.extend(elements(&answer).filter_map(|(key, data)| PortMapping::from_element(key, data)));
        })?;
        if outcome.interrupted {
            continue;
        }
        check_reading(outcome)?;
        ports.sort_unstable();
        if ports.is_empty() || previous.as_ref() == Some(&ports) {
            return Ok(ports);
        }
        previous = Some(ports);
    }
    Err(Error::Contended { operation: "list published ports" })
}

fn check_reading(outcome: Outcome) -> Result<(), Error> {
    match outcome.rejections.into_iter().find(|rejection| rejection.errno != Errno::NOENT) {
        Some(rejection) => Err(rejection.into_error(|_| "read published ports".to_owned())),
        None => Ok(()),
    }
}

fn is(answer: &Answer<'_>, kind: u16) -> bool {
    answer.kind == kind | NFNL_SUBSYS_NFTABLES << 8
}

/// Keys and data in an answer about a map.
fn elements<'a>(answer: &Answer<'a>) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
    let relevant = is(answer, NFT_MSG_NEWSETELEM);
    answer
        .attributes(NF_HEADER_SIZE)
        .filter(move |(kind, _)| relevant && *kind == NFTA_SET_ELEM_LIST_ELEMENTS)
        .flat_map(|(_, list)| attributes(list))
        .filter_map(|(_, element)| {
            let value = |kind| attribute(attribute(element, kind)?, NFTA_DATA_VALUE);
            Some((value(NFTA_SET_ELEM_KEY)?, value(NFTA_SET_ELEM_DATA)?))
        })
}

fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    bytes.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(host_ip: Option<Ipv4Addr>) -> PortMapping {
        PortMapping {
            host_ip,
            host_port: 8080,
            container_ip: Ipv4Addr::new(10, 88, 0, 7),
            container_port: 80,
            protocol: Protocol::Udp,
        }
    }

    #[test]
    fn keys_and_data_fill_whole_registers() {
        let any = mapping(None);
        assert_eq!(any.place().key, [17, 0, 0, 0, 0x1f, 0x90, 0, 0]);
        assert_eq!((any.place().map, any.target()), ("ports_any", [10, 88, 0, 7, 0, 80, 0, 0]));
        let one = mapping(Some(Ipv4Addr::LOCALHOST));
        assert_eq!(one.place().key, [127, 0, 0, 1, 17, 0, 0, 0, 0x1f, 0x90, 0, 0]);
        assert_eq!(one.place().map, "ports_address");
        assert_eq!(mapping(Some(Ipv4Addr::UNSPECIFIED)).place().key, any.place().key);
    }

    #[test]
    fn elements_are_read_back_and_foreign_ones_are_not() {
        for mapping in [mapping(None), mapping(Some(Ipv4Addr::new(192, 0, 2, 1)))] {
            assert_eq!(PortMapping::from_element(&mapping.place().key, &mapping.target()), Some(mapping));
        }
        let data = mapping(None).target();
        assert_eq!(PortMapping::from_element(&[132, 0, 0, 0, 0, 80, 0, 0], &data), None, "sctp");
        assert_eq!(PortMapping::from_element(&[6, 0, 0], &data), None);
        assert_eq!(PortMapping::from_element(&[6, 0, 0, 0, 0, 80, 0, 0], &data[..5]), None);
    }

    #[test]
    fn prints_as_people_write_it() {
        assert_eq!(mapping(None).to_string(), "0.0.0.0:8080/udp -> 10.88.0.7:80");
        let taken =
            Error::PortTaken { mapping: mapping(None), container_ip: Some(Ipv4Addr::new(10, 88, 0, 9)) };
        assert_eq!(taken.to_string(), "0.0.0.0:8080/udp is already published by the container at 10.88.0.9");
    }
}
