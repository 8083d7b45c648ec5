//! The bridge of a network: made when missing, found present in a few round trips otherwise.
//!
//! Everything here may be done by many processes at once and again and again. Deleting is for `system reset` and
//! repair only; containers come and go without it.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::error::Error;
use crate::link;
use crate::ruleset::{self, NetworkElements, Rules};
use crate::socket::{Family, Netlink};
use crate::subnet::{DEFAULT_SUBNET, Subnet};
use crate::uapi::{
    IFA_LOCAL, IFF_UP, IFLA_INFO_KIND, IFLA_LINKINFO, IFLA_MTU, NLM_F_ACK, RTM_NEWADDR, RTM_NEWLINK,
};
use crate::wire::{Answer, Request, attribute, u32_at};

/// A network that is a bridge on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BridgeConfig {
    /// Name of the bridge interface, at most 15 bytes.
    pub name: String,
    /// Where the containers' addresses come from.
    pub subnet: Subnet,
    /// The bridge's own address, through which containers reach everything else.
    pub gateway: Ipv4Addr,
    /// Largest packet in bytes, for the bridge and for containers.
    pub mtu: u32,
}

impl BridgeConfig {
    /// The default network `cais0` on `subnet`, with its first address as gateway and an MTU of 1500.
    pub fn on(subnet: Subnet) -> Self {
        Self { name: "cais0".to_owned(), subnet, gateway: subnet.first_host(), mtu: 1500 }
    }

    fn elements(&self) -> NetworkElements<'_> {
        NetworkElements { bridge: &self.name, subnet: self.subnet }
    }
}

impl Default for BridgeConfig {
    fn default() -> Self {
        Self::on(DEFAULT_SUBNET)
    }
}

/// Sees to it that the bridge is there, up and addressed, that the kernel forwards, and that the rules know it.
///
/// Idempotent. On [`Rules::Written`] no port is published any more, and the caller publishes those of all running
/// containers again ([`crate::ports::republish`]). Needs `CAP_NET_ADMIN`.
pub fn ensure_bridge(config: &BridgeConfig) -> Result<Rules, Error> {
    link::check_name(&config.name)?;
    let route = Netlink::open(Family::Route)?;
    let changed = ensure_link(&route, config)?;
    // Before any rule lets traffic in: with this setting off, loopback's packets to containers are refused.
    set("/proc/sys/net/ipv4/conf".into(), &[&config.name, "route_localnet"])?;
    set("/proc/sys/net/ipv4".into(), &["ip_forward"])?;
    ruleset::ensure(&Netlink::open(Family::Netfilter)?, config.elements(), changed)
}

/// Deletes the bridge, which cuts its containers off, and its elements in the rules. Idempotent.
pub fn remove_bridge(config: &BridgeConfig) -> Result<(), Error> {
    delete_link(&config.name)?;
    ruleset::remove_network(&Netlink::open(Family::Netfilter)?, config.elements())
}

/// Deletes all rules of all networks, and with them all published ports. Idempotent.
pub fn remove_rules() -> Result<(), Error> {
    ruleset::remove_table(&Netlink::open(Family::Netfilter)?)
}

/// Deletes an interface; that it is not there is fine. Takes some 20 ms, which is why nothing but repair does it: a
/// container's interface goes with its namespace.
pub fn delete_link(name: &str) -> Result<(), Error> {
    link::check_name(name)?;
    Netlink::open(Family::Route)?.delete_interface(name)
}

/// True when something about the interface had to be changed.
fn ensure_link(route: &Netlink, config: &BridgeConfig) -> Result<bool, Error> {
    let name = &config.name;
    if let Some(index) = route.find_interface(name)?
        && let Some(found) = inspect(route, index, config)?
    {
        if !found.is_bridge {
            return Err(Error::NotABridge { name: name.clone() });
        }
        if found.up && found.addressed && found.mtu == Some(config.mtu) {
            return Ok(false);
        }
    } else {
        let mut request = Request::default();
        link::create_bridge(&mut request, name, link::mac_of(config.gateway));
        existing_is_fine(route, &request, || format!("create bridge {name}"))?;
    }
    let index = route.interface(name)?;
    let mut request = Request::default();
    link::raise_with_mtu(&mut request, index, config.mtu);
    link::add_address(&mut request, index, config.gateway, config.subnet, NLM_F_ACK);
    existing_is_fine(route, &request, || {
        format!(
            "give bridge {name} the address {}/{} and an MTU of {}",
            config.gateway,
            config.subnet.prefix(),
            config.mtu
        )
    })?;
    Ok(true)
}

fn existing_is_fine(route: &Netlink, request: &Request, operation: impl Fn() -> String) -> Result<(), Error> {
    let rejections = route.exchange(request, |_, _| {})?.rejections;
    match rejections.into_iter().find(|rejection| rejection.errno != Errno::EXIST) {
        Some(rejection) => Err(rejection.into_error(|_| operation())),
        None => Ok(()),
    }
}

#[derive(Debug, Default)]
struct FoundLink {
    is_bridge: bool,
    up: bool,
    mtu: Option<u32>,
    addressed: bool,
}

/// What is at `index`; `None` when it went away meanwhile.
fn inspect(route: &Netlink, index: u32, config: &BridgeConfig) -> Result<Option<FoundLink>, Error> {
    let mut request = Request::default();
    link::ask(&mut request, index, 0);
    link::ask_addresses(&mut request, index);
    let mut found = FoundLink::default();
    let outcome = route.exchange(&request, |_, answer| match answer.kind {
        RTM_NEWLINK => read_link(&answer, &mut found),
        RTM_NEWADDR => {
            let header = answer.payload;
            let address = attribute(header.get(link::ADDRESS_HEADER_SIZE..).unwrap_or_default(), IFA_LOCAL);
            found.addressed |= u32_at(header, 4) == Some(index)
                && header.get(1) == Some(&config.subnet.prefix())
                && address == Some(&config.gateway.octets()[..]);
        }
        _ => {}
    })?;
    match outcome.rejections.into_iter().next() {
        None => Ok(Some(found)),
        Some(rejection) if rejection.errno == Errno::NODEV => Ok(None),
        Some(rejection) => {
            Err(rejection.into_error(|_| format!("look at network interface {}", config.name)))
        }
    }
}

fn read_link(answer: &Answer<'_>, found: &mut FoundLink) {
    found.up = u32_at(answer.payload, 8).is_some_and(|flags| flags & IFF_UP != 0);
    for (kind, value) in answer.attributes(link::LINK_HEADER_SIZE) {
        match kind {
            IFLA_MTU => found.mtu = u32_at(value, 0),
            IFLA_LINKINFO => found.is_bridge = attribute(value, IFLA_INFO_KIND) == Some(&b"bridge\0"[..]),
            _ => {}
        }
    }
}

/// Writes 1 to a kernel setting that is 0. One that is read-only and has the value already is fine.
fn set(mut path: PathBuf, parts: &[&str]) -> Result<(), Error> {
    path.extend(parts);
    let write = || -> io::Result<()> {
        if fs::read(&path)?.first() == Some(&b'0') { fs::write(&path, "1") } else { Ok(()) }
    };
    write().map_err(|source| Error::Setting { path: path.clone(), value: "1", source })
}
