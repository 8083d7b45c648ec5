//! `cais pull`: from registries that tell the truth and from one that lies.

use std::fs;

use cais_test::fake_registry::{FakeRegistry, Fault, Login};
use cais_test::image::{Built, host_architecture, sha256};
use cais_test::registry::{Doors, PASSWORD, Registry, USER};
use cais_test::{Cais, Compression, Image, Layer, e2e_empty, skip};
use serde_json::json;

fn image() -> Image {
    Image::new()
        .packed_layer(Layer::new().dir("a").file("a/one", "1".repeat(20_000)), Compression::Gzip)
        .packed_layer(Layer::new().file("a/two", "2".repeat(30_000)), Compression::Zstd)
        .packed_layer(Layer::new().file("a/three", "3"), Compression::None)
        .set("Cmd", json!(["/nothing"]))
}

fn id_of(cais: &Cais, name: &str) -> String {
    cais.cmd("image inspect --format {{.Id}}").arg(name).ok()
}

/// `https://registry.test:PORT` with the name in `/etc/hosts`.
fn tls_registry(password: bool) -> Option<(Registry, String)> {
    let registry =
        Registry::start(&Doors { tls_names: vec!["registry.test".to_owned()], password, port: 0 })?;
    fs::write("/etc/hosts", "127.0.0.1 localhost registry.test\n").unwrap();
    let name = format!("registry.test:{}", registry.port());
    Some((registry, name))
}

fn trust(registry: &Registry, name: &str) {
    let folder = format!("/etc/docker/certs.d/{name}");
    fs::create_dir_all(&folder).unwrap();
    fs::copy(registry.ca(), format!("{folder}/ca.crt")).unwrap();
}

pub fn write_login(cais: &Cais, registry: &str, user: &str, password: &str) {
    use std::process::Command;
    let folder = cais.folder().join("home/.docker");
    fs::create_dir_all(&folder).unwrap();
    let pair = cais.folder().join("pair");
    fs::write(&pair, format!("{user}:{password}")).unwrap();
    let encoded = Command::new("base64").arg("-w0").arg(pair).output().unwrap().stdout;
    let auth = String::from_utf8(encoded).unwrap();
    fs::write(folder.join("config.json"), json!({"auths": {registry: {"auth": auth}}}).to_string()).unwrap();
}

#[test]
fn from_a_real_registry_over_http() {
    e2e_empty(|cais| {
        let Some(registry) = Registry::start(&Doors::default()) else { return };
        let built = image().build();
        registry.push("dock/crate", "v1", &built);
        let name = format!("{}/dock/crate:v1", registry.address());
        let finished = cais.cmd("pull").arg(&name).output().code(0);
        assert_eq!(finished.stdout_text().lines().last(), Some(name.as_str()));
        assert_eq!(id_of(cais, &name), built.id());
        assert_eq!(cais.cmd("pull -q").arg(&name).ok(), name);
        let by_digest = format!("{}/dock/crate@{}", registry.address(), built.digest());
        cais.cmd("pull -q").arg(&by_digest).ok();
        assert_eq!(id_of(cais, &by_digest), built.id());
    });
}

#[test]
fn docker_schema_2_and_plain_layers() {
    e2e_empty(|cais| {
        let Some(registry) = Registry::start(&Doors::default()) else { return };
        let built =
            Image::new().docker().packed_layer(Layer::new().file("x", "y"), Compression::Gzip).build();
        registry.push("d", "latest", &built);
        cais.cmd("pull -q").arg(format!("{}/d", registry.address())).ok();
        assert_eq!(id_of(cais, &format!("{}/d", registry.address())), built.id());
    });
}

