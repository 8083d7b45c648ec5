//! Plain HTTP through a proxy: the request names its whole target, and the proxy passes it on.
//!
//! Implements the absolute form of RFC 9112, section 3.2.2, as curl, Docker and Podman use it for `http://` targets; many
//! proxies allow CONNECT to port 443 only. ureq writes the usual form, so each request's head is rewritten on its way
//! out. Relies on there being no pipelining: what is sent after something was received begins a request.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ureq::Proxy;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, TcpConnector, Transport,
    TransportAdapter,
};

use crate::tls::{Tls, TlsConnector};

/// Connects to a proxy instead of the target, whose scheme is `http`.
pub(crate) struct ForwardConnector {
    pub(crate) proxy: Proxy,
    pub(crate) tls: Arc<Tls>,
}

impl<In: Transport> Connector<In> for ForwardConnector {
    type Out = Either<In, ForwardTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        if let Some(transport) = chained {
            return Ok(Some(Either::A(transport)));
        }
        let authority = details.uri.authority().ok_or(ureq::Error::ConnectionFailed)?;
        let to_proxy = ConnectionDetails {
            uri: self.proxy.uri(),
            addrs: details.resolver.resolve(self.proxy.uri(), details.config, details.timeout)?,
            config: details.config,
            request_level: details.request_level,
            resolver: details.resolver,
            now: details.now,
            timeout: details.timeout,
            current_time: details.current_time.clone(),
            run_connector: details.run_connector.clone(),
            register_shutdown: details.register_shutdown.clone(),
        };
        let tcp = Connector::<()>::connect(&TcpConnector::default(), &to_proxy, None)?;
        // The target's being insecure says nothing about the proxy.
        let tls = TlsConnector { tls: self.tls.clone(), insecure: false };
        let transport = tls.connect(&to_proxy, tcp)?.ok_or(ureq::Error::ConnectionFailed)?;
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(ForwardTransport {
            buffers,
            stream: TransportAdapter::new(transport.boxed(), details.current_time.clone()),
            target: format!("http://{authority}"),
            login: login(&self.proxy),
            at_head: true,
        })))
    }
}

impl fmt::Debug for ForwardConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardConnector").finish_non_exhaustive()
    }
}

/// The header by which the proxy knows its user, with its line end; empty without a user.
fn login(proxy: &Proxy) -> String {
    let (user, password) = (proxy.username(), proxy.password());
    if user.or(password).is_none() {
        return String::new();
    }
    let pair = format!("{}:{}", user.unwrap_or_default(), password.unwrap_or_default());
    format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(pair))
}

/// A connection to a proxy over which requests for one target go.
pub(crate) struct ForwardTransport {
    buffers: LazyBuffers,
    stream: TransportAdapter,
    /// Scheme and authority.
    target: String,
    login: String,
    /// What is sent next begins a request.
    at_head: bool,
}

impl Transport for ForwardTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        if std::mem::take(&mut self.at_head) {
            self.stream.write_all(&absolute_form(output, &self.target, &self.login))?;
        } else {
            self.stream.write_all(output)?;
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        self.at_head = true;
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().is_open()
    }
}

impl fmt::Debug for ForwardTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForwardTransport").finish_non_exhaustive()
    }
}

/// `GET /x HTTP/1.1` and what follows, as a proxy wants it: `GET http://host/x HTTP/1.1`, the login behind that line.
fn absolute_form(request: &[u8], target: &str, login: &str) -> Vec<u8> {
    let line_end = request.windows(2).position(|two| two == b"\r\n").map_or(request.len(), |at| at + 2);
    let (line, rest) = request.split_at(line_end);
    let method_end = line.iter().position(|byte| *byte == b' ').map_or(0, |at| at + 1);
    let (method, path) = line.split_at(method_end);
    [method, target.as_bytes(), path, login.as_bytes(), rest].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_names_the_whole_target() {
        let form = |request: &str, login| {
            String::from_utf8(absolute_form(request.as_bytes(), "http://r.test:5000", login)).unwrap()
        };
        assert_eq!(
            form("GET /v2/?a=http://b HTTP/1.1\r\nhost: r.test:5000\r\n\r\n", "L: x\r\n"),
            "GET http://r.test:5000/v2/?a=http://b HTTP/1.1\r\nL: x\r\nhost: r.test:5000\r\n\r\n"
        );
        assert_eq!(
            form("POST /t HTTP/1.1\r\n\r\na b\r\n", ""),
            "POST http://r.test:5000/t HTTP/1.1\r\n\r\na b\r\n"
        );
    }

    #[test]
    fn logins() {
        let of = |url: &str| login(&Proxy::new(url).unwrap());
        assert_eq!(of("http://p.test:1"), "");
        assert_eq!(of("http://u:p@p.test:1"), "Proxy-Authorization: Basic dTpw\r\n");
    }
}
