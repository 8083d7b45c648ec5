//! Registries that cut, stall, lie, or are none.

use std::io::Read;
use std::sync::atomic::{AtomicUsize, Ordering};

use cais_oci::{Descriptor, Digest, media_type};
use cais_registry::{BlobReader, Client, Error, Failure};

use crate::fake::{Asked, Fake, Image, Reply, Then, client, reference, settings};

/// Reads to the end and gives the failure that the last read reported.
fn read_failure(mut reader: BlobReader) -> String {
    let mut bytes = Vec::new();
    let error = reader.read_to_end(&mut bytes).unwrap_err();
    assert!(reader.read(&mut [0]).is_err(), "a failed reader stays failed");
    let error = error.into_inner().unwrap().downcast::<Error>().unwrap();
    format!("{:?}", error.failure().unwrap())
}

fn manifest_failure(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> (Fake, String) {
    let fake = Fake::start(answer);
    let error = client().manifest(&reference(&fake.host()), None).unwrap_err();
    let failure = error.failure().unwrap();
    let text = format!("{failure:?} {failure}");
    (fake, text)
}

#[test]
fn cut_downloads_go_on() {
    let image = Image::new();
    let shared = image.clone();
    let fake = Fake::start(move |asked| {
        let reply = shared.layer_reply(asked);
        // Three cuts, the second one at once after the headers.
        match asked.range() {
            None => reply.then(Then::Cut(300_000)),
            Some(300_000) => reply.then(Then::Cut(100_000)),
            Some(400_000) => reply.then(Then::Cut(1)),
            Some(_) => reply,
        }
    });
    let mut bytes = Vec::new();
    client()
        .blob(&reference(&fake.host()), &image.layer_descriptor)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    assert_eq!(bytes, image.layer);
    let ranges: Vec<Option<usize>> = fake.asked().iter().map(Asked::range).collect();
    assert_eq!(ranges, [None, Some(300_000), Some(400_000), Some(400_001)]);
}

#[test]
fn cut_downloads_go_on_without_ranges() {
    let image = Image::new();
    let shared = image.clone();
    let first = AtomicUsize::new(0);
    let fake = Fake::start(move |_| {
        let reply = Reply::new(200, shared.layer.clone());
        if first.fetch_add(1, Ordering::SeqCst) == 0 { reply.then(Then::Cut(500_000)) } else { reply }
    });
    let mut bytes = Vec::new();
    client()
        .blob(&reference(&fake.host()), &image.layer_descriptor)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    assert_eq!(bytes, image.layer);
}

#[test]
fn endless_cuts_end() {
    let image = Image::new();
    let shared = image.clone();
    let fake = Fake::start(move |asked| {
        let reply = shared.layer_reply(asked);
        if asked.range().is_some() { reply.then(Then::Cut(0)) } else { reply.then(Then::Cut(10)) }
    });
    let text = read_failure(client().blob(&reference(&fake.host()), &image.layer_descriptor).unwrap());
    assert!(text.starts_with("Cut"), "{text}");
    assert_eq!(fake.asked().len(), 4, "the cut connection and three more without progress");

    let shared = image.clone();
    let dripping = Fake::start(move |asked| shared.layer_reply(asked).then(Then::Cut(1)));
    let text = read_failure(client().blob(&reference(&dripping.host()), &image.layer_descriptor).unwrap());
    assert!(text.starts_with("Cut"), "{text}");
}

#[test]
fn wrong_ranges_are_refused() {
    let image = Image::new();
    let shared = image.clone();
    let fake = Fake::start(move |asked| match asked.range() {
        None => shared.layer_reply(asked).then(Then::Cut(1000)),
        Some(_) => {
            let length = shared.layer.len();
            Reply::new(206, shared.layer.clone())
                .with("Content-Range", format!("bytes 0-{}/{length}", length - 1))
        }
    });
    let text = read_failure(client().blob(&reference(&fake.host()), &image.layer_descriptor).unwrap());
    assert!(text.starts_with("Range"), "{text}");
}

#[test]
fn stalled_servers_are_left() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(directory.path());
    // Longer than a busy machine leaves the server waiting.
    settings.idle_timeout_ms = 500;
    settings.attempts = 2;
    let client = Client::new(&settings).unwrap();
    let image = Image::new();

    let shared = image.clone();
    let silent = Fake::start(move |asked| shared.answer(asked).then(Then::Stall(0)));
    let error = client.manifest(&reference(&silent.host()), None).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::Stalled { idle_ms: 500, .. })), "{error:?}");

    let shared = image.clone();
    let halting = Fake::start(move |asked| match asked.range() {
        None => shared.layer_reply(asked).then(Then::Stall(70_000)),
        Some(_) => shared.layer_reply(asked),
    });
    let mut bytes = Vec::new();
    client
        .blob(&reference(&halting.host()), &image.layer_descriptor)
        .unwrap()
        .read_to_end(&mut bytes)
        .unwrap();
    assert_eq!(bytes, image.layer, "goes on after a stall");

    let shared = image.clone();
    let dead = Fake::start(move |asked| shared.layer_reply(asked).then(Then::Stall(0)));
    let text = read_failure(client.blob(&reference(&dead.host()), &image.layer_descriptor).unwrap());
    assert!(text.starts_with("Stalled"), "{text}");
}