#[test]
fn the_machines_platform_is_chosen_from_an_index() {
    e2e_empty(|cais| {
        let Some(registry) = Registry::start(&Doors::default()) else { return };
        let (mine, other) = (image().build(), image().architecture("s390x").build());
        let digest = registry.push_index("multi", "v1", &[other.clone(), mine.clone()]);
        let name = format!("{}/multi:v1", registry.address());
        cais.cmd("pull -q").arg(&name).ok();
        assert_eq!(id_of(cais, &name), mine.id());
        let digests = cais.cmd("image inspect --format {{.RepoDigests}}").arg(&name).ok();
        assert!(digests.contains(&digest), "the digest of the index is kept: {digests}");
        cais.cmd("pull -q --platform linux/s390x").arg(&name).ok();
        assert_eq!(id_of(cais, &name), other.id());
        let refused = cais.cmd("pull --platform linux/riscv64").arg(&name).output().code(1);
        refused.one_clear_error().says("riscv64");
        assert_ne!(host_architecture(), "s390x");
    });
}

#[test]
fn tls_is_verified_by_certs_d_and_by_the_bundle() {
    e2e_empty(|cais| {
        let Some((registry, host)) = tls_registry(false) else { return };
        registry.push("p", "v1", &image().build());
        let name = format!("{host}/p:v1");
        cais.cmd("pull").arg(&name).output().code(1).one_clear_error().says("certificate");
        trust(&registry, &host);
        cais.cmd("pull -q").arg(&name).ok();
        fs::remove_dir_all("/etc/docker/certs.d").unwrap();
        cais.cmd("rmi").arg(&name).ok();
        let bundle = "/etc/ssl/certs/ca-certificates.crt";
        let mut roots = fs::read_to_string(bundle).unwrap_or_default();
        roots.push_str(&fs::read_to_string(registry.ca()).unwrap());
        fs::create_dir_all("/etc/ssl/certs").unwrap();
        fs::write(bundle, roots).unwrap();
        cais.cmd("pull -q").arg(&name).ok();
    });
}

#[test]
fn basic_authentication_comes_from_the_login_file() {
    e2e_empty(|cais| {
        let Some((registry, host)) = tls_registry(true) else { return };
        trust(&registry, &host);
        registry.push("p", "v1", &image().build());
        let name = format!("{host}/p:v1");
        cais.cmd("pull").arg(&name).output().code(1).one_clear_error();
        write_login(cais, &host, USER, "wrong");
        let refused = cais.cmd("pull").arg(&name).output().code(1).one_clear_error();
        assert!(!refused.stderr_text().contains("wrong"), "no secret in an error: {refused}");
        write_login(cais, &host, USER, PASSWORD);
        cais.cmd("pull -q").arg(&name).ok();
    });
}

#[test]
fn logins_in_the_environment_come_before_the_file() {
    e2e_empty(|cais| {
        let login = Login::Basic("me".to_owned(), "pw".to_owned());
        let registry = FakeRegistry::start(login);
        registry.add("p", "v1", &image().build());
        let name = format!("{}/p:v1", registry.address());
        write_login(cais, &registry.address(), "me", "wrong");
        // me:pw
        let text = json!({"auths": {registry.address(): {"auth": "bWU6cHc="}}}).to_string();
        cais.cmd("pull -q").arg(&name).env("DOCKER_AUTH_CONFIG", &text).ok();
        let broken = cais.cmd("pull -q").arg(&name).env("DOCKER_AUTH_CONFIG", &text[1..]).output().code(1);
        assert!(!broken.one_clear_error().says("DOCKER_AUTH_CONFIG").stderr_text().contains("bWU6"));
    });
}

#[test]
fn tokens_are_fetched_for_anonymous_and_named_users() {
    e2e_empty(|cais| {
        let open = FakeRegistry::start(Login::Token(None));
        open.add("t", "v1", &image().build());
        cais.cmd("pull -q").arg(format!("{}/t:v1", open.address())).ok();
        let closed = FakeRegistry::start(Login::Token(Some(("me".to_owned(), "pw".to_owned()))));
        closed.add("t", "v1", &image().build());
        let name = format!("{}/t:v1", closed.address());
        cais.cmd("pull").arg(&name).output().code(1).one_clear_error();
        write_login(cais, &closed.address(), "me", "pw");
        cais.cmd("pull -q").arg(&name).ok();
    });
}

