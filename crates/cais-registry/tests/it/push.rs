//! Pushing to a registry that keeps uploads as the specification says, and to some that do not.

use std::collections::BTreeMap;
use std::io::{self, Cursor, Read};
use std::sync::{Arc, Mutex};

use cais_oci::{Descriptor, Digest, media_type};
use cais_registry::{Client, Destination, Error, Failure, Placed};

use crate::fake::{Asked, Fake, LOGIN, Reply, client, reference, settings, with_login, with_registries};

/// What a made-up registry holds.
#[derive(Default)]
struct Shelf {
    blobs: BTreeMap<String, Vec<u8>>,
    uploads: BTreeMap<usize, Vec<u8>>,
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    begun: usize,
}

type Shared = Arc<Mutex<Shelf>>;

/// Bodies larger than this are refused.
const BODY_MAX_BYTES: usize = 64 << 20;

fn query<'a>(target: &'a str, name: &str) -> Option<&'a str> {
    let (_, query) = target.split_once('?')?;
    query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}

fn accepted(number: usize, bytes: usize) -> Reply {
    Reply::new(202, "")
        .with("Location", format!("/v2/team/app/blobs/uploads/{number}?state=x"))
        .with("Range", format!("0-{}", bytes.saturating_sub(1)))
}

/// A registry as the specification has it, with a body limit.
fn answer(shelf: &Shared, body_max_bytes: usize, asked: &Asked) -> Reply {
    let mut shelf = shelf.lock().unwrap();
    let path = asked.target.split('?').next().unwrap_or("").to_owned();
    let rest = path.strip_prefix("/v2/team/app/").unwrap_or("");
    let number = rest.strip_prefix("blobs/uploads/").and_then(|number| number.parse::<usize>().ok());
    if asked.bytes.len() > body_max_bytes {
        return Reply::new(413, "<html>too large</html>");
    }
    match (asked.method.as_str(), number) {
        ("HEAD", _) => {
            let known = rest.strip_prefix("blobs/").is_some_and(|digest| shelf.blobs.contains_key(digest))
                || rest.strip_prefix("manifests/").is_some_and(|name| shelf.manifests.contains_key(name));
            Reply::new(if known { 200 } else { 404 }, "")
        }
        ("POST", _) => {
            if let Some(digest) = query(&asked.target, "mount").map(|digest| digest.replace("%3A", ":"))
                && query(&asked.target, "from") == Some("team%2Fbase")
                && shelf.blobs.contains_key(&format!("base/{digest}"))
            {
                return Reply::new(201, "");
            }
            shelf.begun += 1;
            let number = shelf.begun;
            shelf.uploads.insert(number, Vec::new());
            accepted(number, 0)
        }
        ("GET", Some(number)) => match shelf.uploads.get(&number) {
            Some(bytes) => {
                let mut reply = accepted(number, bytes.len());
                reply.status = 204;
                reply
            }
            None => Reply::new(404, ""),
        },
        ("PATCH", Some(number)) => {
            let Some(bytes) = shelf.uploads.get_mut(&number) else { return Reply::new(404, "") };
            let range = asked.header("content-range").unwrap();
            if range.split('-').next() != Some(&bytes.len().to_string()) {
                return Reply::new(416, "");
            }
            bytes.extend_from_slice(&asked.bytes);
            accepted(number, bytes.len())
        }
        ("PUT", Some(number)) => {
            let Some(mut bytes) = shelf.uploads.remove(&number) else { return Reply::new(404, "") };
            bytes.extend_from_slice(&asked.bytes);
            let announced: usize = asked.header("content-length").unwrap().parse().unwrap();
            if asked.bytes.len() < announced {
                shelf.uploads.insert(number, bytes);
                return Reply::new(500, "");
            }
            let digest = query(&asked.target, "digest").unwrap().replace("%3A", ":");
            if Digest::sha256(&bytes).to_string() != digest {
                return Reply::new(400, r#"{"errors":[{"code":"DIGEST_INVALID","message":"wrong bytes"}]}"#);
            }
            shelf.blobs.insert(digest.clone(), bytes);
            Reply::new(201, "").with("Docker-Content-Digest", digest)
        }
        ("PUT", None) => {
            let name = rest.strip_prefix("manifests/").unwrap().to_owned();
            let kind = asked.header("content-type").unwrap().to_owned();
            shelf.manifests.insert(name, (kind, asked.bytes.clone()));
            Reply::new(201, "").with("Docker-Content-Digest", Digest::sha256(&asked.bytes).to_string())
        }
        ("DELETE", Some(number)) => {
            shelf.uploads.remove(&number);
            Reply::new(204, "")
        }
        _ => Reply::new(405, ""),
    }
}

fn registry(body_max_bytes: usize) -> (Fake, Shared) {
    let shelf = Shared::default();
    let kept = shelf.clone();
    (Fake::start(move |asked| answer(&kept, body_max_bytes, asked)), shelf)
}

fn destination(fake: &Fake) -> Destination {
    client().destination(&reference(&fake.host()), &["team/base".to_owned()]).unwrap()
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes as u64 / 8).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes()).collect()
}

