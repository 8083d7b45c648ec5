//! The contents of a container's `/etc/hosts` (hosts(5)). Pure.
//!
//! Resolvers take the first line with a name, so what the user added stands before what we add.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use crate::error::Error;

/// Names under which containers find the host.
const HOST_NAMES: [&str; 2] = ["host.docker.internal", "host.containers.internal"];

const LOOPBACK: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
                        fe00::\tip6-localnet\nff00::\tip6-mcastprefix\n\
                        ff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n";

/// An address given to a name by the user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostAddress {
    /// This one.
    Ip(IpAddr),
    /// `host-gateway`: the one under which the container reaches the host.
    Gateway,
}

/// A line that the user asks for (`--add-host`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtraHost {
    /// The name.
    pub name: String,
    /// Its address.
    pub address: HostAddress,
}

impl FromStr for ExtraHost {
    type Err = Error;

    /// Reads `NAME:ADDRESS` or `NAME=ADDRESS`; the address is IPv4, IPv6 (also in brackets) or `host-gateway`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let syntax =
            || Error::Syntax { text: text.to_owned(), expected: "NAME:ADDRESS or NAME:host-gateway" };
        let (name, address) = text.split_once(['=', ':']).ok_or_else(syntax)?;
        if name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '#') {
            return Err(syntax());
        }
        let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
        let address = match bare {
            "host-gateway" => HostAddress::Gateway,
            _ => HostAddress::Ip(bare.parse().map_err(|_| syntax())?),
        };
        Ok(Self { name: name.to_owned(), address })
    }
}

/// What a container's hosts file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostsFile<'a> {
    /// The container's own address, if it has one.
    pub ip: Option<Ipv4Addr>,
    /// Its host name.
    pub hostname: &'a str,
    /// Further names of it, such as its own name and the domain name.
    pub aliases: &'a [String],
    /// What the user added, in order.
    pub extra: &'a [ExtraHost],
    /// Where the container reaches the host, if it does.
    pub gateway: Option<Ipv4Addr>,
}

impl HostsFile<'_> {
    /// Renders the file; fails only when `host-gateway` is asked for and there is no gateway.
    pub fn render(&self) -> Result<String, Error> {
        let mut text = LOOPBACK.to_owned();
        let mut line = |address: &dyn std::fmt::Display, names: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{address}\t{names}");
        };
        for ExtraHost { name, address } in self.extra {
            match (address, self.gateway) {
                (HostAddress::Ip(ip), _) => line(ip, name),
                (HostAddress::Gateway, Some(gateway)) => line(&gateway, name),
                (HostAddress::Gateway, None) => return Err(Error::NoHostGateway { name: name.clone() }),
            }
        }
        if let Some(gateway) = self.gateway {
            let names: Vec<_> = HOST_NAMES
                .into_iter()
                .filter(|name| self.extra.iter().all(|extra| extra.name != **name))
                .collect();
            if !names.is_empty() {
                line(&gateway, &names.join(" "));
            }
        }
        // Without a network of its own a container still finds itself under its name.
        let own = self.ip.unwrap_or(Ipv4Addr::LOCALHOST);
        let mut names = vec![self.hostname];
        for alias in self.aliases {
            if !alias.is_empty() && !names.contains(&alias.as_str()) {
                names.push(alias);
            }
        }
        names.retain(|name| !name.is_empty());
        if !names.is_empty() {
            line(&own, &names.join(" "));
        }
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extra(text: &str) -> ExtraHost {
        text.parse().expect(text)
    }

    #[test]
    fn a_container_on_a_bridge() {
        let file = HostsFile {
            ip: Some(Ipv4Addr::new(10, 88, 0, 2)),
            hostname: "web",
            aliases: &["web.example".to_owned(), "web".to_owned(), String::new()],
            extra: &[extra("db:192.0.2.7"), extra("v6=[2001:db8::1]"), extra("host:host-gateway")],
            gateway: Some(Ipv4Addr::new(10, 88, 0, 1)),
        };
        let text = file.render().expect("render");
        assert_eq!(
            text.strip_prefix(LOOPBACK).expect("loopback lines come first"),
            "192.0.2.7\tdb\n2001:db8::1\tv6\n10.88.0.1\thost\n\
             10.88.0.1\thost.docker.internal host.containers.internal\n10.88.0.2\tweb web.example\n"
        );
        assert!(LOOPBACK.lines().all(|line| line.contains('\t') && !line.starts_with(' ')));
    }

    #[test]
    fn the_users_word_for_a_name_of_ours_counts() {
        let file = HostsFile {
            hostname: "c",
            extra: &[extra("host.docker.internal:192.0.2.9")],
            gateway: Some(Ipv4Addr::new(10, 88, 0, 1)),
            ..Default::default()
        };
        let text = file.render().expect("render");
        assert!(text.ends_with(
            "192.0.2.9\thost.docker.internal\n10.88.0.1\thost.containers.internal\n127.0.0.1\tc\n"
        ));
    }

    #[test]
    fn no_gateway_no_host_gateway() {
        let file = HostsFile { hostname: "c", extra: &[extra("h:host-gateway")], ..Default::default() };
        assert_eq!(
            file.render().expect_err("must fail").to_string(),
            "cannot add host h: host-gateway needs a network with a gateway"
        );
        assert_eq!(HostsFile::default().render().expect("render"), LOOPBACK);
    }

    #[test]
    fn extra_hosts_are_checked() {
        assert_eq!(extra("h:::1").address, HostAddress::Ip("::1".parse().expect("ip")));
        assert_eq!(extra("h=1.2.3.4").name, "h");
        for bad in ["", "h", ":1.2.3.4", "h:", "h:1.2.3", "a b:1.2.3.4", "h:[::1", "h#:1.2.3.4"] {
            assert!(bad.parse::<ExtraHost>().is_err(), "{bad}");
        }
    }
}