#[test]
fn layers_that_are_here_are_not_fetched_again() {
    e2e_empty(|cais| {
        let registry = FakeRegistry::start(Login::Open);
        let first = image().build();
        let second = image().layer(Layer::new().file("more", "x")).build();
        registry.add("r", "v1", &first);
        registry.add("r", "v2", &second);
        cais.cmd("pull -q").arg(format!("{}/r:v1", registry.address())).ok();
        registry.take_requests();
        cais.cmd("pull -q").arg(format!("{}/r:v2", registry.address())).ok();
        let blobs: Vec<String> = registry
            .take_requests()
            .into_iter()
            .filter(|r| r.starts_with("GET") && r.contains("/blobs/"))
            .collect();
        assert_eq!(blobs.len(), 2, "the new layer and the new configuration: {blobs:?}");
    });
}

#[test]
fn a_lie_is_found_out_and_nothing_is_kept() {
    e2e_empty(|cais| {
        let registry = FakeRegistry::start(Login::Open);
        registry.add("r", "v1", &image().build());
        let name = format!("{}/r:v1", registry.address());
        registry.set_fault(Some(Fault::Corrupt));
        cais.cmd("pull").arg(&name).output().code(1).one_clear_error().says("expected sha256:");
        assert_eq!(cais.ok("images -q -a"), "");
        registry.set_fault(None);
        cais.cmd("pull -q").arg(&name).ok();
    });
}

#[test]
fn wrong_diff_ids_are_found_out() {
    e2e_empty(|cais| {
        let registry = FakeRegistry::start(Login::Open);
        let mut built = image().build();
        let config = String::from_utf8(built.config.clone())
            .unwrap()
            .replace(&sha256(&built.tars[0]), &sha256(b"another"));
        let old = sha256(&built.config);
        *built.blobs.last_mut().unwrap() = config.clone().into_bytes();
        let manifest = String::from_utf8(built.manifest).unwrap().replace(&old, &sha256(config.as_bytes()));
        built.manifest = manifest.into_bytes();
        built.config = config.into_bytes();
        registry.add("r", "v1", &built);
        cais.cmd("pull").arg(format!("{}/r:v1", registry.address())).output().code(1).one_clear_error();
        assert_eq!(cais.ok("images -q -a"), "");
    });
}

