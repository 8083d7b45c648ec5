//! Whether logins are good, and what registries offer.

use std::sync::{Arc, OnceLock};

use cais_registry::{Client, Credential, Failure, LoginKey};

use crate::fake::{Fake, LOGIN, Reply, client, reference, settings};

fn with(registry: &str, password: &str) -> Client {
    let mut settings = settings(std::path::Path::new("/nonexistent"));
    let credential = Credential::Password { user: "user".into(), password: password.into() };
    settings.credentials.given = Some((registry.to_owned(), credential));
    Client::new(&settings).unwrap()
}

fn key(fake: &Fake) -> LoginKey {
    LoginKey::parse(&fake.host()).unwrap()
}

#[test]
fn basic_logins_are_tried() {
    let fake = Fake::start(|asked| {
        assert_eq!(asked.target, "/v2/");
        match asked.header("authorization") {
            Some(LOGIN) => Reply::new(200, "{}"),
            _ => Reply::new(401, "").with("WWW-Authenticate", "Basic realm=x"),
        }
    });
    assert_eq!(with(&fake.host(), "secret").check_login(&key(&fake)).unwrap(), None);
    let error = with(&fake.host(), "hunter2").check_login(&key(&fake)).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::LoginRefused { .. })), "{error:?}");
    assert!(!format!("{error:?}").contains("hunter2"));
    // What is for another registry does not go to this one.
    let error = with("other.test", "secret").check_login(&key(&fake)).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::LoginRefused { .. })), "{error:?}");
}

#[test]
fn token_services_give_identity_tokens() {
    let own = Arc::new(OnceLock::<String>::new());
    let known = own.clone();
    let fake = Fake::start(move |asked| {
        if asked.target.starts_with("/token") {
            assert_eq!(asked.target, "/token?service=s&account=user&client_id=cais&offline_token=true");
            return match asked.header("authorization") {
                Some(LOGIN) => Reply::new(200, r#"{"token":"t","refresh_token":"identity"}"#),
                _ => Reply::new(401, r#"{"details":"incorrect username or password"}"#),
            };
        }
        match asked.header("authorization") {
            Some("Bearer t") => Reply::new(200, "{}"),
            _ => Reply::new(401, "").with(
                "WWW-Authenticate",
                format!(r#"Bearer realm="http://{}/token",service="s""#, known.get().unwrap()),
            ),
        }
    });
    own.set(fake.host()).unwrap();
    let identity = with(&fake.host(), "secret").check_login(&key(&fake)).unwrap();
    assert_eq!(identity, Some(Credential::IdentityToken("identity".into())));
    let error = with(&fake.host(), "wrong").check_login(&key(&fake)).unwrap_err();
    let failure = error.failure().unwrap();
    assert!(matches!(failure, Failure::LoginRefused { .. }), "{error:?}");
    assert!(failure.to_string().contains("incorrect username"), "{failure}");
}

#[test]
fn what_is_no_registry_takes_no_login() {
    let fake = Fake::start(|_| Reply::new(404, "no such page"));
    let error = with(&fake.host(), "secret").check_login(&key(&fake)).unwrap_err();
    assert!(matches!(error.failure(), Some(Failure::NotFound { .. })), "{error:?}");
}

#[test]
fn tags_come_page_by_page() {
    let fake = Fake::start(|asked| match asked.target.as_str() {
        "/v2/team/app/tags/list?n=1000" => Reply::new(200, r#"{"name":"team/app","tags":["1","2"]}"#)
            .with("Link", r#"</v2/team/app/tags/list?n=1000&last=2>; rel="next""#),
        "/v2/team/app/tags/list?n=1000&last=2" => Reply::new(200, r#"{"name":"team/app","tags":["3"]}"#),
        "/v2/team/none/tags/list?n=1000" => Reply::new(200, r#"{"name":"team/none","tags":null}"#),
        _ => Reply::new(404, r#"{"errors":[{"code":"NAME_UNKNOWN","message":"no such repository"}]}"#),
    });
    let tags = |name: &str, limit| {
        let reference = cais_oci::Reference::parse(&format!("{}/{name}", fake.host())).unwrap();
        client().tags(&reference, limit)
    };
    assert_eq!(tags("team/app", 100).unwrap(), ["1", "2", "3"]);
    assert_eq!(tags("team/app", 2).unwrap(), ["1", "2"]);
    assert!(tags("team/none", 9).unwrap().is_empty());
    let error = tags("team/other", 9).unwrap_err();
    assert!(error.is_not_found() && error.to_string().contains("team/other"), "{error}");

    let endless = Fake::start(|_| Reply::new(200, "<html>"));
    assert!(client().tags(&reference(&endless.host()), 9).is_err());
}

#[test]
fn repositories_are_found_by_the_index_or_the_catalog() {
    let index = Fake::start(|asked| match asked.target.as_str() {
        "/v1/search?q=a%20b&n=2" => Reply::new(
            200,
            r#"{"results":[{"name":"x/a","description":"An\nA","star_count":3,"is_official":true},{"name":"y"},{"name":"z"}]}"#,
        ),
        _ => Reply::new(404, ""),
    });
    let found = client().search(&index.host(), "a b", 2).unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!((found[0].description.as_str(), found[0].stars, found[0].is_official), ("An A", 3, true));
    assert_eq!(found[1].name, "y");

    let catalog = Fake::start(|asked| match asked.target.as_str() {
        "/v2/_catalog?n=1000" => Reply::new(200, r#"{"repositories":["a/one","b/two"]}"#)
            .with("Link", "</v2/_catalog?last=b>; rel=\"next\""),
        "/v2/_catalog?last=b" => Reply::new(200, r#"{"repositories":["c/one"]}"#),
        _ => Reply::new(404, "404 page not found"),
    });
    let names = |word: &str, limit| {
        let found = client().search(&catalog.host(), word, limit).unwrap();
        found.into_iter().map(|found| found.name).collect::<Vec<_>>()
    };
    assert_eq!(names("one", 25), ["a/one", "c/one"]);
    assert_eq!(names("one", 1), ["a/one"]);
    assert_eq!(names("", 25).len(), 3);

    let closed = Fake::start(|_| Reply::new(404, ""));
    assert!(client().search(&closed.host(), "x", 5).unwrap_err().to_string().starts_with("cannot search"));
}
