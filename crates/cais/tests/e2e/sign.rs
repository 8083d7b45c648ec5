//! `cais image sign` and `verify`, and `policy.json` enforced by `pull`; openssl verifies and makes signatures, too.
//!
//! Debian's skopeo and podman are built without sigstore signatures, so they cannot be asked.

use std::fs;
use std::path::{Path, PathBuf};

use cais_test::fake_registry::{FakeRegistry, Login};
use cais_test::image::sha256;
use cais_test::process::Invocation;
use cais_test::registry::{Doors, PASSWORD, Registry, USER};
use cais_test::{Cais, Image, Layer, e2e_empty, skip};
use serde_json::{Value, json};

fn image(content: &str) -> Image {
    Image::new().layer(Layer::new().file("a", content))
}

/// A private key and its public one, by openssl.
fn keys(cais: &Cais, name: &str) -> Option<(PathBuf, PathBuf)> {
    if !Path::new("/usr/bin/openssl").exists() {
        skip("openssl is not installed");
        return None;
    }
    let (private, public) =
        (cais.folder().join(format!("{name}.key")), cais.folder().join(format!("{name}.pub")));
    Invocation::new("openssl", "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out")
        .arg(&private)
        .ok();
    Invocation::new("openssl", "pkey -pubout -in").arg(&private).args("-out").arg(&public).ok();
    Some((private, public))
}

fn sign(cais: &Cais, key: &Path, image: &str) -> Invocation {
    cais.cmd("image sign --key").arg(key).arg(image)
}

fn verify(cais: &Cais, key: &Path, image: &str) -> Invocation {
    cais.cmd("image verify --key").arg(key).arg(image)
}

/// Images of `scope` need this; all others are rejected.
fn policy(scope: &str, requirement: &Value) -> String {
    json!({"default": [{"type": "reject"}], "transports": {"docker": {scope: [requirement]}}}).to_string()
}

fn use_policy(text: &str) {
    fs::create_dir_all("/etc/containers").unwrap();
    fs::write("/etc/containers/policy.json", text).unwrap();
}

fn signed_by(public: &Path) -> Value {
    json!({"type": "sigstoreSigned", "keyPath": public})
}

#[test]
fn what_one_key_signs_it_verifies_and_no_other() {
    e2e_empty(|cais| {
        let Some(registry) = Registry::start(&Doors { password: true, ..Doors::default() }) else { return };
        let (Some((private, public)), Some((_, other))) = (keys(cais, "one"), keys(cais, "other")) else {
            return;
        };
        let built = image("one").build();
        registry.push("team/web", "1", &built);
        let name = format!("{}/team/web:1", registry.address());
        sign(cais, &private, &name).output().code(1).one_clear_error().says("login");
        cais.cmd("login --password-stdin -u").arg(USER).arg(registry.address()).stdin(PASSWORD).ok();
        verify(cais, &public, &name).output().code(1).one_clear_error().says("has no signature");

        let by_digest = format!("{}/team/web@{}", registry.address(), built.digest());
        assert_eq!(sign(cais, &private, &name).args("-a by=me").ok(), by_digest);
        let claims: Value = serde_json::from_str(&verify(cais, &public, &name).ok()).unwrap();
        let expected = json!({"critical": {
            "identity": {"docker-reference": name}, "image": {"docker-manifest-digest": built.digest()},
            "type": "cosign container image signature"}, "optional": {"by": "me"}});
        assert_eq!(claims, json!([expected]));
        verify(cais, &public, &by_digest).ok();
        verify(cais, &other, &name).output().code(1).one_clear_error().says("none of the signatures");
        let tag = format!("{}.sig", built.digest().replace(':', "-"));
        let tags = cais.cmd("image tags").arg(format!("{}/team/web", registry.address())).ok();
        let mut tags: Vec<&str> = tags.lines().collect();
        tags.sort();
        assert_eq!(tags, ["1", tag.as_str()], "as cosign keeps it");

        // Another signature stands beside it; the same one is not added again.
        sign(cais, &private, &name).ok();
        let again = sign(cais, &private, &name).output().code(0);
        assert!(again.stderr_text().contains("signed like this before"), "{again}");
        let claims: Value = serde_json::from_str(&verify(cais, &public, &name).ok()).unwrap();
        assert_eq!(claims.as_array().unwrap().len(), 2);
    });
}