#[test]
fn a_broken_connection_is_taken_up_again() {
    e2e_empty(|cais| {
        let registry = FakeRegistry::start(Login::Open);
        let noise: Vec<u8> =
            (0..2_000_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        registry.add("r", "v1", &Image::new().layer(Layer::new().file("big", noise)).build());
        registry.set_fault(Some(Fault::Truncate(1)));
        cais.cmd("pull -q").arg(format!("{}/r:v1", registry.address())).ok();
        let requests = registry.take_requests();
        assert!(requests.iter().any(|request| request.contains("bytes=")), "by range: {requests:?}");
    });
}

#[test]
fn a_busy_registry_is_asked_again() {
    e2e_empty(|cais| {
        let registry = FakeRegistry::start(Login::Open);
        registry.add("r", "v1", &image().build());
        registry.set_fault(Some(Fault::Status(503, 1)));
        cais.cmd("pull -q").arg(format!("{}/r:v1", registry.address())).ok();
    });
}

#[test]
fn what_is_not_there_is_said_in_one_line() {
    e2e_empty(|cais| {
        let registry = FakeRegistry::start(Login::Open);
        let name = format!("{}/no/such:v1", registry.address());
        cais.cmd("pull").arg(&name).output().code(1).one_clear_error().says("no/such");
        cais.cmd("run --rm").arg(&name).output().code(125).one_clear_error();
        // Nobody listens on port 1.
        cais.fails(1, "pull 127.0.0.1:1/x").one_clear_error().says("127.0.0.1:1");
        cais.fails(125, "run --rm 127.0.0.1:1/x").one_clear_error();
        cais.fails(1, "pull 'Not A Reference'").one_clear_error();
        assert_eq!(cais.ok("images -q -a"), "");
    });
}

#[test]
fn run_pulls_what_is_missing() {
    e2e_empty(|cais| {
        let Some(busybox) = cais_test::rootfs::busybox() else { return skip("busybox-static is missing") };
        let registry = FakeRegistry::start(Login::Open);
        registry.add("bb", "latest", &busybox.build());
        let name = format!("{}/bb", registry.address());
        let finished = cais.cmd("run --rm").arg(&name).args("echo pulled").output().code(0);
        assert_eq!(finished.stdout_text(), "pulled", "progress is on standard error");
        assert!(!registry.take_requests().is_empty());
        cais.cmd("run --rm").arg(&name).args("true").ok();
        assert!(registry.take_requests().is_empty(), "nobody is asked for what is here");
        cais.cmd("run --rm --pull always").arg(&name).args("true").ok();
        assert!(!registry.take_requests().is_empty());
    });
}

#[test]
fn registries_conf_rules() {
    e2e_empty(|cais| {
        let registry = FakeRegistry::start(Login::Open);
        registry.add("mirror/library/thing", "latest", &image().build());
        registry.add("elsewhere/thing", "latest", &image().build());
        let address = registry.address();
        let conf = format!(
            "unqualified-search-registries = [\"docker.io\"]\n\
             [[registry]]\nprefix = \"docker.io\"\nlocation = \"127.0.0.1:1\"\ninsecure = true\n\
             [[registry.mirror]]\nlocation = \"{address}/mirror\"\ninsecure = true\n\
             [[registry]]\nlocation = \"blocked.test\"\nblocked = true\n\
             [aliases]\n\"short\" = \"{address}/elsewhere/thing\"\n"
        );
        fs::create_dir_all("/etc/containers").unwrap();
        fs::write("/etc/containers/registries.conf", conf).unwrap();
        assert_eq!(cais.ok("pull -q thing"), "docker.io/library/thing:latest");
        cais.fails(1, "pull blocked.test/x").one_clear_error().says("block");
        // It is known under another name as well, that comes first in any order.
        cais.ok("tag thing 0.test/thing:latest");
        assert_eq!(cais.ok("pull -q short"), format!("{address}/elsewhere/thing:latest"));
    });
}

#[test]
fn a_proxy_is_used_for_other_hosts() {
    e2e_empty(|cais| {
        let proxy = FakeRegistry::start(Login::Open);
        proxy.add("far", "v1", &image().build());
        // Without the proxy nobody answers there.
        fs::write("/etc/hosts", "127.0.0.1 localhost far.test\n").unwrap();
        fs::create_dir_all("/etc/containers").unwrap();
        fs::write(
            "/etc/containers/registries.conf",
            "[[registry]]\nlocation = \"far.test:80\"\ninsecure = true\n",
        )
        .unwrap();
        let pull = |variable: &str| {
            cais.cmd("pull -q far.test:80/far:v1").env(variable, format!("http://{}", proxy.address()))
        };
        pull("HTTP_PROXY").env("NO_PROXY", "far.test").output().code(1).one_clear_error();
        pull("HTTP_PROXY").env("HTTPS_PROXY", format!("http://{}", proxy.address())).ok();
    });
}

#[test]
fn two_pulls_of_one_image_at_once() {
    e2e_empty(|cais| {
        let registry = FakeRegistry::start(Login::Open);
        let built: Built = image().build();
        registry.add("r", "v1", &built);
        let name = format!("{}/r:v1", registry.address());
        let pulls: Vec<_> = (0..4).map(|_| cais.cmd("pull -q").arg(&name).spawn()).collect();
        for pull in pulls {
            pull.wait().code(0).prints(&name);
        }
        assert_eq!(id_of(cais, &name), built.id());
    });
}
