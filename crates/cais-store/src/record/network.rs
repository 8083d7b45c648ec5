//! What a request says about the network, and the ports that a run has.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// Where a container's network comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkRequest {
    /// `bridge` as root, `pasta` (or `none` with a warning) rootless.
    #[default]
    Default,
    /// The default bridge.
    Bridge,
    /// Only loopback.
    None,
    /// The host's.
    Host,
    /// That of another container, by name or id.
    Container(String),
    /// User-mode network by `pasta`.
    Pasta,
}

/// Transport protocol of a published port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
}

/// One `-p`, ranges already expanded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortRequest {
    /// `None` = all addresses.
    pub host_ip: Option<IpAddr>,
    /// `None` = a free one.
    pub host_port: Option<u16>,
    /// Port in the container.
    pub container_port: u16,
    /// tcp or udp.
    pub protocol: Protocol,
}

/// A published port in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// `None` = all addresses.
    pub host_ip: Option<IpAddr>,
    /// Chosen or given.
    pub host_port: u16,
    /// Port in the container.
    pub container_port: u16,
    /// tcp or udp.
    pub protocol: Protocol,
}