fn describe(bytes: &[u8]) -> Descriptor {
    Descriptor::new(media_type::OCI_LAYER, Digest::sha256(bytes), bytes.len() as u64)
}

fn open(bytes: &[u8], offset: u64) -> io::Result<Box<dyn Read>> {
    let rest = bytes[usize::try_from(offset).unwrap()..].to_vec();
    Ok(Box::new(Cursor::new(rest)))
}

fn put(destination: &Destination, bytes: &[u8], mount: &[&str]) -> Result<Placed, Error> {
    let mount: Vec<String> = mount.iter().map(|&repository| repository.to_owned()).collect();
    destination.put_blob(&describe(bytes), &mount, &|offset| open(bytes, offset), &|_| {})
}

fn methods(fake: &Fake) -> Vec<String> {
    fake.asked().into_iter().map(|asked| asked.method).collect()
}

#[test]
fn only_what_is_missing_is_sent() {
    let (fake, shelf) = registry(BODY_MAX_BYTES);
    let bytes = content(300_000);
    let digest = describe(&bytes).digest.to_string();
    let destination = destination(&fake);
    assert_eq!(put(&destination, &bytes, &[]).unwrap(), Placed::Sent);
    assert_eq!(methods(&fake), ["HEAD", "POST", "PUT"]);
    assert_eq!(shelf.lock().unwrap().blobs[&digest], bytes);
    assert_eq!(put(&destination, &bytes, &[]).unwrap(), Placed::Present);
    assert_eq!(methods(&fake).len(), 4, "one look and nothing else");

    let document = br#"{"schemaVersion":2}"#;
    let digest = destination.put_manifest(Some("1"), document, media_type::OCI_MANIFEST).unwrap();
    destination.put_manifest(None, document, media_type::OCI_MANIFEST).unwrap();
    let shelf = shelf.lock().unwrap();
    let wanted = (media_type::OCI_MANIFEST.to_owned(), document.to_vec());
    assert_eq!(shelf.manifests["1"], wanted);
    assert_eq!(shelf.manifests[&digest.to_string()], wanted);
    drop(shelf);
    assert!(destination.has_manifest(&digest).unwrap());
    assert!(!destination.has_blob(&digest).unwrap());
}

#[test]
fn an_empty_blob_is_sent() {
    let (fake, shelf) = registry(BODY_MAX_BYTES);
    assert_eq!(put(&destination(&fake), b"", &[]).unwrap(), Placed::Sent);
    assert_eq!(shelf.lock().unwrap().blobs.len(), 1);
}

#[test]
fn what_another_repository_has_is_mounted() {
    let (fake, shelf) = registry(BODY_MAX_BYTES);
    let bytes = content(1000);
    shelf.lock().unwrap().blobs.insert(format!("base/{}", describe(&bytes).digest), bytes.clone());
    let destination = destination(&fake);
    let placed = put(&destination, &bytes, &["team/none", "team/base"]).unwrap();
    assert_eq!(placed, Placed::Mounted("team/base".to_owned()));
    assert!(shelf.lock().unwrap().uploads.is_empty(), "the upload that was begun instead is cancelled");
    let other = content(2000);
    assert_eq!(put(&destination, &other, &["team/base"]).unwrap(), Placed::Sent);
    assert_eq!(fake.count("mount="), 3);
    assert_eq!(shelf.lock().unwrap().begun, 2, "what was begun instead of a mount is used");
}

