//! TLS by rustls with ring: the machine's root certificates, `certs.d`, and ureq's connector for both.
//!
//! Roots are the system's bundle and `HOST[:PORT]/*.crt` of the certs.d directories; `*.cert` with its `*.key` there is
//! the client's certificate (Docker's and containers-certs.d(5)'s layout). A self-signed certificate that lies in
//! certs.d itself is accepted for its own names, as Docker's guide for private registries makes them, although
//! it calls itself a CA. An insecure registry's certificate is not verified at all.

use std::collections::HashMap;
use std::fmt;
use std::io::Read as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    StreamOwned,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use crate::error::Failure;

/// The certificates of this machine, read when the first TLS connection needs them.
#[derive(Debug)]
pub(crate) struct Tls {
    pub(crate) ca_bundles: Vec<PathBuf>,
    pub(crate) certs_dirs: Vec<PathBuf>,
    /// The directory for every host, instead of those.
    cert_dir: Option<PathBuf>,
    provider: Arc<CryptoProvider>,
    system_roots: OnceLock<Vec<rustls_pki_types::TrustAnchor<'static>>>,
    /// One per host with port and way of verification.
    configs: Mutex<HashMap<(String, bool), Arc<ClientConfig>>>,
}

/// What the certs.d directories hold for one host.
#[derive(Default)]
struct HostFiles {
    roots: Vec<CertificateDer<'static>>,
    client: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
}

impl Tls {
    /// Reads nothing yet. The first existing file of `ca_bundles` is the system's bundle.
    pub(crate) fn new(ca_bundles: Vec<PathBuf>, certs_dirs: Vec<PathBuf>, cert_dir: Option<PathBuf>) -> Tls {
        Tls {
            ca_bundles,
            certs_dirs,
            cert_dir,
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            system_roots: OnceLock::new(),
            configs: Mutex::new(HashMap::new()),
        }
    }

    /// The client's side of TLS for `host`, which includes its port if it was given.
    fn config(&self, host: &str, insecure: bool) -> Result<Arc<ClientConfig>, Failure> {
        let key = (host.to_owned(), insecure);
        let configs = || self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = configs().get(&key) {
            return Ok(config.clone());
        }
        let config = Arc::new(self.build(host, insecure)?);
        configs().insert(key, config.clone());
        Ok(config)
    }

    fn build(&self, host: &str, insecure: bool) -> Result<ClientConfig, Failure> {
        let tls = |source| Failure::Tls { host: host.to_owned(), source: Box::new(source) };
        let files = match &self.cert_dir {
            Some(directory) => read_host_files(std::iter::once(directory.clone()))?,
            None => read_host_files(self.certs_dirs.iter().map(|directory| directory.join(host)))?,
        };
        let verifier: Arc<dyn ServerCertVerifier> = if insecure {
            Arc::new(Unverified { provider: self.provider.clone() })
        } else {
            let mut roots = RootCertStore { roots: self.system_roots()?.to_vec() };
            roots.add_parsable_certificates(files.roots.iter().cloned());
            if roots.is_empty() {
                return Err(Failure::NoRoots { host: host.to_owned() });
            }
            let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
                .build()
                .map_err(|error| tls(rustls::Error::General(error.to_string())))?;
            Arc::new(Verified { chain, pinned: files.roots })
        };
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(tls)?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        match files.client {
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).map_err(tls),
            None => Ok(builder.with_no_client_auth()),
        }
    }

    fn system_roots(&self) -> Result<&[rustls_pki_types::TrustAnchor<'static>], Failure> {
        if let Some(roots) = self.system_roots.get() {
            return Ok(roots);
        }
        let mut store = RootCertStore::empty();
        if let Some(path) = self.ca_bundles.iter().find(|path| path.exists()) {
            // Bundles hold a few certificates that no strict reader takes; the others still count.
            store.add_parsable_certificates(read_certificates(path)?);
        }
        Ok(self.system_roots.get_or_init(|| store.roots))
    }
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let unusable = |reason: String| Failure::CertificateFile { path: path.to_owned(), reason };
    let text = std::fs::read(path).map_err(|error| unusable(error.to_string()))?;
    CertificateDer::pem_slice_iter(&text)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(error.to_string()))
}

