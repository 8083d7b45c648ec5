//! A container's place in the network: an address by lease, the bridge, the veth pair, published ports.
//!
//! A lease is a file named by the address that holds the container's id: made exclusively, so that of two containers
//! one gets the address, without any lock. Which ports are published is in the facts of the run, written before the
//! kernel is told, so that a teardown by id finds them.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use cais_net::attach::{
    Attachment, attach, create_attached_netns, create_netns, host_interface_name, loopback_up,
};
use cais_net::bridge::{BridgeConfig, ensure_bridge};
use cais_net::ports::{Linger, PortMapping, publish, republish, unpublish};
use cais_net::subnet::{DEFAULT_SUBNET, Subnet, choose_subnet};
use cais_net::{MacAddress, Rules};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt};

use crate::{
    ContainerRecord, Engine, Error, ErrorKind, PortRequest, Protocol, PublishedPort, Result, RunFacts,
};

/// A namespace that is ready for the container to join.
pub(crate) struct Attached {
    pub(crate) netns: OwnedFd,
}

/// A port's sockets, bound so that nobody on the host takes the port while it is published.
pub(crate) type PortHolders = Vec<OwnedFd>;

impl Engine {
    /// The default bridge: its subnet is chosen once a boot, so that it collides with no route of the host.
    pub(crate) fn bridge(&self) -> Result<BridgeConfig> {
        let path = self.store.paths().bridge_subnet();
        if let Some(subnet) = std::fs::read_to_string(&path).ok().as_deref().and_then(parse_subnet) {
            return Ok(BridgeConfig::on(subnet));
        }
        let taken = cais_net::host::subnets_in_use(Some("cais0")).map_err(network_error)?;
        let subnet = if taken.iter().any(|t| t.overlaps(&DEFAULT_SUBNET)) {
            choose_subnet(&taken).ok_or_else(|| {
                Error::new(
                    ErrorKind::Conflict,
                    "no free subnet for the default bridge: routes of this host take all",
                )
            })?
        } else {
            DEFAULT_SUBNET
        };
        let text = format!("{}/{}", subnet.base(), subnet.prefix());
        // Exclusive: of two first commands one chooses, the other reads.
        let mut options = OpenOptions::new();
        match options.write(true).create_new(true).open(&path).and_then(|mut f| f.write_all(text.as_bytes()))
        {
            Ok(()) => Ok(BridgeConfig::on(subnet)),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                let chosen = std::fs::read_to_string(&path).ok().as_deref().and_then(parse_subnet);
                Ok(BridgeConfig::on(chosen.unwrap_or(subnet)))
            }
            Err(e) => Err(Error::caused(ErrorKind::System, format!("write {}", path.display()), e)),
        }
    }

    /// Takes an address of the bridge's subnet for a container.
    pub(crate) fn lease(&self, id: &str, bridge: &BridgeConfig) -> Result<Ipv4Addr> {
        let directory = self.store.paths().leases();
        let seed = u64::from_str_radix(&id[..id.len().min(16)], 16).unwrap_or(0);
        for ip in bridge.subnet.candidates(bridge.gateway, seed) {
            match OpenOptions::new().write(true).create_new(true).open(directory.join(ip.to_string())) {
                Ok(mut file) => {
                    file.write_all(id.as_bytes()).map_err(|e| {
                        Error::caused(ErrorKind::System, format!("lease the address {ip}"), e)
                    })?;
                    return Ok(ip);
                }
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Error::caused(ErrorKind::System, format!("lease the address {ip}"), e)),
            }
        }
        Err(Error::new(ErrorKind::Conflict, "no free address left on the default bridge"))
    }

    /// Takes the address that a container had before.
    pub(crate) fn lease_again(&self, id: &str, ip: Ipv4Addr, bridge: &BridgeConfig) -> Result<Ipv4Addr> {
        let refused = |reason: &str| {
            let message = format!("the address {ip} that the container had {reason}");
            Err(Error::new(ErrorKind::Conflict, message).hint("--ignore-static-ip gives it another one"))
        };
        if !bridge.subnet.contains(ip) {
            return refused("is not of the bridge's network here");
        }
        let path = self.store.paths().leases().join(ip.to_string());
        match OpenOptions::new().write(true).create_new(true).open(path) {
            Ok(mut file) => file
                .write_all(id.as_bytes())
                .map(|()| ip)
                .map_err(|e| Error::caused(ErrorKind::System, format!("lease the address {ip}"), e)),
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => refused("is in use"),
            Err(e) => Err(Error::caused(ErrorKind::System, format!("lease the address {ip}"), e)),
        }
    }

    /// Gives a container's address back; one that is another's by now is left alone. Idempotent.
    pub(crate) fn release(&self, id: &str, ip: Ipv4Addr) {
        let path = self.store.paths().leases().join(ip.to_string());
        if std::fs::read_to_string(&path).is_ok_and(|owner| owner == id) {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Puts the container's network namespace, a new one or `netns`, on the bridge and publishes its ports. On failure nothing is published;
    /// the namespace goes with its descriptor.
    pub(crate) fn attach_network(
        &self,
        bridge: &BridgeConfig,
        facts: &RunFacts,
        netns: Option<OwnedFd>,
    ) -> Result<Attached> {
        if ensure_bridge(bridge).map_err(network_error)? == Rules::Written {
            self.publish_again()?;
        }
        let Some(ip) = facts.ip else {
            return Err(Error::new(ErrorKind::System, "no address was leased"));
        };
        let attachment = Attachment {
            ip,
            mac: network_address(&facts.mac),
            host_interface: facts.host_link.clone(),
            interface: "eth0".to_owned(),
            reflect: !facts.ports.is_empty(),
        };
        let netns = match netns {
            Some(netns) => attach(bridge, netns.as_fd(), &attachment).map(|()| netns),
            None => create_attached_netns(bridge, &attachment),
        };
        let netns = netns.map_err(network_error)?;
        if !facts.ports.is_empty() {
            publish(&mappings(facts)).map_err(network_error)?;
        }
        Ok(Attached { netns })
    }

    /// The rules were gone (a firewall was reloaded): puts every running container's ports back.
    fn publish_again(&self) -> Result<()> {
        let ids = std::fs::read_dir(self.store.paths().run_containers())
            .map_err(|e| Error::caused(ErrorKind::System, "list the running containers", e))?;
        let mut all = Vec::new();
        for id in ids.flatten().filter_map(|e| e.file_name().into_string().ok()) {
            if self.store.is_running(&id).unwrap_or(false)
                && let Ok(Some(facts)) = self.store.read_facts(&id)
                && facts.pid != 0
            {
                all.extend(mappings(&facts));
            }
        }
        if all.is_empty() { Ok(()) } else { republish(&all).map_err(network_error) }
    }

    /// Takes a run's ports back. Idempotent.
    ///
    /// What is returned is dropped last: that waits for the kernel.
    pub(crate) fn unpublish(&self, facts: &RunFacts) -> Result<Option<Linger>> {
        let ports = mappings(facts);
        if ports.is_empty() { Ok(None) } else { unpublish(&ports).map(Some).map_err(network_error) }
    }
}

/// A network namespace with nothing but its loopback interface.
pub(crate) fn lonely_namespace() -> Result<OwnedFd> {
    let namespace = create_netns().map_err(network_error)?;
    loopback_up(namespace.as_fd()).map_err(network_error)?;
    Ok(namespace)
}

/// Six bytes in hexadecimal, as `02:42:ac:11:00:02`.
pub(crate) fn network_address(text: &str) -> Option<MacAddress> {
    let mut parts = text.split(':');
    let mut mac = [0; 6];
    for byte in &mut mac {
        *byte = u8::from_str_radix(parts.next().filter(|part| part.len() == 2)?, 16).ok()?;
    }
    parts.next().is_none().then_some(mac)
}

/// The link's name on the host: differs from run to run.
pub(crate) fn link_name(id: &str, started_ns: u64) -> String {
    host_interface_name(id, started_ns as u32)
}

/// Elements of a run's published ports.
pub(crate) fn mappings(facts: &RunFacts) -> Vec<PortMapping> {
    let Some(ip) = facts.ip else { return Vec::new() };
    facts
        .ports
        .iter()
        .map(|port| PortMapping {
            host_ip: match port.host_ip {
                Some(IpAddr::V4(address)) if !address.is_unspecified() => Some(address),
                _ => None,
            },
            host_port: port.host_port,
            container_ip: ip,
            container_port: port.container_port,
            protocol: match port.protocol {
                Protocol::Tcp => cais_net::ports::Protocol::Tcp,
                Protocol::Udp => cais_net::ports::Protocol::Udp,
            },
        })
        .collect()
}

/// Chooses free host ports where none is given and binds them all, so that a taken one is an error now.
pub(crate) fn reserve_ports(record: &ContainerRecord) -> Result<(Vec<PublishedPort>, PortHolders)> {
    let mut wanted: Vec<PortRequest> = record.request.publish.clone();
    if record.request.publish_all {
        for exposed in &record.exposed {
            let Some((port, protocol)) = parse_port(exposed) else { continue };
            if !wanted.iter().any(|w| w.container_port == port && w.protocol == protocol) {
                wanted.push(PortRequest { host_ip: None, host_port: None, container_port: port, protocol });
            }
        }
    }
    let mut ports = Vec::new();
    let mut holders = Vec::new();
    for request in wanted {
        let (holder, host_port) = hold(&request)?;
        holders.push(holder);
        ports.push(PublishedPort {
            host_ip: request.host_ip,
            host_port,
            container_port: request.container_port,
            protocol: request.protocol,
        });
    }
    Ok((ports, holders))
}

/// `80/tcp`.
fn parse_port(text: &str) -> Option<(u16, Protocol)> {
    let (port, protocol) = text.split_once('/')?;
    let protocol = match protocol {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    Some((port.parse().ok()?, protocol))
}

/// Binds a port without listening: connections to it are the container's by the rules before any socket is asked.
fn hold(request: &PortRequest) -> Result<(OwnedFd, u16)> {
    let ip = request.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    let IpAddr::V4(_) = ip else {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("publish on {ip}: IPv6 is not supported yet"),
        ));
    };
    let address = SocketAddr::new(ip, request.host_port.unwrap_or(0));
    let name = |e: std::io::Error| {
        let (port, protocol) = (request.host_port.unwrap_or(0), protocol(request.protocol));
        if e.kind() == std::io::ErrorKind::AddrInUse {
            Error::new(
                ErrorKind::Conflict,
                format!("publish {ip}:{port}/{protocol}: the port is already in use"),
            )
            .hint("stop what listens there, or publish on another port: -p HOSTPORT:CONTAINERPORT")
        } else {
            Error::caused(ErrorKind::System, format!("publish {ip}:{port}/{protocol}"), e)
        }
    };
    let kind = match request.protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let bound = || -> std::io::Result<(OwnedFd, u16)> {
        let socket = socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)?;
        if request.protocol == Protocol::Tcp {
            // A connection that lingers from before is no reason to refuse; a listener is.
            sockopt::set_socket_reuseaddr(&socket, true)?;
        }
        bind(&socket, &address)?;
        let port = SocketAddr::try_from(getsockname(&socket)?)?.port();
        Ok((socket, port))
    };
    bound().map_err(name)
}

