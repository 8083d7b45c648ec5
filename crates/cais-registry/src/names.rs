//! From a host name to addresses, without the C library: `hosts(5)`, then the servers of `resolv.conf(5)`.
//!
//! A static binary must not call `getaddrinfo`, which would load foreign libraries. Follows the C library where
//! people rely on it: search list and `ndots`, `timeout`, `attempts`, `use-vc`, at most three servers, 127.0.0.1
//! without any. `localhost` and names below it are the loopback addresses (RFC 6761). Both files are read anew
//! for each name, so that a change of network needs no restart. Knows nothing of mDNS, NIS or `nsswitch.conf`.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

use crate::dns::{self, Answer};

const DNS_PORT: u16 = 53;
const SERVERS_MAX: usize = 3;
const NDOTS_MAX: usize = 15;
const TIMEOUT_S_MAX: u64 = 30;
const ATTEMPTS_MAX: u32 = 5;
/// ureq's list of addresses holds sixteen.
const ADDRESSES_MAX: usize = 16;

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub enum NameError {
    /// It is no host name.
    #[error("{name:?} is no host name")]
    Invalid {
        /// The name.
        name: String,
    },
    /// All servers agree that there is no such name.
    #[error("no such host: neither {} nor the name servers know {name:?}", hosts_file.display())]
    NoSuchHost {
        /// The name.
        name: String,
        /// The hosts file.
        hosts_file: PathBuf,
    },
    /// No server gave a proper answer.
    #[error("no answer from the name servers of {}{}", resolv_conf.display(), listed(attempts))]
    NoAnswer {
        /// The resolver's file.
        resolv_conf: PathBuf,
        /// Each server with what it did.
        attempts: Vec<(SocketAddr, String)>,
    },
}

impl NameError {
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, NameError::NoAnswer { .. })
    }
}

fn listed(attempts: &[(SocketAddr, String)]) -> String {
    attempts.iter().map(|(server, what)| format!("; {server}: {what}")).collect()
}

/// Resolves names by the given files.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) hosts_file: PathBuf,
    pub(crate) resolv_conf: PathBuf,
}

/// The settings of a `resolv.conf`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ResolvConf {
    servers: Vec<SocketAddr>,
    search: Vec<String>,
    ndots: usize,
    timeout: Duration,
    attempts: u32,
    use_tcp: bool,
}

impl Names {
    /// The addresses of `host`, which may also be an address itself; IPv4 comes first.
    ///
    /// IPv4 goes first because a broken IPv6 route costs many seconds of waiting, and registries have both.
    pub(crate) fn addresses(&self, host: &str, deadline: Option<Instant>) -> Result<Vec<IpAddr>, NameError> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(vec![address]);
        }
        if !dns::is_valid_name(host) {
            return Err(NameError::Invalid { name: host.to_owned() });
        }
        let host = host.to_ascii_lowercase();
        // An unreadable file is an absent one, as for the C library.
        let hosts = std::fs::read(&self.hosts_file).unwrap_or_default();
        let listed = addresses_in_hosts(&String::from_utf8_lossy(&hosts), &host);
        if !listed.is_empty() {
            return Ok(listed);
        }
        if host == "localhost" || host.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let text = std::fs::read(&self.resolv_conf).unwrap_or_default();
        self.ask_servers(&ResolvConf::parse(&String::from_utf8_lossy(&text)), &host, deadline)
    }

    fn ask_servers(
        &self,
        conf: &ResolvConf,
        host: &str,
        deadline: Option<Instant>,
    ) -> Result<Vec<IpAddr>, NameError> {
        let mut failed = Vec::new();
        for name in conf.candidates(host) {
            match ask_all(conf, &name, deadline) {
                Ok(addresses) if !addresses.is_empty() => return Ok(addresses),
                Ok(_) => {}
                Err(attempts) => failed = attempts,
            }
        }
        if failed.is_empty() {
            return Err(NameError::NoSuchHost { name: host.to_owned(), hosts_file: self.hosts_file.clone() });
        }
        Err(NameError::NoAnswer { resolv_conf: self.resolv_conf.clone(), attempts: failed })
    }
}

