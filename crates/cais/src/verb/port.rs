//! `port`: where published ports are found on the host.

use std::ffi::OsString;

use cais_engine::PublishedPort;
use clap::Args;

use crate::chosen;
use crate::container_row::protocol;
use crate::door::{Door, print_stdout};
use crate::failure::{Failure, Outcome};
use crate::parse::parse;

#[derive(Debug, Args)]
struct PortArgs {
    /// All running containers, each line with an id.
    #[arg(short, long)]
    all: bool,
    /// The container that was created last.
    #[arg(short, long)]
    latest: bool,
    #[arg(num_args = 0..=2)]
    words: Vec<String>,
}

pub(super) fn main(door: &Door, argv: Vec<OsString>) -> Outcome {
    let args: PortArgs = parse(door.spec, argv)?;
    if args.all {
        return all_containers(door, &args);
    }
    let (typed, wanted) = match args.words.as_slice() {
        words if args.latest => (None, words.first()),
        [container, words @ ..] => (Some(container.as_str()), words.first()),
        [] => (None, None),
    };
    let container = chosen::one(door, args.latest, None, typed)?;
    let ports = door.engine()?.container(&container)?.run.map(|run| run.ports).unwrap_or_default();
    let text = match wanted {
        None => all(&ports),
        Some(wanted) => {
            let text = one(&ports, wanted)?;
            if text.is_empty() {
                let message = format!("no public port {wanted:?} published for {container}");
                return Err(Failure::usage(message));
            }
            text
        }
    };
    print_stdout(&text)?;
    Ok(0)
}

/// Podman's form: the short id before each port.
fn all_containers(door: &Door, args: &PortArgs) -> Outcome {
    if args.latest || !args.words.is_empty() {
        return Err(Failure::usage("--all: takes neither names nor --latest"));
    }
    for view in door.engine()?.containers(false)? {
        let id: String = view.record.id.chars().take(12).collect();
        let ports = view.run.map(|run| run.ports).unwrap_or_default();
        for line in all(&ports).lines() {
            print_stdout(&format!("{id}\t{line}\n"))?;
        }
    }
    Ok(0)
}

fn address(port: &PublishedPort) -> String {
    match port.host_ip {
        Some(ip) if ip.is_ipv6() => format!("[{ip}]:{}", port.host_port),
        Some(ip) => format!("{ip}:{}", port.host_port),
        None => format!("0.0.0.0:{}", port.host_port),
    }
}

fn all(ports: &[PublishedPort]) -> String {
    let mut sorted = ports.to_vec();
    sorted.sort_by_key(|port| (port.container_port, port.protocol, port.host_port));
    sorted
        .iter()
        .map(|port| format!("{}/{} -> {}\n", port.container_port, protocol(port.protocol), address(port)))
        .collect()
}

fn one(ports: &[PublishedPort], wanted: &str) -> Result<String, Failure> {
    let (number, name) = wanted.split_once('/').unwrap_or((wanted, "tcp"));
    let number: u16 = number.parse().map_err(|_| Failure::usage(format!("{wanted:?} is not a port")))?;
    let hits = ports.iter().filter(|port| port.container_port == number && protocol(port.protocol) == name);
    Ok(hits.map(|port| format!("{}\n", address(port))).collect())
}

#[cfg(test)]
mod tests {
    use cais_engine::Protocol;

    use super::*;

    #[test]
    fn lists_and_finds() {
        let port = |host_port, container_port, protocol, ip: Option<&str>| PublishedPort {
            host_ip: ip.map(|ip| ip.parse().expect("an address")),
            host_port,
            container_port,
            protocol,
        };
        let ports = [
            port(9000, 90, Protocol::Udp, None),
            port(8080, 80, Protocol::Tcp, Some("127.0.0.1")),
            port(8081, 80, Protocol::Tcp, Some("::1")),
        ];
        assert_eq!(all(&ports), "80/tcp -> 127.0.0.1:8080\n80/tcp -> [::1]:8081\n90/udp -> 0.0.0.0:9000\n");
        assert_eq!(one(&ports, "90/udp").ok().as_deref(), Some("0.0.0.0:9000\n"));
        assert_eq!(one(&ports, "80").ok().as_deref(), Some("127.0.0.1:8080\n[::1]:8081\n"));
        assert_eq!(one(&ports, "90").ok().as_deref(), Some(""));
        assert!(one(&ports, "x").is_err());
    }
}