#[test]
fn a_policy_lets_signed_images_in_only() {
    e2e_empty(|cais| {
        let Some(registry) = Registry::start(&Doors::default()) else { return };
        let (Some((private, public)), Some((wrong, _))) = (keys(cais, "one"), keys(cais, "other")) else {
            return;
        };
        let host = registry.address();
        let (good, bad, forged) = (image("good").build(), image("bad").build(), image("forged").build());
        registry.push("team/web", "good", &good);
        registry.push("team/web", "bad", &bad);
        registry.push("team/web", "forged", &forged);
        let name = |tag: &str| format!("{host}/team/web:{tag}");
        sign(cais, &private, &name("good")).ok();
        sign(cais, &wrong, &name("forged")).ok();
        use_policy(&policy(&format!("{host}/team"), &signed_by(&public)));
        let refuse = |name: &str, text: &str| {
            cais.cmd("pull").arg(name).output().code(1).one_clear_error().says("policy.json").says(text);
            assert_eq!(cais.ok("images -q -a"), "");
        };
        refuse(&name("bad"), "it has no signature");
        refuse(&name("forged"), "none of its signatures is by a key that is trusted");
        // A good image under a name that was not signed.
        registry.push("team/web", "moved", &good);
        refuse(&name("moved"), "it is signed as");
        registry.push("other/web", "good", &good);
        refuse(&format!("{host}/other/web:good"), "rejected");
        cais.cmd("pull -q").arg(name("good")).ok();
        cais.cmd("pull -q").arg(format!("{host}/team/web@{}", good.digest())).ok();
        cais.cmd("rmi -f").arg(name("good")).ok();
        cais.fails(125, &format!("run --rm {} true", name("bad"))).one_clear_error().says("policy.json");

        let mut any_tag = signed_by(&public);
        any_tag["signedIdentity"] = json!({"type": "matchRepository"});
        use_policy(&policy(&host, &any_tag));
        cais.cmd("pull -q").arg(name("moved")).ok();
    });
}

#[test]
fn an_index_is_signed_for_all_platforms() {
    e2e_empty(|cais| {
        let Some(registry) = Registry::start(&Doors::default()) else { return };
        let Some((private, public)) = keys(cais, "one") else { return };
        let images = [image("mine").build(), image("other").architecture("s390x").build()];
        let digest = registry.push_index("multi", "v1", &images);
        let name = format!("{}/multi:v1", registry.address());
        assert!(sign(cais, &private, &name).ok().ends_with(&digest));
        use_policy(&policy("", &signed_by(&public)));
        cais.cmd("pull -q").arg(&name).ok();
        // The manifest of the platform alone will do as well.
        registry.push_index("alone", "v1", &images);
        let alone = format!("{}/alone", registry.address());
        cais.cmd("pull").arg(format!("{alone}:v1")).output().code(1).one_clear_error();
        sign(cais, &private, &format!("{alone}@{}", images[0].digest())).ok();
        let mut any_tag = signed_by(&public);
        any_tag["signedIdentity"] = json!({"type": "matchRepository"});
        use_policy(&policy("", &any_tag));
        cais.cmd("pull -q").arg(format!("{alone}:v1")).ok();
    });
}

#[test]
fn what_cannot_be_checked_is_refused_by_name() {
    e2e_empty(|cais| {
        let registry = FakeRegistry::start(Login::Open);
        registry.add("p", "v1", &image("x").build());
        let name = format!("{}/p:v1", registry.address());
        let refuse = |text: &str, words: &str| {
            use_policy(text);
            cais.cmd("pull").arg(&name).output().code(1).one_clear_error().says(words);
        };
        let gpg = json!({"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"});
        refuse(&policy("", &gpg), "GnuPG");
        let fulcio =
            json!({"type": "sigstoreSigned", "fulcio": {"caPath": "/c"}, "rekorPublicKeyPath": "/r"});
        refuse(&policy("", &fulcio), "fulcio");
        refuse(&policy("", &json!({"type": "reject"})), "rejected");
        refuse(&policy("", &signed_by(Path::new("/no/such.pub"))), "/no/such.pub");
        refuse("{", "policy.json");
        refuse(&policy("", &json!({"type": "trust"})), "trust");
        // The user's own file comes before the machine's.
        let own = cais.folder().join("home/.config/containers");
        fs::create_dir_all(&own).unwrap();
        fs::write(own.join("policy.json"), policy("", &json!({"type": "insecureAcceptAnything"}))).unwrap();
        cais.cmd("pull -q").arg(&name).ok();

        let Some((private, public)) = keys(cais, "one") else { return };
        sign(cais, &public, &name).output().code(1).one_clear_error().says("PRIVATE KEY");
        verify(cais, &private, &name).output().code(1).one_clear_error().says("PUBLIC KEY");
        let encrypted = cais.folder().join("encrypted.key");
        Invocation::new("openssl", "pkcs8 -topk8 -passout pass:x -in")
            .arg(&private)
            .args("-out")
            .arg(&encrypted)
            .ok();
        sign(cais, &encrypted, &name).output().code(1).one_clear_error().says("encrypted");
        sign(cais, &private, "127.0.0.1:1/x").output().code(1).one_clear_error().says("127.0.0.1:1");
    });
}