#[test]
fn lies_about_content() {
    let image = Image::new();
    let descriptor = &image.layer_descriptor;
    let other = {
        let mut bytes = image.layer.clone();
        bytes[5] ^= 1;
        bytes
    };
    let open = |body: Vec<u8>, then: Then| {
        let fake = Fake::start(move |_| Reply::new(200, body.clone()).then(then));
        client().blob(&reference(&fake.host()), descriptor)
    };
    assert!(read_failure(open(other.clone(), Then::Done).unwrap()).starts_with("Digest"));
    assert!(read_failure(open(other, Then::Chunked).unwrap()).starts_with("Digest"));
    let short = image.layer[..10].to_vec();
    let error = open(short.clone(), Then::Done).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::Size { .. })), "{error:?}");
    assert!(read_failure(open(short, Then::Chunked).unwrap()).starts_with("Cut"));
    let mut long = image.layer.clone();
    long.push(0);
    assert!(read_failure(open(long, Then::Chunked).unwrap()).starts_with("Size"));
}

#[test]
fn empty_blob_needs_no_request() {
    let fake = Fake::start(|_| Reply::new(500, ""));
    let descriptor = Descriptor::new(media_type::OCI_LAYER, Digest::sha256(b""), 0);
    let mut bytes = Vec::new();
    client().blob(&reference(&fake.host()), &descriptor).unwrap().read_to_end(&mut bytes).unwrap();
    let lie = Descriptor::new(media_type::OCI_LAYER, Digest::sha256(b"x"), 0);
    assert!(client().blob(&reference(&fake.host()), &lie).unwrap().read_to_end(&mut bytes).is_err());
    assert_eq!(fake.asked().len(), 0);
}

#[test]
fn what_is_no_manifest() {
    let (_, text) = manifest_failure(|_| {
        Reply::new(200, "<!doctype html>").with("Content-Type", "text/html; charset=utf-8")
    });
    assert!(text.contains("is this a registry"), "{text}");
    let (_, text) =
        manifest_failure(|_| Reply::new(200, "\u{0}\u{1}").with("Content-Type", media_type::OCI_MANIFEST));
    assert!(text.starts_with("Manifest"), "{text}");
    let (_, text) = manifest_failure(|_| Reply::new(200, vec![b' '; 5 << 20]));
    assert!(text.starts_with("TooLarge"), "{text}");
    let (_, text) = manifest_failure(|_| Reply::new(200, vec![b' '; 5 << 20]).then(Then::Chunked));
    assert!(text.starts_with("TooLarge"), "{text}");
    let image = Image::new();
    let (_, text) = manifest_failure(move |asked| {
        let mut reply = image.answer(asked);
        reply.body.push(b' ');
        reply
    });
    assert!(text.starts_with("Digest"), "the stated digest is verified: {text}");
    let (_, text) = manifest_failure(|_| Reply::new(404, r#"{"errors":[{"code":"MANIFEST_UNKNOWN"}]}"#));
    assert!(text.starts_with("NotFound") && text.contains("MANIFEST_UNKNOWN"), "{text}");
}

#[test]
fn redirects_that_lead_nowhere() {
    let (fake, text) = manifest_failure(|asked| Reply::new(302, "").with("Location", asked.target.clone()));
    assert!(text.starts_with("TooManyRedirects"), "{text}");
    assert_eq!(fake.asked().len(), 11);
    for location in ["", "ftp://x/", "http://user:password@x/"] {
        let (_, text) = manifest_failure(move |_| Reply::new(302, "").with("Location", location));
        assert!(text.starts_with("BadRedirect"), "{text}");
    }
}

#[test]
fn server_failures_are_tried_again() {
    let image = Image::new();
    let count = AtomicUsize::new(0);
    let fake = Fake::start(move |asked| match count.fetch_add(1, Ordering::SeqCst) {
        0 => Reply::new(503, ""),
        1 => Reply::new(429, "").with("Retry-After", "0"),
        2 => image.answer(asked).then(Then::Cut(3)),
        _ => image.answer(asked),
    });
    client().manifest(&reference(&fake.host()), None).unwrap();
    assert_eq!(fake.asked().len(), 4);

    let (fake, text) = manifest_failure(|_| Reply::new(500, "oops"));
    assert!(text.starts_with("Status") && text.contains("500"), "{text}");
    assert_eq!(fake.asked().len(), 4);
    let (fake, _) = manifest_failure(|_| Reply::new(400, ""));
    assert_eq!(fake.asked().len(), 1);
}

#[test]
fn rate_limits_are_told() {
    let (fake, text) = manifest_failure(|_| {
        Reply::new(429, r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}"#)
            .with("Retry-After", "3600")
            .with("RateLimit-Limit", "100;w=21600")
    });
    assert!(
        text.contains("100 requests in 6 h") && text.contains("3600 s") && text.contains("slow down"),
        "{text}"
    );
    assert_eq!(fake.asked().len(), 1, "a long ban is not waited for");
    let (fake, text) =
        manifest_failure(|_| Reply::new(429, "").with("Retry-After", "Fri, 01 Jan 2100 00:00:00 GMT"));
    assert!(text.contains("retry_after_s: Some("), "{text}");
    assert_eq!(fake.asked().len(), 1);
}

#[test]
fn nobody_listens() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = client().manifest(&reference(&closed.to_string()), None).unwrap_err();
    let failure = error.failure().unwrap();
    assert!(matches!(failure, Failure::Connect { .. }), "{failure:?}");
    assert!(failure.to_string().contains(&closed.to_string()));
}