/// Asks one server after the other, several rounds; an empty list means that the name does not exist.
fn ask_all(
    conf: &ResolvConf,
    name: &str,
    deadline: Option<Instant>,
) -> Result<Vec<IpAddr>, Vec<(SocketAddr, String)>> {
    let mut failed: Vec<(SocketAddr, String)> = Vec::new();
    for round in 0..conf.attempts {
        for server in &conf.servers {
            let mut timeout = conf.timeout * (1 << round.min(2));
            if let Some(deadline) = deadline {
                timeout = timeout.min(deadline.saturating_duration_since(Instant::now()));
            }
            let what = if timeout.is_zero() {
                "no time left to ask it".to_owned()
            } else {
                match dns::ask(*server, name, unpredictable_ids(), timeout, conf.use_tcp) {
                    Ok([v4, v6]) => match merge(v4, v6) {
                        Some(addresses) => return Ok(addresses),
                        None => "it refused, or failed itself".to_owned(),
                    },
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                        "it did not answer in time".to_owned()
                    }
                    Err(error) => error.to_string(),
                }
            };
            failed.retain(|(earlier, _)| earlier != server);
            failed.push((*server, what));
        }
    }
    Err(failed)
}

/// Joins both answers; `None` if the server failed and knows no address.
fn merge(v4: Answer, v6: Answer) -> Option<Vec<IpAddr>> {
    let failed = v4 == Answer::ServerFailure || v6 == Answer::ServerFailure;
    let mut addresses = Vec::new();
    for answer in [v4, v6] {
        if let Answer::Addresses(found) = answer {
            addresses.extend(found);
        }
    }
    (!failed || !addresses.is_empty()).then_some(addresses)
}

/// Two different random ids, so that a forger off the path cannot answer.
fn unpredictable_ids() -> [u16; 2] {
    let mut bytes = [0_u8; 4];
    // Fails only without a working getrandom; port randomisation remains then.
    let _ = rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes);
    let first = u16::from_ne_bytes([bytes[0], bytes[1]]);
    let second = u16::from_ne_bytes([bytes[2], bytes[3]]);
    [first, if first == second { second.wrapping_add(1) } else { second }]
}

impl ResolvConf {
    fn parse(text: &str) -> ResolvConf {
        let mut conf = ResolvConf {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
            use_tcp: false,
        };
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    if let Some(server) = words.next().and_then(parse_server)
                        && conf.servers.len() < SERVERS_MAX
                    {
                        conf.servers.push(server);
                    }
                }
                Some("search" | "domain") => {
                    conf.search = words.map(|domain| domain.trim_matches('.').to_ascii_lowercase()).collect();
                    conf.search.retain(|domain| !domain.is_empty());
                }
                Some("options") => words.for_each(|option| conf.set_option(option)),
                _ => {}
            }
        }
        if conf.servers.is_empty() {
            conf.servers.push((Ipv4Addr::LOCALHOST, DNS_PORT).into());
        }
        conf
    }

    fn set_option(&mut self, option: &str) {
        match option.split_once(':') {
            None if option == "use-vc" => self.use_tcp = true,
            Some(("ndots", value)) => self.ndots = value.parse().unwrap_or(self.ndots).min(NDOTS_MAX),
            Some(("timeout", value)) => {
                let seconds: u64 = value.parse().unwrap_or(self.timeout.as_secs());
                self.timeout = Duration::from_secs(seconds.clamp(1, TIMEOUT_S_MAX));
            }
            Some(("attempts", value)) => {
                self.attempts = value.parse().unwrap_or(self.attempts).clamp(1, ATTEMPTS_MAX);
            }
            _ => {}
        }
    }

    /// The names to ask for, in order, as the C library does with the search list.
    fn candidates(&self, host: &str) -> Vec<String> {
        if let Some(absolute) = host.strip_suffix('.') {
            return vec![absolute.to_owned()];
        }
        let mut names: Vec<String> = self.search.iter().map(|domain| format!("{host}.{domain}")).collect();
        names.retain(|name| dns::is_valid_name(name));
        let position = if host.matches('.').count() >= self.ndots { 0 } else { names.len() };
        names.insert(position, host.to_owned());
        names
    }
}