/// What stands in a signature's manifest: the payload's digest and the signature.
fn parts(manifest: &[u8]) -> (String, Vec<u8>) {
    let manifest: Value = serde_json::from_slice(manifest).unwrap();
    let layer = &manifest["layers"][0];
    assert_eq!(layer["mediaType"], "application/vnd.dev.cosign.simplesigning.v1+json");
    let text = layer["annotations"]["dev.cosignproject.cosign/signature"].as_str().unwrap();
    let signature = Invocation::new("base64", "-d").stdin(text).output().code(0).stdout;
    (layer["digest"].as_str().unwrap().to_owned(), signature)
}

#[test]
fn openssl_verifies_what_cais_signs() {
    e2e_empty(|cais| {
        let Some(registry) = Registry::start(&Doors::default()) else { return };
        let Some((private, public)) = keys(cais, "one") else { return };
        let built = image("one").build();
        registry.push("team/web", "1", &built);
        sign(cais, &private, &format!("{}/team/web:1", registry.address())).ok();
        let fetch = |path: &str| {
            let url = format!("http://{}/v2/team/web/{path}", registry.address());
            Invocation::new("curl", "-fsS -H 'Accept: application/vnd.oci.image.manifest.v1+json'")
                .arg(url)
                .output()
        };
        let tag = format!("{}.sig", built.digest().replace(':', "-"));
        let (digest, signature) = parts(&fetch(&format!("manifests/{tag}")).code(0).stdout);
        let (payload, file) = (cais.folder().join("payload"), cais.folder().join("signature"));
        fs::write(&payload, fetch(&format!("blobs/{digest}")).code(0).stdout).unwrap();
        fs::write(&file, signature).unwrap();
        let check =
            Invocation::new("openssl", "dgst -sha256 -verify").arg(&public).args("-signature").arg(&file);
        assert_eq!(check.arg(&payload).ok(), "Verified OK");
    });
}

/// Pushes a signature by openssl in cosign's form, for the image of `digest`.
fn sign_by_openssl(cais: &Cais, registry: &Registry, key: &Path, payload: &str, digest: &str) {
    let file = cais.folder().join("payload");
    fs::write(&file, payload).unwrap();
    let signature =
        Invocation::new("openssl", "dgst -sha256 -sign").arg(key).arg(&file).output().code(0).stdout;
    let mut built = image("none").build();
    let config = b"{}".to_vec();
    let describe =
        |kind: &str, bytes: &[u8]| json!({"mediaType": kind, "digest": sha256(bytes), "size": bytes.len()});
    let mut layer = describe("application/vnd.dev.cosign.simplesigning.v1+json", payload.as_bytes());
    let text = Invocation::new("base64", "-w0").stdin(signature).ok();
    layer["annotations"] =
        json!({"dev.cosignproject.cosign/signature": text, "dev.sigstore.cosign/bundle": "{}"});
    built.manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": describe("application/vnd.oci.image.config.v1+json", &config), "layers": [layer]})
    .to_string()
    .into_bytes();
    built.blobs = vec![config, payload.as_bytes().to_vec()];
    registry.push("team/web", &format!("{}.sig", digest.replace(':', "-")), &built);
}

#[test]
fn signatures_in_cosigns_form_are_taken() {
    e2e_empty(|cais| {
        let Some(registry) = Registry::start(&Doors::default()) else { return };
        let Some((private, public)) = keys(cais, "one") else { return };
        let (built, other) = (image("one").build(), image("two").build());
        registry.push("team/web", "1", &built);
        registry.push("team/web", "2", &other);
        let name = |tag: &str| format!("{}/team/web:{tag}", registry.address());
        // cosign names the repository alone.
        let payload = json!({"critical": {
            "identity": {"docker-reference": format!("{}/team/web", registry.address())},
            "image": {"docker-manifest-digest": built.digest()},
            "type": "cosign container image signature"}, "optional": null})
        .to_string();
        sign_by_openssl(cais, &registry, &private, &payload, &built.digest());
        assert_eq!(verify(cais, &public, &name("1")).ok(), format!("[{payload}]"));
        let mut requirement = signed_by(&public);
        use_policy(&policy("", &requirement));
        cais.cmd("pull").arg(name("1")).output().code(1).one_clear_error().says("it is signed as");
        requirement["signedIdentity"] = json!({"type": "matchRepository"});
        use_policy(&policy("", &requirement));
        cais.cmd("pull -q").arg(name("1")).ok();
        // The signature of one image says nothing of another one.
        sign_by_openssl(cais, &registry, &private, &payload, &other.digest());
        verify(cais, &public, &name("2")).output().code(1).one_clear_error();
        cais.cmd("pull").arg(name("2")).output().code(1).one_clear_error().says("policy.json");
        // And what is signed must be a claim.
        sign_by_openssl(cais, &registry, &private, "{}", &other.digest());
        cais.cmd("pull").arg(name("2")).output().code(1).one_clear_error().says("policy.json");
    });
}
