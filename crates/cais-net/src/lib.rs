//! Network of containers: namespace, bridge, veth, addresses, nftables, ports, name files; netlink only.
//!
//! - [`bridge::ensure_bridge`] before anything else; it costs little when nothing is to be done.
//! - [`attach::create_attached_netns`] makes the namespace that a container joins; it goes away with the container.
//! - [`device::move_device`] brings a device of the host into a namespace.
//! - [`ports::publish`] and [`ports::unpublish`] change elements of nftables maps, never rules.
//! - [`resolv`] and [`hosts`] give the contents of `/etc/resolv.conf` and `/etc/hosts`.
//!
//! Invariants: no program is executed; no thread of the caller changes its namespace; nothing is stored (which subnet
//! and which addresses are in use is the engine's record); nothing waits, except for the kernel's own locks. IPv4 so
//! far. Rootless containers have no bridge and need only the last two modules.

pub mod attach;
pub mod bridge;
pub mod device;
mod error;
mod flows;
pub mod host;
pub mod hosts;
mod link;
mod nft;
pub mod ports;
pub mod resolv;
mod ruleset;
mod socket;
pub mod subnet;
mod uapi;
mod wire;

pub use error::{Error, KernelHint};
pub use link::MacAddress;
pub use ruleset::Rules;