#[test]
fn a_cut_upload_goes_on_where_it_stands() {
    let (fake, shelf) = registry(BODY_MAX_BYTES);
    let bytes = content(8 << 20);
    fake.cut_next_body(3 << 20);
    fake.cut_next_body(5 << 20);
    assert_eq!(put(&destination(&fake), &bytes, &[]).unwrap(), Placed::Sent);
    let asked = fake.asked();
    let ranges: Vec<&str> = asked.iter().filter_map(|asked| asked.header("content-range")).collect();
    let all = 8 << 20;
    assert_eq!(ranges[0], format!("{}-{}", 5 << 20, all - 1), "{ranges:?}");
    let shelf = shelf.lock().unwrap();
    assert_eq!(shelf.begun, 1);
    assert_eq!(shelf.blobs[&describe(&bytes).digest.to_string()], bytes);
}

#[test]
fn a_body_that_is_too_large_goes_in_chunks() {
    let (fake, shelf) = registry(20 << 20);
    let bytes = content(40 << 20);
    assert_eq!(put(&destination(&fake), &bytes, &[]).unwrap(), Placed::Sent);
    let patches = methods(&fake).iter().filter(|method| *method == "PATCH").count();
    assert_eq!(patches, 3, "16 + 16 + 8 MiB");
    let shelf = shelf.lock().unwrap();
    assert_eq!(shelf.blobs[&describe(&bytes).digest.to_string()], bytes);
    assert!(shelf.uploads.is_empty());
}

#[test]
fn a_registry_that_forgets_is_asked_anew() {
    let (fake, shelf) = registry(BODY_MAX_BYTES);
    let lost = shelf.clone();
    let bytes = content(1 << 20);
    let opened = Mutex::new(0);
    let destination = destination(&fake);
    let placed = destination.put_blob(
        &describe(&bytes),
        &[],
        &|offset| {
            *opened.lock().unwrap() += 1;
            if *opened.lock().unwrap() == 1 {
                lost.lock().unwrap().uploads.clear();
            }
            open(&bytes, offset)
        },
        &|_| {},
    );
    assert_eq!(placed.unwrap(), Placed::Sent);
    assert_eq!(shelf.lock().unwrap().begun, 2);
}

#[test]
fn content_that_is_not_there_is_said_and_cancelled() {
    let (fake, shelf) = registry(BODY_MAX_BYTES);
    let bytes = content(100_000);
    let destination = destination(&fake);
    let short =
        destination.put_blob(&describe(&bytes), &[], &|_| open(&bytes[..5000], 0), &|_| {}).unwrap_err();
    assert!(matches!(short.failure(), Some(Failure::Content { .. })), "{short:?}");
    let refused = destination
        .put_blob(&describe(&bytes), &[], &|_| Err(io::Error::other("gone")), &|_| {})
        .unwrap_err();
    assert!(matches!(refused.failure(), Some(Failure::Content { .. })), "{refused:?}");
    let other = content(100_008)[8..].to_vec();
    let wrong =
        destination.put_blob(&describe(&bytes), &[], &|offset| open(&other, offset), &|_| {}).unwrap_err();
    let text = wrong.failure().unwrap().to_string();
    assert!(text.contains("400 (wrong bytes)"), "{text}");
    let shelf = shelf.lock().unwrap();
    assert!(shelf.uploads.is_empty() && shelf.blobs.is_empty(), "nothing is left behind");
}

#[test]
fn a_digest_that_is_not_ours_is_refused() {
    let other = Digest::sha256(b"other").to_string();
    let fake = Fake::start(move |asked| match asked.method.as_str() {
        "HEAD" => Reply::new(404, ""),
        "POST" => Reply::new(202, "").with("Location", "/v2/team/app/blobs/uploads/1"),
        "DELETE" => Reply::new(204, ""),
        _ => Reply::new(201, "").with("Docker-Content-Digest", other.clone()),
    });
    let destination = destination(&fake);
    let blob = put(&destination, &content(800), &[]).unwrap_err();
    assert!(matches!(blob.failure(), Some(Failure::Digest { .. })), "{blob:?}");
    let manifest = destination.put_manifest(Some("1"), b"{}", media_type::OCI_MANIFEST).unwrap_err();
    assert!(matches!(manifest.failure(), Some(Failure::Digest { .. })), "{manifest:?}");
    assert!(manifest.to_string().starts_with("cannot push tag 1 to "), "{manifest}");
}