/// Collects the files of one host's directories; the first one with a client certificate wins.
fn read_host_files(directories: impl Iterator<Item = PathBuf>) -> Result<HostFiles, Failure> {
    let mut found = HostFiles::default();
    for directory in directories {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        files.sort();
        for file in files {
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => {
                    let certificates = read_certificates(&file)?;
                    if certificates.is_empty() {
                        return Err(Failure::CertificateFile {
                            path: file,
                            reason: "it holds no certificate".to_owned(),
                        });
                    }
                    found.roots.extend(certificates);
                }
                Some("cert") if found.client.is_none() => {
                    let key = file.with_extension("key");
                    let unusable = |error: rustls_pki_types::pem::Error| Failure::CertificateFile {
                        path: key.clone(),
                        reason: match error {
                            rustls_pki_types::pem::Error::Io(error) => error.to_string(),
                            _ => "it holds no private key in PEM form".to_owned(),
                        },
                    };
                    let chain = read_certificates(&file)?;
                    found.client = Some((chain, PrivateKeyDer::from_pem_file(&key).map_err(unusable)?));
                }
                _ => {}
            }
        }
    }
    Ok(found)
}

/// What is wrong, in the words of somebody who has to repair it.
pub(crate) fn problem(error: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(certificate) = error else { return error.to_string() };
    match certificate {
        CertificateError::UnknownIssuer => {
            "its certificate is signed by an authority that this machine does not know \
             (put the authority's certificate into certs.d/HOST/ca.crt)"
                .to_owned()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired (or this machine's clock is wrong)".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "its certificate is not valid yet (is this machine's clock right?)".to_owned()
        }
        CertificateError::NotValidForName => "its certificate is for another name".to_owned(),
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<String> = presented.iter().map(|name| crate::words::clean(name)).collect();
            format!("its certificate is for another name ({})", names.join(", "))
        }
        CertificateError::Revoked => "its certificate was revoked".to_owned(),
        other => format!("its certificate is not acceptable: {other:?}"),
    }
}

/// Verifies by roots; a certificate that itself lies in certs.d needs no root.
#[derive(Debug)]
struct Verified {
    chain: Arc<WebPkiServerVerifier>,
    pinned: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verified {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.chain.verify_server_cert(end_entity, intermediates, name, ocsp_response, now) {
            // webpki looks at the dates first; what remains is that the certificate calls itself a CA.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::Other(_) | CertificateError::UnknownIssuer,
            )) if self.pinned.iter().any(|pinned| pinned == end_entity) => {
                rustls::client::verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Takes any certificate: only for registries that the operator called insecure, and for the loopback.
#[derive(Debug)]
struct Unverified {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// Wraps ureq's connections in TLS where the address asks for it.
#[derive(Debug)]
pub(crate) struct TlsConnector {
    pub(crate) tls: Arc<Tls>,
    pub(crate) insecure: bool,
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let authority = details.uri.authority().ok_or(ureq::Error::ConnectionFailed)?;
        let host = match authority.port() {
            Some(port) => format!("{}:{port}", authority.host()),
            None => authority.host().to_owned(),
        };
        let config =
            self.tls.config(&host, self.insecure).map_err(|failure| ureq::Error::Other(Box::new(failure)))?;
        let bare = authority.host().trim_start_matches('[').trim_end_matches(']');
        let name = ServerName::try_from(bare.to_owned())
            .map_err(|_| ureq::Error::BadUri(details.uri.to_string()))?;
        let mut connection = ClientConnection::new(config, name)?;
        let mut socket = TransportAdapter::new(transport.boxed(), details.current_time.clone());
        socket.set_timeout(details.timeout);
        connection.complete_io(&mut socket)?;
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(TlsTransport { buffers, stream: StreamOwned::new(connection, socket) })))
    }
}

/// A connection inside TLS.
pub(crate) struct TlsTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let output = &self.buffers.output()[..amount];
        self.stream.write_all(output)?;
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        self.stream.get_mut().set_timeout(timeout);
        let amount = self.stream.read(self.buffers.input_append_buf())?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for TlsTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_files_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let host = directory.path().join("r.test:5000");
        std::fs::create_dir(&host).unwrap();
        let tls =
            || Tls::new(vec![directory.path().join("none.pem")], vec![directory.path().to_owned()], None);
        assert!(matches!(tls().config("r.test:5000", false), Err(Failure::NoRoots { .. })));
        assert!(tls().config("r.test:5000", true).is_ok());
        std::fs::write(host.join("ca.crt"), "nothing").unwrap();
        let text = tls().config("r.test:5000", false).unwrap_err().to_string();
        assert!(text.contains("ca.crt") && text.contains("no certificate"), "{text}");
        std::fs::remove_file(host.join("ca.crt")).unwrap();
        std::fs::write(host.join("client.cert"), "").unwrap();
        let text = tls().config("r.test:5000", true).unwrap_err().to_string();
        assert!(text.contains("client.key"), "{text}");
    }

    #[test]
    fn certificate_problems_in_words() {
        let text = |error| problem(&rustls::Error::InvalidCertificate(error));
        assert!(text(CertificateError::UnknownIssuer).contains("certs.d"));
        assert!(text(CertificateError::Expired).contains("expired"));
        assert!(text(CertificateError::NotValidForName).contains("another name"));
    }
}
