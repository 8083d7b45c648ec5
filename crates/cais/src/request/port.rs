//! `-p` and `--expose`: `[[ip:][host]:]container[/protocol]`, each port or a range.

use std::net::IpAddr;

use cais_engine::{PortRequest, Protocol};

use super::Result;
use crate::failure::Failure;

/// Published ports, ranges expanded.
///
/// # Errors
/// For what is no port.
pub fn publish(texts: &[String]) -> Result<Vec<PortRequest>> {
    let mut ports = Vec::new();
    for text in texts {
        let found = published(text).map_err(|reason| Failure::usage(format!("--publish: {reason}")))?;
        ports.extend(found);
    }
    Ok(ports)
}

/// Exposed ports as `port/protocol`, ranges expanded.
pub(super) fn expose(texts: &[String]) -> Result<Vec<String>> {
    let mut ports = Vec::new();
    for text in texts {
        let fail = |reason: String| Failure::usage(format!("--expose: {reason}"));
        if text.contains(':') {
            return Err(fail(format!("invalid port {text:?}: use -p to publish it")));
        }
        let (range, name) = split_protocol(text).map_err(fail)?;
        let (first, last) = parse_range(range).map_err(fail)?;
        ports.extend((first..=last).map(|port| format!("{port}/{name}")));
    }
    Ok(ports)
}

type Parsed<T> = std::result::Result<T, String>;

fn published(text: &str) -> Parsed<Vec<PortRequest>> {
    let (rest, name) = split_protocol(text)?;
    let protocol = if name == "udp" { Protocol::Udp } else { Protocol::Tcp };
    if rest.starts_with('[') || rest.matches(':').count() > 2 {
        return Err(format!("{text}: publishing on IPv6 addresses is not supported yet"));
    }
    let parts: Vec<&str> = rest.split(':').collect();
    let (ip, host, container) = match parts[..] {
        [container] => ("", "", container),
        [host, container] => ("", host, container),
        [ip, host, container] => (ip, host, container),
        _ => return Err(format!("invalid port {text:?}")),
    };
    if container.is_empty() {
        return Err(format!("{text}: the port of the container is missing"));
    }
    let host_ip = match ip {
        "" | "0.0.0.0" => None,
        ip => Some(ip.parse::<IpAddr>().map_err(|_| format!("{text}: {ip:?} is not an IP address"))?),
    };
    let (first, last) = parse_range(container).map_err(|reason| format!("{text}: {reason}"))?;
    let hosts = match host {
        "" | "0" => None,
        host => Some(parse_range(host).map_err(|reason| format!("{text}: {reason}"))?),
    };
    if let Some((low, high)) = hosts
        && high - low != last - first
    {
        return Err(match first == last {
            true => format!("{text}: choosing one of a range of host ports is not supported yet"),
            false => format!("{text}: the ranges of host and container differ in length"),
        });
    }
    let ports = (first..=last).map(|port| PortRequest {
        host_ip,
        host_port: hosts.map(|(low, _)| low + (port - first)),
        container_port: port,
        protocol,
    });
    Ok(ports.collect())
}

fn split_protocol(text: &str) -> Parsed<(&str, &'static str)> {
    let (rest, name) = text.rsplit_once('/').unwrap_or((text, "tcp"));
    match name.to_ascii_lowercase().as_str() {
        "tcp" => Ok((rest, "tcp")),
        "udp" => Ok((rest, "udp")),
        "sctp" => Err(format!("{text}: SCTP is not supported yet")),
        _ => Err(format!("{text}: unknown protocol {name:?}: use tcp or udp")),
    }
}

/// `80` or `80-90`, each 1 to 65535.
fn parse_range(text: &str) -> Parsed<(u16, u16)> {
    let port = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse::<u16>().ok().filter(|port| digits && *port > 0);
        number.ok_or_else(|| format!("{text:?} is not a port (1 to 65535)"))
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if first > last { Err(format!("the range {text} ends before it begins")) } else { Ok((first, last)) }
}
