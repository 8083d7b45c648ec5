//! Which proxy, if any, a request goes through.
//!
//! Follows the rules of Go's `httpproxy`, which Docker and Podman obey: one proxy per scheme of the target, a
//! `no_proxy` list of hosts, domains, addresses, networks and ports, and never a proxy for the loopback. HTTPS
//! targets are reached by CONNECT, plain HTTP ones by naming them to the proxy ([`crate::forward`]). SOCKS is not
//! supported.

use std::net::IpAddr;

use ureq::Proxy;
use ureq::http::Uri;

use crate::error::Error;

/// The values of the usual three variables, as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxySettings {
    /// `http_proxy`: for plain HTTP targets.
    pub http: Option<String>,
    /// `https_proxy`: for HTTPS targets.
    pub https: Option<String>,
    /// `no_proxy`: comma-separated exceptions.
    pub no_proxy: Option<String>,
}

/// Which way a request takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Route {
    Direct,
    HttpProxy,
    HttpsProxy,
}

/// The settings, checked.
#[derive(Debug)]
pub(crate) struct Proxies {
    http: Option<Proxy>,
    https: Option<Proxy>,
    exceptions: Vec<Exception>,
}

#[derive(Debug, PartialEq, Eq)]
enum Exception {
    All,
    /// Without leading dot; `below_only` leaves the domain itself out.
    Domain {
        name: String,
        port: Option<u16>,
        below_only: bool,
    },
    Network {
        address: IpAddr,
        prefix: u8,
    },
    Address {
        address: IpAddr,
        port: Option<u16>,
    },
}

impl Proxies {
    pub(crate) fn new(settings: &ProxySettings) -> Result<Proxies, Error> {
        let parse = |value: &Option<String>| match value.as_deref().map(str::trim) {
            None | Some("") => Ok(None),
            Some(text) => checked(text).map(Some),
        };
        let exceptions =
            settings.no_proxy.as_deref().unwrap_or("").split(',').filter_map(exception).collect();
        Ok(Proxies { http: parse(&settings.http)?, https: parse(&settings.https)?, exceptions })
    }

    pub(crate) fn route(&self, target: &Uri) -> Route {
        let is_https = target.scheme_str() == Some("https");
        let (proxy, route) =
            if is_https { (&self.https, Route::HttpsProxy) } else { (&self.http, Route::HttpProxy) };
        let Some(host) = target.host().filter(|_| proxy.is_some()) else { return Route::Direct };
        let port = target.port_u16().unwrap_or(if is_https { 443 } else { 80 });
        if self.is_exception(host, port) { Route::Direct } else { route }
    }

    pub(crate) fn proxy(&self, route: Route) -> Option<Proxy> {
        match route {
            Route::Direct => None,
            Route::HttpProxy => self.http.clone(),
            Route::HttpsProxy => self.https.clone(),
        }
    }

    fn is_exception(&self, host: &str, port: u16) -> bool {
        let host = host.trim_start_matches('[').trim_end_matches([']', '.']).to_ascii_lowercase();
        let address: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
            return true;
        }
        self.exceptions.iter().any(|exception| match exception {
            Exception::All => true,
            Exception::Network { address: network, prefix } => {
                address.is_some_and(|address| is_within(address, *network, *prefix))
            }
            Exception::Address { address: listed, port: listed_port } => {
                address == Some(*listed) && listed_port.is_none_or(|listed| listed == port)
            }
            Exception::Domain { name, port: listed_port, below_only } => {
                let below = host.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('.'));
                (below || (host == *name && !below_only)) && listed_port.is_none_or(|listed| listed == port)
            }
        })
    }
}

/// ureq's proxy, if it is one of the two kinds that are compiled in.
fn checked(text: &str) -> Result<Proxy, Error> {
    // Keep user and password out of the message.
    let shown = || Error::Proxy { value: text.rsplit('@').next().unwrap_or("").to_owned() };
    match text.split_once("://") {
        None | Some(("http" | "https", _)) => Proxy::new(text).map_err(|_| shown()),
        Some(_) => Err(shown()),
    }
}

