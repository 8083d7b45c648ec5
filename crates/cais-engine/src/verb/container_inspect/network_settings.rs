//! `NetworkSettings` of a container's document: addresses and ports in force, empty unless it runs.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Map, Value, json};

use crate::view::ContainerView;
use crate::{NetworkRequest, Protocol, RunFacts};

/// `NetworkSettings`.
pub(super) fn document(view: &ContainerView) -> Value {
    let run = view.run.as_ref().filter(|_| view.is_alive());
    let attachment = Attachment::of(run);
    let mut networks = Map::new();
    if let Some(name) = network_name(&view.record.network) {
        networks.insert(name.to_owned(), attachment.endpoint());
    }
    json!({
        "Bridge": "",
        "SandboxID": "",
        "SandboxKey": run.map(|run| format!("/proc/{}/ns/net", run.pid)).unwrap_or_default(),
        "Ports": run.map_or_else(|| json!({}), |run| ports(&view.record.exposed, run)),
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
        "EndpointID": "",
        "Gateway": attachment.gateway,
        "GlobalIPv6Address": "",
        "GlobalIPv6PrefixLen": 0,
        "IPAddress": attachment.ip,
        "IPPrefixLen": attachment.prefix,
        "IPv6Gateway": "",
        "MacAddress": attachment.mac,
        "Networks": networks,
    })
}

/// The name under which the container's one network is listed; a shared network belongs to the other container.
fn network_name(network: &NetworkRequest) -> Option<&'static str> {
    match network {
        NetworkRequest::Bridge | NetworkRequest::Default => Some("bridge"),
        NetworkRequest::None => Some("none"),
        NetworkRequest::Host => Some("host"),
        NetworkRequest::Pasta => Some("pasta"),
        NetworkRequest::Container(_) => None,
    }
}

/// What both levels of the document repeat.
#[derive(Default)]
struct Attachment {
    ip: String,
    gateway: String,
    prefix: u8,
    mac: String,
}

impl Attachment {
    fn of(run: Option<&RunFacts>) -> Attachment {
        let Some((run, ip)) = run.and_then(|run| Some((run, run.ip?))) else {
            return Attachment::default();
        };
        Attachment {
            ip: ip.to_string(),
            gateway: run.gateway.map(|gateway| gateway.to_string()).unwrap_or_default(),
            prefix: run.prefix,
            mac: run.mac.clone(),
        }
    }

    fn endpoint(&self) -> Value {
        json!({
            "IPAMConfig": null,
            "Links": null,
            "Aliases": null,
            "MacAddress": self.mac,
            "DriverOpts": null,
            "GwPriority": 0,
            "NetworkID": "",
            "EndpointID": "",
            "Gateway": self.gateway,
            "IPAddress": self.ip,
            "IPPrefixLen": self.prefix,
            "IPv6Gateway": "",
            "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0,
            "DNSNames": null,
        })
    }
}

/// `Ports`: every exposed or published port; null where it is only exposed.
fn ports(exposed: &[String], run: &RunFacts) -> Value {
    let mut ports: BTreeMap<String, Value> = exposed.iter().map(|port| (port.clone(), Value::Null)).collect();
    for port in &run.ports {
        let binding = json!({
            "HostIp": port.host_ip.map_or_else(|| "0.0.0.0".to_owned(), |ip: IpAddr| ip.to_string()),
            "HostPort": port.host_port.to_string(),
        });
        match ports.entry(port_key(port.container_port, port.protocol)).or_insert(Value::Null) {
            Value::Array(bindings) => bindings.push(binding),
            other => *other = json!([binding]),
        }
    }
    json!(ports)
}

/// `80/tcp`.
pub(super) fn port_key(port: u16, protocol: Protocol) -> String {
    let protocol = match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    };
    format!("{port}/{protocol}")
}