#[test]
fn the_token_is_for_writing_and_never_leaves_the_registry() {
    let directory = tempfile::tempdir().unwrap();
    let (storage, shelf) = registry(BODY_MAX_BYTES);
    let elsewhere = storage.host();
    let fake = Fake::start(move |asked| {
        if asked.target.starts_with("/token") {
            assert_eq!(asked.header("authorization"), Some(LOGIN));
            return Reply::new(200, r#"{"token":"t"}"#);
        }
        if asked.header("authorization") != Some("Bearer t") {
            let host = asked.header("host").unwrap();
            return Reply::new(401, "").with(
                "WWW-Authenticate",
                format!(r#"Bearer realm="http://{host}/token",service="s",scope="repository:team/app:pull""#),
            );
        }
        match asked.method.as_str() {
            "HEAD" => Reply::new(404, ""),
            _ => Reply::new(202, "")
                .with("Location", format!("http://{elsewhere}/v2/team/app/blobs/uploads/7?sig=s")),
        }
    });
    shelf.lock().unwrap().uploads.insert(7, Vec::new());
    let client = Client::new(&with_login(directory.path(), &fake.host())).unwrap();
    let destination = client.destination(&reference(&fake.host()), &["team/base".to_owned()]).unwrap();
    let bytes = content(5000);
    assert_eq!(put(&destination, &bytes, &[]).unwrap(), Placed::Sent);
    let tokens: Vec<Asked> =
        fake.asked().into_iter().filter(|asked| asked.target.starts_with("/token")).collect();
    assert_eq!(tokens.len(), 1, "one token for all of it");
    let scope = "scope=repository%3Ateam%2Fapp%3Apull%2Cpush&scope=repository%3Ateam%2Fbase%3Apull";
    assert!(tokens[0].target.contains(scope), "{}", tokens[0].target);
    let put = &storage.asked()[0];
    assert_eq!((put.method.as_str(), put.header("authorization")), ("PUT", None));
    assert!(put.target.contains("?sig=s&digest="), "{}", put.target);
}

#[test]
fn refusals_are_told_apart() {
    for (status, word) in
        [(401, "writing there needs a login"), (403, "forbids"), (429, "refuses more requests")]
    {
        let fake = Fake::start(move |asked| {
            if asked.method == "HEAD" {
                return Reply::new(404, "");
            }
            Reply::new(status, r#"{"errors":[{"code":"DENIED","message":"not you"}]}"#)
                .with("Retry-After", "3600")
        });
        let error = put(&destination(&fake), &content(80), &[]).unwrap_err();
        let text = error.failure().unwrap().to_string();
        assert!(text.contains(word) && text.contains("not you"), "{status}: {text}");
    }
}

#[test]
fn mirrors_are_not_written_to() {
    let directory = tempfile::tempdir().unwrap();
    let (fake, shelf) = registry(BODY_MAX_BYTES);
    let text = format!(
        "[[registry]]\nprefix = \"{0}\"\nlocation = \"127.0.0.1:1/other\"\n[[registry.mirror]]\nlocation = \"127.0.0.1:2\"\n",
        fake.host()
    );
    let client = Client::new(&with_registries(directory.path(), &text)).unwrap();
    let destination = client.destination(&reference(&fake.host()), &[]).unwrap();
    put(&destination, &content(80), &[]).unwrap();
    assert_eq!(shelf.lock().unwrap().blobs.len(), 1);

    let text = format!("[[registry]]\nprefix = \"{0}\"\nblocked = true\n", fake.host());
    let client = Client::new(&with_registries(directory.path(), &text)).unwrap();
    let error = client.destination(&reference(&fake.host()), &[]).unwrap_err();
    assert!(matches!(error, Error::Blocked { .. }), "{error:?}");
}

#[test]
fn a_dead_registry_is_given_up() {
    let mut settings = settings(std::path::Path::new("/nonexistent"));
    settings.attempts = 2;
    let client = Client::new(&settings).unwrap();
    let destination = client.destination(&reference("127.0.0.1:1"), &[]).unwrap();
    let error = put(&destination, &content(80), &[]).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::Connect { .. })), "{error:?}");
}
