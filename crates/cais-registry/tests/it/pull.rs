//! Well-behaved registries: what is asked for arrives, from the right place.

use std::io::Read;
use std::thread;

use cais_oci::{Descriptor, Digest, Index, ManifestKind, media_type};
use cais_registry::{Client, Error, Failure, ProxySettings};

use crate::fake::{Fake, Image, Reply, client, reference, settings, with_registries};

fn read_all(mut reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map(|_| bytes)
}

#[test]
fn manifest_and_blobs_over_plain_http_on_the_loopback() {
    let image = Image::new();
    let shared = image.clone();
    let fake = Fake::start(move |asked| shared.answer(asked));
    let client = client();
    let name = reference(&fake.host());
    let fetched = client.manifest(&name, None).unwrap();
    assert_eq!(fetched.bytes, image.manifest);
    assert_eq!(fetched.digest, image.digest);
    assert_eq!(fetched.media_type, media_type::OCI_MANIFEST);
    let ManifestKind::Manifest(manifest) = &fetched.kind else { panic!("an index") };
    assert_eq!(read_all(client.blob(&name, &manifest.layers[0]).unwrap()).unwrap(), image.layer);
    assert_eq!(read_all(client.blob(&name, &manifest.config).unwrap()).unwrap(), image.config);

    let asked = fake.asked();
    assert_eq!(asked[0].target, "/v2/team/app/manifests/1");
    assert_eq!(asked[0].header("user-agent"), Some("cais-test/1"));
    assert_eq!(asked[0].header("accept-encoding"), Some("identity"));
    for kind in media_type::MANIFESTS {
        assert!(asked[0].header("accept").unwrap().contains(kind));
    }
}

#[test]
fn by_digest_and_by_descriptor() {
    let image = Image::new();
    let index = Index::new(vec![Descriptor::new(
        media_type::OCI_MANIFEST,
        image.digest.clone(),
        image.manifest.len() as u64,
    )]);
    let index = serde_json::to_vec(&index).unwrap();
    let (shared, shared_index) = (image.clone(), index.clone());
    let fake = Fake::start(move |asked| match asked.target.as_str() {
        "/v2/team/app/manifests/1" => {
            Reply::new(200, shared_index.clone()).with("Content-Type", media_type::OCI_INDEX)
        }
        _ => shared.answer(asked),
    });
    let client = client();
    let name = reference(&fake.host());
    let fetched = client.manifest(&name, None).unwrap();
    let ManifestKind::Index(index) = &fetched.kind else { panic!("no index") };
    let child = &index.manifests[0];
    let by_digest = name.with_digest(child.digest.clone());
    assert_eq!(client.manifest(&by_digest, Some(child)).unwrap().digest, image.digest);
    assert_eq!(client.manifest(&by_digest, None).unwrap().digest, image.digest);

    let mut wrong = child.clone();
    wrong.size += 1;
    let error = client.manifest(&by_digest, Some(&wrong)).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::Size { .. })), "{error:?}");
    let other = name.with_digest(Digest::sha256(b"other"));
    let error = client.manifest(&other, None).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::Digest { .. })), "{error:?}");
}

#[test]
fn blobs_in_parallel() {
    let image = Image::new();
    let shared = image.clone();
    let fake = Fake::start(move |asked| shared.answer(asked));
    let client = client();
    let name = reference(&fake.host());
    thread::scope(|scope| {
        let fetch = || read_all(client.blob(&name, &image.layer_descriptor).unwrap()).unwrap();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(fetch)).collect();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), image.layer);
        }
    });
}

#[test]
fn download_goes_on_from_an_offset() {
    let image = Image::new();
    let shared = image.clone();
    let fake = Fake::start(move |asked| shared.answer(asked));
    let mut seen = image.layer_descriptor.digest.hasher();
    seen.update(&image.layer[..1000]);
    let reader = client().blob_from(&reference(&fake.host()), &image.layer_descriptor, 1000, seen).unwrap();
    assert_eq!(read_all(reader).unwrap(), &image.layer[1000..]);
    assert_eq!(fake.asked().last().unwrap().range(), Some(1000));
}

#[test]
fn mirrors_come_first_and_may_fail() {
    let directory = tempfile::tempdir().unwrap();
    let image = Image::new();
    let shared = image.clone();
    let registry = Fake::start(move |asked| shared.answer(asked));
    let empty = Fake::start(|_| Reply::new(404, ""));
    let shared = image.clone();
    let mirror = Fake::start(move |asked| {
        if asked.target.starts_with("/v2/cache/team/app/") {
            shared.answer(asked)
        } else {
            Reply::new(404, "")
        }
    });
    // Nobody listens at the address of a closed listener.
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = |mirrors: &[String]| {
        let mirrors: String =
            mirrors.iter().map(|mirror| format!("[[registry.mirror]]\nlocation='{mirror}'\n")).collect();
        format!("[[registry]]\nprefix='hub.test'\nlocation='{}'\n{mirrors}", registry.host())
    };
    let name = reference("hub.test");

    let settings = with_registries(
        directory.path(),
        &text(&[dead.to_string(), empty.host(), format!("{}/cache", mirror.host())]),
    );
    let client = Client::new(&settings).unwrap();
    let fetched = client.manifest(&name, None).unwrap();
    assert_eq!(fetched.source.registry, mirror.host());
    assert!(fetched.source.mirror);
    read_all(client.blob(&name, &image.layer_descriptor).unwrap()).unwrap();
    assert_eq!(registry.asked().len(), 0);

    let settings = with_registries(directory.path(), &text(&[dead.to_string(), empty.host()]));
    let fetched = Client::new(&settings).unwrap().manifest(&name, None).unwrap();
    assert_eq!(fetched.source.registry, registry.host());

    let settings = with_registries(
        directory.path(),
        &format!(
            "[[registry]]\nprefix='hub.test'\nlocation='{}'\n[[registry.mirror]]\nlocation='{dead}'\n",
            empty.host()
        ),
    );
    let error = Client::new(&settings).unwrap().manifest(&name, None).unwrap_err();
    let text = error.to_string();
    assert!(
        error.is_not_found() && text.contains(&dead.to_string()) && text.contains(&empty.host()),
        "{text}"
    );
}