fn exception(text: &str) -> Option<Exception> {
    let text = text.trim().to_ascii_lowercase();
    if text.is_empty() {
        return None;
    }
    if text == "*" {
        return Some(Exception::All);
    }
    if let Some((address, prefix)) = text.split_once('/')
        && let (Ok(address), Ok(prefix)) = (address.parse(), prefix.parse())
    {
        return Some(Exception::Network { address, prefix });
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    if let Ok(address) = bare.parse() {
        return Some(Exception::Address { address, port: None });
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()),
        None => (text.as_str(), None),
    };
    if let Ok(address) = host.trim_start_matches('[').trim_end_matches(']').parse() {
        return Some(Exception::Address { address, port });
    }
    let host = host.strip_prefix('*').unwrap_or(host);
    let below_only = host.starts_with('.');
    Some(Exception::Domain { name: host.trim_start_matches('.').to_owned(), port, below_only })
}

fn is_within(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let (address, network, width): (u128, u128, u32) = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => (u128::from(a.to_bits()), u128::from(n.to_bits()), 32),
        (IpAddr::V6(a), IpAddr::V6(n)) => (a.to_bits(), n.to_bits(), 128),
        _ => return false,
    };
    let Some(host_bits) = width.checked_sub(u32::from(prefix)) else { return false };
    host_bits == 128 || address >> host_bits == network >> host_bits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes() {
        let proxies = Proxies::new(&ProxySettings {
            http: Some("http://p.test:3128".into()),
            https: Some("p.test:3129".into()),
            no_proxy: Some(
                "corp.test, .sub.test,10.0.0.0/8,192.0.2.7,port.test:5000,[2001:db8::1],*.star.test".into(),
            ),
        })
        .unwrap();
        for (target, route) in [
            ("https://quay.io/v2/", Route::HttpsProxy),
            ("http://quay.io/v2/", Route::HttpProxy),
            ("https://corp.test/", Route::Direct),
            ("https://a.CORP.test/", Route::Direct),
            ("https://xcorp.test/", Route::HttpsProxy),
            ("https://sub.test/", Route::HttpsProxy),
            ("https://a.sub.test/", Route::Direct),
            ("https://a.star.test/", Route::Direct),
            ("https://10.1.2.3/", Route::Direct),
            ("https://11.1.2.3/", Route::HttpsProxy),
            ("https://192.0.2.7:444/", Route::Direct),
            ("https://port.test:5000/", Route::Direct),
            ("https://port.test/", Route::HttpsProxy),
            ("https://[2001:db8::1]/", Route::Direct),
            ("http://localhost:5000/", Route::Direct),
            ("http://127.0.0.1:5000/", Route::Direct),
        ] {
            assert_eq!(proxies.route(&target.parse().unwrap()), route, "{target}");
        }
        assert!(proxies.proxy(Route::HttpsProxy).is_some());
        let all =
            ProxySettings { https: Some("p:1".into()), no_proxy: Some("*".into()), ..Default::default() };
        assert_eq!(Proxies::new(&all).unwrap().route(&"https://x.test/".parse().unwrap()), Route::Direct);
        let none = Proxies::new(&ProxySettings { http: Some(" ".into()), ..Default::default() }).unwrap();
        assert_eq!(none.route(&"http://x.test/".parse().unwrap()), Route::Direct);
    }

    #[test]
    fn unusable_proxies_are_refused_without_their_password() {
        for value in ["socks5://u:secret@p:1", "http://", "ftp://x"] {
            let settings = ProxySettings { https: Some(value.into()), ..Default::default() };
            let error = Proxies::new(&settings).unwrap_err().to_string();
            assert!(error.contains("not usable") && !error.contains("secret"), "{error}");
        }
    }
}