fn protocol(protocol: Protocol) -> &'static str {
    crate::verb::create::protocol_name(protocol)
}

fn parse_subnet(text: &str) -> Option<Subnet> {
    let (base, prefix) = text.trim().split_once('/')?;
    Subnet::containing(base.parse().ok()?, prefix.parse().ok()?)
}

/// The network crate's words with a kind.
pub(crate) fn network_error(error: cais_net::Error) -> Error {
    let hint = matches!(error, cais_net::Error::Unsupported { .. })
        .then_some("--network none or host need nothing of that");
    let kind = if matches!(error, cais_net::Error::PortTaken { .. }) {
        ErrorKind::Conflict
    } else {
        ErrorKind::System
    };
    let ours = Error::caused(kind, error.to_string(), error);
    match hint {
        Some(hint) => ours.hint(hint),
        None => ours,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn subnets() {
        assert_eq!(parse_subnet("10.88.0.0/16\n").map(|s| s.prefix()), Some(16));
        assert!(parse_subnet("10.88.0.0").is_none());
    }

    #[test]
    fn exposed_ports() {
        assert_eq!(parse_port("80/tcp"), Some((80, Protocol::Tcp)));
        assert_eq!(parse_port("53/udp"), Some((53, Protocol::Udp)));
        assert_eq!(parse_port("53/sctp"), None);
        assert_eq!(parse_port("99999/tcp"), None);
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_refused() {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("listen");
        let port = listener.local_addr().expect("address").port();
        let request =
            PortRequest { host_ip: None, host_port: Some(port), container_port: 1, protocol: Protocol::Tcp };
        let error = hold(&request).expect_err("taken");
        assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
        let datagrams = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("bind");
        let port = datagrams.local_addr().expect("address").port();
        let request = PortRequest { host_port: Some(port), protocol: Protocol::Udp, ..request };
        assert!(hold(&request).is_err());
        let free = PortRequest { host_port: None, ..request };
        assert!(hold(&free).is_ok_and(|(_, port)| port > 0));
    }
}
