//! Logins: tokens, passwords, and where they must not go.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use cais_registry::{Client, Failure};

use crate::fake::{Asked, Fake, Image, LOGIN, Reply, client, reference, settings, with_login};

/// A registry that wants a token from its own `/token`; `valid` says which token it takes.
fn token_registry(
    image: &Image,
    valid: impl Fn(&str) -> bool + Send + Sync + 'static,
    token: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
) -> Fake {
    let image = image.clone();
    let own = Arc::new(OnceLock::<String>::new());
    let known = own.clone();
    let fake = Fake::start(move |asked| {
        if asked.target.starts_with("/token") {
            return token(asked);
        }
        match asked.header("authorization").and_then(|value| value.strip_prefix("Bearer ")) {
            Some(given) if valid(given) => image.answer(asked),
            _ => {
                let challenge = format!(
                    r#"Bearer realm="http://{}/token?x=1",service="the registry",scope="repository:team/app:pull""#,
                    known.get().unwrap()
                );
                Reply::new(401, r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#)
                    .with("WWW-Authenticate", challenge)
            }
        }
    });
    own.set(fake.host()).unwrap();
    fake
}

#[test]
fn anonymous_token_is_fetched_once() {
    let image = Image::new();
    let fake = token_registry(
        &image,
        |token| token == "anon",
        |_| Reply::new(200, r#"{"token":"anon","expires_in":300}"#),
    );
    let client = client();
    let name = reference(&fake.host());
    client.manifest(&name, None).unwrap();
    std::io::copy(&mut client.blob(&name, &image.layer_descriptor).unwrap(), &mut std::io::sink()).unwrap();
    let tokens: Vec<Asked> =
        fake.asked().into_iter().filter(|asked| asked.target.starts_with("/token")).collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(tokens[0].target, "/token?x=1&service=the%20registry&scope=repository%3Ateam%2Fapp%3Apull");
    assert_eq!(tokens[0].header("authorization"), None);
}

#[test]
fn token_with_password_and_renewal() {
    let directory = tempfile::tempdir().unwrap();
    let image = Image::new();
    let given = Arc::new(AtomicUsize::new(0));
    let (issued, current) = (given.clone(), given.clone());
    let fake = token_registry(
        &image,
        // Only the youngest token is good, and the first one for a single request only.
        move |token| token == format!("t{}", current.load(Ordering::SeqCst)),
        move |asked| {
            assert_eq!(asked.header("authorization"), Some(LOGIN));
            let number = issued.fetch_add(1, Ordering::SeqCst) + 1;
            Reply::new(200, format!(r#"{{"access_token":"t{number}"}}"#))
        },
    );
    let client = Client::new(&with_login(directory.path(), &fake.host())).unwrap();
    let name = reference(&fake.host());
    client.manifest(&name, None).unwrap();
    given.fetch_add(1, Ordering::SeqCst);
    client.manifest(&name, None).unwrap();
    assert_eq!(fake.count("/token"), 2);
}

#[test]
fn identity_token_is_exchanged() {
    let directory = tempfile::tempdir().unwrap();
    let fake = token_registry(
        &Image::new(),
        |token| token == "fresh",
        |asked| {
            assert_eq!(asked.method, "POST");
            assert!(asked.body.contains("grant_type=refresh_token&service=the%20registry"), "{}", asked.body);
            assert!(asked.body.ends_with("refresh_token=idt"), "{}", asked.body);
            Reply::new(200, r#"{"access_token":"fresh"}"#)
        },
    );
    let file = directory.path().join("config.json");
    std::fs::write(&file, format!(r#"{{"auths":{{"{}":{{"identitytoken":"idt"}}}}}}"#, fake.host())).unwrap();
    let mut settings = settings(directory.path());
    settings.credentials.files = vec![file];
    Client::new(&settings).unwrap().manifest(&reference(&fake.host()), None).unwrap();
}

#[test]
fn basic_login() {
    let directory = tempfile::tempdir().unwrap();
    let image = Image::new();
    let fake = Fake::start(move |asked| match asked.header("authorization") {
        Some(LOGIN) => image.answer(asked),
        _ => Reply::new(401, "").with("WWW-Authenticate", r#"Basic realm="Registry""#),
    });
    let name = reference(&fake.host());
    Client::new(&with_login(directory.path(), &fake.host())).unwrap().manifest(&name, None).unwrap();
    let error = client().manifest(&name, None).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::Unauthorized { logged_in: false, .. })), "{error:?}");
    assert!(error.failure().unwrap().to_string().contains("needs a login"));
}

#[test]
fn refused_logins() {
    let directory = tempfile::tempdir().unwrap();
    let refusing = Fake::start(|_| Reply::new(401, "").with("WWW-Authenticate", "Basic realm=x"));
    let settings = with_login(directory.path(), &refusing.host());
    let error = Client::new(&settings).unwrap().manifest(&reference(&refusing.host()), None).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::Unauthorized { logged_in: true, .. })), "{error:?}");
    assert_eq!(refusing.asked().len(), 2, "a refused login is not tried again");

    let no_token =
        token_registry(&Image::new(), |_| false, |_| Reply::new(401, r#"{"details":"incorrect password"}"#));
    let settings = with_login(directory.path(), &no_token.host());
    let error = Client::new(&settings).unwrap().manifest(&reference(&no_token.host()), None).unwrap_err();
    assert!(error.failure().unwrap().to_string().contains("incorrect password"), "{error:?}");

    let junk = token_registry(&Image::new(), |_| false, |_| Reply::new(200, "<html>"));
    let error = client().manifest(&reference(&junk.host()), None).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::Token { .. })), "{error:?}");

    let useless = token_registry(&Image::new(), |_| false, |_| Reply::new(200, r#"{"token":"bad"}"#));
    let error = client().manifest(&reference(&useless.host()), None).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::Unauthorized { .. })), "{error:?}");
    assert_eq!(useless.count("/token"), 1);

    let forbidding =
        Fake::start(|_| Reply::new(403, r#"{"errors":[{"code":"DENIED","message":"pay \u001b[2J first"}]}"#));
    let text =
        client().manifest(&reference(&forbidding.host()), None).unwrap_err().failure().unwrap().to_string();
    assert!(text.contains("forbids") && text.contains("pay [2J first"), "{text:?}");
}

#[test]
fn a_failing_helper_is_told_only_when_a_login_is_needed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    std::fs::write(&file, r#"{"credsStore":"not-installed"}"#).unwrap();
    let mut settings = settings(directory.path());
    settings.credentials.files = vec![file];
    let client = Client::new(&settings).unwrap();

    let open =
        token_registry(&Image::new(), |token| token == "anon", |_| Reply::new(200, r#"{"token":"anon"}"#));
    client.manifest(&reference(&open.host()), None).unwrap();

    let closed = Fake::start(|_| Reply::new(401, "").with("WWW-Authenticate", "Basic realm=x"));
    let error = client.manifest(&reference(&closed.host()), None).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::Credentials { .. })), "{error:?}");
}
