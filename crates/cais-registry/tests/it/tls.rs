//! HTTPS with good and bad certificates, made by the openssl command.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use cais_registry::{Client, Failure, Settings};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::fake::{Fake, Image, Reply, reference, settings, with_login, with_registries};

/// Runs openssl in `directory`; `None` if it is not installed.
fn openssl(directory: &Path, arguments: &str) -> Option<()> {
    let status = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(directory)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match status {
        Ok(status) => {
            assert!(status.success(), "openssl {arguments}");
            Some(())
        }
        Err(_) => {
            println!("skipped: openssl is not installed");
            None
        }
    }
}

const KEY: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";

/// Makes an authority `ca.crt`, and a certificate signed by it for registry.test.
fn make_certificates(directory: &Path) -> Option<()> {
    openssl(directory, &format!("req -x509 {KEY} -keyout ca.key -out ca.crt -days 30 -subj /CN=ca"))?;
    make_signed(directory, "server", "registry.test")
}

fn make_signed(directory: &Path, file: &str, name: &str) -> Option<()> {
    std::fs::write(directory.join("san"), format!("subjectAltName=DNS:{name}\n")).unwrap();
    openssl(directory, &format!("req {KEY} -keyout {file}.key -out {file}.csr -subj /CN=x"))?;
    openssl(
        directory,
        &format!(
            "x509 -req -in {file}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile san -out {file}.crt"
        ),
    )
}

fn server_config(directory: &Path, file: &str, client_roots: Option<&str>) -> Arc<rustls::ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match client_roots {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(directory.join(file)).unwrap()).unwrap();
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                    .build()
                    .unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = vec![CertificateDer::from_pem_file(directory.join(format!("{file}.crt"))).unwrap()];
    let key = PrivateKeyDer::from_pem_file(directory.join(format!("{file}.key"))).unwrap();
    Arc::new(builder.with_single_cert(chain, key).unwrap())
}

fn start(directory: &Path, file: &str) -> Fake {
    let image = Image::new();
    Fake::start_tls(server_config(directory, file, None), move |asked| image.answer(asked))
}

fn name_of(fake: &Fake) -> String {
    format!("registry.test:{}", fake.address.port())
}

fn try_pull(settings: &Settings, registry: &str) -> Result<(), Failure> {
    std::fs::write(&settings.hosts_file, "127.0.0.1 registry.test other.test\n").unwrap();
    match Client::new(settings).unwrap().manifest(&reference(registry), None) {
        Ok(_) => Ok(()),
        Err(cais_registry::Error::Fetch { source, .. }) => Err(*source),
        Err(other) => panic!("{other:?}"),
    }
}

fn trust(directory: &Path, registry: &str, files: &[(&str, &str)]) {
    let host = directory.join("certs.d").join(registry);
    std::fs::create_dir_all(&host).unwrap();
    for (from, to) in files {
        std::fs::copy(directory.join(from), host.join(to)).unwrap();
    }
}

#[test]
fn verified_by_bundle_or_by_certs_d() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let Some(()) = make_certificates(directory) else { return };
    let fake = start(directory, "server");
    let registry = name_of(&fake);
    let settings = settings(directory);

    assert!(matches!(try_pull(&settings, &registry), Err(Failure::NoRoots { .. })));
    openssl(directory, &format!("req -x509 {KEY} -keyout o.key -out ca.pem -days 30 -subj /CN=other"))
        .unwrap();
    let text = try_pull(&settings, &registry).unwrap_err().to_string();
    assert!(text.contains("authority that this machine does not know"), "{text}");
    assert_eq!(fake.asked().len(), 0, "nothing is sent to a server that is not verified");

    trust(directory, &registry, &[("ca.crt", "ca.crt")]);
    try_pull(&settings, &registry).unwrap();
    let other = format!("other.test:{}", fake.address.port());
    assert!(try_pull(&settings, &other).is_err(), "certs.d counts for its own host only");

    std::fs::remove_dir_all(directory.join("certs.d")).unwrap();
    std::fs::copy(directory.join("ca.crt"), directory.join("ca.pem")).unwrap();
    try_pull(&settings, &registry).unwrap();
    let text = try_pull(&settings, &other).unwrap_err().to_string();
    assert!(text.contains("another name") && text.contains("registry.test"), "{text}");
}

#[test]
fn self_signed_in_certs_d_counts_for_its_names() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let make = format!(
        "req -x509 {KEY} -keyout self.key -out self.crt -days 30 -subj /CN=registry.test -addext subjectAltName=DNS:registry.test"
    );
    let Some(()) = openssl(directory, &make) else { return };
    let fake = start(directory, "self");
    let settings = settings(directory);
    let (registry, other) = (name_of(&fake), format!("other.test:{}", fake.address.port()));
    trust(directory, &registry, &[("self.crt", "domain.crt")]);
    trust(directory, &other, &[("self.crt", "domain.crt")]);
    try_pull(&settings, &registry).unwrap();
    let text = try_pull(&settings, &other).unwrap_err().to_string();
    assert!(text.contains("another name"), "{text}");
}

