//! The contents of a container's `/etc/resolv.conf` (resolv.conf(5)). Pure.
//!
//! A container in a namespace of its own reaches neither a name server on the host's loopback nor, so far, one with an
//! IPv6 address; those are left out. Comments and unknown lines of the host's file are not carried over.

use std::fmt::Write;
use std::net::IpAddr;

/// What the user asked for; each part that is not empty replaces the host's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DnsSettings {
    /// Name servers, taken as they are (`--dns`).
    pub servers: Vec<IpAddr>,
    /// Search domains (`--dns-search`); a single `.` means none.
    pub search: Vec<String>,
    /// Resolver options (`--dns-option`).
    pub options: Vec<String>,
}

/// Which name servers the container can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// All that the host can: the container shares its network.
    Host,
    /// Those behind the gateway: not the host's loopback, not IPv6.
    Bridge,
}

/// Where the name servers in the file come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerSource {
    /// The user named them.
    Settings,
    /// The host's `/etc/resolv.conf`.
    Host,
    /// systemd-resolved's list of the real servers, since the host's file names only its local stub.
    SystemdResolved,
    /// There are none that the container can reach: names will not be resolved, and a caller should warn.
    None,
}

/// A rendered file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvConf {
    /// The whole content.
    pub text: String,
    /// Where its name servers come from.
    pub source: ServerSource,
}

/// Renders the file from `host`, the text of the host's `/etc/resolv.conf`, and `systemd_resolved`, that of
/// `/run/systemd/resolve/resolv.conf` if there is one. An unreadable file is an empty text.
pub fn resolv_conf(
    host: &str,
    systemd_resolved: Option<&str>,
    settings: &DnsSettings,
    reach: Reach,
) -> ResolvConf {
    let host = Parsed::read(host, reach);
    let real = systemd_resolved.map(|text| Parsed::read(text, reach)).unwrap_or_default();
    let asked: Vec<String> = settings.servers.iter().map(IpAddr::to_string).collect();
    let (servers, source) = [
        (asked, ServerSource::Settings),
        (host.servers, ServerSource::Host),
        (real.servers, ServerSource::SystemdResolved),
    ]
    .into_iter()
    .find(|(servers, _)| !servers.is_empty())
    .unwrap_or((Vec::new(), ServerSource::None));
    let search = if settings.search.is_empty() { host.search } else { settings.search.clone() };
    let options = if settings.options.is_empty() { host.options } else { settings.options.clone() };

    let mut text = String::new();
    let mut line = |keyword: &str, value: &str| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{keyword} {value}");
    };
    for server in &servers {
        line("nameserver", server);
    }
    if !search.is_empty() && search != ["."] {
        line("search", &search.join(" "));
    }
    if !options.is_empty() {
        line("options", &options.join(" "));
    }
    ResolvConf { text, source }
}

#[derive(Debug, Default)]
struct Parsed {
    servers: Vec<String>,
    search: Vec<String>,
    options: Vec<String>,
}

impl Parsed {
    fn read(text: &str, reach: Reach) -> Self {
        let mut parsed = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let keyword = words.next().unwrap_or_default();
            let values = words.take_while(|word| !word.starts_with(['#', ';'])).map(str::to_owned);
            match keyword {
                "nameserver" => parsed.servers.extend(values.take(1).filter(|server| reaches(server, reach))),
                // Of several lines with domains the last one counts.
                "search" => parsed.search = values.collect(),
                "domain" => parsed.search = values.take(1).collect(),
                "options" => parsed.options.extend(values),
                _ => {}
            }
        }
        parsed
    }
}

/// Whether a container can reach the name server written as `server`, perhaps with a `%interface`.
fn reaches(server: &str, reach: Reach) -> bool {
    match (reach, server.split('%').next().unwrap_or_default().parse::<IpAddr>()) {
        (_, Err(_)) => false,
        (Reach::Host, Ok(_)) => true,
        (Reach::Bridge, Ok(IpAddr::V4(ip))) => !ip.is_loopback() && !ip.is_unspecified(),
        (Reach::Bridge, Ok(IpAddr::V6(_))) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUB: &str =
        "# generated\nnameserver 127.0.0.53\noptions edns0 trust-ad\nsearch example.com corp.example\n";
    const REAL: &str = "nameserver 192.0.2.53\nnameserver 2001:db8::53\nsearch ignored.example\n";

    fn render(host: &str, real: Option<&str>, settings: &DnsSettings) -> (String, ServerSource) {
        let file = resolv_conf(host, real, settings, Reach::Bridge);
        (file.text, file.source)
    }

    #[test]
    fn takes_the_hosts_servers_but_not_its_loopback() {
        let host = "nameserver 127.0.0.1\nnameserver\t198.51.100.1 # office\nnameserver ::1\nnameserver fe80::1%eth0\n\
                    nameserver 0.0.0.0\nnameserver nonsense\nnameserver 198.51.100.2\n;nameserver 9.9.9.9\n";
        let (text, source) = render(host, Some(REAL), &DnsSettings::default());
        assert_eq!(
            (text.as_str(), source),
            ("nameserver 198.51.100.1\nnameserver 198.51.100.2\n", ServerSource::Host)
        );
    }

    #[test]
    fn a_local_stub_gives_way_to_the_real_servers_and_keeps_its_search_list() {
        let (text, source) = render(STUB, Some(REAL), &DnsSettings::default());
        assert_eq!(
            (text.as_str(), source),
            (
                "nameserver 192.0.2.53\nsearch example.com corp.example\noptions edns0 trust-ad\n",
                ServerSource::SystemdResolved
            )
        );
    }

    #[test]
    fn without_any_server_the_caller_is_told() {
        for real in [None, Some(""), Some("nameserver ::1\n")] {
            let (text, source) = render("nameserver 127.0.0.1\n", real, &DnsSettings::default());
            assert_eq!((text.as_str(), source), ("", ServerSource::None));
        }
    }

    #[test]
    fn settings_replace_part_by_part() {
        let settings = DnsSettings {
            servers: vec!["127.0.0.1".parse().expect("ip"), "2001:db8::1".parse().expect("ip")],
            search: vec![".".to_owned()],
            options: vec!["ndots:2".to_owned()],
        };
        let (text, source) = render(STUB, Some(REAL), &settings);
        assert_eq!(
            (text.as_str(), source),
            ("nameserver 127.0.0.1\nnameserver 2001:db8::1\noptions ndots:2\n", ServerSource::Settings)
        );
        let search = DnsSettings {
            search: vec!["a.example".to_owned(), "b.example".to_owned()],
            ..Default::default()
        };
        let (text, _) = render("domain old.example extra\nnameserver 192.0.2.1", None, &search);
        assert_eq!(text, "nameserver 192.0.2.1\nsearch a.example b.example\n");
        let (text, _) =
            render("domain old.example extra\nnameserver 192.0.2.1", None, &DnsSettings::default());
        assert_eq!(text, "nameserver 192.0.2.1\nsearch old.example\n");
    }

    #[test]
    fn the_hosts_network_keeps_everything() {
        let file = resolv_conf(
            "nameserver 127.0.0.53\nnameserver fe80::1%eth0\n",
            Some(REAL),
            &DnsSettings::default(),
            Reach::Host,
        );
        assert_eq!(file.text, "nameserver 127.0.0.53\nnameserver fe80::1%eth0\n");
    }
}
