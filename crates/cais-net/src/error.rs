//! What can go wrong with a container's network, each case naming the operation and its object.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::ports::PortMapping;

/// A failed operation on the network.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel has no such netlink family, or refuses sockets.
    #[error("cannot open a netlink socket for {family}")]
    Socket {
        /// The netlink family.
        family: &'static str,
        /// Why.
        source: Errno,
    },
    /// A request could not be sent, or its answer not be read.
    #[error("cannot exchange netlink messages with {family}")]
    Exchange {
        /// The netlink family.
        family: &'static str,
        /// Why.
        source: Errno,
    },
    /// The kernel took a request and did not say how it ended.
    #[error("{family} did not answer a netlink request")]
    NoAnswer {
        /// The netlink family.
        family: &'static str,
    },
    /// The kernel refused one message.
    #[error("cannot {operation}{hint}")]
    Refused {
        /// What was asked, as verb and object.
        operation: String,
        /// What the kernel added in its own words.
        hint: KernelHint,
        /// Why.
        source: Errno,
    },
    /// nf_tables, or one of the expressions that the rules need, is not in this kernel.
    #[error(
        "cannot {operation}: the kernel lacks it (needs nf_tables with inet NAT, fib and conntrack, Linux 5.2){hint}"
    )]
    Unsupported {
        /// What was asked, as verb and object.
        operation: String,
        /// What the kernel added in its own words.
        hint: KernelHint,
        /// Why.
        source: Errno,
    },
    /// The rules changed under a request again and again.
    #[error("cannot {operation}: other processes kept changing the nftables rules")]
    Contended {
        /// What was asked, as verb and object.
        operation: &'static str,
    },
    /// Another container has published the port.
    #[error("{} is already published{}", .mapping.host(), holder(*.container_ip))]
    PortTaken {
        /// The mapping that was asked for.
        mapping: PortMapping,
        /// The container that has it, unless it went away meanwhile.
        container_ip: Option<Ipv4Addr>,
    },
    /// More ports than one transaction holds.
    #[error("cannot publish {count} ports at once, {limit} is the limit")]
    TooManyPorts {
        /// How many were asked for.
        count: usize,
        /// How many are possible.
        limit: usize,
    },
    /// A kernel setting could not be read or written.
    #[error("cannot set {} to {value}", .path.display())]
    Setting {
        /// File below `/proc/sys`.
        path: PathBuf,
        /// What should be in it.
        value: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// A namespace could not be made, opened or joined.
    #[error("cannot {operation} a network namespace")]
    Namespace {
        /// The verb.
        operation: &'static str,
        /// Why.
        source: Errno,
    },
    /// No thread for work inside a namespace.
    #[error("cannot start a thread for a network namespace")]
    Thread {
        /// Why.
        source: std::io::Error,
    },
    /// A name that no network interface can have.
    #[error("{name:?} cannot be the name of a network interface (1 to 15 bytes, no '/', ':' or white space)")]
    InterfaceName {
        /// The name.
        name: String,
    },
    /// The bridge is missing.
    #[error("there is no network interface {name}")]
    NoInterface {
        /// Its name.
        name: String,
        /// Why.
        source: Errno,
    },
    /// A device cannot move because of its name.
    #[error("move network device {device}: the container has a network interface {name} already")]
    NameTaken {
        /// The device.
        device: String,
        /// Its name in the container.
        name: String,
    },
    /// Something else has the bridge's name.
    #[error("network interface {name} exists and is not a bridge")]
    NotABridge {
        /// Its name.
        name: String,
    },
    /// A subnet or address that cannot be one.
    #[error("{text:?} is not {expected}")]
    Syntax {
        /// What was given.
        text: String,
        /// What it should be.
        expected: &'static str,
    },
    /// `host-gateway` was asked for where there is none.
    #[error("cannot add host {name}: host-gateway needs a network with a gateway")]
    NoHostGateway {
        /// The name that should have got the address.
        name: String,
    },
}

/// The sentence of an extended acknowledgement, empty when the kernel gave none. Printed as ` (sentence)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelHint(pub(crate) Option<String>);

impl fmt::Display for KernelHint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(sentence) => write!(f, " ({sentence})"),
            None => Ok(()),
        }
    }
}

fn holder(container_ip: Option<Ipv4Addr>) -> String {
    container_ip.map_or_else(String::new, |ip| format!(" by the container at {ip}"))
}