#[test]
fn client_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let Some(()) = make_certificates(directory) else { return };
    make_signed(directory, "user", "user.test").unwrap();
    let image = Image::new();
    let fake =
        Fake::start_tls(server_config(directory, "server", Some("ca.crt")), move |asked| image.answer(asked));
    let settings = settings(directory);
    let registry = name_of(&fake);
    trust(directory, &registry, &[("ca.crt", "ca.crt")]);
    assert!(try_pull(&settings, &registry).is_err());
    trust(directory, &registry, &[("user.crt", "client.cert"), ("user.key", "client.key")]);
    try_pull(&settings, &registry).unwrap();
    trust(directory, &registry, &[("ca.key", "client.key")]);
    let failure = try_pull(&settings, &registry).unwrap_err();
    assert!(matches!(failure, Failure::Tls { .. }), "a key of another certificate: {failure:?}");
}

#[test]
fn insecure_takes_any_certificate_but_only_where_it_is_set() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let Some(()) = make_certificates(directory) else { return };
    let fake = start(directory, "server");
    let registry = name_of(&fake);
    let settings =
        with_registries(directory, &format!("[[registry]]\nlocation='{registry}/team'\ninsecure=true\n"));
    try_pull(&settings, &registry).unwrap();
    let other = cais_oci::Reference::parse(&format!("{registry}/elsewhere/app")).unwrap();
    assert!(Client::new(&settings).unwrap().manifest(&other, None).is_err());
}

#[test]
fn plain_http_is_told_and_never_spoken() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("certs.d")).unwrap();
    let image = Image::new();
    let fake = Fake::start(move |asked| image.answer(asked));
    let registry = name_of(&fake);
    let mut settings = with_login(directory.path(), &registry);
    let Some(()) =
        openssl(directory.path(), &format!("req -x509 {KEY} -keyout o.key -out ca.pem -days 3 -subj /CN=o"))
    else {
        return;
    };
    settings.attempts = 1;
    let failure = try_pull(&settings, &registry).unwrap_err();
    assert!(matches!(failure, Failure::PlainHttp { .. }), "{failure:?}");
    assert!(failure.to_string().contains("insecure = true"));
    assert_eq!(fake.asked().len(), 0);
}

#[test]
fn nobody_is_led_out_of_tls() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let Some(()) = make_certificates(directory) else { return };
    let plain = Fake::start(|_| Reply::new(200, r#"{"token":"stolen"}"#));
    let (realm, location) =
        (format!("http://{}/token", plain.host()), format!("http://{}/manifest", plain.host()));
    let config = server_config(directory, "server", None);
    let tokens = Fake::start_tls(config.clone(), move |_| {
        Reply::new(401, "").with("WWW-Authenticate", format!(r#"Bearer realm="{realm}",service="x""#))
    });
    let redirects = Fake::start_tls(config, move |_| Reply::new(302, "").with("Location", location.clone()));
    std::fs::copy(directory.join("ca.crt"), directory.join("ca.pem")).unwrap();
    for fake in [&tokens, &redirects] {
        let registry = name_of(fake);
        let failure = try_pull(&with_login(directory, &registry), &registry).unwrap_err();
        assert!(matches!(failure, Failure::LeavesTls { .. }), "{failure:?}");
    }
    assert_eq!(plain.asked().len(), 0);
}

#[test]
fn a_proxy_is_asked_for_a_tunnel() {
    let directory = tempfile::tempdir().unwrap();
    let Some(()) = make_certificates(directory.path()) else { return };
    std::fs::copy(directory.path().join("ca.crt"), directory.path().join("ca.pem")).unwrap();
    let fake = start(directory.path(), "server");
    let target = fake.address;
    let proxy = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = settings(directory.path());
    settings.proxies.https = Some(format!("http://{}", proxy.local_addr().unwrap()));
    std::thread::spawn(move || {
        for client in proxy.incoming().flatten() {
            std::thread::spawn(move || tunnel(client, target));
        }
    });
    // Only the proxy can resolve this name.
    std::fs::write(&settings.hosts_file, "").unwrap();
    Client::new(&settings).unwrap().manifest(&reference("registry.test:5000"), None).unwrap();
    assert_eq!(fake.asked()[0].header("host"), Some("registry.test:5000"));
}

/// Answers one CONNECT and copies both ways.
fn tunnel(mut client: std::net::TcpStream, target: std::net::SocketAddr) {
    use std::io::{BufRead, BufReader, Write};
    let mut reader = BufReader::new(client.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    assert!(line.starts_with("CONNECT registry.test:5000 "), "{line}");
    while line.trim_end() != "" {
        line.clear();
        reader.read_line(&mut line).unwrap();
    }
    let server = std::net::TcpStream::connect_timeout(&target, std::time::Duration::from_secs(10)).unwrap();
    client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").unwrap();
    let (mut to_server, mut from_server) = (server.try_clone().unwrap(), server);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut reader, &mut to_server);
        let _ = to_server.shutdown(std::net::Shutdown::Write);
    });
    let _ = std::io::copy(&mut from_server, &mut client);
    let _ = client.shutdown(std::net::Shutdown::Both);
}