#[test]
fn names_come_from_the_hosts_file() {
    let directory = tempfile::tempdir().unwrap();
    let image = Image::new();
    let fake = Fake::start(move |asked| image.answer(asked));
    let registry = format!("registry.test:{}", fake.address.port());
    let settings =
        with_registries(directory.path(), &format!("[[registry]]\nlocation='{registry}'\ninsecure=true\n"));
    std::fs::write(&settings.hosts_file, "127.0.0.1 registry.test\n").unwrap();
    Client::new(&settings).unwrap().manifest(&reference(&registry), None).unwrap();
    assert_eq!(fake.asked()[0].header("host"), Some(registry.as_str()));
}

#[test]
fn a_name_server_that_fails_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let settings = settings(directory.path());
    // A bound and silent socket would cost the whole timeout; a closed port answers at once.
    let closed = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    std::fs::write(&settings.resolv_conf, format!("nameserver {closed}\n")).unwrap();
    let error = Client::new(&settings).unwrap().manifest(&reference("registry.test"), None).unwrap_err();
    let Error::Fetch { source, .. } = &error else { panic!("{error:?}") };
    assert!(matches!(**source, Failure::Name { .. }), "{error:?}");
    assert!(std::error::Error::source(source).unwrap().to_string().contains(&closed.to_string()));
}

#[test]
fn redirects_lose_the_credentials() {
    let directory = tempfile::tempdir().unwrap();
    let image = Image::new();
    let shared = image.clone();
    let store = Fake::start(move |asked| {
        if asked.header("authorization").is_some() {
            Reply::new(400, "two ways to sign")
        } else {
            shared.layer_reply(asked)
        }
    });
    let location = format!("http://{}/bucket/x?signature=abc%2Fd", store.host());
    let shared = image.clone();
    let registry = Fake::start(move |asked| {
        if asked.header("authorization") != Some(crate::fake::LOGIN) {
            return Reply::new(401, "").with("WWW-Authenticate", "Basic realm=x");
        }
        match asked.target.as_str() {
            "/here" => shared.layer_reply(asked),
            target if target.contains("/blobs/") && target.contains("/near/") => {
                Reply::new(302, "").with("Location", "/here")
            }
            target if target.contains("/blobs/") => Reply::new(307, "").with("Location", location.clone()),
            _ => shared.answer(asked),
        }
    });
    let client = Client::new(&crate::fake::with_login(directory.path(), &registry.host())).unwrap();
    let far = reference(&registry.host());
    assert_eq!(read_all(client.blob(&far, &image.layer_descriptor).unwrap()).unwrap(), image.layer);
    assert_eq!(store.asked()[0].target, "/bucket/x?signature=abc%2Fd");
    let near = cais_oci::Reference::parse(&format!("{}/near/app", registry.host())).unwrap();
    assert_eq!(read_all(client.blob(&near, &image.layer_descriptor).unwrap()).unwrap(), image.layer);
    assert_eq!(store.asked().len(), 1);
}

#[test]
fn a_proxy_is_named_the_whole_plain_target() {
    let directory = tempfile::tempdir().unwrap();
    let image = Image::new();
    let (shared, layer) = (image.clone(), image.layer_descriptor.clone());
    // The proxy itself answers, for whatever target; a tunnel it refuses.
    let proxy = Fake::start(move |asked| {
        if asked.target.starts_with("http://only-the-proxy-knows.test:5000/v2/team/app/") {
            shared.answer(asked)
        } else {
            Reply::new(405, "")
        }
    });
    let registry = "only-the-proxy-knows.test:5000";
    let mut settings =
        with_registries(directory.path(), &format!("[[registry]]\nlocation='{registry}'\ninsecure=true\n"));
    let value = Some(format!("http://user:secret@{}", proxy.address));
    settings.proxies = ProxySettings { http: value.clone(), https: value, no_proxy: None };
    let client = Client::new(&settings).unwrap();
    client.manifest(&reference(registry), None).unwrap();
    // Several requests over one connection.
    for _ in 0..2 {
        assert_eq!(read_all(client.blob(&reference(registry), &layer).unwrap()).unwrap(), image.layer);
    }
    let asked = proxy.asked();
    let plain: Vec<_> = asked.iter().filter(|asked| asked.method == "GET").collect();
    assert_eq!(plain.len(), 3);
    for request in plain {
        assert_eq!(request.header("host"), Some(registry));
        assert_eq!(request.header("proxy-authorization"), Some(crate::fake::LOGIN));
        assert_eq!(request.header("authorization"), None);
    }
}