/// `address` or `address%scope`, for tests also `address:port`.
fn parse_server(text: &str) -> Option<SocketAddr> {
    let bare = text.split('%').next()?;
    bare.parse::<IpAddr>().map(|address| SocketAddr::new(address, DNS_PORT)).or_else(|_| text.parse()).ok()
}

/// The addresses that a hosts file lists for `host`, IPv4 first.
fn addresses_in_hosts(text: &str, host: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    let host = host.strip_suffix('.').unwrap_or(host);
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or("").split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
        if words.any(|name| name.eq_ignore_ascii_case(host)) && !found.contains(&address) {
            found.push(address);
        }
    }
    found.sort_by_key(IpAddr::is_ipv6);
    found
}

/// Whether this machine has a route to the address at all; asks the kernel, sends nothing.
fn has_route(address: SocketAddr) -> bool {
    let local: IpAddr =
        if address.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    UdpSocket::bind((local, 0)).and_then(|socket| socket.connect(address)).is_ok()
}

impl Resolver for Names {
    fn resolve(
        &self,
        uri: &ureq::http::Uri,
        _: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let host = uri.host().ok_or_else(|| ureq::Error::BadUri(uri.to_string()))?;
        let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let deadline = Instant::now().checked_add(*timeout.after);
        let addresses =
            self.addresses(host, deadline).map_err(|error| ureq::Error::Other(Box::new(error)))?;
        let mut targets: Vec<SocketAddr> =
            addresses.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
        if targets.len() > 1 {
            // Stable: keeps IPv4 before IPv6 among those with a route.
            targets.sort_by_key(|target| !has_route(*target));
        }
        let mut resolved = self.empty();
        targets.into_iter().take(ADDRESSES_MAX).for_each(|target| resolved.push(target));
        Ok(resolved)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;
    use crate::dns::tests::answer_to;

    const A: u16 = 1;

    #[test]
    fn resolv_conf() {
        let conf = ResolvConf::parse(
            "# c\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\n;x\nsearch a.org. B.org\noptions ndots:2 timeout:3 attempts:9 use-vc x:y\n",
        );
        assert_eq!(conf.servers, ["192.0.2.1:53".parse().unwrap(), "[fe80::1]:53".parse().unwrap()]);
        assert_eq!(conf.search, ["a.org", "b.org"]);
        assert_eq!((conf.ndots, conf.timeout.as_secs(), conf.attempts, conf.use_tcp), (2, 3, 5, true));
        assert_eq!(conf.candidates("h"), ["h.a.org", "h.b.org", "h"]);
        assert_eq!(conf.candidates("h.x.y"), ["h.x.y", "h.x.y.a.org", "h.x.y.b.org"]);
        assert_eq!(conf.candidates("h."), ["h"]);
        assert_eq!(ResolvConf::parse("").servers, ["127.0.0.1:53".parse().unwrap()]);
    }

    #[test]
    fn hosts_file() {
        let text = "127.0.0.1 localhost\n::1 Reg.test # x y\n192.0.2.7\treg.test other\nbad reg.test\n";
        let found = addresses_in_hosts(text, "reg.test");
        assert_eq!(found, ["192.0.2.7".parse::<IpAddr>().unwrap(), "::1".parse().unwrap()]);
        assert!(addresses_in_hosts(text, "x").is_empty());
    }

    fn names(directory: &tempfile::TempDir, resolv_conf: &str) -> Names {
        let names = Names {
            hosts_file: directory.path().join("hosts"),
            resolv_conf: directory.path().join("resolv.conf"),
        };
        std::fs::write(&names.hosts_file, "192.0.2.9 listed.test\n").unwrap();
        std::fs::write(&names.resolv_conf, resolv_conf).unwrap();
        names
    }

    /// A name server that knows `known.test` over UDP and `long.test` over TCP only.
    fn name_server() -> SocketAddr {
        // The TCP port of the same number may be taken by somebody: try until both are ours.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let address = udp.local_addr().unwrap();
        let has = |query: &[u8], name: &[u8]| query.windows(name.len()).any(|part| part == name);
        thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = udp.recv_from(&mut buffer) {
                let query = &buffer[..length];
                let is_a = query[length - 3] == 1;
                let answer = if has(query, b"known") && !has(query, b"example") && is_a {
                    answer_to(query, 0, 0, &[("known.test", A, vec![192, 0, 2, 1])])
                } else if has(query, b"known") && !has(query, b"example") {
                    answer_to(query, 0, 0, &[])
                } else if has(query, b"long") {
                    answer_to(query, 0, 2, &[])
                } else if has(query, b"broken") {
                    answer_to(query, 2, 0, &[])
                } else {
                    answer_to(query, 3, 0, &[])
                };
                udp.send_to(&answer, from).unwrap();
            }
        });
        thread::spawn(move || {
            for stream in tcp.incoming() {
                let mut stream = stream.unwrap();
                let mut head = [0; 2];
                stream.read_exact(&mut head).unwrap();
                let mut query = vec![0; usize::from(u16::from_be_bytes(head))];
                stream.read_exact(&mut query).unwrap();
                let is_a = query[query.len() - 3] == 1;
                let record = ("long.test", A, vec![192, 0, 2, 2]);
                let answer = answer_to(&query, 0, 0, if is_a { std::slice::from_ref(&record) } else { &[] });
                stream.write_all(&(answer.len() as u16).to_be_bytes()).unwrap();
                stream.write_all(&answer).unwrap();
            }
        });
        address
    }

    #[test]
    fn exchange_with_a_server() {
        let directory = tempfile::tempdir().unwrap();
        let names = names(&directory, &format!("nameserver {}\nsearch example.org\n", name_server()));
        let ask = |host: &str| names.addresses(host, None);
        let ip = |text: &str| vec![text.parse::<IpAddr>().unwrap()];
        assert_eq!(ask("known.test").unwrap(), ip("192.0.2.1"));
        assert_eq!(ask("long.test").unwrap(), ip("192.0.2.2"), "over TCP");
        assert_eq!(ask("listed.test").unwrap(), ip("192.0.2.9"), "from the hosts file");
        assert_eq!(ask("[2001:db8::1]").unwrap(), ip("2001:db8::1"));
        assert_eq!(ask("x.localhost").unwrap().len(), 2);
        assert!(matches!(ask("nosuch.test"), Err(NameError::NoSuchHost { .. })));
        assert!(matches!(ask("broken.test"), Err(NameError::NoAnswer { .. })));
        assert!(matches!(ask("a b"), Err(NameError::Invalid { .. })));
    }

    #[test]
    fn a_dead_server_is_passed_over() {
        let directory = tempfile::tempdir().unwrap();
        let dead = UdpSocket::bind("127.0.0.1:0").unwrap();
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = format!("nameserver {closed}\nnameserver {}\n", name_server());
        assert_eq!(names(&directory, &text).addresses("known.test", None).unwrap().len(), 1);
        let silent = names(&directory, &format!("nameserver {}\n", dead.local_addr().unwrap()));
        let deadline = Instant::now() + Duration::from_millis(50);
        let error = silent.addresses("known.test", Some(deadline)).unwrap_err();
        assert!(error.is_transient());
    }
}
